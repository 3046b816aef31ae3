//! The `Cookie` field: pairs of names and values, separated by semicolons (RFC 6265, 4.2).
//!
//! What a browser sends is read as it is: values are not decoded and keep their quotes.

/// The cookies of a `Cookie` field, in their order. What has no `=` is left out.
pub fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|byte| *byte == b';').filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        Some((pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii()))
    })
}

/// The value of the first cookie of a name.
#[must_use]
pub fn first<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pairs(field).find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// The value of the first cookie of a name in any case, as nginx compares them.
#[must_use]
pub fn first_in_any_case<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pairs(field).find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cookie_of_a_name_counts() {
        for (field, name, value) in [
            ("a=1", "a", Some("1")),
            ("a=1; b=2", "b", Some("2")),
            ("a=1;b=2", "b", Some("2")),
            ("  a = 1 ;b=2", "a", Some("1")),
            ("a=1; a=2", "a", Some("1")),
            ("a=", "a", Some("")),
            ("a=b=c", "a", Some("b=c")),
            ("a=\"always\"", "a", Some("\"always\"")),
            ("a=1, b=2", "b", None),
            ("ab=1", "a", None),
            ("a", "a", None),
            ("; ;=x;", "a", None),
            ("A=1; a=2", "a", Some("2")),
            ("", "a", None),
        ] {
            assert_eq!(first(field.as_bytes(), name.as_bytes()), value.map(str::as_bytes), "{field}");
        }
        assert_eq!(first_in_any_case(b"A=1; a=2", b"a"), Some(&b"1"[..]));
    }
}
