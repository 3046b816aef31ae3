//! Bodies in both directions, and answers that do not wait for them.

use super::harness::*;
use crate::route::Policy;

const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\n";

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// An endpoint that answers with the body that it got, framed in the same way.
fn echo() -> Endpoint {
    Endpoint::run(|_, mut line| {
        while let Some(request) = line.read() {
            if request.field("content-length").is_some() {
                line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
                line.send(&request.body);
            } else {
                line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
                for chunk in request.body.chunks(7000) {
                    line.send(format!("{:X}\r\n", chunk.len()));
                    line.send(chunk);
                    line.send("\r\n");
                }
                line.send("0\r\nX-Sum: 1\r\n\r\n");
            }
        }
    })
}

#[test]
fn bodies_of_any_length_arrive_whole() {
    let endpoint = echo();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    for length in [1, 100, 8 * 1024, 16 * 1024, 64 * 1024, 1 << 20] {
        let body = pattern(length);
        line.send(format!("{POST}Content-Length: {length}\r\n\r\n"));
        line.send(&body);
        assert!(line.answer(true).body == body, "{length} bytes");
    }
    assert_eq!(endpoint.accepted(), 1);
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let endpoint = echo();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    let body = pattern(300_000);
    line.send(format!("{POST}Transfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n"));
    for chunk in body.chunks(9_999) {
        line.send(format!("{:x};ext=\"q\"\r\n", chunk.len()));
        line.send(chunk);
        line.send("\r\n");
    }
    line.send("0\r\nX-Check: 42\r\n\r\n");
    let answer = line.answer(true);
    assert!(answer.body == body);
    assert_eq!(answer.trailers.to_lowercase(), "x-sum: 1\n");
    assert_eq!(endpoint.seen()[0].trailers.to_lowercase(), "x-check: 42\n");
    assert_eq!(line.ask("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").status(), 200, "the connection is in order");
}

#[test]
fn both_directions_run_at_once() {
    // The endpoint answers each chunk before the next is sent.
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..5 {
            let chunk = line.take(8);
            line.send(chunk);
        }
        line.take(5);
        line.send("0\r\n\r\n");
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send(format!("{POST}Transfer-Encoding: chunked\r\n\r\n"));
    assert!(line.read_head().unwrap().starts_with("HTTP/1.1 200 "));
    for n in 0..5 {
        let chunk = format!("3\r\na{n}b\r\n");
        line.send(&chunk);
        assert_eq!(line.take(8), chunk.as_bytes());
    }
    line.send("0\r\n\r\n");
    assert_eq!(line.take(5), b"0\r\n\r\n");
}

#[test]
fn an_answer_may_come_while_the_body_is_still_being_sent() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send(format!("{POST}Content-Length: 1000000\r\n\r\nonly the beginning"));
    let answer = line.answer(true);
    assert_eq!((answer.status(), answer.text()), (403, "no"));
}

#[test]
fn a_client_that_looks_for_its_answer_only_at_the_end_may_send_all() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        line.rest();
    });
    for (body_limit, status) in [(None, 403), (Some(1000), 413)] {
        let gateway = Gateway::with_policy(Policy { body_limit, ..Policy::default() }, &[&endpoint]);
        let mut line = gateway.connect();
        let length = 40 << 20;
        line.send(format!("{POST}Content-Length: {length}\r\n\r\n"));
        let sent = std::io::Write::write_all(&mut line.stream, &vec![b'x'; length]);
        assert!(sent.is_ok(), "{sent:?}");
        assert_eq!(line.answer(true).status(), status);
        line.shutdown();
        assert!(line.is_closed());
    }
}

#[test]
fn an_endpoint_that_answers_and_closes_while_the_body_is_sent_is_heard() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        line.shutdown();
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send(format!("{POST}Content-Length: 900000\r\n\r\n"));
    line.send(vec![b'x'; 500_000]);
    assert_eq!(line.answer(true).text(), "no");
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let endpoint = echo();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    for _ in 0..2 {
        line.send(format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
        assert_eq!(line.read_head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        line.send("body");
        assert_eq!(line.answer(true).text(), "body");
    }
    assert_eq!(endpoint.seen()[0].field("expect"), None, "it was met here");
}

#[test]
fn a_client_that_waits_is_not_told_to_go_on_after_the_answer() {
    let gateway = Gateway::to(&[]);
    let answer = gateway.ask(&format!("{POST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
    assert_eq!(answer.status(), 503);
}

#[test]
fn interim_answers_are_passed_on_as_they_come() {
    let endpoint = Endpoint::run(|_, mut line| {
        while line.read().is_some() {
            line.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let hints = line.answer(false);
    assert_eq!((hints.status(), hints.field("link")), (103, Some("</style.css>")));
    assert_eq!(line.answer(true).text(), "ok");
}

#[test]
fn an_interim_answer_does_not_wait_for_the_final_one() {
    let (tell, told) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let endpoint = Endpoint::run(move |_, mut line| {
        line.read();
        line.send("HTTP/1.1 102 Processing\r\n\r\n");
        told.lock().unwrap().recv().unwrap_or(());
        line.send(OK);
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(line.answer(false).status(), 102);
    tell.send(()).unwrap();
    assert_eq!(line.answer(true).text(), "ok");
}

#[test]
fn a_side_that_does_not_read_stops_the_other() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n");
        let mut sent = 0_u64;
        line.stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        while std::io::Write::write(&mut line.stream, &[b'x'; 65536]).is_ok() {
            sent += 65536;
            assert!(sent < 200 << 20, "nobody reads that much");
        }
        line.seen_text(format!("{sent}"));
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    line.read_head().unwrap();
    wait_until("the endpoint is stopped", || !endpoint.seen().is_empty());
    let sent: u64 = endpoint.seen()[0].head.parse().unwrap();
    assert!(sent < 64 << 20, "only sockets hold what the client has not read: {sent}");
}
