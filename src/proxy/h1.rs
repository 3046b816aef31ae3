//! HTTP/1 on both sides: a client's connection from its first byte to its last, and an endpoint's during a try.

mod downstream;
mod incoming;
mod outbox;
mod serve;
mod upstream;

pub(crate) use self::{
    outbox::Outbox,
    serve::serve,
    upstream::{Endpoint, Remains},
};
