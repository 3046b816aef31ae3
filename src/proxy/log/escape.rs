//! Bytes of strangers, made safe for a line.

/// Appends `text` as nginx's default escaping has it: what is not printable ASCII, `"` and `\` become `\xHH`.
pub(super) fn nginx(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    let mut rest = text;
    while let Some(at) = first_not(plain, rest) {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends `text` as the inside of a JSON string. What is not UTF-8 becomes U+FFFD.
pub(super) fn json(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for chunk in text.utf8_chunks() {
        let plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\') & (byte != 0x7f);
        let mut rest = chunk.valid().as_bytes();
        while let Some(at) = first_not(plain, rest) {
            let byte = rest[at];
            out.extend_from_slice(&rest[..at]);
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                _ => {
                    out.extend_from_slice(b"\\u00");
                    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
            }
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The position of the first byte that is not `plain`. Nearly all are, so it looks at several at once.
fn first_not(plain: impl Fn(u8) -> bool, text: &[u8]) -> Option<usize> {
    let all_plain = |chunk: &&[u8]| chunk.iter().fold(true, |all, byte| all & plain(*byte));
    let skipped: usize = text.chunks_exact(16).take_while(all_plain).map(<[u8]>::len).sum();
    text[skipped..].iter().position(|byte| !plain(*byte)).map(|at| skipped + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_escapes_quotes_backslashes_and_what_is_not_printable() {
        for (text, escaped) in [
            (&b"/a b?c=%22"[..], "/a b?c=%22"),
            (b"a\"b", r"a\x22b"),
            (b"\\", r"\x5C"),
            (b"sixteen plain ones, then \" and sixteen more", r"sixteen plain ones, then \x22 and sixteen more"),
            (b"0123456789abcdef0123456789abcdef\"", r"0123456789abcdef0123456789abcdef\x22"),
            (b"\r\n\0\x1f\x7f", r"\x0D\x0A\x00\x1F\x7F"),
            ("é".as_bytes(), r"\xC3\xA9"),
            (b"", ""),
        ] {
            let mut out = Vec::new();
            nginx(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), escaped);
        }
    }

    #[test]
    fn whatever_the_bytes_the_json_is_a_string() {
        for text in [&b"plain"[..], b"a\"b\\c\n\x7f\0", "é𝄞".as_bytes(), b"\xff\xc3(\xe2\x82"] {
            let mut out = vec![b'"'];
            json(&mut out, text);
            out.push(b'"');
            let read: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(read, String::from_utf8_lossy(text));
        }
    }
}
