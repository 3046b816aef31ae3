//! Bodies in frames, on their way in and out.

use std::{
    io,
    task::{Context, Poll, ready},
};

use ::h2::{RecvStream, SendStream};
use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{Buf, Bytes};

use crate::{
    http::{
        BadBody,
        body::{trailer_fields, write_trailer},
    },
    proxy::seam::SourceError,
};

/// The most bytes that are handed to the connection at once.
const PIECE: usize = 64 * 1024;
/// Pieces that are smaller are copied when they are passed on: each may be all that keeps the memory of a whole frame.
const SMALL: usize = 4 * 1024;
/// The most bytes of trailers, as in HTTP/1.
const TRAILERS: usize = 8 * 1024;

/// Who sends a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sender {
    /// What may not be a trailer is refused.
    Client,
    /// What may not be a trailer is left out: gRPC's metadata may have any name.
    Endpoint,
}

/// A body on its way in.
#[derive(Debug)]
pub(crate) struct Inflow {
    stream: RecvStream,
    sender: Sender,
    /// What has come and waits to be consumed.
    piece: Bytes,
    state: State,
    received: u64,
    limit: u64,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Data,
    Trailers,
    Done,
}

/// A body on its way out.
#[derive(Debug)]
pub(crate) struct Outflow {
    stream: SendStream<Bytes>,
    /// The last piece, kept until it is known whether it is the end: an end of its own would be a frame more.
    held: Bytes,
    ended: bool,
    sent: u64,
}

// === impl Inflow ===

impl Inflow {
    /// A body of at most `limit` bytes.
    pub(crate) fn new(stream: RecvStream, sender: Sender, limit: u64) -> Self {
        let state = if stream.is_end_stream() { State::Done } else { State::Data };
        Self { stream, sender, piece: Bytes::new(), state, received: 0, limit, trailers: Vec::new() }
    }

    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Takes no more, whatever comes.
    pub(crate) fn end(&mut self) {
        self.state = State::Done;
    }

    /// How many bytes have come.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn ready(&self) -> Result<&[u8], SourceError> {
        if self.received > self.limit { Err(SourceError::TooLarge) } else { Ok(&self.piece) }
    }

    /// Forgets the first `count` bytes, and lets the sender send as many more.
    pub(crate) fn consume(&mut self, count: usize) {
        self.piece.advance(count.min(self.piece.len()));
        // An error says that the stream has ended, which reading will say as well.
        let _ = self.stream.flow_control().release_capacity(count);
    }

    /// Gives away the first of the ready bytes, at most `most`.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        let count = self.piece.len().min(most);
        let taken =
            if count < SMALL { Bytes::copy_from_slice(&self.piece[..count]) } else { self.piece.slice(..count) };
        self.consume(count);
        taken
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Done && self.piece.is_empty()
    }

    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SourceError>> {
        loop {
            match self.state {
                State::Data => match ready!(self.stream.poll_data(cx)) {
                    // The connection counts empty frames, and ends where there are too many.
                    Some(Ok(piece)) if piece.is_empty() => {}
                    Some(Ok(piece)) => {
                        self.received += piece.len() as u64;
                        self.piece = piece;
                        if self.stream.is_end_stream() {
                            self.state = State::Done;
                        }
                        return Poll::Ready(Ok(()));
                    }
                    Some(Err(_)) => return Poll::Ready(Err(SourceError::Io)),
                    None => self.state = State::Trailers,
                },
                State::Trailers => {
                    let trailers = ready!(self.stream.poll_trailers(cx)).map_err(|_| SourceError::Io)?;
                    self.state = State::Done;
                    return Poll::Ready(trailers.map_or(Ok(()), |trailers| self.keep(&trailers)));
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Keeps trailers as lines.
    fn keep(&mut self, trailers: &HeaderMap) -> Result<(), SourceError> {
        for (name, value) in trailers {
            let good = write_trailer(name.as_str().as_bytes(), value.as_bytes(), &mut self.trailers);
            if !good && self.sender == Sender::Client || self.trailers.len() > TRAILERS {
                return Err(SourceError::Bad(BadBody::Trailer));
            }
        }
        Ok(())
    }
}

// === impl Outflow ===

impl Outflow {
    pub(crate) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, held: Bytes::new(), ended: false, sent: 0 }
    }

    /// How many bytes were taken.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn stream(&mut self) -> &mut SendStream<Bytes> {
        &mut self.stream
    }

    /// Takes a piece, when the last one has left.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, body: &[u8]) -> Poll<io::Result<usize>> {
        let room = ready!(self.poll_room(cx))?;
        let count = body.len().min(room);
        self.keep(Bytes::copy_from_slice(&body[..count]));
        Poll::Ready(Ok(count))
    }

    /// How large a piece may be, when the last one has left.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(PIECE))
    }

    /// Takes a piece, when there is room for it.
    pub(crate) fn keep(&mut self, piece: Bytes) {
        debug_assert!(self.held.is_empty());
        self.sent += piece.len() as u64;
        self.held = piece;
    }

    /// Hands what is held to the connection, as far as the receiver's window is open.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let piece = ready!(self.poll_piece(cx))?;
            self.stream.send_data(piece, false).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the body.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &[u8]) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        if !trailers.is_empty() {
            ready!(self.poll_flush(cx))?;
            self.stream.send_trailers(fields_of(trailers)).map_err(broken)?;
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        while !self.ended {
            let piece = if self.held.is_empty() { Bytes::new() } else { ready!(self.poll_piece(cx))? };
            self.ended = self.held.is_empty();
            self.stream.send_data(piece, self.ended).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes as much of what is held as may be sent now.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.stream.reserve_capacity(self.held.len());
        loop {
            let capacity = self.stream.capacity();
            if capacity > 0 {
                return Poll::Ready(Ok(self.held.split_to(capacity.min(self.held.len()))));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }
}

/// The trailers of kept lines.
fn fields_of(lines: &[u8]) -> HeaderMap {
    let fields = trailer_fields(lines)
        .filter_map(|(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?)));
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name, value);
    }
    map
}

/// The error of a sink whose stream or connection has ended.
pub(crate) fn broken(error: ::h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}
