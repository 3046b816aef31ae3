//! What a stream and a connection over HTTP/2 cost in memory, counted.
//!
//! The `h2` crate allocates for each stream. What is held here is that it stays at that: a bound with little to spare, so
//! that an allocation more a request is seen. A body passes in the memory of what both windows allow.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::{Request, Response};
use serin::{
    proxy::log::Format,
    route::{BackendProtocol, Policy},
};
use tokio::{net::TcpStream, runtime::Runtime, time::timeout};

use crate::{
    bodies::assert_constant,
    counting::{ALLOCATIONS, LIVE, PEAK},
    requests::{Gateway, ONE_AT_A_TIME, tiny},
};

/// How often a request may allocate on the worker's thread.
const A_REQUEST: f64 = 16.0;
/// How many bytes an idle connection may hold.
const A_CONNECTION: i64 = 48 << 10;

fn run<F: Future>(work: F) -> F::Output {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(120), work).await.expect("it must end") })
}

async fn connect(gateway: &Gateway) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str) -> Request<()> {
    let request = Request::builder().method(method).uri("http://shop.example/cart?user=7");
    let request = request.header("user-agent", "test/1.0").header("accept", "*/*");
    request.header("cookie", "session=abc").header("cookie", "theme=dark").body(()).unwrap()
}

/// Makes a request and reads an answer of two bytes.
async fn ask(sender: &mut SendRequest<Bytes>) {
    *sender = sender.clone().ready().await.unwrap();
    let (response, _) = sender.send_request(request("GET"), true).unwrap();
    assert_eq!(count(response.await.unwrap().into_body()).await, 2);
}

/// How long a body is.
async fn count(mut body: RecvStream) -> u64 {
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        length += piece.len() as u64;
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    length
}

/// Sends a body of this length.
async fn send(mut stream: SendStream<Bytes>, mut left: u64) {
    let piece = Bytes::from(vec![b'x'; 64 << 10]);
    while left > 0 {
        stream.reserve_capacity(piece.len());
        while stream.capacity() == 0 {
            poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        }
        let now = stream.capacity().min(piece.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.send_data(piece.slice(..now), false).unwrap();
        left -= now as u64;
    }
    stream.send_data(Bytes::new(), true).unwrap();
}

/// An endpoint that speaks HTTP/2: it counts a body, and answers with one of the same length.
fn mirror() -> SocketAddr {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        Runtime::new().unwrap().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(async {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        tokio::spawn(async move {
                            let length = count(request.into_body()).await;
                            send(respond.send_response(Response::new(()), false).unwrap(), length).await;
                        });
                    }
                });
            }
        });
    });
    address
}

#[test]
fn a_request_over_http2_allocates_as_often_as_its_stream_needs() {
    let _alone = ONE_AT_A_TIME.lock();
    let gateway = Gateway::to(tiny(0), Format::Off);
    run(async {
        let mut sender = connect(&gateway).await;
        for _ in 0..200 {
            ask(&mut sender).await;
        }
        let before = ALLOCATIONS.load(Relaxed);
        for _ in 0..1000 {
            ask(&mut sender).await;
        }
        let each = (ALLOCATIONS.load(Relaxed) - before) as f64 / 1000.0;
        eprintln!("over HTTP/2: {each} allocations");
        assert!(each <= A_REQUEST, "{each} allocations");
    });
}

#[test]
fn an_idle_connection_over_http2_holds_no_more_than_its_tables() {
    const CONNECTIONS: usize = 100;
    let _alone = ONE_AT_A_TIME.lock();
    let gateway = Gateway::to(tiny(0), Format::Off);
    run(async {
        let mut first = connect(&gateway).await;
        ask(&mut first).await;
        let before = LIVE.load(Relaxed);
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut sender = connect(&gateway).await;
            ask(&mut sender).await;
            senders.push(sender);
        }
        // The last has become idle when the first is served again.
        ask(&mut first).await;
        let each = (LIVE.load(Relaxed) - before) / CONNECTIONS as i64;
        eprintln!("{each} bytes for an idle connection over HTTP/2");
        assert!(each <= A_CONNECTION, "{each} bytes");
    });
}

#[test]
fn a_body_of_64_mib_goes_up_and_comes_down_over_http2_in_constant_memory() {
    const LONG: u64 = 64 << 20;
    let _alone = ONE_AT_A_TIME.lock();
    let policy = Policy { backend_protocol: Some(BackendProtocol::Grpc), ..Policy::default() };
    let gateway = Gateway::with(mirror(), Format::Off, policy);
    PEAK.store(0, Relaxed);
    run(async {
        let mut sender = connect(&gateway).await.ready().await.unwrap();
        let (response, stream) = sender.send_request(request("PUT"), false).unwrap();
        send(stream, LONG).await;
        assert_eq!(count(response.await.unwrap().into_body()).await, LONG);
    });
    assert_constant("HTTP/2");
}
