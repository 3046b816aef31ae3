//! HTTP/1 on both sides: what passes as it is.

use std::time::Duration;

use super::harness::*;
use crate::{lifecycle::Phase, proxy::Config};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[test]
fn the_words_of_a_status_are_passed_on() {
    let gateway = Gateway::to(&[&Endpoint::answering("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n")]);
    assert!(gateway.get("/").head.starts_with("HTTP/1.1 200 Fine\r\n"));
}

#[test]
fn what_a_websocket_proves_itself_by_is_passed_on() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: x\r\n\r\n",
        );
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send(
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: abc\r\n\r\n",
    );
    assert_eq!(line.answer(false).field("sec-websocket-accept"), Some("x"));
    assert_eq!(endpoint.seen()[0].field("sec-websocket-key"), Some("abc"));
}

#[test]
fn a_connection_is_closed_where_either_side_asks_for_it() {
    let closing = Endpoint::answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::to(&[&closing]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(GET).field("connection"), None, "what the endpoint closes is its own connection");
    assert_eq!(line.ask(GET).status(), 200);
    assert_eq!(closing.accepted(), 2);
    let answer = line.ask("GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(line.is_closed());
}

#[test]
fn an_empty_line_after_a_request_begins_no_other() {
    let endpoint = Endpoint::ok();
    let config = Config { header_timeout: Duration::from_millis(300), ..Config::default() };
    let gateway = Gateway::with_config(config, &[&endpoint]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(GET).status(), 200);
    line.send("\r\n");
    pause(Duration::from_millis(900));
    assert_eq!(line.ask(GET).status(), 200, "the connection is idle, and no head is late");
}

#[test]
fn a_connection_with_nothing_but_an_empty_line_behind_a_body_is_idle() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc\r\n";
    let endpoint = Endpoint::ok();
    let config = Config { keep_alive: Duration::from_millis(300), ..Config::default() };
    let gateway = Gateway::with_config(config, &[&endpoint]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(POST).status(), 200);
    assert!(line.is_closed(), "its time to be idle has an end");

    let mut gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(POST).status(), 200);
    gateway.drainer.advance(Phase::Closing);
    assert!(line.is_closed(), "a drain ends it");
    gateway.join();
}

#[test]
fn refusals_count_as_requests_of_a_connection() {
    let config = Config { keep_alive_requests: 3, ..Config::default() };
    let gateway = Gateway::with_config(config, &[]);
    let mut line = gateway.connect();
    let asked: Vec<_> = (0..3).map(|_| line.ask(GET)).collect();
    assert!(asked.iter().all(|answer| answer.status() == 503));
    let said: Vec<_> = asked.iter().map(|answer| answer.field("connection")).collect();
    assert_eq!(said, [None, None, Some("close")]);
    assert!(line.is_closed());
}
