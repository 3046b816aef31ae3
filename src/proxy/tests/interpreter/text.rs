//! The text of HTTP/1, and bodies between it and streams of HTTP/2.

use std::{future::poll_fn, io};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

/// Reads text.
pub(super) struct Reader {
    half: OwnedReadHalf,
    bytes: Vec<u8>,
}

/// The head of a request or an answer.
pub(super) struct Head {
    pub(super) first: String,
    fields: Vec<(String, String)>,
}

/// How a body comes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    /// Until the connection ends, or as another protocol.
    Raw,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(half: OwnedReadHalf) -> Self {
        Self { half, bytes: Vec::new() }
    }

    /// The next head; none where the text ends.
    pub(super) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.bytes, b"\r\n\r\n") {
                let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
                return Ok(Some(Head::parse(&String::from_utf8_lossy(&head))));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Waits until the text ends.
    pub(super) async fn end(&mut self) {
        while let Ok(true) = self.fill().await {}
    }

    /// Sends a body on, unless it is not wanted. Where it has ended, so has the stream.
    pub(super) async fn send_body(&mut self, mut framing: Framing, out: &mut SendStream<Bytes>) -> io::Result<()> {
        let mut trailers = HeaderMap::new();
        loop {
            let piece = tokio::select! {
                piece = self.piece(&mut framing, &mut trailers) => piece?,
                _ = poll_fn(|cx| out.poll_reset(cx)) => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            if framing == Framing::Length(0) {
                // As most do where they know the length: the last piece is the end.
                return send_all(out, piece.into(), true).await;
            } else if !piece.is_empty() {
                send(out, piece.into()).await?;
            } else if trailers.is_empty() {
                return out.send_data(Bytes::new(), true).map_err(io::Error::other);
            } else {
                return out.send_trailers(trailers).map_err(io::Error::other);
            }
        }
    }

    /// The next piece of a body; nothing where it has ended.
    async fn piece(&mut self, framing: &mut Framing, trailers: &mut HeaderMap) -> io::Result<Vec<u8>> {
        match framing {
            Framing::Length(0) => Ok(Vec::new()),
            Framing::Length(left) => {
                let piece = self.some(*left).await?;
                *left -= piece.len();
                if piece.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(piece) }
            }
            Framing::Raw => self.some(usize::MAX).await,
            Framing::Chunked => {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16);
                let size = size.map_err(io::Error::other)?;
                if size > 0 {
                    let piece = self.take(size).await?;
                    self.line().await?;
                    return Ok(piece);
                }
                while let Some((name, value)) = self.line().await?.split_once(": ") {
                    trailers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
                }
                Ok(Vec::new())
            }
        }
    }

    /// What comes next, at most `most` bytes; nothing where the text ends.
    async fn some(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if self.bytes.is_empty() {
            self.fill().await?;
        }
        Ok(self.bytes.drain(..most.min(self.bytes.len())).collect())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.bytes, b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() < count {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.bytes.drain(..count).collect())
    }

    async fn fill(&mut self) -> io::Result<bool> {
        self.bytes.reserve(16 << 10);
        Ok(self.half.read_buf(&mut self.bytes).await? > 0)
    }
}

// === impl Head ===

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let fields = lines.filter_map(|line| line.split_once(':'));
        Self { first, fields: fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect() }
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// How the body comes, where the head says so.
    pub(super) fn framing(&self) -> Option<Framing> {
        match self.field("content-length") {
            _ if self.field("transfer-encoding") == Some("chunked") => Some(Framing::Chunked),
            length => length.map(|length| Framing::Length(length.parse().unwrap())),
        }
    }

    /// The fields that HTTP/2 has a place for.
    pub(super) fn fields(&self) -> HeaderMap {
        let nominated = self.field("connection").unwrap_or_default().to_lowercase();
        let mut map = HeaderMap::new();
        for (name, value) in &self.fields {
            let connection = ["connection", "keep-alive", "transfer-encoding", "upgrade", "host"].contains(&&**name);
            if !connection && !nominated.split(", ").any(|nominated| nominated == name) {
                map.append(HeaderName::try_from(&**name).unwrap(), HeaderValue::try_from(&**value).unwrap());
            }
        }
        map
    }
}

/// Appends fields as most write them in HTTP/1.
pub(super) fn write_fields(fields: &HeaderMap, out: &mut String) {
    for (name, value) in fields {
        let words = name.as_str().split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        *out += &format!("{}: {}\r\n", words.collect::<Vec<_>>().join("-"), value.to_str().unwrap());
    }
}

/// Sends a piece, as the window allows.
pub(in crate::proxy::tests) async fn send(out: &mut SendStream<Bytes>, piece: Bytes) -> io::Result<()> {
    send_all(out, piece, false).await
}

/// Sends a piece, as the window allows. `ends` is whether it is the last.
async fn send_all(out: &mut SendStream<Bytes>, mut piece: Bytes, ends: bool) -> io::Result<()> {
    while !piece.is_empty() {
        out.reserve_capacity(piece.len());
        while out.capacity() == 0 {
            let capacity = poll_fn(|cx| out.poll_capacity(cx)).await;
            capacity.ok_or(io::ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
        }
        let now = piece.split_to(out.capacity().min(piece.len()));
        out.send_data(now, ends && piece.is_empty()).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Writes the body of a stream, and lets the peer send as much again when it was taken.
pub(super) async fn write_body(stream: &mut RecvStream, framing: Framing, out: &mut OwnedWriteHalf) -> io::Result<()> {
    while let Some(piece) = stream.data().await {
        let piece = piece.map_err(io::Error::other)?;
        if framing == Framing::Chunked && !piece.is_empty() {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
            out.write_all(&chunk).await?;
        } else {
            out.write_all(&piece).await?;
        }
        let _ = stream.flow_control().release_capacity(piece.len());
    }
    let trailers = stream.trailers().await.map_err(io::Error::other)?;
    if framing == Framing::Chunked {
        let mut end = String::from("0\r\n");
        write_fields(&trailers.unwrap_or_default(), &mut end);
        out.write_all((end + "\r\n").as_bytes()).await?;
    }
    Ok(())
}
