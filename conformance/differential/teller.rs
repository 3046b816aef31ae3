//! An endpoint that tells what reaches it: read by our own readers, since who stands before it writes plain requests.
//!
//! It answers each request with what it saw of it, in a field `X-Seen`: method and target in hexadecimal, framing, body
//! in hexadecimal.

use super::{
    peers::{PATIENCE, listen},
    seen::{End, Reading, Seen},
};
use serin::http::{Asked, Body, Coding, Framing, Limits, Request, Response, Step};
use std::{
    io::{self, Read as _, Write as _},
    mem,
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// An endpoint that tells.
pub(crate) struct Teller {
    pub(crate) address: SocketAddr,
    log: Log,
    connections: Connections,
}

/// The requests that have come whole, and bytes that are none.
type Log = Arc<Mutex<Vec<Seen>>>;

type Connections = Arc<Mutex<Vec<JoinHandle<()>>>>;

// === impl Teller ===

impl Teller {
    pub(crate) fn start() -> Self {
        let (listener, address) = listen();
        let log = Log::default();
        let connections = Connections::default();
        let (of_all, started) = (Arc::clone(&log), Arc::clone(&connections));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&of_all);
                // A connection that breaks shows in what was not answered.
                let connection = thread::spawn(move || drop(tell(stream, &log)));
                started.lock().expect("nobody panics with it").push(connection);
            }
        });
        Self { address, log, connections }
    }

    /// Waits until the connections so far have ended.
    pub(crate) fn join(&self) {
        for connection in mem::take(&mut *self.connections.lock().expect("nobody panics with it")) {
            connection.join().expect("telling does not panic");
        }
    }

    /// What has come since the last call, over all connections.
    pub(crate) fn take(&self) -> Vec<Seen> {
        mem::take(&mut *self.log.lock().expect("nobody panics with it"))
    }
}

/// Answers the requests of a connection with what they say.
fn tell(mut stream: TcpStream, log: &Log) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let note = |seen| log.lock().expect("nobody panics with it").push(seen);
    let (mut head, mut bytes) = (Request::new(), Vec::new());
    loop {
        let length = match head.read(&bytes, &Limits::REQUEST) {
            Ok(Some(length)) => length,
            Ok(None) => {
                read_some(&mut stream, &mut bytes)?;
                continue;
            }
            Err(refusal) => {
                note(Seen::new(b"?", &bytes, "none", Vec::new()));
                return Err(io::Error::other(format!("{refusal}: {}", bytes.escape_ascii())));
            }
        };
        let framing = head.view(&bytes).framing();
        let coding = if framing == Framing::Chunked { Coding::Decode } else { Coding::Pass };
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
        // nginx takes chunks apart, and says so.
        let framing = match (view.field(b"X-Framing"), framing) {
            (Some(b"t,l"), _) | (None, Framing::None | Framing::UntilClose) => "none",
            (None, Framing::Length(_)) => "length",
            (Some(said), _) if said.starts_with(b"t,") => "length",
            (Some(_), _) | (None, Framing::Chunked) => "chunked",
        };
        let seen = to_field(view.method(), view.target(), framing, &payload);
        note(Seen::new(view.method(), view.target(), framing, payload));
        write!(stream, "HTTP/1.1 200 OK\r\nX-Seen: {seen}\r\nContent-Length: 0\r\n\r\n")?;
        bytes = rest;
    }
}

fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            bytes.extend_from_slice(&buffer[..read]);
            // A request of HTTP/1.0 without a host goes on with an empty one (RFC 9112, 3.2), which we would not take.
            if let Some(at) = memchr::memmem::find(bytes, b"\r\nHost: \r\n") {
                bytes.insert(at + 8, b'-');
            }
            Ok(())
        }
    }
}

/// What answers with `X-Seen` say.
pub(crate) fn answers(mut bytes: &[u8]) -> Reading {
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

/// The value of `X-Seen`.
pub(crate) fn to_field(method: &[u8], target: &[u8], framing: &str, body: &[u8]) -> String {
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
