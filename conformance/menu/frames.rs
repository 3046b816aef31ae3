//! Frames of HTTP/2 that no library would send: from a text that can be read, and back as far as these tests must.
//!
//! ```text
//! HEADERS 1 end_stream          a frame, its stream and its flags (END_HEADERS is set unless `more` follows)
//!   :method = GET               a field, in bytes that need not be one, as a literal without any index
//! DATA 1 end_stream | hello     a frame with its payload
//! RAW 8 0 1 | \0\0\0\0          a frame of any type, with its flags, its stream and its payload
//! BYTES | HTTP/1.1 200 OK       no frame at all, and nothing but it
//! ```
//!
//! `S` for a stream is the one of the request that is answered.

use crate::case::unescape;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The reasons that streams and connections end for, by their numbers (RFC 9113, 7).
const REASONS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// A frame that has come.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What `lines` say, with `stream` for `S`.
pub(crate) fn encode(lines: &[String], stream: u32) -> Vec<u8> {
    if let [bytes] = lines
        && let Some(bytes) = bytes.strip_prefix("BYTES | ")
    {
        return unescape(bytes);
    }
    let mut frames: Vec<Frame> = Vec::new();
    for line in lines {
        if let Some(field) = line.strip_prefix("  ") {
            let (name, value) = field.split_once(" =").unwrap_or_else(|| panic!("no field: {line}"));
            let value = value.strip_prefix(' ').unwrap_or(value);
            let fields = &mut frames.last_mut().expect("a frame comes before its fields").payload;
            put_field(&unescape(name), &unescape(value), fields);
            continue;
        }
        let (head, payload) = line.split_once(" | ").unwrap_or((line, ""));
        let words: Vec<_> = head.split(' ').collect();
        let number = |word: &str| if word == "S" { stream } else { word.parse().expect("a stream is a number") };
        let flag = |name: &str, bit: u8| if words.contains(&name) { bit } else { 0 };
        let ends = flag("end_stream", END_STREAM);
        let whole = END_HEADERS - flag("more", END_HEADERS);
        let payload = unescape(payload);
        frames.push(match words[0] {
            "HEADERS" => Frame { kind: HEADERS, flags: ends | whole, stream: number(words[1]), payload },
            "CONTINUATION" => Frame { kind: CONTINUATION, flags: whole, stream: number(words[1]), payload },
            "DATA" => Frame { kind: DATA, flags: ends, stream: number(words[1]), payload },
            "RAW" => {
                let byte = |word: &str| word.parse().expect("a type and flags are numbers");
                Frame { kind: byte(words[1]), flags: byte(words[2]), stream: number(words[3]), payload }
            }
            other => panic!("no frame: {other}"),
        });
    }
    frames.iter().flat_map(Frame::to_bytes).collect()
}

/// Adds a field as a literal without indexing, with a name of its own (RFC 7541, 6.2.2).
pub(crate) fn put_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(length) if length < 127 => out.push(length),
            _ => {
                out.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    out.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                out.push(rest as u8);
            }
        }
        out.extend_from_slice(text);
    }
}

/// The name of a reason.
pub(crate) fn reason(payload: &[u8]) -> String {
    let number = payload.first_chunk().map_or(u32::MAX, |bytes| u32::from_be_bytes(*bytes));
    REASONS.get(number as usize).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

// === impl Frame ===

impl Frame {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], self.kind, self.flags];
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Takes a whole frame from the front of what has come.
    pub(crate) fn take(bytes: &mut Vec<u8>) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let (kind, flags, stream) = (*kind, *flags, u32::from_be_bytes(*stream));
        let payload = bytes.get(9..9 + length)?.to_vec();
        bytes.drain(..9 + length);
        Some(Self { kind, flags, stream, payload })
    }

    pub(crate) fn is_data(&self) -> bool {
        self.kind == DATA
    }

    pub(crate) fn is_headers(&self) -> bool {
        self.kind == HEADERS
    }

    pub(crate) fn ends_stream(&self) -> bool {
        self.kind <= HEADERS && self.flags & END_STREAM != 0
    }

    /// The status of an answer, which its encoder puts first: as an index, or as digits by themselves or Huffman coded
    /// (RFC 7541, 6). The encoder was told to keep no table. None where the block is one of trailers.
    pub(crate) fn status(&self) -> Option<u16> {
        if !self.is_headers() {
            return None;
        }
        let mut block = &self.payload[..];
        while let [first, rest @ ..] = block
            && first >> 5 == 1
        {
            block = rest;
        }
        match block {
            [index @ 0x88..=0x8e, ..] => Some([200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)]),
            [0x08 | 0x48 | 0x18, length, digits @ ..] if length & 0x80 == 0 => {
                std::str::from_utf8(digits.get(..usize::from(*length))?).ok()?.parse().ok()
            }
            [0x08 | 0x48 | 0x18, length, digits @ ..] => {
                digits_of(digits.get(..usize::from(length & 0x7f))?).parse().ok()
            }
            _ => None,
        }
    }
}

/// Digits in the code of HPACK (RFC 7541, appendix B): 0 to 2 in five bits, the others in six.
fn digits_of(code: &[u8]) -> String {
    let bits: Vec<_> = code.iter().flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1))).collect();
    let mut bits = &bits[..];
    let number = |bits: &[usize]| bits.iter().fold(0, |number, bit| number * 2 + bit);
    let mut digits = String::new();
    while bits.len() >= 5 {
        let (digit, length) = match number(&bits[..5]) {
            short @ 0..=2 => (short, 5),
            _ if bits.len() >= 6 && (25..=31).contains(&number(&bits[..6])) => (number(&bits[..6]) - 22, 6),
            _ => break,
        };
        digits += &digit.to_string();
        bits = &bits[length..];
    }
    digits
}

#[test]
fn a_status_is_read_in_each_form() {
    let of = |payload: &[u8]| Frame { kind: HEADERS, flags: 0, stream: 1, payload: payload.to_vec() }.status();
    assert_eq!(of(&[0x88]), Some(200));
    assert_eq!(of(&[0x20, 0x8c, 0x00]), Some(400), "after an update of the table's size");
    assert_eq!(of(b"\x08\x03502"), Some(502));
    // `302` from RFC 7541, C.6.1.
    assert_eq!(of(&[0x48, 0x82, 0x64, 0x02]), Some(302));
}
