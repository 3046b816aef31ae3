//! What requests, bodies, connections and changes cost in memory, counted.
//!
//! A test of its own, since a process has one allocator.

mod bodies;
mod changes;
mod counting;
mod http2;
mod requests;

#[path = "../../bench/population.rs"]
mod population;
