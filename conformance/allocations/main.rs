//! What requests and connections cost in memory, counted.
//!
//! A test of its own, since a process has one allocator.

mod counting;
mod requests;
