//! TLS to endpoints: whom they are trusted by, what they are shown, and what is asked of them.
//!
//! ```text
//! Secret ── Credentials::parse ──> CredentialsMap ── live ──┐
//!                                                           ├─> Connector ──> rustls
//! proxy-ssl-* ── Terms ─────────────────────────────────────┘
//! ```
//!
//! What always holds: where terms ask for a Secret or for verification, there is a connector only if that can be done.
//! Nothing here falls back to less.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rpds::HashTrieMapSync;
use rustls::{
    ClientConfig, SupportedProtocolVersion,
    client::danger::ServerCertVerifier,
    pki_types::ServerName,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};

mod credentials;
mod key;
mod verify;

#[cfg(test)]
mod tests;

pub use self::credentials::{Credentials, InvalidCredentials, SecretData};
use self::verify::{Anybody, Trusted};
use super::provider;
use crate::key::SecretKey;

/// What is known of the Secrets that are named. A copy costs nothing.
pub type CredentialsMap = HashTrieMapSync<SecretKey, Arc<Credentials>>;

/// How many connectors a worker keeps before it looks for some that nothing uses.
const KEPT: usize = 256;

/// What is asked of a connection to an endpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Terms {
    /// Where the authorities and the client's certificate are.
    pub secret: Option<SecretKey>,
    /// Whether the endpoint's certificate must be of an authority in the Secret, and for `name` where that is set.
    pub verify: bool,
    /// How many certificates may be between the endpoint's and the authority's.
    pub depth: u8,
    pub name: Option<Arc<str>>,
    /// Whether the name is sent.
    pub server_name: bool,
    pub tls12: bool,
    pub tls13: bool,
    /// Whether HTTP/2 is asked for (ALPN), and HTTP/1.1 otherwise.
    pub http2: bool,
}

/// Terms that can be kept, with all that it takes.
#[derive(Debug)]
pub struct Connector {
    number: u64,
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    /// The Secret and what was in it when the connector was made.
    credentials: Option<(SecretKey, Arc<Credentials>)>,
}

/// The connectors of a worker, by their terms.
#[derive(Debug, Default)]
pub struct Connectors(HashMap<Terms, Arc<Connector>>);

/// Why no connection may be made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum NoConnector {
    #[error("nothing usable has been seen in the Secret {0}")]
    NoCredentials(SecretKey),
    #[error("the endpoint is to be verified, and there is no authority to do it by")]
    NoAuthority,
    #[error("`{0}` is no name that a certificate could have")]
    Name(Arc<str>),
    #[error("the terms cannot be kept: {0}")]
    Terms(rustls::Error),
}

/// Whether a certificate could have this name: a DNS name or an address.
#[must_use]
pub fn is_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

// === impl Connector ===

impl Connector {
    /// Makes what it takes to connect under these terms, with what is known of Secrets.
    ///
    /// Sessions are resumed among connections of one connector.
    ///
    /// # Errors
    ///
    /// Where the terms cannot be kept; they are never kept in part.
    pub fn new(terms: &Terms, known: &CredentialsMap) -> Result<Self, NoConnector> {
        let credentials = match &terms.secret {
            Some(secret) => match known.get(secret) {
                Some(credentials) => Some((secret.clone(), credentials.clone())),
                None => return Err(NoConnector::NoCredentials(secret.clone())),
            },
            None => None,
        };
        let name = match &terms.name {
            Some(name) => {
                let parsed = ServerName::try_from(name.to_string());
                Some(parsed.map_err(|_| NoConnector::Name(name.clone()))?)
            }
            None => None,
        };
        let held = credentials.as_ref().map(|(_, credentials)| &**credentials);
        let config = client_config(terms, held)?;
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Ok(Self { number: NUMBER.fetch_add(1, Relaxed), config, name, credentials })
    }

    /// What tells it from all others: connections that are kept are kept by it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The settings of rustls.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// What rustls is told that an endpoint is called. Without a name it is its address, which is never sent.
    #[must_use]
    pub fn name_of(&self, endpoint: IpAddr) -> ServerName<'static> {
        self.name.clone().unwrap_or_else(|| ServerName::from(endpoint))
    }

    /// Whether its Secret still holds what it was made of.
    #[must_use]
    pub fn is_current(&self, known: &CredentialsMap) -> bool {
        self.credentials.as_ref().is_none_or(|(secret, credentials)| known.get(secret) == Some(credentials))
    }
}

/// The settings of rustls for terms.
///
/// # Errors
///
/// Where the terms cannot be kept.
pub fn client_config(terms: &Terms, credentials: Option<&Credentials>) -> Result<Arc<ClientConfig>, NoConnector> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ServerCertVerifier> = match (terms.verify, credentials) {
        (false, _) => Arc::new(Anybody { algorithms }),
        (true, Some(credentials)) if credentials.has_authority() => Arc::new(Trusted {
            roots: credentials.roots().clone(),
            known: credentials.authorities().clone(),
            depth: terms.depth.into(),
            named: terms.name.is_some(),
            algorithms,
        }),
        (true, _) => return Err(NoConnector::NoAuthority),
    };
    let versions: &[&SupportedProtocolVersion] = match (terms.tls12, terms.tls13) {
        (true, false) => &[&TLS12],
        (false, true) => &[&TLS13],
        _ => &[&TLS13, &TLS12],
    };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = builder.map_err(NoConnector::Terms)?.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match credentials.and_then(Credentials::client) {
        Some(client) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client.clone()))),
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = terms.server_name && terms.name.is_some();
    config.alpn_protocols = vec![if terms.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(Arc::new(config))
}

// === impl Connectors ===

impl Connectors {
    /// The connector of terms: the one of before as long as its Secret is the same.
    ///
    /// # Errors
    ///
    /// Where the terms cannot be kept.
    pub fn get(&mut self, terms: &Terms, known: &CredentialsMap) -> Result<Arc<Connector>, NoConnector> {
        if let Some(connector) = self.0.get(terms).filter(|connector| connector.is_current(known)) {
            return Ok(connector.clone());
        }
        self.0.remove(terms);
        let connector = Arc::new(Connector::new(terms, known)?);
        if self.0.len() >= KEPT {
            self.0.retain(|_, other| Arc::strong_count(other) > 1);
        }
        self.0.insert(terms.clone(), connector.clone());
        Ok(connector)
    }
}
