//! Adds canaries to the routes that they belong to.
//!
//! A canary belongs to the route with its host, path and path type, in its own namespace. Paths of a canary whose
//! backend is the one of the stable route are ignored: release tools copy whole rules, and mean nothing by them. A canary
//! of a default backend alone belongs to `/` of any host; ingress-nginx makes it one of all routes without a host.

use std::cmp::Reverse;

use crate::{
    key::{ClusterKey, Hostname, ObjectKey},
    problem::{Level, Problem, Reason},
    route::{Canary, Rule, Side},
    store::Precedence,
};

use super::{
    Read, Role,
    annotations::CanaryScope,
    backend::Backend,
    claim::{Claim, PathKey, shown_host, stands_twice},
    host::{Pass, Seen},
    hosts::{canaries_of, has_rules, named_by, pathless_rules, paths_on, rules_of},
    place::Placed,
    settings::CanarySettings,
};

mod clash;
mod copied;

/// A path of a canary.
struct Part<'s> {
    seen: &'s Seen<'s>,
    settings: &'s CanarySettings,
    path: PathKey,
    backend: Backend,
    field: String,
    backend_field: String,
    /// Whether it is `spec.defaultBackend` beside rules, which belongs to nothing but a default backend. Without rules it
    /// stands for `/` of any host, however the stable Ingress writes that.
    default: bool,
}

/// A canary of a route, with what decides its place.
struct Ranked {
    place: (Reverse<i64>, Precedence),
    canary: Canary<ClusterKey>,
    field: String,
}

// === impl Pass ===

impl<'a> Pass<'a> {
    /// Adds the canaries among the Ingresses of `source` to its routes, and those of elsewhere that reach them.
    pub(super) fn attach_canaries(&mut self, source: &Hostname, seen: &[Seen<'a>], placed: &mut [Placed<'_>]) {
        let mut ranked: Vec<Vec<Ranked>> = placed.iter().map(|_| Vec::new()).collect();
        for canary in seen {
            let Some(settings) = canary.settings.canary() else { continue };
            self.tell_pathless(source, canary);
            let mut stables = Vec::new();
            let (mut belongs, mut lost) = (false, false);
            for part in self.parts(source, canary, settings) {
                let at = placed.iter().position(|placed| part.belongs_to(&placed.claim));
                match at {
                    Some(at) if placed[at].cluster.same_port(&part.backend.cluster) => belongs = true,
                    Some(at) => {
                        belongs = true;
                        stables.push(at);
                        if placed[at].route.split.stable.is_none() {
                            let problem = part.closed_by(&placed[at]);
                            self.tell(problem);
                        } else if part.is_among(&ranked[at]) && !part.default {
                            let problem = stands_twice(canary.ingress, &part.field, &part.path, source);
                            self.tell(problem);
                        }
                        self.attach(&part, &placed[at], &mut ranked[at]);
                    }
                    // Tools copy the default backend along with the rest.
                    None if part.default && (belongs || canary.copies_default_of(seen)) => {}
                    None => {
                        lost = true;
                        let problem = part.without_stable(source, placed);
                        self.tell(problem);
                    }
                }
            }
            if belongs && !lost && stables.is_empty() {
                self.tell_copy(source, canary, settings);
            }
            let stables: Vec<_> = stables.into_iter().map(|at| &placed[at]).collect();
            self.tell_idle(canary, settings, &stables);
        }
        self.attach_from_afar(placed, &mut ranked);
        for (placed, mut ranked) in placed.iter_mut().zip(ranked) {
            ranked.sort_by(|a, b| a.place.cmp(&b.place));
            self.tell_clashes(placed, &ranked);
            placed.route.split.canaries = ranked.into_iter().map(|ranked| ranked.canary).collect();
        }
    }

    /// Tells which rules of a canary for a host name no path, where there is no default backend for them.
    fn tell_pathless(&mut self, host: &Hostname, canary: &Seen<'a>) {
        let spec = canary.ingress.spec.as_ref();
        if spec.is_some_and(|spec| spec.default_backend.is_some()) {
            return;
        }
        let on_host = pathless_rules(canary.ingress).filter(|(_, other)| other == host);
        let mut fields: Vec<_> = on_host.map(|(field, _)| (field, "The rule names no path")).collect();
        if !has_rules(canary.ingress) && host.is_any() {
            fields.push(("spec".to_owned(), "The canary has no rule"));
        }
        for (field, fault) in fields {
            self.tell(Problem {
                object: canary.ingress.key.clone(),
                field,
                level: Level::Error,
                reason: Reason::CanaryWithoutStable,
                fault: fault.to_owned(),
                effect: "No request is sent to this part of the canary".to_owned(),
                mend: "Write host, path and path type as the stable Ingress has them".to_owned(),
            });
        }
    }

    /// The paths of a canary on a host.
    fn parts<'s>(&mut self, host: &Hostname, seen: &'s Seen<'a>, settings: &'s CanarySettings) -> Vec<Part<'s>> {
        let mut parts = Vec::new();
        let Some(spec) = &seen.ingress.spec else { return parts };
        let key = &seen.ingress.key;
        for (field, path) in paths_on(seen.ingress, host) {
            let Some((path_key, _)) = self.path(key, &field, path, true) else { continue };
            let Some(service) = self.service_of(key, &format!("{field}.backend"), &path.backend) else { continue };
            let backend_field = format!("{field}.backend.service");
            let Some(backend) = self.backend(key, &backend_field, service, seen.settings.via, Role::Canary) else {
                continue;
            };
            parts.push(Part { seen, settings, path: path_key, backend, field, backend_field, default: false });
        }
        if let Some(default) = spec.default_backend.as_ref().filter(|_| seen.names(host)) {
            let field = "spec.defaultBackend".to_owned();
            let backend_field = format!("{field}.service");
            if let Some(service) = self.service_of(key, &field, default)
                && let Some(backend) = self.backend(key, &backend_field, service, seen.settings.via, Role::Canary)
            {
                let default = has_rules(seen.ingress);
                parts.push(Part { seen, settings, path: PathKey::all(), backend, field, backend_field, default });
            }
        }
        parts
    }

    fn attach(&mut self, part: &Part<'_>, placed: &Placed<'_>, ranked: &mut Vec<Ranked>) {
        // A path that is closed is closed for canaries too.
        if placed.route.split.stable.is_none() || part.is_among(ranked) {
            return;
        }
        // Between releases, tools leave a canary that nothing goes to, and scale it down.
        if part.settings.share.weight > 0 || part.settings.rule != Rule::default() {
            self.wants(&part.seen.ingress.key, part.backend_field.clone(), &part.backend, Role::Canary);
        }
        ranked.push(part.ranked());
    }

    /// Adds canaries of the namespaces of the routes that reach all routes with a Service (`canary-scope: service`).
    fn attach_from_afar(&mut self, placed: &[Placed<'_>], ranked: &mut [Vec<Ranked>]) {
        let mut namespaces: Vec<_> = placed.iter().map(|placed| placed.claim.ingress.key.namespace.clone()).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        for namespace in namespaces {
            let Some(index) = canaries_of(&namespace) else { continue };
            self.reads.insert(Read::Host(index.clone()));
            // What is wrong with them is told with their own hosts.
            let quiet = std::mem::replace(&mut self.quiet, true);
            let canaries = self.see(&index);
            for canary in &canaries {
                let Some(settings) = canary.settings.canary() else { continue };
                if settings.scope == CanaryScope::Service {
                    self.spread(canary, settings, placed, ranked);
                }
            }
            self.quiet = quiet;
        }
    }

    /// Adds a canary to the routes whose stable side is that of a route that it belongs to.
    fn spread(
        &mut self,
        canary: &Seen<'a>,
        settings: &CanarySettings,
        placed: &[Placed<'_>],
        ranked: &mut [Vec<Ranked>],
    ) {
        for host in named_by(canary.ingress) {
            self.reads.insert(Read::Host(host.clone()));
            let seen = self.see(&host);
            let claims = self.claims(&host, &seen);
            for part in self.parts(&host, canary, settings) {
                let Some(stable) = self.stable_of(&part, &claims) else { continue };
                if stable.cluster.same_port(&part.backend.cluster) {
                    continue;
                }
                for (placed, ranked) in placed.iter().zip(ranked.iter_mut()) {
                    if placed.cluster.same_port(&stable.cluster) {
                        self.attach(&part, placed, ranked);
                    }
                }
            }
        }
    }

    /// The backend of the path that a part of a canary belongs to.
    fn stable_of(&mut self, part: &Part<'_>, claims: &[Claim<'_>]) -> Option<Backend> {
        let own = claims.iter().find(|claim| part.belongs_to(claim))?;
        self.backend(&own.ingress.key, &own.backend_field(), own.backend, own.settings.via, Role::Stable)
    }

    /// Tells which annotations have no effect on a canary, unless they are copies of the stable Ingress's.
    fn tell_idle(&mut self, canary: &Seen<'_>, settings: &CanarySettings, stables: &[&Placed<'_>]) {
        let Some(first) = stables.first() else { return };
        for (name, value) in &settings.idle {
            let copied = |placed: &&Placed<'_>| {
                let annotations = placed.claim.ingress.metadata.annotations.as_ref();
                annotations.and_then(|annotations| annotations.get(name)).is_some_and(|other| other.trim() == value)
            };
            if stables.iter().any(copied) {
                continue;
            }
            self.tell(Problem {
                object: canary.ingress.key.clone(),
                field: format!("metadata.annotations[{name}]"),
                level: Level::Warning,
                reason: Reason::Unsupported,
                fault: format!(
                    "`{}` has no effect on a canary",
                    name.split_once('/').map_or(&**name, |(_, name)| name)
                ),
                effect: format!("What {} says counts for both sides", first.claim.ingress.key),
                mend: "Write it there, or remove it".to_owned(),
            });
        }
    }
}

// === impl Part ===

impl Part<'_> {
    /// Whether it is a canary of the path that a claim has.
    fn belongs_to(&self, claim: &Claim<'_>) -> bool {
        claim.path == self.path
            && claim.ingress.key.namespace == self.seen.ingress.key.namespace
            && (claim.default || !self.default)
    }

    /// Whether its Ingress is a canary of a route already.
    fn is_among(&self, ranked: &[Ranked]) -> bool {
        ranked.iter().any(|ranked| ranked.canary.ingress == self.seen.ingress.key)
    }

    fn ranked(&self) -> Ranked {
        let CanarySettings { rule, share, sticky, priority, keeps_sessions, .. } = self.settings;
        Ranked {
            place: (Reverse(*priority), self.seen.ingress.precedence()),
            canary: Canary {
                ingress: self.seen.ingress.key.clone(),
                side: Side {
                    backend: self.backend.cluster.clone(),
                    name: self.backend.name.clone(),
                    balance: self.seen.settings.balance.clone(),
                },
                rule: rule.clone(),
                share: *share,
                sticky: sticky.clone(),
                keeps_sessions: *keeps_sessions,
            },
            field: self.field.clone(),
        }
    }

    /// What a path of a canary is told whose route is closed.
    fn closed_by(&self, placed: &Placed<'_>) -> Problem {
        let stable = &placed.claim.ingress.key;
        Problem {
            object: self.seen.ingress.key.clone(),
            field: self.field.clone(),
            level: Level::Error,
            reason: Reason::NotYet,
            fault: format!("The path of {stable} is closed, since something is asked for that is not built yet"),
            effect: "No request is sent to this part of the canary: the path answers 503".to_owned(),
            mend: format!("See {stable}"),
        }
    }

    /// What a path of a canary is told that belongs to no route.
    fn without_stable(&self, host: &Hostname, placed: &[Placed<'_>]) -> Problem {
        let key: &ObjectKey = &self.seen.ingress.key;
        let on = shown_host(host);
        let path = &self.path.path;
        let same_path = |placed: &&Placed<'_>| placed.claim.path.path == *path;
        let (fault, mend) = if placed.is_empty() {
            let whom = if host.is_any() { "hosts that no rule names".to_owned() } else { on };
            (
                format!("No Ingress serves {whom}"),
                "Write the host of the stable Ingress, letter by letter; its aliases do not count".to_owned(),
            )
        } else if let Some(other) = placed.iter().find(|placed| placed.claim.path == self.path) {
            let other = &other.claim.ingress.key;
            if other.namespace == key.namespace {
                (
                    format!("`{path}` on {on} is a rule of {other}, and not its default backend"),
                    format!("Write a rule for `{path}` here too"),
                )
            } else {
                (
                    format!("`{path}` on {on} belongs to {other}, in another namespace"),
                    "Move the canary to the namespace of the stable Ingress".to_owned(),
                )
            }
        } else if let Some(other) = placed.iter().find(same_path) {
            (format!("`{path}` on {on} has another path type"), format!("Write `pathType: {}`", other.claim.path_type))
        } else {
            (
                format!("No Ingress serves just `{path}` on {on}"),
                "Write path and path type as the stable Ingress has them".to_owned(),
            )
        };
        Problem {
            object: key.clone(),
            field: self.field.clone(),
            level: Level::Error,
            reason: Reason::CanaryWithoutStable,
            fault,
            effect: "No request is sent to this part of the canary".to_owned(),
            mend,
        }
    }
}

// === impl Seen ===

impl Seen<'_> {
    /// Whether its default backend is written as that of a stable Ingress of its namespace is.
    fn copies_default_of(&self, others: &[Self]) -> bool {
        let default_of = |seen: &Self| seen.ingress.spec.as_ref().and_then(|spec| spec.default_backend.clone());
        let stables = others.iter().filter(|other| other.settings.stable().is_some());
        let mut stables = stables.filter(|other| other.ingress.key.namespace == self.ingress.key.namespace);
        stables.any(|other| default_of(other) == default_of(self))
    }

    /// Whether one of its rules is for a host, or it has none and that is any.
    fn names(&self, host: &Hostname) -> bool {
        (host.is_any() && !has_rules(self.ingress))
            || rules_of(self.ingress).any(|(_, other)| other.as_ref() == Ok(host))
    }
}

// === impl ClusterKey ===

impl ClusterKey {
    /// Whether it is the same port of the same Service, whatever the way there.
    fn same_port(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.service == other.service && self.port == other.port
    }
}
