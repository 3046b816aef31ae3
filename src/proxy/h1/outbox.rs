//! What is to be sent on an HTTP/1 connection: heads, and small bodies right behind them.
//!
//! Every send is a system call, and for small messages they are most of the cost. So a head waits in its [`Outbox`] for
//! the bytes that come after it: a small body is copied behind it, a larger one is sent from where it lies in the same
//! vectored call. Without a head before them, bytes are never copied.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

use crate::{http::body::write_chunk_size, proxy::buffer};

/// The largest piece of a body that is copied behind a head.
const SMALL: usize = 8 * 1024;
/// How much waits at most before it must be sent.
const FULL: usize = 16 * 1024;

/// Bytes that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// So many bytes at the front are kept after they were sent, to be sent again.
    kept: usize,
    /// How many bytes were written in all.
    written: u64,
    /// Whether something was written since the last flush.
    is_dirty: bool,
}

// === impl Outbox ===

impl Outbox {
    /// The place to write a head to, behind what waits already.
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = buffer::take_out();
        }
        &mut self.bytes
    }

    /// What is here: the head, and small bodies behind it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps what waits, a request's head, also after it was sent.
    pub(crate) fn keep(&mut self) {
        self.kept = self.bytes.len();
    }

    /// Has what was kept wait again, and nothing else.
    pub(crate) fn rewind(&mut self) {
        self.bytes.truncate(self.kept);
        self.sent = 0;
        self.written = 0;
        self.is_dirty = false;
    }

    /// How many bytes were written in all, since the beginning or the last [`Outbox::rewind`].
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether everything was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Sends what waits and as much of `body` as can be; gives the number of bytes of `body` that need not be given
    /// again. They may still wait here: call [`Outbox::poll_flush`] before waiting for more.
    pub(crate) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        body: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let waiting = self.bytes.len() - self.sent;
            if waiting == 0 {
                let written = ready!(Pin::new(&mut *sink).poll_write(cx, body))?;
                return Poll::Ready(self.wrote(written));
            }
            if body.len() <= SMALL && self.bytes.len() + body.len() <= FULL {
                self.bytes.extend_from_slice(body);
                return Poll::Ready(Ok(body.len()));
            }
            let parts = [IoSlice::new(&self.bytes[self.sent..]), IoSlice::new(body)];
            let written = ready!(Pin::new(&mut *sink).poll_write_vectored(cx, &parts))?;
            self.wrote(written)?;
            self.advance(written.min(waiting));
            if written > waiting {
                return Poll::Ready(Ok(written - waiting));
            }
        }
    }

    /// As [`Outbox::poll_send`], with each piece of `body` as a chunk.
    ///
    /// What was sent counts as well as what waits: it is dropped when all was sent, and a sink that always leaves a
    /// little would otherwise let it grow for as long as the body lasts.
    pub(crate) fn poll_send_chunk<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        body: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.bytes.len() >= FULL {
            ready!(self.poll_flush(cx, sink))?;
        }
        let chunk = &body[..body.len().min(FULL)];
        if !chunk.is_empty() {
            let head = self.head();
            write_chunk_size(chunk.len(), head);
            head.extend_from_slice(chunk);
            head.extend_from_slice(b"\r\n");
        }
        Poll::Ready(Ok(chunk.len()))
    }

    /// Sends everything.
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.bytes[self.sent..]))?;
            self.wrote(written)?;
            self.advance(written);
        }
        if self.is_dirty {
            ready!(Pin::new(&mut *sink).poll_flush(cx))?;
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Notes a write, which must have taken something.
    fn wrote(&mut self, written: usize) -> io::Result<usize> {
        self.is_dirty = true;
        self.written += written as u64;
        if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
    }

    fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.is_empty() {
            self.sent = self.kept;
            self.bytes.truncate(self.kept);
        }
    }

    /// Gives the memory back, where nothing waits.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.sent = 0;
            self.kept = 0;
            buffer::give_out(std::mem::take(&mut self.bytes));
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        buffer::give_out(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A sink that takes so many bytes more, and then none.
    #[derive(Default)]
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Poll::Pending;
            }
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn chunks_do_not_pile_up_before_a_sink_that_always_leaves_some() {
        const ROOM: usize = 10 * 1024;
        let mut cx = Context::from_waker(Waker::noop());
        let (mut outbox, mut sink) = (Outbox::default(), Narrow::default());
        outbox.head().extend_from_slice(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let head = outbox.bytes.len();
        // With its framing, a chunk is as long as what the sink takes at once. What is left is always the head's length.
        let piece = [b'x'; ROOM - "27f8\r\n\r\n".len()];
        let (mut chunks, mut longest) = (0, 0);
        for _ in 0..1000 {
            sink.room = ROOM;
            if let Poll::Ready(sent) = outbox.poll_send_chunk(&mut cx, &mut sink, &piece) {
                assert_eq!(sent.expect("the sink takes all"), piece.len());
                chunks += 1;
            }
            longest = longest.max(outbox.bytes.len());
            let _ = outbox.poll_flush(&mut cx, &mut sink);
        }
        assert!(longest < 2 * FULL, "{longest} bytes");
        assert!(chunks > 400, "{chunks} chunks went through");
        sink.room = usize::MAX;
        assert!(outbox.poll_flush(&mut cx, &mut sink).is_ready() && outbox.is_empty());
        assert_eq!(sink.taken.len(), head + chunks * ROOM);
    }
}
