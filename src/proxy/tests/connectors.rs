//! Other ways to connect to endpoints than the usual one.

use std::{
    io,
    time::{Duration, Instant},
};

use super::harness::*;
use crate::{
    proxy::{Connect, Stream, Tcp},
    route::{Policy, Retry, RetryOn},
    tls::Connector,
    upstream,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nbody";
const SHORT: Duration = Duration::from_millis(300);

/// Never connects.
#[derive(Clone)]
struct Unreachable;

impl Connect for Unreachable {
    type Stream = tokio::net::TcpStream;

    async fn connect(&self, _: &upstream::Endpoint, _: Option<&Connector>) -> io::Result<tokio::net::TcpStream> {
        std::future::pending().await
    }

    fn is_open(_: &tokio::net::TcpStream) -> bool {
        true
    }
}

#[test]
fn an_endpoint_that_cannot_be_connected_to_in_time() {
    let mut policy = Policy { retry: Retry { on: RetryOn::default(), ..Retry::default() }, ..Policy::default() };
    policy.timeouts.connect = SHORT;
    let gateway = Gateway::start(Setup { policy, ..Setup::default() }, &[nobody()], &Unreachable);
    let begin = Instant::now();
    assert_eq!(gateway.ask(GET).status(), 504);
    assert!(begin.elapsed() >= SHORT);
}

/// Panics instead of connecting to endpoints whose port is odd.
#[derive(Clone)]
struct Panics;

impl Connect for Panics {
    type Stream = Stream;

    async fn connect(&self, endpoint: &upstream::Endpoint, tls: Option<&Connector>) -> io::Result<Stream> {
        assert_ne!(endpoint.address().port(), 1, "a defect, as the test wants it");
        Tcp.connect(endpoint, tls).await
    }

    fn is_open(stream: &Stream) -> bool {
        Tcp::is_open(stream)
    }
}

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    let good = Endpoint::ok();
    let gateway = Gateway::start(Setup::default(), &[good.address, ([127, 0, 0, 1], 1).into()], &Panics);
    let mut outcomes = Vec::new();
    let mut steady = None;
    for _ in 0..6 {
        let mut line = gateway.connect();
        line.send(GET);
        outcomes.push(line.read_head().is_some());
        if outcomes.last() == Some(&true) {
            steady.get_or_insert(line);
        }
    }
    let panics = outcomes.iter().filter(|served| !**served).count() as u64;
    assert!((1..6).contains(&panics), "{outcomes:?}");
    wait_until("they are counted", || gateway.metric("serin_panics_total") == panics);
    wait_until("they are closed", || gateway.alive() == [("connections", 1)]);
    drop(steady);
    wait_until("and the good ones, too", || gateway.alive().is_empty());
}

/// Connects with Pingora's connector, as upstream TLS will.
#[derive(Clone)]
struct Pingora(std::sync::Arc<pingora_core::connectors::TransportConnector>);

impl Connect for Pingora {
    type Stream = pingora_core::protocols::Stream;

    async fn connect(&self, endpoint: &upstream::Endpoint, _: Option<&Connector>) -> io::Result<Self::Stream> {
        let mut peer = pingora_core::upstreams::peer::HttpPeer::new(endpoint.address(), false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        self.0.new_stream(&peer).await.map_err(io::Error::other)
    }

    fn is_open(_: &Self::Stream) -> bool {
        true
    }
}

#[test]
fn streams_of_pingora_fit_the_seam() {
    let endpoint = Endpoint::ok();
    let connector = Pingora(std::sync::Arc::new(pingora_core::connectors::TransportConnector::new(None)));
    let gateway = Gateway::start(Setup::default(), &[endpoint.address], &connector);
    let mut line = gateway.connect();
    for _ in 0..3 {
        let body = "x".repeat(100_000);
        let answer =
            line.ask(&format!("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert_eq!(answer.text(), "ok");
    }
    assert_eq!(endpoint.accepted(), 1);
}

// Here, since what has been closed must be closed on the wire, too: nothing interprets what this endpoint says.
#[test]
fn a_connection_that_was_closed_while_kept_is_not_used() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send(OK);
    });
    let gateway = Gateway::with_policy(
        Policy { retry: Retry { on: RetryOn::default(), ..Retry::default() }, ..Policy::default() },
        &[&endpoint],
    );
    let mut line = gateway.connect();
    for n in 1..5 {
        assert_eq!(line.ask(POST).status(), 200);
        wait_until("the endpoint has closed", || endpoint.ended() == n);
    }
}
