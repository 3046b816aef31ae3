//! Paths that are regular expressions, and those that look like it.

use crate::{
    key::PathType,
    problem::{Level, Problem, Reason},
    route::{Pattern, PatternFlags},
    translate::{claim::Claim, host::Pass},
};

// === impl Pass ===

impl Pass<'_> {
    /// Compiles a path of a host whose paths are regular expressions.
    pub(super) fn path_pattern(&mut self, claim: &Claim<'_>) -> Option<Pattern> {
        let path = &claim.path.path;
        let (level, reason, fault, effect, mend, pattern) = match Pattern::new(path, PatternFlags::PATH) {
            Ok(pattern) if pattern.backtracks() => (
                Level::Warning,
                Reason::Differs,
                format!("`{path}` needs look-around, back-references or the like"),
                "It is searched within a limit; a search that is given up found nothing",
                "Write it without them",
                Some(pattern),
            ),
            Ok(pattern) => return Some(pattern),
            Err(fault) => (
                Level::Error,
                Reason::InvalidValue,
                format!("`{path}` is no regular expression that can be used: {fault}"),
                "The path is not served",
                "Correct it; all paths of a host with `use-regex` or `rewrite-target` are regular expressions",
                None,
            ),
        };
        self.tell(Problem {
            object: claim.ingress.key.clone(),
            field: format!("{}.path", claim.field),
            level,
            reason,
            fault,
            effect: effect.to_owned(),
            mend: mend.to_owned(),
        });
        pattern
    }

    /// Tells of a path that looks like a regular expression on a host where it is none.
    pub(super) fn tell_if_regex(&mut self, claim: &Claim<'_>) {
        let path = &claim.path.path;
        if claim.path_type != PathType::ImplementationSpecific
            || !path.contains(['*', '(', '[', '|', '^', '$', '\\', '+'])
        {
            return;
        }
        self.tell(Problem {
            object: claim.ingress.key.clone(),
            field: format!("{}.path", claim.field),
            level: Level::Warning,
            reason: Reason::InvalidValue,
            fault: format!("`{path}` looks like a regular expression"),
            effect: "It is compared letter by letter".to_owned(),
            mend: format!("Write `{}/use-regex: \"true\"` if it is one", self.options.annotation_prefix),
        });
    }
}
