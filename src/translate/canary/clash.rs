//! What canaries of one route are told that are in each other's way: shares that sum to too much, a lot that sticks to
//! something else, rules that leave nothing to ask.

use crate::{
    key::ClusterKey,
    problem::{Level, Problem, Reason},
    route::{Canary, Share, ValueMatch},
    translate::{annotations::CANARY_STICKY, host::Pass, place::Placed},
};

use super::Ranked;

// === impl Pass ===

impl Pass<'_> {
    /// Tells which canaries of a route are in each other's way.
    pub(super) fn tell_clashes(&mut self, placed: &Placed<'_>, ranked: &[Ranked]) {
        let sum: f64 = ranked.iter().map(|ranked| ranked.canary.share.part()).sum();
        if sum > 1.0 + 1e-9 && ranked.len() > 1 {
            for Ranked { canary, .. } in ranked.iter().filter(|ranked| ranked.canary.share.weight > 0) {
                self.tell(Problem {
                    object: canary.ingress.clone(),
                    field: self.annotation("canary-weight"),
                    level: Level::Warning,
                    reason: Reason::CanaryWeights,
                    fault: format!(
                        "The canaries of `{}{}` ask for {:.0} % of its requests together",
                        placed.route.id.host,
                        placed.route.id.path,
                        sum * 100.0
                    ),
                    effect: format!(
                        "The shares are scaled: this one gets {:.1} %, the stable side nothing",
                        canary.share.part() / sum * 100.0
                    ),
                    mend: "Lower the weights until they sum to 100 % at most".to_owned(),
                });
            }
        }
        let in_force = ranked.iter().find_map(|Ranked { canary, .. }| Some((&canary.ingress, canary.sticky.as_ref()?)));
        for Ranked { canary, .. } in ranked {
            if let (Some((first, in_force)), Some(own)) = (in_force, &canary.sticky)
                && own != in_force
            {
                self.tell(Problem {
                    object: canary.ingress.clone(),
                    field: format!(
                        "metadata.annotations[{}]",
                        CANARY_STICKY.annotation.full_name(&self.options.annotation_prefix)
                    ),
                    level: Level::Warning,
                    reason: Reason::Conflict,
                    fault: format!(
                        "The lot over all canaries of `{}{}` sticks to the {in_force}, as {first} asks for",
                        placed.route.id.host, placed.route.id.path
                    ),
                    effect: "It is ignored".to_owned(),
                    mend: "Write the same there and here, or remove one of them".to_owned(),
                });
            }
        }
        for (at, Ranked { canary, field, .. }) in ranked.iter().enumerate() {
            let rule = &canary.rule;
            let has_rule = rule.header.is_some() || rule.query.is_some() || rule.cookie.is_some();
            let Some(by) = ranked[..at].iter().find(|earlier| has_rule && earlier.canary.takes_all_of(canary)) else {
                continue;
            };
            let by = &by.canary.ingress;
            let (fault, effect) = if canary.share.weight == 0 {
                (format!("{by} takes all requests that this canary could get"), "No request is sent to it")
            } else {
                (
                    format!("{by} takes all requests that the rule of this canary would send to it"),
                    "It gets requests by its weight alone",
                )
            };
            self.tell(Problem {
                object: canary.ingress.clone(),
                field: field.clone(),
                level: Level::Warning,
                reason: Reason::CanaryShadowed,
                fault,
                effect: effect.to_owned(),
                mend: "Write another value, or a higher `serin.dev/canary-priority`".to_owned(),
            });
        }
    }

    /// Where an annotation of ingress-nginx is.
    pub(in crate::translate) fn annotation(&self, name: &str) -> String {
        format!("metadata.annotations[{}/{name}]", self.options.annotation_prefix)
    }
}

// === impl Canary ===

impl Canary<ClusterKey> {
    /// Whether it gets every request that the rules of `other` would send there.
    fn takes_all_of(&self, other: &Self) -> bool {
        let (own, other) = (&self.rule, &other.rule);
        let own_fields = [&own.header, &own.query];
        let other_fields = [&other.header, &other.query];
        // Names of headers and cookies are the same in any case, those of parameters are not.
        let same_name = [str::eq_ignore_ascii_case, |own: &str, other: &str| own == other];
        let fields = match (own_fields, other_fields) {
            (_, [None, None]) => true,
            ([None, None], _) => false,
            // Each condition of this one is implied by one of the other's.
            (own, other) => own.iter().zip(other).zip(same_name).all(|((own, other), same_name)| match (own, other) {
                (None, _) => true,
                (Some(own), Some(other)) => same_name(&own.name, &other.name) && own.value.covers(&other.value),
                (Some(_), None) => false,
            }),
        };
        let cookie = match (&own.cookie, &other.cookie) {
            (_, None) => true,
            (Some(own), Some(other)) => own.name.eq_ignore_ascii_case(&other.name) && own.value.covers(&other.value),
            (None, Some(_)) => false,
        };
        fields && cookie
    }
}

// === impl ValueMatch ===

impl ValueMatch {
    /// Whether every value that `other` sends to its canary is sent to this one's.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AlwaysNever, Self::AlwaysNever) => true,
            (Self::AlwaysNever, Self::OneOf(values)) => values.iter().all(|value| &**value == "always"),
            (Self::OneOf(own), Self::OneOf(values)) => values.iter().all(|value| own.contains(value)),
            (Self::OneOf(own), Self::AlwaysNever) => own.iter().any(|value| &**value == "always"),
            (Self::Pattern(own), Self::Pattern(other)) => own == other,
            (Self::Pattern(own), Self::OneOf(values)) => values.iter().all(|value| own.is_match(value.as_bytes())),
            (Self::Pattern(own), Self::AlwaysNever) => own.is_match(b"always"),
            _ => false,
        }
    }
}

// === impl Share ===

impl Share {
    fn part(self) -> f64 {
        f64::from(self.weight) / f64::from(self.total)
    }
}
