//! Request heads of HTTP/1.0 and 1.1, read where they lie.
//!
//! [`Request`] is storage that a worker uses again and again; [`Request::read`] fills it from the front of a buffer,
//! and [`Request::view`] shows what was read. The reader is stricter than RFC 9112 wherever leniency would let two
//! parsers see different requests in the same bytes:
//!
//! * lines end with CRLF, and there are no folded lines;
//! * one space between the parts of the request line; the method in capital letters;
//! * exactly one `Host` (HTTP/1.0: at most one), without user information, and no other host in the target;
//! * at most one `Content-Length`, of digits only; `Transfer-Encoding` only as a single `chunked`, only in HTTP/1.1, and
//!   never beside `Content-Length`.
//!
//! `CONNECT` and `TRACE` are refused with 405, other versions with 505.

use super::{
    Limits, Malformed, Refusal,
    body::Framing,
    field::{self, Class, Field, Line, Span, Stop},
    host::is_authority,
    hsts::Hsts,
    refusal::Accepts,
    token::{self, METHOD, TARGET, is_word},
};

mod view;

/// A request head that was read: places in a buffer, and what they mean. Made once and used for many heads.
#[derive(Clone, Debug, Default)]
pub struct Request {
    method: Span,
    /// Path and query; empty for the absolute form of a bare host.
    target: Span,
    query: Span,
    authority: Span,
    /// The protocol that the client wants to switch to, with its `Upgrade`.
    upgrade: Option<Span>,
    asked: Asked,
    framing: Framing,
    expects_continue: bool,
    pub(super) fields: Vec<Field>,
}

/// What has to be known of a request when its head is gone: to read and write the response, to retry, to refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    pub version: Version,
    /// `HEAD`: the response has no body, whatever its head says.
    pub head_only: bool,
    /// Whether the client is ready to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client offers to switch protocols.
    pub upgrade: bool,
    /// Whether repeating the request does no harm (RFC 9110, 9.2.2).
    pub idempotent: bool,
    /// Whether the request changes nothing (RFC 9110, 9.2.1).
    pub safe: bool,
    /// How the client wants to be told of a refusal.
    pub accepts: Accepts,
    /// What every answer tells the client of https; none where the request did not come by TLS.
    pub hsts: Option<Hsts>,
}

// === impl Asked ===

impl Asked {
    /// Whether an answer of this status would be taken for a switch of protocols that it is not: over HTTP/2 any 2xx
    /// opens the tunnel (RFC 8441, 5).
    #[must_use]
    pub fn mistakes(&self, status: u16) -> bool {
        self.upgrade && self.version == Version::Http2 && (200..300).contains(&status)
    }
}

/// The version of a request or response.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    /// In frames: see [`super::relay`].
    Http2,
}

/// A request head and the buffer that it was read from.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    pub(super) head: &'a Request,
    pub(super) bytes: &'a [u8],
}

/// What the fields say that matters for framing; gathered while reading them.
#[derive(Default)]
struct Seen {
    host: Option<Span>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    wants_upgrade: bool,
    nominates: bool,
    upgrade: Option<Span>,
    upgrades: usize,
    expects: bool,
}

// === impl Request ===

impl Request {
    /// Empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the head at the front of `bytes`, and returns its length, or `None` where it goes on after them.
    ///
    /// Up to two empty lines before the request line are passed over and belong to the head.
    ///
    /// # Errors
    ///
    /// Returns a refusal where the bytes are no head, or one that must not be served. The connection must then be closed.
    pub fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let head = bytes.get(..limits.head).unwrap_or(bytes);
        match self.read_head(head, limits) {
            Ok(end) => Ok(Some(end)),
            Err(Fault::Stop(Stop::Partial)) if bytes.len() < limits.head => Ok(None),
            Err(Fault::Stop(Stop::Partial | Stop::TooLarge)) => Err(Refusal::HeadersTooLarge),
            Err(Fault::Stop(Stop::Malformed(malformed))) => Err(Refusal::BadRequest(malformed)),
            Err(Fault::Refusal(refusal)) => Err(refusal),
        }
    }

    /// Shows the head that was read last from the front of `bytes`.
    #[must_use]
    pub fn view<'a>(&'a self, bytes: &'a [u8]) -> RequestView<'a> {
        RequestView { head: self, bytes }
    }

    /// Notes that the head that was read last stands for one in frames.
    pub(super) fn came_in_frames(&mut self) {
        self.asked.version = Version::Http2;
    }

    fn read_head(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Fault> {
        self.fields.clear();
        self.asked = Asked::default();
        let (named, mut at) = self.read_request_line(bytes, limits)?;
        let mut seen = Seen::default();
        let mut dropped = 0;
        loop {
            let (line, next) = field::read_line(bytes, at, limits)?;
            at = next;
            match line {
                Line::Field(_) | Line::Dropped if self.fields.len() + dropped == limits.fields => {
                    return Err(Stop::TooLarge.into());
                }
                Line::Field(field) => {
                    if field.class != Class::Plain {
                        self.see(&mut seen, bytes, field)?;
                    }
                    self.fields.push(field);
                }
                Line::Dropped => dropped += 1,
                Line::End => break,
            }
        }
        self.settle(&seen, named, bytes)?;
        Ok(at)
    }

    /// Reads the request line, and returns the authority that the target names and the place after the line.
    fn read_request_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<(Option<Span>, usize), Fault> {
        let mut start = 0;
        while start < 4 && matches!(bytes.get(start), Some(b'\r' | b'\n')) {
            start = field::read_crlf(bytes, start, Malformed::Method)?;
        }

        let space = token::end_of(METHOD, bytes, start);
        if space - start > 24 {
            return Err(Malformed::Method.into());
        }
        match bytes.get(space) {
            None => return Err(Stop::Partial.into()),
            Some(b' ') if space > start => {}
            Some(_) => return Err(Malformed::Method.into()),
        }
        self.method = Span::new(start, space);

        let target = space + 1;
        let end = token::end_of(TARGET, bytes, target);
        if end - target > limits.target {
            return Err(Fault::Refusal(Refusal::UriTooLong));
        }
        match bytes.get(end) {
            None => return Err(Stop::Partial.into()),
            Some(b' ') if end > target => {}
            Some(_) => return Err(Malformed::Target.into()),
        }

        let (version, at) = read_version(bytes, end + 1)?;
        let at = field::read_crlf(bytes, at, Malformed::Version)?;
        let method = &bytes[start..space];
        self.asked.version = version;
        (self.asked.safe, self.asked.idempotent) = match method {
            b"GET" | b"HEAD" | b"OPTIONS" => (true, true),
            b"PUT" | b"DELETE" => (false, true),
            b"CONNECT" | b"TRACE" => return Err(Fault::Refusal(Refusal::MethodNotAllowed)),
            _ => (false, false),
        };
        self.asked.head_only = method == b"HEAD";
        Ok((self.split_target(bytes, target, end)?, at))
    }

    /// Splits the target into authority, path and query, and returns the authority of the absolute form.
    fn split_target(&mut self, bytes: &[u8], target: usize, end: usize) -> Result<Option<Span>, Malformed> {
        let text = &bytes[target..end];
        let (authority, path) = match text {
            [b'/', ..] => (None, target),
            b"*" if self.method.of(bytes) == b"OPTIONS" => (None, target),
            _ => {
                let scheme = if starts_with(text, b"http://") {
                    7
                } else if starts_with(text, b"https://") {
                    8
                } else {
                    return Err(Malformed::Target);
                };
                let host = target + scheme;
                let path = memchr::memchr2(b'/', b'?', &bytes[host..end]).map_or(end, |at| host + at);
                // Without a path, a query would need one put in before it, and `OPTIONS` would mean `*` to some.
                if bytes[path] == b'?' || path == end && self.method.of(bytes) == b"OPTIONS" {
                    return Err(Malformed::Target);
                }
                (Some(Span::new(host, path)), path)
            }
        };
        let query = memchr::memchr(b'?', &bytes[path..end]).map_or(end, |at| path + at);
        self.target = Span::new(path, end);
        self.query = Span::new(query, end);
        Ok(authority)
    }

    /// Notes what a field says that matters for framing.
    fn see(&mut self, seen: &mut Seen, bytes: &[u8], field: Field) -> Result<(), Fault> {
        let value = field.value.of(bytes);
        match field.class {
            Class::Host => {
                let again = seen.host.replace(field.value).is_some();
                if again {
                    return Err(Malformed::ManyHosts.into());
                }
            }
            Class::ContentLength => {
                let length = token::decimal(value).filter(|_| !field.has_tabs_around(bytes));
                let length = length.ok_or(Malformed::ContentLength)?;
                if seen.length.replace(length).is_some() {
                    return Err(Malformed::ContentLength.into());
                }
            }
            Class::TransferEncoding => {
                let valid = is_word(value, b"chunked") && !field.has_tabs_around(bytes);
                if !valid || seen.chunked || self.asked.version == Version::Http10 {
                    return Err(Malformed::TransferEncoding.into());
                }
                seen.chunked = true;
            }
            Class::Connection => {
                for name in token::elements(value) {
                    if is_word(name, b"close") {
                        seen.close = true;
                    } else if is_word(name, b"keep-alive") {
                        seen.keep_alive = true;
                    } else if is_word(name, b"upgrade") {
                        seen.wants_upgrade = true;
                    } else {
                        seen.nominates = true;
                    }
                }
            }
            Class::Upgrade => {
                seen.upgrades += 1;
                seen.upgrade = Some(field.value);
            }
            Class::Expect if self.asked.version == Version::Http11 => {
                if !is_word(value, b"100-continue") {
                    return Err(Fault::Refusal(Refusal::ExpectationFailed));
                }
                seen.expects = true;
            }
            Class::Accept if self.asked.accepts == Accepts::Text && starts_with(value, b"application/json") => {
                self.asked.accepts = Accepts::Json;
            }
            Class::ContentType if starts_with(value, b"application/grpc") => self.asked.accepts = Accepts::Grpc,
            _ => {}
        }
        Ok(())
    }

    /// Draws the conclusions when all fields are seen.
    fn settle(&mut self, seen: &Seen, named: Option<Span>, bytes: &[u8]) -> Result<(), Malformed> {
        self.framing = match (seen.chunked, seen.length) {
            (true, Some(_)) => return Err(Malformed::Ambiguous),
            (true, None) => Framing::Chunked,
            (false, None | Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        let authority = match (named, seen.host) {
            (Some(named), Some(host)) if !named.of(bytes).eq_ignore_ascii_case(host.of(bytes)) => {
                return Err(Malformed::HostMismatch);
            }
            (_, Some(host)) => Some(host),
            (named, None) if self.asked.version == Version::Http10 => named,
            (_, None) => return Err(Malformed::NoHost),
        };
        if authority.is_some_and(|authority| !is_authority(authority.of(bytes))) {
            return Err(Malformed::Host);
        }
        self.authority = authority.unwrap_or_default();
        self.asked.keep_alive = match self.asked.version {
            Version::Http10 => seen.keep_alive && !seen.close,
            Version::Http11 | Version::Http2 => !seen.close,
        };
        // A body before a switch of protocols has no use and would have to be told from what follows it.
        let may_upgrade = seen.wants_upgrade && seen.upgrades == 1 && self.framing == Framing::None;
        self.upgrade = seen
            .upgrade
            .filter(|_| may_upgrade && self.asked.version == Version::Http11)
            .filter(|protocol| is_protocol(protocol.of(bytes)));
        self.asked.upgrade = self.upgrade.is_some();
        self.expects_continue = seen.expects && self.framing != Framing::None;
        if seen.nominates {
            field::nominate(bytes, &mut self.fields, Class::ends_in_request)?;
        }
        Ok(())
    }
}

/// Why a head is not read to its end.
enum Fault {
    Stop(Stop),
    Refusal(Refusal),
}

// === impl Fault ===

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Stop(malformed.into())
    }
}

/// Whether the first line of what should be a request names HTTP, or may still come to it.
#[must_use]
pub fn names_http(bytes: &[u8]) -> bool {
    memchr::memchr(b'\n', bytes).is_none_or(|end| memchr::memmem::find(&bytes[..end], b" HTTP/").is_some())
}

/// Reads `HTTP/1.0` or `HTTP/1.1` at `at`, and returns it with the place after it.
fn read_version(bytes: &[u8], at: usize) -> Result<(Version, usize), Fault> {
    const NAME: &[u8] = b"HTTP/";
    let rest = &bytes[at..];
    let version = match rest {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', ..] => Version::Http11,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', ..] => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, ..] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Fault::Refusal(Refusal::VersionNotSupported));
        }
        _ => {
            let pattern = |(at, byte): (usize, &u8)| match at {
                0..=4 => *byte == NAME[at],
                6 => *byte == b'.',
                _ => byte.is_ascii_digit(),
            };
            let partial = rest.len() < 8 && rest.iter().enumerate().all(pattern);
            return Err(if partial { Stop::Partial.into() } else { Malformed::Version.into() });
        }
    };
    Ok((version, at + 8))
}

/// Whether `upgrade` is a list of protocols other than HTTP/2, which a gateway must not let a client talk unseen.
fn is_protocol(upgrade: &[u8]) -> bool {
    let mut any = false;
    for protocol in upgrade.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let mut parts = protocol.splitn(2, |byte| *byte == b'/');
        let valid = parts.all(token::is_field_name);
        if !valid || starts_with(protocol, b"h2") || starts_with(protocol, b"http/") {
            return false;
        }
        any = true;
    }
    any
}

/// Whether `value` starts with `word`, which is in lower case, in any case.
fn starts_with(value: &[u8], word: &[u8]) -> bool {
    value.get(..word.len()).is_some_and(|start| is_word(start, word))
}

#[cfg(test)]
mod tests;
