//! The seam between an exchange and the protocols on its two sides.
//!
//! An exchange is written once, over a [`Downstream`] (the client's side of one request) and an [`Upstream`] (the
//! endpoint's side of one try). Both are at once a [`Source`] of one body and a [`Sink`] of the other. They are generic
//! parameters, not objects: over HTTP/1 on both sides the compiler sees through the seam, and a body passes from the
//! buffer that it was read into to the other socket, chunks with their framing, without a copy.

use std::{
    io,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::http::{Asked, BadBody, Coding, Refusal, ResponseEdits, ResponseView};

/// Where a body comes from.
pub(crate) trait Source {
    /// The bytes at hand that may be passed on as they are. Empty where more must be read, or where the body is complete.
    fn ready(&mut self) -> Result<&[u8], SourceError>;

    /// Forgets the first `count` of the ready bytes.
    fn consume(&mut self, count: usize);

    /// Gives away the first of the ready bytes, at most `most`. No copy is made where they come with the memory that they
    /// lie in, which is where they are much of it.
    fn take(&mut self, most: usize) -> Bytes;

    /// Whether the body has ended and all of it was consumed.
    fn is_complete(&self) -> bool;

    /// The trailers of a complete body, as lines each with its end. Empty where they passed with the body's framing.
    fn trailers(&self) -> &[u8];

    /// Reads more of the body, where nothing is ready and it is not complete.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>>;
}

/// Where a body goes to.
pub(crate) trait Sink {
    /// Sends what waits, then `body`; gives how many bytes of `body` need not be given again.
    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends what waits, and tells how many bytes of the body can be given to [`Sink::keep`]. None can where the sink
    /// keeps nothing, and only [`Sink::poll_send`] will do.
    fn poll_room(&mut self, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    /// As [`Sink::poll_send`], with a piece that there is room for and that need not be copied.
    fn keep(&mut self, _: Bytes) {}

    /// Sends what waits.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the body, with trailers, and sends what waits. After `Pending` it is called again.
    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &[u8]) -> Poll<io::Result<()>>;
}

/// The client's side of a request: its body comes from here, the answer goes here.
pub(crate) trait Downstream: Source + Sink {
    /// What the request asked for.
    fn asked(&self) -> Asked;

    /// Whether the body has no length and comes without framing, so that an endpoint that speaks HTTP/1 must be sent
    /// chunks.
    fn wants_chunks(&self) -> bool;

    /// Puts the head of an answer before the bytes that are sent next, and tells how its body must come.
    fn answer(&mut self, head: ResponseView<'_>, edits: &ResponseEdits<'_>) -> Coding;

    /// Whether the client has left, as far as is known. Registers for news of it. Called where the body is not being read.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The endpoint's side of a try: the request goes here, the answer comes from here.
pub(crate) trait Upstream: Source + Sink {
    /// Whether a body can come with the framing of HTTP/1, chunks and all, to be passed on as it is.
    const FRAMED: bool;

    /// Whether the endpoint may have seen a part of the request.
    fn has_sent(&self) -> bool;

    /// How many bytes of the answer's body have come, without framing.
    fn body_received(&self) -> u64;

    /// Reads until the head of an answer is at hand.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, HeadError>>;

    /// Shows the head that is at hand.
    fn with_head<T>(&self, look: impl FnOnce(ResponseView<'_>) -> T) -> T;

    /// Goes on behind the head that is at hand: to the body, of which `coding` says how it is wanted, or, where the
    /// answer was an interim one, to the next head.
    fn pass_head(&mut self, coding: Coding);
}

/// What an exchange needs to know of an answer's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// 1xx but 101: another head follows.
    pub(crate) is_interim: bool,
    /// 101: what follows is another protocol.
    pub(crate) switches: bool,
    /// Whether the body ends with the connection.
    pub(crate) until_close: bool,
}

/// Why no more of a body comes.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The connection broke.
    Io,
    /// The bytes are not what the head promised.
    Bad(BadBody),
    /// The body is longer than allowed.
    TooLarge,
}

/// Why there is no head.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The connection was closed, or broke. `early` where not one byte had come.
    Closed { early: bool },
    /// The endpoint has done nothing with the request, and says so, on a connection that goes on.
    Refused,
    /// The bytes are no head.
    Bad(Refusal),
    /// The request cannot be said in the endpoint's protocol, and was not sent. That is no fault of the endpoint's.
    Unsendable(Refusal),
}

// === impl SourceError ===

impl From<BadBody> for SourceError {
    fn from(bad: BadBody) -> Self {
        Self::Bad(bad)
    }
}
