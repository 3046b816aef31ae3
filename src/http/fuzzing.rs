//! What must hold for any bytes: the targets of the fuzzer, and of bounded tests on every machine.
//!
//! Each target takes bytes and panics where a rule is broken. None of them knows what is right for an input; they know
//! what must be equal: pieces and the whole, what is written and what is read back, our reading and a second opinion.

#![expect(clippy::missing_panics_doc, reason = "panicking is what the targets are for")]

pub mod mutate;

use super::{
    BadBody, Body, Class, Coding, FieldNames, Forwarded, Framing, Limits, Request, RequestEdits, RequestView, Response,
    ResponseEdits, ResponseView, Step, Version,
    body::{trailer_fields, write_chunk_size, write_last_chunk, write_trailer},
    cookie, host, is_field_name, is_field_value, path,
    proxy_protocol::ProxyHeader,
    query,
    relay::{Pseudo, write_relayed_request, write_relayed_response},
    request::Asked,
    write_request, write_response,
};

/// A target of the fuzzer.
pub type Target = fn(&[u8]);

/// All targets by the names of their corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("request", request),
    ("response", response),
    ("chunks", chunks),
    ("cookie", cookie),
    ("query", query),
    ("path", path),
    ("proxy_protocol", proxy_protocol),
    ("relayed_request", relayed_request),
    ("relayed_response", relayed_response),
    ("trailers", trailers),
];

/// What parts of an input stand between, and what a name and its value do. Both are refused wherever they come.
const PART: u8 = 0x1e;
const VALUE: u8 = 0x1f;

/// Limits that short inputs reach.
const TIGHT: Limits = Limits { head: 200, line: 60, target: 30, fields: 5, names: FieldNames::Any };

/// Reads a request head, writes it for an endpoint, and reads that.
pub fn request(bytes: &[u8]) {
    for limits in [Limits::REQUEST, TIGHT] {
        let mut head = Request::new();
        let whole = head.read(bytes, &limits);
        pieces_equal_the_whole(bytes, &whole, |bytes| Request::new().read(bytes, &limits));
        let Ok(Some(length)) = whole else { continue };
        let view = head.view(bytes);
        let mut request = &bytes[..length];
        while let Some(rest) = request.strip_prefix(b"\r\n") {
            request = rest;
        }
        agrees_with_httparse(request, view, limits.names);

        let forwarded = Forwarded { client: b"::1", chain: b"::1", proto: b"http", port: b"80", host: b"" };
        let edits = RequestEdits { forwarded, request_id: b"1", ..RequestEdits::default() };
        let mut written = Vec::new();
        write_request(view, &edits, &mut written);
        let mut again = Request::new();
        let limits = Limits { head: 64 << 10, line: 9 << 10, fields: 256, ..Limits::REQUEST };
        if view.authority().is_empty() {
            // From HTTP/1.0, which needs no Host; what goes on says so, and we would not take it.
            assert!(written.windows(8).any(|line| line == b"\r\nHost: "));
            continue;
        }
        assert_eq!(again.read(&written, &limits), Ok(Some(written.len())), "{}", written.escape_ascii());
        let second = again.view(&written);
        assert_eq!(
            (view.method(), view.target(), view.authority(), view.framing(), view.upgrade()),
            (second.method(), second.target(), second.authority(), second.framing(), second.upgrade()),
        );
        assert!(second.fields().all(|(name, value)| is_field_name(name) && is_field_value(value)));
        let mut third = Vec::new();
        write_request(second, &edits, &mut third);
        assert!(third.len() < written.len() + 200 + 2 * view.authority().len());
    }
}

/// Reads a response head as the answer to several requests, writes it for the client, and reads that.
pub fn response(bytes: &[u8]) {
    let plain = Asked { keep_alive: true, ..Asked::default() };
    let head_only = Asked { head_only: true, ..plain };
    let upgrade = Asked { upgrade: true, ..plain };
    let old = Asked { version: Version::Http10, keep_alive: false, ..plain };
    for (asked, limits) in
        [(plain, Limits::RESPONSE), (plain, TIGHT), (head_only, TIGHT), (upgrade, Limits::RESPONSE), (old, TIGHT)]
    {
        let mut head = Response::new();
        let whole = head.read(bytes, asked, &limits);
        pieces_equal_the_whole(bytes, &whole, |bytes| Response::new().read(bytes, asked, &limits));
        let Ok(Some(_)) = whole else { continue };
        let view = head.view(bytes);
        for reframe in [false, true] {
            let edits = ResponseEdits { keep_alive: true, reframe, ..ResponseEdits::default() };
            let mut written = Vec::new();
            let delivery = write_response(view, asked, &edits, &mut written);
            if view.is_interim() && asked.version == Version::Http10 {
                assert!(written.is_empty());
                continue;
            }
            let mut again = Response::new();
            let limits = Limits { head: 128 << 10, line: 20 << 10, fields: 300, ..Limits::RESPONSE };
            assert_eq!(again.read(&written, asked, &limits), Ok(Some(written.len())), "{}", written.escape_ascii());
            let second = again.view(&written);
            assert_eq!(view.status(), second.status());
            if !view.is_interim() {
                assert_eq!(second.keep_alive() && plain == asked, delivery.keep_alive && plain == asked);
            }
            assert_eq!(second.framing(), delivered(view, delivery.coding, asked));
        }
    }
}

/// Feeds a chunked body in pieces, whole, and taken apart; the first byte says how long pieces are.
pub fn chunks(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let passed = pass(bytes, Coding::Pass, bytes.len().max(1));
    assert_eq!(pass(bytes, Coding::Pass, piece), passed);
    let decoded = pass(bytes, Coding::Decode, piece);
    match (passed, decoded) {
        (Ok((raw, payload, rest)), Ok((data, decoded, rest_of_decoded))) => {
            assert_eq!((payload, &rest), (decoded, &rest_of_decoded));
            assert_eq!(data.len() as u64, payload);
            assert_eq!([&raw[..], &rest].concat(), bytes, "what is passed is what came");
            let mut encoded = Vec::new();
            for chunk in data.chunks(piece) {
                write_chunk_size(chunk.len(), &mut encoded);
                encoded.extend_from_slice(chunk);
                encoded.extend_from_slice(b"\r\n");
            }
            write_last_chunk(b"", &mut encoded);
            let (again, ..) = pass(&encoded, Coding::Decode, piece).expect("our own chunks are good");
            assert_eq!(again, data);
        }
        (Err(passed), Err(decoded)) => assert_eq!(passed, decoded),
        (passed, decoded) => panic!("{passed:?} but {decoded:?}"),
    }
}

/// Looks for each cookie of a field by its name.
pub fn cookie(bytes: &[u8]) {
    for (name, value) in cookie::pairs(bytes) {
        let first = cookie::first(bytes, name).expect("the cookie is there");
        let any = cookie::first_in_any_case(bytes, name).expect("the cookie is there");
        assert!(first.len() <= bytes.len() && any.len() <= bytes.len());
        let single = [name, b"=", value].concat();
        assert_eq!(cookie::first(&single, name), Some(value));
    }
}

/// Looks for each pair of a query by its name.
pub fn query(bytes: &[u8]) {
    for (name, value) in query::pairs(bytes) {
        let decoded = query::decode(name);
        assert!(query::first(bytes, &decoded).is_some());
        assert!(query::decode(value).len() <= value.len());
    }
}

/// Gives a path its normal form, and that again.
pub fn path(bytes: &[u8]) {
    let mut scratch = Vec::new();
    let Ok(normal) = path::normalize(bytes, &mut scratch) else { return };
    assert!(normal.starts_with(b"/") && !normal.contains(&0));
    assert!(normal.split(|byte| *byte == b'/').all(|segment| segment != b"." && segment != b".."));
    assert!(!normal.windows(2).any(|pair| pair == b"//"));
    assert!(normal.len() <= bytes.len());
    if !normal.contains(&b'%') {
        let mut again = Vec::new();
        assert_eq!(path::normalize(normal, &mut again), Ok(normal));
    }
}

/// Reads a PROXY header, whole and in pieces.
pub fn proxy_protocol(bytes: &[u8]) {
    let read = |bytes: &[u8]| ProxyHeader::read(bytes).map(|header| header.map(|header| header.length));
    pieces_equal_the_whole(bytes, &read(bytes), read);
    let _ = (host::name(bytes), host::port(bytes));
}

/// Writes a head that came in frames and reads it: it has what was given, and nothing else.
///
/// The parts of an input are: what the body is (`e` for none), method, path, authority, protocol, then fields.
pub fn relayed_request(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == PART);
    let mut part = || parts.next().unwrap_or_default();
    let (ends, method, path, authority, protocol) = (part() == b"e", part(), part(), part(), part());
    let given: Vec<_> = parts.map(pair).collect();
    let pseudo = Pseudo {
        method,
        path,
        authority: (!authority.is_empty()).then_some(authority),
        tunnel: (!protocol.is_empty()).then_some((protocol, b"bm9uY2U=")),
    };
    let mut head = Vec::new();
    if write_relayed_request(pseudo, || given.iter().copied(), ends, &mut head).is_err() {
        return;
    }
    let mut request = Request::new();
    let limits = Limits { names: FieldNames::Any, ..Limits::REQUEST };
    let Ok(length) = request.read_relayed(&head, &limits) else { return };
    assert_eq!(length, head.len(), "what was written is one head: {}", head.escape_ascii());
    let view = request.view(&head);
    let tunnel = pseudo.tunnel.is_some();
    assert_eq!((view.method(), view.target()), (if tunnel { &b"GET"[..] } else { method }, path));

    // Whether its letters are those of the authority or of `Host` is of no account.
    let host = view.authority();
    let hosts = given.iter().filter(|(name, _)| Class::of(name) == Class::Host).map(|(_, value)| *value);
    assert!(hosts.chain(pseudo.authority).all(|given| given.eq_ignore_ascii_case(host)));
    let mut expected: Vec<(&[u8], &[u8])> = vec![(b"Host", host)];
    let joins = |name: &[u8]| matches!(Class::of(name), Class::Host | Class::Cookie);
    expected.extend(given.iter().filter(|(name, _)| !joins(name)));
    let crumbs: Vec<_> =
        given.iter().filter(|(name, _)| Class::of(name) == Class::Cookie).map(|(_, crumb)| *crumb).collect();
    let cookie = crumbs.join(&b"; "[..]);
    if !crumbs.is_empty() {
        expected.push((b"Cookie", &cookie));
    }
    if let Some((protocol, nonce)) = pseudo.tunnel {
        expected.extend([(&b"Connection"[..], &b"upgrade"[..]), (b"Upgrade", protocol), (b"Sec-WebSocket-Key", nonce)]);
    } else if !ends && !given.iter().any(|(name, _)| Class::of(name) == Class::ContentLength) {
        expected.push((b"Transfer-Encoding", b"chunked"));
    }
    assert_eq!(trimmed(view.fields()), trimmed(expected.into_iter()), "{}", head.escape_ascii());
}

/// Writes the head of an answer that came in frames and reads it: it has what was given, and nothing else.
///
/// The parts of an input are: two bytes for the status and the request, then fields.
pub fn relayed_response(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == PART);
    let [high, low, ..] = parts.next().unwrap_or_default() else { return };
    let status = 100 + (u16::from(*high) << 2 | u16::from(low & 3)) % 900;
    let (ends, head_only) = (low & 4 != 0, low & 8 != 0);
    let given: Vec<_> = parts.map(pair).collect();
    let mut head = Vec::new();
    if write_relayed_response(status, given.iter().copied(), ends, head_only, &mut head).is_err() {
        return;
    }
    let asked = Asked { keep_alive: true, head_only, ..Asked::default() };
    let mut response = Response::new();
    let Ok(Some(length)) = response.read(&head, asked, &Limits::RESPONSE) else { return };
    assert_eq!(length, head.len(), "what was written is one head: {}", head.escape_ascii());
    let view = response.view(&head);
    assert_eq!(view.status(), status);
    let mut expected = given.clone();
    let has_length = given.iter().any(|(name, _)| Class::of(name) == Class::ContentLength);
    if status >= 200 && !matches!(status, 204 | 304) && !has_length {
        match (ends, head_only) {
            (false, _) => expected.push((b"Transfer-Encoding", b"chunked")),
            (true, false) => expected.push((b"Content-Length", b"0")),
            (true, true) => {}
        }
    }
    assert_eq!(trimmed(view.fields()), trimmed(expected.into_iter()), "{}", head.escape_ascii());
}

/// Keeps trailers as lines, and reads them, by themselves and behind the last chunk: they are those that were kept.
pub fn trailers(bytes: &[u8]) {
    let mut lines = Vec::new();
    let given = bytes.split(|byte| *byte == PART).map(pair);
    let kept: Vec<_> = given.filter(|(name, value)| write_trailer(name, value, &mut lines)).collect();
    assert_eq!(trimmed(trailer_fields(&lines)), trimmed(kept.into_iter()));
    let mut last = Vec::new();
    write_last_chunk(&lines, &mut last);
    let mut body = Body::new(Framing::Chunked, Coding::Decode);
    let mut rest = &last[..];
    while !body.is_done() {
        match body.feed(rest) {
            Ok(Step { skip, pass }) => rest = &rest[skip + pass..],
            // Each may be a trailer; all of them may be too long.
            Err(_) => return assert!(lines.len() > 4096, "{}", lines.escape_ascii()),
        }
    }
    assert_eq!((body.trailers(), rest), (&lines[..], &b""[..]));
}

/// A name and its value.
fn pair(part: &[u8]) -> (&[u8], &[u8]) {
    let at = part.iter().position(|byte| *byte == VALUE).unwrap_or(part.len());
    (&part[..at], part.get(at + 1..).unwrap_or_default())
}

/// Fields without the white space around their values, which is no part of them, and without those with a `_`, of which
/// the reader drops some.
fn trimmed<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(&'a [u8], &'a [u8])> {
    let fields = fields.filter(|(name, _)| !name.contains(&b'_'));
    fields.map(|(name, value)| (name, value.trim_ascii())).collect()
}

/// Holds a reader to this: a prefix is incomplete, or fails like the whole.
fn pieces_equal_the_whole<E: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    whole: &Result<Option<usize>, E>,
    read: impl Fn(&[u8]) -> Result<Option<usize>, E>,
) {
    let step = (bytes.len() / 64).max(1);
    for end in (0..bytes.len()).step_by(step) {
        let piece = read(&bytes[..end]);
        match (whole, &piece) {
            (Ok(Some(length)), Ok(Some(read))) => assert!(length == read && *length <= end),
            (Ok(Some(length)), Ok(None)) => assert!(end < *length),
            (_, Ok(None)) => {}
            (whole, piece) => assert_eq!(whole, piece, "at {end}"),
        }
    }
}

/// Holds our reading of a request to that of httparse, which is more lenient and must see the same.
fn agrees_with_httparse(bytes: &[u8], view: RequestView<'_>, names: FieldNames) {
    let mut storage = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut storage);
    let Ok(read) = other.parse(bytes) else {
        // It takes no target that is not UTF-8, and fewer visible bytes in it than we do.
        return;
    };
    assert_eq!(read, httparse::Status::Complete(bytes.len()));
    assert_eq!(other.method.map(str::as_bytes), Some(view.method()));
    let target = other.path.expect("the head is complete").as_bytes();
    assert!(target.ends_with(view.target()) || view.path() == b"/" || view.target() == b"*");
    let theirs = other.headers.iter().filter(|field| names.keep(field.name.as_bytes()));
    let theirs: Vec<_> = theirs.map(|field| (field.name.as_bytes(), field.value.trim_ascii())).collect();
    if names == FieldNames::Plain {
        assert_eq!(view.fields().map(|(name, value)| (name, value.trim_ascii())).collect::<Vec<_>>(), theirs);
    }
}

/// How a body must be framed for the client.
fn delivered(view: ResponseView<'_>, coding: Coding, asked: Asked) -> Framing {
    match (view.framing(), coding) {
        (Framing::None, _) => Framing::None,
        (_, Coding::Chunk) => Framing::Chunked,
        (_, Coding::Decode) => {
            assert_eq!(asked.version, Version::Http10, "others take chunks");
            Framing::UntilClose
        }
        (framing, Coding::Pass) => framing,
    }
}

/// Feeds a chunked body in pieces; returns what passed, the payload's length, and what follows the body.
fn pass(bytes: &[u8], coding: Coding, piece: usize) -> Result<(Vec<u8>, u64, Vec<u8>), BadBody> {
    let mut body = Body::new(Framing::Chunked, coding);
    let (mut out, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        held.extend_from_slice(piece);
        while !held.is_empty() && !body.is_done() {
            let Step { skip, pass } = body.feed(&held)?;
            assert!((1..=held.len()).contains(&(skip + pass)), "some bytes are taken");
            out.extend_from_slice(&held[skip..skip + pass]);
            held.drain(..skip + pass);
        }
    }
    body.finish()?;
    Ok((out, body.payload(), held))
}

#[cfg(test)]
mod tests;
