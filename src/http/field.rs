//! The fields of a head: where they are, and what their names mean.
//!
//! A field is read once. What its name means is found then, and every later step looks at the [`Class`] instead of the
//! name. Places are offsets into the buffer, so that an index of fields can be kept without borrowing it.

use super::{
    refusal::Malformed,
    token::{self, PLAIN, is_name, is_word},
};

/// How much a head may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The most bytes of a head, its empty line included.
    pub head: usize,
    /// The most bytes of a field line.
    pub line: usize,
    /// The most bytes of a request target.
    pub target: usize,
    /// The most fields, those that are dropped among them.
    pub fields: usize,
    /// Which fields are kept.
    pub names: FieldNames,
}

/// Which fields are kept, by what their names are made of. Others are dropped without a word, as by nginx, since some
/// applications cannot tell `X_Real_IP` or `X.Real.IP` from `X-Real-IP`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldNames {
    /// Letters, digits and hyphens.
    Plain,
    /// Underscores, too.
    Underscores,
    /// Any token.
    Any,
}

/// What the name of a field means.
///
/// The classes say who the field is for: it is passed on ([`Class::Plain`] and those that only readers look for), it is
/// about this connection and ends here, or the gateway says the same itself and a client's word is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Passed on.
    Plain,
    /// Passed on; a reader of `Cookie` or HTTP/2 looks for it.
    Cookie,
    Accept,
    ContentType,
    Date,
    /// W3C trace context: passed on, or replaced where the client's is not valid.
    Traceparent,
    Tracestate,

    /// The framing of the body: written anew.
    ContentLength,
    TransferEncoding,
    /// Written anew.
    Host,
    /// About this connection; it may name other fields that are.
    Connection,
    /// About this connection, written anew where both sides switch protocols.
    Upgrade,
    Expect,
    /// Announces trailers: passed on where they are.
    Trailer,
    /// About this connection: `Keep-Alive`, `TE`, `Proxy-Connection`, `Proxy-Authorization`, `HTTP2-Settings`.
    HopByHop,
    /// Named by the client's or endpoint's `Connection`.
    Nominated,

    /// `X-Request-ID`: the client's own, if usable, comes back by way of the edits.
    RequestId,
    /// `X-Forwarded-For`: passed on as `X-Original-Forwarded-For`.
    ForwardedFor,
    /// `X-Forwarded-Host`: passed on as `X-Original-Forwarded-Host`.
    ForwardedHost,
    /// Said by the gateway alone: the other `X-Forwarded-…` fields, `Forwarded`, `X-Real-IP`, `X-Scheme`,
    /// `X-Original-Forwarded-…`.
    Ours,
    /// `Proxy`, which CGI applications take for a setting (httpoxy).
    Proxy,
    /// `Server` of a response, which is nobody's business.
    Server,
}

/// A part of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// A field of a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub name: Span,
    pub value: Span,
    pub class: Class,
    /// Whether the line is written as we would write it: one space after the colon and none at the end.
    pub tidy: bool,
}

/// Why reading stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The head goes on.
    Partial,
    /// It is longer, or has more fields, than the limits.
    TooLarge,
    Malformed(Malformed),
}

/// One line of a block of fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Field(Field),
    /// A field that is left out, since its name has an underscore.
    Dropped,
    /// The empty line that ends the block.
    End,
}

// === impl Limits ===

impl Limits {
    /// The defaults for requests. nginx takes lines of 8 KiB and 32 KiB in all.
    pub const REQUEST: Self =
        Self { head: 32 << 10, line: 8 << 10, target: 8 << 10, fields: 128, names: FieldNames::Plain };

    /// The defaults for responses, whose senders are trusted further.
    pub const RESPONSE: Self = Self { head: 64 << 10, line: 16 << 10, target: 0, fields: 256, names: FieldNames::Any };
}

impl Default for Limits {
    fn default() -> Self {
        Self::REQUEST
    }
}

// === impl FieldNames ===

impl FieldNames {
    /// What a client may send, with underscores or without.
    #[must_use]
    pub const fn of_clients(underscores: bool) -> Self {
        if underscores { Self::Underscores } else { Self::Plain }
    }

    /// Whether a field of this name, a token, is kept.
    #[must_use]
    pub fn keep(self, name: &[u8]) -> bool {
        match self {
            Self::Plain => name.iter().all(|byte| token::is(PLAIN, *byte)),
            Self::Underscores => name.iter().all(|byte| token::is(PLAIN, *byte) || *byte == b'_'),
            Self::Any => true,
        }
    }
}

// === impl Class ===

impl Class {
    /// What the name of a field, a token, means in any case. Most names are told apart by length and first letter.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        match (name.len(), name.first().map_or(0, |byte| byte | 0x20)) {
            (2, b't') if is_name(name, b"te") => Self::HopByHop,
            (4, b'h') if is_name(name, b"host") => Self::Host,
            (4, b'd') if is_name(name, b"date") => Self::Date,
            (5, b'p') if is_name(name, b"proxy") => Self::Proxy,
            (6, b'c') if is_name(name, b"cookie") => Self::Cookie,
            (6, b'a') if is_name(name, b"accept") => Self::Accept,
            (6, b'e') if is_name(name, b"expect") => Self::Expect,
            (6, b's') if is_name(name, b"server") => Self::Server,
            (7, b'u') if is_name(name, b"upgrade") => Self::Upgrade,
            (7, b't') if is_name(name, b"trailer") => Self::Trailer,
            (8, b'x') if is_name(name, b"x-scheme") => Self::Ours,
            (9, b'x') if is_name(name, b"x-real-ip") => Self::Ours,
            (9, b'f') if is_name(name, b"forwarded") => Self::Ours,
            (10, b'c') if is_name(name, b"connection") => Self::Connection,
            (10, b'k') if is_name(name, b"keep-alive") => Self::HopByHop,
            (10, b't') if is_name(name, b"tracestate") => Self::Tracestate,
            (11, b't') if is_name(name, b"traceparent") => Self::Traceparent,
            (12, b'x') if is_name(name, b"x-request-id") => Self::RequestId,
            (12, b'c') if is_name(name, b"content-type") => Self::ContentType,
            (14, b'c') if is_name(name, b"content-length") => Self::ContentLength,
            (14, b'h') if is_name(name, b"http2-settings") => Self::HopByHop,
            (15, b'x') if is_name(name, b"x-forwarded-for") => Self::ForwardedFor,
            (16, b'x') if is_name(name, b"x-forwarded-host") => Self::ForwardedHost,
            (16, b'x') if is_name(name, b"x-forwarded-port") => Self::Ours,
            (16, b'p') if is_name(name, b"proxy-connection") => Self::HopByHop,
            (17, b't') if is_name(name, b"transfer-encoding") => Self::TransferEncoding,
            (17, b'x') if is_name(name, b"x-forwarded-proto") => Self::Ours,
            (18, b'x') if is_name(name, b"x-forwarded-scheme") => Self::Ours,
            (18, b'x') if is_name(name, b"x-forwarded-prefix") => Self::Ours,
            (19, b'p') if is_name(name, b"proxy-authorization") => Self::HopByHop,
            (24, b'x') if is_name(name, b"x-original-forwarded-for") => Self::Ours,
            (25, b'x') if is_name(name, b"x-original-forwarded-host") => Self::Ours,
            _ => Self::Plain,
        }
    }

    /// What a name means to an application that takes `_` for `-`.
    pub(super) fn of_folded(name: &[u8]) -> Self {
        let mut folded = [0; 25];
        let Some(folded) = folded.get_mut(..name.len()) else { return Self::Plain };
        folded.copy_from_slice(name);
        for byte in &mut *folded {
            if *byte == b'_' {
                *byte = b'-';
            }
        }
        Self::of(folded)
    }

    /// Whether a field of this class is passed on as it is.
    #[inline]
    pub(super) const fn passes(self) -> bool {
        matches!(
            self,
            Self::Plain
                | Self::Cookie
                | Self::Accept
                | Self::ContentType
                | Self::Date
                | Self::Traceparent
                | Self::Tracestate
        )
    }

    /// Whether a request's `Connection` can name fields of this class: all that would be passed on. What is read here,
    /// or said by the gateway in its place, cannot be named away.
    pub(super) const fn ends_in_request(self) -> bool {
        self.passes() || matches!(self, Self::Trailer | Self::Server)
    }

    /// As [`Class::ends_in_request`], of a response, where few names mean anything.
    pub(super) const fn ends_in_response(self) -> bool {
        !matches!(self, Self::ContentLength | Self::TransferEncoding | Self::Connection | Self::Upgrade)
    }
}

// === impl Span ===

impl Span {
    /// A span between places in a buffer, which limits keep far below 4 GiB.
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The part of `bytes`; empty where they are too short.
    #[inline]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

// === impl Field ===

impl Field {
    /// The whole line with its end, which is meaningful for tidy fields only.
    #[inline]
    pub(super) fn line(&self) -> Span {
        Span { start: self.name.start, end: self.value.end + 2 }
    }

    /// Whether there are tabs around the value, which some parsers take for a part of it.
    pub(super) fn has_tabs_around(&self, bytes: &[u8]) -> bool {
        let before = Span { start: self.name.end + 1, end: self.value.start }.of(bytes);
        let after = bytes.get(self.value.end as usize..).unwrap_or_default();
        before.contains(&b'\t') || after.iter().find(|byte| **byte != b' ') == Some(&b'\t')
    }
}

// === impl Stop ===

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads the line at `at`, and returns it with the place after it.
///
/// # Errors
///
/// Faults are found in the order of the bytes, so that a head which comes in pieces is refused for the same reason as
/// one that comes whole.
#[inline(always)]
pub(super) fn read_line(bytes: &[u8], at: usize, limits: &Limits) -> Result<(Line, usize), Stop> {
    let (colon, kinds) = token::token_end(bytes, at);
    if colon - at > limits.line {
        return Err(Stop::TooLarge);
    }
    match bytes.get(colon) {
        None => return Err(Stop::Partial),
        Some(b':') if colon > at => {}
        Some(_) => return read_end(bytes, at, colon),
    }

    let mut start = colon + 1;
    while let Some(b' ' | b'\t') = bytes.get(start) {
        start += 1;
    }
    let end = token::first_control(bytes, start);
    if end - at > limits.line {
        return Err(Stop::TooLarge);
    }
    let next = read_crlf(bytes, end, Malformed::Value)?;
    let mut trimmed = end;
    while trimmed > start && matches!(bytes[trimmed - 1], b' ' | b'\t') {
        trimmed -= 1;
    }

    let name = &bytes[at..colon];
    let class = if kinds & PLAIN != 0 {
        Class::of(name)
    } else if !limits.names.keep(name) || !Class::of_folded(name).passes() {
        return Ok((Line::Dropped, next));
    } else {
        Class::Plain
    };
    let tidy = trimmed == end && start == colon + 2 && bytes[colon + 1] == b' ';
    Ok((Line::Field(Field { name: Span::new(at, colon), value: Span::new(start, trimmed), class, tidy }), next))
}

/// Reads the empty line at `at`, where no field name ends at `stop`, or says what is wrong with it.
fn read_end(bytes: &[u8], at: usize, stop: usize) -> Result<(Line, usize), Stop> {
    match bytes[stop] {
        b'\r' | b'\n' if stop == at => Ok((Line::End, read_crlf(bytes, at, Malformed::Name)?)),
        b' ' | b'\t' if stop == at => Err(Malformed::Fold.into()),
        b' ' | b'\t' => Err(Malformed::SpaceBeforeColon.into()),
        b'\n' if bytes.get(stop.wrapping_sub(1)) != Some(&b'\r') => Err(Malformed::BareLf.into()),
        _ => Err(Malformed::Name.into()),
    }
}

/// Reads the line end at `at`, and returns the place after it; any other byte there is the fault `otherwise`.
#[inline]
pub(super) fn read_crlf(bytes: &[u8], at: usize, otherwise: Malformed) -> Result<usize, Stop> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(at + 2),
        (None, _) | (Some(b'\r'), None) => Err(Stop::Partial),
        (Some(b'\r'), Some(_)) => Err(Malformed::BareCr.into()),
        (Some(b'\n'), _) => Err(Malformed::BareLf.into()),
        _ => Err(otherwise.into()),
    }
}

/// Marks the fields that `Connection` names, of the classes that `ends` says: they are for this connection, and end here
/// (RFC 9110, 7.6.1).
///
/// So a client can have its own `Cookie` or `Authorization` left out, as if it had not sent them. That is known, and
/// harms only applications that take an absent field for a permission; what the gateway itself says cannot be named. The
/// gateway is whom such a field is for, so that rules of canaries still see it.
///
/// Trailers are not looked for: they pass with the framing of their chunks, and [`super::body`] refuses those of names
/// that mean something here.
///
/// # Errors
///
/// Where more than 32 fields are named, since each name costs a look at every field.
pub(super) fn nominate(bytes: &[u8], fields: &mut [Field], ends: impl Fn(Class) -> bool) -> Result<(), Malformed> {
    let mut names = 0;
    for at in 0..fields.len() {
        if fields[at].class != Class::Connection {
            continue;
        }
        for name in token::elements(fields[at].value.of(bytes)) {
            if is_word(name, b"close") || is_word(name, b"keep-alive") || is_word(name, b"upgrade") {
                continue;
            }
            names += 1;
            if names > 32 {
                return Err(Malformed::Connection);
            }
            for field in &mut *fields {
                if ends(field.class) && field.name.of(bytes).eq_ignore_ascii_case(name) {
                    field.class = Class::Nominated;
                }
            }
        }
    }
    Ok(())
}
