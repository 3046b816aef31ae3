//! Where load comes in.

use crate::{client::Client, grpc::Caller};
use std::{io, net::SocketAddr};
use tokio::net::TcpStream;

/// A port of the gateway, and how it is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
}

// === impl Door ===

impl Door {
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(super) fn scheme(&self) -> &'static str {
        "http"
    }

    /// Connects to speak HTTP/1.
    pub(super) async fn client(&self) -> io::Result<Client> {
        Client::connect(self.address).await
    }

    /// Connects to make calls of gRPC.
    pub(super) async fn caller(&self, host: &str) -> Caller {
        Caller::plain(self.address, host).await
    }

    /// Connects to speak HTTP/2.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
