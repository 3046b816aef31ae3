//! Replaces the path of a request, as nginx's `rewrite "(?i)<path>" <target> break` does.

use super::{Captures, HashInput, Request, Rewrite, fields};

/// What comes of a rewrite.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Rewritten {
    /// The path and query for the endpoint.
    Target(Vec<u8>),
    /// The target is a URL: the client is redirected there.
    Redirect(Vec<u8>),
}

/// Rewrites a path, which is decoded and normalized. None where the pattern is not found in it: then the request goes
/// on as it came. A target is a path and no more; the query stays.
pub(super) fn rewrite(rewrite: &Rewrite, path: &[u8], request: &impl Request) -> Option<Rewritten> {
    let captures = rewrite.pattern.captures(path)?;
    let target = &*rewrite.target;
    let mut decoded = Vec::new();
    expand(target, &captures, request, |text| decoded.extend_from_slice(text));
    let redirects = ["http://", "https://", "$scheme"].iter().any(|start| target.starts_with(start));
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

/// Calls `take` for each part of a target: `$1` to `$9` are groups, `$name` a named group or a variable.
fn expand(target: &str, captures: &Captures<'_>, request: &impl Request, mut take: impl FnMut(&[u8])) {
    let mut rest = target;
    while let Some(dollar) = rest.find('$') {
        take(&rest.as_bytes()[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(digit) = after.bytes().next().filter(u8::is_ascii_digit) {
            take(captures.group(usize::from(digit - b'0')));
            rest = &after[1..];
            continue;
        }
        let (name, next) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        if let Some(group) = captures.named(name) {
            take(group);
        } else if let Some(variable) = HashInput::named(name) {
            variable.with(request, &mut take);
        }
        rest = next;
    }
    take(rest.as_bytes());
}
