//! Bodies: a text, or what a thread writes piece by piece as fast as the client reads.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use tokio::{sync::mpsc, task::spawn_blocking};

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Option<Bytes>),
    Pieces(mpsc::Receiver<Piece>),
}

/// A part of what is written.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// Nothing follows. Where it does not come, the body was cut off.
    End,
}

/// Gathers small writes into pieces, and waits until the client has read the ones before.
struct PieceWriter {
    pieces: mpsc::Sender<Piece>,
    gathered: Vec<u8>,
}

/// How large a piece is.
const PIECE: usize = 32 << 10;

/// How many pieces may wait for the client.
const WAITING: usize = 2;

// === impl Body ===

impl Body {
    pub(super) fn of(text: String) -> Self {
        Self::Whole(Some(text.into()))
    }

    /// What `write` writes, on a thread that may block.
    pub(super) fn written_by(write: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static) -> Self {
        let (pieces, received) = mpsc::channel(WAITING);
        spawn_blocking(move || {
            let mut writer = PieceWriter { pieces, gathered: Vec::with_capacity(PIECE) };
            // An error is a client that left, or a view that failed: either way the body ends without its end.
            if write(&mut writer).is_ok() && io::Write::flush(&mut writer).is_ok() {
                let _ = writer.pieces.blocking_send(Piece::End);
            }
        });
        Self::Pieces(received)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => Poll::Ready(match ready!(pieces.poll_recv(cx)) {
                Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Piece::End) => None,
                None => Some(Err(io::Error::other("what should be shown could not be written"))),
            }),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

// === impl PieceWriter ===

impl io::Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Piece::Bytes(piece.into())).map_err(gone)
    }
}

/// Reads a body; none where it has more than `limit` bytes.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Some(data) = frame?.data_ref() {
            if bytes.len() + data.len() > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Some(bytes))
}
