//! Bodies: where they end, and what of their bytes is passed on.
//!
//! A [`Body`] is fed what comes from one side and says how much to skip and how much to pass. A body whose length is
//! known, or that ends with the connection, passes as it is. A chunked one passes with its framing, which is
//! validated to the byte ([`Coding::Pass`]), or without it ([`Coding::Decode`]). What has no length can be given chunks
//! on the way out ([`write_chunk_size`]).

use super::{Malformed, Refusal, field::Class, token};

/// The most bytes of extensions to a chunk's size, and of all extensions of a body.
const EXTENSION: u16 = 256;
const EXTENSIONS: u32 = 16 << 10;
/// The most bytes of trailers.
const TRAILERS: u16 = 8 << 10;

/// How a head says that its body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// After so many bytes, at least one.
    Length(u64),
    /// With the last chunk and the trailers.
    Chunked,
    /// When the sender closes the connection: responses only.
    UntilClose,
}

/// What is done to the framing on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Coding {
    /// Nothing: bytes pass as they came.
    #[default]
    Pass,
    /// Chunks are taken apart: what passes is the payload alone. Trailers are kept aside.
    Decode,
    /// As `Decode`, and what passes has to be made into chunks: the writer's part, by [`write_chunk_size`].
    Chunk,
}

/// A body on its way.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    payload: u64,
    decode: bool,
    /// The lines of the trailers, where chunks are taken apart.
    trailers: Vec<u8>,
}

/// What to do with the front of what was fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// So many bytes are framing to drop.
    pub skip: usize,
    /// So many bytes after them are to be passed on.
    pub pass: usize,
}

/// A body that cannot be what its head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadBody {
    /// A chunk's size, extension or end is not one.
    Chunk,
    /// A trailer that is not a field, is too long, or must not be one.
    Trailer,
    /// The sender closed the connection before the end.
    Truncated,
}

#[derive(Clone, Debug)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    Chunked(Chunked),
}

/// A place in a chunked body.
#[derive(Clone, Debug)]
struct Chunked {
    at: At,
    /// What is left of the chunk.
    left: u64,
    /// Bytes of this chunk's extensions, or of the trailers.
    line: u16,
    /// Bytes of all extensions.
    extensions: u32,
    /// The name of a trailer, as far as names matter, and its length.
    name: [u8; 25],
    name_len: u8,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// A digit of the size, of which there were so many.
    Size(u8),
    /// The first byte of an extension's name, then the others.
    ExtensionStart,
    Extension,
    /// The first byte of an extension's value, then the others: a token or a quoted string.
    ValueStart,
    Value,
    Quoted,
    Escaped,
    QuotedEnd,
    /// The line feed after the size.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a trailer, or of the empty line.
    Trailers,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

// === impl Body ===

impl Body {
    /// A body that is framed as a head says.
    #[must_use]
    pub fn new(framing: Framing, coding: Coding) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::UntilClose => State::UntilClose,
            Framing::Chunked => State::Chunked(Chunked::new()),
        };
        Self { state, payload: 0, decode: coding != Coding::Pass, trailers: Vec::new() }
    }

    /// No body, or the end of one.
    #[must_use]
    pub fn done() -> Self {
        Self::new(Framing::None, Coding::Pass)
    }

    /// Whether the body is complete: what follows is not part of it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The trailers of a body whose chunks were taken apart, when it is done: lines, each with its end.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// How many bytes of payload there were so far: framing does not count.
    #[must_use]
    pub fn payload(&self) -> u64 {
        self.payload
    }

    /// Takes the next bytes, of which there must be at least one, and says what to do with the front of them.
    ///
    /// What is neither skipped nor passed is to be fed again, with what follows. Where the body is not done, at least
    /// one byte is taken; where it is done, none is, and the rest is what follows the body.
    ///
    /// # Errors
    ///
    /// Where the bytes break the framing. Nothing of them may be passed on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Step, BadBody> {
        match &mut self.state {
            State::Done => Ok(Step::default()),
            State::UntilClose => {
                self.payload += bytes.len() as u64;
                Ok(Step { skip: 0, pass: bytes.len() })
            }
            State::Length(left) => {
                let pass = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= pass as u64;
                self.payload += pass as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(Step { skip: 0, pass })
            }
            State::Chunked(chunked) => {
                let (taken, data, done) = chunked.feed(bytes, self.decode.then_some(&mut self.trailers))?;
                if done {
                    self.state = State::Done;
                }
                if self.decode {
                    // The payload is always what was taken last.
                    self.payload += data as u64;
                    Ok(Step { skip: taken - data, pass: data })
                } else {
                    self.payload += data as u64;
                    Ok(Step { skip: 0, pass: taken })
                }
            }
        }
    }

    /// Takes note of the sender's end of the connection.
    ///
    /// # Errors
    ///
    /// Where the body is not complete without what can no longer come.
    pub fn finish(&mut self) -> Result<(), BadBody> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Length(_) | State::Chunked(_) => Err(BadBody::Truncated),
        }
    }
}

// === impl BadBody ===

impl From<BadBody> for Refusal {
    /// The refusal of a request whose body is bad.
    fn from(bad: BadBody) -> Self {
        Self::BadRequest(bad.malformed())
    }
}

impl BadBody {
    /// What is wrong, in the words of refusals.
    #[must_use]
    pub const fn malformed(self) -> Malformed {
        match self {
            Self::Chunk => Malformed::Chunk,
            Self::Trailer => Malformed::Trailer,
            Self::Truncated => Malformed::Truncated,
        }
    }
}

// === impl Chunked ===

impl Chunked {
    fn new() -> Self {
        Self { at: At::Size(0), left: 0, line: 0, extensions: 0, name: [0; 25], name_len: 0 }
    }

    /// Takes bytes, and returns how many were taken, how many of them are payload, and whether the body is done.
    ///
    /// Where there is a place for trailers, they go there, and it stops after the first run of payload.
    fn feed(&mut self, bytes: &[u8], mut trailers: Option<&mut Vec<u8>>) -> Result<(usize, usize, bool), BadBody> {
        let mut at = 0;
        let mut data = 0;
        while at < bytes.len() {
            if self.at == At::Data {
                let run = (bytes.len() - at).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= run as u64;
                at += run;
                data += run;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                if trailers.is_some() {
                    break;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if self.at == At::EndLf && byte == b'\n' {
                return Ok((at, data, true));
            }
            let before = self.at;
            self.at = self.next(byte)?;
            if let Some(trailers) = &mut trailers
                && (matches!(self.at, At::TrailerName | At::TrailerValue | At::TrailerLf) || before == At::TrailerLf)
            {
                trailers.push(byte);
            }
        }
        Ok((at, data, false))
    }

    /// Where `byte`, which is no payload, leads.
    fn next(&mut self, byte: u8) -> Result<At, BadBody> {
        let next = match (self.at, byte) {
            (At::Size(digits), _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                At::Size(digits + 1)
            }
            (At::Size(1..) | At::Extension | At::Value | At::QuotedEnd, b'\r') => At::SizeLf,
            (At::Size(1..) | At::Extension | At::Value | At::QuotedEnd, b';') => At::ExtensionStart,
            (At::ExtensionStart | At::Extension, _) if token::is(token::TOKEN, byte) => At::Extension,
            (At::Extension, b'=') => At::ValueStart,
            (At::ValueStart | At::Value, _) if token::is(token::TOKEN, byte) => At::Value,
            (At::ValueStart, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::QuotedEnd,
            (At::Quoted, b'\\') => At::Escaped,
            (At::Quoted | At::Escaped, b'\t' | b' '..=b'~' | 0x80..) => At::Quoted,
            (At::SizeLf, b'\n') => {
                self.line = 0;
                if self.left == 0 { At::Trailers } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0),
            (At::Trailers, b'\r') => At::EndLf,
            (At::Trailers | At::TrailerName, _) if token::is(token::TOKEN, byte) => {
                self.name_byte(byte);
                At::TrailerName
            }
            (At::TrailerName, b':') => {
                self.end_name()?;
                At::TrailerValue
            }
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerLf, b'\n') => At::Trailers,
            (At::Trailers | At::TrailerName | At::TrailerValue | At::TrailerLf | At::EndLf, _) => {
                return Err(BadBody::Trailer);
            }
            _ => return Err(BadBody::Chunk),
        };
        match next {
            At::ExtensionStart
            | At::Extension
            | At::ValueStart
            | At::Value
            | At::Quoted
            | At::Escaped
            | At::QuotedEnd => {
                self.line += 1;
                self.extensions += 1;
                if self.line > EXTENSION || self.extensions > EXTENSIONS {
                    return Err(BadBody::Chunk);
                }
            }
            At::Trailers | At::TrailerName | At::TrailerValue | At::TrailerLf => {
                self.line += 1;
                if self.line > TRAILERS {
                    return Err(BadBody::Trailer);
                }
            }
            _ => {}
        }
        Ok(next)
    }

    /// Keeps a byte of a trailer's name.
    fn name_byte(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(usize::from(self.name_len)) {
            *place = byte;
        }
        self.name_len = self.name_len.saturating_add(1);
    }

    /// Refuses a trailer of a name that says something about the message or its way: a receiver might believe it as if
    /// it stood in the head.
    fn end_name(&mut self) -> Result<(), BadBody> {
        let length = usize::from(std::mem::take(&mut self.name_len));
        match self.name.get(..length) {
            Some(name) if !may_trail(name) => Err(BadBody::Trailer),
            _ => Ok(()),
        }
    }
}

/// Whether a field may be a trailer (RFC 9110, 6.5.1).
pub(super) fn may_trail(name: &[u8]) -> bool {
    const NOT: &[&[u8]] = &[
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"range",
        b"set-cookie",
        b"www-authenticate",
    ];
    Class::of_folded(name) == Class::Plain && !NOT.iter().any(|not| token::is_word(name, not))
}

/// Appends the last chunk, the trailers and the end of a body. `trailers` are lines, each with its end.
pub fn write_last_chunk(trailers: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line of a trailer, unless it may not be one or could not be read back. Returns whether it did.
pub fn write_trailer(name: &[u8], value: &[u8], out: &mut Vec<u8>) -> bool {
    let good = token::is_field_name(name) && token::is_field_value(value) && may_trail(name);
    if good {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    good
}

/// Names and values of trailers that were kept as lines.
pub fn trailer_fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// Appends the line that starts a chunk of `size` bytes, which must not be 0. CRLF must follow the bytes.
pub fn write_chunk_size(size: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[size >> (4 * digit) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a body in pieces, and returns what passed and what follows it.
    fn pass(input: &[u8], coding: Coding, piece: usize) -> Result<(Vec<u8>, Vec<u8>), BadBody> {
        let mut body = Body::new(Framing::Chunked, coding);
        let (mut out, mut held) = (Vec::new(), Vec::new());
        for piece in input.chunks(piece) {
            held.extend_from_slice(piece);
            while !held.is_empty() && !body.is_done() {
                let Step { skip, pass } = body.feed(&held)?;
                assert!(skip + pass > 0);
                out.extend_from_slice(&held[skip..skip + pass]);
                held.drain(..skip + pass);
            }
        }
        body.finish()?;
        Ok((out, held))
    }

    #[test]
    fn chunks_pass_with_or_without_their_framing() {
        let input = b"5;a=b;c=\"d\\\"\"\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        for piece in 1..input.len() {
            let (out, rest) = pass(input, Coding::Pass, piece).expect("the body is good");
            assert_eq!((&out[..], &rest[..]), (&input[..input.len() - 3], &b"GET"[..]));
            let (out, rest) = pass(input, Coding::Decode, piece).expect("the body is good");
            assert_eq!((&out[..], &rest[..]), (&b"hello world"[..], &b"GET"[..]));
        }
    }

    #[test]
    fn trailers_are_kept_aside_where_chunks_are_taken_apart() {
        let input = b"1\r\nx\r\n0\r\nX-Sum: 1\r\ngrpc-status:  0 \r\n\r\n";
        for piece in 1..input.len() {
            let mut body = Body::new(Framing::Chunked, Coding::Decode);
            for mut bytes in input.chunks(piece) {
                while !bytes.is_empty() {
                    let Step { skip, pass } = body.feed(bytes).expect("the body is good");
                    bytes = &bytes[skip + pass..];
                }
            }
            assert!(body.is_done());
            assert_eq!(body.trailers(), b"X-Sum: 1\r\ngrpc-status:  0 \r\n");
            let fields: Vec<_> = trailer_fields(body.trailers()).collect();
            assert_eq!(fields, [(&b"X-Sum"[..], &b"1"[..]), (b"grpc-status", b"0")]);
        }
    }

    #[test]
    fn what_is_written_as_a_trailer_can_be_read_as_one() {
        let mut out = Vec::new();
        assert!(write_trailer(b"grpc-status", b"0", &mut out));
        for (name, value) in
            [(&b"content-length"[..], &b"5"[..]), (b"a b", b"c"), (b"a", b"b\r\nc: d"), (b"host", b"h")]
        {
            assert!(!write_trailer(name, value, &mut out));
        }
        let mut body = b"0\r\n".to_vec();
        body.extend_from_slice(&out);
        body.extend_from_slice(b"\r\n");
        assert!(pass(&body, Coding::Pass, 1).is_ok());
        let mut last = Vec::new();
        write_last_chunk(&out, &mut last);
        assert_eq!(last, body);
    }

    #[test]
    fn chunks_that_can_be_read_in_two_ways_are_refused() {
        for (input, bad) in [
            (&b"\r\n"[..], BadBody::Chunk),
            (b"g\r\n", BadBody::Chunk),
            (b"+5\r\nhello\r\n0\r\n\r\n", BadBody::Chunk),
            (b"0x5\r\nhello\r\n0\r\n\r\n", BadBody::Chunk),
            (b" 5\r\nhello\r\n0\r\n\r\n", BadBody::Chunk),
            (b"5 \r\nhello\r\n0\r\n\r\n", BadBody::Chunk),
            (b"5\nhello\r\n0\r\n\r\n", BadBody::Chunk),
            (b"5\r\nhello\n0\r\n\r\n", BadBody::Chunk),
            (b"5\r\nhelloX\r\n0\r\n\r\n", BadBody::Chunk),
            (b"5\r\nhell\r\n0\r\n\r\n", BadBody::Chunk),
            (b"5;a\nb\r\nhello\r\n0\r\n\r\n", BadBody::Chunk),
            (b"5;\r\nhello\r\n0\r\n\r\n", BadBody::Chunk),
            (b"fffffffffffffffff\r\n", BadBody::Chunk),
            (b"0\r\nContent-Length: 5\r\n\r\n", BadBody::Trailer),
            (b"0\r\nX_Forwarded_For: 1\r\n\r\n", BadBody::Trailer),
            (b"0\r\nA : 1\r\n\r\n", BadBody::Trailer),
            (b"0\r\n A: 1\r\n\r\n", BadBody::Trailer),
            (b"0\r\nA: 1\n\r\n", BadBody::Trailer),
            (b"0\r\n\n", BadBody::Trailer),
            (b"5\r\nhel", BadBody::Truncated),
            (b"0\r\n", BadBody::Truncated),
        ] {
            assert_eq!(pass(input, Coding::Pass, 1).unwrap_err(), bad, "{:?}", input.escape_ascii().to_string());
            assert_eq!(pass(input, Coding::Decode, 3).unwrap_err(), bad, "{:?}", input.escape_ascii().to_string());
        }
    }
}
