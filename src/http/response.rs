//! Response heads of HTTP/1.0 and 1.1, read where they lie.
//!
//! As strict as requests: an endpoint whose answer could be read in two ways must not get to choose which.

use super::{
    Limits, Malformed, Refusal,
    body::Framing,
    field::{self, Class, Field, Line, Span, Stop},
    request::{Asked, Version},
    token::{self, is_word},
};

/// A response head that was read: places in a buffer, and what they mean. Made once and used for many heads.
#[derive(Clone, Debug, Default)]
pub struct Response {
    status: u16,
    reason: Span,
    framing: Framing,
    version: Version,
    keep_alive: bool,
    pub(super) upgrade: Option<Span>,
    pub(super) has_date: bool,
    pub(super) fields: Vec<Field>,
}

/// A response head and the buffer that it was read from.
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'a> {
    pub(super) head: &'a Response,
    pub(super) bytes: &'a [u8],
}

// === impl Response ===

impl Response {
    /// Empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the head at the front of `bytes`, which answers the request that is described by `asked`. Returns its
    /// length, or `None` where it goes on after them.
    ///
    /// # Errors
    ///
    /// [`Refusal::BadUpstream`] where the bytes are no head. The connection must not be used again.
    pub fn read(&mut self, bytes: &[u8], asked: Asked, limits: &Limits) -> Result<Option<usize>, Refusal> {
        let head = bytes.get(..limits.head).unwrap_or(bytes);
        match self.read_head(head, asked, limits) {
            Ok(end) => Ok(Some(end)),
            Err(Stop::Partial) if bytes.len() < limits.head => Ok(None),
            Err(Stop::Partial | Stop::TooLarge) => Err(Refusal::BadUpstream(Malformed::TooLarge)),
            Err(Stop::Malformed(malformed)) => Err(Refusal::BadUpstream(malformed)),
        }
    }

    /// Shows the head that was read last from the front of `bytes`.
    #[must_use]
    pub fn view<'a>(&'a self, bytes: &'a [u8]) -> ResponseView<'a> {
        ResponseView { head: self, bytes }
    }

    fn read_head(&mut self, bytes: &[u8], asked: Asked, limits: &Limits) -> Result<usize, Stop> {
        self.fields.clear();
        self.has_date = false;
        let mut at = self.read_status_line(bytes, limits)?;
        let (mut length, mut chunked, mut close, mut keep_alive, mut nominates) = (None, false, false, false, false);
        self.upgrade = None;
        let mut dropped = 0;
        loop {
            let (line, next) = field::read_line(bytes, at, limits)?;
            at = next;
            let field = match line {
                Line::Field(_) | Line::Dropped if self.fields.len() + dropped == limits.fields => {
                    return Err(Stop::TooLarge);
                }
                Line::Field(field) => field,
                Line::Dropped => {
                    dropped += 1;
                    continue;
                }
                Line::End => break,
            };
            self.fields.push(field);
            let value = field.value.of(bytes);
            match field.class {
                Class::ContentLength => {
                    let number = token::decimal(value).filter(|_| !field.has_tabs_around(bytes));
                    let number = number.ok_or(Malformed::ContentLength)?;
                    if length.replace(number).is_some() {
                        return Err(Malformed::ContentLength.into());
                    }
                }
                Class::TransferEncoding => {
                    let valid = is_word(value, b"chunked") && !field.has_tabs_around(bytes);
                    if !valid || chunked || self.version == Version::Http10 {
                        return Err(Malformed::TransferEncoding.into());
                    }
                    chunked = true;
                }
                Class::Connection => {
                    for name in token::elements(value) {
                        if is_word(name, b"close") {
                            close = true;
                        } else if is_word(name, b"keep-alive") {
                            keep_alive = true;
                        } else {
                            nominates = true;
                        }
                    }
                }
                Class::Upgrade => self.upgrade = Some(field.value),
                Class::Date => self.has_date = true,
                _ => {}
            }
        }
        if chunked && length.is_some() {
            return Err(Malformed::Ambiguous.into());
        }
        if nominates {
            field::nominate(bytes, &mut self.fields, Class::ends_in_response)?;
            self.has_date = self.fields.iter().any(|field| field.class == Class::Date);
        }
        self.keep_alive = if self.version == Version::Http11 { !close } else { keep_alive && !close };
        self.framing = match self.status {
            101 if !asked.upgrade || self.upgrade.is_none() => return Err(Malformed::Upgrade.into()),
            101 => Framing::UntilClose,
            // Neither has a body. One that is announced in spite of that may follow all the same.
            100..200 | 204 => {
                self.keep_alive &= !chunked && matches!(length, None | Some(0));
                Framing::None
            }
            304 => Framing::None,
            _ if asked.head_only => Framing::None,
            _ if chunked => Framing::Chunked,
            _ => match length {
                Some(0) => Framing::None,
                Some(length) => Framing::Length(length),
                None => Framing::UntilClose,
            },
        };
        self.keep_alive &= self.framing != Framing::UntilClose;
        Ok(at)
    }

    /// Reads the status line, and returns the place after it.
    fn read_status_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Stop> {
        let Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', code @ ..]) =
            bytes.first_chunk::<12>()
        else {
            return Err(if bytes.len() < 12 { Self::partial(bytes) } else { Malformed::Status.into() });
        };
        let [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] = code else { return Err(Malformed::Status.into()) };
        self.version = if *minor == b'1' { Version::Http11 } else { Version::Http10 };
        self.status = code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        let start = match bytes.get(12) {
            Some(b' ') => 13,
            Some(b'\r') => 12,
            Some(_) => return Err(Malformed::Status.into()),
            None => return Err(Stop::Partial),
        };
        let end = token::first_control(bytes, start);
        if end > limits.line {
            return Err(Stop::TooLarge);
        }
        self.reason = Span::new(start, end);
        field::read_crlf(bytes, end, Malformed::Status)
    }

    /// Whether less than a version and a status may become one.
    fn partial(bytes: &[u8]) -> Stop {
        let fits = |(at, byte): (usize, &u8)| match at {
            7 => matches!(byte, b'0' | b'1'),
            9 => matches!(byte, b'1'..=b'9'),
            10.. => byte.is_ascii_digit(),
            _ => *byte == b"HTTP/1.x "[at],
        };
        if bytes.iter().enumerate().all(fits) { Stop::Partial } else { Malformed::Status.into() }
    }
}

// === impl ResponseView ===

impl<'a> ResponseView<'a> {
    #[must_use]
    pub fn status(self) -> u16 {
        self.head.status
    }

    /// The words after the status, as received.
    #[must_use]
    pub fn reason(self) -> &'a [u8] {
        self.head.reason.of(self.bytes)
    }

    #[must_use]
    pub fn version(self) -> Version {
        self.head.version
    }

    /// How the body is framed. After [`ResponseView::switches`], all that follows is the other protocol's.
    #[must_use]
    pub fn framing(self) -> Framing {
        self.head.framing
    }

    /// Whether the connection to the endpoint can be used again once the body is complete.
    #[must_use]
    pub fn keep_alive(self) -> bool {
        self.head.keep_alive
    }

    /// Whether this is an interim answer (1xx but 101), after which another head follows.
    #[must_use]
    pub fn is_interim(self) -> bool {
        self.head.status < 200 && self.head.status != 101
    }

    /// Whether both sides switch to another protocol (101).
    #[must_use]
    pub fn switches(self) -> bool {
        self.head.status == 101
    }

    /// Names and values of the fields, in their order. Values are trimmed.
    pub fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.head.fields.iter().map(move |field| (field.name.of(self.bytes), field.value.of(self.bytes)))
    }

    /// The value of the first field of a name, in any case.
    #[must_use]
    pub fn field(self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests;
