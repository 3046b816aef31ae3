//! Endpoints that tell exactly what reaches them, or answer with bytes of the menu.
//!
//! An honest answer is what was seen of its request: in a field `X-Seen` and in the body. What cannot be read strictly,
//! as these tests' own reader does, is told too: nothing of the kind may ever arrive.

use super::frames::{self, Frame};
use crate::wire::{Framing, Head, Wire};
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// The preface of HTTP/2, and no settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NO_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

/// A running endpoint, which ends on drop.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub address: SocketAddr,
    log: Log,
    script: Script,
    _tasks: JoinSet<()>,
}

/// What has arrived.
type Log = Arc<Mutex<Vec<Arrived>>>;

/// What the next request is answered with, once, in place of an honest answer.
type Script = Arc<Mutex<Option<Vec<String>>>>;

/// What arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Arrived {
    /// A request, to its end: method, target and body, and all its fields.
    Whole(String, Vec<(String, String)>),
    /// A request that broke off.
    Cut(String, Vec<(String, String)>),
    /// What is no request.
    Garbage(String),
}

// === impl Endpoint ===

impl Endpoint {
    /// Starts an endpoint that speaks HTTP/1.
    pub(crate) async fn http1() -> Self {
        Self::start(|stream, log, script| async move { serve_http1(stream, &log, &script).await }).await
    }

    /// Starts an endpoint that speaks HTTP/2, by a library that is strict.
    pub(crate) async fn http2() -> Self {
        Self::start(|stream, log, _| async move { serve_http2(stream, log).await }).await
    }

    /// Starts an endpoint that speaks HTTP/2 frame by frame, and knows of requests only their bodies.
    pub(crate) async fn frames() -> Self {
        Self::start(|stream, _, script| async move { serve_frames(stream, &script).await }).await
    }

    async fn start<F: Future<Output = io::Result<()>> + Send + 'static>(
        serve: impl Fn(TcpStream, Log, Script) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (log, script) = (Log::default(), Script::default());
        let (to, by) = (Arc::clone(&log), Arc::clone(&script));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let served = serve(stream, Arc::clone(&to), Arc::clone(&by));
                // A connection that breaks is the gateway's to notice.
                connections.spawn(async move { drop(served.await) });
            }
        });
        Self { address, log, script, _tasks: tasks }
    }

    /// Takes what has arrived so far.
    pub(crate) fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.log.lock().expect("nothing panics with it"))
    }

    /// Answers the next request with lines of the menu.
    pub(crate) fn answer_next(&self, lines: &[String]) {
        *self.script.lock().expect("nothing panics with it") = Some(lines.to_vec());
    }
}

/// What is told of a request.
pub(crate) fn told(method: &str, target: &str, body: &[u8]) -> String {
    let body = if body.is_empty() { String::new() } else { format!(" \"{}\"", body.escape_ascii()) };
    format!("{method} {}{body}", target.escape_default())
}

fn tell(log: &Log, arrived: Arrived) {
    log.lock().expect("nothing panics with it").push(arrived);
}

async fn serve_http1(stream: TcpStream, log: &Log, script: &Script) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    loop {
        let head = match wire.read_head().await {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            Err(error) => {
                if error.kind() != io::ErrorKind::ConnectionReset {
                    tell(log, Arrived::Garbage(error.to_string()));
                }
                return Err(error);
            }
        };
        let Head { first_line, fields } = &head;
        let words: Vec<_> = first_line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            tell(log, Arrived::Garbage(first_line.clone()));
            return Err(io::ErrorKind::InvalidData.into());
        };
        if head.field("expect").is_some() {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = match head.framing() {
            Ok(framing) => wire.read_body(framing.unwrap_or(Framing::Length(0))).await,
            Err(error) => {
                tell(log, Arrived::Garbage(error.to_string()));
                return Err(error);
            }
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                tell(log, Arrived::Cut(told(method, target, b""), fields.clone()));
                return Err(error);
            }
        };
        let seen = told(method, target, &body);
        tell(log, Arrived::Whole(seen.clone(), fields.clone()));
        let scripted = script.lock().expect("nothing panics with it").take();
        if let Some(mut lines) = scripted {
            let closes = lines.pop_if(|line| line == "CLOSE").is_some();
            wire.write(&lines.iter().flat_map(|line| crate::case::unescape(line)).collect::<Vec<_>>()).await?;
            if closes {
                return Ok(());
            }
            continue;
        }
        let length = seen.len();
        let sent = if method == "HEAD" { "" } else { &seen };
        wire.write(format!("HTTP/1.1 200 OK\r\nX-Seen: {seen}\r\nContent-Length: {length}\r\n\r\n{sent}").as_bytes())
            .await?;
    }
}

async fn serve_http2(stream: TcpStream, log: Log) -> io::Result<()> {
    let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if error.is_library() {
                    tell(&log, Arrived::Garbage(error.to_string()));
                }
                return Err(io::Error::other(error));
            }
        };
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let (parts, mut stream) = request.into_parts();
            let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
            let host = parts.uri.authority().map_or("", |host| host.as_str());
            let text = |value: &http::HeaderValue| crate::wire::latin1(value.as_bytes());
            let mut fields: Vec<_> =
                parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
            fields.push(("host".into(), host.into()));
            let mut body = Vec::new();
            while let Some(piece) = stream.data().await {
                let Ok(piece) = piece else {
                    tell(&log, Arrived::Cut(told(parts.method.as_str(), target, b""), fields));
                    return;
                };
                let _ = stream.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            let seen = told(parts.method.as_str(), target, &body);
            tell(&log, Arrived::Whole(seen.clone(), fields));
            let mut answer = http::Response::new(());
            answer.headers_mut().insert("x-seen", seen.parse().expect("it is escaped"));
            if let Ok(mut sending) = respond.send_response(answer, false) {
                let body = if parts.method == "HEAD" { String::new() } else { seen };
                let _ = sending.send_data(body.into(), true);
            }
        });
    }
    Ok(())
}

/// Answers each request honestly with its body, or as the script says.
async fn serve_frames(mut stream: TcpStream, script: &Script) -> io::Result<()> {
    let mut ahead = vec![0; PREFACE.len()];
    stream.read_exact(&mut ahead).await?;
    ahead.clear();
    stream.write_all(NO_SETTINGS).await?;
    let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        let Some(frame) = Frame::take(&mut ahead) else {
            if stream.read_buf(&mut ahead).await? == 0 {
                return Ok(());
            }
            continue;
        };
        if frame.kind == 4 && frame.flags == 0 {
            stream.write_all(&Frame { kind: 4, flags: 1, stream: 0, payload: Vec::new() }.to_bytes()).await?;
        }
        if frame.is_headers() {
            bodies.insert(frame.stream, Vec::new());
        }
        if frame.is_data() {
            bodies.entry(frame.stream).or_default().extend_from_slice(&frame.payload);
        }
        if frame.ends_stream() {
            let body = bodies.remove(&frame.stream).unwrap_or_default();
            let scripted = script.lock().expect("nothing panics with it").take();
            let lines = scripted.unwrap_or_else(|| {
                let body = body.escape_ascii();
                vec!["HEADERS S".into(), "  :status = 200".into(), format!("DATA S end_stream | honest {body}")]
            });
            stream.write_all(&frames::encode(&lines, frame.stream)).await?;
        }
    }
}
