//! The query of a target: pairs of names and values, separated by `&`, with `%` and `+` escapes.

use std::borrow::Cow;

/// The pairs of a query, in their order, as they stand there. A name without `=` has an empty value.
pub fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        (&pair[..equals], pair.get(equals + 1..).unwrap_or_default())
    })
}

/// The value of the first pair of a name, decoded. Names are compared decoded, in their case.
#[must_use]
pub fn first<'a>(query: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    pairs(query).find(|(other, _)| *decode(other) == *name).map(|(_, value)| decode(value))
}

/// Resolves the escapes of a name or value. An escape that is none stands for itself.
#[must_use]
pub fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(start) = memchr::memchr2(b'%', b'+', text) else { return Cow::Borrowed(text) };
    let mut decoded = text[..start].to_vec();
    let mut rest = &text[start..];
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, super::path::escaped(tail)) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pair_of_a_name_counts() {
        for (query, name, value) in [
            ("a=1", "a", Some("1")),
            ("a=1&b=2", "b", Some("2")),
            ("a=1&a=2", "a", Some("1")),
            ("&&b=2&", "b", Some("2")),
            ("a", "a", Some("")),
            ("a=", "a", Some("")),
            ("a=b=c", "a", Some("b=c")),
            ("a=x%20y+z", "a", Some("x y z")),
            ("%61=1", "a", Some("1")),
            ("a=%zz%4", "a", Some("%zz%4")),
            ("a=%C3%A4", "a", Some("ä")),
            ("A=1", "a", None),
            ("ab=1", "a", None),
            ("", "a", None),
            ("=1", "", Some("1")),
        ] {
            let found = first(query.as_bytes(), name.as_bytes());
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{query}");
        }
    }

    #[test]
    fn nothing_is_copied_where_nothing_is_escaped() {
        assert!(matches!(first(b"a=1&b=2", b"b"), Some(Cow::Borrowed(b"2"))));
    }
}
