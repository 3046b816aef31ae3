use super::*;
use crate::http::FieldNames;

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
fn lines_that_can_be_read_in_two_ways_are_refused() {
    for (head, malformed) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", Malformed::Fold),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\nC: d\r\n\r\n", Malformed::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n", Malformed::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0\r\n\r\n", Malformed::Value),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\x7f\r\n\r\n", Malformed::Value),
        ("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", Malformed::SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", Malformed::Name),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Malformed::Name),
        ("GET / HTTP/1.1\r\nHost: a\r\nA@: b\r\n\r\n", Malformed::Name),
        ("GET / HTTP/1.1\nHost: a\n\n", Malformed::BareLf),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Method),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Malformed::Version),
        ("GET / HTTP/1.1\r\n\r\n", Malformed::NoHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Malformed::ManyHosts),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Malformed::Host),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Malformed::Host),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::HostMismatch),
        ("GET http://b/ HTTP/1.1\r\n\r\n", Malformed::NoHost),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target),
    ] {
        assert_eq!(refused(head), Refusal::BadRequest(malformed), "{head:?}");
    }
}

#[test]
fn what_a_gateway_must_not_serve_is_refused() {
    for (line, refusal) in [
        ("CONNECT a:443 HTTP/1.1", Refusal::MethodNotAllowed),
        ("TRACE / HTTP/1.1", Refusal::MethodNotAllowed),
        ("GET / HTTP/2.0", Refusal::VersionNotSupported),
        ("GET / HTTP/0.9", Refusal::VersionNotSupported),
        ("GET / HTTP/1.2", Refusal::VersionNotSupported),
    ] {
        assert_eq!(refused(&format!("{line}\r\nHost: a\r\n\r\n")), refusal, "{line}");
    }
    let expects = "POST / HTTP/1.1\r\nHost: a\r\nExpect: the-moon\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(refused(expects), Refusal::ExpectationFailed);
}

#[test]
fn a_head_has_limits() {
    let limits = Limits { head: 100, line: 40, target: 20, fields: 3, names: FieldNames::Plain };
    let read = |head: &str| Request::new().read(head.as_bytes(), &limits);
    let start = "GET / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(read(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(19))), Ok(None));
    assert_eq!(read(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(20))), Err(Refusal::UriTooLong));
    assert_eq!(read(&format!("GET /{}", "a".repeat(20))), Err(Refusal::UriTooLong));
    assert_eq!(read(&format!("{start}A:{}", "b".repeat(38))), Ok(None));
    assert_eq!(read(&format!("{start}A:{}", "b".repeat(39))), Err(Refusal::HeadersTooLarge));
    assert_eq!(read(&format!("{start}{}", "A".repeat(41))), Err(Refusal::HeadersTooLarge));
    assert_eq!(read(&format!("{start}A: 1\r\nB: 2\r\n\r\n")), Ok(Some(39)));
    assert_eq!(read(&format!("{start}A: 1\r\nB: 2\r\nC: 3\r\n")), Err(Refusal::HeadersTooLarge));
    assert_eq!(read(&format!("{start}A_A: 1\r\nB: 2\r\n\r\n")), Ok(Some(41)));
    assert_eq!(
        read(&format!("{start}A_A: 1\r\nB_B: 2\r\nC: 3\r\n")),
        Err(Refusal::HeadersTooLarge),
        "dropped ones count"
    );
    assert_eq!(read(&format!("{start}A: 1\r\nB: 2\r\nC_C: 3\r\n")), Err(Refusal::HeadersTooLarge));
    let filled = format!("{start}A: {}\r\nB: {}\r\n", "a".repeat(30), "b".repeat(30));
    assert_eq!((filled.len(), read(&filled)), (95, Ok(None)));
    assert_eq!(read(&format!("{filled}C: 3\r\n\r\n")), Err(Refusal::HeadersTooLarge));
    assert_eq!(read(&"\r\n".repeat(2)), Ok(None), "empty lines before a request are passed over");
    assert_eq!(read(&"\r\n".repeat(3)), Err(Refusal::BadRequest(Malformed::Method)));
}

#[test]
fn names_that_applications_confuse_are_dropped_and_underscores_unless_they_are_wanted() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX_A: 1\r\nX_Forwarded_For: 2\r\nContent_Length: 3\r\nX.Real.IP: 4\r\n\r\n";
    let names = |limits: &Limits| {
        let mut request = Request::new();
        request.read(head.as_bytes(), limits).expect("the head is good").expect("the head is whole");
        let view = request.view(head.as_bytes());
        view.fields().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&Limits::REQUEST), ["Host"]);
    let underscores = Limits { names: FieldNames::Underscores, ..Limits::REQUEST };
    assert_eq!(names(&underscores), ["Host", "X_A"], "no name is forged by them");
}

#[test]
fn a_connection_is_kept_as_the_client_wants() {
    for (line, field, keep_alive) in [
        ("HTTP/1.1", "A: b", true),
        ("HTTP/1.1", "Connection: close", false),
        ("HTTP/1.1", "Connection: keep-alive, CLOSE", false),
        ("HTTP/1.1", "Connection: closed", true),
        ("HTTP/1.0", "A: b", false),
        ("HTTP/1.0", "Connection: Keep-Alive", true),
        ("HTTP/1.0", "Connection: keep-alive, close", false),
    ] {
        let head = format!("GET / {line}\r\nHost: a\r\n{field}\r\n\r\n");
        assert_eq!(read(&head, |view| view.asked().keep_alive), Ok(keep_alive), "{line} {field}");
    }
}

#[test]
fn a_switch_of_protocols_is_offered_only_by_the_book() {
    for (fields, offer) in [
        ("Connection: Upgrade\r\nUpgrade: websocket", Some("websocket")),
        ("Connection: keep-alive, upgrade\r\nUpgrade: SPDY/3.1", Some("SPDY/3.1")),
        ("Upgrade: websocket", None),
        ("Connection: upgrade", None),
        ("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b", None),
        ("Connection: upgrade\r\nUpgrade: h2c", None),
        ("Connection: upgrade\r\nUpgrade: websocket, H2C", None),
        ("Connection: upgrade\r\nUpgrade: HTTP/2.0", None),
        ("Connection: upgrade\r\nUpgrade: a b", None),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0", Some("websocket")),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1", None),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked", None),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let read = read(&head, |view| {
            assert_eq!(view.asked().upgrade, view.upgrade().is_some());
            view.upgrade().map(|offer| String::from_utf8_lossy(offer).into_owned())
        });
        assert_eq!(read, Ok(offer.map(str::to_owned)), "{fields}");
    }
    let old = "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(read(old, |view| view.upgrade().is_some()), Ok(false));
}

#[test]
fn methods_tell_what_may_be_repeated() {
    for (method, safe, idempotent) in [
        ("GET", true, true),
        ("HEAD", true, true),
        ("OPTIONS", true, true),
        ("PUT", false, true),
        ("DELETE", false, true),
        ("POST", false, false),
        ("PATCH", false, false),
        ("LOCK", false, false),
        ("FOO", false, false),
    ] {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let read = read(&head, |view| (view.asked().safe, view.asked().idempotent, view.asked().head_only));
        assert_eq!(read, Ok((safe, idempotent, method == "HEAD")), "{method}");
    }
}

#[test]
fn storage_forgets_the_last_head() {
    let mut request = Request::new();
    let first = "HEAD / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nAccept: application/json\r\n\
                 Content-Length: 5\r\n\r\n";
    request.read(first.as_bytes(), &Limits::REQUEST).expect("the head is good");
    let second = "GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    request.read(second.as_bytes(), &Limits::REQUEST).expect("the head is good");
    let mut fresh = Request::new();
    fresh.read(second.as_bytes(), &Limits::REQUEST).expect("the head is good");
    assert_eq!(format!("{request:?}"), format!("{fresh:?}"));
}

#[test]
fn continue_is_expected_only_before_a_body() {
    for (version, fields, expected) in [
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 1", true),
        ("1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked", true),
        ("1.1", "Expect: 100-continue", false),
        ("1.1", "Expect: 100-continue\r\nContent-Length: 0", false),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 1", false),
        ("1.1", "Content-Length: 1", false),
    ] {
        let head = format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(read(&head, |view| view.expects_continue() == expected), Ok(true), "{fields}");
    }
}

#[test]
fn only_usable_ids_and_traces_are_taken_over() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let long = "x".repeat(129);
    for (id, usable) in [("abcd", true), ("", false), ("a b", false), ("\u{e4}", false), (&long, false)] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: {id}\r\n\r\n");
        assert_eq!(read(&head, |view| view.request_id().is_some()), Ok(usable), "{id}");
    }
    for (trace, usable) in [
        (TRACE.to_owned(), true),
        (TRACE.to_uppercase(), false),
        (format!("{TRACE}0"), false),
        (TRACE[..54].to_owned(), false),
        (format!("{TRACE}-more"), false),
        (TRACE.replacen("00", "01", 1), true),
        (format!("{}-more", TRACE.replacen("00", "fe", 1)), true),
        (format!("{}more", TRACE.replacen("00", "01", 1)), false),
        (TRACE.replacen("00", "ff", 1), false),
        (TRACE.replacen("00", "0x", 1), false),
        (TRACE.replace("00f067aa0ba902b7", "0000000000000000"), false),
        (TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
        (TRACE.replace('-', "_"), false),
        (TRACE.replace("4bf", "4bg"), false),
        (String::new(), false),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {trace}\r\n\r\n");
        assert_eq!(read(&head, |view| view.traceparent().is_some()), Ok(usable), "{trace}");
    }
}

#[test]
fn the_form_of_refusals_follows_the_request() {
    for (fields, accepts) in [
        ("Accept: */*", Accepts::Text),
        ("Accept: text/html, application/json", Accepts::Text),
        ("Accept: Application/JSON, */*", Accepts::Json),
        ("Content-Type: application/grpc+proto", Accepts::Grpc),
        ("Content-Type: application/grpc\r\nAccept: application/json", Accepts::Grpc),
        ("Content-Type: application/json", Accepts::Text),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(read(&head, |view| view.asked().accepts), Ok(accepts), "{fields}");
    }
}
