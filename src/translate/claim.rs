//! Claims: the paths that Ingresses want to serve on a host.
//!
//! Of several claims to the same path and path type the oldest has it, and the others are told. A default backend gives
//! way to any path `/`.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{HTTPIngressPath, Ingress, IngressBackend, IngressServiceBackend},
    key::{Hostname, ObjectKey, PathType},
    problem::{Level, Problem, Reason},
    store::Observed,
};

use super::{
    host::{Pass, Seen},
    hosts::{has_rules, paths_on},
    settings::{Settings, Stable},
};

/// What follows for a path that cannot be served.
pub(super) const NOT_THERE: &str =
    "It counts as not there: requests go to the next path of the host that fits, or are answered 404";

/// A path that an Ingress wants to serve.
#[derive(Debug)]
pub(super) struct Claim<'s> {
    pub(super) ingress: &'s Observed<Ingress>,
    pub(super) settings: &'s Settings,
    pub(super) stable: &'s Stable,
    pub(super) path: PathKey,
    pub(super) path_type: PathType,
    /// Where in the Ingress.
    pub(super) field: String,
    pub(super) backend: &'s IngressServiceBackend,
    /// Whether it is `spec.defaultBackend`, which gives way to any path `/`.
    pub(super) default: bool,
}

/// A path and how it is compared: what two claims can clash on, and what a canary finds its route by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct PathKey {
    pub(super) path: Arc<str>,
    pub(super) exact: bool,
}

// === impl Pass ===

impl<'a> Pass<'a> {
    /// The claims that have their path, oldest first. Those that lost it are told.
    pub(super) fn claims<'s>(&mut self, host: &Hostname, seen: &'s [Seen<'a>]) -> Vec<Claim<'s>> {
        let mut claims: Vec<Claim<'s>> = Vec::new();
        let mut owners: BTreeMap<PathKey, usize> = BTreeMap::new();
        let all = seen.iter().flat_map(|seen| self.paths_of(host, seen)).collect::<Vec<_>>();
        let (defaults, paths): (Vec<_>, Vec<_>) = all.into_iter().partition(|claim| claim.default);
        for claim in paths.into_iter().chain(defaults) {
            match owners.get(&claim.path).map(|owner| &claims[*owner]) {
                None => {
                    owners.insert(claim.path.clone(), claims.len());
                    claims.push(claim);
                }
                Some(owner) if claim.default && !owner.default => {
                    if claim.ingress.key != owner.ingress.key {
                        let problem = claim.gave_way_to(owner, host);
                        self.tell(problem);
                    }
                }
                Some(owner) => {
                    let problem = claim.lost_to(owner, host);
                    self.tell(problem);
                }
            }
        }
        claims
    }

    /// All claims of an Ingress to paths of a host. What cannot be one is told.
    fn paths_of<'s>(&mut self, host: &Hostname, seen: &'s Seen<'a>) -> Vec<Claim<'s>> {
        let mut claims = Vec::new();
        let (Some(stable), Some(spec)) = (seen.settings.stable(), &seen.ingress.spec) else { return claims };
        let ingress: &'s Observed<Ingress> = seen.ingress;
        let claim = |path, path_type, field, backend, default| Claim {
            ingress,
            settings: &seen.settings,
            stable,
            path,
            path_type,
            field,
            backend,
            default,
        };
        for (field, path) in paths_on(ingress, host) {
            let Some((key, path_type)) = self.path(&ingress.key, &field, path, true) else { continue };
            let field_of_backend = format!("{field}.backend");
            if let Some(backend) = self.service_of(&ingress.key, &field_of_backend, &path.backend) {
                claims.push(claim(key, path_type, field, backend, false));
            }
        }
        let serves_all = host.is_any() && !has_rules(ingress);
        if let Some(default) = spec.default_backend.as_ref().filter(|_| serves_all || seen.serves(host)) {
            let field = "spec.defaultBackend".to_owned();
            if let Some(backend) = self.service_of(&ingress.key, &field, default) {
                claims.push(claim(PathKey::all(), PathType::Prefix, field, backend, true));
            }
        }
        claims
    }

    /// Reads the path of a rule. None where it cannot be served.
    pub(super) fn path(
        &mut self,
        object: &ObjectKey,
        field: &str,
        path: &HTTPIngressPath,
        tell: bool,
    ) -> Option<(PathKey, PathType)> {
        let text = path.path.as_deref().filter(|text| !text.is_empty()).unwrap_or("/");
        let mut problem = |field: &str, fault: String, mend: &str| {
            if tell {
                self.tell(Problem {
                    object: object.clone(),
                    field: field.to_owned(),
                    level: Level::Error,
                    reason: Reason::InvalidValue,
                    fault,
                    effect: NOT_THERE.to_owned(),
                    mend: mend.to_owned(),
                });
            }
        };
        let path_type = match path.path_type.as_str() {
            "Exact" => PathType::Exact,
            "Prefix" => PathType::Prefix,
            "ImplementationSpecific" => PathType::ImplementationSpecific,
            other => {
                let fault = if other.is_empty() {
                    "The path has no type".to_owned()
                } else {
                    format!("`{other}` is no type of a path")
                };
                let types = "Write `Exact`, `Prefix` or `ImplementationSpecific`";
                problem(&format!("{field}.pathType"), fault, types);
                return None;
            }
        };
        if !text.starts_with('/') {
            let fault = format!("`{text}` does not begin with `/`");
            problem(&format!("{field}.path"), fault, "Write a path that begins with `/`");
            return None;
        }
        Some((PathKey { path: text.into(), exact: path_type == PathType::Exact }, path_type))
    }

    /// The Service of a backend; none where it is something else, which is told.
    pub(super) fn service_of<'s>(
        &mut self,
        object: &ObjectKey,
        field: &str,
        backend: &'s IngressBackend,
    ) -> Option<&'s IngressServiceBackend> {
        if backend.service.is_none() {
            let (fault, mend) = match &backend.resource {
                Some(resource) => (
                    format!("The backend is a {} named `{}`, not a Service", resource.kind, resource.name),
                    "Write a Service; no other kind of backend is supported",
                ),
                None => ("The backend is missing".to_owned(), "Write a Service and its port"),
            };
            self.tell(Problem {
                object: object.clone(),
                field: field.to_owned(),
                level: Level::Error,
                reason: Reason::Unsupported,
                fault,
                effect: NOT_THERE.to_owned(),
                mend: mend.to_owned(),
            });
        }
        backend.service.as_ref()
    }
}

// === impl Claim ===

impl Claim<'_> {
    /// Where the backend is written.
    pub(super) fn backend_field(&self) -> String {
        if self.default { format!("{}.service", self.field) } else { format!("{}.backend.service", self.field) }
    }

    /// What the path is replaced with, if that is something else.
    pub(super) fn rewrite(&self) -> Option<Arc<str>> {
        self.stable.rewrite_target.clone().filter(|target| *target != self.path.path && !self.is_lone_default())
    }

    /// Whether it makes the paths of its host regular expressions.
    pub(super) fn wants_regex(&self) -> bool {
        (self.stable.use_regex && !self.is_lone_default()) || self.rewrite().is_some()
    }

    /// Whether it is the default backend of an Ingress without rules: as in ingress-nginx, nothing is rewritten or redirected
    /// there, which would be so for all hosts that nobody names.
    pub(super) fn is_lone_default(&self) -> bool {
        self.default && !has_rules(self.ingress)
    }

    /// What a default backend is told that gave way to a path `/` of another Ingress. In ingress-nginx, that of an Ingress
    /// without rules has all of `/` (`createServers` in `controller.go`).
    fn gave_way_to(&self, owner: &Claim<'_>, host: &Hostname) -> Problem {
        let (level, effect) = if !self.is_lone_default() {
            (Level::Warning, "It gets no request there")
        } else {
            (Level::Error, "It gets no request; in ingress-nginx it would have them all")
        };
        let on = shown_host(host);
        Problem {
            object: self.ingress.key.clone(),
            field: self.field.clone(),
            level,
            reason: Reason::Conflict,
            fault: format!("`/` on {on} belongs to {}, and a default backend gives way to it", owner.ingress.key),
            effect: effect.to_owned(),
            mend: "Remove it here, or that path there".to_owned(),
        }
    }

    /// What a claim is told that lost its path.
    fn lost_to(&self, owner: &Claim<'_>, host: &Hostname) -> Problem {
        if self.ingress.key == owner.ingress.key {
            return stands_twice(self.ingress, &self.field, &self.path, host);
        }
        let path = &self.path.path;
        let on = shown_host(host);
        let fault = if self.ingress.age == owner.ingress.age {
            format!("`{path}` on {on} belongs to {}, which is as old and whose name is greater", owner.ingress.key)
        } else {
            format!("`{path}` on {on} belongs to {}, which is older", owner.ingress.key)
        };
        let mend = if self.ingress.key.namespace == owner.ingress.key.namespace {
            "Remove it here, or make this Ingress a canary of that one with `canary: \"true\"`"
        } else {
            "Remove it here, or there"
        };
        without_effect(self.ingress, &self.field, fault, mend)
    }
}

/// What an Ingress is told that has a path twice on a host.
pub(super) fn stands_twice(ingress: &Observed<Ingress>, field: &str, path: &PathKey, host: &Hostname) -> Problem {
    let fault = format!("`{}` on {} stands twice in the Ingress", path.path, shown_host(host));
    without_effect(ingress, field, fault, "Remove one of them")
}

pub(super) fn without_effect(ingress: &Observed<Ingress>, field: &str, fault: String, mend: &str) -> Problem {
    Problem {
        object: ingress.key.clone(),
        field: field.to_owned(),
        level: Level::Error,
        reason: Reason::Conflict,
        fault,
        effect: "This path has no effect".to_owned(),
        mend: mend.to_owned(),
    }
}

/// A host as problems show it.
pub(super) fn shown_host(host: &Hostname) -> String {
    if host.is_any() { "any host".to_owned() } else { format!("`{host}`") }
}

// === impl PathKey ===

impl PathKey {
    /// All paths.
    pub(super) fn all() -> Self {
        Self { path: "/".into(), exact: false }
    }
}
