//! HTTP/2 on both sides, on the `h2` crate.
//!
//! ```text
//! serve: a client's connection ── a task for each stream ── the same decision, the same exchange ──> endpoint
//! sessions: an endpoint's connection, shared by the requests of a worker
//! ```
//!
//! A head comes from frames in the form of HTTP/1 ([`crate::http::relay`]), so that nothing above knows the difference.
//! A body passes as its payload, as far as the other side's window allows: what waits here is what both windows bound.

mod body;
mod downstream;
mod gather;
mod guard;
mod head;
mod serve;
mod sessions;
mod tunnel;
mod upstream;

pub(crate) use self::{
    serve::serve,
    sessions::{Found, Session, Sessions},
    upstream::Endpoint,
};
