//! An endpoint that answers with what it saw.
//!
//! The answer is JSON: `uri`, `method`, `headers` (each name with its values in order; those that frame the body left
//! out) and `body` (how long it was). `X-Backend` in its head names the endpoint. A request steers it:
//!
//! * `X-Want-Status: 404` sets the status.
//! * `X-Want-Delay: 0.2` waits so many seconds before the answer.
//! * `X-Want-Header: X-A: 1` adds a header to the answer.
//! * `X-Want-Echo: body` answers with the body of the request instead of JSON.
//! * `Upgrade` is granted; from then on it sends back each byte.
//! * `/auth-no` is answered with 401.

use crate::wire::{Framing, Head, Wire, malformed};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeMap,
    future, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};

/// A running endpoint; it and its connections end on drop.
#[derive(Debug)]
pub(crate) struct Echo {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

// === impl Echo ===

impl Echo {
    /// Starts an endpoint on a free loopback port.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), name).await
    }

    /// Starts an endpoint at an address.
    pub(crate) async fn start_at(address: SocketAddr, name: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is ours and free");
        let address = listener.local_addr().expect("the listener is bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, name.into(), Arc::clone(&requests)));
        Self { name: name.into(), address, requests, _tasks: tasks }
    }

    /// An endpoint at whose port nobody listens, and nobody else will.
    pub(crate) fn absent(name: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a loopback port is free");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("the socket is bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _bound = socket;
            future::pending::<()>().await;
        });
        Self { name: name.into(), address, requests: Arc::default(), _tasks: tasks }
    }

    /// How many requests have reached it.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, name: Arc<str>, requests: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (name, requests) = (Arc::clone(&name), Arc::clone(&requests));
        // A connection that breaks is the client's to notice.
        connections.spawn(async move { drop(serve(stream, &name, &requests).await) });
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests on a connection until it closes.
async fn serve(stream: TcpStream, name: &str, requests: &AtomicUsize) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    while let Some(head) = wire.read_head().await? {
        requests.fetch_add(1, Ordering::Relaxed);
        if head.field("expect").is_some() {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = wire.read_body(head.framing()?.unwrap_or(Framing::Length(0))).await?;
        if let Some(delay) = head.field("x-want-delay") {
            let seconds = delay.parse().map_err(|_| malformed("delay", delay))?;
            time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        if let Some(protocol) = head.field("upgrade") {
            let switch = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\nX-Backend: {name}\r\n\r\n"
            );
            wire.write(switch.as_bytes()).await?;
            return send_back(wire).await;
        }
        wire.write(&answer(name, &head, body)?).await?;
        if head.field("connection").is_some_and(|options| options.eq_ignore_ascii_case("close")) {
            break;
        }
    }
    Ok(())
}

async fn send_back(mut wire: Wire) -> io::Result<()> {
    loop {
        let bytes = wire.read_some().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        wire.write(&bytes).await?;
    }
}

fn answer(name: &str, head: &Head, body: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut words = head.first_line.split(' ');
    let (Some(method), Some(uri), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed("request line", &head.first_line));
    };

    let status = match head.field("x-want-status") {
        Some(status) => status,
        None if uri.starts_with("/auth-no") => "401",
        None => "200",
    };
    let mut answer = format!("HTTP/1.1 {status} As Wanted\r\nX-Backend: {name}\r\n");
    for wanted in head.field_values("x-want-header") {
        answer += &format!("{wanted}\r\n");
    }
    let body = match head.field("x-want-echo") {
        Some(_) => body,
        None => saw(method, uri, head, body.len()).to_string().into_bytes(),
    };
    if !matches!(status, "204" | "304") {
        answer += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    answer += "\r\n";
    let mut answer = answer.into_bytes();
    if !matches!(status, "204" | "304") && method != "HEAD" {
        answer.extend(body);
    }
    Ok(answer)
}

fn saw(method: &str, uri: &str, head: &Head, body: usize) -> Value {
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in &head.fields {
        if !matches!(&**name, "content-length" | "transfer-encoding") {
            fields.entry(name).or_default().push(value);
        }
    }
    json!({ "uri": uri, "method": method, "headers": fields, "body": body })
}

#[tokio::test]
async fn tells_what_it_saw() {
    let echo = Echo::start("a").await;
    let mut client = crate::client::Client::connect(echo.address).await.expect("the endpoint listens");
    let mut request = crate::client::Request::get("h.test", "/x?y=\u{e4}").with("X-A", "1").with("x-a", "2");
    request.method = "POST".into();
    request.body = Some(b"hello".to_vec());
    for _ in 0..2 {
        let answer = client.exchange(&request).await.expect("it answers");
        assert_eq!((answer.status, answer.backend()), (200, Some("a")));
        let seen = answer.seen().expect("it tells what it saw");
        assert_eq!((&*seen.method, &*seen.uri), ("POST", "/x?y=\u{c3}\u{a4}"));
        assert_eq!(seen.headers["x-a"], ["1", "2"]);
    }
    assert_eq!(echo.requests(), 2);
}

#[tokio::test]
async fn does_as_it_is_told() {
    let echo = Echo::start("a").await;
    let mut client = crate::client::Client::connect(echo.address).await.expect("the endpoint listens");
    let request =
        crate::client::Request::get("h.test", "/").with("X-Want-Status", "304").with("X-Want-Header", "X-A: 1");
    let answer = client.exchange(&request).await.expect("it answers");
    assert_eq!((answer.status, answer.head.field("x-a")), (304, Some("1")));

    let request = crate::client::Request::get("h.test", "/").with("Connection", "Upgrade").with("Upgrade", "websocket");
    let answer = client.exchange(&request).await.expect("it answers");
    assert_eq!(answer.status, 101);
    let mut wire = client.into_wire();
    wire.write(b"ping").await.expect("it reads");
    assert_eq!(wire.read_exact(4).await.expect("it sends back"), b"ping");
}
