//! Requests that nothing goes wrong with.

use super::{harness::*, over::TLS};
use crate::proxy::{Config, log::Format};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[test]
fn a_request_reaches_the_endpoint_and_the_answer_comes_back() {
    let endpoint = Endpoint::answering("HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-From: endpoint\r\n\r\nhello");
    let gateway = Gateway::to(&[&endpoint]);
    let answer = gateway.get("/cart?user=7");
    assert!(answer.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{}", answer.head);
    assert_eq!(answer.field("x-from"), Some("endpoint"));
    assert!(answer.field("date").is_some(), "an endpoint without a clock gets our date");
    assert_eq!(answer.text(), "hello");
    let seen = endpoint.seen();
    assert!(seen[0].head.starts_with("GET /cart?user=7 HTTP/1.1\r\n"), "{}", seen[0].head);
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
    let (scheme, port) = if TLS { ("https", "443") } else { ("http", &*plain) };
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
    assert!(made.len() == 55 && made.starts_with("00-") && made.ends_with("-00"), "{made}");
    assert_eq!(seen[1].field("tracestate"), None, "a state without its trace means nothing");
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
fn pipelined_requests_are_answered_in_order() {
    let endpoint = Endpoint::run(|_, mut line| {
        while let Some(request) = line.read() {
            let path = request.head.split(' ').nth(1).unwrap().to_owned();
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()));
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    let one = |n: u32| format!("POST /{n} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc");
    line.send((0..20).map(one).collect::<String>());
    for n in 0..20 {
        assert_eq!(line.answer(true).text(), format!("/{n}"));
    }
}

#[test]
fn a_head_in_pieces_is_one_head() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    for piece in GET.as_bytes().chunks(3) {
        line.send(piece);
        // Without a pause the kernel would join the pieces.
        line.stream.set_nodelay(true).unwrap();
    }
    assert_eq!(line.answer(true).text(), "ok");
}

#[test]
fn the_old_version_closes_unless_asked_to_keep() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    let kept = line.ask("GET / HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(kept.field("connection"), Some("keep-alive"));
    let closed = line.ask("GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n");
    assert_eq!(closed.field("connection"), Some("close"));
    assert!(line.is_closed());
    assert!(endpoint.seen().iter().all(|seen| seen.head.starts_with("GET / HTTP/1.1\r\n")));
}

#[test]
fn chunks_are_taken_apart_for_the_old_version() {
    let endpoint = Endpoint::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n",
    );
    let gateway = Gateway::to(&[&endpoint]);
    let answer = gateway.ask("GET / HTTP/1.0\r\nHost: shop.example\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((answer.field("transfer-encoding"), answer.field("connection")), (None, Some("close")));
    assert_eq!(answer.text(), "abcde");
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
    let old = gateway.ask("GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n");
    assert_eq!((old.text(), old.field("transfer-encoding")), ("until the end", None));
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
fn a_connection_makes_so_many_requests_and_no_more() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with_config(Config { keep_alive_requests: 3, ..Config::default() }, &[&endpoint]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(GET).field("connection"), None);
    assert_eq!(line.ask(GET).field("connection"), None);
    assert_eq!(line.ask(GET).field("connection"), Some("close"));
    assert!(line.is_closed());
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

#[test]
fn a_request_is_measured_and_logged() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let request = "POST /cart HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: tester\r\nReferer: here\r\n\
                   X-Request-ID: one\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(gateway.ask(request).status(), 200);
    // Who does not name HTTP gets no answer in it, but a line in the log.
    let mut line = gateway.connect();
    line.send("nonsense\r\n\r\n");
    assert_eq!(line.rest(), b"");
    wait_until("both are counted", || gateway.metric("nginx_ingress_controller_nginx_process_requests_total") == 2);
    assert_eq!(gateway.metric("nginx_ingress_controller_requests{"), 1);
    let endpoint = endpoint.address.to_string();
    let log = gateway.finish();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    let line = lines.iter().find(|line| line["request_uri"] == "/cart").expect(&log);
    for part in ["tester", "here", "one", &endpoint, "shop-web-80"] {
        assert!(line.to_string().contains(part), "{part}: {line}");
    }
    assert_eq!((&line["status"], &line["body_bytes_sent"]), (&200.into(), &2.into()));
    assert_eq!(line["request_length"], request.len());
    let bad = lines.iter().find(|line| line["request"] == "nonsense").expect(&log);
    assert_eq!((&bad["status"], &bad["refusal"]), (&400.into(), &"bad_request".into()));
}
