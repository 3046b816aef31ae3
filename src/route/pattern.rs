//! Regular expressions of objects: bounded in size and time, compiled once.
//!
//! Objects are written for PCRE, as nginx builds it: bytes instead of characters, ASCII classes, `$` for the end. A
//! [`dialect`] pass rewrites what the engines here would read in another way, so that a pattern means the same or is
//! refused. The linear-time engine is used wherever it can express the pattern; look-around, back-references, atomic
//! groups and possessive quantifiers go to one that backtracks, within a limit.
//!
//! One difference to PCRE stands: `$` is the very end of the text, not also the place before a last line feed.

mod dialect;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Serialize, Serializer};

/// The longest pattern that is compiled, in bytes.
const MAX_SOURCE: usize = 4096;
/// The largest compiled program, in bytes; for the lazy automaton too.
const MAX_SIZE: usize = 1 << 20;
/// How often the backtracking engine may go back in one search: a few milliseconds.
const MAX_BACKTRACKS: usize = 100_000;
/// How many instructions the backtracking engine's program may have.
const MAX_PROGRAM: usize = 20_000;

/// A regular expression as an object writes it, compiled.
///
/// Two patterns are equal where their texts and flags are; while one of them lives, another is not compiled again.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    flags: PatternFlags,
    engine: Arc<Engine>,
}

/// How a pattern is applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PatternFlags {
    /// Letters of ASCII match in either case.
    pub ignore_case: bool,
    /// A `^` is put before the text. As in nginx, where the text has alternatives it binds to the first.
    pub anchored: bool,
}

/// Why a pattern cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidPattern {
    pub reason: String,
}

/// What the groups of a pattern matched.
#[derive(Debug)]
pub struct Captures<'t>(Found<'t>);

#[derive(Debug)]
enum Found<'t> {
    Linear(regex::bytes::Captures<'t>),
    Backtracking(fancy_regex::Captures<'t, [u8]>),
}

struct Engine {
    /// What all that matches begins with, so that most texts that do not match are told by it alone. Letters are in
    /// either case where the pattern ignores it.
    literal: Box<[u8]>,
    ignore_case: bool,
    search: Search,
}

enum Search {
    /// Linear in the length of the text.
    Linear(regex::bytes::Regex),
    /// Backtracking, with a limit.
    Backtracking(fancy_regex::Regex),
}

/// Searches that the backtracking engine gave up.
static EXHAUSTED: AtomicU64 = AtomicU64::new(0);

// === impl Pattern ===

impl Pattern {
    /// Compiles a pattern, or finds it where it is in use already.
    ///
    /// # Errors
    ///
    /// Where neither engine can express it within the limits.
    pub fn new(source: &str, flags: PatternFlags) -> Result<Self, InvalidPattern> {
        // Patterns are compiled while objects are translated; requests never come here.
        type Known = HashMap<(Arc<str>, PatternFlags), Weak<Engine>>;
        static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();

        let key = (Arc::from(source), flags);
        let known = KNOWN.get_or_init(Mutex::default);
        let find = |known: &Known| known.get(&key).and_then(Weak::upgrade);
        if let Some(engine) = find(&known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(Self { source: key.0, flags, engine });
        }
        let engine = Arc::new(Engine::new(source, flags)?);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() == known.capacity() {
            known.retain(|_, engine| engine.strong_count() > 0);
        }
        known.insert(key.clone(), Arc::downgrade(&engine));
        Ok(Self { source: key.0, flags, engine })
    }

    /// The text, as the object has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it needs the engine that backtracks, and so may give a search up.
    #[must_use]
    pub fn backtracks(&self) -> bool {
        matches!(self.engine.search, Search::Backtracking(_))
    }

    /// Whether it is found in `text`. A search that is given up found nothing.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        if !self.engine.may_match(text) {
            return false;
        }
        match &self.engine.search {
            Search::Linear(regex) => regex.is_match(text),
            Search::Backtracking(regex) => exhausted_as(regex.is_match(text), false),
        }
    }

    /// What its groups match, where it is found in `text`.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t [u8]) -> Option<Captures<'t>> {
        if !self.engine.may_match(text) {
            return None;
        }
        match &self.engine.search {
            Search::Linear(regex) => Some(Captures(Found::Linear(regex.captures(text)?))),
            Search::Backtracking(regex) => {
                Some(Captures(Found::Backtracking(exhausted_as(regex.captures(text), None)?)))
            }
        }
    }

    /// How many groups it has, without the whole match.
    #[must_use]
    pub fn groups(&self) -> usize {
        let all = match &self.engine.search {
            Search::Linear(regex) => regex.captures_len(),
            Search::Backtracking(regex) => regex.captures_len(),
        };
        all.saturating_sub(1)
    }

    /// The number of the group of a name.
    #[must_use]
    pub fn group_named(&self, name: &str) -> Option<usize> {
        match &self.engine.search {
            Search::Linear(regex) => regex.capture_names().position(|other| other == Some(name)),
            Search::Backtracking(regex) => regex.capture_names().position(|other| other == Some(name)),
        }
    }

    /// How many searches were given up since the process began, by all patterns.
    #[must_use]
    pub fn exhausted() -> u64 {
        EXHAUSTED.load(Ordering::Relaxed)
    }
}

/// The result of a search, or `otherwise` where it was given up, which is counted.
fn exhausted_as<T>(result: Result<T, fancy_regex::Error>, otherwise: T) -> T {
    result.unwrap_or_else(|_| {
        EXHAUSTED.fetch_add(1, Ordering::Relaxed);
        otherwise
    })
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.flags == other.flags && self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anchor = if self.flags.anchored { "^" } else { "" };
        let ignore_case = if self.flags.ignore_case { "i" } else { "" };
        write!(f, "/{anchor}{}/{ignore_case}", self.source)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === impl PatternFlags ===

impl PatternFlags {
    /// Found anywhere, case matters: the value of a header, of a cookie, of a parameter.
    pub const VALUE: Self = Self { ignore_case: false, anchored: false };
    /// From the start, ignoring case: the path of a route (`location ~* "^<path>"`).
    pub const PATH: Self = Self { ignore_case: true, anchored: true };
    /// Found anywhere, ignoring case: the path of a rewrite (`rewrite "(?i)<path>"`).
    pub const REWRITE: Self = Self { ignore_case: true, anchored: false };
}

// === impl InvalidPattern ===

impl InvalidPattern {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

// === impl Captures ===

impl<'t> Captures<'t> {
    /// What a group matched; empty where it matched nothing or does not exist. Group 0 is the whole match.
    #[must_use]
    pub fn group(&self, index: usize) -> &'t [u8] {
        match &self.0 {
            Found::Linear(captures) => captures.get(index).map_or(&[], |found| found.as_bytes()),
            Found::Backtracking(captures) => captures.get(index).map_or(&[], |found| found.as_bytes()),
        }
    }
}

// === impl Engine ===

impl Engine {
    fn new(source: &str, flags: PatternFlags) -> Result<Self, InvalidPattern> {
        if source.len() > MAX_SOURCE {
            return Err(InvalidPattern::new(format!("it is longer than {MAX_SOURCE} bytes")));
        }
        let dialect = dialect::read(source).map_err(InvalidPattern::new)?;
        let (text, literal) = match flags.anchored {
            true => (format!("^{}", dialect.text), dialect.literal.into_bytes().into()),
            false => (dialect.text, Box::default()),
        };
        let engine = |search| Self { literal, ignore_case: flags.ignore_case, search };
        if !dialect.backtracks {
            match regex::bytes::RegexBuilder::new(&text)
                .unicode(false)
                .case_insensitive(flags.ignore_case)
                .size_limit(MAX_SIZE)
                .dfa_size_limit(MAX_SIZE)
                .build()
            {
                Ok(regex) => return Ok(engine(Search::Linear(regex))),
                Err(regex::Error::CompiledTooBig(_)) => {
                    return Err(InvalidPattern::new(format!("compiled, it is larger than {MAX_SIZE} bytes")));
                }
                Err(error) => return Err(InvalidPattern::new(last_line(&error.to_string()))),
            }
        }
        fancy_regex::RegexBuilder::new(&text)
            .bytes_mode(fancy_regex::BytesMode::Ascii)
            .unicode_mode(false)
            .case_insensitive(flags.ignore_case)
            .backtrack_limit(MAX_BACKTRACKS)
            .delegate_size_limit(MAX_SIZE)
            .delegate_dfa_size_limit(MAX_SIZE)
            .max_prog_size(MAX_PROGRAM)
            .build()
            .map(|regex| engine(Search::Backtracking(regex)))
            .map_err(|error| InvalidPattern::new(last_line(&error.to_string())))
    }

    /// Whether a text begins as it must.
    fn may_match(&self, text: &[u8]) -> bool {
        match text.get(..self.literal.len()) {
            Some(start) if self.ignore_case => start.eq_ignore_ascii_case(&self.literal),
            Some(start) => *start == *self.literal,
            None => false,
        }
    }
}

/// The last line of a message: the engines draw the pattern with a caret before it.
fn last_line(message: &str) -> &str {
    let line = message.trim_end().lines().next_back().unwrap_or(message).trim();
    line.strip_prefix("error: ").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(source: &str) -> Pattern {
        Pattern::new(source, PatternFlags::VALUE).unwrap()
    }

    #[test]
    fn a_value_is_searched_and_case_matters() {
        assert!(value("^Do[A-Z][a-z]+y$").is_match(b"DoCanary"));
        assert!(!value("^Do[A-Z][a-z]+y$").is_match(b"Docanary"));
        assert!(value("b+").is_match(b"abba"));
    }

    #[test]
    fn a_path_is_anchored_and_case_does_not_matter() {
        let path = Pattern::new("/foo/[0-9]+", PatternFlags::PATH).unwrap();
        assert!(path.is_match(b"/FOO/12x"));
        assert!(!path.is_match(b"/a/foo/12"));
    }

    #[test]
    fn an_anchor_binds_to_the_first_alternative_as_in_nginx() {
        let path = Pattern::new("/a|/b", PatternFlags::PATH).unwrap();
        assert!(path.is_match(b"/x/b"));
        assert!(!path.is_match(b"/x/a"));
    }

    #[test]
    fn text_is_bytes() {
        assert!(value("^.$").is_match(b"\xff"));
        assert!(value(r"^\xff$").is_match(b"\xff"));
        assert!(value("ä").is_match("ä".as_bytes()));
        assert!(!value(r"^\w$").is_match("ä".as_bytes()));
    }

    #[test]
    fn linear_unless_it_must_backtrack() {
        for (source, backtracks) in [
            ("a+b?", false),
            ("a+?b??", false),
            (r"(a)\1", true),
            ("a(?=b)", true),
            ("a(?!b)", true),
            ("(?<=a)b", true),
            ("(?<!a)b", true),
            ("(?<name>a)b", false),
            ("a++b", true),
            ("(?>a+)b", true),
            ("[a+]+", false),
        ] {
            assert_eq!(value(source).backtracks(), backtracks, "{source}");
        }
    }

    #[test]
    fn a_possessive_quantifier_gives_nothing_back() {
        assert!(!value("^a++ab$").is_match(b"aaab"));
        assert!(value("^a+ab$").is_match(b"aaab"));
    }

    #[test]
    fn look_around_and_back_references_work_on_bytes() {
        assert!(value(r"^(.)\1$").is_match(b"\xff\xff"));
        assert!(value("^/(?!admin)").is_match(b"/shop"));
        assert!(!value("^/(?!admin)").is_match(b"/admin"));
    }

    #[test]
    fn what_cannot_work_is_refused_in_one_line() {
        for source in ["[][**da?$&*", "(", "a**", "*a", r"\", "a{2,1}", "(?R)", "(?1)", "(((a{1000}){1000}){1000})"] {
            let reason = Pattern::new(source, PatternFlags::VALUE).expect_err(source).reason;
            assert!(!reason.is_empty() && !reason.contains('\n'), "{source}: {reason:?}");
        }
    }

    #[test]
    fn a_search_that_takes_too_long_is_given_up_and_counted() {
        let before = Pattern::exhausted();
        assert!(!value(r"^(a|aa)+(?!x)b$").is_match(&[&[b'a'; 64][..], b"bc"].concat()));
        assert!(Pattern::exhausted() > before);
    }

    #[test]
    fn equal_patterns_are_compiled_once() {
        let (a, b) = (value("once[0-9]"), value("once[0-9]"));
        assert!(Arc::ptr_eq(&a.engine, &b.engine));
        assert_ne!(a, Pattern::new("once[0-9]", PatternFlags::PATH).unwrap());
    }

    #[test]
    fn groups_are_found_by_number_and_name() {
        for pattern in [value("/(?<first>[a-z]+)(/x)?"), value("/(?<first>[a-z]+)(/x)?(?!y)")] {
            let captures = pattern.captures(b"--/abc").unwrap();
            assert_eq!(captures.group(0), b"/abc");
            assert_eq!(captures.group(1), b"abc");
            assert_eq!(captures.group(2), b"");
            assert_eq!(captures.group(9), b"");
            assert_eq!(pattern.groups(), 2);
            assert_eq!(pattern.group_named("first"), Some(1));
            assert_eq!(pattern.group_named("second"), None);
        }
    }
}
