//! How endpoints are connected to.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Stream, pool};
use crate::{
    tls::Connector,
    upstream::{Endpoint, EndpointId},
};

/// Makes connections to endpoints.
///
/// The seam for other transports, and for tests that need an endpoint to misbehave in ways that no socket does.
pub trait Connect: 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Connects to an endpoint, with TLS where there is a connector.
    fn connect(&self, endpoint: &Endpoint, tls: Option<&Connector>) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Whether an idle connection is certainly still open, at the price of a system call.
    fn is_open(stream: &Self::Stream) -> bool;
}

/// TCP straight on tokio's sockets, and TLS straight on that.
///
/// Measured: a boxed stream with buffers of its own, as pingora-core has it, costs a request one part in ten more; and its
/// pool does not tell connections apart that were verified by different authorities.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

/// What connections to endpoints are kept by: the endpoint, and under which terms of TLS it was connected to. A
/// connection that was made under other terms, or with another certificate, is another connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Line {
    endpoint: EndpointId,
    /// The number of the connector; 0 without TLS.
    connector: u64,
}

// === impl Tcp ===

impl Connect for Tcp {
    type Stream = Stream;

    async fn connect(&self, endpoint: &Endpoint, tls: Option<&Connector>) -> io::Result<Stream> {
        let stream = TcpStream::connect(endpoint.address()).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return Ok(stream.into()) };
        let connector = TlsConnector::from(tls.config().clone());
        let stream = connector.connect(tls.name_of(endpoint.address().ip()), stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    fn is_open(stream: &Stream) -> bool {
        pool::is_quiet_in_kernel(stream.tcp())
    }
}

// === impl Line ===

impl Line {
    pub(crate) fn new(endpoint: EndpointId, tls: Option<&Connector>) -> Self {
        Self { endpoint, connector: tls.map_or(0, Connector::number) }
    }
}
