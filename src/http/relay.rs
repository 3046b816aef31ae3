//! Heads that came in frames, in the form of HTTP/1.
//!
//! A request over HTTP/2 is written as the HTTP/1 head that says the same, and read by the same strict reader as any
//! other ([`Request::read_relayed`]); an answer of an endpoint over HTTP/2 likewise. So there is one view of a request
//! and one of an answer, one decision and one set of edits. Every name and value is validated on the way: one with a
//! line end in it cannot become two lines.
//!
//! Where the body's length is not known it is `chunked` here. That describes it; nobody has sent chunks.

use smallvec::SmallVec;

use super::{
    Class, Limits, Malformed, Refusal, Request, RequestView,
    host::is_authority,
    token::{self, METHOD, TARGET, is_word},
    write::write_status_line,
};

/// The parts of a request that HTTP/2 has in pseudo-header fields (RFC 9113, 8.3.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Pseudo<'a> {
    pub method: &'a [u8],
    /// Path and query, or `*`.
    pub path: &'a [u8],
    /// None where the request has `Host` alone.
    pub authority: Option<&'a [u8]>,
    /// The protocol that an extended CONNECT asks for (RFC 8441), with the nonce that a WebSocket handshake of HTTP/1
    /// has and one of HTTP/2 has not.
    pub tunnel: Option<(&'a [u8], &'a [u8])>,
}

// === impl Request ===

impl Request {
    /// Reads a head that was written by [`write_relayed_request`], as [`Request::read`] does.
    ///
    /// # Errors
    ///
    /// Where the request must not be served. Only its stream has to end.
    pub fn read_relayed(&mut self, head: &[u8], limits: &Limits) -> Result<usize, Refusal> {
        // Fields that came apart were joined, and the connection's own were added.
        let limits = Limits { line: limits.head, fields: limits.fields + 4, ..*limits };
        let length = self.read(head, &limits)?.ok_or(Refusal::HeadersTooLarge)?;
        self.came_in_frames();
        Ok(length)
    }
}

/// Appends the HTTP/1 head that says the same as a request in frames. `ends` is whether no body follows.
///
/// # Errors
///
/// Where HTTP/2 allows no such request, or one could be read in two ways once it is HTTP/1.
pub fn write_relayed_request<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    pseudo: Pseudo<'a>,
    fields: impl Fn() -> I,
    ends: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let method = match (pseudo.method, pseudo.tunnel) {
        (b"CONNECT", Some(_)) => b"GET",
        (method, None) => method,
        (_, Some(_)) => return Err(Refusal::BadRequest(Malformed::Method)),
    };
    if method == b"CONNECT" {
        return Err(Refusal::MethodNotAllowed);
    }
    if method.is_empty() || token::end_of(METHOD, method, 0) < method.len() {
        return Err(Refusal::BadRequest(Malformed::Method));
    }
    let any = pseudo.path == b"*" && method == b"OPTIONS";
    if !any && pseudo.path.first() != Some(&b'/') || token::end_of(TARGET, pseudo.path, 0) < pseudo.path.len() {
        return Err(Refusal::BadRequest(Malformed::Target));
    }
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(pseudo.path);
    out.extend_from_slice(b" HTTP/1.1\r\n");

    let host = match pseudo.authority {
        Some(authority) => authority,
        None => host_among(fields()).ok_or(Refusal::BadRequest(Malformed::NoHost))?,
    };
    // An authority with user information is refused like any other that is none.
    if !is_authority(host) {
        return Err(Refusal::BadRequest(Malformed::Host));
    }
    write(b"Host", host, out);
    let mut has_length = false;
    let mut crumbs = SmallVec::<[&[u8]; 4]>::new();
    for (name, value) in fields() {
        if let Some(malformed) = fault_of(name, value) {
            return Err(Refusal::BadRequest(malformed));
        }
        match Class::of(name) {
            // It must not differ (RFC 9113, 8.3.1).
            Class::Host if host.eq_ignore_ascii_case(value) => continue,
            Class::Host => return Err(Refusal::BadRequest(Malformed::HostMismatch)),
            Class::Cookie => {
                crumbs.push(value);
                continue;
            }
            Class::ContentLength => has_length = true,
            Class::Connection | Class::Upgrade | Class::TransferEncoding => {
                return Err(Refusal::BadRequest(Malformed::Connection));
            }
            Class::HopByHop if is_word(name, b"te") && !is_word(value, b"trailers") => {
                return Err(Refusal::BadRequest(Malformed::Connection));
            }
            _ => {}
        }
        write(name, value, out);
    }
    // RFC 9113, 8.2.3: what came in crumbs is one field in HTTP/1.
    if let Some((first, others)) = crumbs.split_first() {
        out.extend_from_slice(b"Cookie: ");
        out.extend_from_slice(first);
        for crumb in others {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(crumb);
        }
        out.extend_from_slice(b"\r\n");
    }
    match pseudo.tunnel {
        Some((protocol, nonce)) => {
            if has_length {
                return Err(Refusal::BadRequest(Malformed::ContentLength));
            }
            // A token, as the names of fields are, and perhaps a version (RFC 8441, 4): the `h2` crate takes any text.
            if !protocol.splitn(2, |byte| *byte == b'/').all(token::is_field_name) {
                return Err(Refusal::BadRequest(Malformed::Connection));
            }
            out.extend_from_slice(b"Connection: upgrade\r\n");
            write(b"Upgrade", protocol, out);
            write(b"Sec-WebSocket-Key", nonce, out);
        }
        None if !ends && !has_length => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The host that a request names in a field of its own.
fn host_among<'a>(mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<&'a [u8]> {
    fields.find(|(name, _)| Class::of(name) == Class::Host).map(|(_, value)| value)
}

/// Appends the HTTP/1 head that says the same as an answer in frames, to be read by [`super::Response::read`]. `ends` is
/// whether no body follows, `head_only` whether the request was `HEAD`.
///
/// # Errors
///
/// Where HTTP/2 allows no such answer.
pub fn write_relayed_response<'a>(
    status: u16,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ends: bool,
    head_only: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if status == 101 {
        return Err(Refusal::BadUpstream(Malformed::Upgrade));
    }
    write_status_line(status, None, out);
    let mut has_length = false;
    for (name, value) in fields {
        if let Some(malformed) = fault_of(name, value) {
            return Err(Refusal::BadUpstream(malformed));
        }
        match Class::of(name) {
            Class::ContentLength => has_length = true,
            Class::Connection | Class::Upgrade | Class::TransferEncoding => {
                return Err(Refusal::BadUpstream(Malformed::Connection));
            }
            _ => {}
        }
        write(name, value, out);
    }
    let has_body = status >= 200 && !matches!(status, 204 | 304);
    if has_body && !has_length {
        if !ends {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        } else if !head_only {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// What is wrong with a field that cannot be a line.
fn fault_of(name: &[u8], value: &[u8]) -> Option<Malformed> {
    if !token::is_field_name(name) {
        Some(Malformed::Name)
    } else if !token::is_field_value(value) {
        Some(Malformed::Value)
    } else {
        None
    }
}

fn write(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Gives the fields of a request head to a writer of frames. What is about a connection, and the framing of HTTP/1, is not
/// among them.
pub fn request_fields(view: RequestView<'_>, mut put: impl FnMut(&[u8], &[u8])) {
    for field in &view.head.fields {
        if has_place_in_frames(field.class) {
            put(field.name.of(view.bytes), field.value.of(view.bytes));
        }
    }
}

/// Whether a field of a head in the form of HTTP/1 has a place in frames: what is about the connection has none.
#[must_use]
pub fn has_place_in_frames(class: Class) -> bool {
    !matches!(
        class,
        Class::Connection
            | Class::Upgrade
            | Class::TransferEncoding
            | Class::HopByHop
            | Class::Nominated
            | Class::Host
            | Class::Expect
    )
}

/// Whether bytes that begin a connection are the preface of HTTP/2 (RFC 9113, 3.4); none where they can still become it.
#[must_use]
pub fn is_preface(bytes: &[u8]) -> Option<bool> {
    let compared = bytes.len().min(PREFACE.len());
    if bytes[..compared] != PREFACE[..compared] {
        return Some(false);
    }
    (compared == PREFACE.len()).then_some(true)
}

/// What a client that speaks HTTP/2 sends first.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Asked, Framing, Response, Version, answer::reason};

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn pairs<'a>(fields: Fields<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    fn relay(pseudo: Pseudo<'_>, fields: Fields<'_>, ends: bool) -> Result<(String, Request), Refusal> {
        let mut out = Vec::new();
        write_relayed_request(pseudo, || pairs(fields), ends, &mut out)?;
        let mut request = Request::new();
        let length = request.read_relayed(&out, &Limits::REQUEST)?;
        assert_eq!(length, out.len(), "the head is all that was written");
        Ok((String::from_utf8(out).expect("the test is text"), request))
    }

    fn get(path: &str) -> Pseudo<'_> {
        Pseudo { method: b"GET", path: path.as_bytes(), authority: Some(b"a.example"), tunnel: None }
    }

    #[test]
    fn a_request_in_frames_becomes_the_head_that_says_the_same() {
        let fields = [("cookie", "a=1"), ("x", "y"), ("te", "trailers"), ("cookie", "b=2")];
        let (head, request) = relay(get("/p?q"), &fields, true).expect("it is good");
        assert_eq!(head, "GET /p?q HTTP/1.1\r\nHost: a.example\r\nx: y\r\nte: trailers\r\nCookie: a=1; b=2\r\n\r\n");
        let view = request.view(head.as_bytes());
        assert_eq!(view.framing(), Framing::None);
        assert_eq!(view.version(), Version::Http2);
        assert!(view.asked().keep_alive);
    }

    #[test]
    fn a_body_has_the_length_that_is_told_or_ends_by_itself() {
        let post = Pseudo { method: b"POST", ..get("/") };
        let framing = |fields: Fields<'_>, ends| {
            let (head, request) = relay(post, fields, ends).expect("it is good");
            request.view(head.as_bytes()).framing()
        };
        assert_eq!(framing(&[("content-length", "5")], false), Framing::Length(5));
        assert_eq!(framing(&[], false), Framing::Chunked);
        assert_eq!(framing(&[], true), Framing::None);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use Malformed::*;
        let bad = |malformed| Some(Refusal::BadRequest(malformed));
        let post = Pseudo { method: b"POST", ..get("/") };
        for (pseudo, fields, expected) in [
            (get("/"), &[("host", "b.example")][..], bad(HostMismatch)),
            (Pseudo { authority: None, ..get("/") }, &[], bad(NoHost)),
            (Pseudo { authority: None, ..get("/") }, &[("host", "a"), ("host", "b")], bad(HostMismatch)),
            (Pseudo { authority: Some(b"user@a.example"), ..get("/") }, &[], bad(Host)),
            (Pseudo { authority: Some(b"a.example\r\nX: y"), ..get("/") }, &[], bad(Host)),
            (get("http://b.example/"), &[], bad(Target)),
            (get("*"), &[], bad(Target)),
            (get(""), &[], bad(Target)),
            (get("/ HTTP/1.1\r\nX: y\r\n"), &[], bad(Target)),
            (Pseudo { method: b"GET /x HTTP/1.1\r\nA: b\r\n\r\nGET", ..get("/") }, &[], bad(Method)),
            (Pseudo { method: b"", ..get("/") }, &[], bad(Method)),
            (Pseudo { method: b"CONNECT", ..get("/") }, &[], Some(Refusal::MethodNotAllowed)),
            (get("/"), &[("x", "y\r\nz: 1")], bad(Value)),
            (get("/"), &[("x", "y\0")], bad(Value)),
            (get("/"), &[("cookie", "a=1"), ("cookie", "b=2\r\nx: y")], bad(Value)),
            (get("/"), &[("x y", "z")], bad(Name)),
            (get("/"), &[("x:y", "z")], bad(Name)),
            (get("/"), &[("connection", "close")], bad(Connection)),
            (get("/"), &[("upgrade", "h2c")], bad(Connection)),
            (get("/"), &[("te", "gzip")], bad(Connection)),
            (post, &[("transfer-encoding", "chunked")], bad(Connection)),
            (post, &[("content-length", "5"), ("content-length", "6")], bad(ContentLength)),
            (post, &[("content-length", "+5")], bad(ContentLength)),
        ] {
            let mut out = Vec::new();
            let written = write_relayed_request(pseudo, || pairs(fields), false, &mut out);
            let read = written.and_then(|()| Request::new().read_relayed(&out, &Limits::REQUEST));
            assert_eq!(read.err(), expected, "{fields:?} {}", out.escape_ascii());
        }
    }

    #[test]
    fn the_protocol_of_a_tunnel_becomes_no_other_line() {
        for protocol in [&b"x\r\nevil: 1"[..], b"x\n", b"x y", b"x, h2c", b"x\0", b"", b"x/", b"/x", b"x/1/2"] {
            let tunnel = Pseudo { method: b"CONNECT", tunnel: Some((protocol, b"bm9uY2U=")), ..get("/chat") };
            let refused = relay(tunnel, &[], false).map(|(head, _)| head);
            assert_eq!(refused, Err(Refusal::BadRequest(Malformed::Connection)), "{}", protocol.escape_ascii());
        }
    }

    #[test]
    fn a_websocket_in_frames_is_an_upgrade() {
        let tunnel = Pseudo { method: b"CONNECT", tunnel: Some((b"websocket", b"bm9uY2U=")), ..get("/chat") };
        let (head, request) = relay(tunnel, &[("sec-websocket-version", "13")], false).expect("it is good");
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && head.contains("Sec-WebSocket-Key: bm9uY2U=\r\n"));
        let view = request.view(head.as_bytes());
        assert_eq!((view.upgrade(), view.framing()), (Some(&b"websocket"[..]), Framing::None));
    }

    #[test]
    fn an_answer_in_frames_becomes_the_head_that_says_the_same() {
        let asked = Asked { keep_alive: true, ..Asked::default() };
        let head_only = Asked { head_only: true, ..asked };
        for (status, fields, ends, asked, framing) in [
            (200, &[("content-length", "5")][..], false, asked, Framing::Length(5)),
            (200, &[], false, asked, Framing::Chunked),
            (200, &[], true, asked, Framing::None),
            (200, &[("content-length", "5")], true, head_only, Framing::None),
            (204, &[], true, asked, Framing::None),
            (304, &[], true, asked, Framing::None),
            (103, &[("link", "</s.css>")], false, asked, Framing::None),
        ] {
            let mut out = Vec::new();
            write_relayed_response(status, pairs(fields), ends, asked.head_only, &mut out).expect("it is good");
            let mut response = Response::new();
            let length = response.read(&out, asked, &Limits::RESPONSE).expect("it can be read");
            assert_eq!(length, Some(out.len()));
            let view = response.view(&out);
            assert_eq!((view.status(), view.framing()), (status, framing));
            assert!(view.keep_alive(), "{status}");
            // Frames have none (RFC 9113, 8.3.2), but a client over HTTP/1 gets one.
            assert_eq!(view.reason(), reason(status).as_bytes());
        }
        for (status, fields) in
            [(101, &[][..]), (200, &[("connection", "close")]), (200, &[("transfer-encoding", "chunked")])]
        {
            assert!(write_relayed_response(status, pairs(fields), false, false, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn a_preface_is_known_from_its_first_byte_to_its_last() {
        for length in 0..PREFACE.len() {
            assert_eq!(is_preface(&PREFACE[..length]), None);
        }
        assert_eq!(is_preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), Some(true));
        assert_eq!(is_preface(b"PUT "), Some(false));
        assert_eq!(is_preface(b"GET / HTTP/1.0\r\n\r\n"), Some(false));
    }
}
