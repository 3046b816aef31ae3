//! The end of a gateway, and what survives until then.

use std::{
    io,
    sync::{Mutex, mpsc},
    time::Duration,
};

use super::harness::*;
use crate::{
    tls::Connector,
    lifecycle::Phase,
    proxy::{Config, Connect, Stream, Tcp},
    upstream,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// An endpoint that answers when it is told to.
fn held() -> (Endpoint, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Endpoint::run(move |_, mut line| {
        while line.read().is_some() {
            let _ = told.lock().unwrap().recv();
            line.send(OK);
        }
    });
    (endpoint, tell)
}

#[test]
fn a_drain_ends_idle_connections_and_waits_for_requests() {
    let (endpoint, tell) = held();
    let mut gateway = Gateway::to(&[&endpoint]);
    let (mut idle, mut busy) = (gateway.connect(), gateway.connect());
    tell.send(()).unwrap();
    assert_eq!(idle.ask(GET).status(), 200);
    busy.send(GET);
    wait_until("the endpoint has the request", || endpoint.seen().len() == 2);

    gateway.drainer.advance(Phase::Closing);
    assert!(idle.is_closed());
    wait_until("the busy one is left", || gateway.drainer.alive() == [("connections", 1)]);
    tell.send(()).unwrap();
    let answer = busy.answer(true);
    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    assert!(busy.is_closed());
    gateway.join();
}

#[test]
fn before_it_closes_the_gateway_serves_as_ever() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    gateway.drainer.advance(Phase::Leaving);
    assert_eq!(line.ask(GET).field("connection"), None);
    assert_eq!(gateway.get("/").status(), 200, "new connections come in");
}

#[test]
fn who_is_in_the_queue_is_served() {
    let (endpoint, tell) = held();
    let mut gateway = Gateway::to(&[&endpoint]);
    let mut lines: Vec<_> = (0..50).map(|_| gateway.connect()).collect();
    for line in &mut lines {
        line.send(GET);
    }
    gateway.drainer.advance(Phase::Closing);
    for _ in &lines {
        tell.send(()).unwrap();
    }
    for line in &mut lines {
        assert_eq!(line.answer(true).status(), 200);
    }
    gateway.join();
}

#[test]
fn who_never_asks_does_not_hold_up_the_end() {
    let mut gateway = Gateway::to(&[]);
    let mut line = gateway.connect();
    wait_until("it is accepted", || gateway.drainer.alive() == [("connections", 1)]);
    gateway.drainer.advance(Phase::Closing);
    gateway.join();
    assert!(line.is_closed());
}

#[test]
fn several_workers_share_a_port() {
    let endpoint = Endpoint::ok();
    let workers = 3.try_into().unwrap();
    let gateway = Gateway::with_config(Config { workers, ..Config::default() }, &[&endpoint]);
    for _ in 0..30 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    wait_until("all are counted", || gateway.metric("nginx_ingress_controller_requests{") == 30);
}

#[test]
fn a_new_table_serves_the_next_request_of_an_old_connection() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(GET).status(), 200);
    let former = gateway.table.replace(crate::proxy::RoutingTable::new());
    assert_eq!(line.ask(GET).status(), 404);
    gateway.table.replace(former);
    assert_eq!(line.ask(GET).status(), 200);
}

#[test]
fn a_worker_without_requests_lets_go_of_a_replaced_table() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    assert_eq!(gateway.get("/").status(), 200);
    let former = gateway.table.replace(crate::proxy::RoutingTable::new());
    wait_until("nobody else holds it", || std::sync::Arc::strong_count(&former) == 1);
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
    wait_until("they are closed", || gateway.drainer.alive() == [("connections", 1)]);
    drop(steady);
    wait_until("and the good ones, too", || gateway.drainer.alive().is_empty());
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
