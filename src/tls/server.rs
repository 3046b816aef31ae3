//! TLS towards clients.
//!
//! One configuration serves all workers and every host: what differs by host is the certificate, which the resolver
//! takes from the live store at each handshake. So certificates are replaced without touching any connection, and a
//! session that one worker began is resumed by any other.

use std::sync::Arc;

use rustls::{
    Error,
    crypto::aws_lc_rs::Ticketer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

pub use rustls::ServerConfig;

use super::{Certificates, provider};
use crate::live::Live;

/// Which protocols clients are offered above TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocols {
    /// HTTP/2, besides HTTP/1.1.
    pub http2: bool,
}

/// Finds the certificate for a handshake.
#[derive(Clone, Debug)]
pub struct Resolver(pub Arc<Live<Certificates>>);

/// The configuration of all listeners: TLS 1.2 and 1.3 with the provider's own suites.
///
/// Sessions are resumed by tickets, whose keys change every six hours and are known to this process alone; nothing is
/// stored, so no worker waits for another. ingress-nginx has tickets off and shares a store of sessions instead.
///
/// # Errors
///
/// Where there is no randomness to be had for the keys of the tickets.
pub fn server_config(certificates: Arc<Live<Certificates>>, protocols: Protocols) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(certificates)));
    let http2 = protocols.http2.then(|| b"h2".to_vec());
    config.alpn_protocols = http2.into_iter().chain([b"http/1.1".to_vec()]).collect();
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

// === impl Protocols ===

impl Default for Protocols {
    fn default() -> Self {
        Self { http2: true }
    }
}

// === impl Resolver ===

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        let set = certificates.find(hello.server_name()).set;
        set.choose(hello.signature_schemes()).map(|certificate| certificate.certified_key().clone())
    }
}
