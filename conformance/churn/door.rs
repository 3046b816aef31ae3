//! Where load comes in.

use crate::{client::Client, grpc::Caller, tls::Trust, wire::Stream};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;

/// A port of the gateway, and how it is spoken to.
#[derive(Clone, Debug)]
pub(super) struct Door {
    address: SocketAddr,
    /// Whom to trust there, where it is one for TLS.
    trust: Option<Arc<Trust>>,
}

// === impl Door ===

impl Door {
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address, trust: None }
    }

    pub(super) fn tls(address: SocketAddr, trust: &Arc<Trust>) -> Self {
        Self { address, trust: Some(trust.clone()) }
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.trust.is_some() { "https" } else { "http" }
    }

    /// Connects to speak HTTP/1.
    pub(super) async fn client(&self, host: &str) -> io::Result<Client> {
        match &self.trust {
            None => Client::connect(self.address).await,
            Some(trust) => Client::connect_by_tls(self.address, host, trust).await,
        }
    }

    /// Connects to make calls of gRPC.
    pub(super) async fn caller(&self, host: &str) -> Caller {
        match &self.trust {
            None => Caller::plain(self.address, host).await,
            Some(trust) => Caller::tls(self.address, host, trust).await,
        }
    }

    /// Connects to speak HTTP/2.
    pub(super) async fn connect(&self, host: &str) -> io::Result<Box<dyn Stream>> {
        match &self.trust {
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Some(trust) => Ok(Box::new(trust.connect_offering(self.address, host, b"h2").await?)),
        }
    }
}
