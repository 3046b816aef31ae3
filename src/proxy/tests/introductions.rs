//! Connections that begin with a PROXY header.

use super::harness::*;
use crate::{
    http::forwarded::Trust,
    proxy::{Config, log::Format},
    route::{Policy, SslRedirect},
};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const HEADER: &str = "PROXY TCP4 192.0.2.1 198.51.100.1 5000 8000\r\n";
const ERRORS: &str = "serin_proxy_header_errors_total";

/// A gateway that wants PROXY headers, and believes those of `proxies`.
fn setup(proxies: &str) -> Setup {
    let trust = Trust { proxy_protocol: true, proxies: proxies.parse().expect("the list is good"), ..Trust::default() };
    Setup { config: Config { trust, ..Config::default() }, ..Setup::default() }
}

/// A header of version 2.
fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(payload.len()).expect("the payload is short").to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What the endpoint is told of the client, its port and its scheme, where a connection begins with `header`.
fn told(setup: Setup, header: &[u8]) -> [String; 3] {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(setup, &[&endpoint]);
    let mut line = gateway.connect();
    line.send([header, GET.as_bytes()].concat());
    assert_eq!(line.answer(true).status(), 200);
    assert_eq!(gateway.metric(ERRORS), 0);
    let seen = &endpoint.seen()[0];
    assert_eq!(seen.field("x-real-ip"), seen.field("x-forwarded-for"));
    ["x-real-ip", "x-forwarded-port", "x-forwarded-proto"].map(|name| seen.field(name).unwrap().to_owned())
}

#[test]
fn the_client_is_whom_the_header_names() {
    let v4 = binary(0x21, 0x11, b"\xc0\0\x02\x01\xc6\x33\x64\x01\x13\x88\x1f\x40extension");
    let mut payload = [0; 36];
    payload[..2].copy_from_slice(&[0x20, 0x01]);
    payload[15] = 1;
    payload[34..].copy_from_slice(&8000_u16.to_be_bytes());
    for (header, client) in [
        (HEADER.as_bytes(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 5000 8000\r\n", "2001:db8::1"),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 5000 8000\r\n", "192.0.2.1"),
        (&v4, "192.0.2.1"),
        (&binary(0x21, 0x21, &payload), "2001::1"),
    ] {
        assert_eq!(told(setup("127.0.0.0/8"), header), [client, "8000", "http"], "{}", header.escape_ascii());
    }
}

#[test]
fn a_sender_that_speaks_for_itself_is_the_client() {
    for header in [&b"PROXY UNKNOWN\r\n"[..], &binary(0x20, 0, b"")] {
        let [client, _, proto] = told(setup("127.0.0.0/8"), header);
        assert_eq!((&*client, &*proto), ("127.0.0.1", "http"), "{}", header.escape_ascii());
    }
}

#[test]
fn a_header_of_a_stranger_is_wanted_and_not_believed() {
    for proxies in ["10.0.0.0/8", ""] {
        let [client, port, proto] = told(setup(proxies), b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n");
        assert_eq!((&*client, &*proto), ("127.0.0.1", "http"));
        assert_ne!(port, "443");
    }
}

#[test]
fn port_443_means_https() {
    let policy = Policy { ssl_redirect: SslRedirect::On, ..Policy::default() };
    let setup = Setup { policy, ..setup("127.0.0.1") };
    let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\n";
    assert_eq!(told(setup, header), ["192.0.2.1", "443", "https"]);
}

#[test]
fn port_443_has_the_last_word_and_fields_are_believed_of_whom_the_header_names() {
    let ask = |proxies: &str, port: u16| {
        let mut setup = setup(proxies);
        setup.config.trust.forwarded_headers = true;
        let endpoint = Endpoint::ok();
        let gateway = Gateway::with(setup, &[&endpoint]);
        let mut line = gateway.connect();
        line.send(format!("PROXY TCP4 192.0.2.1 198.51.100.1 5000 {port}\r\n"));
        line.ask(
            "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Port: 8443\r\n\
             X-Forwarded-Proto: http\r\n\r\n",
        );
        let seen = &endpoint.seen()[0];
        ["x-real-ip", "x-forwarded-port", "x-forwarded-proto"].map(|name| seen.field(name).unwrap().to_owned())
    };
    assert_eq!(ask("127.0.0.0/8,192.0.2.0/24", 443), ["192.0.2.1", "8443", "https"]);
    assert_eq!(ask("127.0.0.0/8", 80), ["192.0.2.1", "80", "http"]);
}

#[test]
fn the_log_names_the_client_and_all_requests_of_the_connection_are_its() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(Setup { format: Format::Nginx, ..setup("127.0.0.0/8") }, &[&endpoint]);
    let mut line = gateway.connect();
    line.send(HEADER);
    line.ask(GET);
    line.ask(GET);
    line.ask("nonsense\r\n\r\n");
    let log = gateway.finish();
    assert_eq!(log.lines().count(), 3);
    assert!(log.lines().all(|line| line.starts_with("192.0.2.1 - - [")), "{log}");
}

#[test]
fn a_header_may_come_in_pieces() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(setup("127.0.0.0/8"), &[&endpoint]);
    let binary = binary(0x21, 0x11, &[b"\xc0\0\x02\x01\xc6\x33\x64\x01\x13\x88\x1f\x40", &[7; 3000][..]].concat());
    for header in [HEADER.as_bytes(), &binary] {
        let mut line = gateway.connect();
        for piece in header.chunks(header.len().div_ceil(8)) {
            line.send(piece);
            pause(Duration::from_millis(10));
        }
        assert_eq!(line.ask(GET).status(), 200);
        assert_eq!(endpoint.seen().last().unwrap().field("x-real-ip"), Some("192.0.2.1"));
    }
}

#[test]
fn a_connection_without_a_good_header_is_closed_and_counted() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(setup("127.0.0.0/8"), &[&endpoint]);
    let too_long = binary(0x21, 0x11, &[0; 5000]);
    let wrong: [&[u8]; 5] = [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.1 198.51.100.1 5000\r\n",
        b"PROXY TCP4 192.0.2.1",
        &b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 8000 ".repeat(3),
        &too_long,
    ];
    for (at, bytes) in wrong.into_iter().enumerate() {
        let mut line = gateway.connect();
        line.send(bytes);
        line.shutdown();
        assert!(line.is_closed(), "{}", bytes.escape_ascii());
        wait_until("it is counted", || gateway.metric(ERRORS) == at as u64 + 1);
    }
    assert_eq!(endpoint.accepted(), 0);
    assert_eq!(gateway.metric("nginx_ingress_controller_nginx_process_requests_total"), 0);
}

#[test]
fn a_connection_that_was_only_opened_is_no_error() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(setup("127.0.0.0/8"), &[&endpoint]);
    let mut line = gateway.connect();
    line.shutdown();
    assert!(line.is_closed());
    assert_eq!(gateway.metric(ERRORS), 0);
}

#[test]
fn a_header_has_its_time_in_total() {
    let Setup { config, .. } = setup("127.0.0.0/8");
    let config = Config { proxy_header_timeout: Duration::from_millis(300), ..config };
    let gateway = Gateway::with_config(config, &[]);
    let mut silent = gateway.connect();
    assert!(silent.is_closed());
    wait_until("it is counted", || gateway.metric(ERRORS) == 1);

    let mut dripping = gateway.connect();
    dripping.stream.socket().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let header = HEADER.bytes().cycle().take(10_000);
    for byte in header {
        dripping.send([byte]);
        match std::io::Read::read(&mut dripping.stream.socket(), &mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // Closed, by an end or a reset.
            _ => break,
        }
    }
    wait_until("it is counted", || gateway.metric(ERRORS) == 2);
    assert_eq!(gateway.metric("nginx_ingress_controller_nginx_process_requests_total"), 0);
}

#[test]
fn a_drain_does_not_wait_for_headers() {
    let Setup { config, .. } = setup("127.0.0.0/8");
    let mut gateway = Gateway::with_config(Config { proxy_header_timeout: GENEROUS * 10, ..config }, &[]);
    let mut line = gateway.connect();
    line.send("PROXY TCP4 ");
    wait_until("it is accepted", || gateway.metric("serin_connections_accepted_total") == 1);
    gateway.drainer.advance(crate::lifecycle::Phase::Closing);
    assert!(line.is_closed());
    gateway.join();
}
