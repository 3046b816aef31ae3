//! Which route of a host a path belongs to.
//!
//! The rules are nginx's, as ingress-nginx writes them. A prefix `/foo` takes `/foo` itself and all that is below
//! `/foo/`; a path that ends in `/` also takes the path without it, with a redirect that adds it. So each path is in at
//! most two places: `whole`, for requests of just this path, and `below`, for requests of what is below it. A request
//! costs one look-up in `whole`, then one in `below` for each `/` of its path, last first, as far as some route has a
//! path of that length.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use foldhash::fast::FixedState;
use serde::Serialize;

use super::Pattern;

/// How a path of the table is compared with the path of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum PathRule {
    /// The whole path.
    Exact(Arc<str>),
    /// By elements: `/foo` takes `/foo`, `/foo/` and `/foo/bar`, not `/foobar`. `/foo/` takes what is below, and sends
    /// `/foo` there with a redirect, as nginx does.
    Prefix(Arc<str>),
    /// From the start, ignoring case, in the order of the host's routes. Where one route of a host is a regex, all are.
    Regex(Pattern),
}

/// How well a path of the table fits: an exact one beats a regex, that beats a longer prefix, that a shorter one.
///
/// The numbers are lengths of paths in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum PathMatch {
    /// The request lacks only the slash that this path ends in, and is redirected to it. Without the slash they are as
    /// long as this. It counts less than a prefix of that length, and more than a shorter one.
    Slash(usize),
    Prefix(usize),
    Regex(usize),
    Exact,
}

/// Finds the position of a route.
#[derive(Default, Debug)]
pub(super) struct PathIndex {
    /// Requests of just this path.
    whole: HashMap<PathKey, Found, FixedState>,
    /// Requests of what is below; each key ends in `/`.
    below: HashMap<PathKey, Found, FixedState>,
    /// The lengths of the keys in `below`.
    lengths: Lengths,
    /// In the order in which they are tried.
    regexes: Vec<(Pattern, Found)>,
}

/// The position of a route that fits, and how well it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) route: usize,
    pub(super) path: PathMatch,
}

/// A path that is looked up by bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PathKey(Arc<str>);

/// A set of lengths: exact below 128, and the longest.
#[derive(Default, Debug)]
struct Lengths {
    short: u128,
    longest: usize,
}

// === impl PathRule ===

impl PathRule {
    /// The path of a rule that is not a regex.
    #[must_use]
    pub fn path(&self) -> Option<&Arc<str>> {
        match self {
            Self::Exact(path) | Self::Prefix(path) => Some(path),
            Self::Regex(_) => None,
        }
    }

    /// How well the rule alone fits a path, which is decoded and normalized. `written` is the path of the Ingress.
    ///
    /// A path that only lacks its slash fits, since it is redirected.
    #[must_use]
    pub fn fits(&self, path: &[u8], written: &str) -> Option<PathMatch> {
        let lacks_slash = |rule: &str| {
            let lacks = rule.len() > 1 && rule.strip_suffix('/').is_some_and(|it| it.as_bytes() == path);
            lacks.then_some(PathMatch::Slash(path.len()))
        };
        match self {
            Self::Exact(rule) if rule.as_bytes() == path => Some(PathMatch::Exact),
            Self::Exact(rule) => lacks_slash(rule),
            Self::Prefix(rule) => {
                let below = path.strip_prefix(rule.as_bytes());
                let fits = below.is_some_and(|rest| rule.ends_with('/') || matches!(rest, [] | [b'/', ..]));
                if fits { Some(PathMatch::Prefix(rule.len())) } else { lacks_slash(rule) }
            }
            Self::Regex(pattern) => pattern.is_match(path).then_some(PathMatch::Regex(written.len())),
        }
    }
}

// === impl PathMatch ===

impl PathMatch {
    /// Whether the request is redirected to the path with a slash.
    #[must_use]
    pub const fn adds_slash(self) -> bool {
        matches!(self, Self::Slash(_))
    }

    /// What it is compared by.
    const fn rank(self) -> (u8, usize, bool) {
        match self {
            Self::Slash(length) => (0, length, false),
            Self::Prefix(length) => (0, length, true),
            Self::Regex(length) => (1, length, true),
            Self::Exact => (2, 0, true),
        }
    }
}

impl Ord for PathMatch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for PathMatch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// === impl PathIndex ===

impl PathIndex {
    /// Indexes rules in their order, each with the path that the Ingress writes. Of two equal ones the first counts.
    pub(super) fn new<'r>(rules: impl Iterator<Item = (&'r PathRule, &'r str)>) -> Self {
        let mut index = Self::default();
        let mut slashes = Vec::new();
        // What `/foo` takes below it counts less than `/foo/`.
        let mut unslashed = Vec::new();
        for (route, (rule, written)) in rules.enumerate() {
            match rule {
                PathRule::Exact(path) => {
                    index.replace_prefix(path, Found { route, path: PathMatch::Exact });
                    slashes.push((path, route));
                }
                PathRule::Prefix(path) if path.ends_with('/') => {
                    let found = Found { route, path: PathMatch::Prefix(path.len()) };
                    index.add_below(PathKey(path.clone()), found);
                    slashes.push((path, route));
                }
                PathRule::Prefix(path) => {
                    let found = Found { route, path: PathMatch::Prefix(path.len()) };
                    index.whole.entry(PathKey(path.clone())).or_insert(found);
                    unslashed.push((path, found));
                }
                PathRule::Regex(pattern) => {
                    let path = PathMatch::Regex(written.len());
                    index.regexes.push((pattern.clone(), Found { route, path }));
                }
            }
        }
        for (path, found) in unslashed {
            index.add_below(PathKey(format!("{path}/").into()), found);
        }
        for (path, route) in slashes {
            if let Some(short) = path.strip_suffix('/').filter(|short| !short.is_empty()) {
                let found = Found { route, path: PathMatch::Slash(short.len()) };
                index.whole.entry(PathKey(short.into())).or_insert(found);
            }
        }
        index
    }

    /// Sets who serves a whole path, unless an exact rule does already.
    fn replace_prefix(&mut self, path: &Arc<str>, found: Found) {
        let entry = self.whole.entry(PathKey(path.clone())).or_insert(found);
        if entry.path != PathMatch::Exact {
            *entry = found;
        }
    }

    fn add_below(&mut self, path: PathKey, found: Found) {
        self.lengths.insert(path.0.len());
        self.below.entry(path).or_insert(found);
    }

    /// The route that fits a path best.
    pub(super) fn find(&self, path: &[u8]) -> Option<Found> {
        if let Some((_, found)) = self.regexes.iter().find(|(pattern, _)| pattern.is_match(path)) {
            return Some(*found);
        }
        if let Some(found) = self.whole.get(path) {
            return Some(*found);
        }
        let mut rest = &path[..path.len().min(self.lengths.longest)];
        while let Some(slash) = memchr::memrchr(b'/', rest) {
            if self.lengths.may_contain(slash + 1)
                && let Some(found) = self.below.get(&path[..=slash])
            {
                return Some(*found);
            }
            rest = &rest[..slash];
        }
        None
    }
}

// === impl PathKey ===

/// The hash is that of the bytes, so that a path is found by them.
impl Hash for PathKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl Borrow<[u8]> for PathKey {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

// === impl Lengths ===

impl Lengths {
    fn insert(&mut self, len: usize) {
        self.short |= 1_u128.checked_shl(u32::try_from(len).unwrap_or(u32::MAX)).unwrap_or(0);
        self.longest = self.longest.max(len);
    }

    fn may_contain(&self, len: usize) -> bool {
        len >= 128 || self.short >> len & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::PatternFlags;

    fn rule(text: &str) -> PathRule {
        let (kind, path) = text.split_once(' ').unwrap();
        match kind {
            "=" => PathRule::Exact(path.into()),
            "^" => PathRule::Prefix(path.into()),
            _ => PathRule::Regex(Pattern::new(path, PatternFlags::PATH).unwrap()),
        }
    }

    /// For each path: the rule that serves it, with `+` where it is redirected to add a slash.
    fn check(rules: &[&str], expected: &[(&str, &str)]) {
        let parsed: Vec<_> = rules.iter().map(|text| (rule(text), text.split_once(' ').unwrap().1)).collect();
        let index = PathIndex::new(parsed.iter().map(|(rule, path)| (rule, *path)));
        for (path, expected) in expected {
            let found = index.find(path.as_bytes()).map_or(String::new(), |found| {
                format!("{}{}", rules[found.route], if found.path.adds_slash() { "+" } else { "" })
            });
            assert_eq!(found, *expected, "{path} of {rules:?}");
        }
    }

    #[test]
    fn an_exact_path_beats_a_longer_prefix_and_that_a_shorter_one() {
        assert!(PathMatch::Exact > PathMatch::Prefix(1000));
        assert!(PathMatch::Prefix(5) > PathMatch::Prefix(4));
        assert!(PathMatch::Exact > PathMatch::Regex(9));
    }

    #[test]
    fn a_path_that_lacks_its_slash_counts_less_than_the_prefix_without_it_and_more_than_a_shorter_one() {
        let fits = |text: &str| rule(text).fits(b"/foo", "").unwrap();
        assert_eq!(fits("^ /foo/"), PathMatch::Slash(4));
        assert_eq!(fits("= /foo/"), PathMatch::Slash(4));
        assert!(fits("= /foo") > fits("^ /foo") && fits("^ /foo") > fits("^ /foo/") && fits("^ /foo/") > fits("^ /"));
    }

    #[test]
    fn a_prefix_is_by_elements() {
        check(
            &["^ /foo"],
            &[
                ("/foo", "^ /foo"),
                ("/foo/", "^ /foo"),
                ("/foo/bar", "^ /foo"),
                ("/foobar", ""),
                ("/Foo", ""),
                ("/", ""),
            ],
        );
    }

    #[test]
    fn the_root_takes_everything_else() {
        check(&["^ /", "^ /foo"], &[("/", "^ /"), ("/foobar", "^ /"), ("/foo/x", "^ /foo"), ("/a/b/c/", "^ /")]);
    }

    #[test]
    fn a_path_that_lacks_only_its_slash_is_redirected() {
        check(
            &["^ /foo/", "^ /"],
            &[("/foo", "^ /foo/+"), ("/foo/", "^ /foo/"), ("/foo/bar", "^ /foo/"), ("/foobar", "^ /")],
        );
        check(&["= /e/"], &[("/e", "= /e/+"), ("/e/", "= /e/"), ("/e/x", "")]);
    }

    #[test]
    fn an_exact_path_takes_only_itself() {
        check(&["= /foo"], &[("/foo", "= /foo"), ("/foo/", ""), ("/foo/bar", ""), ("/FOO", "")]);
    }

    #[test]
    fn an_exact_path_and_a_prefix_coexist() {
        for rules in [["= /foo", "^ /foo"], ["^ /foo", "= /foo"]] {
            check(&rules, &[("/foo", "= /foo"), ("/foo/", "^ /foo"), ("/foo/x", "^ /foo")]);
        }
        check(&["^ /foo/", "= /foo"], &[("/foo", "= /foo"), ("/foo/x", "^ /foo/")]);
        check(&["^ /foo/", "= /foo/"], &[("/foo", "^ /foo/+"), ("/foo/", "= /foo/"), ("/foo/x", "^ /foo/")]);
    }

    #[test]
    fn two_prefixes_that_differ_in_the_slash_coexist() {
        for rules in [["^ /foo", "^ /foo/"], ["^ /foo/", "^ /foo"]] {
            check(&rules, &[("/foo", "^ /foo"), ("/foo/", "^ /foo/"), ("/foo/x", "^ /foo/")]);
        }
    }

    #[test]
    fn the_first_of_equal_rules_serves() {
        let rules = [rule("^ /a"), rule("^ /a"), rule("= /a"), rule("= /a")];
        let index = PathIndex::new(rules.iter().map(|rule| (rule, "/a")));
        assert_eq!(index.find(b"/a").unwrap().route, 2);
        assert_eq!(index.find(b"/a/").unwrap().route, 0);
    }

    #[test]
    fn regexes_are_tried_in_order() {
        check(
            &["~ /foo/[0-9]+", "~ /foo", "~ /"],
            &[("/FOO/12x", "~ /foo/[0-9]+"), ("/foo/x", "~ /foo"), ("/foobar", "~ /foo"), ("/a", "~ /"), ("a", "")],
        );
    }

    #[test]
    fn long_paths_are_found() {
        let long = format!("/{}", "a".repeat(300));
        let prefix = format!("^ {long}");
        check(
            &[&prefix, "^ /"],
            &[(&format!("{long}/x"), &prefix), (&format!("{long}x/y"), "^ /"), ("*", ""), ("", "")],
        );
    }
}
