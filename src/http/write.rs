//! Heads on their way out: what was read, with edits, appended to a buffer in one pass.
//!
//! The edits are the whole difference between the head that came and the one that goes. What is about one connection
//! ends here: `Connection` and what it names, `Keep-Alive`, `TE`, `Upgrade` that is not wanted. The framing is written
//! anew from what was understood of it, never copied.
//!
//! No byte gets through that the readers would refuse: a new target is escaped where it has to be, and a field of the
//! edits that could not be read back is left out.

use super::{
    body::{Coding, Framing},
    field::{Class, Field, Span},
    host::is_authority,
    hsts,
    relay::has_place_in_frames,
    request::{Asked, RequestView, Version},
    response::ResponseView,
    token::{self, TARGET},
};

/// What is changed of a request on its way to an endpoint. Texts are bytes of the wire.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEdits<'a> {
    /// Another path and query.
    pub target: Option<&'a [u8]>,
    /// Another `Host`. One that is not a host with an optional port is not written: the client's is.
    pub host: Option<&'a [u8]>,
    pub forwarded: Forwarded<'a>,
    /// `X-Request-ID`.
    pub request_id: &'a [u8],
    /// A new `traceparent`, which drops the client's trace context; the client's passes where there is none.
    pub traceparent: Option<&'a [u8]>,
    /// Fields that replace those of their names, the gateway's own among them; an empty value removes them. `Host`,
    /// framing and `Connection` cannot be set.
    pub set: &'a [(&'a [u8], &'a [u8])],
    /// Names of fields to leave out.
    pub remove: &'a [&'a [u8]],
}

/// What the gateway says of the client to the endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarded<'a> {
    /// `X-Real-IP`.
    pub client: &'a [u8],
    /// `X-Forwarded-For`: the client alone, or with the proxies before us where these are believed.
    pub chain: &'a [u8],
    /// `X-Forwarded-Proto`, `X-Forwarded-Scheme` and `X-Scheme`: `http` or `https`.
    pub proto: &'a [u8],
    /// `X-Forwarded-Port`.
    pub port: &'a [u8],
    /// `X-Forwarded-Host`; the request's own authority where empty.
    pub host: &'a [u8],
}

/// What is changed of a response on its way to the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseEdits<'a> {
    /// Whether the gateway would keep the client's connection.
    pub keep_alive: bool,
    /// Whether the body has to be framed anew: with chunks, or for HTTP/1.0 by the end of the connection. It has where it
    /// is changed on the way, and where it came in frames. Also gives chunks to a body that has no length, which saves the
    /// connection.
    pub reframe: bool,
    /// `Date` where the endpoint sent none.
    pub date: Option<&'a [u8]>,
    /// Fields that replace those of their names.
    pub set: &'a [(&'a [u8], &'a [u8])],
    /// Fields beside those of their names: `Set-Cookie`.
    pub add: &'a [(&'a [u8], &'a [u8])],
    /// Names of fields to leave out.
    pub remove: &'a [&'a [u8]],
}

/// How the body that follows a written head must be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub coding: Coding,
    /// Whether the client's connection lives on after the body; `Connection` has told the client.
    pub keep_alive: bool,
}

/// Appends the request head for the endpoint, in HTTP/1.1.
pub fn write_request(view: RequestView<'_>, edits: &RequestEdits<'_>, out: &mut Vec<u8>) {
    out.reserve(view.bytes.len().min(8 << 10) + 512);
    out.extend_from_slice(view.method());
    out.push(b' ');
    match edits.target {
        Some(target) => write_target(target, out),
        None => out.extend_from_slice(view.target()),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");

    let changes = Changes { set: edits.set, remove: edits.remove };
    let mut run = Run { bytes: view.bytes, span: Span::default() };
    for field in &view.head.fields {
        let keep = match field.class {
            Class::Traceparent | Class::Tracestate => edits.traceparent.is_none(),
            Class::Server => true,
            Class::Trailer => view.framing() == Framing::Chunked,
            Class::ForwardedFor => {
                changes.own(b"X-Original-Forwarded-For: ", field.value.of(view.bytes), out);
                false
            }
            Class::ForwardedHost => {
                changes.own(b"X-Original-Forwarded-Host: ", field.value.of(view.bytes), out);
                false
            }
            class => class.passes(),
        };
        if keep && !changes.touch(field, view.bytes) {
            run.add(field, out);
        }
    }
    run.flush(out);

    let host = edits.host.filter(|host| is_authority(host)).unwrap_or(view.authority());
    write_field(b"Host", host, out);
    match view.framing() {
        Framing::Length(length) => write_length(length, out),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // A length of 0 is kept: without it, some applications wait or refuse (RFC 9110, 8.6).
        _ if view.first(Class::ContentLength).is_some() => out.extend_from_slice(b"Content-Length: 0\r\n"),
        _ => {}
    }
    if let Some(protocol) = view.upgrade() {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_field(b"Upgrade", protocol, out);
    }
    let Forwarded { client, chain, proto, port, host } = edits.forwarded;
    changes.own(b"X-Request-ID: ", edits.request_id, out);
    changes.own(b"X-Real-IP: ", client, out);
    changes.own(b"X-Forwarded-For: ", chain, out);
    changes.own(b"X-Forwarded-Host: ", if host.is_empty() { view.authority() } else { host }, out);
    changes.own(b"X-Forwarded-Port: ", port, out);
    changes.own(b"X-Forwarded-Proto: ", proto, out);
    changes.own(b"X-Forwarded-Scheme: ", proto, out);
    changes.own(b"X-Scheme: ", proto, out);
    if let Some(traceparent) = edits.traceparent {
        changes.own(b"traceparent: ", traceparent, out);
    }
    for (name, value) in edits.set {
        write_checked(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the response head for the client, and says how the body must be sent.
///
/// Nothing is appended for an interim answer where the client speaks HTTP/1.0, which has none.
pub fn write_response(view: ResponseView<'_>, asked: Asked, edits: &ResponseEdits<'_>, out: &mut Vec<u8>) -> Delivery {
    let old = asked.version == Version::Http10;
    if view.is_interim() && old {
        return Delivery { coding: Coding::Pass, keep_alive: true };
    }
    out.reserve(view.bytes.len().min(8 << 10) + 256);
    write_status_line(view.status(), Some(view.reason()), out);

    let coding = match view.framing() {
        Framing::None => Coding::Pass,
        _ if view.switches() => Coding::Pass,
        Framing::Chunked if old => Coding::Decode,
        _ if edits.reframe => {
            if old {
                Coding::Decode
            } else {
                Coding::Chunk
            }
        }
        _ => Coding::Pass,
    };
    let until_close = coding == Coding::Decode || coding == Coding::Pass && view.framing() == Framing::UntilClose;
    let keep_alive = asked.keep_alive && edits.keep_alive && !until_close;

    let hsts = asked.hsts.filter(|_| !view.is_interim());
    let changes = Changes { set: edits.set, remove: edits.remove };
    let mut run = Run { bytes: view.bytes, span: Span::default() };
    for field in &view.head.fields {
        let keep = match field.class {
            // What the endpoint says of it is replaced, as ingress-nginx does.
            _ if hsts.is_some() && field.name.of(view.bytes).eq_ignore_ascii_case(hsts::NAME) => false,
            Class::ContentLength => describes_length(view) && coding == Coding::Pass,
            // Only an answer to HEAD comes here with it: it says what GET would get.
            Class::TransferEncoding => view.framing() == Framing::None && describes_length(view) && !old,
            Class::Trailer => view.framing() == Framing::Chunked && coding != Coding::Decode,
            Class::Connection | Class::Upgrade | Class::HopByHop | Class::Nominated | Class::Server => false,
            _ => true,
        };
        if keep && !changes.touch(field, view.bytes) {
            run.add(field, out);
        }
    }
    run.flush(out);

    if view.framing() == Framing::Chunked && coding == Coding::Pass || coding == Coding::Chunk {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if view.switches() {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        let protocol = view.head.upgrade.unwrap_or_default();
        write_field(b"Upgrade", protocol.of(view.bytes), out);
    } else if !view.is_interim() {
        write_connection(keep_alive, asked, out);
    }
    if let Some(date) = edits.date.filter(|_| !view.head.has_date && view.status() >= 200) {
        changes.own(b"Date: ", date, out);
    }
    if let Some(hsts) = hsts {
        hsts.write(out);
    }
    for (name, value) in edits.set.iter().chain(edits.add) {
        write_checked(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
    Delivery { coding, keep_alive }
}

/// Gives the fields of a response head, with the edits, to a writer of frames. What is about a connection, and the
/// framing of HTTP/1, is not among them.
pub fn response_fields(
    view: ResponseView<'_>,
    asked: Asked,
    edits: &ResponseEdits<'_>,
    mut put: impl FnMut(&[u8], &[u8]),
) {
    let changes = Changes { set: edits.set, remove: edits.remove };
    let hsts = asked.hsts.filter(|_| !view.is_interim());
    for field in &view.head.fields {
        let keep = match field.class {
            _ if hsts.is_some() && field.name.of(view.bytes).eq_ignore_ascii_case(hsts::NAME) => false,
            Class::ContentLength => describes_length(view),
            Class::Server => false,
            class => has_place_in_frames(class),
        };
        if keep && !changes.touch(field, view.bytes) {
            put(field.name.of(view.bytes), field.value.of(view.bytes));
        }
    }
    if let Some(date) = edits.date.filter(|_| !view.head.has_date && view.status() >= 200 && !changes.touches(b"Date"))
    {
        put(b"date", date);
    }
    if let Some(hsts) = hsts {
        put(hsts::NAME, &hsts.value());
    }
    for (name, value) in edits.set.iter().chain(edits.add) {
        if is_writable(name, value) {
            put(name, value);
        }
    }
}

/// The fields of the edits, by name.
#[derive(Clone, Copy)]
struct Changes<'a> {
    set: &'a [(&'a [u8], &'a [u8])],
    remove: &'a [&'a [u8]],
}

/// Lines that stand one after the other in the buffer, to be copied at once.
struct Run<'a> {
    bytes: &'a [u8],
    span: Span,
}

// === impl Changes ===

impl Changes<'_> {
    /// Whether the edits replace or remove a field.
    #[inline]
    fn touch(&self, field: &Field, bytes: &[u8]) -> bool {
        if self.set.is_empty() && self.remove.is_empty() {
            return false;
        }
        let name = field.name.of(bytes);
        self.sets(name) || self.removes(name)
    }

    fn sets(&self, name: &[u8]) -> bool {
        self.set.iter().any(|(set, _)| set.eq_ignore_ascii_case(name))
    }

    fn removes(&self, name: &[u8]) -> bool {
        self.remove.iter().any(|removed| removed.eq_ignore_ascii_case(name))
    }

    /// Appends a field of the gateway's own, unless it is empty, or the edits replace or remove it. `start` is the line
    /// up to the value.
    #[inline(always)]
    fn own(&self, start: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if value.is_empty() || !(self.set.is_empty() && self.remove.is_empty()) && self.touches(start) {
            return;
        }
        out.extend_from_slice(start);
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }

    /// Whether the edits replace or remove the field of a line.
    fn touches(&self, line: &[u8]) -> bool {
        let name = line.strip_suffix(b": ").unwrap_or(line);
        self.sets(name) || self.removes(name)
    }
}

// === impl Run ===

impl Run<'_> {
    /// Appends a field, sooner or later.
    #[inline]
    fn add(&mut self, field: &Field, out: &mut Vec<u8>) {
        let line = field.line();
        if field.tidy && line.start == self.span.end {
            self.span.end = line.end;
            return;
        }
        self.flush(out);
        if field.tidy {
            self.span = line;
        } else {
            write_field(field.name.of(self.bytes), field.value.of(self.bytes), out);
        }
    }

    /// Appends what is left to append.
    #[inline]
    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.span.of(self.bytes));
        self.span = Span::default();
    }
}

/// Whether a `Content-Length` of the endpoint is true, or what `GET` would get.
fn describes_length(view: ResponseView<'_>) -> bool {
    !matches!(view.status(), 100..200 | 204)
}

/// Appends a target; bytes that no target may hold are escaped, so that it cannot end the line.
fn write_target(target: &[u8], out: &mut Vec<u8>) {
    if target.first() != Some(&b'/') && target != b"*" {
        out.push(b'/');
    }
    let mut rest = target;
    while !rest.is_empty() {
        let end = token::end_of(TARGET, rest, 0);
        out.extend_from_slice(&rest[..end]);
        let Some(byte) = rest.get(end) else { break };
        out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = &rest[end + 1..];
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[inline]
fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a field that comes from elsewhere, unless it is empty, could not be read back, or would say something about
/// the connection or the framing.
pub(super) fn write_checked(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if is_writable(name, value) {
        write_field(name, value, out);
    }
}

/// Whether a field that comes from elsewhere is neither empty, nor could not be read back, nor says something about the
/// connection or the framing.
fn is_writable(name: &[u8], value: &[u8]) -> bool {
    let ours_alone = matches!(
        Class::of(name),
        Class::Host
            | Class::ContentLength
            | Class::TransferEncoding
            | Class::Connection
            | Class::Upgrade
            | Class::HopByHop
    );
    !value.is_empty() && !ours_alone && token::is_field_name(name) && token::is_field_value(value)
}

pub(super) fn write_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Tells the client what becomes of the connection, where it would expect something else.
pub(super) fn write_connection(keep_alive: bool, asked: Asked, out: &mut Vec<u8>) {
    match asked.version {
        _ if !keep_alive => out.extend_from_slice(b"Connection: close\r\n"),
        Version::Http10 => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Version::Http11 | Version::Http2 => {}
    }
}

pub(super) fn write_status_line(status: u16, words: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(words.unwrap_or_else(|| super::answer::reason(status).as_bytes()));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
