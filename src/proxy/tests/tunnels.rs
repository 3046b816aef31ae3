//! Upgrades: WebSocket and any other protocol.

use std::time::Duration;

use super::harness::*;
use crate::{lifecycle::Phase, proxy::log::Format, route::Policy};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

/// Switches, greets at once and then sends back what it gets.
fn parrot() -> Endpoint {
    Endpoint::run(|_, mut line| {
        line.read();
        line.send(format!("{SWITCHED}hello"));
        loop {
            let bytes = line.some();
            if bytes.is_empty() {
                return line.send("bye");
            }
            line.send(bytes);
        }
    })
}

#[test]
fn after_an_upgrade_bytes_go_both_ways() {
    let endpoint = parrot();
    let gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let mut line = gateway.connect();
    // What the client sends ahead is the other protocol's already.
    line.send(format!("{UPGRADE}early"));
    let answer = line.answer(false);
    assert_eq!((answer.status(), answer.field("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.field("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
    assert_eq!(line.take(10), b"helloearly");
    let large = vec![b'z'; 300_000];
    let mut sender = Line::over(line.stream.try_clone().unwrap());
    let sent = large.clone();
    let sending = std::thread::spawn(move || sender.send(sent));
    assert!(line.take(300_000) == large);
    sending.join().unwrap();
    line.shutdown();
    assert_eq!(line.rest(), b"bye", "each side may end first");
    let seen = &endpoint.seen()[0];
    assert_eq!((seen.field("upgrade"), seen.field("connection")), (Some("websocket"), Some("upgrade")));
    wait_until("it is over", || gateway.metric("nginx_ingress_controller_requests{") == 1);
    let log = gateway.finish();
    assert!(log.contains("\"status\":101"), "{log}");
}

#[test]
fn any_protocol_may_be_switched_to_and_an_endpoint_may_decline() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let request = UPGRADE.replace("websocket", "SPDY/3.1");
    let mut line = gateway.connect();
    line.send(&request);
    assert_eq!(line.answer(false).field("upgrade"), Some("SPDY/3.1"));

    let declining = Endpoint::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let gateway = Gateway::to(&[&declining]);
    let mut line = gateway.connect();
    for _ in 0..2 {
        let answer = line.ask(UPGRADE);
        assert_eq!((answer.status(), answer.text()), (403, "no"), "the connection lives on");
    }
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    let endpoint = parrot();
    let mut policy = Policy::default();
    policy.timeouts.read = Duration::from_millis(300);
    let gateway = Gateway::with_policy(policy, &[&endpoint]);
    let mut line = gateway.connect();
    line.send(UPGRADE);
    line.read_head().unwrap();
    assert_eq!(line.rest(), b"hello");
    wait_until("both sides are closed", || endpoint.ended() == 1);
}

#[test]
fn a_tunnel_lives_until_the_drain_ends() {
    let endpoint = parrot();
    let mut gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send(UPGRADE);
    line.read_head().unwrap();
    line.take(5);
    gateway.drainer.advance(Phase::Closing);
    line.send("still here");
    assert_eq!(line.take(10), b"still here");
    assert_eq!(gateway.alive(), [("connections", 1), ("tunnels", 1)]);
    gateway.drainer.end_now();
    assert_eq!(line.rest(), b"");
    gateway.join();
}

#[test]
fn a_tunnel_that_is_cut_off_is_logged() {
    let endpoint = parrot();
    let mut gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let mut line = gateway.connect();
    line.send(UPGRADE);
    assert_eq!(line.answer(false).status(), 101);
    assert_eq!(line.take(5), b"hello");
    gateway.stop();
    assert!(line.is_closed());
    let log = gateway.finish();
    assert!(log.contains("\"status\":101"), "{log}");
}
