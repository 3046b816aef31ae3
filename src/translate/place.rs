//! Places: from claims to the routes of a host.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    key::{ClusterKey, Hostname, ObjectKey, RouteId},
    problem::{Level, Problem, Reason},
    route::{Affinity, HostBuilder, HostTable, PathRule, Policy, Route, Side, Split, SslRedirect},
};

use super::{
    Role,
    backend::Backend,
    claim::{Claim, shown_host},
    host::{Pass, Seen},
    hosts::has_rules,
};

mod regexes;

/// A claim that became a route.
#[derive(Debug)]
pub(super) struct Placed<'s> {
    pub(super) claim: Claim<'s>,
    pub(super) cluster: ClusterKey,
    pub(super) route: Route<ClusterKey, RouteId>,
}

/// What holds for all routes of a host.
struct Ground {
    /// Whether its paths are regular expressions.
    regex: bool,
    /// The paths that are exact.
    exact: BTreeSet<Arc<str>>,
    /// Whether it has a certificate.
    certificate: bool,
    /// Whether all its paths are closed.
    closed: bool,
}

// === impl Pass ===

impl<'a> Pass<'a> {
    /// The routes of the Ingresses of `source`, which may have this host as an alias.
    pub(super) fn routes(&mut self, source: &Hostname, seen: &[Seen<'a>]) -> HostTable<ClusterKey, RouteId> {
        let claims = self.claims(source, seen);
        let ground = Ground {
            regex: claims.iter().any(Claim::wants_regex),
            exact: claims.iter().filter(|claim| claim.path.exact).map(|claim| claim.path.path.clone()).collect(),
            certificate: seen.iter().any(|seen| seen.has_certificate(source)),
            closed: self.closed(source, seen, &claims),
        };
        if ground.regex {
            self.tell_widened(source, &claims);
            self.tell_same_pattern(source, &claims);
        }
        let app_root = self.app_root(source, seen);

        let mut serving = seen.iter().filter(|seen| seen.serves(source)).filter_map(|seen| seen.settings.stable());
        let client_certificates = serving.find_map(|stable| stable.client_certificates.clone());

        let mut policies = BTreeMap::new();
        let mut placed: Vec<_> =
            claims.into_iter().filter_map(|claim| self.place(claim, &ground, &mut policies)).collect();
        self.attach_canaries(source, seen, &mut placed);
        self.tell_sides(&placed);
        let routes = placed.into_iter().map(|placed| placed.route);
        HostBuilder::new(self.host.clone())
            .app_root(app_root)
            .client_certificates(client_certificates)
            .extend(routes)
            .build()
    }

    /// Where `/` of a host is redirected to, by the oldest Ingress that says so. Those that say something else are told.
    fn app_root(&mut self, host: &Hostname, seen: &[Seen<'a>]) -> Option<Arc<str>> {
        let mut chosen: Option<(&Arc<str>, &ObjectKey)> = None;
        for Seen { ingress, settings } in seen.iter().filter(|seen| seen.serves(host) && has_rules(seen.ingress)) {
            let Some(root) = settings.stable().and_then(|stable| stable.app_root.as_ref()) else { continue };
            match chosen {
                Some((other, older)) if other != root => {
                    let fault = format!("`/` on {} is redirected to `{other}` already, by {older}", shown_host(host));
                    self.tell_annotation(&ingress.key, "app-root", fault, "It is ignored", "Remove it here, or there");
                }
                _ => chosen = chosen.or(Some((root, &ingress.key))),
            }
        }
        chosen.map(|(root, _)| root.clone())
    }

    /// Whether all paths of a host are closed, since an Ingress wants of its clients what is not built yet. Ingresses that
    /// are closed by another are told.
    fn closed(&mut self, host: &Hostname, seen: &[Seen<'a>], claims: &[Claim<'_>]) -> bool {
        let closes = |seen: &&Seen<'a>| seen.settings.stable().is_some_and(|stable| stable.closes_hosts);
        let Some(closing) = seen.iter().filter(|seen| seen.serves(host)).find(closes) else { return false };
        for claim in claims.iter().filter(|claim| !claim.stable.closed) {
            self.tell(Problem {
                object: claim.ingress.key.clone(),
                field: claim.field.clone(),
                level: Level::Error,
                reason: Reason::NotYet,
                fault: format!("{} asks the clients of `{host}` for what is not built yet", closing.ingress.key),
                effect: "The path is closed too: it answers 503".to_owned(),
                mend: "See that Ingress".to_owned(),
            });
        }
        true
    }

    /// Makes a route of a claim. None where its pattern does not compile, which is told.
    fn place<'s>(
        &mut self,
        claim: Claim<'s>,
        ground: &Ground,
        policies: &mut BTreeMap<(ObjectKey, bool), Arc<Policy>>,
    ) -> Option<Placed<'s>> {
        let (key, stable) = (&claim.ingress.key, claim.stable);
        let path = claim.path.path.clone();
        let rule = if ground.regex {
            PathRule::Regex(self.path_pattern(&claim, ground.exact.contains(&path))?)
        } else if claim.path.exact {
            PathRule::Exact(path.clone())
        } else {
            self.tell_if_regex(&claim);
            PathRule::Prefix(path.clone())
        };
        self.tell_if_strange(&claim, ground.regex);
        if !ground.regex {
            self.tell_unreachable(&claim);
        }

        let ssl = stable.force_ssl_redirect || (stable.ssl_redirect && ground.certificate);
        let exempt = self.options.no_ssl_redirect.iter().any(|exempt| path.starts_with(&**exempt));
        let ssl = ssl && !exempt;
        let policy = policies.entry((key.clone(), ssl)).or_insert_with(|| {
            let ssl_redirect = if ssl { SslRedirect::On } else { SslRedirect::Off };
            let redirect = stable.policy.redirect.clone().filter(|_| !claim.is_lone_default());
            Arc::new(Policy { ssl_redirect, redirect, ..stable.policy.clone() })
        });
        let mut policy = policy.clone();
        if let Some(rewrite) = self.rewrite(&claim) {
            policy = Arc::new(Policy { rewrite: Some(rewrite), ..(*policy).clone() });
        }

        let backend_field = claim.backend_field();
        let role = if claim.default { Role::Default } else { Role::Stable };
        let backend = self.backend(key, &backend_field, claim.backend, claim.settings.via, role)?;
        let split = if ground.closed || stable.closed {
            Split::to(None)
        } else {
            self.wants(key, backend_field, &backend, role);
            let mut split = Split::to(side(&claim, &backend));
            split.fallback = self.fallback(&claim);
            split.affinity = self.affinity(&claim, ground.regex);
            split.rules_before_affinity = stable.rules_before_affinity;
            split
        };
        let id = RouteId { host: self.host.clone(), path, path_type: claim.path_type, ingress: key.clone() };
        let service = backend.cluster.service.clone();
        let route = Route { state: id.clone(), id, path: rule, split, policy, service };
        Some(Placed { claim, cluster: backend.cluster, route })
    }

    /// Tells of a path that no request can have, since requests are compared decoded and without dots.
    fn tell_unreachable(&mut self, claim: &Claim<'_>) {
        let path = &claim.path.path;
        let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
        let fault = if path.contains("//") || dots {
            "`//`, `/./` and `/../` are taken out of the path of a request before it is compared"
        } else if path.contains('%') {
            "`%` is decoded in the path of a request before it is compared"
        } else if path.contains(['?', '#']) {
            "The query is not part of the path that is compared"
        } else {
            return;
        };
        self.tell(Problem {
            object: claim.ingress.key.clone(),
            field: format!("{}.path", claim.field),
            level: Level::Warning,
            reason: Reason::InvalidValue,
            fault: fault.to_owned(),
            effect: format!("Hardly any request is for `{path}`"),
            mend: "Write the path decoded, without dots and without a query".to_owned(),
        });
    }

    /// The side that serves while the stable one has no endpoint.
    fn fallback(&mut self, claim: &Claim<'_>) -> Option<Side<ClusterKey>> {
        let name = claim.stable.fallback.as_deref()?;
        let field = format!("metadata.annotations[{}/default-backend]", self.options.annotation_prefix);
        let backend = self.first_backend(&claim.ingress.key, &field, name)?;
        self.wants(&claim.ingress.key, field, &backend, Role::Fallback);
        Some(side(claim, &backend))
    }

    /// The affinity of a route. A pattern cannot be the path of a cookie.
    fn affinity(&mut self, claim: &Claim<'_>, regex: bool) -> Option<Arc<Affinity>> {
        let mut affinity = claim.stable.affinity.clone()?;
        if regex && affinity.path.is_none() {
            affinity.path = Some("/".into());
            let prefix = &self.options.annotation_prefix;
            self.tell(Problem {
                object: claim.ingress.key.clone(),
                field: format!("metadata.annotations[{prefix}/affinity]"),
                level: Level::Warning,
                reason: Reason::Unsupported,
                fault: "The paths of the host are regular expressions, which cannot be the path of a cookie".to_owned(),
                effect: "The path of the cookie is `/`".to_owned(),
                mend: format!("Write `{prefix}/session-cookie-path`"),
            });
        }
        Some(Arc::new(affinity))
    }
}

/// The side of a backend, balanced as its Ingress says.
fn side(claim: &Claim<'_>, backend: &Backend) -> Side<ClusterKey> {
    Side { backend: backend.cluster.clone(), name: backend.name.clone(), balance: claim.settings.balance.clone() }
}
