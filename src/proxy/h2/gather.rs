//! Sends at once what a connection has to say in one turn.
//!
//! The `h2` crate writes and flushes each frame that holds more than a few bytes: over TLS that is a record, and often
//! two, and a system call for each. Here its writes are gathered, and whoever drives the connection sends them when the
//! connection has nothing more to say.
//!
//! TLS copies what it encrypts, and keeps records until they are sent. So what fills records is given to it at once, from
//! where it lies, and only the rest is gathered.

use std::{
    cell::RefCell,
    io, iter,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::buffer::{Buffer, Size};

/// The most bytes that a record of TLS holds.
const RECORD: usize = 16 * 1024;
/// How many bytes are in records when they are sent before the turn is over. Measured: with 64 KiB or more, what is
/// encrypted has left the cache before it is sent.
const SEALED: usize = 3 * RECORD;

/// Encrypts bytes, to be sent with the next flush. Gives how many there was room for.
pub(crate) type Seal<S> = fn(&mut S, &[io::IoSlice<'_>]) -> io::Result<usize>;

/// A connection as the `h2` crate is given it.
#[derive(Debug)]
pub(crate) struct Gathered<S>(Rc<RefCell<Gathering<S>>>);

/// What sends what was gathered.
#[derive(Debug)]
pub(crate) struct Outlet<S>(Rc<RefCell<Gathering<S>>>);

#[derive(Debug)]
struct Gathering<S> {
    stream: S,
    seal: Option<Seal<S>>,
    /// Less than a record, where there are records.
    waiting: Buffer,
    /// How many bytes the stream was given since all its records were sent.
    sealed: usize,
}

/// The two ends of a connection; `seal` where its stream can take what it sends later.
pub(crate) fn gather<S>(stream: S, seal: Option<Seal<S>>) -> (Gathered<S>, Outlet<S>) {
    let size = if seal.is_some() { Size::Small } else { Size::Large };
    let gathering = Gathering { stream, seal, waiting: Buffer::new(size), sealed: 0 };
    let gathering = Rc::new(RefCell::new(gathering));
    (Gathered(Rc::clone(&gathering)), Outlet(gathering))
}

// === impl Outlet ===

impl<S: AsyncWrite + Unpin> Outlet<S> {
    /// Whether nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        let gathering = self.0.borrow();
        gathering.waiting.is_empty() && gathering.sealed == 0
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
        self.poll_flush(cx)
    }

    /// Sends the records that the stream holds.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.sealed = 0;
        Poll::Ready(Ok(()))
    }

    /// Takes as much of `parts` as there is room for.
    fn poll_take(&mut self, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(seal) = self.seal else { return self.poll_gather(cx, parts) };
        let length: usize = parts.iter().map(|part| part.len()).sum();
        while self.waiting.len() + length >= RECORD {
            if self.sealed >= SEALED {
                ready!(self.poll_flush(cx))?;
            }
            let waiting = self.waiting.len();
            let sealed = seal(&mut self.stream, &records(self.waiting.bytes(), parts))?;
            self.sealed += sealed;
            self.waiting.consume(sealed.min(waiting));
            if sealed > waiting {
                return Poll::Ready(Ok(sealed - waiting));
            }
            // The stream holds as many as it may.
            ready!(self.poll_flush(cx))?;
        }
        self.poll_gather(cx, parts)
    }

    /// Has as much of `parts` wait as there is room for.
    fn poll_gather(&mut self, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut gathered = 0;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            match self.poll_append(cx, part) {
                Poll::Ready(Ok(count)) => {
                    gathered += count;
                    if count < part.len() {
                        break;
                    }
                }
                // What was taken must be told; what stands in the way says so again.
                Poll::Pending | Poll::Ready(Err(_)) if gathered > 0 => break,
                failed => return failed,
            }
        }
        Poll::Ready(Ok(gathered))
    }

    fn poll_append(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
        self.0.borrow_mut().poll_take(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_take(cx, parts)
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

/// As much of `waiting`, then of `parts`, as makes whole records.
fn records<'a>(waiting: &'a [u8], parts: &'a [io::IoSlice<'_>]) -> SmallVec<[io::IoSlice<'a>; 4]> {
    let all = || iter::once(waiting).chain(parts.iter().map(|part| &**part));
    let length: usize = all().map(<[u8]>::len).sum();
    let mut room = length - length % RECORD;
    let whole = all().map(|part| {
        let part = &part[..part.len().min(room)];
        room -= part.len();
        io::IoSlice::new(part)
    });
    whole.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker, time::Duration};

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
        let (mut gathered, outlet) = gather(ours, None);
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
        let (mut gathered, outlet) = gather(ours, None);
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

    /// A connection with room for so many bytes in records, of which it tells the lengths.
    struct Sealing {
        room: usize,
        records: Vec<usize>,
        sent: Vec<u8>,
        writes: usize,
        blocked: bool,
        sealed: Vec<u8>,
    }

    impl Sealing {
        fn new(room: usize) -> Self {
            Self { room, records: Vec::new(), sent: Vec::new(), writes: 0, blocked: false, sealed: Vec::new() }
        }

        fn seal(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            let count = bytes.len().min(self.room - self.sealed.len());
            self.records.extend(bytes[..count].chunks(RECORD).map(<[u8]>::len));
            self.sealed.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    impl AsyncWrite for Sealing {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let sealed = self.seal(&[io::IoSlice::new(bytes)])?;
            match self.poll_flush(cx) {
                Poll::Pending if sealed == 0 => Poll::Pending,
                _ => Poll::Ready(Ok(sealed)),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            if this.blocked {
                return Poll::Pending;
            }
            this.sent.append(&mut this.sealed);
            this.writes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    /// Writes frames of so many bytes behind heads, and gives their bytes.
    async fn write_frames(gathered: &mut Gathered<Sealing>, count: u8, length: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for frame in 0..count {
            let (head, content) = ([frame; 9], vec![frame; length]);
            let written = [&head[..], &content[..]].concat();
            let mut at = 0;
            while at < written.len() {
                let (head, content) = (&head[at.min(9)..], &content[at.saturating_sub(9)..]);
                at += gathered.write_vectored(&[io::IoSlice::new(head), io::IoSlice::new(content)]).await.unwrap();
            }
            all.extend_from_slice(&written);
        }
        all
    }

    fn end_turn(outlet: &Outlet<Sealing>) {
        assert!(outlet.end_turn(&mut Context::from_waker(Waker::noop()), Poll::<()>::Pending).is_pending());
    }

    #[tokio::test]
    async fn records_are_filled_and_leave_together() {
        let (mut gathered, outlet) = gather(Sealing::new(usize::MAX), Some(Sealing::seal));
        let all = write_frames(&mut gathered, 6, RECORD).await;
        assert!(!outlet.is_empty());
        assert_eq!(outlet.0.borrow().stream.writes, 1, "not all waits for the end of the turn");
        end_turn(&outlet);
        assert!(outlet.is_empty());
        let gathering = outlet.0.borrow();
        assert!(gathering.waiting.is_released());
        assert_eq!(gathering.stream.records, [&[RECORD; 6][..], &[6 * 9]].concat());
        assert!(gathering.stream.sent == all, "all is sent, in order");
    }

    #[tokio::test]
    async fn small_frames_share_a_record() {
        let (mut gathered, outlet) = gather(Sealing::new(usize::MAX), Some(Sealing::seal));
        let all = write_frames(&mut gathered, 10, 100).await;
        end_turn(&outlet);
        assert_eq!(outlet.0.borrow().stream.records, [all.len()]);
    }

    #[tokio::test]
    async fn full_records_wait_for_a_slow_peer_within_bounds() {
        let (mut gathered, outlet) = gather(Sealing::new(40_000), Some(Sealing::seal));
        outlet.0.borrow_mut().stream.blocked = true;
        let text: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        let mut taken = 0;
        while let Ok(count) = timeout(Duration::from_millis(20), gathered.write(&text[taken..])).await {
            taken += count.unwrap();
        }
        assert!((40_000..40_000 + RECORD).contains(&taken), "{taken}");
        end_turn(&outlet);
        assert!(!outlet.is_empty());
        outlet.0.borrow_mut().stream.blocked = false;
        gathered.write_all(&text[taken..]).await.unwrap();
        end_turn(&outlet);
        assert!(outlet.is_empty());
        assert!(outlet.0.borrow().stream.sent == text, "all comes, in order");
    }

    #[tokio::test]
    async fn what_waits_leaves_before_the_end() {
        let (ours, mut theirs) = duplex(1024);
        let (mut gathered, _outlet) = gather(ours, None);
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
        let (mut gathered, outlet) = gather(ours, None);
        gathered.write_all(b"lost").await.unwrap();
        assert!(!send(&outlet).await);
    }
}
