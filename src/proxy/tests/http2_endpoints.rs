//! Endpoints that speak HTTP/2: streams, their limits, and connections that end.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::timeout,
};

use super::{
    super::{
        interpreter,
        streams::{Served, Server, read, run, send},
    },
    Here,
    harness::*,
};
use crate::{
    http::{Limits, relay::PREFACE},
    proxy::{Config, PoolLimits, Tcp},
    route::{Policy, Retry, RetryOn},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nbody";

fn gateway(setup: Setup, server: &Server) -> Gateway {
    Gateway::start(setup, &[server.address], &Tcp)
}

/// A policy by which nothing is tried again.
fn without_retries() -> Setup {
    let retry = Retry { on: RetryOn::default(), ..Retry::default() };
    Setup { policy: Policy { retry, ..Policy::default() }, ..Setup::default() }
}

fn head(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

/// Reads the request and answers `ok`.
async fn ok(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    if read(&mut request.into_body()).await.is_ok() {
        let mut stream = respond.send_response(head(200), false).unwrap();
        let _ = send(&mut stream, "ok").await;
        let _ = stream.send_data(Bytes::new(), true);
    }
}

/// Serves what comes on a connection.
async fn serve(mut connection: Served) {
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(ok(request, respond));
    }
}

/// Makes so many requests at once, and gives their statuses.
fn at_once(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut lines: Vec<_> = (0..count).map(|_| gateway.connect()).collect();
    for line in &mut lines {
        line.send(GET);
    }
    lines.iter_mut().map(|line| line.answer(true).status()).collect()
}

#[test]
fn a_burst_to_a_cold_endpoint_makes_one_connection() {
    let permits = Arc::new(Semaphore::new(0));
    let waiting = Arc::new(AtomicUsize::new(0));
    let server = Server::each(Here::ENDPOINT, Builder::new(), move |request, respond| {
        // Nobody is answered before all are there.
        if waiting.fetch_add(1, SeqCst) + 1 == 50 {
            permits.add_permits(50);
        }
        let permits = Arc::clone(&permits);
        async move {
            permits.acquire().await.unwrap().forget();
            ok(request, respond).await;
        }
    });
    let gateway = gateway(Setup::default(), &server);
    assert_eq!(at_once(&gateway, 50), [200; 50]);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn no_more_streams_are_opened_than_the_endpoint_takes() {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(3);
    let streams = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&streams);
    let server = Server::each(Here::ENDPOINT, builder, move |request, respond| {
        counted.fetch_add(1, SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ok(request, respond).await;
        }
    });
    let gateway = gateway(without_retries(), &server);
    for _ in 0..2 {
        assert_eq!(at_once(&gateway, 20), [200; 20]);
    }
    assert_eq!(streams.load(SeqCst), 40, "none was refused and asked again");
    assert!(server.accepted() <= 14, "{} connections", server.accepted());
}

#[test]
fn no_stream_is_opened_before_the_endpoint_has_said_how_many_it_takes() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut came = Vec::new();
        run(async {
            let mut stream = interpreter::accept(socket, Here::ENDPOINT.tls).await.unwrap();
            let wait = Duration::from_millis(200);
            while let Ok(Ok(1..)) = timeout(wait, stream.read_buf(&mut came)).await {}
        });
        tell.send(came).unwrap();
    });
    let gateway = Gateway::start(without_retries(), &[address], &Tcp);
    let mut line = gateway.connect();
    line.send(GET);
    let came = told.recv().unwrap();
    let mut frames = came.strip_prefix(PREFACE).expect("the preface comes first");
    while let [a, b, c, kind, ..] = *frames {
        assert_ne!(kind, 1, "HEADERS are too early");
        frames = &frames[9 + u32::from_be_bytes([0, a, b, c]) as usize..];
    }
    assert_eq!(line.answer(true).status(), 502);
}

#[test]
fn a_stream_that_was_refused_unseen_is_opened_again_also_for_what_must_not_be_repeated() {
    let streams = AtomicUsize::new(0);
    let server = Server::each(Here::ENDPOINT, Builder::new(), move |request, mut respond| {
        let refuses = streams.fetch_add(1, SeqCst).is_multiple_of(2);
        async move {
            if refuses {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                ok(request, respond).await;
            }
        }
    });
    let gateway = gateway(without_retries(), &server);
    for _ in 0..3 {
        assert_eq!(gateway.ask(POST).status(), 200);
    }
    assert_eq!(gateway.metric("serin_ejections_total"), 0, "that is no failure of the endpoint");
}

#[test]
fn an_endpoint_that_refuses_every_stream_is_asked_twice() {
    let streams = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&streams);
    let server = Server::each(Here::ENDPOINT, Builder::new(), move |_, mut respond| {
        counted.fetch_add(1, SeqCst);
        async move { respond.send_reset(Reason::REFUSED_STREAM) }
    });
    let gateway = gateway(without_retries(), &server);
    assert_eq!(gateway.ask(GET).status(), 502);
    assert_eq!(streams.load(SeqCst), 2);
    assert_eq!(server.accepted(), 1, "another connection would be no better");
}

#[test]
fn what_an_endpoint_did_on_purpose_is_not_asked_for_again() {
    let streams = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&streams);
    let server = Server::each(Here::ENDPOINT, Builder::new(), move |request, mut respond| {
        let fails = counted.fetch_add(1, SeqCst) == 1;
        async move {
            if fails {
                respond.send_reset(Reason::INTERNAL_ERROR);
            } else {
                ok(request, respond).await;
            }
        }
    });
    let gateway = gateway(without_retries(), &server);
    assert_eq!(gateway.ask(GET).status(), 200);
    assert_eq!(gateway.ask(GET).status(), 502, "the connection is in order, so it is not a stale one");
    assert_eq!(streams.load(SeqCst), 2);
    assert_eq!(gateway.ask(GET).status(), 200);
    assert_eq!(server.accepted(), 1, "the others of the connection are not disturbed");
}

#[test]
fn a_connection_that_the_endpoint_leaves_in_order_loses_no_request() {
    let server = Server::run(Here::ENDPOINT, Builder::new(), |_, mut connection| async move {
        let mut served = 0;
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(ok(request, respond));
            served += 1;
            if served == 5 {
                connection.graceful_shutdown();
            }
        }
    });
    let gateway = gateway(without_retries(), &server);
    let mut line = gateway.connect();
    for n in 0..30 {
        assert_eq!(line.ask(POST).status(), 200, "{n}");
    }
    assert!(server.accepted() >= 5, "{}", server.accepted());
}

#[test]
fn a_request_that_a_leaving_endpoint_did_not_begin_is_made_again_also_where_it_must_not_be_repeated() {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // The last stream that was begun is 0: none was.
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().enumerate() {
            interpreter::runtime().spawn(async move {
                let mut stream = interpreter::accept(socket.unwrap(), Here::ENDPOINT.tls).await.unwrap();
                if number > 0 {
                    return serve(Builder::new().handshake(stream).await.unwrap()).await;
                }
                stream.write_all(&SETTINGS).await.unwrap();
                let mut came = Vec::new();
                while memchr::memmem::find(&came, b"body").is_none() {
                    stream.read_buf(&mut came).await.unwrap();
                }
                stream.write_all(&GOAWAY).await.unwrap();
                while let Ok(1..) = stream.read_buf(&mut came).await {}
            });
        }
    });
    let gateway = Gateway::start(without_retries(), &[address], &Tcp);
    for _ in 0..2 {
        assert_eq!(gateway.ask(POST).text(), "ok");
    }
    assert_eq!(gateway.metric("serin_ejections_total"), 0, "that is no failure of the endpoint");
}

#[test]
fn a_connection_that_broke_between_requests_is_replaced() {
    let server = Server::run(Here::ENDPOINT, Builder::new(), |_, mut connection| async move {
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        let answered = tokio::spawn(ok(request, respond));
        while !answered.is_finished() || connection.has_streams() {
            // Driven until the answer has left, then dropped without a word.
            let _ = tokio::time::timeout(Duration::from_millis(20), connection.accept()).await;
        }
    });
    let gateway = gateway(without_retries(), &server);
    let mut line = gateway.connect();
    for n in 1..4 {
        assert_eq!(line.ask(GET).status(), 200, "{n}");
        wait_until("the connection has ended", || server.ended() == n);
        // The gateway's reactor may not have heard of it yet.
        pause(Duration::from_millis(20));
    }
}

#[test]
fn an_idle_connection_is_let_go() {
    let server = Server::run(Here::ENDPOINT, Builder::new(), |_, connection| serve(connection));
    let upstream = PoolLimits { idle: Duration::from_millis(100), ..PoolLimits::default() };
    let setup = Setup { config: Config { upstream, ..Config::default() }, ..Setup::default() };
    let gateway = gateway(setup, &server);
    assert_eq!(gateway.get("/").status(), 200);
    wait_until("it is let go", || server.ended() == 1);
    assert_eq!(gateway.get("/").status(), 200);
}

#[test]
fn no_more_idle_connections_are_kept_than_may_be() {
    let server = Server::run(Here::ENDPOINT, Builder::new(), |_, connection| serve(connection));
    let upstream = PoolLimits { connections: 0, ..PoolLimits::default() };
    let setup = Setup { config: Config { upstream, ..Config::default() }, ..Setup::default() };
    let gateway = gateway(setup, &server);
    assert_eq!(gateway.get("/").status(), 200);
    wait_until("it is let go", || server.ended() == 1);
}

#[test]
fn a_client_that_leaves_cancels_its_stream_and_no_other() {
    let cancelled = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&cancelled);
    let server = Server::each(Here::ENDPOINT, Builder::new(), move |request, mut respond| {
        let seen = Arc::clone(&seen);
        async move {
            if request.uri().path() == "/wait" {
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                assert_eq!(reason.unwrap(), Reason::CANCEL);
                seen.fetch_add(1, SeqCst);
            } else {
                ok(request, respond).await;
            }
        }
    });
    let gateway = gateway(Setup::default(), &server);
    let mut waiting = gateway.connect();
    waiting.send("GET /wait HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert_eq!(gateway.get("/").status(), 200);
    pause(Duration::from_millis(50));
    drop(waiting);
    wait_until("it is cancelled", || cancelled.load(SeqCst) == 1);
    assert_eq!(gateway.get("/").status(), 200);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn an_answer_of_nothing_but_a_head_is_one() {
    let server = Server::each(Here::ENDPOINT, Builder::new(), |_, mut respond| async move {
        let mut trailers_only = head(200);
        trailers_only.headers_mut().insert("grpc-status", "5".parse().unwrap());
        respond.send_response(trailers_only, true).unwrap();
    });
    let gateway = gateway(Setup::default(), &server);
    let mut line = gateway.connect();
    for _ in 0..2 {
        let answer = line.ask(POST);
        assert_eq!((answer.status(), answer.field("grpc-status"), answer.text()), (200, Some("5"), ""));
    }
}

#[test]
fn trailers_pass_both_ways_whatever_the_client_speaks() {
    let server = Server::each(Here::ENDPOINT, Builder::new(), |request, mut respond| async move {
        let (_, trailers) = read(&mut request.into_body()).await.unwrap();
        let mut stream = respond.send_response(head(200), false).unwrap();
        let mut answer = HeaderMap::new();
        answer.insert("x-echo", trailers.unwrap()["x-check"].clone());
        stream.send_trailers(answer).unwrap();
    });
    let gateway = gateway(Setup::default(), &server);
    let answer = gateway.ask(
        "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n\
         4\r\nbody\r\n0\r\nX-Check: 42\r\n\r\n",
    );
    assert_eq!(answer.trailers.to_lowercase(), "x-echo: 42\n");
}

#[test]
fn an_answer_that_is_not_as_long_as_it_says_is_seen_as_cut_off() {
    let server = Server::each(Here::ENDPOINT, Builder::new(), |_, mut respond| async move {
        let mut long = head(200);
        long.headers_mut().insert("content-length", 10.into());
        let mut stream = respond.send_response(long, false).unwrap();
        let _ = send(&mut stream, "half").await;
        let _ = stream.send_data(Bytes::new(), true);
    });
    let gateway = gateway(without_retries(), &server);
    let mut line = gateway.connect();
    line.send(GET);
    // Whatever has come of it, it is not taken for a whole answer.
    let got = line.rest();
    assert!(!got.ends_with(b"0\r\n\r\n") && got.len() < 10_000, "{}", String::from_utf8_lossy(&got));
}

#[test]
fn frames_behind_a_head_that_has_no_body_do_not_reach_the_client() {
    for status in [204, 304] {
        let server = Server::each(Here::ENDPOINT, Builder::new(), move |_, mut respond| async move {
            let mut stream = respond.send_response(head(status), false).unwrap();
            let _ = send(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await;
            let _ = stream.send_data(Bytes::new(), true);
        });
        let gateway = gateway(Setup::default(), &server);
        let mut line = gateway.connect();
        for _ in 0..3 {
            assert_eq!(line.ask(GET).status(), status);
        }
    }
}

#[test]
fn what_no_url_may_hold_is_encoded() {
    if Here::CLIENT.http2 {
        return; // A client over frames cannot say it.
    }
    let server = Server::each(Here::ENDPOINT, Builder::new(), |request, mut respond| async move {
        let mut stream = respond.send_response(head(200), false).unwrap();
        let _ = send(&mut stream, request.uri().path_and_query().unwrap().as_str().to_owned()).await;
        let _ = stream.send_data(Bytes::new(), true);
    });
    let gateway = gateway(Setup::default(), &server);
    let mut line = gateway.connect();
    for (target, expected) in [(&b"/a%3C?b=%41"[..], "/a%3C?b=%41"), (b"/<`>\xff%3c?q=\\", "/%3C%60%3E%FF%3c?q=%5C")] {
        line.send([b"GET ", target, b" HTTP/1.1\r\nHost: shop.example\r\n\r\n"].concat());
        assert_eq!(line.answer(true).text(), expected);
    }
    assert_eq!(server.accepted(), 1);
}

#[test]
fn what_frames_cannot_say_is_refused_and_no_fault_of_the_endpoint() {
    if Here::CLIENT.http2 {
        return; // A client over frames cannot say it.
    }
    let server = Server::each(Here::ENDPOINT, Builder::new(), ok);
    let head = Limits { head: 1 << 20, line: 1 << 20, target: 1 << 20, ..Limits::REQUEST };
    let gateway = gateway(Setup { config: Config { head, ..Config::default() }, ..Setup::default() }, &server);
    for _ in 0..3 {
        let answer = gateway.ask(&GET.replacen('/', &format!("/{}", "a".repeat(70_000)), 1));
        assert_eq!(answer.status(), 414);
    }
    assert_eq!(gateway.get("/").status(), 200);
    assert_eq!((server.accepted(), gateway.metric("serin_ejections_total")), (1, 0));
}

#[test]
fn an_answer_that_http2_does_not_allow_is_refused() {
    let server = Server::each(Here::ENDPOINT, Builder::new(), |_, mut respond| async move {
        let mut odd = head(200);
        odd.headers_mut().insert("x", http::HeaderValue::from_bytes(b"a\xff").unwrap());
        odd.headers_mut().append("content-length", 0.into());
        odd.headers_mut().append("content-length", 1.into());
        let _ = respond.send_response(odd, true);
    });
    let gateway = gateway(without_retries(), &server);
    assert_eq!(gateway.ask(GET).status(), 502);
}

#[test]
fn an_endpoint_that_does_not_speak_it_is_not_sent_a_request() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut line = Line::new(stream.unwrap());
            line.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            line.shutdown();
            line.rest();
        }
    });
    let gateway = Gateway::start(without_retries(), &[address], &Tcp);
    assert_eq!(gateway.ask(POST).status(), 502);
}
