//! What a request and a connection cost in memory, counted.
//!
//! A plain request allocates at most twice on the worker's thread, and an idle connection holds at most 4 KB.
//!
//! Only what the worker's thread allocates counts: it is marked by the connector, which runs there.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use serin::{
    key::{ClusterKey, Hostname, ObjectKey, PathType, PortRef, RouteId, Via},
    lifecycle::{Drainer, drain},
    live::Live,
    metrics::{Metrics, RouteLabels, RouteState, Settings},
    proxy::{
        Config, Connect, Proxy, RoutingTable, Shared, Stream, Tcp,
        log::{self, Format},
    },
    route::{Host, HostBuilder, PathRule, Policy, Route, Side, Split},
    tls::Connector,
    upstream::{Cluster, Endpoint, EndpointSpec, Endpoints},
};

use crate::counting::{self, ALLOCATIONS, LIVE};

/// Plain TCP, and the mark.
#[derive(Clone)]
struct Marking;

impl Connect for Marking {
    type Stream = Stream;

    async fn connect(&self, endpoint: &Endpoint, tls: Option<&Connector>) -> io::Result<Self::Stream> {
        counting::mark_thread();
        Tcp.connect(endpoint, tls).await
    }

    fn is_open(stream: &Self::Stream) -> bool {
        Tcp::is_open(stream)
    }
}

// === the gateway ===

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    drainer: Drainer,
    proxy: Option<Proxy>,
}

impl Gateway {
    pub(crate) fn to(endpoint: SocketAddr, format: Format) -> Self {
        Self::with(endpoint, format, Policy::default())
    }

    pub(crate) fn with(endpoint: SocketAddr, format: Format, policy: Policy) -> Self {
        let (metrics, meters) = Metrics::new(&Settings::default());
        let (_, logs) = log::start(format, Box::new(io::sink()), 1, metrics.meters()).unwrap();
        let (drainer, drain) = drain();
        let table = Arc::new(Live::new(table(endpoint, &metrics, policy)));
        let shared = Shared {
            table,
            certificates: Arc::default(),
            credentials: Arc::default(),
            drain,
            metrics,
            epoch: Instant::now(),
        };
        let config = Config {
            listen: vec![([127, 0, 0, 1], 0).into()],
            listen_tls: Vec::new(),
            keep_alive_requests: 1_000_000,
            ..Config::default()
        };
        let proxy = Proxy::start_with(config, &shared, &Marking, meters, logs).unwrap();
        Self { address: proxy.local_addrs()[0], drainer, proxy: Some(proxy) }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drainer.end_now();
        if let Some(proxy) = self.proxy.take() {
            proxy.join();
        }
    }
}

fn table(endpoint: SocketAddr, metrics: &Metrics, policy: Policy) -> RoutingTable {
    let name = Hostname::parse("shop.example").unwrap();
    let key =
        ClusterKey { namespace: "shop".into(), service: "web".into(), port: PortRef::Number(80), via: Via::default() };
    let cluster = Cluster::new(key);
    cluster.replace(&Endpoints::of([EndpointSpec::new(endpoint)]));
    let labels = RouteLabels {
        namespace: "shop".into(),
        ingress: "web".into(),
        service: "web".into(),
        path: "/".into(),
        host: "shop.example".into(),
    };
    let ingress = ObjectKey::ingress("shop", "web");
    let route = Route {
        id: RouteId { host: name.clone(), path: "/".into(), path_type: PathType::Prefix, ingress },
        state: Arc::new(RouteState::new(metrics, labels, [])),
        path: PathRule::Prefix("/".into()),
        split: Split::to(Side::new(cluster, "shop-web-80")),
        policy: Arc::new(Policy { body_limit: None, ..policy }),
        service: "web".into(),
    };
    let host = Host::Routes(HostBuilder::new(name.clone()).push(route).build());
    RoutingTable::new().with_host(name, Some(Arc::new(host)))
}

/// An endpoint: each connection is served by `serve`.
pub(crate) fn endpoint(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads until the end of a head and returns it with what came after it.
pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..count]);
    }
}

/// Sends a request and reads an answer of two bytes.
fn ask(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).unwrap();
    let (_, mut body) = read_head(stream).unwrap();
    let got = body.len();
    body.resize(2, 0);
    stream.read_exact(&mut body[got..]).unwrap();
    assert_eq!(body, b"ok");
}

/// Answers each request with two bytes; `body` is the length of every request's body.
pub fn tiny(body: usize) -> SocketAddr {
    endpoint(move |mut stream| {
        loop {
            let (_, mut rest) = read_head(&mut stream)?;
            let got = rest.len();
            rest.resize(body, 0);
            stream.read_exact(&mut rest[got..])?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")?;
        }
    })
}

pub(crate) const GET: &str = "GET /cart?user=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1.0\r\nAccept: */*\r\n\
                   Accept-Encoding: gzip\r\nCookie: session=abc; theme=dark\r\n\r\n";

/// What is counted is counted for the whole process.
pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

// === the rules ===

#[test]
fn a_plain_request_allocates_at_most_twice() {
    let _alone = ONE_AT_A_TIME.lock();
    let post = format!(
        "{}Content-Length: 4\r\n\r\nbody",
        GET.replace("GET", "POST").trim_end_matches("\r\n").to_owned() + "\r\n"
    );
    for (request, body, format) in
        [(GET, 0, Format::Off), (GET, 0, Format::Nginx), (GET, 0, Format::Json), (&*post, 4, Format::Off)]
    {
        let gateway = Gateway::to(tiny(body), format);
        let mut stream = gateway.connect();
        for _ in 0..200 {
            ask(&mut stream, request);
        }
        let before = ALLOCATIONS.load(Relaxed);
        for _ in 0..1000 {
            ask(&mut stream, request);
        }
        let each = (ALLOCATIONS.load(Relaxed) - before) as f64 / 1000.0;
        eprintln!("{} with the log {format}: {each} allocations", &request[..4]);
        assert!(each <= 2.0, "{each} allocations for {request:?} with the log {format}");
    }
}

#[test]
fn an_idle_connection_holds_at_most_4_kb() {
    const CONNECTIONS: usize = 400;
    let _alone = ONE_AT_A_TIME.lock();
    let gateway = Gateway::to(tiny(0), Format::Off);
    let mut first = gateway.connect();
    ask(&mut first, GET);
    let before = LIVE.load(Relaxed);
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = gateway.connect();
        ask(&mut stream, GET);
        streams.push(stream);
    }
    // The last has become idle when the first is served again.
    ask(&mut first, GET);
    let each = (LIVE.load(Relaxed) - before) / CONNECTIONS as i64;
    eprintln!("{each} bytes for an idle connection");
    assert!(each <= 4096, "{each} bytes");
}
