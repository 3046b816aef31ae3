//! Clients that speak HTTP/2: what their frames say that no text does.

use std::{
    sync::{
        Mutex,
        mpsc::{self, Sender},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, client::Builder, ext::Protocol};
use http::{HeaderMap, Method};
use tokio::time::timeout;

use super::{
    super::streams::{Client, answer, read, request, run, send},
    Here,
    harness::*,
};
use crate::{
    proxy::{Config, log::Format},
    route::Policy,
};

const SHORT: Duration = Duration::from_millis(300);

/// An endpoint that answers when it is told to.
fn held() -> (Endpoint, Sender<()>) {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Endpoint::run(move |_, mut line| {
        while line.read().is_some() {
            let _ = told.lock().unwrap().recv();
            line.send(OK);
        }
    });
    (endpoint, tell)
}

#[test]
fn streams_of_a_connection_do_not_wait_for_each_other() {
    let (endpoint, tell) = held();
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::to(&gateway);
    run(async {
        let mut responses = Vec::new();
        for _ in 0..100 {
            responses.push(client.begin(request("GET", "/"), true).await.0);
        }
        tokio::task::spawn_blocking(move || {
            wait_until("all have reached the endpoint", || endpoint.seen().len() == 100);
            for _ in 0..100 {
                tell.send(()).unwrap();
            }
            if Here::ENDPOINT.http2 {
                assert_eq!(endpoint.accepted(), 1, "they share a connection there, too");
            }
        })
        .await
        .unwrap();
        for response in responses {
            assert_eq!(answer(response).await.unwrap().body, b"ok");
        }
    });
    wait_until("each is counted", || gateway.metric("nginx_ingress_controller_requests{") == 100);
}

#[test]
fn a_body_that_nobody_reads_holds_its_sender_up_and_no_other_stream() {
    let endpoint = Endpoint::run(|_, mut line| {
        let head = line.read_head().unwrap();
        if head.starts_with("GET") {
            return line.send(OK);
        }
        pause(GENEROUS);
    });
    let gateway = Gateway::with_policy(Policy { body_limit: None, ..Policy::default() }, &[&endpoint]);
    let mut client = Client::to(&gateway);
    run(async {
        let (_response, mut stream) = client.begin(request("PUT", "/"), false).await;
        let mut sent = 0;
        while let Ok(Ok(())) = timeout(SHORT, send(&mut stream, vec![b'x'; 16 << 10])).await {
            sent += 16 << 10;
            assert!(sent < 32 << 20, "only sockets hold what the endpoint has not read");
        }
        assert_eq!(client.ask(request("GET", "/")).await.unwrap().status(), 200);
    });
}

#[test]
fn trailers_pass_both_ways() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n");
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::to(&gateway);
    let answer = run(async {
        let (response, mut stream) = client.begin(request("POST", "/"), false).await;
        send(&mut stream, "body").await.unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", "42".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        answer(response).await.unwrap()
    });
    assert_eq!((answer.body, answer.trailers.unwrap()["x-sum"].to_str().unwrap()), (b"ok".to_vec(), "1"));
    assert_eq!(endpoint.seen()[0].trailers.to_lowercase(), "x-check: 42\n");
}

#[test]
fn a_body_that_is_not_wanted_is_taken_for_a_while_so_that_no_reset_eats_the_answer() {
    let early = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send(OK);
    });
    let policy = Policy { body_limit: Some(1 << 20), ..Policy::default() };
    let gateway = Gateway::with_policy(policy, &[&early]);
    let mut client = Client::to(&gateway);
    for (length, status) in [(1 << 19, 200), (2 << 20, 413)] {
        run(async {
            let mut request = request("POST", "/");
            request.headers_mut().insert("content-length", length.into());
            let (response, mut stream) = client.begin(request, false).await;
            assert_eq!(answer(response).await.unwrap().status(), status);
            send(&mut stream, vec![b'x'; length]).await.expect("no reset comes");
            stream.send_data(Bytes::new(), true).unwrap();
        });
    }
}

#[test]
fn a_body_that_is_not_wanted_and_does_not_end_is_stopped_without_blame() {
    let gateway = Gateway::with_policy(Policy { body_limit: Some(1000), ..Policy::default() }, &[&Endpoint::ok()]);
    let mut client = Client::to(&gateway);
    run(async {
        let mut request = request("POST", "/");
        request.headers_mut().insert("content-length", (1_u64 << 40).into());
        let (response, mut stream) = client.begin(request, false).await;
        assert_eq!(answer(response).await.unwrap().status(), 413);
        let mut sent = 0;
        while send(&mut stream, vec![b'x'; 16 << 10]).await.is_ok() {
            sent += 16 << 10;
            assert!(sent < 64 << 20, "it must be stopped");
        }
        assert!(sent >= 4 << 20, "{sent}");
        let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        assert_eq!(reason.unwrap(), Reason::NO_ERROR);
    });
}

#[test]
fn a_reset_takes_its_request_from_the_endpoint_and_leaves_the_connection() {
    let endpoint = Endpoint::run(|_, mut line| {
        let head = line.read().unwrap().head;
        if head.starts_with("GET /wait") {
            assert!(line.is_closed(), "the endpoint is not left to work for nobody");
        } else {
            line.send(OK);
        }
    });
    let gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let mut client = Client::to(&gateway);
    let (_response, mut stream) = run(client.begin(request("GET", "/wait"), true));
    wait_until("the endpoint has it", || endpoint.seen().len() == 1);
    stream.send_reset(Reason::CANCEL);
    wait_until("it is dropped", || endpoint.ended() == 1);
    assert_eq!(run(client.ask(request("GET", "/"))).unwrap().status(), 200);
    let log = gateway.finish();
    assert!(log.contains("\"status\":499"), "{log}");
}

#[test]
fn an_answer_that_breaks_off_does_not_end_but_is_reset() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Endpoint::run(move |_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        let _ = told.lock().unwrap().recv();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::to(&gateway);
    run(async {
        let (response, _stream) = client.begin(request("GET", "/"), true).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        tell.send(()).unwrap();
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    });
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_no_request() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::to(&gateway);
    for sent in ["four", "more than it says"] {
        run(async {
            let mut request = request("POST", "/");
            request.headers_mut().insert("content-length", 10.into());
            let (response, mut stream) = client.begin(request, false).await;
            send(&mut stream, sent).await.unwrap();
            let _ = stream.send_data(Bytes::new(), true);
            assert_eq!(response.await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR), "{sent}");
        });
    }
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let endpoint = Endpoint::run(|_, mut line| {
        while let Some(request) = line.read() {
            line.send(match request.head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            });
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::to(&gateway);
    for (method, path, status, length) in
        [("GET", "/204", 204, None), ("GET", "/304", 304, Some("99")), ("HEAD", "/", 200, Some("99"))]
    {
        run(async {
            let (response, _stream) = client.begin(request(method, path), true).await;
            let response = response.await.unwrap();
            let said = response.headers().get("content-length").map(|length| length.to_str().unwrap());
            assert_eq!((response.status().as_u16(), said), (status, length), "{path}");
            assert!(response.body().is_end_stream(), "{path}");
        });
    }
}

#[test]
fn a_refusal_for_grpc_is_nothing_but_trailers() {
    let gateway = Gateway::to(&[]);
    let mut client = Client::to(&gateway);
    run(async {
        let mut request = request("POST", "/shop.Cart/Add");
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let (response, _stream) = client.begin(request, false).await;
        let response = response.await.unwrap();
        let fields = response.headers();
        assert_eq!((response.status().as_u16(), fields["grpc-status"].to_str().unwrap()), (200, "14"));
        assert_eq!(fields["content-type"].to_str().unwrap(), "application/grpc");
        assert!(response.body().is_end_stream(), "the head is the trailers, too");
    });
}

#[test]
fn cookies_in_crumbs_are_one_field_for_the_endpoint() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut request = request("GET", "/");
    for crumb in ["a=1", "b=2", "c=3"] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    assert_eq!(run(Client::to(&gateway).ask(request)).unwrap().status(), 200);
    assert_eq!(endpoint.seen()[0].fields("cookie").collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn the_authority_and_the_host_must_agree() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::to(&gateway);
    for (host, status) in [("shop.example", 200), ("Shop.Example", 200), ("other.example", 400)] {
        let mut request = request("GET", "/");
        request.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(run(client.ask(request)).unwrap().status(), status, "{host}");
    }
    assert!(endpoint.seen().iter().all(|seen| seen.fields("host").count() == 1));
}

#[test]
fn who_asks_for_a_tunnel_to_anywhere_is_refused() {
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    let mut connect = request("GET", "/");
    *connect.method_mut() = Method::CONNECT;
    *connect.uri_mut() = "shop.example:443".parse().unwrap();
    let mut client = Client::to(&gateway);
    run(async {
        let (response, _stream) = client.begin(connect, false).await;
        assert_eq!(response.await.unwrap().status(), 405);
    });
}

#[test]
fn an_answer_that_only_looks_like_a_switch_of_protocols_is_none() {
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    let mut client = Client::to(&gateway);
    run(async {
        client.ask(request("GET", "/")).await.unwrap();
        let mut upgrade = request("CONNECT", "/chat");
        upgrade.extensions_mut().insert(Protocol::from_static("websocket"));
        let (response, _stream) = client.begin(upgrade, false).await;
        assert_eq!(answer(response).await.unwrap().status(), 502, "a 200 would open the tunnel");
    });
}

#[test]
fn a_head_that_is_too_long_is_refused_on_its_stream() {
    let gateway = Gateway::to(&[&Endpoint::ok()]);
    let mut client = Client::to(&gateway);
    let mut long = request("GET", "/");
    for _ in 0..5 {
        long.headers_mut().append("x", "x".repeat(7000).parse().unwrap());
    }
    for (request, status) in
        [(request("GET", &format!("/{}", "x".repeat(9000))), 414), (long, 431), (request("GET", "/"), 200)]
    {
        assert_eq!(run(client.ask(request)).unwrap().status(), status);
    }
}

#[test]
fn a_connection_makes_so_many_requests_and_no_more() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with_config(Config { keep_alive_requests: 3, ..Config::default() }, &[&endpoint]);
    let mut client = Client::to(&gateway);
    run(async {
        for _ in 0..3 {
            assert_eq!(client.ask(request("GET", "/")).await.unwrap().status(), 200);
        }
        client.end().await;
    });
    assert_eq!(endpoint.seen().len(), 3);
}

#[test]
fn an_idle_connection_ends_in_order() {
    let gateway = Gateway::with_config(Config { keep_alive: SHORT, ..Config::default() }, &[&Endpoint::ok()]);
    let mut client = Client::to(&gateway);
    run(async {
        assert_eq!(client.ask(request("GET", "/")).await.unwrap().status(), 200);
        client.end().await;
    });
}

#[test]
fn a_request_is_logged_with_its_version_and_its_bytes() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let mut client = Client::to(&gateway);
    run(async {
        let (response, mut stream) = client.begin(request("POST", "/cart"), false).await;
        send(&mut stream, "body").await.unwrap();
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answer(response).await.unwrap().status(), 200);
    });
    wait_until("it is counted", || gateway.metric("nginx_ingress_controller_requests{") == 1);
    let log = gateway.finish();
    let line: serde_json::Value = serde_json::from_str(&log).unwrap();
    assert!(log.contains("HTTP/2.0"), "{log}");
    assert_eq!((&line["status"], &line["body_bytes_sent"]), (&200.into(), &2.into()));
    assert!(line["request_length"].as_u64() > Some(4), "{log}");
}

#[test]
fn a_window_that_opens_late_lets_the_rest_come() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
        line.send(vec![b'x'; 300_000]);
        line.rest();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut client = Client::with(&gateway, Builder::new().initial_window_size(1000));
    run(async {
        let (response, _stream) = client.begin(request("GET", "/"), true).await;
        let mut body = response.await.unwrap().into_body();
        let mut first = 0;
        while let Ok(Some(piece)) = timeout(SHORT, body.data()).await {
            first += piece.unwrap().len();
        }
        assert_eq!(first, 1000, "no more than the window");
        body.flow_control().release_capacity(1000).unwrap();
        assert_eq!(read(&mut body).await.unwrap().0.len(), 299_000);
    });
}
