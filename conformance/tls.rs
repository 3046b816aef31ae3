//! Certificates for gateways, and clients that trust them.

use serde_json::{Value, json};
use serin::tls::{Authority, Made};
use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        client::Resumption,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

/// An authority, and the clients that trust it alone.
#[derive(Debug)]
pub(crate) struct Trust {
    authority: Authority,
    client: Arc<ClientConfig>,
}

// === impl Trust ===

impl Trust {
    pub(crate) fn new() -> Self {
        let authority = Authority::from_now("Conformance", SystemTime::now()).expect("an authority can be made");
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.certificate().as_bytes()).expect("it is PEM");
        roots.add(root).expect("it is an authority");
        let client = ClientConfig::builder_with_provider(serin::tls::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { authority, client: Arc::new(client) }
    }

    /// A Secret with a certificate for these names.
    pub(crate) fn secret(&self, namespace: &str, name: &str, names: &[&str]) -> Value {
        let issued =
            self.authority.issue_from_now(names, Made::EcdsaP256, SystemTime::now()).expect("it can be issued");
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "namespace": namespace, "name": name },
            "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": issued.chain, "tls.key": issued.key },
        })
    }

    /// Connects by TLS as a client that asks for a host.
    pub(crate) async fn connect(&self, address: SocketAddr, host: &str) -> io::Result<TlsStream<TcpStream>> {
        connect(&self.client, address, host).await
    }

    /// The same, as a client that speaks a protocol alone, and begins anew each time.
    pub(crate) async fn connect_offering(
        &self,
        address: SocketAddr,
        host: &str,
        protocol: &[u8],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut client = ClientConfig::clone(&self.client);
        client.alpn_protocols = vec![protocol.to_vec()];
        client.resumption = Resumption::disabled();
        let stream = connect(&Arc::new(client), address, host).await?;
        stream.get_ref().0.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn connect(client: &Arc<ClientConfig>, address: SocketAddr, host: &str) -> io::Result<TlsStream<TcpStream>> {
    let host = host.split(':').next().unwrap_or_default().to_owned();
    let name = host.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    TlsConnector::from(client.clone()).connect(name, TcpStream::connect(address).await?).await
}
