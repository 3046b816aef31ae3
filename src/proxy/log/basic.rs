//! The user of the Basic scheme (RFC 7617), read without a copy.

/// The bytes of the user in an `Authorization` header; none where the header holds no user and password, or the user is
/// empty, as nginx has it.
pub(super) fn user(authorization: &[u8]) -> Option<impl Iterator<Item = u8>> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let encoded = rest.trim_ascii();
    let length = encoded.iter().position(|byte| *byte == b'=').unwrap_or(encoded.len());
    let encoded = &encoded[..length];
    if length % 4 == 1 || encoded.iter().any(|byte| sextet(*byte).is_none()) {
        return None;
    }
    let decoded = (0..length * 3 / 4).map(move |at| byte(encoded, at));
    let user = decoded.clone().position(|byte| byte == b':').filter(|length| *length > 0)?;
    Some(decoded.take(user))
}

/// Byte `at` of what `encoded` stands for (RFC 4648, section 4).
fn byte(encoded: &[u8], at: usize) -> u8 {
    let first = at * 4 / 3;
    let [high, low] = [first, first + 1].map(|at| encoded.get(at).and_then(|byte| sextet(*byte)).unwrap_or(0));
    match at % 3 {
        0 => high << 2 | low >> 4,
        1 => high << 4 | low >> 2,
        _ => high << 6 | low,
    }
}

/// The six bits that a character stands for.
fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_ends_at_the_first_colon() {
        for (header, expected) in [
            ("Basic YWxpY2U6c2VjcmV0", Some("alice")),
            ("basic YWxpY2U6", Some("alice")),
            ("BASIC   YTpiOmM=", Some("a")),
            ("Basic OnNlY3JldA==", None),
            ("Basic w6k6cA==", Some("é")),
            ("Basic YWxpY2U=", None),
            ("Basic YWxpY2U6c2VjcmV0!", None),
            ("Basic Y", None),
            ("Basic ", None),
            ("Basic", None),
            ("Bearer YWxpY2U6c2VjcmV0", None),
            ("", None),
        ] {
            let user = user(header.as_bytes()).map(|user| String::from_utf8(user.collect()).unwrap());
            assert_eq!(user.as_deref(), expected, "{header:?}");
        }
    }
}
