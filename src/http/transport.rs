//! How the bytes of HTTP travel on one connection.

use std::fmt;

use serde::{Serialize, Serializer};

/// The version of HTTP that is spoken on a connection, and whether TLS is around it.
///
/// Shown as `HTTP/1.1`, or as `HTTP/2 over TLS`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Transport {
    /// HTTP/2, by prior knowledge or ALPN; HTTP/1.1 otherwise.
    pub http2: bool,
    pub tls: bool,
}

// === impl Transport ===

impl Transport {
    /// HTTP/1.1 as it is.
    pub const HTTP: Self = Self { http2: false, tls: false };
    /// HTTP/1.1 over TLS.
    pub const HTTPS: Self = Self { http2: false, tls: true };
    /// HTTP/2 without TLS, by prior knowledge (RFC 9113, 3.3): what gRPC speaks.
    pub const H2C: Self = Self { http2: true, tls: false };
    /// HTTP/2 over TLS.
    pub const H2: Self = Self { http2: true, tls: true };
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.http2, self.tls) {
            (false, false) => "HTTP/1.1",
            (false, true) => "HTTP/1.1 over TLS",
            (true, false) => "HTTP/2",
            (true, true) => "HTTP/2 over TLS",
        })
    }
}

impl Serialize for Transport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
