//! What one host answers.
//!
//! The Ingresses of a host are asked oldest first. Each path of theirs is a *claim*; of several claims to the same path
//! and path type the oldest has it, and the others are told. Claims become routes, and canaries are added to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    api::{HTTPIngressPath, Ingress, IngressBackend, IngressServiceBackend},
    key::{ClusterKey, Hostname, ObjectKey, PathType, RouteId},
    problem::{Level, Problem, Reason},
    route::{
        Affinity, Host, HostBuilder, HostTable, PathRule, Pattern, PatternFlags, Policy, Rewrite, Route, Side, Split,
        SslRedirect,
    },
    store::{Observed, Snapshot},
};

use super::{
    HostOutput, Options, Read, Role, Use,
    backend::Backend,
    class::{Whose, whose},
    hosts::{host_of, rules_of, twin_of},
    settings::{Settings, Stable},
};

/// The characters that Exact and Prefix paths may have where ingress-nginx validates them.
const STRICT: &str = "/._-";

/// The translation of one host, while it goes on.
pub(super) struct Pass<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) options: &'a Options,
    pub(super) host: &'a Hostname,
    pub(super) problems: BTreeSet<Problem>,
    pub(super) reads: BTreeSet<Read>,
    pub(super) uses: BTreeSet<Use>,
    /// Whether what is found is told elsewhere: with the host whose routes these are.
    pub(super) quiet: bool,
}

/// An Ingress that is ours, and what it asks for.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) ingress: &'a Arc<Observed<Ingress>>,
    pub(super) settings: Settings,
}

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

/// A claim that became a route.
#[derive(Debug)]
pub(super) struct Placed<'s> {
    pub(super) claim: Claim<'s>,
    pub(super) cluster: ClusterKey,
    pub(super) route: Route<ClusterKey, RouteId>,
}

/// Translates one host. A host that no object serves has no table.
#[must_use]
pub fn translate_host(snapshot: &Snapshot, options: &Options, host: &Hostname) -> HostOutput {
    let mut pass = Pass {
        snapshot,
        options,
        host,
        problems: BTreeSet::new(),
        reads: BTreeSet::new(),
        uses: BTreeSet::new(),
        quiet: false,
    };
    let table = pass.table();
    let clusters = match &table {
        Some(Host::Routes(table)) => {
            table.routes.iter().flat_map(|route| route.split.sides()).map(|side| side.backend.clone()).collect()
        }
        Some(Host::Twin { .. }) | None => BTreeSet::new(),
    };
    HostOutput {
        host: host.clone(),
        table,
        clusters,
        problems: pass.problems.into_iter().collect(),
        reads: pass.reads,
        uses: pass.uses.into_iter().collect(),
    }
}

// === impl Pass ===

impl<'a> Pass<'a> {
    /// Takes a problem note of.
    pub(super) fn tell(&mut self, problem: Problem) {
        if !self.quiet {
            self.problems.insert(problem);
        }
    }

    /// Takes note that a part of an Ingress wants a cluster.
    pub(super) fn uses(&mut self, ingress: &ObjectKey, field: String, cluster: &ClusterKey, role: Role) {
        if !self.quiet {
            self.uses.insert(Use { ingress: ingress.clone(), field, cluster: cluster.clone(), role });
        }
    }

    fn table(&mut self) -> Option<Host<ClusterKey, RouteId>> {
        let seen = self.see(self.host);
        let served = seen.iter().any(|seen| seen.serves(self.host));
        let alias = self.alias(&seen, served);
        let twin = self.twin(&seen, served, alias.is_some());
        if served {
            return Some(Host::Routes(self.routes(self.host, &seen)));
        }
        // Canaries of a host that nobody serves belong to no route.
        self.attach_canaries(self.host, &seen, &mut []);
        if let Some(source) = alias {
            self.reads.insert(Read::Host(source.clone()));
            self.quiet = true;
            let seen = self.see(&source);
            return Some(Host::Routes(self.routes(&source, &seen)));
        }
        twin.map(|to| Host::Twin { to, status: 308 })
    }

    /// The Ingresses of a host that are ours, oldest first. What is wrong with one as a whole is told with its first host.
    pub(super) fn see(&mut self, host: &Hostname) -> Vec<Seen<'a>> {
        let mut seen = Vec::new();
        for ingress in self.snapshot.ingresses_of(host) {
            self.reads.insert(Read::Classes);
            let whose = whose(self.snapshot, self.options, ingress);
            let first = self.snapshot.hosts_of(&ingress.key).first() == Some(self.host);
            if whose != Whose::Ours {
                if let Some(problem) = whose.problem(self.options, &ingress.key).filter(|_| first) {
                    self.tell(problem);
                }
                continue;
            }
            let (settings, problems) = Settings::read(self.options, ingress);
            if first && !self.quiet {
                self.problems.extend(problems);
                self.tell_spec(ingress, &settings);
            }
            seen.push(Seen { ingress, settings });
        }
        seen
    }

    /// Tells what is wrong with the parts of an Ingress that belong to no host.
    fn tell_spec(&mut self, ingress: &Observed<Ingress>, settings: &Settings) {
        for (index, host) in rules_of(ingress) {
            let Err(fault) = host else { continue };
            let written = ingress.spec.iter().flat_map(|spec| &spec.rules).flatten().nth(index);
            let written = written.and_then(|rule| rule.host.as_deref()).unwrap_or_default();
            self.tell(Problem {
                object: ingress.key.clone(),
                field: format!("spec.rules[{index}].host"),
                level: Level::Error,
                reason: Reason::InvalidValue,
                fault: format!("`{written}` is no host: {fault}"),
                effect: "The rule is not served".to_owned(),
                mend: "Write a DNS name, or `*.` and one".to_owned(),
            });
        }
        let Some(stable) = settings.stable() else { return };
        if ingress.spec.as_ref().is_some_and(|spec| spec.tls.as_ref().is_some_and(|tls| !tls.is_empty())) {
            let effect = if stable.ssl_redirect || stable.force_ssl_redirect {
                "Plain requests are sent to https all the same, which something else must answer"
            } else {
                "Only plain requests are served"
            };
            self.tell(Problem {
                object: ingress.key.clone(),
                field: "spec.tls".to_owned(),
                level: Level::Warning,
                reason: Reason::NotYet,
                fault: "Certificates are not served yet".to_owned(),
                effect: effect.to_owned(),
                mend: "End TLS before the gateway, or write `ssl-redirect: \"false\"` until it is".to_owned(),
            });
        }
    }

    /// The host that this one is an alias of (`server-alias`), by the oldest Ingress that says so.
    fn alias(&mut self, seen: &[Seen<'a>], served: bool) -> Option<Hostname> {
        let mut source: Option<(Hostname, &ObjectKey)> = None;
        for Seen { ingress, settings } in seen {
            if !settings.stable().is_some_and(|stable| stable.aliases.contains(self.host)) {
                continue;
            }
            let own = rules_of(ingress).filter_map(|(_, host)| host.ok()).find(|host| !host.is_any());
            let (fault, effect) = match (&own, &source) {
                (Some(own), _) if own == self.host => continue,
                (None, _) => (
                    format!("The Ingress has no host that `{}` could be another name of", self.host),
                    "The alias is ignored",
                ),
                (Some(_), _) if served => {
                    (format!("`{}` has rules of its own", self.host), "The alias is ignored; the rules are served")
                }
                (Some(own), Some((source, older))) if own != source => {
                    (format!("`{}` is an alias of `{source}` already, by {older}", self.host), "The alias is ignored")
                }
                (Some(own), _) => {
                    source.get_or_insert_with(|| (own.clone(), &ingress.key));
                    continue;
                }
            };
            self.tell_annotation(&ingress.key, "server-alias", fault, effect, "Remove the alias");
        }
        source.map(|(host, _)| host)
    }

    /// The host that this one is redirected to (`from-to-www-redirect`), by the oldest Ingress that says so.
    fn twin(&mut self, seen: &[Seen<'a>], served: bool, alias: bool) -> Option<Hostname> {
        let twin = twin_of(self.host)?;
        let redirects = |seen: &&Seen<'a>| seen.settings.stable().is_some_and(|stable| stable.www_redirect);
        let redirecting: Vec<_> = seen.iter().filter(redirects).filter(|seen| seen.serves(&twin)).collect();
        if served || alias {
            for Seen { ingress, .. } in redirecting {
                self.tell_annotation(
                    &ingress.key,
                    "from-to-www-redirect",
                    format!("`{}` is served itself", self.host),
                    "It is not redirected",
                    "Remove the annotation, or the rules or the alias for that host",
                );
            }
            return None;
        }
        (!redirecting.is_empty()).then_some(twin)
    }

    fn tell_annotation(&mut self, ingress: &ObjectKey, name: &str, fault: String, effect: &str, mend: &str) {
        self.tell(Problem {
            object: ingress.clone(),
            field: format!("metadata.annotations[{}/{name}]", self.options.annotation_prefix),
            level: Level::Warning,
            reason: Reason::Conflict,
            fault,
            effect: effect.to_owned(),
            mend: mend.to_owned(),
        });
    }

    /// The routes of the Ingresses of `source`, which may have this host as an alias.
    fn routes(&mut self, source: &Hostname, seen: &[Seen<'a>]) -> HostTable<ClusterKey, RouteId> {
        let claims = self.claims(source, seen);
        let regex = claims.iter().any(Claim::wants_regex);
        let certificate = seen.iter().any(|seen| seen.has_certificate(source));
        let closed = seen
            .iter()
            .any(|seen| seen.serves(source) && seen.settings.stable().is_some_and(|stable| stable.closes_hosts));
        let app_root = claims.iter().find_map(|claim| claim.stable.app_root.clone());

        let mut policies = BTreeMap::new();
        let mut placed: Vec<_> = claims
            .into_iter()
            .filter_map(|claim| self.place(claim, regex, certificate, closed, &mut policies))
            .collect();
        self.attach_canaries(source, seen, &mut placed);
        HostBuilder::new(self.host.clone())
            .app_root(app_root)
            .extend(placed.into_iter().map(|placed| placed.route))
            .build()
    }

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
                Some(owner) if claim.default && !owner.default => {}
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
        for (index, rule) in spec.rules.iter().flatten().enumerate() {
            if host_of(rule.host.as_deref()).as_ref() != Ok(host) {
                continue;
            }
            for (place, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
                let field = format!("spec.rules[{index}].http.paths[{place}]");
                let Some((key, path_type)) = self.path(&ingress.key, &field, path, true) else { continue };
                let field_of_backend = format!("{field}.backend");
                if let Some(backend) = self.service_of(&ingress.key, &field_of_backend, &path.backend) {
                    claims.push(claim(key, path_type, field, backend, false));
                }
            }
        }
        let serves_all = host.is_any() && spec.rules.iter().flatten().next().is_none();
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
        let mut problem = |field: &str, level, fault: String, effect: &str, mend: &str| {
            if tell {
                self.tell(Problem {
                    object: object.clone(),
                    field: field.to_owned(),
                    level,
                    reason: Reason::InvalidValue,
                    fault,
                    effect: effect.to_owned(),
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
                problem(&format!("{field}.pathType"), Level::Error, fault, "The path is not served", types);
                return None;
            }
        };
        let field = format!("{field}.path");
        if !text.starts_with('/') {
            let fault = format!("`{text}` does not begin with `/`");
            problem(&field, Level::Error, fault, "The path is not served", "Write a path that begins with `/`");
            return None;
        }
        let strict = |c: char| c.is_ascii_alphanumeric() || STRICT.contains(c);
        if path_type != PathType::ImplementationSpecific && !text.chars().all(strict) {
            problem(
                &field,
                Level::Warning,
                format!("`{text}` has more than letters, digits, `.`, `_`, `-` and `/`"),
                "It is compared as it is written; ingress-nginx refuses the object",
                "Write `pathType: ImplementationSpecific` for a regular expression, or a plain path",
            );
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
                effect: "The path is not served".to_owned(),
                mend: mend.to_owned(),
            });
        }
        backend.service.as_ref()
    }

    /// Makes a route of a claim. None where its pattern does not compile, which is told.
    fn place<'s>(
        &mut self,
        claim: Claim<'s>,
        regex: bool,
        certificate: bool,
        closed: bool,
        policies: &mut BTreeMap<(ObjectKey, bool), Arc<Policy>>,
    ) -> Option<Placed<'s>> {
        let (key, stable) = (&claim.ingress.key, claim.stable);
        let path = claim.path.path.clone();
        let rule = if regex {
            PathRule::Regex(self.path_pattern(&claim)?)
        } else if claim.path.exact {
            PathRule::Exact(path.clone())
        } else {
            self.tell_if_regex(&claim);
            PathRule::Prefix(path.clone())
        };
        if !regex {
            self.tell_unreachable(&claim);
        }

        let ssl = stable.force_ssl_redirect || (stable.ssl_redirect && certificate);
        let exempt = self.options.no_ssl_redirect.iter().any(|exempt| path.starts_with(&**exempt));
        let ssl = ssl && !exempt;
        let policy = policies.entry((key.clone(), ssl)).or_insert_with(|| {
            let ssl_redirect = if ssl { SslRedirect::On } else { SslRedirect::Off };
            Arc::new(Policy { ssl_redirect, ..stable.policy.clone() })
        });
        let mut policy = policy.clone();
        if let Some(target) = claim.rewrite() {
            // It compiled as a path, so it compiles here.
            let pattern = Pattern::new(&path, PatternFlags::REWRITE).ok()?;
            policy = Arc::new(Policy { rewrite: Some(Rewrite { pattern, target }), ..(*policy).clone() });
        }

        let backend_field = claim.backend_field();
        let backend = self.backend(key, &backend_field, claim.backend, claim.settings.via)?;
        let split = if closed || stable.closed {
            Split::to(None)
        } else {
            let role = if claim.default { Role::Default } else { Role::Stable };
            self.uses(key, backend_field, &backend.cluster, role);
            let mut split = Split::to(claim.side(&backend));
            split.fallback = self.fallback(&claim);
            split.affinity = self.affinity(&claim, regex);
            split.rules_before_affinity = stable.rules_before_affinity;
            split
        };
        let id = RouteId { host: self.host.clone(), path, path_type: claim.path_type, ingress: key.clone() };
        let service = backend.cluster.service.clone();
        let route = Route { state: id.clone(), id, path: rule, split, policy, service };
        Some(Placed { claim, cluster: backend.cluster, route })
    }

    /// Compiles a path of a host whose paths are regular expressions.
    fn path_pattern(&mut self, claim: &Claim<'_>) -> Option<Pattern> {
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
    fn tell_if_regex(&mut self, claim: &Claim<'_>) {
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
        self.uses(&claim.ingress.key, field, &backend.cluster, Role::Fallback);
        Some(claim.side(&backend))
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

// === impl Seen ===

impl Seen<'_> {
    /// Whether it serves a host: it is no canary and has a rule for it, or is the default of any.
    pub(super) fn serves(&self, host: &Hostname) -> bool {
        let Some(spec) = self.ingress.spec.as_ref().filter(|_| self.settings.stable().is_some()) else { return false };
        let no_rules = spec.rules.iter().flatten().next().is_none();
        (host.is_any() && no_rules && spec.default_backend.is_some())
            || rules_of(self.ingress).any(|(_, other)| other.as_ref() == Ok(host))
    }

    /// Whether a host has a certificate because of it: a `tls` section is enough, whatever is in it. Any host has none.
    fn has_certificate(&self, host: &Hostname) -> bool {
        let tls = self.ingress.spec.as_ref().and_then(|spec| spec.tls.as_ref());
        !host.is_any() && tls.is_some_and(|tls| !tls.is_empty()) && self.serves(host)
    }
}

// === impl Claim ===

impl Claim<'_> {
    /// Where the backend is written.
    pub(super) fn backend_field(&self) -> String {
        if self.default { format!("{}.service", self.field) } else { format!("{}.backend.service", self.field) }
    }

    /// What the path is replaced with, if that is something else.
    fn rewrite(&self) -> Option<Arc<str>> {
        self.stable.rewrite_target.clone().filter(|target| *target != self.path.path)
    }

    /// Whether it makes the paths of its host regular expressions.
    fn wants_regex(&self) -> bool {
        self.stable.use_regex || self.rewrite().is_some()
    }

    fn side(&self, backend: &Backend) -> Side<ClusterKey> {
        Side { backend: backend.cluster.clone(), name: backend.name.clone(), balance: self.settings.balance.clone() }
    }

    /// What a claim is told that lost its path.
    fn lost_to(&self, owner: &Claim<'_>, host: &Hostname) -> Problem {
        let path = &self.path.path;
        let on = if host.is_any() { "any host".to_owned() } else { format!("`{host}`") };
        let same = self.ingress.key == owner.ingress.key;
        let (fault, mend) = if same {
            (format!("`{path}` on {on} stands twice in the Ingress"), "Remove one of them".to_owned())
        } else {
            (
                format!("`{path}` on {on} belongs to {}, which is older", owner.ingress.key),
                "Remove it here, or make this Ingress a canary of that one with `canary: \"true\"`".to_owned(),
            )
        };
        Problem {
            object: self.ingress.key.clone(),
            field: self.field.clone(),
            level: Level::Error,
            reason: Reason::Conflict,
            fault,
            effect: "This path has no effect".to_owned(),
            mend,
        }
    }
}

// === impl PathKey ===

impl PathKey {
    /// All paths.
    pub(super) fn all() -> Self {
        Self { path: "/".into(), exact: false }
    }
}
