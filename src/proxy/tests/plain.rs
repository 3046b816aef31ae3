//! Requests that nothing goes wrong with.

use super::{Here, harness::*};
use crate::proxy::{Config, NewTraceparent, log::Format};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[test]
fn a_request_reaches_the_endpoint_and_the_answer_comes_back() {
    let endpoint = Endpoint::answering("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-From: endpoint\r\n\r\nhello");
    let gateway = Gateway::to(&[&endpoint]);
    let answer = gateway.get("/cart?user=7");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.field("x-from"), Some("endpoint"));
    assert!(answer.field("date").is_some(), "an endpoint without a clock gets our date");
    assert_eq!(answer.text(), "hello");
    let seen = endpoint.seen();
    assert!(seen[0].head.starts_with("GET /cart?user=7 HTTP/1.1\r\n"), "{}", seen[0].head);
}

#[test]
fn both_sides_speak_what_the_suite_says() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(Setup { format: Format::Nginx, ..Setup::default() }, &[&endpoint]);
    assert_eq!(gateway.get("/").status(), 200);
    let marks = endpoint.seen()[0].field("te") == Some("trailers");
    assert_eq!(marks, Here::ENDPOINT.http2, "what HTTP/2 alone asks of endpoints");
    let log = gateway.finish();
    assert_eq!(log.contains("\"GET / HTTP/2.0\""), Here::CLIENT.http2, "{log}");
}

#[test]
fn the_log_tells_an_empty_header_from_none_as_nginx_does() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(Setup { format: Format::Nginx, ..Setup::default() }, &[&endpoint]);
    for fields in ["Referer: \r\nUser-Agent: \r\n", "Authorization: Basic OnNlY3JldA==\r\n"] {
        gateway.ask(&format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n"));
    }
    let log = gateway.finish();
    let lines: Vec<_> = log.lines().collect();
    assert!(lines[0].contains(" \"\" \"\" ") && lines[0].contains(" - - ["), "{log}");
    assert!(lines[1].contains(" \"-\" \"-\" ") && lines[1].contains(" - - ["), "{log}");
}

#[test]
fn the_endpoint_is_told_of_the_client_and_a_client_is_not_believed() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    gateway.ask(
        "GET / HTTP/1.1\r\nHost: shop.example:8080\r\nX-Forwarded-For: 10.9.9.9\r\nX-Real-IP: 10.9.9.9\r\n\
         X-Forwarded-Proto: https\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Kept: 1\r\n\r\n",
    );
    let seen = &endpoint.seen()[0];
    let plain = gateway.address.port().to_string();
    let (scheme, port) = if Here::CLIENT.tls { ("https", "443") } else { ("http", &*plain) };
    for (name, value) in [
        ("host", "shop.example:8080"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "shop.example:8080"),
        ("x-forwarded-port", port),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-scheme", scheme),
        ("x-scheme", scheme),
        ("x-original-forwarded-for", "10.9.9.9"),
        ("x-kept", "1"),
    ] {
        assert_eq!(seen.fields(name).collect::<Vec<_>>(), [value], "{name}");
    }
    assert_eq!(seen.field("x-hop"), None);
    assert_eq!(seen.field("connection"), None);
    assert!(seen.field("x-request-id").is_some_and(|id| id.len() == 32));
}

#[test]
fn a_request_id_and_a_trace_are_passed_on_or_made() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    gateway.ask(&format!(
        "GET / HTTP/1.1\r\nHost: shop.example\r\nX-Request-ID: mine\r\ntraceparent: {TRACE}\r\ntracestate: a=b\r\n\r\n"
    ));
    gateway.ask("GET / HTTP/1.1\r\nHost: shop.example\r\ntraceparent: nonsense\r\ntracestate: a=b\r\n\r\n");
    let seen = endpoint.seen();
    assert_eq!(seen[0].field("x-request-id"), Some("mine"));
    assert_eq!((seen[0].field("traceparent"), seen[0].field("tracestate")), (Some(TRACE), Some("a=b")));
    let made = seen[1].field("traceparent").unwrap();
    assert!(made.len() == 55 && made.starts_with("00-") && made.ends_with("-01"), "{made}");
    assert_eq!(seen[1].field("tracestate"), None, "a state without its trace means nothing");
}

#[test]
fn a_trace_may_be_made_unsampled_or_not_at_all() {
    for (new_traceparent, end) in [(NewTraceparent::Unsampled, Some("-00")), (NewTraceparent::Off, None)] {
        let endpoint = Endpoint::ok();
        let config = Config { new_traceparent, ..Config::default() };
        let gateway = Gateway::with(Setup { config, format: Format::Json, ..Setup::default() }, &[&endpoint]);
        gateway.ask(GET);
        let made = endpoint.seen()[0].field("traceparent").map(|made| made[52..].to_owned());
        assert_eq!(made.as_deref(), end, "{new_traceparent:?}");
        let line = gateway.finish();
        assert_eq!(line.contains("\"trace_id\""), end.is_some(), "{line}");
    }
}

#[test]
fn requests_of_a_connection_use_one_connection_to_the_endpoint() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    for _ in 0..10 {
        assert_eq!(line.ask(GET).status(), 200);
    }
    assert_eq!((endpoint.accepted(), endpoint.seen().len()), (1, 10));
}

#[test]
fn an_endpoint_of_the_old_version_ends_its_answer_by_closing() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    let answer = line.ask(GET);
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"), "chunks save the client's connection");
    assert_eq!(answer.text(), "until the end");
    assert_eq!(line.ask(GET).text(), "until the end");
}

#[test]
fn answers_without_a_body_have_none_whatever_they_say() {
    let endpoint = Endpoint::run(|_, mut line| {
        while let Some(request) = line.read() {
            line.send(match request.head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            });
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    for (request, status, length) in [
        ("GET /204", 204, None),
        ("GET /304", 304, Some("99")),
        ("HEAD /head", 200, Some("99")),
        ("GET /", 200, Some("0")),
    ] {
        let answer = line.ask(&format!("{request} HTTP/1.1\r\nHost: shop.example\r\n\r\n"));
        assert_eq!((answer.status(), answer.field("content-length")), (status, length), "{request}");
    }
    assert_eq!(endpoint.accepted(), 1, "all of them leave the endpoint's connection in order");
}

#[test]
fn what_cannot_be_routed_is_refused_in_the_form_that_is_asked_for() {
    let gateway = Gateway::to(&[]);
    let mut line = gateway.connect();
    let answer = line.ask("GET / HTTP/1.1\r\nHost: elsewhere.example\r\nX-Request-ID: me\r\n\r\n");
    assert_eq!((answer.status(), answer.field("x-request-id")), (404, Some("me")));
    let answer = line.ask("GET / HTTP/1.1\r\nHost: shop.example\r\nAccept: application/json\r\n\r\n");
    assert_eq!((answer.status(), answer.field("content-type")), (503, Some("application/json")));
    assert!(answer.text().contains("\"error\":\"no_endpoints\""), "{}", answer.text());
    let grpc =
        "POST /a.B/C HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/grpc\r\nContent-Length: 2\r\n\r\nab";
    let answer = line.ask(grpc);
    assert_eq!((answer.status(), answer.field("grpc-status")), (200, Some("14")));
    assert_eq!(line.ask(GET).status(), 503, "the body of a refused request is passed over");
}
