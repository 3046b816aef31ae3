//! The host of an authority: without its port, its trailing dot and its capitals.

use std::net::Ipv6Addr;

use super::token::{self, HOST};

/// The host of an authority, without port and trailing dot: `[::1]` for `[::1]:80`, `a.example` for `a.example.:80`.
#[must_use]
pub fn name(authority: &[u8]) -> &[u8] {
    let host = match authority {
        [b'[', ..] => memchr::memchr(b']', authority).map_or(authority, |end| &authority[..=end]),
        _ => memchr::memchr(b':', authority).map_or(authority, |end| &authority[..end]),
    };
    host.strip_suffix(b".").unwrap_or(host)
}

/// The port of an authority, where it names one.
#[must_use]
pub fn port(authority: &[u8]) -> Option<u16> {
    let start = match authority {
        [b'[', ..] => memchr::memchr(b']', authority)? + 1,
        _ => memchr::memchr(b':', authority)?,
    };
    let port = authority.get(start..)?.strip_prefix(b":")?;
    token::decimal(port).and_then(|port| u16::try_from(port).ok())
}

/// Whether `authority` is a host name or address and an optional port, and nothing else.
#[must_use]
pub fn is_authority(authority: &[u8]) -> bool {
    let host = match authority {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let address = &rest[..end];
            let valid = std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
            if !valid {
                return false;
            }
            end + 2
        }
        _ => {
            let end = token::end_of(HOST, authority, 0);
            if end == 0 || end > 255 {
                return false;
            }
            end
        }
    };
    match &authority[host..] {
        [] => true,
        [b':', port @ ..] => port.len() <= 5 && token::decimal(port).is_some_and(|port| port <= 65535),
        _ => false,
    }
}

/// A host in lower case: itself where it is, and otherwise a copy in `scratch`. One of more than 255 bytes, which no
/// host has, comes back as it is.
#[must_use]
pub fn lower<'a>(host: &'a [u8], scratch: &'a mut [u8; 255]) -> &'a [u8] {
    if !host.iter().any(u8::is_ascii_uppercase) {
        return host;
    }
    let Some(copy) = scratch.get_mut(..host.len()) else { return host };
    copy.copy_from_slice(host);
    copy.make_ascii_lowercase();
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_without_port_and_dot() {
        for (authority, host, number) in [
            ("a.example", "a.example", None),
            ("a.example:80", "a.example", Some(80)),
            ("a.example.:8080", "a.example", Some(8080)),
            ("a.example.", "a.example", None),
            ("a.example:99999", "a.example", None),
            ("[::1]", "[::1]", None),
            ("[::1]:443", "[::1]", Some(443)),
            ("[::1", "[::1", None),
            ("", "", None),
        ] {
            assert_eq!(name(authority.as_bytes()), host.as_bytes(), "{authority}");
            assert_eq!(port(authority.as_bytes()), number, "{authority}");
        }
    }

    #[test]
    fn a_host_is_copied_only_where_it_has_capitals() {
        let mut scratch = [0; 255];
        let host = b"shop.example";
        assert!(std::ptr::eq(lower(host, &mut scratch), host));
        assert_eq!(lower(b"Shop.EXAMPLE", &mut scratch), host);
        assert_eq!(lower(&[b'A'; 256], &mut scratch), &[b'A'; 256]);
    }
}
