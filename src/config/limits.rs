//! Flags that bound what a client may send, how long anything may take, and what is kept open.
//!
//! Where ingress-nginx has a key in its ConfigMap for it, the flag has that name, meaning and default. A number alone is
//! seconds, or bytes.

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use clap::Args;

use crate::{
    http,
    proxy::{self, PoolLimits},
};

/// Bounds of the server, on by default.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// How long a client's connection may be idle between requests; 0 closes it after the first.
    #[arg(long, env = "SERIN_KEEP_ALIVE", default_value = "75s", value_name = "DURATION", value_parser = super::duration)]
    pub keep_alive: Duration,

    /// The most requests of a client's connection.
    #[arg(long, env = "SERIN_KEEP_ALIVE_REQUESTS", default_value_t = 1000, value_name = "COUNT")]
    pub keep_alive_requests: u32,

    /// How long a client may take to send a whole head.
    #[arg(long, env = "SERIN_CLIENT_HEADER_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = wait)]
    pub client_header_timeout: Duration,

    /// How long a client may take to send a whole body, not counting the time that its bytes are worth at the rate of
    /// --client-body-rate.
    #[arg(long, env = "SERIN_CLIENT_BODY_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = wait)]
    pub client_body_timeout: Duration,

    /// How many bytes of a body are worth a second more.
    #[arg(long, env = "SERIN_CLIENT_BODY_RATE", default_value = "1024", value_name = "BYTES")]
    pub client_body_rate: NonZeroU64,

    /// How long a client may leave unread what is sent to it.
    #[arg(long, env = "SERIN_CLIENT_WRITE_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = wait)]
    pub client_write_timeout: Duration,

    /// What a request's head may hold: the size bounds its target and each header, the count times the size the whole.
    #[arg(long, env = "SERIN_LARGE_CLIENT_HEADER_BUFFERS", default_value_t = HeaderBuffers::default(), value_name = "COUNT SIZE")]
    pub large_client_header_buffers: HeaderBuffers,

    /// The most headers of a request.
    #[arg(long, env = "SERIN_MAX_REQUEST_HEADERS", default_value_t = 128, value_name = "COUNT")]
    pub max_request_headers: usize,

    /// The most idle connections to endpoints that a worker keeps; 0 keeps none.
    #[arg(long, env = "SERIN_UPSTREAM_KEEPALIVE_CONNECTIONS", default_value_t = 320, value_name = "COUNT")]
    pub upstream_keepalive_connections: usize,

    /// How long a connection to an endpoint may be idle.
    #[arg(long, env = "SERIN_UPSTREAM_KEEPALIVE_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = wait)]
    pub upstream_keepalive_timeout: Duration,

    /// The most requests of a connection to an endpoint.
    #[arg(long, env = "SERIN_UPSTREAM_KEEPALIVE_REQUESTS", default_value_t = 10_000, value_name = "COUNT")]
    pub upstream_keepalive_requests: u32,

    /// How long a connection to an endpoint is used.
    #[arg(long, env = "SERIN_UPSTREAM_KEEPALIVE_TIME", default_value = "1h", value_name = "DURATION", value_parser = wait)]
    pub upstream_keepalive_time: Duration,
}

/// nginx's buffers for heads: so many of such a size. In all they are at most 1 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderBuffers {
    count: usize,
    size: usize,
}

/// What is wrong with the text of buffers.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidHeaderBuffers {
    #[error("write it as a count and a size, as in `4 8k`")]
    Form,
    #[error("a size below 1k leaves too little for any request")]
    Small,
    #[error("more than 1m in all could be had by every client at once")]
    Large,
}

// === impl LimitFlags ===

impl LimitFlags {
    /// Sets the bounds of a proxy.
    pub(super) fn apply(&self, config: &mut proxy::Config) {
        config.keep_alive = self.keep_alive;
        config.keep_alive_requests = self.keep_alive_requests;
        config.header_timeout = self.client_header_timeout;
        config.body_timeout = self.client_body_timeout;
        config.body_rate = self.client_body_rate.get();
        config.write_timeout = self.client_write_timeout;
        let HeaderBuffers { count, size } = self.large_client_header_buffers;
        config.head = http::Limits {
            head: count * size,
            line: size,
            target: size,
            fields: self.max_request_headers,
            ..config.head
        };
        config.upstream = PoolLimits {
            connections: self.upstream_keepalive_connections,
            idle: self.upstream_keepalive_timeout,
            requests: self.upstream_keepalive_requests,
            age: self.upstream_keepalive_time,
        };
    }
}

// === impl HeaderBuffers ===

impl HeaderBuffers {
    /// The most bytes in all: a client can have the gateway hold them before it knows who asks for what.
    const MOST: usize = 1 << 20;
}

impl Default for HeaderBuffers {
    fn default() -> Self {
        Self { count: 4, size: 8 << 10 }
    }
}

impl fmt::Display for HeaderBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, size } = self;
        if size % 1024 == 0 { write!(f, "{count} {}k", size / 1024) } else { write!(f, "{count} {size}") }
    }
}

impl FromStr for HeaderBuffers {
    type Err = InvalidHeaderBuffers;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split_ascii_whitespace();
        let (Some(count), Some(size), None) = (words.next(), words.next(), words.next()) else {
            return Err(InvalidHeaderBuffers::Form);
        };
        let count: usize = count.parse().map_err(|_| InvalidHeaderBuffers::Form)?;
        let (number, unit) = match size.as_bytes().last() {
            Some(b'k' | b'K') => (&size[..size.len() - 1], 1 << 10),
            Some(b'm' | b'M') => (&size[..size.len() - 1], 1 << 20),
            _ => (size, 1),
        };
        let number: usize = number.parse().map_err(|_| InvalidHeaderBuffers::Form)?;
        match number.saturating_mul(unit) {
            _ if count == 0 => Err(InvalidHeaderBuffers::Form),
            ..1024 => Err(InvalidHeaderBuffers::Small),
            size if size.saturating_mul(count) > Self::MOST => Err(InvalidHeaderBuffers::Large),
            size => Ok(Self { count, size }),
        }
    }
}

/// Reads a duration that something may take.
fn wait(text: &str) -> Result<Duration, String> {
    let wait = super::duration(text)?;
    if wait.is_zero() { Err("nothing could be that fast".to_owned()) } else { Ok(wait) }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::config::RunFlags;

    /// The proxy's settings under flags of a command line.
    fn config(flags: &[&str]) -> Result<proxy::Config, clap::Error> {
        let arguments = ["--manifests", "x", "--http-port", "80"].into_iter().chain(flags.iter().copied());
        let server = RunFlags::from_arguments(arguments)?.server;
        Ok(server.proxy(NonZeroUsize::MIN, server.max_connections.unwrap_or(proxy::Config::default().connections)))
    }

    #[test]
    fn defaults_are_those_of_the_proxy() {
        assert_eq!(config(&[]).unwrap(), proxy::Config::default());
    }

    #[test]
    fn each_flag_reaches_its_setting() {
        let seconds = Duration::from_secs;
        let mut expected = proxy::Config::default();
        let mut flags = Vec::new();
        let mut set = |flag: &'static str, value, change: &dyn Fn(&mut proxy::Config)| {
            flags.extend([flag, value]);
            change(&mut expected);
            assert_eq!(config(&flags).unwrap(), expected, "{flag}");
        };
        set("--max-connections", "5", &|config| config.connections = 5);
        set("--keep-alive", "0", &|config| config.keep_alive = Duration::ZERO);
        set("--keep-alive-requests", "7", &|config| config.keep_alive_requests = 7);
        set("--client-header-timeout", "8", &|config| config.header_timeout = seconds(8));
        set("--client-body-timeout", "9s", &|config| config.body_timeout = seconds(9));
        set("--client-body-rate", "10", &|config| config.body_rate = 10);
        set("--client-write-timeout", "11ms", &|config| config.write_timeout = Duration::from_millis(11));
        set("--large-client-header-buffers", "12 2k", &|config| {
            config.head = http::Limits { head: 12 * 2048, line: 2048, target: 2048, ..config.head };
        });
        set("--max-request-headers", "13", &|config| config.head.fields = 13);
        set("--upstream-keepalive-connections", "14", &|config| config.upstream.connections = 14);
        set("--upstream-keepalive-timeout", "15", &|config| config.upstream.idle = seconds(15));
        set("--upstream-keepalive-requests", "16", &|config| config.upstream.requests = 16);
        set("--upstream-keepalive-time", "17m", &|config| config.upstream.age = seconds(17 * 60));
    }

    #[test]
    fn a_wait_of_no_time_is_refused() {
        for flag in ["--client-header-timeout", "--client-body-timeout", "--client-write-timeout"] {
            assert!(config(&[flag, "0s"]).is_err(), "{flag}");
        }
        assert!(config(&["--client-body-rate", "0"]).is_err());
    }

    #[test]
    fn buffers_for_heads_are_a_count_and_a_size() {
        for text in ["4 8k", "1 1024", "2 1500", "16 64k"] {
            assert_eq!(
                text.parse::<HeaderBuffers>().map(|buffers| buffers.to_string().replace("1k", "1024")),
                Ok(text.into())
            );
        }
        assert_eq!("  1   1M ".parse(), Ok(HeaderBuffers { count: 1, size: 1 << 20 }));
        for (text, error) in [
            ("", InvalidHeaderBuffers::Form),
            ("8k", InvalidHeaderBuffers::Form),
            ("4 8k 1", InvalidHeaderBuffers::Form),
            ("4 k", InvalidHeaderBuffers::Form),
            ("4 \u{e4}", InvalidHeaderBuffers::Form),
            ("-1 8k", InvalidHeaderBuffers::Form),
            ("0 8k", InvalidHeaderBuffers::Form),
            ("4 1023", InvalidHeaderBuffers::Small),
            ("2 1m", InvalidHeaderBuffers::Large),
            ("18446744073709551615 18446744073709551615", InvalidHeaderBuffers::Large),
            ("4 18446744073709551615m", InvalidHeaderBuffers::Large),
        ] {
            assert_eq!(text.parse::<HeaderBuffers>(), Err(error), "{text:?}");
        }
    }
}
