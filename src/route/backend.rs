//! How endpoints are spoken to: by which protocol, and under which terms of TLS.
//!
//! An Ingress may say what its endpoints speak (`backend-protocol`), and so may the port of a Service (`appProtocol`).
//! [`Policy::transport`] is what follows for one request. No key and no certificate is here: a Secret is named, and what
//! is in it is found under its name when a connection is made.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

use super::{Policy, Scheme};
use crate::{http::Transport, key::SecretKey};

/// What the endpoints of a route speak (`backend-protocol`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BackendProtocol {
    Http,
    Https,
    Grpc,
    Grpcs,
    /// What the client used.
    AutoHttp,
}

/// The terms of TLS to endpoints (`proxy-ssl-*`). The defaults are ingress-nginx's: nobody is verified, and no name sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct BackendTls {
    /// Who endpoints' certificates are trusted by, and the certificate that they are shown. Where it is set and nothing
    /// is known under the name, no connection may be made.
    #[serde(serialize_with = "secret")]
    pub secret: Option<SecretKey>,
    /// Whether the chain of an endpoint's certificate must lead to an authority of the Secret, and the certificate be
    /// for `name` where that is set.
    pub verify: bool,
    /// How many certificates may be between an endpoint's and the authority's.
    pub depth: u8,
    /// The name that an endpoint's certificate must have, and that it is asked for: a DNS name or an address.
    pub name: Option<Arc<str>>,
    /// Whether the name is sent (SNI).
    pub server_name: bool,
    pub versions: TlsVersions,
}

/// The versions of TLS that endpoints may choose from: at least one.
///
/// Shown as `TLSv1.2 TLSv1.3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TlsVersions {
    Only12,
    Only13,
    #[default]
    Both,
}

// === impl Policy ===

impl Policy {
    /// How an endpoint is spoken to for one request.
    ///
    /// `service` is what the port of the Service says that its endpoints speak; it counts where the Ingress says nothing.
    /// `client` is the scheme of the client's own connection, as nginx's `$scheme`.
    #[must_use]
    pub fn transport(&self, service: Option<Transport>, client: Scheme) -> Transport {
        match self.backend_protocol {
            Some(protocol) => protocol.transport(client),
            None => service.unwrap_or_default(),
        }
    }
}

// === impl BackendProtocol ===

impl BackendProtocol {
    /// What it means for a request that came by `client`.
    #[must_use]
    pub const fn transport(self, client: Scheme) -> Transport {
        match (self, client) {
            (Self::Http, _) | (Self::AutoHttp, Scheme::Http) => Transport::HTTP,
            (Self::Https, _) | (Self::AutoHttp, Scheme::Https) => Transport::HTTPS,
            (Self::Grpc, _) => Transport::H2C,
            (Self::Grpcs, _) => Transport::H2,
        }
    }

    /// The name as the annotation has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Grpc => "GRPC",
            Self::Grpcs => "GRPCS",
            Self::AutoHttp => "AUTO_HTTP",
        }
    }
}

// === impl BackendTls ===

impl Default for BackendTls {
    fn default() -> Self {
        Self { secret: None, verify: false, depth: 1, name: None, server_name: false, versions: TlsVersions::default() }
    }
}

/// Writes a Secret's name as `shop/ca`.
fn secret<S: Serializer>(key: &Option<SecretKey>, serializer: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(ToString::to_string).serialize(serializer)
}

// === impl TlsVersions ===

impl fmt::Display for TlsVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Only12 => "TLSv1.2",
            Self::Only13 => "TLSv1.3",
            Self::Both => "TLSv1.2 TLSv1.3",
        })
    }
}

impl Serialize for TlsVersions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{BackendProtocol::*, *};

    fn speaking(backend_protocol: impl Into<Option<BackendProtocol>>) -> Policy {
        Policy { backend_protocol: backend_protocol.into(), ..Policy::default() }
    }

    #[test]
    fn the_ingress_says_what_endpoints_speak() {
        for (protocol, by_http, by_https) in [
            (Http, Transport::HTTP, Transport::HTTP),
            (Https, Transport::HTTPS, Transport::HTTPS),
            (Grpc, Transport::H2C, Transport::H2C),
            (Grpcs, Transport::H2, Transport::H2),
            (AutoHttp, Transport::HTTP, Transport::HTTPS),
        ] {
            let policy = speaking(protocol);
            for service in [None, Some(Transport::HTTP), Some(Transport::H2C), Some(Transport::HTTPS)] {
                assert_eq!(policy.transport(service, Scheme::Http), by_http, "{protocol:?}, {service:?}");
                assert_eq!(policy.transport(service, Scheme::Https), by_https, "{protocol:?}, {service:?}");
            }
        }
    }

    #[test]
    fn the_service_says_it_where_the_ingress_does_not() {
        let policy = speaking(None);
        for client in [Scheme::Http, Scheme::Https] {
            assert_eq!(policy.transport(None, client), Transport::HTTP);
            for service in [Transport::HTTP, Transport::HTTPS, Transport::H2C, Transport::H2] {
                assert_eq!(policy.transport(Some(service), client), service);
            }
        }
    }

    #[test]
    fn the_names_are_the_annotations() {
        for protocol in [Http, Https, Grpc, Grpcs, AutoHttp] {
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.as_str());
        }
    }
}
