//! What is too much.

use std::net::TcpStream;

use super::{super::wire::Wire, harness::*};
use crate::{proxy::Config, route::Policy};

fn small_bodies() -> Policy {
    Policy { body_limit: Some(1000), ..Policy::default() }
}

#[test]
fn a_body_that_is_announced_too_long_is_refused_at_once() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with_policy(small_bodies(), &[&endpoint]);
    let answer = gateway.ask("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(answer.status(), 413);
    assert_eq!(endpoint.accepted(), 0);
    let expecting = "POST / HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n";
    assert_eq!(gateway.ask(expecting).status(), 413);
}

#[test]
fn a_body_of_unknown_length_is_refused_when_it_is_too_long() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.rest();
    });
    let gateway = Gateway::with_policy(small_bodies(), &[&endpoint]);
    let mut line = gateway.connect();
    line.send("POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        line.send(format!("190\r\n{}\r\n", "x".repeat(400)));
    }
    assert_eq!(line.answer(true).status(), 413);
    wait_until("the endpoint sees a request without end", || endpoint.ended() == 1);
}

#[test]
fn a_body_of_just_the_limit_passes() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with_policy(small_bodies(), &[&endpoint]);
    let mut line = gateway.connect();
    line.send("POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    line.send(format!("3e8\r\n{}\r\n0\r\n\r\n", "x".repeat(1000)));
    assert_eq!(line.answer(true).status(), 200);
    assert_eq!(endpoint.seen()[0].body.len(), 1000);
}

#[test]
fn connections_are_limited() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with_config(Config { connections: 2, ..Config::default() }, &[&endpoint]);
    let get = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let (mut one, mut two) = (gateway.connect(), gateway.connect());
    assert_eq!((one.ask(get).status(), two.ask(get).status()), (200, 200));
    gateway.connect().rest();
    assert_eq!(gateway.metric("serin_connections_refused_total"), 1);
    drop(one);
    wait_until("there is room again", || {
        let mut line = gateway.connect();
        line.send(get);
        line.read_head().is_some_and(|head| head.starts_with("HTTP/1.1 200"))
    });
}

#[test]
fn a_connection_too_many_is_told_so() {
    let gateway = Gateway::with_config(Config { connections: 0, ..Config::default() }, &[&Endpoint::ok()]);
    // Over TLS there is nobody to tell before a handshake, so this is about plain connections.
    let mut line = Line::over(Wire::Plain(TcpStream::connect(gateway.plain_address).unwrap()));
    let answer = line.answer(true);
    assert_eq!((answer.status(), answer.field("connection")), (503, Some("close")), "{}", answer.text());
    assert!(line.is_closed());
}
