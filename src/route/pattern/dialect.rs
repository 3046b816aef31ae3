//! Where PCRE and the engines here read the same text in two ways.
//!
//! A pattern is read once from left to right. What would mean something else is written so that it means the same;
//! what only backtracking can do is noted; what neither can do is refused.

/// A pattern that the engines read as PCRE does.
#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) text: String,
    /// Whether it needs backtracking.
    pub(super) backtracks: bool,
    /// The plain text that whatever matches from the start begins with; letters may be in either case.
    pub(super) literal: String,
}

struct Reader<'s> {
    rest: &'s str,
    text: String,
    backtracks: bool,
    /// How many groups are open.
    depth: usize,
    literal: Literal,
}

/// What is known of the plain text at the start.
#[derive(Default)]
struct Literal {
    text: String,
    /// Whether something else than plain text was read.
    ended: bool,
}

/// Reads a pattern as PCRE does.
pub(super) fn read(source: &str) -> Result<Dialect, String> {
    let mut reader = Reader {
        rest: source,
        text: String::with_capacity(source.len() + 8),
        backtracks: false,
        depth: 0,
        literal: Literal::default(),
    };
    let mut alternates = false;
    // Whether what was read last can be repeated.
    let mut atom = false;
    while let Some(c) = reader.rest.chars().next() {
        atom = match c {
            '\\' => reader.escape()?,
            '[' => {
                reader.class()?;
                true
            }
            '(' => {
                reader.group()?;
                false
            }
            ')' => {
                reader.depth = reader.depth.saturating_sub(1);
                reader.literal.ended = true;
                reader.keep(1);
                true
            }
            '|' | '^' => {
                alternates |= c == '|' && reader.depth == 0;
                reader.literal.ended = true;
                reader.keep(1);
                false
            }
            '*' | '+' | '?' => {
                reader.quantifier(1, atom)?;
                false
            }
            '{' => match counted(reader.rest) {
                Some(len) => {
                    reader.quantifier(len, atom)?;
                    false
                }
                None => {
                    reader.literal.push(c);
                    reader.replace(1, r"\{");
                    true
                }
            },
            '.' | '$' => {
                reader.literal.ended = true;
                reader.keep(1);
                true
            }
            c => {
                reader.literal.push(c);
                reader.keep(c.len_utf8());
                true
            }
        };
    }
    let literal = if alternates { String::new() } else { reader.literal.text };
    Ok(Dialect { text: reader.text, backtracks: reader.backtracks, literal })
}

/// The length of a counted quantifier at the start of `text`: `{2}`, `{2,}`, `{2,3}`. PCRE takes other braces literally.
fn counted(text: &str) -> Option<usize> {
    let inner = &text[1..text.find('}')?];
    let (min, max) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    (!min.is_empty() && digits(min) && digits(max)).then_some(inner.len() + 2)
}

// === impl Reader ===

impl<'s> Reader<'s> {
    /// Takes `len` bytes as they are.
    fn keep(&mut self, len: usize) {
        let (taken, rest) = self.rest.split_at(len);
        self.text.push_str(taken);
        self.rest = rest;
    }

    /// Takes `len` bytes and writes `text` for them.
    fn replace(&mut self, len: usize, text: &str) {
        self.rest = &self.rest[len..];
        self.text.push_str(text);
    }

    /// Takes a quantifier of `len` bytes and the `?` or `+` after it.
    fn quantifier(&mut self, len: usize, atom: bool) -> Result<(), String> {
        if !atom {
            return Err(format!("there is nothing to repeat before `{}`", &self.rest[..len]));
        }
        self.literal.last_is_repeated();
        self.keep(len);
        match self.rest.bytes().next() {
            Some(b'?') => self.keep(1),
            Some(b'+') => {
                self.backtracks = true;
                self.keep(1);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes an escape outside of a class. Tells whether it can be repeated.
    fn escape(&mut self) -> Result<bool, String> {
        let Some(c) = self.rest[1..].chars().next() else {
            return Err("it ends with a single backslash".to_owned());
        };
        if c.is_ascii_alphanumeric() {
            self.literal.ended = true;
        } else {
            self.literal.push(c);
        }
        match c {
            'h' => self.replace(2, r"[ \t]"),
            'H' => self.replace(2, r"[^ \t]"),
            'v' => self.replace(2, r"[\n\x0B\f\r]"),
            'V' => self.replace(2, r"[^\n\x0B\f\r]"),
            'N' => self.replace(2, r"[^\n]"),
            'e' => self.replace(2, r"\x1B"),
            '<' => self.replace(2, "<"),
            '>' => self.replace(2, ">"),
            '1'..='9' | 'k' => {
                self.backtracks = true;
                self.keep(2);
            }
            'A' | 'b' | 'B' | 'z' => {
                self.keep(2);
                return Ok(false);
            }
            'Z' => {
                self.replace(2, r"\z");
                return Ok(false);
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 'n' | 'r' | 't' | 'x' => self.keep(2),
            c if c.is_ascii_alphanumeric() => return Err(format!(r"`\{c}` is not supported")),
            c if c.is_ascii() => self.keep(2),
            c => self.replace(1 + c.len_utf8(), c.encode_utf8(&mut [0; 4])),
        }
        Ok(true)
    }

    /// Takes the opening of a group.
    fn group(&mut self) -> Result<(), String> {
        self.literal.ended = true;
        let Some(rest) = self.rest.strip_prefix("(?") else {
            if self.rest.starts_with("(*") {
                return Err("`(*` begins a verb, which is not supported".to_owned());
            }
            self.depth += 1;
            self.keep(1);
            return Ok(());
        };
        let mut chars = rest.chars();
        let depth = self.depth;
        self.depth += 1;
        match (chars.next(), chars.next()) {
            // Look-around and atomic groups.
            (Some('=' | '!' | '>'), _) | (Some('<'), Some('=' | '!')) => {
                self.backtracks = true;
                self.keep(3);
            }
            (Some('#'), _) => match rest.find(')') {
                Some(end) => {
                    self.depth = depth;
                    self.rest = &rest[end + 1..];
                }
                None => return Err("a comment is not closed".to_owned()),
            },
            // Names.
            (Some('P'), Some('<')) => self.keep(4),
            (Some('<'), _) => self.keep(3),
            (Some('\''), _) => match rest[1..].find('\'') {
                Some(end) => {
                    let name = &rest[1..=end];
                    self.text.push_str("(?<");
                    self.text.push_str(name);
                    self.text.push('>');
                    self.rest = &rest[end + 2..];
                }
                None => return Err("the name of a group is not closed".to_owned()),
            },
            // Flags that mean the same to all.
            (Some('i' | 'm' | 's' | 'U' | '-' | ':'), _) => {
                let flags = rest.find([':', ')']).unwrap_or(rest.len());
                if let Some(flag) = rest[..flags].chars().find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-')) {
                    return Err(format!("the flag `{flag}` is not supported"));
                }
                // `(?i)` is whole; `(?i:` goes on.
                if rest[flags..].starts_with(')') {
                    self.depth = depth;
                }
                self.keep(2 + flags);
                self.keep(usize::from(!self.rest.is_empty()));
            }
            (Some('R' | '&' | '0'..='9' | '+'), _) | (Some('P'), Some('>')) => {
                return Err("recursion is not supported".to_owned());
            }
            (Some('P'), Some('=')) => {
                let Some(end) = rest.find(')') else {
                    return Err("a group is not closed".to_owned());
                };
                self.depth = depth;
                self.backtracks = true;
                let name = &rest[2..end];
                self.text.push_str(r"\k<");
                self.text.push_str(name);
                self.text.push('>');
                self.rest = &rest[end + 1..];
            }
            (Some(c), _) => return Err(format!("`(?{c}` is not supported")),
            (None, _) => return Err("a group is not closed".to_owned()),
        }
        Ok(())
    }

    /// Takes a class: `[a-z]`.
    ///
    /// PCRE knows no nested classes and no `&&`, `--`, `~~` in them.
    fn class(&mut self) -> Result<(), String> {
        self.literal.ended = true;
        self.keep(1);
        if self.rest.starts_with('^') {
            self.keep(1);
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.chars().next() else {
                return Err("a class is not closed".to_owned());
            };
            match c {
                ']' if !first => {
                    self.keep(1);
                    return Ok(());
                }
                '[' if matches!(self.rest.as_bytes().get(1), Some(b':')) && self.rest[2..].contains(":]") => {
                    let len = 2 + self.rest[2..].find(":]").unwrap_or_default() + 2;
                    self.keep(len);
                }
                _ => {
                    self.class_member()?;
                    // A `-` between two members is a range; anywhere else it is itself.
                    let mut after = self.rest.chars();
                    if after.next() == Some('-') && after.next().is_some_and(|c| c != ']') {
                        self.keep(1);
                        self.class_member()?;
                    }
                }
            }
            first = false;
        }
    }

    /// Takes one character of a class.
    fn class_member(&mut self) -> Result<(), String> {
        match self.rest.chars().next() {
            None => return Err("a class is not closed".to_owned()),
            Some('\\') => match self.rest[1..].chars().next() {
                None => return Err("it ends with a single backslash".to_owned()),
                Some('h') => self.replace(2, r" \t"),
                Some('v') => self.replace(2, r"\n\x0B\f\r"),
                Some('e') => self.replace(2, r"\x1B"),
                Some('b') => self.replace(2, r"\x08"),
                Some('<') => self.replace(2, "<"),
                Some('>') => self.replace(2, ">"),
                Some('d' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 'n' | 'r' | 't' | 'x') => self.keep(2),
                Some(c) if c.is_ascii_alphanumeric() => return Err(format!(r"`\{c}` is not supported in a class")),
                Some(c) if c.is_ascii() => self.keep(2),
                Some(c) => self.replace(1 + c.len_utf8(), c.encode_utf8(&mut [0; 4])),
            },
            Some(c @ ('[' | ']' | '&' | '~' | '-' | '^')) => {
                self.rest = &self.rest[1..];
                self.text.push('\\');
                self.text.push(c);
            }
            Some(c) if !c.is_ascii() => {
                return Err(format!("`{c}` in a class is more than one byte; write it outside, with `|`"));
            }
            Some(_) => self.keep(1),
        }
        Ok(())
    }
}

// === impl Literal ===

impl Literal {
    fn push(&mut self, c: char) {
        if !self.ended {
            self.text.push(c);
        }
    }

    /// What was read last may be there any number of times.
    fn last_is_repeated(&mut self) {
        if !self.ended {
            self.text.pop();
            self.ended = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_text_at_the_start_is_known() {
        for (source, literal) in [
            ("/foo/[0-9]+", "/foo/"),
            ("/api(/|$)(.*)", "/api"),
            (r"/a\.html", "/a.html"),
            (r"/a\d", "/a"),
            ("/ab*", "/a"),
            ("/ab+", "/a"),
            ("/ab{0,2}", "/a"),
            ("/a|/b", ""),
            (r"/a\(|/b", ""),
            ("/a(?i)|/b", ""),
            ("/a(?#()|/b", ""),
            ("/a[(]|/b", ""),
            ("/a(x|y)z", "/a"),
            ("^/a", ""),
            ("", ""),
        ] {
            assert_eq!(read(source).unwrap().literal, literal, "{source}");
        }
    }

    #[test]
    fn what_reads_alike_is_kept() {
        for source in
            ["", "/a/b", "^/(a|b)+?$", "[a-z0-9_.-]", r"\d{2,3}", "(?i)a(?:b)", r"[\w.]+\.html", "[^/]+", "a.b"]
        {
            let dialect = read(source).unwrap();
            assert!(!dialect.backtracks, "{source}");
            assert_eq!(dialect.text.replace(r"\-", "-"), source);
        }
    }

    #[test]
    fn what_reads_differently_is_rewritten() {
        for (source, text) in [
            ("a{", r"a\{"),
            ("a{,3}", r"a\{,3}"),
            ("{a}", r"\{a}"),
            ("[a[b]", r"[a\[b]"),
            ("[a&&b]", r"[a\&\&b]"),
            ("[+--]", r"[\+-\-]".replace(r"\+", "+").as_str()),
            ("[]a]", r"[\]a]"),
            ("[[:alpha:]-]", r"[[:alpha:]\-]"),
            (r"\h", r"[ \t]"),
            (r"[\h]", r"[ \t]"),
            (r"\<a", "<a"),
            ("a(?#note)b", "ab"),
            ("(?'n'a)", "(?<n>a)"),
            (r"a\Z", r"a\z"),
        ] {
            assert_eq!(read(source).unwrap().text, text, "{source}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for source in
            ["*", "a**", "(*UTF8)a", "(?R)", "(?1)", "(?|a)", r"\Qa", r"\Ra", "(?x) a", "[a", "[é]", r"[\d", "(?"]
        {
            assert!(read(source).is_err(), "{source}");
        }
    }
}
