//! HTTP on the wire: heads and bodies as bytes, and nothing else.
//!
//! Everything here is a pure function from bytes to values or from values to bytes. There is no socket, no clock and no
//! other module of ours below it, so that what guards the gateway against hostile bytes can be read in one sitting,
//! fuzzed, and compared with other parsers on the same input.
//!
//! ```text
//! client bytes ─> Request::read ─> RequestView ─> (decision) ─> write_request ─> endpoint bytes
//! endpoint bytes ─> Response::read ─> ResponseView ───────────> write_response ─> client bytes
//! frames of HTTP/2 <─> relay: the HTTP/1 head that says the same
//!                        bodies, either way: Body::feed
//! ```
//!
//! A head is read where it lies: [`Request`] and [`Response`] are reusable storage that holds places in the buffer
//! instead of copies, and what each field name means ([`Class`]) is found once, when the field is read. Neither reading
//! nor writing allocates once the storage has grown to what heads need.
//!
//! What always holds:
//!
//! * What could be read in two ways is refused, though RFC 9112 would allow a reading. The differential test in
//!   `conformance/` compares the rest with three other parsers.
//! * What is written has no byte of the peer's that was not validated: a field value without controls, a target without
//!   spaces, framing that is our own.
//! * Reading a head or a body in pieces gives the same result as reading it whole.

pub mod body;
pub mod cookie;
pub mod forwarded;
pub mod grpc;
pub mod host;
mod hsts;
pub mod path;
pub mod proxy_protocol;
pub mod query;
pub mod relay;
pub mod request;
pub mod response;

mod answer;
mod field;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod refusal;
mod token;
mod transport;
mod write;

pub use self::{
    answer::{Answer, write_answer, write_refusal},
    body::{BadBody, Body, Coding, Framing, Step},
    field::{Class, FieldNames, Limits},
    hsts::Hsts,
    refusal::{Accepts, Malformed, Refusal},
    request::{Asked, Request, RequestView, Version},
    response::{Response, ResponseView},
    token::{is_field_name, is_field_value},
    transport::Transport,
    write::{Delivery, Forwarded, RequestEdits, ResponseEdits, response_fields, write_request, write_response},
};
