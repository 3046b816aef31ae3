//! Buffers: taken from the worker when bytes arrive, given back when they are empty.
//!
//! Of ten thousand connections nearly all are idle at any moment. A connection therefore owns no memory for bytes: a
//! [`Buffer`] takes some from its thread when there is something to read and gives it back as soon as a read would
//! wait. The lists of free memory belong to the thread, so that taking and giving are a push and a pop.

use std::{
    cell::RefCell,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

/// The size for what clients send: heads mostly.
const SMALL: usize = 16 * 1024;
/// The size for what endpoints send, and for large request bodies. Measured: with 16 KiB or 256 KiB, large bodies cost
/// twice as much.
const LARGE: usize = 64 * 1024;
/// The size at which heads to be sent begin.
const OUT: usize = 4 * 1024;
/// How many free pieces of memory of each size a thread keeps.
const KEPT: usize = 256;

thread_local! {
    static FREE: RefCell<Free> = const { RefCell::new(Free { small: Stack::new(), large: Stack::new(), out: Stack::new() }) };
}

/// Bytes that were read and not yet consumed.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Empty while the buffer holds no memory; all of it initialised otherwise.
    memory: Vec<u8>,
    start: usize,
    end: usize,
    size: Size,
}

/// How much memory a buffer takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Size {
    #[default]
    Small,
    Large,
}

/// Memory that was given away with the bytes in it. The thread has it back when nobody needs them any more.
struct Given {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

/// The free memory of a thread.
struct Free {
    small: Stack,
    large: Stack,
    out: Stack,
}

/// Free memory of one size.
struct Stack {
    free: Vec<Vec<u8>>,
    /// The fewest pieces that were free since the last trim: that many nobody needed.
    spare: usize,
}

// === impl Buffer ===

impl Buffer {
    pub(crate) fn new(size: Size) -> Self {
        Self { memory: Vec::new(), start: 0, end: 0, size }
    }

    /// What was read and not yet consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count.min(self.len());
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Takes memory of another size from the next time on that memory is taken.
    pub(crate) fn resize(&mut self, size: Size) {
        if self.size != size && self.is_empty() {
            self.release();
        }
        // Memory that is held keeps its size, which `release` sees by its length.
        self.size = size;
    }

    /// Gives the memory back to the thread, if no bytes are in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() && !self.memory.is_empty() {
            self.start = 0;
            self.end = 0;
            give(mem::take(&mut self.memory));
        }
    }

    /// Takes as many of `bytes` as there is room for, and gives how many that are. Where there are many, it is to be empty
    /// from time to time: no room is made by moving.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        if self.memory.is_empty() {
            self.memory = take(self.size);
        }
        let count = bytes.len().min(self.memory.len() - self.end);
        self.memory[self.end..self.end + count].copy_from_slice(&bytes[..count]);
        self.end += count;
        count
    }

    /// Gives away the first `count` bytes: with all the memory, where they are most of it, and else as a copy.
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        let rest = self.len() - count;
        if 2 * count < self.memory.len() || rest > SMALL {
            let copy = Bytes::copy_from_slice(&self.bytes()[..count]);
            self.consume(count);
            return copy;
        }
        let (memory, start, end) = (mem::take(&mut self.memory), self.start, self.start + count);
        self.start = 0;
        self.end = 0;
        self.append(&memory[end..end + rest]);
        Bytes::from_owner(Given { memory, start, end })
    }

    /// Whether no memory is held.
    #[cfg(test)]
    pub(crate) fn is_released(&self) -> bool {
        self.memory.is_empty()
    }

    /// Reads once and gives the number of bytes, 0 at the end of the stream.
    ///
    /// Where the read would wait, an empty buffer holds no memory afterwards. A full buffer grows up to `limit` bytes;
    /// beyond, the error is of kind `StorageFull`.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if self.memory.is_empty() {
            self.memory = take(self.size);
        }
        if self.end == self.memory.len() {
            self.make_room(limit)?;
        }
        let mut unfilled = ReadBuf::new(&mut self.memory[self.end..]);
        match Pin::new(source).poll_read(cx, &mut unfilled) {
            Poll::Ready(Ok(())) => {
                let count = unfilled.filled().len();
                self.end += count;
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
        }
    }

    fn make_room(&mut self, limit: usize) -> io::Result<()> {
        if self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        } else if self.memory.len() < limit {
            let size = (2 * self.memory.len()).min(limit);
            self.memory.resize(size, 0);
        } else {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.start = self.end;
        self.release();
    }
}

// === impl Given ===

impl AsRef<[u8]> for Given {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        give(mem::take(&mut self.memory));
    }
}

// === impl Stack ===

impl Stack {
    const fn new() -> Self {
        Self { free: Vec::new(), spare: 0 }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let memory = self.free.pop()?;
        self.spare = self.spare.min(self.free.len());
        Some(memory)
    }

    fn give(&mut self, memory: Vec<u8>) {
        if self.free.len() < KEPT {
            self.free.push(memory);
        }
    }

    /// Frees half of what nobody needed since the last trim.
    fn trim(&mut self) {
        self.free.truncate(self.free.len() - self.spare / 2);
        self.spare = self.free.len();
    }
}

/// Memory of `size`, zeroed or with bytes of an earlier use.
fn take(size: Size) -> Vec<u8> {
    FREE.with_borrow_mut(|free| match size {
        Size::Small => free.small.take().unwrap_or_else(|| vec![0; SMALL]),
        Size::Large => free.large.take().unwrap_or_else(|| vec![0; LARGE]),
    })
}

/// Keeps memory for the next to take, unless it has grown or there is enough.
fn give(memory: Vec<u8>) {
    with_free(|free| match memory.len() {
        SMALL => free.small.give(memory),
        LARGE => free.large.give(memory),
        _ => {}
    });
}

/// An empty vector for a head that is to be sent.
pub(crate) fn take_out() -> Vec<u8> {
    FREE.with_borrow_mut(|free| free.out.take()).unwrap_or_else(|| Vec::with_capacity(OUT))
}

/// Keeps a vector of [`take_out`] for the next to take.
pub(crate) fn give_out(mut memory: Vec<u8>) {
    if (OUT..=LARGE).contains(&memory.capacity()) {
        memory.clear();
        with_free(|free| free.out.give(memory));
    }
}

/// Frees a part of what the thread keeps and did not need since the last call, so that a peak is not held for ever.
pub(crate) fn trim() {
    with_free(|free| {
        free.small.trim();
        free.large.trim();
        free.out.trim();
    });
}

/// Uses the thread's lists, unless the thread is ending and they are gone.
fn with_free(act: impl FnOnce(&mut Free)) {
    let _ = FREE.try_with(|free| act(&mut free.borrow_mut()));
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    struct Waits;

    impl AsyncRead for Waits {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn fill(buffer: &mut Buffer, mut source: impl AsyncRead + Unpin, limit: usize) -> Poll<io::Result<usize>> {
        buffer.poll_fill(&mut Context::from_waker(Waker::noop()), &mut source, limit)
    }

    #[test]
    fn an_empty_buffer_that_waits_holds_no_memory() {
        let mut buffer = Buffer::new(Size::Small);
        assert!(fill(&mut buffer, Waits, SMALL).is_pending());
        assert_eq!(buffer.memory.capacity(), 0);
    }

    #[test]
    fn a_buffer_with_bytes_that_waits_keeps_them() {
        let mut buffer = Buffer::new(Size::Small);
        assert!(matches!(fill(&mut buffer, &b"half a he"[..], SMALL), Poll::Ready(Ok(9))));
        assert!(fill(&mut buffer, Waits, SMALL).is_pending());
        assert_eq!(buffer.bytes(), b"half a he");
        buffer.consume(5);
        assert_eq!(buffer.bytes(), b"a he");
    }

    #[test]
    fn a_full_buffer_makes_room_then_grows_up_to_its_limit() {
        let endless = vec![b'x'; 10 * SMALL];
        let mut buffer = Buffer::new(Size::Small);
        assert!(matches!(fill(&mut buffer, &endless[..], SMALL), Poll::Ready(Ok(SMALL))));
        buffer.consume(100);
        assert!(matches!(fill(&mut buffer, &endless[..], SMALL), Poll::Ready(Ok(100))));
        assert!(matches!(fill(&mut buffer, &endless[..], 2 * SMALL), Poll::Ready(Ok(SMALL))));
        let Poll::Ready(Err(error)) = fill(&mut buffer, &endless[..], 2 * SMALL) else { panic!("it must be full") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn memory_that_nobody_needs_is_freed_by_and_by() {
        let taken: Vec<_> = (0..8).map(|_| take(Size::Large)).collect();
        taken.into_iter().for_each(give);
        trim();
        assert_eq!(FREE.with_borrow(|free| free.large.free.len()), 8, "all were in use since the start");
        trim();
        assert_eq!(FREE.with_borrow(|free| free.large.free.len()), 4);
    }

    #[test]
    fn memory_is_used_again() {
        let mut buffer = Buffer::new(Size::Large);
        assert!(matches!(fill(&mut buffer, &b"x"[..], LARGE), Poll::Ready(Ok(1))));
        let place = buffer.memory.as_ptr();
        drop(buffer);
        let again = take(Size::Large);
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn bytes_are_given_away_with_their_memory_where_they_are_most_of_it() {
        let place_of_next = || {
            let memory = take(Size::Large);
            memory.as_ptr()
        };
        let mut buffer = Buffer::new(Size::Large);
        let text: Vec<u8> = (0..LARGE).map(|at| at as u8).collect();
        assert!(matches!(fill(&mut buffer, &text[..], LARGE), Poll::Ready(Ok(LARGE))));
        let place = buffer.memory.as_ptr();
        buffer.consume(100);
        let (few, most) = (buffer.take(1000), buffer.take(LARGE - 2000));
        assert_eq!(few, text[100..1100]);
        assert_eq!(most, text[1100..LARGE - 900]);
        assert_eq!(most.as_ptr(), place.wrapping_add(1100));
        assert_eq!(buffer.bytes(), &text[LARGE - 900..], "what is left goes on in other memory");
        let rest = most.slice(5..10);
        drop(most);
        assert_ne!(place_of_next(), place, "a part is still needed");
        drop(rest);
        assert_eq!(place_of_next(), place, "the thread has it back");
    }

    #[test]
    fn bytes_with_many_behind_them_are_copied() {
        let mut buffer = Buffer::new(Size::Large);
        let text = vec![b'x'; LARGE];
        assert!(matches!(fill(&mut buffer, &text[..], LARGE), Poll::Ready(Ok(LARGE))));
        let place = buffer.memory.as_ptr();
        assert_eq!(buffer.take(LARGE - SMALL - 1).len(), LARGE - SMALL - 1);
        assert_eq!((buffer.memory.as_ptr(), buffer.len()), (place, SMALL + 1));
    }
}
