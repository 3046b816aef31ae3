//! Sends at once what a connection has to say in one turn.
//!
//! The `h2` crate writes and flushes each frame that holds more than a few bytes: over TLS that is a record, and often
//! two, and a system call for each. Here its writes are gathered, and whoever drives the connection sends them when the
//! connection has nothing more to say.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::buffer::{Buffer, Size};

/// A connection as the `h2` crate is given it.
#[derive(Debug)]
pub(crate) struct Gathered<S>(Rc<RefCell<Gathering<S>>>);

/// What sends what was gathered.
#[derive(Debug)]
pub(crate) struct Outlet<S>(Rc<RefCell<Gathering<S>>>);

#[derive(Debug)]
struct Gathering<S> {
    stream: S,
    waiting: Buffer,
}

/// The two ends of a connection.
pub(crate) fn gather<S>(stream: S) -> (Gathered<S>, Outlet<S>) {
    let gathering = Rc::new(RefCell::new(Gathering { stream, waiting: Buffer::new(Size::Large) }));
    (Gathered(Rc::clone(&gathering)), Outlet(gathering))
}

// === impl Outlet ===

impl<S: AsyncWrite + Unpin> Outlet<S> {
    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().waiting.is_empty()
    }

    /// Sends what was gathered in a turn that ends with nothing more to do. None where the peer has left: the connection
    /// is to be let go, and whatever is open on it ends.
    pub(crate) fn end_turn<T>(&self, cx: &mut Context<'_>, turn: Poll<T>) -> Poll<Option<T>> {
        match turn {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Where not all can be sent now, the task is woken when it can.
            Poll::Pending => match self.0.borrow_mut().poll_send(cx) {
                Poll::Ready(Err(_)) => Poll::Ready(None),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
        }
    }
}

// === impl Gathering ===

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, self.waiting.bytes()))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.consume(sent);
        }
        self.waiting.release();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Takes as much of `bytes` as there is room for.
    fn poll_take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = self.waiting.append(bytes);
        if taken > 0 || bytes.is_empty() {
            return Poll::Ready(Ok(taken));
        }
        ready!(self.poll_send(cx))?;
        Poll::Ready(Ok(self.waiting.append(bytes)))
    }
}

// === impl Gathered ===

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut gathering = self.0.borrow_mut();
        let mut taken = 0;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            match gathering.poll_take(cx, part) {
                Poll::Ready(Ok(count)) => {
                    taken += count;
                    if count < part.len() {
                        break;
                    }
                }
                // What was taken must be told; what stands in the way says so again.
                Poll::Pending | Poll::Ready(Err(_)) if taken > 0 => break,
                failed => return failed,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The outlet sends when the turn is over.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.0.borrow_mut();
        ready!(gathering.poll_send(cx))?;
        Pin::new(&mut gathering.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::timeout,
    };

    use super::*;

    /// Ends a turn, and waits until all that was gathered is sent. Returns whether it could be.
    async fn send(outlet: &Outlet<DuplexStream>) -> bool {
        poll_fn(|cx| match outlet.end_turn(cx, Poll::<()>::Pending) {
            Poll::Pending if outlet.0.borrow().waiting.is_released() => Poll::Ready(true),
            ended => ended.map(|_| false),
        })
        .await
    }

    #[tokio::test]
    async fn what_is_written_leaves_when_it_is_sent() {
        let (ours, mut theirs) = duplex(1024);
        let (mut gathered, outlet) = gather(ours);
        let parts = [io::IoSlice::new(b"two "), io::IoSlice::new(b""), io::IoSlice::new(b"frames")];
        assert_eq!(gathered.write_vectored(&parts).await.unwrap(), 10);
        gathered.flush().await.unwrap();
        let mut read = [0; 10];
        let early = timeout(Duration::from_millis(20), theirs.read(&mut read)).await;
        assert!(early.is_err(), "{early:?}");
        assert!(send(&outlet).await);
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"two frames");
        assert!(outlet.0.borrow().waiting.is_released());
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_bounds_what_waits() {
        let (ours, mut theirs) = duplex(10_000);
        let (mut gathered, outlet) = gather(ours);
        let text: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        let mut taken = 0;
        while let Ok(count) = timeout(Duration::from_millis(20), gathered.write(&text[taken..])).await {
            taken += count.unwrap();
        }
        assert!((64 << 10..=(64 << 10) + 10_000).contains(&taken), "{taken}");
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            read
        });
        gathered.write_all(&text[taken..]).await.unwrap();
        assert!(send(&outlet).await);
        gathered.shutdown().await.unwrap();
        drop((gathered, outlet));
        assert!(reading.await.unwrap() == text, "all comes, in order");
    }

    #[tokio::test]
    async fn what_waits_leaves_before_the_end() {
        let (ours, mut theirs) = duplex(1024);
        let (mut gathered, _outlet) = gather(ours);
        gathered.write_all(b"goodbye").await.unwrap();
        gathered.shutdown().await.unwrap();
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "goodbye");
    }

    #[tokio::test]
    async fn a_broken_peer_is_told() {
        let (ours, theirs) = duplex(16);
        drop(theirs);
        let (mut gathered, outlet) = gather(ours);
        gathered.write_all(b"lost").await.unwrap();
        assert!(!send(&outlet).await);
    }
}
