//! Watches the frames of a client, and says when they cost more than they are for.
//!
//! A frame that carries no part of a request still has to be read and often answered: PING, SETTINGS, PRIORITY, windows.
//! A client may send as many as it likes as long as they are few beside what it really sends and takes. Resets have a
//! budget of their own, since a request that is taken back at once costs us nearly what one costs that is served
//! (CVE-2023-44487). The `h2` crate bounds what is left: fields in all their frames, empty DATA, resets that its own
//! side has to send.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{http::relay::PREFACE, proxy::buffer::Buffer};

/// How many bytes of other frames a connection may send that carries nothing, and how many more a second: a stream that
/// is idle for hours is kept alive by PINGs.
const FREE: u64 = 64 << 10;
const FREE_A_SECOND: u64 = 256;
/// How many resets at once, and how many more a second.
const RESETS: f64 = 200.0;
const RESETS_A_SECOND: f64 = 20.0;

/// A client's connection, watched.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    /// What was read of the connection before.
    before: Buffer,
    frames: Frames,
    verdict: Rc<Cell<Verdict>>,
}

/// What is to be thought of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Verdict {
    #[default]
    Fine,
    /// It floods us.
    Floods,
}

/// A place in a client's frames, and what was seen.
#[derive(Debug)]
struct Frames {
    /// How many bytes of the preface, then of each frame's content, are still to be passed over.
    pass: u64,
    /// The head of the next frame, as far as it has come.
    head: [u8; 9],
    filled: usize,
    carrying: u64,
    other: u64,
    resets: f64,
    resets_counted_at: Instant,
    began: Instant,
}

// === impl Guarded ===

impl<S> Guarded<S> {
    /// Watches `stream`, of which `before` was read already.
    pub(crate) fn new(stream: S, before: Buffer) -> (Self, Rc<Cell<Verdict>>) {
        let verdict = Rc::new(Cell::default());
        let guarded = Self { stream, before, frames: Frames::new(Instant::now()), verdict: Rc::clone(&verdict) };
        (guarded, verdict)
    }

    fn watch(&mut self, bytes: &[u8]) {
        if self.frames.see(bytes, Instant::now) {
            self.verdict.set(Verdict::Floods);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        if self.before.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let count = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before.bytes()[..count]);
            self.before.consume(count);
            self.before.release();
        }
        self.watch(&buffer.filled()[start..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.frames.took(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts))?;
        self.frames.took(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// === impl Frames ===

impl Frames {
    fn new(now: Instant) -> Self {
        Self {
            pass: PREFACE.len() as u64,
            head: [0; 9],
            filled: 0,
            carrying: 0,
            other: 0,
            resets: RESETS,
            resets_counted_at: now,
            began: now,
        }
    }

    /// Takes note of what the client sent. Returns whether that is too much.
    fn see(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> bool {
        while !bytes.is_empty() {
            let passed = bytes.len().min(usize::try_from(self.pass).unwrap_or(usize::MAX));
            self.pass -= passed as u64;
            bytes = &bytes[passed..];
            let head = bytes.len().min(self.head.len() - self.filled);
            self.head[self.filled..self.filled + head].copy_from_slice(&bytes[..head]);
            self.filled += head;
            bytes = &bytes[head..];
            if self.pass == 0 && self.filled == self.head.len() {
                self.filled = 0;
                self.count(&now);
            }
        }
        // The clock is asked only where that could make a difference.
        let free = FREE + self.carrying;
        let floods = || self.other > free + now().duration_since(self.began).as_secs() * FREE_A_SECOND;
        self.resets < 0.0 || self.other > free && floods()
    }

    /// Takes note of what the client took, which pays for its own frames too, but less: each PING has an answer of its
    /// size.
    fn took(&mut self, bytes: usize) {
        self.carrying += bytes as u64 / 4;
    }

    /// Counts the frame whose head has come.
    fn count(&mut self, now: &impl Fn() -> Instant) {
        let [a, b, c, kind, ..] = self.head;
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        self.pass = length;
        match kind {
            // HEADERS and CONTINUATION; DATA that is not empty.
            1 | 9 => self.carrying += length,
            0 if length > 0 => self.carrying += length,
            3 => {
                let now = now();
                let earned = now.duration_since(self.resets_counted_at).as_secs_f64() * RESETS_A_SECOND;
                self.resets = (self.resets + earned).min(RESETS) - 1.0;
                self.resets_counted_at = now;
            }
            _ => self.other += length + 9,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Duration;

    use super::*;

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const PING: u8 = 6;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let size = (length as u32).to_be_bytes();
        let mut frame = vec![size[1], size[2], size[3], kind, 0, 0, 0, 0, 1];
        frame.resize(9 + length, 0xff);
        frame
    }

    fn frames() -> Frames {
        let mut frames = Frames::new(Instant::now());
        assert!(!frames.see(PREFACE, Instant::now));
        frames
    }

    #[test]
    fn pings_are_free_up_to_a_limit_and_then_cost_what_was_carried() {
        let mut frames = frames();
        let free = FREE / 17;
        for _ in 0..free {
            assert!(!frames.see(&frame(PING, 8), Instant::now));
        }
        assert!(frames.see(&frame(PING, 8), Instant::now));
        assert!(!frames.see(&frame(DATA, 1000), Instant::now), "what is carried pays for them");
    }

    #[test]
    fn what_the_client_takes_pays_for_its_pings_but_their_answers_do_not() {
        let mut frames = frames();
        frames.took(4 << 20);
        for _ in 0..(1 << 20) / 17 {
            assert!(!frames.see(&frame(PING, 8), Instant::now));
        }
        let mut sent = 0;
        while !frames.see(&frame(PING, 8), Instant::now) {
            frames.took(17);
            sent += 1;
            assert!(sent < 10_000, "answers to pings must not pay for pings");
        }
    }

    #[test]
    fn a_stream_that_is_idle_for_hours_may_be_kept_alive() {
        let mut frames = frames();
        let start = frames.began;
        for second in (0..24 * 3600).step_by(5) {
            assert!(!frames.see(&frame(PING, 8), || start + Duration::from_secs(second)));
        }
    }

    #[test]
    fn empty_data_is_not_carrying() {
        let mut frames = frames();
        let flooded = (0..FREE).any(|_| frames.see(&frame(DATA, 0), Instant::now));
        assert!(flooded);
    }

    #[test]
    fn resets_have_a_budget_that_comes_back() {
        let mut frames = frames();
        let start = frames.began;
        for _ in 0..RESETS as usize {
            assert!(!frames.see(&frame(HEADERS, 50), || start));
            assert!(!frames.see(&frame(RESET, 4), || start));
        }
        let later = start + Duration::from_secs(1);
        for _ in 0..RESETS_A_SECOND as usize {
            assert!(!frames.see(&frame(RESET, 4), || later));
        }
        assert!(frames.see(&frame(RESET, 4), || later));
    }

    #[test]
    fn frames_are_told_apart_however_they_come() {
        let mut bytes = PREFACE.to_vec();
        for (kind, length) in [(PING, 8), (HEADERS, 300), (DATA, 0), (DATA, 20_000), (PING, 8)] {
            bytes.extend(frame(kind, length));
        }
        for piece in [1, 2, 7, 9, 24, 33, 1000, bytes.len()] {
            let mut frames = Frames::new(Instant::now());
            for piece in bytes.chunks(piece) {
                assert!(!frames.see(piece, Instant::now));
            }
            assert_eq!((frames.carrying, frames.other), (20_300, 17 + 9 + 17), "pieces of {piece}");
        }
    }

    proptest! {
        #[test]
        fn any_frames_in_any_pieces_are_counted_as_what_they_are(
            sent in proptest::collection::vec((0_u8..12, 0_usize..300), 0..40),
            pieces in proptest::collection::vec(1_usize..80, 1..20),
        ) {
            let mut bytes = PREFACE.to_vec();
            let (mut carrying, mut other, mut resets) = (0, 0, 0.0);
            for (kind, length) in &sent {
                bytes.extend(frame(*kind, *length));
                match kind {
                    0 | 1 | 9 if *length > 0 || *kind > 0 => carrying += *length as u64,
                    3 => resets += 1.0,
                    _ => other += *length as u64 + 9,
                }
            }
            let mut frames = Frames::new(Instant::now());
            let start = frames.began;
            let mut rest = &bytes[..];
            for piece in pieces.iter().cycle() {
                let (piece, left) = rest.split_at((*piece).min(rest.len()));
                frames.see(piece, || start);
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((frames.carrying, frames.other, frames.resets), (carrying, other, RESETS - resets));
            prop_assert_eq!((frames.pass, frames.filled), (0, 0), "the next frame is where it is");
        }

        #[test]
        fn any_bytes_are_seen(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
            let mut frames = Frames::new(Instant::now());
            for piece in bytes.chunks(piece) {
                frames.see(piece, Instant::now);
            }
        }
    }
}
