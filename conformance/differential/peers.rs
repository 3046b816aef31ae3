//! The parsers that we compare with, each behind a socket.
//!
//! A peer answers each request with what it saw of it, in a field `X-Seen`: method and target in hexadecimal, framing,
//! body in hexadecimal. A connection gets its bytes at once and is then half closed, so that whoever waits for more
//! knows that nothing comes.

use super::seen::{End, Reading, Seen};
use crate::peer;
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
use serin::http::{Asked, Body, Coding, Framing, Limits, Request, Response, Step};
use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a peer may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A parser behind a socket.
pub(crate) trait Server {
    /// What it sees in the bytes of a connection.
    fn read(&self, bytes: &[u8]) -> Reading;
}

/// A server at a TCP address, in this process.
pub(crate) struct Local(SocketAddr);

/// Node, with its strict parser.
pub(crate) struct Node {
    address: SocketAddr,
    _process: Process,
}

/// nginx, before a server of ours.
pub(crate) struct Nginx {
    socket: PathBuf,
    _process: Process,
    _dir: tempfile::TempDir,
}

/// A process that ends with its owner.
struct Process(Child);

/// hyper, in this process.
pub(crate) fn hyper() -> Local {
    let (listener, address) = listen();
    listener.set_nonblocking(true).expect("the listener can be changed");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is taken");
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let mut builder = hyper::server::conn::http1::Builder::new();
                    let connection = builder.half_close(true).serve_connection(TokioIo::new(stream), service_fn(tell));
                    let _ = connection.await;
                });
            }
        });
    });
    Local(address)
}

/// Answers with what hyper sees.
async fn tell(request: hyper::Request<hyper::body::Incoming>) -> Result<hyper::Response<Empty<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let framing = if head.headers.contains_key("transfer-encoding") {
        "chunked"
    } else if head.headers.contains_key("content-length") {
        "length"
    } else {
        "none"
    };
    let body = body.collect().await?.to_bytes();
    let target = head.uri.to_string();
    let seen = to_field(head.method.as_str().as_bytes(), target.as_bytes(), framing, &body);
    let mut response = hyper::Response::new(Empty::new());
    response.headers_mut().insert("x-seen", seen.parse().expect("the field is text"));
    Ok(response)
}

// === impl Local ===

impl Server for Local {
    fn read(&self, bytes: &[u8]) -> Reading {
        ask_tcp(self.0, bytes)
    }
}

// === impl Node ===

impl Node {
    /// Starts it, unless it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = peer::program("node")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/differential/node.mjs");
        let mut command = Command::new(program);
        command.arg(script).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().expect("node starts"));
        let output = process.0.stdout.take().expect("its output is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("node says its port");
        let port: u16 = line.trim().parse().expect("node says its port");
        Some(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process })
    }
}

impl Server for Node {
    fn read(&self, bytes: &[u8]) -> Reading {
        ask_tcp(self.address, bytes)
    }
}

// === impl Nginx ===

impl Nginx {
    /// Starts it, unless it is not installed.
    #[expect(clippy::disallowed_methods, reason = "nginx does not say when it listens, and nothing else runs here")]
    pub(crate) fn start() -> Option<Self> {
        let program = peer::program("nginx")?;
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let path = dir.path().to_str().expect("its name is text");
        let configuration = include_str!("nginx.conf").replace("DIR", path).replace("BACKEND", &teller().to_string());
        let file = dir.path().join("nginx.conf");
        fs::write(&file, configuration).expect("the configuration can be written");
        let mut command = Command::new(program);
        command.arg("-p").arg(dir.path()).arg("-c").arg(file).arg("-e").arg("stderr").stdin(Stdio::null());
        let process = Process(command.spawn().expect("nginx starts"));
        let socket = dir.path().join("nginx.sock");
        let start = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < PATIENCE, "nginx listens");
            thread::sleep(Duration::from_millis(5));
        }
        Some(Self { socket, _process: process, _dir: dir })
    }
}

impl Server for Nginx {
    fn read(&self, bytes: &[u8]) -> Reading {
        let mut stream = UnixStream::connect(&self.socket).expect("nginx accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("the socket takes a timeout");
        // nginx may have closed before it took everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        answers(&drain(&mut stream))
    }
}

/// A server that tells what nginx passes on: read by our own readers, since nginx writes plain requests.
fn teller() -> SocketAddr {
    let (listener, address) = listen();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || tell_one(stream));
        }
    });
    address
}

/// Answers one request of nginx with what it says of it.
fn tell_one(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut head, mut bytes) = (Request::new(), Vec::new());
    let length = loop {
        match head.read(&bytes, &Limits::REQUEST) {
            Ok(Some(length)) => break length,
            Ok(None) => read_some(&mut stream, &mut bytes)?,
            Err(refusal) => return Err(io::Error::other(format!("{refusal}: {}", bytes.escape_ascii()))),
        }
    };
    let (framing, coding) = match head.view(&bytes).framing() {
        Framing::Chunked => (Framing::Chunked, Coding::Decode),
        other => (other, Coding::Pass),
    };
    let (mut body, mut payload, mut rest) = (Body::new(framing, coding), Vec::new(), bytes.split_off(length));
    while !body.is_done() {
        if rest.is_empty() {
            read_some(&mut stream, &mut rest)?;
        }
        let Step { skip, pass } = body.feed(&rest).map_err(|bad| io::Error::other(format!("{bad:?}")))?;
        payload.extend_from_slice(&rest[skip..skip + pass]);
        rest.drain(..skip + pass);
    }
    let view = head.view(&bytes);
    let framing = match view.field(b"X-Framing") {
        Some(b"t,l") => "none",
        Some(framing) if framing.starts_with(b"t,") => "length",
        _ => "chunked",
    };
    let seen = to_field(view.method(), view.target(), framing, &payload);
    write!(stream, "HTTP/1.1 200 OK\r\nX-Seen: {seen}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            bytes.extend_from_slice(&buffer[..read]);
            Ok(())
        }
    }
}

// === impl Process ===

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("the listener has an address");
    (listener, address)
}

fn ask_tcp(address: SocketAddr, bytes: &[u8]) -> Reading {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("the socket takes a timeout");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    answers(&drain(&mut stream))
}

/// All that a peer sends until it closes, or resets.
fn drain(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("the peer neither answers nor closes: {error}"),
        }
    }
}

/// What a peer's answers say.
fn answers(mut bytes: &[u8]) -> Reading {
    let mut requests = Vec::new();
    let mut head = Response::new();
    let end = loop {
        if bytes.is_empty() {
            break End::Open;
        }
        // Answers to HEAD differ from others only in that they have no body, and ours never have one.
        let length = match head.read(bytes, Asked::default(), &Limits::RESPONSE) {
            Ok(Some(length)) => length,
            other => panic!("the peer's answer is none: {other:?}: {}", bytes.escape_ascii()),
        };
        let view = head.view(bytes);
        bytes = &bytes[length..];
        if view.is_interim() {
            continue;
        }
        let Some(seen) = view.field(b"X-Seen") else { break End::Refused(view.status().to_string()) };
        requests.push(from_field(seen));
        if !view.keep_alive() && view.field(b"Connection").is_some() {
            break End::Closed;
        }
    };
    Reading { requests, end }
}

fn to_field(method: &[u8], target: &[u8], framing: &str, body: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{} {} {framing} {}", hex(method), hex(target), hex(body))
}

fn from_field(seen: &[u8]) -> Seen {
    let text = std::str::from_utf8(seen).expect("the field is text");
    let mut parts = text.split(' ');
    let mut next = || parts.next().unwrap_or_default();
    let bytes = |hex: &str| -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the field is hexadecimal");
        (0..hex.len()).step_by(2).map(digits).collect()
    };
    let (method, target, framing) = (bytes(next()), bytes(next()), next());
    Seen::new(&method, &target, framing, bytes(next()))
}
