//! What the proxy is told when it starts.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use super::pool::PoolLimits;
use crate::http;

/// The settings of the proxy. The defaults are ingress-nginx's, where it has the setting.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The addresses to listen on. Port 0 is any free port.
    pub listen: Vec<SocketAddr>,
    /// How many threads serve.
    pub workers: NonZeroUsize,
    /// How many client connections a worker holds (`max-worker-connections`). More are turned away, and counted.
    pub connections: usize,
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
    /// What a request's head may hold.
    pub head: http::Limits,
    /// What bounds the idle connections to endpoints.
    pub upstream: PoolLimits,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))],
            workers: NonZeroUsize::MIN,
            connections: 16_384,
            keep_alive: Duration::from_secs(75),
            keep_alive_requests: 1000,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            body_rate: 1024,
            write_timeout: Duration::from_secs(60),
            head: http::Limits::REQUEST,
            upstream: PoolLimits::default(),
        }
    }
}
