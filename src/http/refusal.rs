//! Why a request cannot be served, and what is said about it.
//!
//! One value for every refusal, and one function to each of its faces: the status and body for the client, the words for
//! the log, the label for the metrics. Labels are a bounded set.

use std::fmt;

/// Why a request cannot be served.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The bytes are no request that can be read in one way only. The connection is closed.
    BadRequest(Malformed),
    /// No route matches.
    NotFound,
    /// `CONNECT` and `TRACE`, which a gateway must not serve.
    MethodNotAllowed,
    /// The client took too long to send its head or its body.
    ClientTimeout,
    /// The body is longer than the route allows.
    BodyTooLarge,
    /// The request target is longer than the limit.
    UriTooLong,
    /// The connection was made for a host with other demands on its clients.
    Misdirected,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// The head is longer, or has more fields, than the limit.
    HeadersTooLarge,
    /// No endpoint could be connected to.
    ConnectFailed,
    /// The endpoint closed or reset the connection before it answered.
    UpstreamReset,
    /// What the endpoint answered cannot be read in one way only.
    BadUpstream(Malformed),
    /// The route's service has no endpoint that may serve.
    NoEndpoints,
    /// A limit on what the gateway does at once is reached.
    Overloaded,
    /// The gateway is at its end, and waits for no answer any more.
    ShuttingDown,
    /// Connecting to the endpoint took too long.
    ConnectTimeout,
    /// The endpoint took too long to take the request or to answer.
    UpstreamTimeout,
    /// The time that the client gave the call (`grpc-timeout`) is over.
    DeadlineExceeded,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    VersionNotSupported,
}

/// What is wrong with bytes that should be a head or a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Malformed {
    /// The method is not made of capital letters.
    Method,
    /// The request target has bytes or a form that it must not have.
    Target,
    /// What should be the version is not one.
    Version,
    /// The status line is not one.
    Status,
    /// A line feed without a carriage return before it.
    BareLf,
    /// A carriage return without a line feed after it.
    BareCr,
    /// A line that starts with white space: the old way to fold lines.
    Fold,
    /// A field name that is empty or has a byte that it must not have.
    Name,
    /// White space between a field name and the colon.
    SpaceBeforeColon,
    /// A control byte in a field value.
    Value,
    /// HTTP/1.1 without Host.
    NoHost,
    /// More than one Host.
    ManyHosts,
    /// A Host, or an authority, that is not a host and an optional port.
    Host,
    /// The request target names another host than Host does.
    HostMismatch,
    /// A Content-Length that is not one number, or more than one.
    ContentLength,
    /// A Transfer-Encoding other than a single `chunked`.
    TransferEncoding,
    /// Both Content-Length and Transfer-Encoding.
    Ambiguous,
    /// A `Connection` that names too many fields.
    Connection,
    /// A switch of protocols that nobody asked for.
    Upgrade,
    /// A head that is longer, or has more fields, than the limit (of an endpoint: a client's has a refusal of its own).
    TooLarge,
    /// A chunk whose size, extension or end is not one.
    Chunk,
    /// A trailer that is not a field, is too long or must not be one.
    Trailer,
    /// A body that ends before its head says.
    Truncated,
    /// The path leaves the root or has bytes that no path may have.
    Path,
}

/// The form in which a client wants to be told of a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Accepts {
    #[default]
    Text,
    /// `Accept: application/json` first.
    Json,
    /// `Content-Type: application/grpc`: the status goes into `grpc-status`.
    Grpc,
}

// === impl Refusal ===

impl Refusal {
    /// The status that the client sees.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::ClientTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::ExpectationFailed => 417,
            Self::Misdirected => 421,
            Self::HeadersTooLarge => 431,
            Self::ConnectFailed | Self::UpstreamReset | Self::BadUpstream(_) => 502,
            Self::NoEndpoints | Self::Overloaded | Self::ShuttingDown => 503,
            Self::ConnectTimeout | Self::UpstreamTimeout | Self::DeadlineExceeded => 504,
            Self::VersionNotSupported => 505,
        }
    }

    /// The refusal as a metric label: one of a bounded set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ClientTimeout => "client_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::ExpectationFailed => "expectation_failed",
            Self::Misdirected => "misdirected",
            Self::HeadersTooLarge => "headers_too_large",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamReset => "upstream_reset",
            Self::BadUpstream(_) => "bad_upstream",
            Self::NoEndpoints => "no_endpoints",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::VersionNotSupported => "version_not_supported",
        }
    }

    /// What is wrong, in words for the client and the log. Says nothing of what is behind the gateway.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::BadRequest(malformed) => malformed.text(),
            Self::NotFound => "no route matches the request",
            Self::MethodNotAllowed => "the method is not allowed here",
            Self::ClientTimeout => "the request took too long to arrive",
            Self::BodyTooLarge => "the body is too long",
            Self::UriTooLong => "the request target is too long",
            Self::ExpectationFailed => "the expectation cannot be met",
            Self::Misdirected => "the connection was made for another host",
            Self::HeadersTooLarge => "the head is too long",
            Self::ConnectFailed => "the service could not be reached",
            Self::UpstreamReset => "the service ended the connection",
            Self::BadUpstream(_) => "the service gave an invalid answer",
            Self::NoEndpoints => "the service is not available",
            Self::Overloaded => "too much to do at the moment",
            Self::ShuttingDown => "the gateway is shutting down",
            Self::ConnectTimeout => "the service did not accept the connection in time",
            Self::UpstreamTimeout => "the service did not answer in time",
            Self::DeadlineExceeded => "the deadline of the call has passed",
            Self::VersionNotSupported => "the HTTP version is not supported",
        }
    }

    /// Whether the client's connection must be closed after the answer.
    ///
    /// It must where it is unknown where the next request starts, or where the client has to go elsewhere. Otherwise it
    /// may stay open, once the body of the refused request is read.
    #[must_use]
    pub const fn closes(self) -> bool {
        !matches!(
            self,
            Self::NotFound
                | Self::Misdirected
                | Self::ConnectFailed
                | Self::UpstreamReset
                | Self::BadUpstream(_)
                | Self::NoEndpoints
                | Self::ConnectTimeout
                | Self::UpstreamTimeout
                | Self::DeadlineExceeded
        )
    }

    /// The status of gRPC that says the same (google.rpc.Code).
    ///
    /// A client would make one of the HTTP status by gRPC's own table (http-grpc-status-mapping.md). We differ where we
    /// know more than the number: what took too long is `DEADLINE_EXCEEDED` and not `UNAVAILABLE`, what was too large
    /// `RESOURCE_EXHAUSTED` and not `UNKNOWN`, and what no client of gRPC would send `INTERNAL`, as for 400.
    #[must_use]
    pub const fn grpc_status(self) -> u8 {
        match self.status() {
            400 | 405 | 414 | 417 | 505 => 13,
            404 => 12,
            408 | 504 => 4,
            413 | 431 => 8,
            502 | 503 => 14,
            _ => 2,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        if let Self::BadUpstream(malformed) = self { write!(f, ": {}", malformed.text()) } else { Ok(()) }
    }
}

// === impl Malformed ===

impl Malformed {
    /// What is wrong, in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Method => "invalid method",
            Self::Target => "invalid request target",
            Self::Version => "invalid version",
            Self::Status => "invalid status line",
            Self::BareLf => "line feed without carriage return",
            Self::BareCr => "carriage return without line feed",
            Self::Fold => "folded field line",
            Self::Name => "invalid field name",
            Self::SpaceBeforeColon => "white space before a colon",
            Self::Value => "control byte in a field value",
            Self::NoHost => "no Host",
            Self::ManyHosts => "more than one Host",
            Self::Host => "invalid Host",
            Self::HostMismatch => "the request target and Host differ",
            Self::ContentLength => "invalid Content-Length",
            Self::TransferEncoding => "invalid Transfer-Encoding",
            Self::Ambiguous => "both Content-Length and Transfer-Encoding",
            Self::Connection => "invalid Connection",
            Self::Upgrade => "unexpected switch of protocols",
            Self::TooLarge => "head too long",
            Self::Chunk => "invalid chunk",
            Self::Trailer => "invalid trailer",
            Self::Truncated => "incomplete body",
            Self::Path => "invalid path",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_an_endpoint_says_more_in_the_log_than_to_the_client() {
        let refusal = Refusal::BadUpstream(Malformed::Ambiguous);
        assert_eq!(refusal.text(), "the service gave an invalid answer");
        assert_eq!(
            refusal.to_string(),
            "the service gave an invalid answer: both Content-Length and Transfer-Encoding"
        );
        assert_eq!(Refusal::BadRequest(Malformed::Ambiguous).to_string(), Malformed::Ambiguous.text());
    }

    #[test]
    fn a_refusal_says_to_grpc_what_it_says_to_others() {
        for (refusal, status, grpc_status) in [
            (Refusal::BadRequest(Malformed::Path), 400, 13),
            (Refusal::NotFound, 404, 12),
            (Refusal::MethodNotAllowed, 405, 13),
            (Refusal::ClientTimeout, 408, 4),
            (Refusal::BodyTooLarge, 413, 8),
            (Refusal::HeadersTooLarge, 431, 8),
            (Refusal::ConnectFailed, 502, 14),
            (Refusal::UpstreamReset, 502, 14),
            (Refusal::BadUpstream(Malformed::Status), 502, 14),
            (Refusal::NoEndpoints, 503, 14),
            (Refusal::Overloaded, 503, 14),
            (Refusal::ShuttingDown, 503, 14),
            (Refusal::ConnectTimeout, 504, 4),
            (Refusal::UpstreamTimeout, 504, 4),
            (Refusal::DeadlineExceeded, 504, 4),
        ] {
            assert_eq!((refusal.status(), refusal.grpc_status()), (status, grpc_status), "{refusal}");
        }
    }

    #[test]
    fn a_connection_outlives_only_refusals_of_whole_requests() {
        assert!(!Refusal::NotFound.closes() && !Refusal::NoEndpoints.closes() && !Refusal::UpstreamTimeout.closes());
        for refusal in [
            Refusal::BadRequest(Malformed::Chunk),
            Refusal::BodyTooLarge,
            Refusal::HeadersTooLarge,
            Refusal::Overloaded,
            Refusal::ShuttingDown,
        ] {
            assert!(refusal.closes(), "{refusal}");
        }
    }
}
