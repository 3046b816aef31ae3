//! An endpoint's HTTP/1 connection, and the try on it that is under way.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{incoming::Incoming, outbox::Outbox};
use crate::{
    http::{Asked, Coding, Framing, Limits, Response, ResponseView, body::write_last_chunk},
    proxy::{
        buffer::{Buffer, Size},
        seam::{Head, HeadError, Sink, Source, SourceError, Upstream},
    },
};

/// An endpoint's connection during one try.
#[derive(Debug)]
pub(crate) struct Endpoint<'w, S> {
    stream: S,
    inbox: Buffer,
    /// The request's head, and small bodies behind it. It stays until the request is over, to be sent again.
    outbox: Outbox,
    /// Whether the body must be made into chunks; the last one was not sent yet.
    sends_chunks: bool,
    asked: Asked,
    /// The worker's storage for response heads. A head is looked at as soon as it is read, never across a wait.
    storage: &'w RefCell<Response>,
    /// The length of the head that is at hand.
    head_length: usize,
    body: Incoming,
    /// Whether the connection can be used again after a complete answer.
    keep_alive: bool,
    received: u64,
}

/// What is left of a try.
#[derive(Debug)]
pub(crate) struct Remains<S> {
    pub(crate) stream: S,
    pub(crate) inbox: Buffer,
    pub(crate) outbox: Outbox,
    /// Whether the connection can be used for another request.
    pub(crate) is_reusable: bool,
}

// === impl Endpoint ===

impl<'w, S: AsyncRead + AsyncWrite + Unpin> Endpoint<'w, S> {
    /// A try on `stream`, with the request's head in `outbox`.
    pub(crate) fn new(
        stream: S,
        outbox: Outbox,
        sends_chunks: bool,
        asked: Asked,
        storage: &'w RefCell<Response>,
    ) -> Self {
        Self {
            stream,
            inbox: Buffer::new(Size::Large),
            outbox,
            sends_chunks,
            asked,
            storage,
            head_length: 0,
            body: Incoming::none(),
            keep_alive: false,
            received: 0,
        }
    }

    /// Ends the try. The connection can be used again only where both request and answer are over: what is left of one
    /// would be taken for the beginning of the next.
    pub(crate) fn end(self, is_over: bool) -> Remains<S> {
        let is_reusable =
            is_over && self.outbox.is_empty() && self.keep_alive && self.body.is_complete() && self.inbox.is_empty();
        Remains { stream: self.stream, inbox: self.inbox, outbox: self.outbox, is_reusable }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source for Endpoint<'_, S> {
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
        self.body.poll_read(cx, &mut self.stream, &mut self.inbox)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink for Endpoint<'_, S> {
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
        // Where chunks pass as they came, the last one passed with the others.
        if self.sends_chunks {
            write_last_chunk(trailers, self.outbox.head());
            self.sends_chunks = false;
        }
        self.outbox.poll_flush(cx, &mut self.stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Upstream for Endpoint<'_, S> {
    const FRAMED: bool = true;

    fn has_sent(&self) -> bool {
        self.outbox.written() > 0
    }

    fn body_received(&self) -> u64 {
        self.body.payload()
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, HeadError>> {
        loop {
            if !self.inbox.is_empty() {
                let mut response = self.storage.borrow_mut();
                let length =
                    response.read(self.inbox.bytes(), self.asked, &Limits::RESPONSE).map_err(HeadError::Bad)?;
                if let Some(length) = length {
                    self.head_length = length;
                    let view = response.view(self.inbox.bytes());
                    return Poll::Ready(Ok(Head {
                        status: view.status(),
                        is_interim: view.is_interim(),
                        switches: view.switches(),
                        until_close: view.framing() == Framing::UntilClose,
                    }));
                }
            }
            let early = self.received == 0;
            match self.inbox.poll_fill(cx, &mut self.stream, Limits::RESPONSE.head) {
                Poll::Ready(Ok(count @ 1..)) => self.received += count as u64,
                Poll::Ready(_) => return Poll::Ready(Err(HeadError::Closed { early })),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn with_head<T>(&self, look: impl FnOnce(ResponseView<'_>) -> T) -> T {
        look(self.storage.borrow().view(self.inbox.bytes()))
    }

    fn pass_head(&mut self, coding: Coding) {
        let (framing, keep_alive) = self.with_head(|head| (head.framing(), head.keep_alive()));
        self.inbox.consume(self.head_length);
        self.head_length = 0;
        self.keep_alive = keep_alive;
        self.body = Incoming::new(framing, coding, u64::MAX);
    }
}
