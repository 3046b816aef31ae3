//! HTTP/1.1 as bytes, read without the product's own code, so that a mistake there cannot hide here.
//!
//! Strict and small: it reads what peers in these tests write, and fails on the rest.

use std::{fmt, io};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// A connection and what was read from it ahead.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    ahead: Vec<u8>,
}

/// A connection, plain or by TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}

impl Stream for TcpStream {}

impl Stream for TlsStream<TcpStream> {}

/// The head of a message: its first line and its fields in order, names in lower case, bytes as Latin-1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// Where a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

// === impl Wire ===

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream: Box::new(stream), ahead: Vec::new() })
    }

    /// A connection by TLS, which is flushed after each write.
    pub(crate) fn over(stream: TlsStream<TcpStream>) -> io::Result<Self> {
        stream.get_ref().0.set_nodelay(true)?;
        Ok(Self { stream: Box::new(stream), ahead: Vec::new() })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads a head, or `None` where the peer closed before it began.
    pub(crate) async fn read_head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let head = Head::parse(&self.ahead[..end])?;
                self.ahead.drain(..end + 4);
                return Ok(Some(head));
            }
            if self.fill().await? == 0 {
                return if self.ahead.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads a body to its end; trailers are dropped.
    pub(crate) async fn read_body(&mut self, framing: Framing) -> io::Result<Vec<u8>> {
        match framing {
            Framing::Length(length) => self.read_exact(length).await,
            Framing::Chunked => {
                let mut body = Vec::new();
                loop {
                    let line = self.read_line().await?;
                    let size = line.split(';').next().unwrap_or_default();
                    let size = usize::from_str_radix(size, 16).map_err(|_| malformed("chunk size", &line))?;
                    if size == 0 {
                        while !self.read_line().await?.is_empty() {}
                        return Ok(body);
                    }
                    body.extend(self.read_exact(size).await?);
                    let end = self.read_line().await?;
                    if !end.is_empty() {
                        return Err(malformed("end of chunk", &end));
                    }
                }
            }
            Framing::UntilClose => {
                while self.fill().await? > 0 {}
                Ok(std::mem::take(&mut self.ahead))
            }
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) async fn read_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }

    /// Reads whatever comes next, at least one byte, or nothing where the peer has closed.
    pub(crate) async fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    async fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line = latin1(&self.ahead[..end]);
                self.ahead.drain(..end + 2);
                return Ok(line);
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.ahead).await
    }
}

// === impl Head ===

impl Head {
    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let text = latin1(bytes);
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("field", line))?;
            fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self { first_line, fields })
    }

    /// The value of the first field of a name (in lower case).
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str())
    }

    /// All values of a field, in order.
    pub(crate) fn field_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |field| field.0 == name).map(|field| field.1.as_str())
    }

    /// Where this message's body ends, if its fields say so.
    pub(crate) fn framing(&self) -> io::Result<Option<Framing>> {
        let length = self.field("content-length");
        match (self.field("transfer-encoding"), length) {
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
            (Some(coding), _) => Err(malformed("framing", coding)),
            (None, Some(length)) => {
                length.parse().map(|length| Some(Framing::Length(length))).map_err(|_| malformed("length", length))
            }
            (None, None) => Ok(None),
        }
    }
}

/// Bytes as characters of the same number.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

pub(crate) fn malformed(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad {what}: {text:?}"))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}
