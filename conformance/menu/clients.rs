//! Clients that send what the menu says, and tell what came back in the same words over either protocol.

use super::frames::{self, Frame, put_field};
use crate::{
    client::{PATIENCE, patient},
    wire::{Framing, Wire},
};
use std::{collections::BTreeMap, fmt::Write as _, io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

/// The stream of the innocent request that follows what the menu says.
const INNOCENT: u32 = 1001;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// A line for each answer, and for how the connection ended if it did.
    pub lines: String,
    /// What an innocent request on the same connection was answered with, unless the connection has ended.
    pub innocent: Option<String>,
}

/// A client's protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// An answer, as far as it came.
#[derive(Debug, Default)]
struct Answer {
    interim: Vec<u16>,
    status: Option<u16>,
    body: Vec<u8>,
    ended: bool,
    reset: Option<String>,
}

/// Sends bytes, then an innocent request to `host` with this body, and reads until that is answered or nothing follows.
pub(crate) async fn http1(address: SocketAddr, bytes: &[u8], host: &str, innocent: &str) -> Outcome {
    let length = innocent.len();
    let last = format!("POST /innocent HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{innocent}");
    read_http1(address, &[bytes, last.as_bytes()].concat(), None, Some(innocent)).await
}

/// Sends one request of this method, and reads its answer.
pub(crate) async fn http1_alone(address: SocketAddr, method: &str, bytes: &[u8]) -> Outcome {
    read_http1(address, bytes, Some(method), None).await
}

async fn read_http1(address: SocketAddr, bytes: &[u8], method: Option<&str>, innocent: Option<&str>) -> Outcome {
    let (mut outcome, mut interim) = (Outcome::default(), Vec::new());
    let read = patient(async {
        let mut wire = Wire::new(TcpStream::connect(address).await?)?;
        // Who refuses may close before it has read everything.
        let _ = wire.write(bytes).await;
        loop {
            let Some(head) = wire.read_head().await? else { return Ok(()) };
            let status = head.first_line.split(' ').nth(1).unwrap_or_default().to_owned();
            if let Some(status) = status.parse().ok().filter(|status| *status < 200) {
                interim.push(status);
                continue;
            }
            let status = before(&std::mem::take(&mut interim)) + &status;
            let head_only =
                method == Some("HEAD") || head.field("x-seen").is_some_and(|seen| seen.starts_with("HEAD "));
            let bodiless = head_only || status.ends_with("204") || status.ends_with("304");
            let framing = if bodiless { Framing::Length(0) } else { head.framing()?.unwrap_or(Framing::UntilClose) };
            let Ok(body) = wire.read_body(framing).await else {
                outcome.lines += "cut\n";
                return Ok(());
            };
            let body = String::from_utf8_lossy(&body).into_owned();
            if innocent.is_some_and(|innocent| body.contains(innocent) && !body.contains("evil")) {
                outcome.innocent = Some(body);
                return Ok(());
            }
            let _ = writeln!(outcome.lines, "{}", line(&status, &body));
            if method.is_some() {
                return Ok(());
            }
        }
    });
    match read.await {
        Ok(()) if innocent.is_some() && outcome.innocent.is_some() || method.is_some() && !outcome.lines.is_empty() => {
        }
        Ok(()) => outcome.lines += if innocent.is_some() { "closed\n" } else { "cut\n" },
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
            outcome.lines += "closed\n";
        }
        Err(error) => {
            let _ = writeln!(outcome.lines, "unreadable: {error}");
        }
    }
    outcome
}

/// As [`http1`], with frames.
pub(crate) async fn http2(address: SocketAddr, frames: &[u8], host: &str, innocent: &str) -> Outcome {
    read_http2(address, frames, &request(INNOCENT, host, innocent)).await
}

/// As [`http1_alone`], with frames.
pub(crate) async fn http2_alone(address: SocketAddr, frames: &[u8]) -> Outcome {
    read_http2(address, frames, b"").await
}

async fn read_http2(address: SocketAddr, frames: &[u8], innocent: &[u8]) -> Outcome {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // No table for the answers' fields, so that each status can be read by itself.
    bytes.extend(Frame { kind: 4, flags: 0, stream: 0, payload: vec![0, 1, 0, 0, 0, 0] }.to_bytes());
    bytes.extend_from_slice(frames);
    bytes.extend_from_slice(innocent);
    let mut streams = BTreeMap::<u32, Answer>::new();
    let mut sent = frames.to_vec();
    while let Some(frame) = Frame::take(&mut sent) {
        // A stream that the client takes back gets no answer.
        if frame.is_headers() && frame.stream % 2 == 1 {
            streams.entry(frame.stream).or_default();
        }
    }
    let followed = !innocent.is_empty();
    if followed {
        streams.insert(INNOCENT, Answer::default());
    }
    let mut goaway = None;
    let read = time::timeout(PATIENCE, read_frames(address, &bytes, &mut streams, &mut goaway)).await;
    let mut outcome = Outcome::default();
    let innocent = streams.remove(&INNOCENT).unwrap_or_default();
    if let Some(reason) = goaway {
        // What else was answered before that is a matter of time.
        let _ = writeln!(outcome.lines, "goaway {reason}");
        return outcome;
    }
    for (stream, answer) in streams {
        if followed {
            let _ = write!(outcome.lines, "{stream}: ");
        }
        let status = answer.status.map(|status| status.to_string()).unwrap_or_default();
        outcome.lines += &before(&answer.interim);
        let _ = match (&answer.reset, answer.ended) {
            (_, true) => writeln!(outcome.lines, "{}", line(&status, &String::from_utf8_lossy(&answer.body))),
            // Whether the head leaves before the stream breaks off is a matter of time.
            (Some(_), _) if !followed => writeln!(outcome.lines, "cut"),
            (Some(reason), _) => writeln!(outcome.lines, "reset {reason}"),
            (None, false) => writeln!(outcome.lines, "nothing"),
        };
    }
    match read {
        Ok(Ok(())) if !followed => {}
        Ok(Ok(())) if innocent.ended => outcome.innocent = Some(String::from_utf8_lossy(&innocent.body).into_owned()),
        Ok(_) => outcome.lines += "closed\n",
        Err(_) => outcome.lines += "unanswered\n",
    }
    outcome
}

/// Reads until each stream is answered, or the connection ends.
async fn read_frames(
    address: SocketAddr,
    bytes: &[u8],
    streams: &mut BTreeMap<u32, Answer>,
    goaway: &mut Option<String>,
) -> io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let _ = socket.write_all(bytes).await;
    let mut ahead = Vec::new();
    while streams.values().any(|answer| !answer.ended && answer.reset.is_none()) {
        let Some(frame) = Frame::take(&mut ahead) else {
            if socket.read_buf(&mut ahead).await? == 0 {
                break;
            }
            continue;
        };
        match frame.kind {
            4 if frame.flags == 0 => {
                let _ = socket.write_all(&Frame { kind: 4, flags: 1, stream: 0, payload: Vec::new() }.to_bytes()).await;
            }
            7 => {
                let reason = frames::reason(frame.payload.get(4..).unwrap_or_default());
                if reason != "NO_ERROR" {
                    *goaway = Some(reason);
                }
            }
            _ => {}
        }
        let Some(answer) = streams.get_mut(&frame.stream) else { continue };
        match (frame.kind, frame.status()) {
            (1, Some(status)) if status < 200 => answer.interim.push(status),
            (1, Some(status)) => answer.status = Some(status),
            (0, _) => answer.body.extend_from_slice(&frame.payload),
            (3, _) if answer.reset.is_none() => answer.reset = Some(frames::reason(&frame.payload)),
            _ => {}
        }
        answer.ended |= frame.ends_stream();
    }
    Ok(())
}

/// The frames of an innocent request.
fn request(stream: u32, host: &str, body: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", "/innocent"), (":authority", host)] {
        put_field(name.as_bytes(), value.as_bytes(), &mut payload);
    }
    let head = Frame { kind: 1, flags: 4, stream, payload };
    let data = Frame { kind: 0, flags: 1, stream, payload: body.as_bytes().to_vec() };
    [head.to_bytes(), data.to_bytes()].concat()
}

/// What stands for interim answers before the one that they came before.
fn before(interim: &[u16]) -> String {
    interim
        .chunk_by(|a, b| a == b)
        .map(|same| match same {
            [one] => format!("{one}, "),
            _ => format!("{} {} times, ", same[0], same.len()),
        })
        .collect()
}

/// A line for an answer: its body, or the first line where that is a page of our own, which begins with the status.
fn line(status: &str, body: &str) -> String {
    let body = body.replace('\r', "\\r").replace("\n", if body.starts_with("HTTP/") { "\\n" } else { "\n" });
    let code = status.rsplit(' ').next().unwrap_or_default();
    let own = body.strip_prefix(code).and_then(|page| page.lines().next());
    format!("{status} {}", own.map_or(&*body, str::trim_start)).trim_end().to_owned()
}
