//! How endpoints are connected to.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Stream, pool};
use crate::upstream::Endpoint;

/// Makes connections to endpoints.
///
/// The seam for other transports, and for tests that need an endpoint to misbehave in ways that no socket does. A
/// policy for TLS will be a second argument; the pool's key has to hold it then, too.
pub trait Connect: 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Connects to an endpoint.
    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Whether an idle connection is certainly still open, at the price of a system call.
    fn is_open(stream: &Self::Stream) -> bool;
}

/// Plain TCP, straight on tokio's sockets: a boxed stream with buffers of its own would cost a request one part in ten
/// more (measured with `bench/proxy.rs`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

// === impl Tcp ===

impl Connect for Tcp {
    type Stream = Stream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<Stream> {
        let stream = TcpStream::connect(endpoint.address()).await?;
        stream.set_nodelay(true)?;
        Ok(stream.into())
    }

    fn is_open(stream: &Stream) -> bool {
        pool::is_quiet_in_kernel(stream.tcp())
    }
}
