//! Connections, plain or through TLS.
//!
//! One type for both sides, so that everything above is compiled once. What TLS needs is on the heap: a plain connection
//! has no room for it.

use std::{
    io::{self, IoSlice, Write},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustls::ConnectionCommon;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

// === impl Stream ===

impl Stream {
    /// The socket below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// The protocol that was agreed on (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Whether it goes through TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Encrypts bytes, which the next flush sends. Gives how many there was room for: none on a plain connection.
    pub(crate) fn seal(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(_) => Ok(0),
            Self::Tls(stream) => match &mut **stream {
                TlsStream::Client(stream) => stream.get_mut().1.writer().write_vectored(parts),
                TlsStream::Server(stream) => stream.get_mut().1.writer().write_vectored(parts),
            },
        }
    }

    /// The name that a client gave in its handshake, empty where it gave none; none where there was no handshake.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(match &**stream {
                TlsStream::Server(stream) => stream.get_ref().1.server_name().unwrap_or_default(),
                TlsStream::Client(_) => "",
            }),
        }
    }
}

/// A client that is not told of the end by TLS itself must take it for an attack.
///
/// Nobody waits for it to be told. One whose connection is to be reset is told nothing: it must not believe that what it
/// has is all there is.
impl Drop for Stream {
    fn drop(&mut self) {
        let Self::Tls(stream) = self else { return };
        if SockRef::from(stream.get_ref().0).linger().is_ok_and(|linger| linger == Some(Duration::ZERO)) {
            return;
        }
        match &mut **stream {
            TlsStream::Client(stream) => {
                let (socket, session) = stream.get_mut();
                say_end(session, socket);
            }
            TlsStream::Server(stream) => {
                let (socket, session) = stream.get_mut();
                say_end(session, socket);
            }
        }
    }
}

/// Tells the peer that nothing more will come, as far as that can be done at once.
fn say_end<D>(session: &mut ConnectionCommon<D>, socket: &TcpStream) {
    session.send_close_notify();
    let mut records = Vec::new();
    while session.wants_write() && session.write_tls(&mut records).is_ok() {}
    let _ = socket.try_write(&records);
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp().as_fd()
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
