use super::*;
use crate::http::{Forwarded, RequestEdits, write_request};

/// Reads a head, and returns what `show` says of it.
fn read<T>(head: &str, show: impl FnOnce(RequestView<'_>) -> T) -> Result<T, Refusal> {
    let mut request = Request::new();
    match request.read(head.as_bytes(), &Limits::REQUEST)? {
        Some(length) => {
            assert_eq!(length, head.len(), "{head:?}");
            Ok(show(request.view(head.as_bytes())))
        }
        None => panic!("partial: {head:?}"),
    }
}

/// Why a head is refused.
fn refused(head: &str) -> Refusal {
    let mut request = Request::new();
    match request.read(head.as_bytes(), &Limits::REQUEST) {
        Err(refusal) => refusal,
        Ok(read) => panic!("read {read:?}: {head:?}"),
    }
}

fn write(head: &str, edits: &RequestEdits<'_>) -> String {
    read(head, |view| {
        let mut out = Vec::new();
        write_request(view, edits, &mut out);
        String::from_utf8(out).expect("the head is text")
    })
    .expect("the head is good")
}

#[test]
fn a_plain_head_is_read() {
    let head = "GET /a?b=c HTTP/1.1\r\nHost: shop.example:8080\r\nAccept:  */* \r\n\r\n";
    read(head, |view| {
        assert_eq!(view.method(), b"GET");
        assert_eq!(view.target(), b"/a?b=c");
        assert_eq!(view.path(), b"/a");
        assert_eq!(view.query(), Some(&b"b=c"[..]));
        assert_eq!(view.authority(), b"shop.example:8080");
        assert_eq!(view.framing(), Framing::None);
        assert_eq!(view.request_line(), b"GET /a?b=c HTTP/1.1");
        assert_eq!(view.field(b"ACCEPT"), Some(&b"*/*"[..]));
        assert!(view.asked().keep_alive && view.asked().idempotent && view.asked().safe);
    })
    .expect("the head is good");
}

#[test]
fn framing_that_can_be_read_in_two_ways_is_refused() {
    for (fields, malformed) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Malformed::Ambiguous),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Malformed::Ambiguous),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Malformed::ContentLength),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Malformed::ContentLength),
        ("Content-Length: +5\r\n", Malformed::ContentLength),
        ("Content-Length: -5\r\n", Malformed::ContentLength),
        ("Content-Length: 5,5\r\n", Malformed::ContentLength),
        ("Content-Length: 0x5\r\n", Malformed::ContentLength),
        ("Content-Length:\r\n", Malformed::ContentLength),
        ("Content-Length: 18446744073709551616\r\n", Malformed::ContentLength),
        ("Transfer-Encoding: gzip\r\n", Malformed::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Malformed::TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", Malformed::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Malformed::TransferEncoding),
        ("Transfer-Encoding: identity\r\n", Malformed::TransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", Malformed::TransferEncoding),
        ("Transfer-Encoding:\r\n", Malformed::TransferEncoding),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(refused(&head), Refusal::BadRequest(malformed), "{head:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(old), Refusal::BadRequest(Malformed::TransferEncoding));
}

#[test]
fn what_the_endpoint_sees_is_what_ingress_nginx_shows() {
    let head = "GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: evil\r\nX-Real-IP: 9.9.9.9\r\nX-Request-ID: abcd\r\nX-Forwarded-Port: 9\r\n\
                X-Scheme: q\r\nX-Forwarded-Scheme: z\r\nProxy: p\r\nConnection: close, X-Foo\r\nX-Foo: 1\r\n\
                Keep-Alive: x\r\nTE: trailers\r\nunder_score: 1\r\nAccept:*/*\r\n\r\n";
    let forwarded = Forwarded { client: b"10.0.0.1", chain: b"10.0.0.1", proto: b"http", port: b"80", host: b"" };
    let written = write(head, &RequestEdits { forwarded, request_id: b"abcd", ..Default::default() });
    let mut lines: Vec<_> = written.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET /x HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "Accept: */*",
            "Host: h",
            "X-Forwarded-For: 10.0.0.1",
            "X-Forwarded-Host: h",
            "X-Forwarded-Port: 80",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Scheme: http",
            "X-Original-Forwarded-For: 1.2.3.4",
            "X-Original-Forwarded-Host: evil",
            "X-Real-IP: 10.0.0.1",
            "X-Request-ID: abcd",
            "X-Scheme: http",
        ]
    );
}
