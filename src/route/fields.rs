//! Reads single fields, cookies and parameters out of a request, as nginx's variables do.

use std::borrow::Cow;

use super::Request;

/// The value of a header, where the request has it. `-` and `_` are the same in `name`; a field of the request whose
/// name has a `_` is not believed. Several fields of the name are joined by `, `.
pub(super) fn header<'r>(request: &'r impl Request, name: &str) -> Option<Cow<'r, [u8]>> {
    let mut values = request.fields().filter(|(field, _)| is_header(field, name)).map(|(_, value)| value);
    let mut joined = Cow::Borrowed(values.next()?);
    for value in values {
        let joined = joined.to_mut();
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(value);
    }
    Some(joined)
}

fn is_header(field: &[u8], name: &str) -> bool {
    field.len() == name.len()
        && field.iter().zip(name.bytes()).all(|(a, b)| a.eq_ignore_ascii_case(if b == b'_' { &b'-' } else { &b }))
}

/// The value of a cookie: of the first that has the name, in either case.
pub(super) fn cookie<'r>(request: &'r impl Request, name: &str) -> Option<&'r [u8]> {
    request
        .fields()
        .filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"))
        .find_map(|(_, value)| cookie_in(value, name.as_bytes()))
}

/// The value of a cookie in one field. Blanks around the `=` are skipped, as nginx does.
fn cookie_in<'v>(field: &'v [u8], name: &[u8]) -> Option<&'v [u8]> {
    let mut rest = field;
    loop {
        if let Some((start, after)) = rest.split_at_checked(name.len())
            && start.eq_ignore_ascii_case(name)
            && let Some(value) = skip_blanks(after).strip_prefix(b"=")
        {
            let value = skip_blanks(value);
            return Some(&value[..memchr::memchr(b';', value).unwrap_or(value.len())]);
        }
        rest = skip_blanks(&rest[memchr::memchr2(b';', b',', rest)? + 1..]);
    }
}

fn skip_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// The path and the query of a target, without the `?`; there is no query where there is no `?`.
pub(super) fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// The value of a parameter of a query, decoded: of the first that has the name.
pub(super) fn parameter<'q>(query: &'q [u8], name: &str) -> Option<Cow<'q, [u8]>> {
    pairs(query).find(|(key, _)| *form_decode(key) == *name.as_bytes()).map(|(_, value)| form_decode(value))
}

/// The value of a parameter of a query, as it stands there (`$arg_<name>`): of the first that has the name, in either
/// case.
pub(super) fn raw_parameter<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    pairs(query).find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|&c| c == b'&').map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    })
}

/// Decodes a part of a form: `%41` is `A`, `+` a blank. What is not well formed is kept.
fn form_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let blanks: Vec<u8> = text.iter().map(|&c| if c == b'+' { b' ' } else { c }).collect();
    Cow::Owned(percent_encoding::percent_decode(&blanks).collect())
}

/// The path of a target as nginx matches it: decoded, `//` merged, `.` and `..` resolved. None where it cannot be read:
/// it does not begin with `/`, leads above the root, is wrongly encoded or holds a NUL.
pub(super) fn normalize(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    if path.first() != Some(&b'/') || path.contains(&0) {
        return None;
    }
    let plain = !path.windows(2).any(|pair| matches!(pair, [b'/', b'/' | b'.'] | [_, b'%' | b'#']));
    if plain {
        return Some(Cow::Borrowed(path));
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let decoded = decode(&path[..memchr::memchr(b'#', path).unwrap_or(path.len())])?;
    let mut segments = decoded[1..].split(|&c| c == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = memchr::memrchr(b'/', &out)?;
                out.truncate(parent);
            }
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if last {
            out.push(b'/');
        }
    }
    Some(Cow::Owned(out))
}

/// Decodes `%41`. None where it is wrongly encoded or holds a NUL.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [c, after @ ..] = rest {
        rest = after;
        if *c != b'%' {
            out.push(*c);
            continue;
        }
        let [high, low, after @ ..] = after else { return None };
        let digit = |c: u8| char::from(c).to_digit(16);
        let byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok().filter(|&byte| byte != 0)?;
        out.push(byte);
        rest = after;
    }
    Some(out)
}

/// Writes a decoded path as nginx does when it sends it on: what may not stand there is encoded.
pub(super) fn encode_path(path: &[u8], out: &mut Vec<u8>) {
    encode(path, out, |c| {
        !matches!(c, b'"' | b'#' | b'%' | b'<' | b'>' | b'?' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
    });
}

/// Writes text so that it can stand in a URL of a header: blanks, controls and what is not ASCII are encoded, and what
/// `fits` does not take.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>, fits: impl Fn(u8) -> bool) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    for &c in text {
        if c.is_ascii_graphic() && fits(c) {
            out.push(c);
        } else {
            out.extend([b'%', DIGITS[usize::from(c >> 4)], DIGITS[usize::from(c & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_as_nginx_finds_it() {
        for (field, value) in [
            ("can=always", Some("always")),
            ("CAN=always", Some("always")),
            ("a=b; can=always", Some("always")),
            ("can=always; can=never", Some("always")),
            ("can=never; can=always", Some("never")),
            ("can=\"always\"", Some("\"always\"")),
            ("xcan=always", None),
            ("canx=always", None),
            ("can = always", Some("always")),
            ("a=b,can=always", Some("always")),
            ("can", None),
            ("can=", Some("")),
            ("", None),
        ] {
            assert_eq!(cookie_in(field.as_bytes(), b"can"), value.map(str::as_bytes), "{field}");
        }
    }

    #[test]
    fn a_parameter_is_decoded() {
        let found = |query: &'static str| parameter(query.as_bytes(), "a b").map(Cow::into_owned);
        assert_eq!(found("x=1&a+b=c%20d&a%20b=2"), Some(b"c d".to_vec()));
        assert_eq!(found("a+b"), Some(vec![]));
        assert_eq!(found("a+bc=1"), None);
        assert_eq!(found("a+b=%zz"), Some(b"%zz".to_vec()));
        assert_eq!(raw_parameter(b"x=1&A=%20&a=2", "a"), Some(&b"%20"[..]));
    }

    #[test]
    fn a_path_is_normalized_as_nginx_does() {
        for (path, normalized) in [
            ("/", Some("/")),
            ("/foo/bar", Some("/foo/bar")),
            ("//", Some("/")),
            ("//foo", Some("/foo")),
            ("/foo//", Some("/foo/")),
            ("/%2F", Some("/")),
            ("/foo%2Fbar", Some("/foo/bar")),
            ("/a/../b", Some("/b")),
            ("/a/%2e%2E/b", Some("/b")),
            ("/./foo/", Some("/foo/")),
            ("/foo/.", Some("/foo/")),
            ("/foo/..", Some("/")),
            ("/foo/../", Some("/")),
            ("/a/b/..", Some("/a/")),
            ("/...", Some("/...")),
            ("/.a", Some("/.a")),
            ("/a%20b", Some("/a b")),
            ("/a%3Fb", Some("/a?b")),
            ("/..", None),
            ("/a/../..", None),
            ("/%", None),
            ("/%4", None),
            ("/%zz", None),
            ("/%00", None),
            ("", None),
            ("*", None),
            ("foo", None),
        ] {
            let found = normalize(path.as_bytes());
            assert_eq!(found.as_deref(), normalized.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        assert!(matches!(normalize(b"/foo/bar.html"), Some(Cow::Borrowed(_))));
    }

    #[test]
    fn a_path_is_encoded_as_nginx_does() {
        let mut out = Vec::new();
        encode_path(b"/a b/%?#\"<>\\^`{|}\x7f\xe4~!$&'()*+,;=:@[]", &mut out);
        assert_eq!(out, b"/a%20b/%25%3F%23%22%3C%3E%5C%5E%60%7B%7C%7D%7F%E4~!$&'()*+,;=:@[]");
    }
}
