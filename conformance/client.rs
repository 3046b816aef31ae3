//! A client that sends what it is told to the byte, and tells all that came back.

use crate::{
    tls::Trust,
    wire::{Framing, Head, Wire, malformed},
};
use serde::Deserialize;
use std::{collections::BTreeMap, future::Future, io, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time};

/// How long anything in these tests may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
}

/// A request to send. A body is sent with its length.
#[derive(Clone, Default, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

/// What was answered, the body read to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// What an [echo endpoint](crate::echo) saw of a request.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) uri: String,
    pub(crate) method: String,
    pub(crate) headers: BTreeMap<String, Vec<String>>,
}

// === impl Client ===

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = patient(TcpStream::connect(address)).await?;
        Ok(Self { wire: Wire::new(stream)? })
    }

    /// Connects by TLS as a client that asks for a host.
    pub(crate) async fn connect_by_tls(address: SocketAddr, host: &str, trust: &Trust) -> io::Result<Self> {
        Ok(Self { wire: Wire::over(patient(trust.connect(address, host)).await?)? })
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        patient(async {
            // Who refuses a body may close before all of it is sent, and has answered all the same.
            let sent = self.wire.write(&request.to_bytes()).await;
            self.read_answer(&request.method).await.map_err(|error| sent.err().unwrap_or(error))
        })
        .await
    }

    /// Reads the answer to a request of this method; informational ones before it are passed over.
    async fn read_answer(&mut self, method: &str) -> io::Result<Answer> {
        loop {
            let head = self.wire.read_head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let status = status(&head)?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let framing = match status {
                101 | 204 | 304 => Framing::Length(0),
                _ if method == "HEAD" => Framing::Length(0),
                _ => head.framing()?.unwrap_or(Framing::UntilClose),
            };
            let body = self.wire.read_body(framing).await?;
            return Ok(Answer { status, head, body });
        }
    }

    /// The connection itself, once an upgrade has been answered with 101.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }
}

// === impl Request ===

impl Request {
    /// A GET of `http://host/path`, as a URL names it.
    pub(crate) fn get(host: &str, path: &str) -> Self {
        Self { method: "GET".into(), host: host.into(), path: path.into(), ..Self::default() }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        for (name, value) in &self.fields {
            bytes += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            bytes += &format!("Content-Length: {}\r\n", body.len());
        }
        bytes += "\r\n";
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

// === impl Answer ===

impl Answer {
    /// Which endpoint answered, if one did.
    pub(crate) fn backend(&self) -> Option<&str> {
        self.head.field("x-backend")
    }

    /// Whether the gateway closes the connection after it.
    pub(crate) fn closes(&self) -> bool {
        self.head.field("connection").is_some_and(|options| options.eq_ignore_ascii_case("close"))
    }

    /// What the endpoint saw, if one answered and its answer has a body.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.backend()?;
        (!self.body.is_empty()).then(|| serde_json::from_slice(&self.body).expect("an echo endpoint answers with JSON"))
    }
}

/// The status in the first line of an answer.
fn status(head: &Head) -> io::Result<u16> {
    let line = &head.first_line;
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).ok_or_else(|| malformed("status line", line))
}

/// Waits for something as long as anything may take here.
pub(crate) async fn patient<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    time::timeout(PATIENCE, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
