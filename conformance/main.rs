//! Drives the whole program from outside: what it answers over real sockets, beside what others recorded, document or do.

mod case;
mod certificates;
mod churn;
mod cli;
mod client;
mod differential;
mod documented;
mod echo;
mod gateway;
mod grpc;
mod h2spec;
mod image;
mod life;
mod manifests;
mod mended;
mod menu;
mod pattern;
mod peer;
mod recorded;
mod seeing;
mod tls;
mod wire;
