use super::*;
use crate::http::{Accepts, Limits, Request, Response};

const FORWARDED: Forwarded<'_> =
    Forwarded { client: b"10.0.0.1", chain: b"10.0.0.1", proto: b"http", port: b"80", host: b"" };
const KEPT: Asked = Asked {
    version: Version::Http11,
    head_only: false,
    keep_alive: true,
    upgrade: false,
    idempotent: true,
    safe: true,
    accepts: Accepts::Text,
    hsts: None,
};
const OLD: Asked = Asked { version: Version::Http10, keep_alive: false, ..KEPT };
const OLD_KEPT: Asked = Asked { keep_alive: true, ..OLD };

/// The head that an endpoint gets.
fn request(head: &str, edits: &RequestEdits<'_>) -> String {
    let mut request = Request::new();
    request.read(head.as_bytes(), &Limits::REQUEST).expect("the head is good").expect("the head is whole");
    let mut out = Vec::new();
    write_request(request.view(head.as_bytes()), edits, &mut out);
    String::from_utf8(out).expect("the head is text")
}

/// The head that a client gets, and how the body is sent.
fn response(head: &str, asked: Asked, edits: &ResponseEdits<'_>) -> (String, Delivery) {
    let mut response = Response::new();
    let length = response.read(head.as_bytes(), asked, &Limits::RESPONSE).expect("the head is good");
    assert_eq!(length, Some(head.len()));
    let mut out = Vec::new();
    let delivery = write_response(response.view(head.as_bytes()), asked, edits, &mut out);
    (String::from_utf8(out).expect("the head is text"), delivery)
}

fn keep() -> ResponseEdits<'static> {
    ResponseEdits { keep_alive: true, ..ResponseEdits::default() }
}

#[test]
fn what_the_gateway_says_replaces_what_the_client_says() {
    let head = "GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\n\
                X-Original-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Prefix: /p\r\nForwarded: for=6.6.6.6\r\n\
                x-real-ip: 6.6.6.6\r\nX-REQUEST-ID: theirs\r\nProxy: p\r\nA: b\r\n\r\n";
    assert_eq!(
        request(head, &RequestEdits { forwarded: FORWARDED, request_id: b"ours", ..Default::default() }),
        "GET /x HTTP/1.1\r\n\
         X-Original-Forwarded-For: 1.2.3.4\r\n\
         X-Original-Forwarded-Host: evil\r\n\
         A: b\r\n\
         Host: h\r\n\
         X-Request-ID: ours\r\n\
         X-Real-IP: 10.0.0.1\r\n\
         X-Forwarded-For: 10.0.0.1\r\n\
         X-Forwarded-Host: h\r\n\
         X-Forwarded-Port: 80\r\n\
         X-Forwarded-Proto: http\r\n\
         X-Forwarded-Scheme: http\r\n\
         X-Scheme: http\r\n\r\n"
    );
}

#[test]
fn what_is_about_the_connection_ends_here() {
    let head = "POST /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
                X-Hop: 1\r\nProxy-Connection: close\r\nProxy-Authorization: a\r\nHTTP2-Settings: a\r\n\
                Expect: 100-continue\r\nUpgrade: websocket\r\nTrailer: A\r\nContent-Length: 0005\r\nB: c\r\n\r\n";
    assert_eq!(
        request(head, &RequestEdits::default()),
        "POST /x HTTP/1.1\r\nB: c\r\nHost: h\r\nContent-Length: 5\r\nX-Forwarded-Host: h\r\n\r\n"
    );
}

#[test]
fn a_nomination_takes_away_whatever_would_pass() {
    for field in [
        "A: b",
        "Accept: application/json",
        "Authorization: Basic YTpi",
        "Content-Type: text/plain",
        "Cookie: c=1",
        "Date: d",
        "Server: s",
        "Traceparent: t",
        "Tracestate: a=b",
        "Trailer: X-Sum",
    ] {
        let (name, _) = field.split_once(':').expect("it is a field");
        let head = |connection: &str| {
            format!(
                "POST / HTTP/1.1\r\nHost: h\r\n{field}\r\nConnection: {connection}\r\n\
                 Transfer-Encoding: chunked\r\n{field}\r\n\r\n"
            )
        };
        let passed = request(&head("keep-alive"), &RequestEdits::default());
        assert_eq!(passed.matches(field).count(), 2, "{passed}");
        let ended = request(&head(&format!("keep-alive, {}", name.to_uppercase())), &RequestEdits::default());
        assert_eq!(ended, passed.replace(&format!("{field}\r\n"), ""));
    }
}

#[test]
fn a_nomination_cannot_take_away_what_has_a_meaning() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\n\
                Connection: Host, Content-Length, Connection, X-Forwarded-For, X-Real-IP, X-Request-ID\r\n\
                Content-Length: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n\r\n";
    let written = request(head, &RequestEdits { forwarded: FORWARDED, request_id: b"1", ..Default::default() });
    assert_eq!(
        written.lines().take(7).collect::<Vec<_>>(),
        [
            "POST / HTTP/1.1",
            "X-Original-Forwarded-For: 1.2.3.4",
            "Host: h",
            "Content-Length: 1",
            "X-Request-ID: 1",
            "X-Real-IP: 10.0.0.1",
            "X-Forwarded-For: 10.0.0.1"
        ]
    );
}

#[test]
fn an_endpoint_can_name_all_but_the_framing() {
    let head = "HTTP/1.1 200 OK\r\nConnection: Date, Content-Length, Content-Type, X-Request-ID, Set-Cookie, Host\r\n\
                Date: theirs\r\nContent-Length: 5\r\nContent-Type: a\r\nX-Request-ID: 1\r\nSet-Cookie: a=b\r\n\
                Host: h\r\nB: c\r\n\r\n";
    let (written, _) = response(head, KEPT, &ResponseEdits { date: Some(b"ours"), ..keep() });
    assert_eq!(written, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nB: c\r\nDate: ours\r\n\r\n");
}

#[test]
fn chunks_and_their_trailers_are_announced() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\nTrailer: A\r\n\r\n";
    assert_eq!(
        request(head, &RequestEdits::default()),
        "POST / HTTP/1.1\r\nTrailer: A\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-Forwarded-Host: h\r\n\r\n"
    );
}

#[test]
fn an_offer_to_switch_protocols_is_passed_on() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let written = request(head, &RequestEdits::default());
    assert!(written.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"), "{written}");
}

#[test]
fn an_absolute_form_becomes_a_path() {
    let head = "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(request(head, &RequestEdits::default()).starts_with("GET /a?b HTTP/1.1\r\n"));
    let head = "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(request(head, &RequestEdits::default()).starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn a_request_without_host_says_so() {
    let written = request("GET / HTTP/1.0\r\n\r\n", &RequestEdits::default());
    assert_eq!(written, "GET / HTTP/1.1\r\nHost: \r\n\r\n");
}

#[test]
fn no_edit_can_end_a_line() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    let edits = RequestEdits {
        target: Some(b"a b\r\nc:d#\0\xe4"),
        host: Some(b"evil\r\nX: y"),
        set: &[
            (b"C", b"d\r\nX: y"),
            (b"E\r\nX: y", b"f"),
            (b"Host", b"other"),
            (b"Content-Length", b"5"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Connection", b"close"),
            (b"G", b"h"),
        ],
        ..Default::default()
    };
    let mut out = Vec::new();
    let mut request = Request::new();
    request.read(head.as_bytes(), &Limits::REQUEST).expect("the head is good");
    write_request(request.view(head.as_bytes()), &edits, &mut out);
    let expected = b"GET /a%20b%0D%0Ac:d%23%00\xe4 HTTP/1.1\r\nA: b\r\nHost: h\r\nX-Forwarded-Host: h\r\nG: h\r\n\r\n";
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn edits_set_and_remove_fields() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\na: 2\r\nB: 3\r\nC: 4\r\n\r\n";
    let edits = RequestEdits {
        target: Some(b"/new?x"),
        host: Some(b"other:81"),
        set: &[(b"A", b"5"), (b"X-Forwarded-Host", b"said")],
        remove: &[b"b"],
        ..Default::default()
    };
    assert_eq!(
        request(head, &edits),
        "GET /new?x HTTP/1.1\r\nC: 4\r\nHost: other:81\r\nA: 5\r\nX-Forwarded-Host: said\r\n\r\n"
    );
}

#[test]
fn a_new_trace_replaces_the_old_one() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nTraceparent: old\r\nTracestate: a=b\r\n\r\n";
    let passed = request(head, &RequestEdits::default());
    assert!(passed.contains("Traceparent: old\r\nTracestate: a=b\r\n"), "{passed}");
    let made = request(head, &RequestEdits { traceparent: Some(b"new"), ..Default::default() });
    assert!(made.contains("\r\ntraceparent: new\r\n") && !made.contains("old") && !made.contains("a=b"), "{made}");
}

#[test]
fn a_response_passes_without_what_is_about_the_connection() {
    let head = "HTTP/1.1 200 Fine\r\nServer: x\r\nDate: d\r\nContent-Length: 5\r\nConnection: keep-alive, X-Hop\r\n\
                X-Hop: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-Request-ID: 1\r\n\r\n";
    let (written, delivery) = response(head, KEPT, &ResponseEdits { date: Some(b"now"), ..keep() });
    assert_eq!(
        written,
        "HTTP/1.1 200 Fine\r\nDate: d\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
         X-Request-ID: 1\r\n\r\n"
    );
    assert_eq!(delivery, Delivery { coding: Coding::Pass, keep_alive: true });
}

#[test]
fn a_response_is_edited() {
    let head = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n";
    let edits = ResponseEdits {
        date: Some(b"now"),
        set: &[(b"a", b"3")],
        add: &[(b"Set-Cookie", b"c=d")],
        remove: &[b"b"],
        ..keep()
    };
    assert_eq!(
        response(head, KEPT, &edits).0,
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\nDate: now\r\na: 3\r\nSet-Cookie: c=d\r\n\r\n"
    );
}

#[test]
fn a_body_is_framed_for_its_client() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let close = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, asked, reframe, fields, coding, keep_alive) in [
        (length, KEPT, false, "Content-Length: 5\r\n", Coding::Pass, true),
        (length, KEPT, true, "Transfer-Encoding: chunked\r\n", Coding::Chunk, true),
        (length, OLD, false, "Content-Length: 5\r\nConnection: close\r\n", Coding::Pass, false),
        (length, OLD_KEPT, false, "Content-Length: 5\r\nConnection: keep-alive\r\n", Coding::Pass, true),
        (length, OLD_KEPT, true, "Connection: close\r\n", Coding::Decode, false),
        (chunked, KEPT, false, "Transfer-Encoding: chunked\r\n", Coding::Pass, true),
        (chunked, KEPT, true, "Transfer-Encoding: chunked\r\n", Coding::Chunk, true),
        (chunked, OLD_KEPT, false, "Connection: close\r\n", Coding::Decode, false),
        (close, KEPT, false, "Connection: close\r\n", Coding::Pass, false),
        (close, KEPT, true, "Transfer-Encoding: chunked\r\n", Coding::Chunk, true),
        (close, OLD_KEPT, false, "Connection: close\r\n", Coding::Pass, false),
    ] {
        let (written, delivery) = response(head, asked, &ResponseEdits { reframe, ..keep() });
        assert_eq!(written, format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), "{head:?} {asked:?} {reframe}");
        assert_eq!(delivery, Delivery { coding, keep_alive }, "{head:?} {asked:?} {reframe}");
    }
    let (written, delivery) = response(length, KEPT, &ResponseEdits::default());
    assert!(written.contains("\r\nConnection: close\r\n") && !delivery.keep_alive, "the gateway may close too");
}

#[test]
fn an_answer_without_body_keeps_its_length_only_where_it_says_something() {
    let head_only = Asked { head_only: true, ..KEPT };
    for (status, asked, fields) in [
        ("200 OK", head_only, "Content-Length: 5\r\n"),
        ("304 Not Modified", KEPT, "Content-Length: 5\r\n"),
        ("204 No Content", KEPT, ""),
    ] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
        let (written, delivery) = response(&head, asked, &keep());
        assert_eq!(written, format!("HTTP/1.1 {status}\r\n{fields}\r\n"));
        assert!(delivery.keep_alive);
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(response(chunked, head_only, &keep()).0, chunked);
}

#[test]
fn interim_answers_pass_only_to_who_knows_them() {
    let head = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    assert_eq!(response(head, KEPT, &ResponseEdits::default()).0, head);
    assert_eq!(response(head, OLD, &ResponseEdits::default()).0, "");
}

#[test]
fn a_switch_of_protocols_passes() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n";
    let (written, delivery) = response(head, Asked { upgrade: true, ..KEPT }, &keep());
    assert_eq!(
        written,
        "HTTP/1.1 101 Switching Protocols\r\nA: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    assert_eq!(delivery.coding, Coding::Pass);
}

#[test]
fn answers_over_tls_tell_of_https_whatever_the_endpoint_says_of_it() {
    let hsts = Some(crate::http::Hsts::default());
    let own = "strict-transport-security: max-age=1\r\n";
    let ours = "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n";
    for (head, asked, has_own, has_ours) in [
        ("HTTP/1.1 200 OK", KEPT, true, false),
        ("HTTP/1.1 200 OK", Asked { hsts, ..KEPT }, false, true),
        ("HTTP/1.1 304 Not Modified", Asked { hsts, ..KEPT }, false, true),
        ("HTTP/1.1 103 Early Hints", Asked { hsts, ..KEPT }, true, false),
    ] {
        let (written, _) = response(&format!("{head}\r\n{own}Content-Length: 0\r\n\r\n"), asked, &keep());
        assert_eq!((written.contains(own), written.matches(ours).count() == 1), (has_own, has_ours), "{written}");
    }
}
