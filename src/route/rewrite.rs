//! Replaces the path of a request, as nginx's `rewrite "(?i)<path>" <target> break` does.

use std::sync::Arc;

use serde::Serialize;

use super::{Captures, HashInput, InvalidHashKey, Pattern, Request, fields, policy::variable_name};

/// A replacement of the path (`rewrite-target`).
///
/// The pattern is searched in the decoded path, as nginx's `rewrite` does; the whole path is replaced, and the query
/// is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Rewrite {
    pattern: Pattern,
    /// As the annotation has it.
    target: Arc<str>,
    #[serde(skip)]
    parts: Arc<[Part]>,
}

/// A part of the new path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Arc<str>),
    /// What a group of the pattern matched.
    Group(usize),
    Variable(HashInput),
}

/// What comes of a rewrite.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Rewritten {
    /// The path and query for the endpoint.
    Target(Vec<u8>),
    /// The target is a URL: the client is redirected there.
    Redirect(Vec<u8>),
}

// === impl Rewrite ===

impl Rewrite {
    /// Reads the new path: `$1` to `$9` are what the groups of the pattern matched, `$name` is a named group or a variable.
    ///
    /// # Errors
    ///
    /// Where a name is neither.
    pub fn new(pattern: Pattern, target: &str) -> Result<Self, InvalidHashKey> {
        let mut parts = Vec::new();
        let mut rest = target;
        while let Some(dollar) = rest.find('$') {
            parts.push(Part::Text(rest[..dollar].into()));
            let after = &rest[dollar + 1..];
            if let Some(digit @ b'1'..=b'9') = after.bytes().next() {
                parts.push(Part::Group(usize::from(digit - b'0')));
                rest = &after[1..];
                continue;
            }
            let name;
            (name, rest) = variable_name(after)?;
            parts.push(match pattern.group_named(name) {
                Some(group) => Part::Group(group),
                None => Part::Variable(HashInput::parse(name)?),
            });
        }
        parts.push(Part::Text(rest.into()));
        Ok(Self { pattern, target: target.into(), parts: parts.into() })
    }

    /// The highest number in the target that is of no group, and how many groups there are.
    #[must_use]
    pub fn missing_group(&self) -> Option<(usize, usize)> {
        let groups = self.pattern.groups();
        let named = self.parts.iter().map(|part| if let Part::Group(group) = part { *group } else { 0 });
        named.max().filter(|highest| *highest > groups).map(|highest| (highest, groups))
    }

    /// Rewrites a path, which is decoded and normalized. None where the pattern is not found in it: then the request goes
    /// on as it came. A target is a path and no more; the query stays.
    pub(super) fn apply(&self, path: &[u8], request: &impl Request) -> Option<Rewritten> {
        let captures = self.pattern.captures(path)?;
        let mut decoded = Vec::new();
        self.each(&captures, request, |text| decoded.extend_from_slice(text));
        let redirects = ["http://", "https://", "$scheme"].iter().any(|start| self.target.starts_with(start));
        let mut out = Vec::with_capacity(decoded.len() + 1);
        if !redirects && !decoded.starts_with(b"/") {
            out.push(b'/');
        }
        fields::encode_path(&decoded, &mut out);

        if let (_, Some(query)) = fields::split_target(request.target()) {
            out.push(b'?');
            if redirects {
                fields::encode(query, &mut out, |_| true);
            } else {
                out.extend_from_slice(query);
            }
        }
        Some(if redirects { Rewritten::Redirect(out) } else { Rewritten::Target(out) })
    }

    /// Calls `take` for each part of the new path.
    fn each(&self, captures: &Captures<'_>, request: &impl Request, mut take: impl FnMut(&[u8])) {
        for part in self.parts.iter() {
            match part {
                Part::Text(text) => take(text.as_bytes()),
                Part::Group(group) => take(captures.group(*group)),
                Part::Variable(variable) => variable.with(request, &mut take),
            }
        }
    }
}
