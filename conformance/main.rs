//! Drives the whole program from outside: what it answers over real sockets, beside what others recorded, document or do.

mod cli;
mod differential;
mod image;
mod peer;
