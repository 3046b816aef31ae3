use super::*;

const ASKED: Asked = Asked {
    version: Version::Http11,
    head_only: false,
    keep_alive: true,
    upgrade: false,
    idempotent: true,
    safe: true,
    accepts: crate::http::Accepts::Text,
    hsts: None,
};

fn read(head: &str, asked: Asked) -> Result<Option<(u16, Framing, bool)>, Refusal> {
    let mut response = Response::new();
    let read = response.read(head.as_bytes(), asked, &Limits::RESPONSE)?;
    let view = response.view(head.as_bytes());
    Ok(read.map(|_| (view.status(), view.framing(), view.keep_alive())))
}

#[test]
fn a_body_ends_as_its_head_says() {
    let head_only = Asked { head_only: true, ..ASKED };
    let upgrade = Asked { upgrade: true, ..ASKED };
    for (head, asked, status, framing, keep_alive) in [
        ("1.1 200 OK\r\nContent-Length: 5\r\n", ASKED, 200, Framing::Length(5), true),
        ("1.1 200 OK\r\nContent-Length: 0\r\n", ASKED, 200, Framing::None, true),
        ("1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", ASKED, 200, Framing::Chunked, true),
        ("1.1 200 OK\r\n", ASKED, 200, Framing::UntilClose, false),
        ("1.1 200\r\nContent-Length: 5\r\nConnection: close\r\n", ASKED, 200, Framing::Length(5), false),
        ("1.0 200 OK\r\nContent-Length: 5\r\n", ASKED, 200, Framing::Length(5), false),
        ("1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n", ASKED, 200, Framing::Length(5), true),
        ("1.1 200 OK\r\nContent-Length: 5\r\n", head_only, 200, Framing::None, true),
        ("1.1 200 OK\r\n", head_only, 200, Framing::None, true),
        ("1.1 304 \r\nContent-Length: 5\r\n", ASKED, 304, Framing::None, true),
        ("1.1 204 No Content\r\n", ASKED, 204, Framing::None, true),
        ("1.1 204 No Content\r\nContent-Length: 5\r\n", ASKED, 204, Framing::None, false),
        ("1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", ASKED, 204, Framing::None, false),
        ("1.1 100 Continue\r\n", ASKED, 100, Framing::None, true),
        ("1.1 101 Switching\r\nUpgrade: websocket\r\n", upgrade, 101, Framing::UntilClose, false),
        ("1.1 999 Strange\r\nContent-Length: 5\r\n", ASKED, 999, Framing::Length(5), true),
    ] {
        let read = read(&format!("HTTP/{head}\r\n"), asked);
        assert_eq!(read, Ok(Some((status, framing, keep_alive))), "{head:?}");
    }
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_refused() {
    for (head, malformed) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Malformed::Ambiguous),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", Malformed::ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\t\r\n\r\n", Malformed::ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Malformed::ContentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Malformed::TransferEncoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Malformed::TransferEncoding),
        ("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", Malformed::Upgrade),
        ("HTTP/2 200 OK\r\n\r\n", Malformed::Status),
        ("HTTP/1.1 20 OK\r\n\r\n", Malformed::Status),
        ("HTTP/1.1 2000 OK\r\n\r\n", Malformed::Status),
        ("HTTP/1.1 099 OK\r\n\r\n", Malformed::Status),
        ("HTTP/1.1  200 OK\r\n\r\n", Malformed::Status),
        ("ICY 200 OK\r\n\r\n", Malformed::Status),
        ("HTTP/1.1 200 O\0K\r\n\r\n", Malformed::Status),
        ("HTTP/1.1 200 OK\nA: b\n\n", Malformed::BareLf),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Malformed::Fold),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Malformed::SpaceBeforeColon),
        ("hello", Malformed::Status),
    ] {
        assert_eq!(read(head, ASKED), Err(Refusal::BadUpstream(malformed)), "{head:?}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(20_000));
    assert_eq!(read(&long, ASKED), Err(Refusal::BadUpstream(Malformed::TooLarge)));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X_Real_IP: 1\r\n".repeat(257));
    assert_eq!(read(&many, ASKED), Err(Refusal::BadUpstream(Malformed::TooLarge)), "dropped fields count");
}

#[test]
fn an_answer_in_pieces_is_awaited() {
    let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for end in 0..head.len() {
        assert_eq!(read(&head[..end], ASKED), Ok(None), "{:?}", &head[..end]);
    }
}
