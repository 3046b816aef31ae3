//! Paths that are regular expressions, and those that look like it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    key::{Hostname, PathType},
    problem::{Level, Problem, Reason},
    route::{Pattern, PatternFlags, Rewrite},
    translate::{
        annotations::{REWRITE_TARGET, shown},
        claim::{Claim, NOT_THERE, shown_host, without_effect},
        host::Pass,
    },
};

/// The characters besides letters and digits that Exact and Prefix paths may have where ingress-nginx validates them.
const STRICT: &str = "/._-";

// === impl Pass ===

impl Pass<'_> {
    /// Tells the Ingresses of a host whose paths take more than they say, since they are regular expressions: all plain
    /// ones of an Ingress that does not ask for that, exact ones also of one that does. Each is told once.
    pub(super) fn tell_widened(&mut self, host: &Hostname, claims: &[Claim<'_>]) {
        let Some(first) = claims.iter().find(|claim| claim.wants_regex()) else { return };
        let by = &first.ingress.key;
        let asking: BTreeSet<_> =
            claims.iter().filter(|claim| claim.wants_regex()).map(|claim| &claim.ingress.key).collect();
        let mut widened: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for claim in claims {
            let key = &claim.ingress.key;
            if claim.is_widened(asking.contains(key)) {
                widened.entry(key).or_default().push(claim);
            }
        }
        for (key, claims) in widened {
            let [claim, others @ ..] = &*claims else { continue };
            let own = asking.contains(key);
            let path = &claim.path.path;
            let also = match others.len() {
                0 => String::new(),
                1 => ", and so does another path of the Ingress".to_owned(),
                others => format!(", and so do {others} other paths of the Ingress"),
            };
            let pattern = claim.as_pattern();
            self.tell(Problem {
                object: key.clone(),
                field: format!("{}.path", claim.field),
                level: Level::Warning,
                reason: Reason::Differs,
                fault: if own {
                    format!("The paths of {} are regular expressions, exact ones too", shown_host(host))
                } else {
                    format!("{by} makes the paths of {} regular expressions", shown_host(host))
                },
                effect: format!("`{path}` takes all that begins with it, in any case of letters{also}"),
                mend: if own {
                    format!("Write `{pattern}` with `pathType: ImplementationSpecific`, or move it to another host")
                } else {
                    format!(
                        "Move it to another host, or write `use-regex: \"true\"` here too and `{pattern}` with \
                         `pathType: ImplementationSpecific`"
                    )
                },
            });
        }
    }

    /// Tells of a path that is the same regular expression as one before it, since one of the two is exact: regular
    /// expressions know no difference.
    pub(super) fn tell_same_pattern(&mut self, host: &Hostname, claims: &[Claim<'_>]) {
        let mut owners = BTreeMap::new();
        for claim in claims {
            let owner = *owners.entry(&claim.path.path).or_insert(claim);
            if owner.path == claim.path {
                continue;
            }
            let (exact, prefix) = if claim.path.exact { (claim, owner) } else { (owner, claim) };
            if prefix.leaves_exact() {
                continue;
            }
            let pattern = exact.as_pattern();
            let (path, owner) = (&claim.path.path, &owner.ingress.key);
            let fault = format!("`{path}` on {} is the regular expression of {owner} already", shown_host(host));
            let mend = format!("Write `{pattern}` with `pathType: ImplementationSpecific` instead of the exact path");
            let problem = without_effect(claim.ingress, &claim.field, fault, &mend);
            self.tell(problem);
        }
    }

    /// Compiles a path of a host whose paths are regular expressions; `exact` is whether the host has it as an exact one
    /// too. Where that fails, a path that is to be closed is closed as far as its text is plain, so that no other path of
    /// the host opens it.
    pub(super) fn path_pattern(&mut self, claim: &Claim<'_>, exact: bool) -> Option<Pattern> {
        let path = &claim.path.path;
        let below = (exact && claim.leaves_exact()).then(|| format!("{path}/"));
        let source = below.as_deref().unwrap_or(path);
        let (level, reason, fault, effect, mend, pattern) = match Pattern::new(source, PatternFlags::PATH) {
            Ok(pattern) if pattern.backtracks() => (
                Level::Warning,
                Reason::Differs,
                format!("`{path}` needs look-around, back-references or the like"),
                "It is searched within a limit; a search that is given up found nothing".to_owned(),
                "Write it without them",
                Some(pattern),
            ),
            Ok(pattern) => return Some(pattern),
            Err(fault) => {
                let plain = claim.plain_start();
                let closed = Pattern::new(plain, PatternFlags::PATH).ok().filter(|_| claim.stable.closed);
                (
                    Level::Error,
                    Reason::InvalidValue,
                    format!("`{path}` is no regular expression that can be used: {fault}"),
                    match closed {
                        Some(_) => format!("All that begins with `{plain}` is closed: it answers 503"),
                        None => NOT_THERE.to_owned(),
                    },
                    "Correct it; all paths of a host with `use-regex` or `rewrite-target` are regular expressions",
                    closed,
                )
            }
        };
        self.tell(Problem {
            object: claim.ingress.key.clone(),
            field: format!("{}.path", claim.field),
            level,
            reason,
            fault,
            effect,
            mend: mend.to_owned(),
        });
        pattern
    }

    /// The rewrite of a path. None where there is none, or where it cannot be used, which is told.
    pub(super) fn rewrite(&mut self, claim: &Claim<'_>) -> Option<Rewrite> {
        let target = claim.rewrite()?;
        let path = &claim.path.path;
        // Where it does not compile, that is told of the path.
        let rewrite = Rewrite::new(Pattern::new(path, PatternFlags::REWRITE).ok()?, &target);
        let (level, fault, effect, mend) = match &rewrite {
            Ok(applied) => {
                let Some((group, groups)) = applied.missing_group() else { return rewrite.ok() };
                let has = match groups {
                    0 => "no group".to_owned(),
                    1 => "one group".to_owned(),
                    groups => format!("{groups} groups"),
                };
                (
                    Level::Warning,
                    format!("`${group}` is always empty: `{path}` has {has}"),
                    format!("Endpoints see `{target}` without it"),
                    claim.with_group(group).map_or_else(
                        || "Write a path that has the group, or remove it here".to_owned(),
                        |path| format!("Write the path as `{path}`"),
                    ),
                )
            }
            Err(fault) => (
                Level::Error,
                format!("{} cannot be what `{path}` is replaced with: {fault}", shown(&target)),
                "Endpoints see the path that the client sent".to_owned(),
                REWRITE_TARGET.annotation.kind.mend(),
            ),
        };
        self.tell(Problem {
            object: claim.ingress.key.clone(),
            field: format!("metadata.annotations[{}/rewrite-target]", self.options.annotation_prefix),
            level,
            reason: Reason::InvalidValue,
            fault,
            effect,
            mend,
        });
        rewrite.ok()
    }

    /// Tells of an exact path or a prefix with letters that ingress-nginx has only in regular expressions.
    pub(super) fn tell_if_strange(&mut self, claim: &Claim<'_>, regex: bool) {
        let path = &claim.path.path;
        let strict = |c: char| c.is_ascii_alphanumeric() || STRICT.contains(c);
        if claim.path_type == PathType::ImplementationSpecific || path.chars().all(strict) {
            return;
        }
        let (is, mend) = if regex {
            ("It is a regular expression here", "Write `pathType: ImplementationSpecific`")
        } else {
            (
                "It is compared as it is written",
                "Write `pathType: ImplementationSpecific` for a regular expression, or a plain path",
            )
        };
        self.tell(Problem {
            object: claim.ingress.key.clone(),
            field: format!("{}.path", claim.field),
            level: Level::Warning,
            reason: Reason::InvalidValue,
            fault: format!("`{path}` has more than letters, digits, `.`, `_`, `-` and `/`"),
            effect: format!("{is}; ingress-nginx refuses the object"),
            mend: mend.to_owned(),
        });
    }

    /// Tells of a path that looks like a regular expression on a host where it is none.
    pub(super) fn tell_if_regex(&mut self, claim: &Claim<'_>) {
        let path = &claim.path.path;
        if claim.path_type != PathType::ImplementationSpecific || !claim.looks_like_regex() {
            return;
        }
        // As other controllers write a prefix.
        let mend = match path.strip_suffix("/*") {
            Some("") => "Write `/` with `pathType: Prefix`".to_owned(),
            Some(prefix) => format!("Write `{prefix}` with `pathType: Prefix`"),
            None => format!("Write `{}/use-regex: \"true\"` if it is one", self.options.annotation_prefix),
        };
        self.tell(Problem {
            object: claim.ingress.key.clone(),
            field: format!("{}.path", claim.field),
            level: Level::Warning,
            reason: Reason::InvalidValue,
            fault: format!("`{path}` looks like a regular expression"),
            effect: "It is compared letter by letter".to_owned(),
            mend,
        });
    }
}

// === impl Claim ===

impl Claim<'_> {
    /// Whether it leaves requests of just its path to an exact one, and takes what is below: a prefix whose Ingress asks
    /// for no regular expressions (`updateServerLocations` in ingress-nginx's `controller.go`).
    fn leaves_exact(&self) -> bool {
        self.path_type == PathType::Prefix && !self.wants_regex() && !self.path.path.ends_with('/')
    }

    fn looks_like_regex(&self) -> bool {
        self.path.path.contains(['*', '(', '[', '|', '^', '$', '\\', '+'])
    }

    /// The path up to what is no plain letter in a regular expression. One that may be left out is not part of it.
    fn plain_start(&self) -> &str {
        let path = &*self.path.path;
        let Some(end) = path.find(['\\', '^', '$', '[', '|', '(', ')', '?', '*', '+', '{']) else { return path };
        let mut start = path[..end].chars();
        if path[end..].starts_with(['?', '*', '{']) {
            start.next_back();
        }
        start.as_str()
    }

    /// Whether it takes more than it says as a regular expression; `own` is whether its Ingress asks for that.
    fn is_widened(&self, own: bool) -> bool {
        let all = !self.path.exact && *self.path.path == *"/";
        (self.path.exact || !own) && !all && !self.looks_like_regex()
    }

    /// The path with a group for what is below it, as it is usually written where the target has just `$1`, or `$2`.
    fn with_group(&self, group: usize) -> Option<String> {
        let path = self.path.path.trim_end_matches('/');
        if self.default || self.looks_like_regex() {
            return None;
        }
        match group {
            1 => Some(format!("{path}/(.*)")),
            2 if !path.is_empty() => Some(format!("{path}(/|$)(.*)")),
            _ => None,
        }
    }

    /// The regular expression that takes what the path says, but for the case of letters.
    fn as_pattern(&self) -> String {
        let path = self.path.path.replace('.', "\\.");
        if self.path.exact { format!("{path}$") } else { format!("{}(/|$)", path.trim_end_matches('/')) }
    }
}
