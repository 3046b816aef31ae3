//! Clients that speak HTTP/1: versions, pipelines, heads in pieces.

use std::{
    io::Write,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use super::harness::*;
use crate::{
    lifecycle::Phase,
    proxy::{Config, log::Format},
    route::Policy,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

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
fn a_request_is_measured_and_logged() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let request = "POST /cart HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: tester\r\nReferer: here\r\n\
                   X-Request-ID: one\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(gateway.ask(request).status(), 200);
    gateway.ask("GET nonsense HTTP/1.1\r\n\r\n");
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
    let bad = lines.iter().find(|line| line["request"] == "GET nonsense HTTP/1.1").expect(&log);
    assert_eq!((&bad["status"], &bad["refusal"]), (&400.into(), &"bad_request".into()));
}

#[test]
fn a_head_has_so_much_time_in_all_however_it_drips() {
    let config = Config { header_timeout: Duration::from_secs(1), ..Config::default() };
    let gateway = Gateway::with_config(config, &[]);
    let begin = Instant::now();
    let mut line = gateway.connect();
    // The first byte is there before a busy machine gets to the others.
    line.send("G");
    let mut drip = line.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        for byte in GET.bytes().cycle().take(200) {
            if drip.write_all(&[byte.max(b'A')]).is_err() {
                return;
            }
            pause(Duration::from_millis(50));
        }
    });
    assert_eq!(line.answer(true).status(), 408);
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn heads_and_targets_are_limited() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    for (head, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: shop.example\r\n\r\n", "x".repeat(9000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX: {}\r\n\r\n", "x".repeat(9000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{}\r\n", "X: y\r\n".repeat(200)), 431),
        (format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{}\r\n", "X: yyyyyyyy\r\n".repeat(20_000)), 431),
        (
            format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{}\r\n", format!("X: {}\r\n", "x".repeat(7000)).repeat(4)),
            200,
        ),
    ] {
        let mut line = gateway.connect();
        line.send(&head);
        assert_eq!(line.answer(true).status(), status, "{} bytes", head.len());
    }
}

#[test]
fn who_is_in_the_queue_is_served() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Endpoint::run(move |_, mut line| {
        while line.read().is_some() {
            let _ = told.lock().unwrap().recv();
            line.send(OK);
        }
    });
    let mut gateway = Gateway::to(&[&endpoint]);
    let mut lines: Vec<_> = (0..50).map(|_| gateway.connect()).collect();
    for line in &mut lines {
        line.send(GET);
    }
    gateway.drainer.advance(Phase::Closing);
    for _ in &lines {
        tell.send(()).unwrap();
    }
    for line in &mut lines {
        assert_eq!(line.answer(true).status(), 200);
    }
    gateway.join();
}

#[test]
fn an_answer_during_a_drain_says_that_the_connection_closes() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send("GET / HTTP/1.1\r\nHost: shop");
    wait_until("it is accepted", || gateway.alive() == [("connections", 1)]);
    gateway.drainer.advance(Phase::Closing);
    line.send(".example\r\n\r\n");
    assert_eq!(line.answer(true).field("connection"), Some("close"));
    assert!(line.is_closed());
}

#[test]
fn where_the_rest_of_a_body_is_not_wanted_the_connection_closes_but_no_reset_eats_the_answer() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000000\r\n\r\nonly the beginning");
    let answer = line.answer(true);
    assert_eq!((answer.text(), answer.field("connection")), ("no", Some("close")));
    line.send(vec![b'x'; 100_000]);
    line.shutdown();
    assert!(line.is_closed(), "the rest is swallowed");

    let gateway = Gateway::with_policy(Policy { body_limit: Some(1000), ..Policy::default() }, &[&endpoint]);
    let answer = gateway.ask("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!((answer.status(), answer.field("connection")), (413, Some("close")));
}

#[test]
fn a_body_that_is_there_already_is_not_asked_for() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let post = "POST / HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(gateway.ask(post).status(), 200);
}

#[test]
fn the_old_version_has_no_interim_answers_and_no_chunks() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
        line.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    });
    let gateway = Gateway::to(&[&endpoint]);
    let old = gateway.ask("GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n");
    assert_eq!((old.status(), old.text(), old.field("transfer-encoding")), (200, "until the end", None));
}

#[test]
fn a_declined_upgrade_leaves_the_connection_in_order() {
    let declining = Endpoint::ok();
    let gateway = Gateway::to(&[&declining]);
    let mut line = gateway.connect();
    for _ in 0..2 {
        let upgrade = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(line.ask(upgrade).text(), "ok");
    }
}

#[test]
fn an_answer_that_is_cut_off_is_not_taken_for_whole() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        line.rest();
    });
    let mut gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let mut line = gateway.connect();
    line.send("GET / HTTP/1.0\r\nHost: shop.example\r\n\r\n");
    line.read_head().expect("an answer begins");
    assert_eq!(line.take(4), b"half");
    gateway.stop();
    let end = std::io::Read::read_to_end(&mut line.stream, &mut Vec::new());
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let log = gateway.finish();
    assert!(log.contains("\"status\":200"), "{log}");
}
