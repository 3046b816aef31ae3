//! The parsers that we compare with, each behind a socket.
//!
//! A peer answers each request with what it saw of it, as a [`Teller`] does. A connection gets its bytes at once and is then half closed, so that whoever waits for more
//! knows that nothing comes.

use super::{
    seen::Reading,
    teller::{Teller, answers, to_field},
};
use crate::peer;
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
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
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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
        let teller = Teller::start();
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let path = dir.path().to_str().expect("its name is text");
        let configuration =
            include_str!("nginx.conf").replace("DIR", path).replace("BACKEND", &teller.address.to_string());
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

// === impl Process ===

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn listen() -> (TcpListener, SocketAddr) {
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
pub(crate) fn drain(stream: &mut impl Read) -> Vec<u8> {
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
