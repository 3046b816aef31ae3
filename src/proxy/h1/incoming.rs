//! A body on its way in: what of the bytes in a buffer belongs to it.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncRead;

use crate::{
    http::{Body, Coding, Framing},
    proxy::{
        buffer::{Buffer, Size},
        seam::SourceError,
    },
};

/// Bodies longer than this are read into a large buffer.
const LONG: u64 = 16 * 1024;

/// A body that arrives in a buffer.
#[derive(Debug)]
pub(crate) struct Incoming {
    body: Body,
    /// How many bytes at the front of the buffer were found to be good and wait to be consumed.
    good: usize,
    limit: u64,
}

// === impl Incoming ===

impl Incoming {
    /// A body of at most `limit` bytes of payload.
    pub(crate) fn new(framing: Framing, coding: Coding, limit: u64) -> Self {
        Self { body: Body::new(framing, coding), good: 0, limit }
    }

    /// No body.
    pub(crate) fn none() -> Self {
        Self { body: Body::done(), good: 0, limit: 0 }
    }

    /// How large a buffer is worth for a body.
    pub(crate) fn size_for(framing: Framing) -> Size {
        match framing {
            Framing::Length(..=LONG) | Framing::None => Size::Small,
            _ => Size::Large,
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.good == 0 && self.body.is_done()
    }

    /// The trailers, where chunks were taken apart.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    /// How many bytes of payload have come.
    pub(crate) fn payload(&self) -> u64 {
        self.body.payload()
    }

    /// The bytes at the front of `inbox` that are good to be passed on.
    pub(crate) fn ready<'b>(&mut self, inbox: &'b mut Buffer) -> Result<&'b [u8], SourceError> {
        while self.good == 0 && !self.body.is_done() && !inbox.is_empty() {
            let step = self.body.feed(inbox.bytes())?;
            if self.body.payload() > self.limit {
                return Err(SourceError::TooLarge);
            }
            inbox.consume(step.skip);
            self.good = step.pass;
        }
        Ok(&inbox.bytes()[..self.good])
    }

    pub(crate) fn consume(&mut self, inbox: &mut Buffer, count: usize) {
        self.good -= count;
        inbox.consume(count);
    }

    /// Gives away the first of the good bytes, at most `most`.
    pub(crate) fn take(&mut self, inbox: &mut Buffer, most: usize) -> Bytes {
        let count = self.good.min(most);
        self.good -= count;
        inbox.take(count)
    }

    /// Reads more into `inbox`. Complete bodies are not read on; there, the bytes are somebody else's.
    pub(crate) fn poll_read<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        inbox: &mut Buffer,
    ) -> Poll<Result<(), SourceError>> {
        match ready!(inbox.poll_fill(cx, source, 0)) {
            Ok(0) => Poll::Ready(self.body.finish().map_err(SourceError::Bad)),
            Ok(_) => Poll::Ready(Ok(())),
            Err(_) => Poll::Ready(Err(SourceError::Io)),
        }
    }
}
