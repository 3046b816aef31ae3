//! Reads single fields, cookies and parameters out of a request, as nginx's variables do.

use std::borrow::Cow;

use super::Request;
use crate::http::{cookie, query};

/// The value of a header, where the request has it. `-` and `_` are the same, as in nginx's variables; the reader drops
/// fields with a `_`, unless it is told to keep them. Several fields of the name are joined by `, `.
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
    let folded = |c: u8| if c == b'_' { b'-' } else { c.to_ascii_lowercase() };
    field.len() == name.len() && field.iter().zip(name.bytes()).all(|(&a, b)| folded(a) == folded(b))
}

/// The value of a cookie: of the first that has the name, in either case.
pub(super) fn cookie<'r>(request: &'r impl Request, name: &str) -> Option<&'r [u8]> {
    request
        .fields()
        .filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"))
        .find_map(|(_, value)| cookie::first_in_any_case(value, name.as_bytes()))
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
    query::first(query, name.as_bytes())
}

/// The value of a parameter of a query, as it stands there (`$arg_<name>`): of the first that has the name, in either
/// case.
pub(super) fn raw_parameter<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    query::pairs(query).find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
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
    fn a_header_is_compared_as_nginx_names_variables() {
        for (field, name, same) in [
            ("X-Canary", "x-canary", true),
            ("x-canary", "X_Canary", true),
            ("X_Canary", "X-Canary", true),
            ("X_Canary", "X_Canary", true),
            ("X.Canary", "X-Canary", false),
            ("X-Canary-2", "X-Canary", false),
        ] {
            assert_eq!(is_header(field.as_bytes(), name), same, "{field} {name}");
        }
    }

    #[test]
    fn a_raw_parameter_keeps_its_escapes_and_is_found_in_either_case() {
        assert_eq!(raw_parameter(b"x=1&A=%20&a=2", "a"), Some(&b"%20"[..]));
        assert_eq!(raw_parameter(b"ab=1", "a"), None);
    }

    #[test]
    fn a_path_is_encoded_as_nginx_does() {
        let mut out = Vec::new();
        encode_path(b"/a b/%?#\"<>\\^`{|}\x7f\xe4~!$&'()*+,;=:@[]", &mut out);
        assert_eq!(out, b"/a%20b/%25%3F%23%22%3C%3E%5C%5E%60%7B%7C%7D%7F%E4~!$&'()*+,;=:@[]");
    }
}
