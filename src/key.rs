//! The names of things.
//!
//! Every stage of the road of data calls an object, a cluster, a host or a route by a key from here. Keys are cheap
//! to clone, compare and hash; a key that exists is well formed.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Serialize, Serializer};

/// The kinds of objects that are read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum Kind {
    /// No kind of Kubernetes: the command line and the environment of this process, so that what is wrong with its flags
    /// has a place.
    CommandLine,
    ConfigMap,
    EndpointSlice,
    Ingress,
    IngressClass,
    /// No kind of Kubernetes: a file that objects come from, so that what is wrong with it has a place. Its path is the
    /// name.
    Manifest,
    Namespace,
    Secret,
    Service,
}

/// The name of an object: `Ingress shop/web`.
///
/// The namespace is empty where the kind has none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub kind: Kind,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// The name of a Secret: `shop/web-tls`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SecretKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// A port of a Service, by number or by name, as an Ingress writes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PortRef {
    Number(u16),
    Name(Arc<str>),
}

/// The way from a Service to addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Via {
    /// Straight to the endpoints of its slices.
    #[default]
    Endpoints,
    /// To its cluster IP (`service-upstream`).
    ClusterIp,
}

/// The name of a cluster: one port of one Service.
///
/// Where the Service is known the port is its number, so that two Ingresses that write it differently share a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub port: PortRef,
    pub via: Via,
}

/// A host of the table: `shop.example`, `*.shop.example`, or any host at all.
///
/// The text is lower case, without port and trailing dot; a wildcard stands for exactly one label; any host is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);

/// What is wrong with the text of a host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidHostname {
    #[error("it is longer than 253 characters")]
    TooLong,
    #[error("a label of it is empty or longer than 63 characters")]
    Label,
    #[error("it contains {0:?}; letters, digits, `-`, `_` and `.` are allowed")]
    Character(char),
    #[error("`*` stands for a whole first label only, as in `*.shop.example`")]
    Wildcard,
    #[error("it is an IP address, and a host is a DNS name")]
    Address,
}

/// How a path of an Ingress is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum PathType {
    Exact,
    Prefix,
    ImplementationSpecific,
}

/// The name of a route: a path of a host, and the Ingress that it comes from.
///
/// What a route gathers while it runs (metrics, limits) is kept under this name over changes of the table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteId {
    pub host: Hostname,
    pub path: Arc<str>,
    pub path_type: PathType,
    pub ingress: ObjectKey,
}

// === impl Kind ===

impl Kind {
    /// The kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandLine => "CommandLine",
            Self::ConfigMap => "ConfigMap",
            Self::EndpointSlice => "EndpointSlice",
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::Manifest => "Manifest",
            Self::Namespace => "Namespace",
            Self::Secret => "Secret",
            Self::Service => "Service",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl ObjectKey ===

impl ObjectKey {
    /// Names an object. The namespace is empty where the kind has none.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// Names the command line of this process.
    #[must_use]
    pub fn command_line() -> Self {
        Self::new(Kind::CommandLine, "", "serin")
    }

    /// Names an Ingress.
    pub fn ingress(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Ingress, namespace, name)
    }

    /// Names a file that objects come from.
    pub fn manifest(path: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Manifest, "", path)
    }

    /// Names a Secret.
    pub fn secret(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Secret, namespace, name)
    }

    /// Names a Service.
    pub fn service(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Service, namespace, name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl SecretKey ===

impl SecretKey {
    /// Names a Secret.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The Secret as an object.
    #[must_use]
    pub fn object(&self) -> ObjectKey {
        ObjectKey::secret(self.namespace.clone(), self.name.clone())
    }
}

impl Serialize for SecretKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl PortRef ===

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

// === impl ClusterKey ===

impl ClusterKey {
    /// Names the endpoints of a Service's port.
    pub fn new(namespace: impl Into<Arc<str>>, service: impl Into<Arc<str>>, port: PortRef) -> Self {
        Self { namespace: namespace.into(), service: service.into(), port, via: Via::Endpoints }
    }

    /// The Service that the cluster is a port of.
    #[must_use]
    pub fn service_key(&self) -> ObjectKey {
        ObjectKey::service(self.namespace.clone(), self.service.clone())
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)?;
        match self.via {
            Via::Endpoints => Ok(()),
            Via::ClusterIp => f.write_str(" (cluster IP)"),
        }
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ClusterKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl Hostname ===

impl Hostname {
    /// Any host: what rules without a host are for.
    #[must_use]
    pub fn any() -> Self {
        Self(Arc::from(""))
    }

    /// Reads a host of an Ingress. Upper case is folded and one trailing dot dropped; nothing else is mended.
    ///
    /// # Errors
    ///
    /// Where no request could have that host.
    pub fn parse(text: &str) -> Result<Self, InvalidHostname> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if text.len() > 253 {
            return Err(InvalidHostname::TooLong);
        }
        let labels = match text.strip_prefix("*.") {
            Some(suffix) => suffix,
            None => &*text,
        };
        for label in labels.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err(InvalidHostname::Label);
            }
            if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
                return Err(match c {
                    '*' => InvalidHostname::Wildcard,
                    c => InvalidHostname::Character(c),
                });
            }
        }
        if labels.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(InvalidHostname::Address);
        }
        Ok(Self(text.into()))
    }

    /// The text; empty for any host.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for any host.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// What follows the `*.` of a wildcard.
    #[must_use]
    pub fn wildcard_suffix(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_any() { "*" } else { &self.0 })
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hostname {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl PathType ===

impl fmt::Display for PathType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "Exact",
            Self::Prefix => "Prefix",
            Self::ImplementationSpecific => "ImplementationSpecific",
        })
    }
}

// === impl RouteId ===

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} ({}) of {}", self.host, self.path, self.path_type, self.ingress)
    }
}

impl Serialize for RouteId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_folded_and_lose_one_trailing_dot() {
        assert_eq!(Hostname::parse("Shop.Example.").unwrap().as_str(), "shop.example");
        assert_eq!(Hostname::parse("*.Shop.Example").unwrap().wildcard_suffix(), Some("shop.example"));
    }

    #[test]
    fn hosts_that_no_request_could_have_are_refused() {
        for (text, fault) in [
            ("a..b", InvalidHostname::Label),
            ("", InvalidHostname::Label),
            ("*", InvalidHostname::Wildcard),
            ("a.*.b", InvalidHostname::Wildcard),
            ("a*.b", InvalidHostname::Wildcard),
            ("shop.example:80", InvalidHostname::Character(':')),
            ("10.0.0.1", InvalidHostname::Address),
            (&"a.".repeat(200), InvalidHostname::TooLong),
        ] {
            assert_eq!(Hostname::parse(text), Err(fault), "{text:?}");
        }
    }
}
