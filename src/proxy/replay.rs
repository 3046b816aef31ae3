//! The beginning of a request's body, kept to be sent again to another endpoint.
//!
//! A body passes through without being stored, so once it has passed, the request cannot be repeated. A small one is
//! kept beside; one that grows too large is let go, and with it the chance of another try.

use super::buffer;

/// The most bytes that are kept.
pub(crate) const MOST: usize = 64 * 1024;

/// What of a body was sent to an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    bytes: Vec<u8>,
    /// How many of the bytes the endpoint of this try was sent.
    sent: usize,
    overflowed: bool,
}

// === impl Replay ===

impl Replay {
    /// Keeps a piece that was sent.
    pub(crate) fn record(&mut self, piece: &[u8]) {
        if self.overflowed {
            return;
        }
        if self.bytes.len() + piece.len() > MOST {
            self.overflowed = true;
            buffer::give_out(std::mem::take(&mut self.bytes));
            self.sent = 0;
            return;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = buffer::take_out();
        }
        self.bytes.extend_from_slice(piece);
        self.sent = self.bytes.len();
    }

    /// Whether everything that was sent can be sent again.
    pub(crate) fn is_possible(&self) -> bool {
        !self.overflowed
    }

    /// Begins to send again.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// What is still to be sent again.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Notes that `count` more bytes were sent again.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        buffer::give_out(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_sent_again_and_then_goes_on() {
        let mut replay = Replay::default();
        replay.record(b"one ");
        replay.record(b"two ");
        assert_eq!(replay.rest(), b"");
        replay.rewind();
        assert_eq!(replay.rest(), b"one two ");
        replay.advance(3);
        assert_eq!(replay.rest(), b" two ");
        replay.advance(5);
        replay.record(b"three");
        replay.rewind();
        assert_eq!(replay.rest(), b"one two three");
    }

    #[test]
    fn a_long_body_is_let_go() {
        let mut replay = Replay::default();
        replay.record(&[0; MOST]);
        assert!(replay.is_possible());
        replay.record(&[0]);
        assert!(!replay.is_possible());
        assert_eq!(replay.rest(), b"");
    }
}
