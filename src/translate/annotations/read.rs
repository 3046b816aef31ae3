//! Reads the annotations of one Ingress.

use std::sync::Arc;

use crate::{
    api::Ingress,
    key::ObjectKey,
    problem::{Level, Problem, Reason},
    store::Observed,
};

use super::{ALIBABA, Annotation, CANARY, Kind, SERIN, Support, Typed, named, registry, value};

/// The prefix that ingress-nginx once had.
const FORMER: &str = "ingress.kubernetes.io";

/// The most of a value that a problem shows, in characters.
const SHOWN: usize = 60;

/// The annotations of an Ingress that are ours to read, and what is found to be wrong with them.
#[derive(Debug)]
pub(in crate::translate) struct Reader<'a> {
    ingress: &'a ObjectKey,
    /// The prefix of ingress-nginx's annotations.
    prefix: &'a str,
    found: Vec<Found<'a>>,
    problems: Vec<Problem>,
}

/// An annotation that is set.
#[derive(Clone, Copy, Debug)]
pub(in crate::translate) struct Found<'a> {
    pub(in crate::translate) annotation: &'static Annotation,
    /// With its prefix, as it is written.
    pub(in crate::translate) name: &'a str,
    /// Without the spaces around it.
    pub(in crate::translate) value: &'a str,
}

/// A value as a problem shows it.
pub(in crate::translate) fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("`{}…`", &value[..end]),
        None => format!("`{value}`"),
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Looks up the annotations of an Ingress. Those under our prefixes that are not known are told.
    pub(in crate::translate) fn new(prefix: &'a str, ingress: &'a Observed<Ingress>) -> Self {
        let mut reader = Self { ingress: &ingress.key, prefix, found: Vec::new(), problems: Vec::new() };
        for (name, value) in ingress.metadata.annotations.iter().flatten() {
            reader.look_up(name, value.trim());
        }
        reader
    }

    /// The annotations that are set.
    pub(in crate::translate) fn found(&self) -> &[Found<'a>] {
        &self.found
    }

    /// Whether tools that make a canary's Ingress copy an annotation there from the stable one: Flagger leaves out those of
    /// ingress-nginx whose names begin with `canary`.
    pub(in crate::translate) fn is_copied(&self, found: &Found<'_>) -> bool {
        let of_nginx = found.name.strip_prefix(self.prefix).and_then(|name| name.strip_prefix('/'));
        !of_nginx.is_some_and(|name| name.starts_with(CANARY.annotation.name))
    }

    /// An annotation, where it is set and not empty.
    pub(in crate::translate) fn set(&self, annotation: &Annotation) -> Option<Found<'a>> {
        self.found.iter().find(|found| found.annotation.name == annotation.name && !found.value.is_empty()).copied()
    }

    /// The value of an annotation, where it is set and valid.
    pub(in crate::translate) fn get<T>(&mut self, typed: &Typed<T>) -> Option<T> {
        match typed.annotation.default {
            "" => self.get_else(typed, "It is ignored"),
            default => self.get_else(typed, &format!("The default applies: `{default}`")),
        }
    }

    /// The value of an annotation, where it is set and valid; `effect` is what follows where it is not valid.
    pub(in crate::translate) fn get_else<T>(&mut self, typed: &Typed<T>, effect: &str) -> Option<T> {
        let found = self.set(&typed.annotation)?;
        match (typed.parse)(found.value) {
            Ok(value) => Some(value),
            Err(fault) => {
                let fault = format!("{} {fault}", shown(found.value));
                self.tell(found, Level::Error, Reason::InvalidValue, fault, effect, found.annotation.kind.mend());
                None
            }
        }
    }

    /// The value of an annotation that must not be ignored where it is not valid: an error then, which is told with what
    /// follows, `effect`.
    pub(in crate::translate) fn require<T>(&mut self, typed: &Typed<T>, effect: &str) -> Result<Option<T>, ()> {
        let Some(found) = self.set(&typed.annotation) else { return Ok(None) };
        (typed.parse)(found.value).map(Some).map_err(|fault| {
            let (fault, mend) = (format!("{} {fault}", shown(found.value)), found.annotation.kind.mend());
            self.tell(found, Level::Error, Reason::InvalidValue, fault, effect, mend);
        })
    }

    /// The namespace of the Ingress.
    pub(in crate::translate) fn namespace(&self) -> Arc<str> {
        self.ingress.namespace.clone()
    }

    /// The value of an annotation, or what holds otherwise.
    pub(in crate::translate) fn get_or<T>(&mut self, typed: &Typed<T>, otherwise: T) -> T {
        self.get(typed).unwrap_or(otherwise)
    }

    /// Tells that something is wrong with an annotation.
    pub(in crate::translate) fn tell(
        &mut self,
        found: Found<'_>,
        level: Level,
        reason: Reason,
        fault: impl Into<String>,
        effect: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.problems.push(Problem {
            object: self.ingress.clone(),
            field: found.field(),
            level,
            reason,
            fault: fault.into(),
            effect: effect.into(),
            mend: mend.into(),
        });
    }

    /// Tells what becomes of annotations that do not do what they do in ingress-nginx.
    pub(in crate::translate) fn tell_support(&mut self) {
        for found in self.found.clone() {
            if found.value.is_empty() || found.says_the_default() {
                continue;
            }
            let name = found.name.split_once('/').map_or(found.name, |(_, name)| name);
            match found.annotation.support {
                Support::Honoured | Support::Partly(_) => {}
                Support::Differs(how) => self.tell(
                    found,
                    Level::Warning,
                    Reason::Differs,
                    format!("`{name}` is not what it is in ingress-nginx"),
                    how,
                    "Remove it, unless ingress-nginx reads the object too",
                ),
                Support::NotYet(meanwhile) => self.tell(
                    found,
                    Level::Warning,
                    Reason::NotYet,
                    format!("`{name}` is not built yet"),
                    meanwhile,
                    "Remove it, or wait for a release that has it",
                ),
                Support::NotYetClosed => self.tell(
                    found,
                    Level::Error,
                    Reason::NotYet,
                    format!("`{name}` is not built yet, and without it the paths would be open"),
                    "The paths of the Ingress are closed: they answer 503",
                    "Remove it if the paths may be open, or wait for a release that has it",
                ),
                Support::Refused { why, mend } => {
                    self.tell(
                        found,
                        Level::Error,
                        Reason::Refused,
                        format!("`{name}` is refused: {why}"),
                        "It is ignored",
                        mend,
                    );
                }
            }
        }
    }

    /// Tells which annotations are empty.
    pub(in crate::translate) fn tell_empty(&mut self) {
        for found in self.found.clone() {
            if found.value.is_empty() {
                let effect = match found.annotation.default {
                    "" => "It counts as not set".to_owned(),
                    default => format!("It counts as not set, so the default applies: `{default}`"),
                };
                let mend = format!("{}, or remove it", found.annotation.kind.mend());
                self.tell(found, Level::Warning, Reason::InvalidValue, "The value is empty", effect, mend);
            }
        }
    }

    /// What was found to be wrong.
    pub(in crate::translate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn look_up(&mut self, full_name: &'a str, value: &'a str) {
        let Some((prefix, name)) = full_name.split_once('/') else { return };
        let known = named(name);
        if let Some(annotation) = known.filter(|annotation| annotation.prefixes.contain(prefix, self.prefix)) {
            self.add(Found { annotation, name: full_name, value });
        } else if prefix == self.prefix || prefix == SERIN {
            self.tell_unknown(full_name, name, known, Level::Error);
        } else if ALIBABA.contains(&prefix) {
            // Whoever moves here from there has more than what is read here, and may need it there still.
            self.tell_unknown(full_name, name, known, Level::Warning);
        } else if known.is_some_and(|annotation| is_misspelt(prefix, &annotation.full_name(self.prefix))) {
            self.tell_unknown(full_name, name, None, Level::Error);
        }
    }

    /// Adds what is set. Of one annotation under several names that with the most of a value, and then the first, counts.
    fn add(&mut self, found: Found<'a>) {
        let same = |other: &&mut Found<'a>| other.annotation.name == found.annotation.name;
        let Some(other) = self.found.iter_mut().find(same) else {
            self.found.push(found);
            return;
        };
        let rank = |found: &Found<'_>| {
            let (prefix, name) = found.name.split_once('/').unwrap_or_default();
            let alibaba = ALIBABA.iter().position(|other| *other == prefix).map_or(0, |position| position + 1);
            (found.value.is_empty(), name != found.annotation.name, alibaba, prefix != SERIN)
        };
        let mut loser = found;
        if rank(&found) < rank(other) {
            loser = std::mem::replace(other, found);
        }
        let winner = *other;
        if winner.value != loser.value && !loser.value.is_empty() {
            self.tell(
                loser,
                Level::Warning,
                Reason::Conflict,
                format!("`{}` says something else", winner.name),
                format!("It is ignored, and {} counts", shown(winner.value)),
                "Keep one of them",
            );
        }
    }

    fn tell_unknown(&mut self, full_name: &str, name: &str, known: Option<&'static Annotation>, level: Level) {
        let mend = match known.or_else(|| similar(name)) {
            Some(annotation) if known.is_some() => format!("Write `{}`", annotation.full_name(self.prefix)),
            Some(annotation) => format!("Write `{}`, if you mean that", annotation.full_name(self.prefix)),
            None if level == Level::Warning => "Remove it, unless another gateway reads the object too".to_owned(),
            None => "Remove it; `serin annotations` lists those that are known".to_owned(),
        };
        self.problems.push(Problem {
            object: self.ingress.clone(),
            field: format!("metadata.annotations[{full_name}]"),
            level,
            reason: Reason::UnknownAnnotation,
            fault: "There is no such annotation".to_owned(),
            effect: "It is ignored".to_owned(),
            mend,
        });
    }
}

/// Whether a prefix is hardly another's than that of a name: it is the former one of ingress-nginx, or a few letters are
/// wrong. Those of other controllers, such as `alb.ingress.kubernetes.io`, differ by more.
fn is_misspelt(prefix: &str, full_name: &str) -> bool {
    let Some((right, _)) = full_name.split_once('/') else { return false };
    let near = || {
        strsim::damerau_levenshtein(prefix, right) <= 2 && strsim::normalized_damerau_levenshtein(prefix, right) >= 0.8
    };
    prefix == FORMER || prefix.eq_ignore_ascii_case(right) || (prefix.len().abs_diff(right.len()) <= 2 && near())
}

/// The annotation whose name is most like a name, if one is.
fn similar(name: &str) -> Option<&'static Annotation> {
    let names = registry().flat_map(|annotation| {
        std::iter::once(annotation.name).chain(annotation.alias).map(move |other| (other, annotation))
    });
    // To compare two names costs the product of their lengths. They differ by at least what one is longer.
    let length = name.chars().count();
    let near = names.filter(|(other, _)| length.abs_diff(other.len()) * 10 <= length.max(other.len()) * 3);
    let rated = near.map(|(other, annotation)| (strsim::normalized_damerau_levenshtein(name, other), annotation));
    let (rate, annotation) = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (rate >= 0.7).then_some(annotation)
}

// === impl Found ===

impl Found<'_> {
    /// Where it is in the object.
    pub(in crate::translate) fn field(&self) -> String {
        format!("metadata.annotations[{}]", self.name)
    }

    /// Whether it says just what holds without it.
    fn says_the_default(&self) -> bool {
        match self.annotation.kind {
            Kind::Bool => {
                let default = if self.annotation.default.is_empty() { "false" } else { self.annotation.default };
                value::bool(self.value).is_ok_and(|value| Ok(value) == value::bool(default))
            }
            _ => self.value == self.annotation.default,
        }
    }
}
