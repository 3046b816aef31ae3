//! Values of annotations, read by ingress-nginx's rules.
//!
//! Its values are read by Go: booleans by `strconv.ParseBool`, whole numbers by `strconv.Atoi`, texts after
//! `strings.TrimSpace`. What these take is taken here, and nothing else.

use std::time::Duration;

/// What a value must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bool,
    /// A whole number.
    Number,
    /// A whole number of seconds.
    Seconds,
    /// A number of bytes: `8m`.
    Size,
    /// Any text.
    Text,
    /// A text in which variables are replaced.
    Template,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Words(&'static [&'static str]),
    /// Values between commas.
    List,
    /// The name of a header, cookie or parameter.
    Name,
    /// One value, or several between `||`.
    Values,
    /// A regular expression.
    Pattern,
    /// A path that begins with `/`.
    Path,
    /// A path in which groups of a pattern and variables are replaced.
    Target,
    /// A status of an answer.
    Status,
    /// A URL with its scheme.
    Url,
    /// Addresses and networks between commas.
    Networks,
    /// A DNS name or an address.
    Host,
    /// A DNS name whose subdomains count too.
    Domain,
    /// The name of an object, or namespace and name.
    Object,
    /// Configuration of nginx.
    Snippet,
}

// === impl Kind ===

impl Kind {
    /// What it is called in the reference.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Bool => "bool".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Seconds => "seconds".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Template => "text with variables".to_owned(),
            Self::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Self::Words(words) => format!("some of {}", words.join(" ")),
            Self::List => "list".to_owned(),
            Self::Name => "name".to_owned(),
            Self::Values => "value, or several between `||`".to_owned(),
            Self::Pattern => "regular expression".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Target => "path with groups and variables".to_owned(),
            Self::Status => "status".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::Networks => "networks".to_owned(),
            Self::Host => "DNS name or address".to_owned(),
            Self::Domain => "DNS name".to_owned(),
            Self::Object => "name of an object".to_owned(),
            Self::Snippet => "nginx configuration".to_owned(),
        }
    }

    /// How to write one.
    #[must_use]
    pub(in crate::translate) fn mend(self) -> String {
        match self {
            Self::Bool => "Write `\"true\"` or `\"false\"`".to_owned(),
            Self::Number => "Write a whole number in quotes, such as `\"10\"`".to_owned(),
            Self::Seconds => "Write whole seconds without a unit, such as `\"60\"`".to_owned(),
            Self::Size => "Write a number of bytes, with `k`, `m` or `g` if need be, such as `8m`".to_owned(),
            Self::Text => "Write a text".to_owned(),
            Self::Template => {
                "Write a text with variables that Serin has, such as `$request_uri`, `$host`, `$remote_addr`, \
                 `$http_<header>`, `$cookie_<name>` or `$arg_<name>`"
                    .to_owned()
            }
            Self::Choice(words) => format!("Write {}", one_of(words)),
            Self::Words(words) => format!("Write some of these, with spaces between: {}", words.join(", ")),
            Self::List => "Write values with commas between".to_owned(),
            Self::Name => "Write a name of letters, digits, `-`, `_`, `.` and `~`".to_owned(),
            Self::Values => "Write one value, or several with `||` between".to_owned(),
            Self::Pattern => "Write a regular expression that compiles, such as `^v[0-9]+$`".to_owned(),
            Self::Path => "Write a path that begins with `/`".to_owned(),
            Self::Target => {
                "Write a path of letters, digits, `/`, `.`, `_`, `~`, `:`, `-`, `$1` to `$9` for groups of the path and \
                 variables that Serin has, such as `$host`; the query is kept anyway"
                    .to_owned()
            }
            Self::Status => "Write a status of a redirect, such as `\"302\"`".to_owned(),
            Self::Url => "Write a whole URL without variables, such as `https://shop.example/new`".to_owned(),
            Self::Networks => "Write networks with commas between, such as `10.0.0.0/8,2001:db8::/32`".to_owned(),
            Self::Host => "Write a DNS name or an address, such as `web.shop.svc`".to_owned(),
            Self::Domain => "Write a DNS name, such as `shop.example`".to_owned(),
            Self::Object => "Write the name of an object".to_owned(),
            Self::Snippet => "Remove it".to_owned(),
        }
    }
}

/// `` `a`, `b` or `c` ``.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// What is wrong with a value, as the end of a sentence that begins with it.
pub(super) type Fault = String;

/// A boolean as Go's `ParseBool` reads it.
pub(super) fn bool(text: &str) -> Result<bool, Fault> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// A whole number as Go's `Atoi` reads it.
pub(super) fn number(text: &str) -> Result<i64, Fault> {
    text.parse().map_err(|_| "is not a whole number".to_owned())
}

/// A whole number that is not negative and fits.
pub(super) fn count(text: &str) -> Result<u32, Fault> {
    match number(text)? {
        ..0 => Err("is negative".to_owned()),
        number => u32::try_from(number).map_err(|_| "is too large".to_owned()),
    }
}

/// Seconds, at least one.
pub(super) fn seconds(text: &str) -> Result<Duration, Fault> {
    match count(text)
        .map_err(|fault| if fault.contains("whole") { "is not whole seconds".to_owned() } else { fault })?
    {
        0 => Err("leaves no time at all".to_owned()),
        seconds => Ok(Duration::from_secs(seconds.into())),
    }
}

/// Seconds, of which 0 are no limit.
pub(super) fn seconds_or_zero(text: &str) -> Result<Duration, Fault> {
    count(text).map(|seconds| Duration::from_secs(seconds.into()))
}

/// Bytes: digits and `b`, `k`, `m` or `g` in either case.
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err("is not a size".to_owned()),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("is not a size".to_owned());
    }
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    size.ok_or_else(|| "is too large".to_owned())
}

/// Any text.
pub(super) fn text(text: &str) -> Result<String, Fault> {
    Ok(text.to_owned())
}

/// Values between commas, without the spaces around them and without empty ones.
pub(super) fn list(text: &str) -> Result<Vec<String>, Fault> {
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// One value, or several between `||`. An empty one is hardly meant: it would take every request whose field is empty.
pub(super) fn values(text: &str) -> Result<Vec<String>, Fault> {
    let values: Vec<_> = text.split("||").map(|value| value.trim().to_owned()).collect();
    if values.iter().any(String::is_empty) {
        return Err("has an empty value before or after `||`".to_owned());
    }
    Ok(values)
}

/// The name of a header: a token of RFC 9110, where `_` is `-`, as nginx's variables have it.
pub(super) fn header(text: &str) -> Result<String, Fault> {
    token(text).map(|name| name.replace('_', "-"))
}

/// A name that needs no quoting: a token of RFC 9110.
pub(super) fn token(text: &str) -> Result<String, Fault> {
    let bad = |c: &char| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c);
    match text.chars().find(bad) {
        Some(c) => Err(format!("is no name, since {c:?} cannot be in one")),
        None => Ok(text.to_owned()),
    }
}

/// The name of a parameter: anything but what ends one.
pub(super) fn parameter(text: &str) -> Result<String, Fault> {
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || "&=#".contains(*c)) {
        Some(c) => Err(format!("is no name of a parameter, since {c:?} cannot be in one")),
        None => Ok(text.to_owned()),
    }
}

/// A path that begins with `/` and needs no quoting in a header.
pub(super) fn path(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        return Err("does not begin with `/`".to_owned());
    }
    clean(text)
}

/// The new path of a rewrite: `/`, letters, digits, `.`, `_`, `~`, `:`, `-` and `$`.
pub(super) fn rewrite_target(text: &str) -> Result<String, Fault> {
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !"/._~:-$".contains(*c)) {
        Some(c) => Err(format!("contains {c:?}, which it cannot have")),
        None => Ok(text.to_owned()),
    }
}

/// A URL of http or https with a host, in which nothing is replaced.
pub(super) fn url(text: &str) -> Result<String, Fault> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return Err("does not begin with `http://` or `https://`".to_owned()) };
    if rest.is_empty() || rest.starts_with(['/', '?', '#', ':']) {
        return Err("names no host".to_owned());
    }
    if text.contains('$') {
        return Err("contains `$`, and variables are not replaced here".to_owned());
    }
    clean(text)
}

/// The name of a Service of the same namespace.
pub(super) fn service(text: &str) -> Result<String, Fault> {
    match text.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && *c != '-') {
        Some('/') => Err("is no name of a Service: the namespace is that of the Ingress".to_owned()),
        Some(c) => Err(format!("is no name of a Service, since {c:?} cannot be in one")),
        None => Ok(text.to_owned()),
    }
}

/// A text that can stand in a header as it is.
pub(super) fn clean(text: &str) -> Result<String, Fault> {
    match text.chars().find(|c| c.is_control() || c.is_whitespace() || !c.is_ascii()) {
        Some(c) => Err(format!("contains {c:?}, which must be percent-encoded")),
        None => Ok(text.to_owned()),
    }
}

/// The path of a cookie. Browsers take the directory of the request's path for one that does not begin with `/`.
pub(super) fn cookie_path(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        return Err("does not begin with `/`".to_owned());
    }
    attribute(text)
}

/// A text that can be an attribute of a cookie.
pub(super) fn attribute(text: &str) -> Result<String, Fault> {
    match text.chars().find(|c| c.is_control() || !c.is_ascii() || *c == ';') {
        Some(c) => Err(format!("contains {c:?}, which a cookie cannot hold")),
        None => Ok(text.to_owned()),
    }
}

/// The position of the word in a choice; case does not matter.
pub(super) fn choice(text: &str, words: &[&str]) -> Result<usize, Fault> {
    let position = words.iter().position(|word| word.eq_ignore_ascii_case(text));
    position.ok_or_else(|| "is not one of the values that it can have".to_owned())
}

/// A status of a redirect.
pub(super) fn status(text: &str, allowed: std::ops::RangeInclusive<u16>) -> Result<u16, Fault> {
    let status = number(text)?;
    let status = u16::try_from(status).ok().filter(|status| allowed.contains(status));
    status.ok_or_else(|| format!("is not between {} and {}", allowed.start(), allowed.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_gos() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(bool(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(bool(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "on", "tRUE", " true"] {
            assert!(bool(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_gos() {
        for (text, number_) in [("0", 0), ("-5", -5), ("+7", 7), ("007", 7)] {
            assert_eq!(number(text), Ok(number_), "{text}");
        }
        for text in ["", "1.5", "1e3", "1_000", "0x10", " 1", "10%"] {
            assert!(number(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_nginxs() {
        for (text, bytes) in [("0", 0), ("8", 8), ("8b", 8), ("8k", 8192), ("8M", 8 << 20), ("2g", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "8mb", "8 m", "-1", "1.5m", "99999999999999999999", "99999999999g", "8µ"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn seconds_have_no_unit() {
        assert_eq!(seconds("60"), Ok(Duration::from_secs(60)));
        for text in ["60s", "0", "-1", "1m", ""] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
        assert_eq!(seconds_or_zero("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn of_several_values_none_is_empty() {
        assert_eq!(values("a || b|c"), Ok(vec!["a".to_owned(), "b|c".to_owned()]));
        for text in ["a||", "||a", "a|| ||b", "||"] {
            assert!(values(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn urls_are_whole() {
        assert!(url("https://example.com/x?y#z").is_ok());
        for text in ["/x", "ftp://a/", "https://", "https:///x", "https://a/$request_uri", "https://a/\r\nx"] {
            assert!(url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn services_are_of_the_same_namespace() {
        assert_eq!(service("web-2"), Ok("web-2".to_owned()));
        for text in ["other/web", "Web", "web.other", "web:80"] {
            assert!(service(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn header_names_have_no_underscore() {
        assert_eq!(header("X_Canary"), Ok("X-Canary".to_owned()));
        assert!(header("X/Canary").is_err());
    }
}
