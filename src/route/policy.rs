//! What a route does to a request besides choosing who serves it.
//!
//! Policies are plain values: comparable, printable, and shared by the routes of an Ingress.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{BackendProtocol, BackendTls, Rewrite};

/// The policy of a route. The defaults are ingress-nginx's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Policy {
    /// Answers every request of the route with a redirect to a fixed place.
    pub redirect: Option<Redirect>,
    pub ssl_redirect: SslRedirect,
    /// Keeps a trailing `/` in redirects to https, which is dropped otherwise.
    pub preserve_trailing_slash: bool,
    pub rewrite: Option<Rewrite>,
    /// The Host that the endpoint sees, instead of the client's (`upstream-vhost`).
    pub upstream_host: Option<HashKey>,
    /// What endpoints speak (`backend-protocol`); none is what the port of the Service says.
    pub backend_protocol: Option<BackendProtocol>,
    /// How endpoints are spoken to where that is by TLS.
    pub backend_tls: BackendTls,
    /// The most bytes that a request body may have; none is no limit.
    pub body_limit: Option<u64>,
    pub timeouts: Timeouts,
    pub retry: Retry,
    /// Whether the access log has a line for each request of the route.
    pub access_log: bool,
}

/// A fixed answer that sends the client elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Redirect {
    pub status: u16,
    pub location: Arc<str>,
}

/// When plain requests are sent to https.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum SslRedirect {
    /// Never.
    #[default]
    Off,
    /// `ssl-redirect` on a host that has a certificate, or `force-ssl-redirect`.
    On,
}

/// How long each step of an exchange with an endpoint may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Timeouts {
    pub connect: Duration,
    /// Between two writes to the endpoint.
    pub send: Duration,
    /// Between two reads from the endpoint.
    pub read: Duration,
}

/// When, and how often, another endpoint is asked (`proxy-next-upstream`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Retry {
    pub on: RetryOn,
    /// How many endpoints are asked in all; 0 is as many as there are.
    pub tries: u32,
    /// How long after the start another may be asked; zero is no limit.
    pub timeout: Duration,
}

/// The failures after which another endpoint is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RetryOn {
    /// The connection failed or broke before an answer.
    pub error: bool,
    /// Connecting or the answer took too long.
    pub timeout: bool,
    /// What the endpoint answered is not HTTP.
    pub invalid_header: bool,
    pub http_500: bool,
    pub http_502: bool,
    pub http_503: bool,
    pub http_504: bool,
    pub http_403: bool,
    pub http_404: bool,
    pub http_429: bool,
    /// Also where a request that may not be repeated may have been seen.
    pub non_idempotent: bool,
}

/// Which endpoint of a cluster is next.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Balance {
    pub algorithm: Algorithm,
    /// What chooses the endpoint, where the algorithm is by hash.
    pub hash_by: Option<HashKey>,
}

/// How the next endpoint is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub enum Algorithm {
    #[default]
    RoundRobin,
    LeastConnections,
    /// The less loaded of two by the moving average of answer times.
    Ewma,
    /// By a consistent hash of the key.
    Hash,
    /// By a consistent hash of the key to a subset of this many endpoints, then by lot in it.
    HashSubset(u32),
}

/// A text with variables: `$request_uri`, `${host}-$cookie_user`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HashKey {
    /// As the annotation has it.
    pub source: Arc<str>,
    pub parts: Arc<[HashPart]>,
}

/// Why a text with variables cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidHashKey {
    #[error("it is empty")]
    Empty,
    #[error("`${{` is not closed")]
    Unclosed,
    #[error("`$` stands without the name of a variable")]
    NoName,
    #[error("the variable `${0}` is not known")]
    Unknown(String),
}

/// A part of a [`HashKey`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum HashPart {
    Text(Arc<str>),
    Variable(HashInput),
}

/// A variable, under its nginx name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum HashInput {
    RequestUri,
    Uri,
    Args,
    Host,
    HttpHost,
    RemoteAddr,
    Scheme,
    RequestMethod,
    RequestId,
    /// `$http_<name>`, with `-` for `_`.
    Header(Arc<str>),
    /// `$cookie_<name>`.
    Cookie(Arc<str>),
    /// `$arg_<name>`.
    Arg(Arc<str>),
}

// === impl Policy ===

impl Default for Policy {
    fn default() -> Self {
        Self {
            redirect: None,
            ssl_redirect: SslRedirect::Off,
            preserve_trailing_slash: false,
            rewrite: None,
            upstream_host: None,
            backend_protocol: None,
            backend_tls: BackendTls::default(),
            body_limit: Some(1 << 20),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            access_log: true,
        }
    }
}

// === impl Timeouts ===

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), send: Duration::from_secs(60), read: Duration::from_secs(60) }
    }
}

// === impl Retry ===

impl Default for Retry {
    fn default() -> Self {
        Self { on: RetryOn { error: true, timeout: true, ..RetryOn::default() }, tries: 3, timeout: Duration::ZERO }
    }
}

// === impl HashKey ===

impl HashKey {
    /// Reads a text with variables, written as nginx has them: `$name` or `${name}`.
    ///
    /// # Errors
    ///
    /// Where it is empty, or a variable is not known here.
    pub fn parse(source: &str) -> Result<Self, InvalidHashKey> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(dollar) = rest.find('$') {
            if dollar > 0 {
                parts.push(HashPart::Text(rest[..dollar].into()));
            }
            let name;
            (name, rest) = variable_name(&rest[dollar + 1..])?;
            parts.push(HashPart::Variable(HashInput::parse(name)?));
        }
        if !rest.is_empty() {
            parts.push(HashPart::Text(rest.into()));
        }
        if parts.is_empty() {
            return Err(InvalidHashKey::Empty);
        }
        Ok(Self { source: source.into(), parts: parts.into() })
    }
}

/// The name of the variable after a `$`, and what follows it.
pub(super) fn variable_name(text: &str) -> Result<(&str, &str), InvalidHashKey> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or(InvalidHashKey::Unclosed)?,
        None => text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())),
    };
    if name.is_empty() { Err(InvalidHashKey::NoName) } else { Ok((name, rest)) }
}

// === impl HashInput ===

impl HashInput {
    /// The variable of a name, or that there is none.
    pub(super) fn parse(name: &str) -> Result<Self, InvalidHashKey> {
        Self::named(name).ok_or_else(|| InvalidHashKey::Unknown(name.to_owned()))
    }

    /// The variable of a name, without the `$`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let part = |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
        Some(match name {
            "request_uri" => Self::RequestUri,
            "uri" | "document_uri" => Self::Uri,
            "args" | "query_string" => Self::Args,
            "host" => Self::Host,
            "http_host" => Self::HttpHost,
            "remote_addr" | "binary_remote_addr" => Self::RemoteAddr,
            "scheme" => Self::Scheme,
            "request_method" => Self::RequestMethod,
            "request_id" | "req_id" => Self::RequestId,
            _ => {
                if let Some(header) = part("http_") {
                    Self::Header(header.replace('_', "-").into())
                } else if let Some(cookie) = part("cookie_") {
                    Self::Cookie(cookie.into())
                } else {
                    Self::Arg(part("arg_")?.into())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_among_text() {
        let key = HashKey::parse("${host}-$cookie_user/$http_x_tenant").unwrap();
        assert_eq!(
            *key.parts,
            [
                HashPart::Variable(HashInput::Host),
                HashPart::Text("-".into()),
                HashPart::Variable(HashInput::Cookie("user".into())),
                HashPart::Text("/".into()),
                HashPart::Variable(HashInput::Header("x-tenant".into())),
            ]
        );
        assert_eq!(*HashKey::parse("plain").unwrap().parts, [HashPart::Text("plain".into())]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (source, fault) in [
            ("", InvalidHashKey::Empty),
            ("$", InvalidHashKey::NoName),
            ("a$-", InvalidHashKey::NoName),
            ("${host", InvalidHashKey::Unclosed),
            ("$geoip_city", InvalidHashKey::Unknown("geoip_city".into())),
            ("$arg_", InvalidHashKey::Unknown("arg_".into())),
        ] {
            assert_eq!(HashKey::parse(source), Err(fault), "{source}");
        }
    }
}
