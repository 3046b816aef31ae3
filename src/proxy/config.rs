//! What the proxy is told when it starts.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use super::pool::PoolLimits;
use crate::http::{self, Hsts, forwarded::Trust};

/// The settings of the proxy. The defaults are ingress-nginx's, where it has the setting.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The addresses to listen on. Port 0 is any free port.
    pub listen: Vec<SocketAddr>,
    /// The addresses to listen on for TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Whether clients are offered HTTP/2.
    pub http2: bool,
    /// What answers over TLS tell clients of https (`hsts`).
    pub hsts: Option<Hsts>,
    /// How many threads serve.
    pub workers: NonZeroUsize,
    /// How many client connections a worker holds (`max-worker-connections`). More are turned away, and counted.
    pub connections: usize,
    /// How many handshakes a worker has in progress. Connections beyond that are closed at once, and counted.
    ///
    /// They take more memory than the connections of [`Config::connections`], and come in bursts: when a gateway starts,
    /// all clients come at once.
    pub handshakes: usize,
    /// How long a handshake may take. Two round trips over the worst of links fit in; with ingress-nginx's 60 seconds, few
    /// strangers could hold all of [`Config::handshakes`].
    pub handshake_timeout: Duration,
    /// How long a connection may be idle between requests (`keep-alive`); zero closes it after the first.
    pub keep_alive: Duration,
    /// How many requests a connection may make (`keep-alive-requests`).
    pub keep_alive_requests: u32,
    /// How long a client may take to send a whole head (`client-header-timeout`).
    pub header_timeout: Duration,
    /// How long a client may take to send a whole body (`client-body-timeout`), not counting a second for each
    /// [`Config::body_rate`] bytes that did arrive: large bodies take their time, dripping ones do not.
    pub body_timeout: Duration,
    /// How many bytes a second of a body count as progress.
    pub body_rate: u64,
    /// How long a client may leave what is sent to it unread.
    pub write_timeout: Duration,
    /// What is believed of what proxies before us tell of a client.
    pub trust: Trust,
    /// How long a connection's PROXY header may take, from the connection on (`proxy-protocol-header-timeout`).
    pub proxy_header_timeout: Duration,
    /// What is made for a request without a trace context.
    pub new_traceparent: NewTraceparent,
    /// What a request's head may hold.
    pub head: http::Limits,
    /// What bounds the idle connections to endpoints.
    pub upstream: PoolLimits,
}

/// The trace context that a request is given where its client sent none that is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NewTraceparent {
    /// One that asks for the request to be recorded, as an application with OpenTelemetry's defaults would decide by
    /// itself. It follows its caller otherwise: of a trace that is not sampled, it records nothing.
    #[default]
    Sampled,
    /// One that asks for nothing.
    Unsampled,
    /// None: what the client sent passes, whatever it is.
    Off,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))],
            listen_tls: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 443))],
            http2: true,
            hsts: Some(Hsts::default()),
            workers: NonZeroUsize::MIN,
            connections: 16_384,
            handshakes: 4096,
            handshake_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            keep_alive_requests: 1000,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            body_rate: 1024,
            write_timeout: Duration::from_secs(60),
            trust: Trust::default(),
            proxy_header_timeout: Duration::from_secs(5),
            new_traceparent: NewTraceparent::default(),
            head: http::Limits::REQUEST,
            upstream: PoolLimits::default(),
        }
    }
}
