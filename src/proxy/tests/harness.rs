//! A gateway in process, scripted endpoints and clients, over real sockets.
//!
//! All of them speak the text of HTTP/1 to a test; what is on the wire is what the suite is [over](Over).

use std::{
    io::{ErrorKind, Read, Write},
    marker::PhantomData,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::{interpreter, wire::Wire};
use crate::{
    key::{ClusterKey, Hostname, ObjectKey, PathType, PortRef, RouteId, Via},
    lifecycle::{Drainer, Phase, drain},
    live::Live,
    metrics::{Metrics, RouteLabels, RouteState, Settings},
    proxy::{
        Config, Connect, Proxy, RoutingTable, Shared, Tcp,
        log::{self, Format},
    },
    route::{
        Affinity, Algorithm, BackendProtocol, Canary, Host, HostBuilder, PathRule, Policy, Route, Rule, Share, Side,
        Split,
    },
    tls::{self, CertificateSet, Certificates},
    upstream::{Cluster, EndpointSpec, Endpoints},
};

/// How long a test waits for what must come.
pub(super) const GENEROUS: Duration = Duration::from_secs(20);

/// What is spoken on the two sides of the gateway.
pub(super) trait Over: Send + Sync + 'static {
    const CLIENT: Speaks;
    const ENDPOINT: Speaks;
}

/// What is spoken on a side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Speaks {
    pub(super) http2: bool,
    pub(super) tls: bool,
}

pub(super) const HTTP1: Speaks = Speaks { http2: false, tls: false };
pub(super) const HTTP1_TLS: Speaks = Speaks { http2: false, tls: true };
pub(super) const HTTP2: Speaks = Speaks { http2: true, tls: false };
pub(super) const HTTP2_TLS: Speaks = Speaks { http2: true, tls: true };

// === what the gateway serves ===

/// A gateway that serves `shop.example` from a cluster.
pub(super) struct Gateway<O> {
    over: PhantomData<O>,
    /// Where clients come in: with TLS, where the tests are over it.
    pub(super) address: SocketAddr,
    pub(super) plain_address: SocketAddr,
    pub(super) tls_address: SocketAddr,
    pub(super) certificates: Arc<Live<Certificates>>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) table: Arc<Live<RoutingTable>>,
    pub(super) drainer: Drainer,
    pub(super) metrics: Metrics,
    log: Arc<Mutex<Vec<u8>>>,
    log_writer: Option<log::Writer>,
    proxy: Option<Proxy>,
}

/// What a test changes of the usual gateway.
#[derive(Default)]
pub(super) struct Setup {
    pub(super) config: Config,
    pub(super) policy: Policy,
    pub(super) affinity: Option<Affinity>,
    pub(super) algorithm: Algorithm,
    /// The endpoints of a canary that is sent every request; there is no canary where there are none.
    pub(super) canary: Vec<SocketAddr>,
    pub(super) format: Format,
}

impl<O: Over> Gateway<O> {
    /// A gateway with the usual settings, in front of these endpoints.
    pub(super) fn to(endpoints: &[&Endpoint<O>]) -> Self {
        Self::with(Setup::default(), endpoints)
    }

    pub(super) fn with_policy(policy: Policy, endpoints: &[&Endpoint<O>]) -> Self {
        Self::with(Setup { policy, ..Setup::default() }, endpoints)
    }

    pub(super) fn with_config(config: Config, endpoints: &[&Endpoint<O>]) -> Self {
        Self::with(Setup { config, ..Setup::default() }, endpoints)
    }

    pub(super) fn with(setup: Setup, endpoints: &[&Endpoint<O>]) -> Self {
        let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        Self::start(setup, &addresses, &Tcp)
    }

    pub(super) fn start<C: Connect + Clone + Send>(setup: Setup, endpoints: &[SocketAddr], connect: &C) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen: vec![free], listen_tls: vec![free], ..setup.config };
        let workers = config.workers.get();
        let (metrics, meters) = Metrics::new(&Settings { workers, ..Settings::default() });
        let log = Arc::new(Mutex::new(Vec::new()));
        let out = Box::new(LogSink(Arc::clone(&log)));
        let (log_writer, logs) = log::start(setup.format, out, workers, metrics.meters()).unwrap();
        let cluster = cluster("web", endpoints);
        let mut stable = Side::new(Arc::clone(&cluster), "shop-web-80");
        stable.balance.algorithm = setup.algorithm;
        let mut split = Split::to(stable);
        split.affinity = setup.affinity.map(Arc::new);
        if !setup.canary.is_empty() {
            split.canaries = [canary(&setup.canary)].into_iter().collect();
        }
        let policy =
            Policy { backend_protocol: setup.policy.backend_protocol.or(O::ENDPOINT.protocol()), ..setup.policy };
        let table = table(split, &metrics, policy);
        let table = Arc::new(Live::new(table));
        let certificates = Arc::new(Live::new(certificates()));
        let (drainer, drain) = drain();
        let shared = Shared {
            credentials: Arc::default(),
            table: Arc::clone(&table),
            certificates: Arc::clone(&certificates),
            drain,
            metrics: metrics.clone(),
            epoch: Instant::now(),
        };
        let proxy = Proxy::start_with(config, &shared, connect, meters, logs).unwrap();
        let (plain_address, tls_address) = (proxy.local_addrs()[0], proxy.local_tls_addrs()[0]);
        Self {
            over: PhantomData,
            address: if O::CLIENT.tls { tls_address } else { plain_address },
            plain_address,
            tls_address,
            certificates,
            cluster,
            table,
            drainer,
            metrics,
            log,
            log_writer: Some(log_writer),
            proxy: Some(proxy),
        }
    }

    pub(super) fn connect(&self) -> Line {
        let socket = TcpStream::connect(self.address).unwrap();
        Line::over(match O::CLIENT {
            HTTP1 => Wire::Plain(socket),
            HTTP1_TLS => Wire::tls(socket),
            Speaks { tls, .. } => Wire::Plain(interpreter::client(socket, tls)),
        })
    }

    /// Sends a request on a connection of its own and reads the answer.
    pub(super) fn ask(&self, request: &str) -> Message {
        self.connect().ask(request)
    }

    pub(super) fn get(&self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n"))
    }
}

impl<O> Gateway<O> {
    /// The value of the first series whose line starts with `name`; 0 where there is none.
    pub(super) fn metric(&self, name: &str) -> u64 {
        let mut text = Vec::new();
        self.metrics.write_to(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// Ends the gateway and returns its access log.
    pub(super) fn finish(mut self) -> String {
        self.stop();
        assert!(self.log_writer.take().unwrap().finish(GENEROUS), "the log must be written");
        String::from_utf8(self.log.lock().unwrap().clone()).unwrap()
    }

    /// What is alive and would hold up the end, but for the listeners.
    pub(super) fn alive(&self) -> Vec<(&'static str, usize)> {
        self.drainer.alive().into_iter().filter(|(kind, _)| *kind != "listeners").collect()
    }

    pub(super) fn stop(&mut self) {
        self.drainer.advance(Phase::Closing);
        self.drainer.end_now();
        if let Some(proxy) = self.proxy.take() {
            proxy.join();
        }
    }

    /// Whether all workers have ended.
    pub(super) fn join(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.join();
        }
    }
}

impl<O> Drop for Gateway<O> {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl Speaks ===

impl Speaks {
    /// The word for it in a policy; none for what is spoken without one.
    fn protocol(self) -> Option<BackendProtocol> {
        match self {
            HTTP1 => None,
            HTTP1_TLS => Some(BackendProtocol::Https),
            Speaks { tls: false, .. } => Some(BackendProtocol::Grpc),
            Speaks { tls: true, .. } => Some(BackendProtocol::Grpcs),
        }
    }
}

/// The certificate of `shop.example`, for every name.
pub(super) fn certificates() -> Certificates {
    static SET: OnceLock<Arc<CertificateSet>> = OnceLock::new();
    let set = SET.get_or_init(|| {
        Arc::new(CertificateSet::of([tls::testing::certificate(&["shop.example"], tls::Made::EcdsaP256).into()]))
    });
    let mut certificates = Certificates::default();
    certificates.set_default(set.clone());
    certificates
}

fn cluster(service: &str, endpoints: &[SocketAddr]) -> Arc<Cluster> {
    let key = ClusterKey {
        namespace: "shop".into(),
        service: service.into(),
        port: PortRef::Number(80),
        via: Via::default(),
    };
    let cluster = Cluster::new(key);
    cluster.replace(&Endpoints::of(endpoints.iter().copied().map(EndpointSpec::new)));
    cluster
}

/// A canary that is sent every request.
fn canary(endpoints: &[SocketAddr]) -> Canary<Arc<Cluster>> {
    Canary {
        ingress: ObjectKey::ingress("shop", "web-canary"),
        side: Side::new(cluster("web-canary", endpoints), "shop-web-canary-80"),
        rule: Rule::default(),
        share: Share { weight: 1, total: 1 },
        sticky: None,
        keeps_sessions: true,
    }
}

fn table(split: Split<Arc<Cluster>>, metrics: &Metrics, policy: Policy) -> RoutingTable {
    let host: Hostname = Hostname::parse("shop.example").unwrap();
    let labels = RouteLabels {
        namespace: "shop".into(),
        ingress: "web".into(),
        service: "web".into(),
        path: "/".into(),
        host: "shop.example".into(),
    };
    let route = Route {
        id: RouteId {
            host: host.clone(),
            path: "/".into(),
            path_type: PathType::Prefix,
            ingress: ObjectKey::ingress("shop", "web"),
        },
        state: Arc::new(RouteState::new(metrics, labels, [])),
        path: PathRule::Prefix("/".into()),
        split,
        policy: Arc::new(policy),
        service: "web".into(),
    };
    let routes = HostBuilder::new(host.clone()).push(route).build();
    RoutingTable::new().with_host(host, Some(Arc::new(Host::Routes(routes))))
}

struct LogSink(Arc<Mutex<Vec<u8>>>);

impl Write for LogSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// === endpoints ===

/// An endpoint that does as its script says.
pub(super) struct Endpoint<O> {
    over: PhantomData<O>,
    pub(super) address: SocketAddr,
    /// The requests that were read with [`Line::read`].
    pub(super) seen: Arc<Mutex<Vec<Message>>>,
    accepted: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl<O: Over> Endpoint<O> {
    /// Runs `script` for each connection, over HTTP/2 for each stream, in a thread of its own, with its number from 0.
    pub(super) fn run(script: impl Fn(usize, Line) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint =
            Self { over: PhantomData, address, seen: Arc::default(), accepted: Arc::default(), ended: Arc::default() };
        let (seen, ended, begun) = (Arc::clone(&endpoint.seen), Arc::clone(&endpoint.ended), AtomicUsize::new(0));
        let script = Arc::new(script);
        let run = Arc::new(move |socket| {
            let number = begun.fetch_add(1, SeqCst);
            let line = Line { log: Some(Arc::clone(&seen)), ..Line::new(socket) };
            let (script, ended) = (Arc::clone(&script), Arc::clone(&ended));
            std::thread::spawn(move || {
                script(number, line);
                ended.fetch_add(1, SeqCst);
            });
        });
        let accepted = Arc::clone(&endpoint.accepted);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                accepted.fetch_add(1, SeqCst);
                match O::ENDPOINT {
                    HTTP1 => run(stream.unwrap()),
                    speaks => {
                        let run = Arc::clone(&run);
                        interpreter::endpoint(stream.unwrap(), speaks, move |socket| run(socket));
                    }
                }
            }
        });
        endpoint
    }

    /// Reads each request and answers it with `answer`, for as long as the connection lives.
    pub(super) fn answering(answer: &'static str) -> Self {
        Self::run(move |_, mut line| {
            while line.read().is_some() {
                line.send(answer);
            }
        })
    }

    /// Answers each request with `ok`.
    pub(super) fn ok() -> Self {
        Self::answering(OK)
    }

    /// How many connections were made to it.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    /// How many connections, over HTTP/2 how many streams, it has ended.
    pub(super) fn ended(&self) -> usize {
        self.ended.load(SeqCst)
    }

    pub(super) fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }
}

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An address at which nobody listens, and that no other test is given.
pub(super) fn nobody() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // It stays taken for as long as the tests run.
    std::mem::forget(socket);
    address
}

// === connections ===

/// A connection, seen from either end.
pub(super) struct Line {
    pub(super) stream: Wire,
    read: Vec<u8>,
    log: Option<Arc<Mutex<Vec<Message>>>>,
}

/// A request or an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) head: String,
    /// Without the framing of chunks.
    pub(super) body: Vec<u8>,
    /// The fields after the last chunk.
    pub(super) trailers: String,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self::over(Wire::Plain(stream))
    }

    pub(super) fn over(stream: Wire) -> Self {
        let socket = stream.socket();
        socket.set_read_timeout(Some(GENEROUS)).unwrap();
        socket.set_write_timeout(Some(GENEROUS)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new(), log: None }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Whoever is sent to may have left; what it missed shows elsewhere.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub(super) fn ask(&mut self, request: &str) -> Message {
        self.send(request);
        self.answer(!request.starts_with("HEAD "))
    }

    /// Reads an answer that must come.
    pub(super) fn answer(&mut self, has_body: bool) -> Message {
        let head = self.read_head().expect("an answer must come");
        let mut message = Message { head, ..Message::default() };
        let status = message.status();
        if has_body && status >= 200 && status != 204 && status != 304 {
            self.read_body(&mut message, true);
        }
        message
    }

    /// Reads a request; none where the connection ends.
    pub(super) fn read(&mut self) -> Option<Message> {
        let mut message = Message { head: self.read_head()?, ..Message::default() };
        self.read_body(&mut message, false);
        if let Some(log) = &self.log {
            log.lock().unwrap().push(message.clone());
        }
        Some(message)
    }

    pub(super) fn read_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                return Some(String::from_utf8(self.read.drain(..end + 4).collect()).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn read_body(&mut self, message: &mut Message, may_end_with_connection: bool) {
        if message.field("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(self.line().split(';').next().unwrap(), 16).unwrap();
                if size == 0 {
                    break;
                }
                message.body.extend(self.take(size));
                assert_eq!(self.line(), "", "CRLF must follow a chunk");
            }
            loop {
                let line = self.line();
                if line.is_empty() {
                    return;
                }
                message.trailers += &line;
                message.trailers += "\n";
            }
        } else if let Some(length) = message.field("content-length") {
            message.body = self.take(length.parse().unwrap());
        } else if may_end_with_connection {
            message.body = self.rest();
        }
    }

    /// Reports something of an endpoint's, to be found among what it has seen.
    pub(super) fn seen_text(&self, text: String) {
        if let Some(log) = &self.log {
            log.lock().unwrap().push(Message { head: text, ..Message::default() });
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            assert!(self.fill(), "a line must come");
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            if !self.fill() {
                panic!("{count} bytes must come; there were {:?}", String::from_utf8_lossy(&self.read));
            }
        }
        self.read.drain(..count).collect()
    }

    /// What comes next; nothing where the connection has ended.
    pub(super) fn some(&mut self) -> Vec<u8> {
        if self.read.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.read)
    }

    /// All that comes until the connection ends.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.read)
    }

    /// Whether the connection ends, with nothing before that.
    pub(super) fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.fill()
    }

    pub(super) fn shutdown(&self) {
        self.stream.shutdown();
    }

    /// Ends the connection with a reset.
    pub(super) fn reset(self) {
        socket2::SockRef::from(self.stream.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads more; false where the connection has ended.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if ended(&error) => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }
}

/// Whether a connection has ended: also where TLS was not told so.
fn ended(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
}

impl Message {
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    /// The value of the first field of a name in lower case.
    pub(super) fn field<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.fields(name).next()
    }

    pub(super) fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(move |(other, _)| other.to_lowercase() == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Does nothing for a while, as a slow peer does.
#[expect(clippy::disallowed_methods, reason = "a test's own thread may wait")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until something is so.
#[expect(clippy::disallowed_methods, reason = "a test's own thread may wait")]
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < GENEROUS, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
