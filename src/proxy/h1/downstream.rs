//! A client's HTTP/1 connection, and the request on it that is being served.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{incoming::Incoming, outbox::Outbox};
use crate::{
    http::{Asked, Coding, Framing, ResponseEdits, ResponseView, body::write_last_chunk, write_response},
    proxy::{
        buffer::{Buffer, Size},
        seam::{Downstream, Sink, Source, SourceError},
    },
};

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) inbox: Buffer,
    pub(crate) outbox: Outbox,
    asked: Asked,
    body: Incoming,
    /// Whether the client waits to be told to send the body.
    expects_continue: bool,
    /// Whether what is sent must be made into chunks; the last one was not sent yet.
    sends_chunks: bool,
    /// Whether the connection lives on after the answer, once the head of one was written.
    keep_alive: bool,
    /// Whether nothing but the connection's end tells the client where the answer ends.
    ends_with_connection: bool,
    head_sent: u64,
}

// === impl Client ===

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            inbox: Buffer::new(Size::Small),
            outbox: Outbox::default(),
            asked: Asked::default(),
            body: Incoming::none(),
            expects_continue: false,
            sends_chunks: false,
            keep_alive: false,
            ends_with_connection: false,
            head_sent: 0,
        }
    }

    /// Begins to serve a request, whose head of `length` bytes at the front of the inbox is needed no more. `coding` is
    /// how the endpoint wants the body.
    pub(crate) fn begin(
        &mut self,
        length: usize,
        asked: Asked,
        framing: Framing,
        coding: Coding,
        expects_continue: bool,
        body_limit: u64,
    ) {
        self.inbox.consume(length);
        self.inbox.resize(Incoming::size_for(framing));
        self.asked = asked;
        self.body = Incoming::new(framing, coding, body_limit);
        self.expects_continue = expects_continue;
        self.sends_chunks = false;
        self.keep_alive = false;
        self.head_sent = 0;
    }

    /// Whether the connection lives on after the answer.
    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Notes that an answer was written by other ways than [`Downstream::answer`].
    pub(crate) fn answered(&mut self, head: usize, keep_alive: bool) {
        self.expects_continue = false;
        self.sends_chunks = false;
        self.keep_alive = keep_alive;
        self.head_sent += head as u64;
    }

    /// Whether nothing but the connection's end tells the client where the answer ends.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.ends_with_connection
    }

    /// How many bytes of heads were given to be sent as the answer.
    pub(crate) fn head_sent(&self) -> u64 {
        self.head_sent
    }

    /// How many bytes of the request's body have come, without framing.
    pub(crate) fn body_received(&self) -> u64 {
        self.body.payload()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source for Client<S> {
    fn ready(&mut self) -> Result<&[u8], SourceError> {
        self.body.ready(&mut self.inbox)
    }

    fn consume(&mut self, count: usize) {
        self.body.consume(&mut self.inbox, count);
    }

    fn take(&mut self, most: usize) -> Bytes {
        self.body.take(&mut self.inbox, most)
    }

    fn is_complete(&self) -> bool {
        self.body.is_complete()
    }

    fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        if self.expects_continue {
            // We want the body, so we say so; an endpoint is never asked whether it does.
            self.outbox.head().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.expects_continue = false;
        }
        if !self.outbox.is_empty() {
            // Nobody else may be about to send it.
            ready!(self.outbox.poll_flush(cx, &mut self.stream)).map_err(|_| SourceError::Io)?;
        }
        self.body.poll_read(cx, &mut self.stream, &mut self.inbox)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink for Client<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        if self.sends_chunks {
            self.outbox.poll_send_chunk(cx, &mut self.stream, body)
        } else {
            self.outbox.poll_send(cx, &mut self.stream, body)
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_flush(cx, &mut self.stream)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &[u8]) -> Poll<io::Result<()>> {
        if self.sends_chunks {
            write_last_chunk(trailers, self.outbox.head());
            self.sends_chunks = false;
        }
        self.outbox.poll_flush(cx, &mut self.stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Downstream for Client<S> {
    fn asked(&self) -> Asked {
        self.asked
    }

    fn wants_chunks(&self) -> bool {
        false
    }

    fn answer(&mut self, head: ResponseView<'_>, edits: &ResponseEdits<'_>) -> Coding {
        let out = self.outbox.head();
        let before = out.len();
        let delivery = write_response(head, self.asked, edits, out);
        self.head_sent += (out.len() - before) as u64;
        if !head.is_interim() {
            self.expects_continue = false;
            self.keep_alive = delivery.keep_alive;
            self.ends_with_connection = match delivery.coding {
                Coding::Pass => head.framing() == Framing::UntilClose,
                Coding::Decode => true,
                Coding::Chunk => false,
            };
            self.sends_chunks = delivery.coding == Coding::Chunk;
        }
        delivery.coding
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the end of the body, what comes is that.
        if !self.is_complete() {
            return Poll::Pending;
        }
        // What a client sends ahead is taken in as far as the buffer goes. While there is some, its leaving goes
        // unnoticed until the answer cannot be sent.
        while self.inbox.is_empty() {
            match ready!(self.inbox.poll_fill(cx, &mut self.stream, 0)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}
