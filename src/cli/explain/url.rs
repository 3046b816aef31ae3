//! What a command line says of a request: its URL and its headers.

use std::str::FromStr;

use crate::route::Scheme;

/// `http://shop.example/cart?item=1`. Without a scheme, it is that of HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    pub(super) authority: String,
    /// The path and the query.
    pub(super) target: String,
}

/// `X-Canary: always`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
}

/// Why a text is no URL of a request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum InvalidUrl {
    #[error("`{0}` is no scheme of ours; write http:// or https://")]
    Scheme(String),
    #[error("it has no host")]
    NoHost,
    #[error("it contains {0:?}; write it as %{code:02X}", code = u32::from(*.0))]
    Character(char),
}

/// Why a text is no header.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it has no colon; write it as `NAME: VALUE`")]
pub(super) struct InvalidHeader;

// === impl Url ===

impl FromStr for Url {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        // A scheme comes before all else: a URL may well stand in the query of one without.
        let with_scheme = text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?', '#']));
        let (scheme, rest) = match with_scheme {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((other, _)) => return Err(InvalidUrl::Scheme(other.to_owned())),
            None => (Scheme::Http, text),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err(InvalidUrl::NoHost);
        }
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if let Some(bad) = target.chars().chain(authority.chars()).find(|c| c.is_control() || *c == ' ') {
            return Err(InvalidUrl::Character(bad));
        }
        Ok(Self { scheme, authority: authority.to_owned(), target })
    }
}

// === impl Header ===

impl FromStr for Header {
    type Err = InvalidHeader;

    fn from_str(text: &str) -> Result<Self, InvalidHeader> {
        let (name, value) = text.split_once(':').ok_or(InvalidHeader)?;
        Ok(Self { name: name.to_owned(), value: value.trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_target() {
        for (text, scheme, authority, target) in [
            ("http://shop.example", Scheme::Http, "shop.example", "/"),
            ("HTTPS://shop.example:8443?a", Scheme::Https, "shop.example:8443", "/?a"),
            ("shop.example/cart#top", Scheme::Http, "shop.example", "/cart"),
            ("shop.example/?next=ftp://x", Scheme::Http, "shop.example", "/?next=ftp://x"),
        ] {
            let expected = Url { scheme, authority: authority.to_owned(), target: target.to_owned() };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for (text, error) in [
            ("ftp://shop.example/", InvalidUrl::Scheme("ftp".to_owned())),
            ("http:///cart", InvalidUrl::NoHost),
            ("", InvalidUrl::NoHost),
            ("http://shop.example/a b", InvalidUrl::Character(' ')),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_header_has_a_colon() {
        let header = Header { name: "X-Canary".to_owned(), value: "a:b".to_owned() };
        assert_eq!("X-Canary:  a:b ".parse(), Ok(header));
        assert_eq!("X-Canary".parse::<Header>(), Err(InvalidHeader));
    }
}
