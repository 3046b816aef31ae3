//! What the load calls, and calls with.

#[path = "../grpc/caller.rs"]
mod caller;
#[path = "../grpc/probe.rs"]
mod probe;

pub(crate) use self::{
    caller::Caller,
    probe::{Note, Probe},
};
