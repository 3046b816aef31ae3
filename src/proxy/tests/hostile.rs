//! Clients and endpoints that mean no good, or do not know better.

use super::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused_and_the_connection_is_closed() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    for request in [
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: +4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nHost: shop.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\nX: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: shop.example\r\nX: a\0b\r\n\r\n",
        "GET http://other.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "G\u{1}T / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ] {
        let mut line = gateway.connect();
        // What follows must not be taken for another request.
        line.send(format!("{request}{GET}"));
        let answer = line.answer(true);
        assert_eq!((answer.status(), answer.field("connection")), (400, Some("close")), "{request:?}");
        assert!(line.is_closed(), "{request:?}");
    }
    assert_eq!(endpoint.accepted(), 0);
}

#[test]
fn chunks_that_are_none_are_refused() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    for body in
        ["x\r\n", "5\nhello\r\n0\r\n\r\n", "5\r\nhelloX", "-5\r\n", "ffffffffffffffff\r\n", "0\r\nX : y\r\n\r\n"]
    {
        let mut line = gateway.connect();
        line.send(format!("POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n{body}{GET}"));
        assert_eq!(line.answer(true).status(), 400, "{body:?}");
        assert!(line.is_closed(), "{body:?}");
    }
}

#[test]
fn answers_that_are_none_are_refused() {
    for answer in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: split=1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let endpoint = Endpoint::answering(answer);
        let gateway = Gateway::to(&[&endpoint]);
        let refused = gateway.ask(GET);
        assert_eq!(refused.status(), 502, "{answer:?}");
        assert_eq!(refused.field("set-cookie"), None);
    }
}

#[test]
fn an_endless_head_of_an_endpoint_is_refused() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\n");
        for _ in 0..100_000 {
            line.send("X-Endless: and so on\r\n");
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    assert_eq!(gateway.ask(GET).status(), 502);
}

#[test]
fn an_answer_that_is_shorter_than_it_says_is_seen_as_cut_off() {
    for (answer, got) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "half"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
    ] {
        let endpoint = Endpoint::run(move |_, mut line| {
            line.read();
            line.send(answer);
        });
        let gateway = Gateway::to(&[&endpoint]);
        let mut line = gateway.connect();
        line.send(GET);
        line.read_head().unwrap();
        assert_eq!(line.rest(), got.as_bytes(), "without an end that could be believed");
    }
}

#[test]
fn an_answer_that_breaks_off_is_seen_as_such_also_where_only_the_end_of_the_connection_ends_it() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send("GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n");
    let mut bytes = Vec::new();
    let end = std::io::Read::read_to_end(&mut line.stream, &mut bytes);
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn endless_interim_answers_are_refused() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        for _ in 0..1000 {
            line.send("HTTP/1.1 102 Processing\r\n\r\n");
        }
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send(GET);
    let mut status = 102;
    while status == 102 {
        status = line.answer(false).status();
    }
    assert_eq!(status, 502);
}

#[test]
fn a_connection_on_which_the_request_was_not_sent_whole_is_not_used_again() {
    // It answers before it has the body, as if the request were over.
    let endpoint = Endpoint::run(|_, mut line| {
        while line.read_head().is_some() {
            line.send(OK);
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000\r\n\r\nbody");
    assert_eq!(line.answer(true).status(), 200);
    assert_eq!(gateway.get("/").status(), 200);
    assert_eq!(endpoint.accepted(), 2);
}

#[test]
fn what_an_endpoint_says_after_its_answer_reaches_nobody() {
    let endpoint = Endpoint::run(|_, mut line| {
        while line.read().is_some() {
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    for n in 1..4 {
        assert_eq!(line.ask(GET).text(), "ok");
        assert_eq!(endpoint.accepted(), n, "such a connection is not used again");
    }
}

#[test]
fn who_does_not_speak_http_is_not_answered_in_it() {
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    for bytes in ["INVALID CONNECTION PREFACE\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n"] {
        let mut line = gateway.connect();
        line.send(bytes);
        assert_eq!(line.rest(), b"", "{bytes}");
    }
    wait_until("they are counted", || gateway.metric("serin_refusals_total") == 2);
}

#[test]
fn clients_that_are_slow_in_any_way_hold_up_nobody_else() {
    let endpoint = Endpoint::run(|_, mut line| {
        while let Some(head) = line.read_head() {
            if head.starts_with("POST") {
                line.rest();
            } else if head.contains("/large") {
                line.send("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
                line.send(vec![b'x'; 3_000_000]);
            } else {
                line.send(OK);
            }
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let slow = [
        // Heads, bodies, and answers that are not read.
        &GET[..20],
        "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000\r\n\r\nhalf",
        "GET /large HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    ];
    let mut held = Vec::new();
    for at in 0..60 {
        let mut line = gateway.connect();
        line.send(slow[at % slow.len()]);
        held.push(line);
    }
    // Handshakes that do not go on: nothing, and half of a record.
    let mut handshakes = Vec::new();
    for half in [&b""[..], b"\x16\x03\x01\x02\x00\x01"].into_iter().cycle().take(40) {
        let mut socket = std::net::TcpStream::connect(gateway.tls_address).unwrap();
        std::io::Write::write_all(&mut socket, half).unwrap();
        handshakes.push(socket);
    }
    let mut line = gateway.connect();
    for _ in 0..100 {
        assert_eq!(line.ask(GET).text(), "ok");
        assert_eq!(gateway.ask(GET).text(), "ok");
    }
}
