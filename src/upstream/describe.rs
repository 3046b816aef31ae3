//! Descriptions of endpoints, as translation makes them.

use std::{fmt, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

use crate::http::Transport;

/// Where a cluster's requests may go.
///
/// Only endpoints that may be used are in it: what is ready, serving or terminating has been judged before.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Endpoints {
    origin: Origin,
    /// How long after its last request a client comes back to the same endpoint (`sessionAffinity: ClientIP`).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    client_ip_affinity: Option<Duration>,
    /// What the port of the Service says that its endpoints speak (`appProtocol`).
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<Transport>,
}

/// Where the addresses of a cluster come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Known addresses: sorted, each once.
    Addresses(Arc<[EndpointSpec]>),
    /// What DNS answers for a name.
    Name(ExternalName),
}

/// An address, and its share.
///
/// Shown as `10.0.0.1:8080`, and as `10.0.0.1:8080 weight 3` where it is not 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndpointSpec {
    pub address: SocketAddr,
    /// Its share of the requests, compared with the others' weights.
    pub weight: NonZeroU32,
}

/// The name that a Service of type `ExternalName` stands for, and the port to connect to.
///
/// Shown as `db.example:5432`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ExternalName {
    /// As the Service has it: relative to the search domains unless it has enough dots or ends with one.
    pub name: Arc<str>,
    pub port: u16,
}

// === impl Endpoints ===

impl Endpoints {
    /// Endpoints with these addresses, in any order. Of several with one address the heaviest stays.
    pub fn of(specs: impl IntoIterator<Item = EndpointSpec>) -> Self {
        let mut specs: Vec<_> = specs.into_iter().collect();
        specs.sort_unstable_by(|a, b| (a.address, b.weight).cmp(&(b.address, a.weight)));
        specs.dedup_by_key(|spec| spec.address);
        Self { origin: Origin::Addresses(specs.into()), client_ip_affinity: None, protocol: None }
    }

    /// Endpoints with the addresses that DNS answers for a name.
    pub fn named(name: impl Into<Arc<str>>, port: u16) -> Self {
        Self {
            origin: Origin::Name(ExternalName { name: name.into(), port }),
            client_ip_affinity: None,
            protocol: None,
        }
    }

    /// The same, where a client comes back to the same endpoint for `timeout` after its last request.
    #[must_use]
    pub fn with_client_ip_affinity(mut self, timeout: Duration) -> Self {
        self.client_ip_affinity = Some(timeout);
        self
    }

    /// The same, which speak `protocol`, where the Service says so.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Option<Transport>) -> Self {
        self.protocol = protocol;
        self
    }

    /// Where the addresses come from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The addresses that are known without asking DNS.
    #[must_use]
    pub fn addresses(&self) -> &[EndpointSpec] {
        match &self.origin {
            Origin::Addresses(specs) => specs,
            Origin::Name(_) => &[],
        }
    }

    /// Whether there is nowhere to go. A name may have addresses, so it is not empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.origin, Origin::Addresses(specs) if specs.is_empty())
    }

    /// How long after its last request a client comes back to the same endpoint.
    #[must_use]
    pub fn client_ip_affinity(&self) -> Option<Duration> {
        self.client_ip_affinity
    }

    /// What the Service says that they speak.
    #[must_use]
    pub fn protocol(&self) -> Option<Transport> {
        self.protocol
    }
}

/// Writes a duration as seconds.
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs()).serialize(serializer)
}

// === impl Origin ===

impl Default for Origin {
    fn default() -> Self {
        Self::Addresses(Arc::default())
    }
}

// === impl EndpointSpec ===

impl EndpointSpec {
    /// An endpoint with the weight 1.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, weight: NonZeroU32::MIN }
    }
}

impl From<SocketAddr> for EndpointSpec {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

impl fmt::Display for EndpointSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match self.weight {
            NonZeroU32::MIN => Ok(()),
            weight => write!(f, " weight {weight}"),
        }
    }
}

impl Serialize for EndpointSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl ExternalName ===

impl fmt::Display for ExternalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

impl Serialize for ExternalName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(address: &str, weight: u32) -> EndpointSpec {
        EndpointSpec { address: address.parse().unwrap(), weight: NonZeroU32::new(weight).unwrap() }
    }

    #[test]
    fn order_and_repetition_make_no_difference() {
        let one = Endpoints::of([spec("10.0.0.2:80", 1), spec("10.0.0.1:80", 2), spec("10.0.0.1:80", 3)]);
        let other = Endpoints::of([spec("10.0.0.1:80", 3), spec("10.0.0.2:80", 1)]);
        assert_eq!(one, other);
        assert_eq!(one.addresses().len(), 2);
    }

    #[test]
    fn shown_briefly() {
        let endpoints = Endpoints::of([spec("10.0.0.1:80", 1), spec("[fd00::1]:80", 3)]);
        assert_eq!(
            serde_json::to_string(&endpoints).unwrap(),
            r#"{"origin":{"addresses":["10.0.0.1:80","[fd00::1]:80 weight 3"]}}"#
        );
        let endpoints = Endpoints::named("db.example", 5432).with_client_ip_affinity(Duration::from_secs(600));
        assert_eq!(
            serde_json::to_string(&endpoints).unwrap(),
            r#"{"origin":{"name":"db.example:5432"},"client_ip_affinity":600}"#
        );
    }

    #[test]
    fn a_name_is_not_empty() {
        assert!(Endpoints::default().is_empty());
        assert!(!Endpoints::named("db.example", 5432).is_empty());
    }
}
