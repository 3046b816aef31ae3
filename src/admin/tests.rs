//! The port as its clients see it, over sockets.

use std::{
    any::Any,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, reload};

use super::*;
use crate::{
    lifecycle::{Drainer, drain},
    metrics::Settings,
};

const LIMIT: Duration = Duration::from_secs(30);

/// A running port.
struct Port {
    address: std::net::SocketAddr,
    admin: Admin,
    drainer: Drainer,
    server: JoinHandle<()>,
    /// Keeps the filter of the log alive.
    _log: Box<dyn Any>,
}

impl Port {
    async fn open(change: impl FnOnce(&mut Admin)) -> Self {
        let (metrics, _) = Metrics::new(&Settings::default());
        let (layer, handle) = reload::Layer::new(EnvFilter::new("info"));
        let log = tracing_subscriber::registry().with(layer);
        let mut admin = Admin {
            readiness: Readiness::new(),
            metrics,
            table: View::of(|query| json!({ "hosts": [query.value("host")] })),
            problems: View::of(|_| json!([])),
            certificates: View::of(|_| json!({})),
            clusters: View::of(|_| json!({})),
            log_level: LogLevel::new(handle),
            showings: Showings::default(),
        };
        change(&mut admin);
        let (drainer, drain) = drain();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(vec![listener], admin.clone(), drain));
        Self { address, admin, drainer, server, _log: Box::new(log) }
    }

    /// Sends bytes and reads to the end: the whole answer.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Asks for a path: the status and the body.
    async fn get(&self, path: &str) -> (u16, String) {
        // HTTP/1.0, so that a body has no framing but its end.
        let answer = self.send(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

#[tokio::test]
async fn healthy_while_it_answers() {
    let port = Port::open(|_| {}).await;
    assert_eq!(port.get("/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn unready_names_what_blocks() {
    let port = Port::open(|_| {}).await;
    let snapshot = port.admin.readiness.block("first snapshot");
    let listeners = port.admin.readiness.block("listeners");
    assert_eq!(port.get("/readyz").await, (503, "not ready: first snapshot, listeners\n".to_owned()));
    drop((snapshot, listeners));
    assert_eq!(port.get("/readyz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let port = Port::open(|_| {}).await;
    port.admin.metrics.meters().hosts.set(3);
    let answer = port.send(b"GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.lines().any(|line| line.starts_with("serin_hosts{") && line.ends_with(" 3")), "{answer}");
}

#[tokio::test]
async fn views_are_json_and_take_parameters() {
    let port = Port::open(|_| {}).await;
    assert_eq!(
        port.get("/debug/table?host=%2A.shop.example&x").await,
        (200, "{\"hosts\":[\"*.shop.example\"]}\n".to_owned())
    );
    assert_eq!(port.get("/debug/table?host=").await, (200, "{\"hosts\":[null]}\n".to_owned()));
    assert_eq!(port.get("/debug/problems").await, (200, "[]\n".to_owned()));
    assert_eq!(port.get("/debug/clusters").await, (200, "{}\n".to_owned()));
}

#[tokio::test]
async fn a_large_view_waits_for_its_reader() {
    let written = Arc::new(AtomicUsize::new(0));
    let total = 64 << 20;
    let port = Port::open(|admin| {
        let written = written.clone();
        admin.table = View::new(move |_, out| {
            let piece = [b' '; 1 << 10];
            while written.fetch_add(piece.len(), Ordering::Relaxed) < total {
                out.write_all(&piece)?;
            }
            out.write_all(b"{}")
        });
    })
    .await;
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(b"GET /debug/table HTTP/1.0\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.0 200");
    // What is ahead of the reader lies in socket buffers and a few pieces.
    assert!(written.load(Ordering::Relaxed) < total / 2, "{written:?}");

    let mut rest = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.len() >= total && rest.ends_with(b"{}\n"));
}

#[tokio::test]
async fn slow_readers_keep_nobody_from_health_and_readiness() {
    let port = Port::open(|admin| {
        admin.table = View::new(|_, out| {
            let piece = [b' '; 1 << 10];
            std::iter::repeat_with(|| out.write_all(&piece)).take(64 << 10).collect()
        });
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..SHOWINGS {
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        stream.write_all(b"GET /debug/table HTTP/1.0\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(port.get("/healthz").await.0, 200);
    assert_eq!(port.get("/readyz").await.0, 200);
    assert_eq!(port.get("/metrics").await.0, 503, "as many are shown something as may be");
    drop(slow.pop());
    let start = std::time::Instant::now();
    while port.get("/metrics").await.0 != 200 {
        assert!(start.elapsed() < LIMIT, "who leaves makes room");
    }
}

#[tokio::test]
async fn a_view_that_fails_is_seen_to_be_cut_off() {
    let port = Port::open(|admin| {
        admin.table = View::new(|_, out| {
            out.write_all(&[b' '; 100_000])?;
            Err(io::Error::other("lost"))
        });
    })
    .await;
    let answer = port.send(b"GET /debug/table HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.contains("transfer-encoding: chunked\r\n"), "no last chunk could be missed");
    assert!(!answer.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn the_log_level_changes_while_it_runs() {
    let port = Port::open(|_| {}).await;
    assert_eq!(port.get("/debug/log-level").await, (200, "info\n".to_owned()));
    let put = |body: &str| format!("PUT /debug/log-level HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = port.send(put("warn,serin::proxy=debug\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    let (_, level) = port.get("/debug/log-level").await;
    assert_eq!(port.admin.log_level.current(), level.trim());
    assert!(level.contains("warn") && level.contains("serin::proxy=debug"), "{level}");

    for (body, status) in [("in fo=!", 400), ("eror", 400), ("", 400), (&*"a".repeat(5_000), 413)] {
        let answer = port.send(put(body).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.0 {status} ")), "{body:.9}: {answer}");
    }
    assert_eq!(port.get("/debug/log-level").await.1, level, "what is wrong changes nothing");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let port = Port::open(|_| {}).await;
    assert_eq!(port.get("/nothing").await.0, 404);
    for request in ["POST /healthz", "DELETE /debug/table", "PUT /metrics", "OPTIONS /debug/log-level"] {
        let answer = port.send(format!("{request} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.0 405 "), "{request}: {answer}");
        assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    }
    let answer = port.send(b"HEAD /healthz HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let port = Port::open(|_| {}).await;
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    let head = format!("GET /healthz HTTP/1.0\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let mut answer = Vec::new();
    // What the server does not read may turn its close into a reset, before or after its answer came.
    if stream.write_all(head.as_bytes()).await.is_ok() {
        let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_let_go() {
    let port = Port::open(|_| {}).await;
    assert_eq!(port.send(b"GET /heal").await, "");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_writing() {
    let ended = Arc::new(tokio::sync::Notify::new());
    let port = Port::open(|admin| {
        let ended = ended.clone();
        admin.table = View::new(move |_, out| {
            let cut = std::iter::repeat_with(|| out.write_all(&[b' '; 1 << 10])).find_map(Result::err);
            ended.notify_one();
            Err(cut.unwrap_or_else(|| io::Error::other("endless")))
        });
    })
    .await;
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(b"GET /debug/table HTTP/1.0\r\n\r\n").await.unwrap();
    drop(stream);
    timeout(LIMIT, ended.notified()).await.unwrap();
}

#[tokio::test]
async fn answers_while_draining_and_ends_with_the_drain() {
    let port = Port::open(|_| {}).await;
    port.drainer.advance(crate::lifecycle::Phase::Closing);
    assert_eq!(port.get("/healthz").await.0, 200);
    port.drainer.end_now();
    timeout(LIMIT, port.server).await.unwrap().unwrap();
}
