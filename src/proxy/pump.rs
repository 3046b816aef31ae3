//! One direction of an exchange: a body moves from its source to its sink.

use std::task::{Context, Poll};

use super::seam::{Sink, Source, SourceError};

/// One direction of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Pump {
    /// Bytes that the source gave and the sink took.
    pub(crate) moved: u64,
    /// What the direction waits for, after it was polled.
    pub(crate) waits_for: Side,
}

/// A side of a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Side {
    #[default]
    Source,
    Sink,
}

/// Why a direction ended before the body did.
#[derive(Debug)]
pub(crate) enum Broken {
    Source(SourceError),
    /// It takes no more.
    Sink,
}

// === impl Pump ===

impl Pump {
    /// Moves what can be moved. Ready when the body is complete and all of it was sent.
    ///
    /// What waits in the sink before the body, a head, is sent as well, together with the beginning of the body if that
    /// is at hand. `tap` sees each piece that was moved.
    pub(crate) fn poll<S: Source, K: Sink>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
        mut tap: impl FnMut(&[u8]),
    ) -> Poll<Result<(), Broken>> {
        loop {
            let ready = source.ready().map_err(Broken::Source)?;
            if !ready.is_empty() {
                self.waits_for = Side::Sink;
                let Poll::Ready(room) = sink.poll_room(cx) else { return Poll::Pending };
                let room = room.map_err(|_| Broken::Sink)?;
                if room > 0 {
                    let piece = source.take(room);
                    tap(&piece);
                    self.moved += piece.len() as u64;
                    sink.keep(piece);
                    continue;
                }
                let Poll::Ready(sent) = sink.poll_send(cx, ready) else { return Poll::Pending };
                let sent = sent.map_err(|_| Broken::Sink)?;
                tap(&ready[..sent]);
                source.consume(sent);
                self.moved += sent as u64;
                continue;
            }
            if source.is_complete() {
                self.waits_for = Side::Sink;
                return sink.poll_finish(cx, source.trailers()).map_err(|_| Broken::Sink);
            }
            // Whatever the sink holds back for company must leave before there is a wait.
            let flushed = sink.poll_flush(cx).map_err(|_| Broken::Sink)?;
            match source.poll_read(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Source(error))),
                Poll::Pending => {
                    self.waits_for = if flushed.is_ready() { Side::Source } else { Side::Sink };
                    return Poll::Pending;
                }
            }
        }
    }
}
