//! What one host answers.
//!
//! The Ingresses of a host are asked oldest first. Each path of theirs is a *claim*; of several claims to the same path
//! and path type the oldest has it, and the others are told. Claims become routes, and canaries are added to them.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    api::Ingress,
    key::{ClusterKey, Hostname, ObjectKey, RouteId},
    problem::{Level, Problem, Reason},
    route::Host,
    store::{Observed, Snapshot},
};

use super::{
    Chosen, HostOutput, Options, Read, Use,
    annotations::{APP_ROOT, PERMANENT_REDIRECT, REWRITE_TARGET, TEMPORAL_REDIRECT, USE_REGEX},
    claim::shown_host,
    class::{Whose, whose},
    hosts::{has_rules, pathless_rules, rules_of, twin_of},
    settings::{Settings, Stable},
};

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
    let (table, certificates) = pass.table();
    let clusters = match &table {
        Some(Host::Routes(table)) => {
            table.routes.iter().flat_map(|route| route.split.sides()).map(|side| side.backend.clone()).collect()
        }
        Some(Host::Twin { .. }) | None => BTreeSet::new(),
    };
    let credentials = match &table {
        Some(Host::Routes(table)) => {
            table.routes.iter().filter_map(|route| route.policy.backend_tls.secret.clone()).collect()
        }
        Some(Host::Twin { .. }) | None => BTreeSet::new(),
    };
    HostOutput {
        host: host.clone(),
        table,
        clusters,
        credentials,
        certificates,
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

    /// What the host answers, and the Secrets that it is served with.
    fn table(&mut self) -> (Option<Host<ClusterKey, RouteId>>, Vec<Chosen>) {
        let seen = self.see(self.host);
        let served = seen.iter().any(|seen| seen.serves(self.host));
        let alias = self.alias(&seen, served);
        let twin = self.twin(&seen, served, alias.is_some());
        if served {
            let certificates = self.certificates(self.host, &seen);
            return (Some(Host::Routes(self.routes(self.host, &seen))), certificates);
        }
        // Canaries of a host that nobody serves belong to no route.
        self.attach_canaries(self.host, &seen, &mut []);
        let Some((source, asking, annotation)) = alias
            .map(|(source, asking)| (source, asking, "server-alias"))
            .or(twin.map(|(to, asking)| (to, asking, "from-to-www-redirect")))
        else {
            return (None, Vec::new());
        };
        self.reads.insert(Read::Host(source.clone()));
        self.quiet = true;
        let seen = self.see(&source);
        let mut certificates = self.related_certificates(&source, &seen, annotation, asking);
        if annotation == "server-alias" {
            return (Some(Host::Routes(self.routes(&source, &seen))), certificates);
        }
        certificates.retain(|chosen| chosen.certificate.as_ref().is_none_or(|it| it.covers(self.host)));
        (Some(Host::Twin { to: source, status: 308 }), certificates)
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
            let this = Seen { ingress, settings };
            if first && !self.quiet {
                self.problems.extend(problems);
                self.tell_spec(&this);
            }
            seen.push(this);
        }
        seen
    }

    /// Tells what is wrong with the parts of an Ingress that belong to no host.
    fn tell_spec(&mut self, seen: &Seen<'a>) {
        let ingress = seen.ingress;
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
        self.tell_uncopied(seen);
        if let Some(stable) = seen.settings.stable() {
            self.tell_pathless_rules(ingress);
            self.tell_lone_default(ingress);
            self.tell_no_twin(ingress, stable);
            self.tell_wildcard_aliases(ingress, stable);
            self.tell_secret(ingress, stable);
            self.tell_idle_secret(ingress, stable);
            self.tell_tls(seen);
        }
    }

    /// Tells an Ingress without a default backend which of its rules name no path, and one that serves nothing at all.
    fn tell_pathless_rules(&mut self, ingress: &Observed<Ingress>) {
        let spec = ingress.spec.as_ref();
        if spec.is_some_and(|spec| spec.default_backend.is_some()) {
            return;
        }
        let mut told = Vec::new();
        for (field, host) in pathless_rules(ingress) {
            let effect = format!("Requests for {} are answered 404 where no other rule names it", shown_host(&host));
            told.push((field, "The rule names no path", effect));
        }
        if !has_rules(ingress) {
            told.push(("spec".to_owned(), "The Ingress has no rule", "It serves nothing".to_owned()));
        }
        for (field, fault, effect) in told {
            self.tell(Problem {
                object: ingress.key.clone(),
                field,
                level: Level::Error,
                reason: Reason::Unsupported,
                fault: format!("{fault}, and there is no default backend"),
                effect,
                mend: "Write a path and its backend, or a default backend".to_owned(),
            });
        }
    }

    /// Tells which annotations have no effect on the default backend of an Ingress without rules.
    fn tell_lone_default(&mut self, ingress: &Observed<Ingress>) {
        if has_rules(ingress) {
            return;
        }
        for annotation in [
            &REWRITE_TARGET.annotation,
            &USE_REGEX.annotation,
            &APP_ROOT.annotation,
            &PERMANENT_REDIRECT.annotation,
            &TEMPORAL_REDIRECT.annotation,
        ] {
            let full_name = annotation.full_name(&self.options.annotation_prefix);
            let value = ingress.metadata.annotations.as_ref().and_then(|all| all.get(&full_name));
            if value.is_none_or(|value| matches!(value.trim(), "" | "false")) {
                continue;
            }
            self.tell(Problem {
                object: ingress.key.clone(),
                field: self.annotation(annotation.name),
                level: Level::Warning,
                reason: Reason::Unsupported,
                fault: format!(
                    "`{}` has no effect on the default backend of an Ingress without rules",
                    annotation.name
                ),
                effect: "It is ignored, as in ingress-nginx: it would count for all hosts that nobody names".to_owned(),
                mend: "Remove it, or write a rule for `/` without a host".to_owned(),
            });
        }
    }

    /// Tells that no host of an Ingress has a twin that could be redirected (`from-to-www-redirect`).
    fn tell_no_twin(&mut self, ingress: &Observed<Ingress>, stable: &Stable) {
        let mut hosts = rules_of(ingress).filter_map(|(_, host)| host.ok());
        if stable.www_redirect && !hosts.any(|host| twin_of(&host).is_some()) {
            self.tell(Problem {
                object: ingress.key.clone(),
                field: self.annotation("from-to-www-redirect"),
                level: Level::Warning,
                reason: Reason::Unsupported,
                fault: "Only a host with a whole name has a twin with or without `www.`, and the Ingress has none"
                    .to_owned(),
                effect: "No host is redirected".to_owned(),
                mend: "Write a rule with a whole name, or remove the annotation".to_owned(),
            });
        }
    }

    /// Tells of wildcards among the aliases, of which nginx takes more than ours are.
    fn tell_wildcard_aliases(&mut self, ingress: &Observed<Ingress>, stable: &Stable) {
        for alias in &stable.aliases {
            let Some(suffix) = alias.wildcard_suffix() else { continue };
            self.tell(Problem {
                object: ingress.key.clone(),
                field: self.annotation("server-alias"),
                level: Level::Warning,
                reason: Reason::Differs,
                fault: format!("`{alias}` is a wildcard for any number of labels in ingress-nginx"),
                effect: format!("It is one for a single label: for `a.{suffix}`, not for `a.b.{suffix}`"),
                mend: "Write deeper names too, if they are asked for".to_owned(),
            });
        }
    }

    /// The host that this one is an alias of (`server-alias`), by the oldest Ingress that says so.
    fn alias(&mut self, seen: &[Seen<'a>], served: bool) -> Option<(Hostname, &'a ObjectKey)> {
        let mut source: Option<(Hostname, &'a ObjectKey)> = None;
        for Seen { ingress, settings } in seen {
            let ingress: &'a Observed<Ingress> = ingress;
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
                    self.tell_other_hosts(ingress, own);
                    continue;
                }
            };
            self.tell_annotation(&ingress.key, "server-alias", fault, effect, "Remove the alias");
        }
        source
    }

    /// Tells that this host is an alias of just the first host of an Ingress that has several.
    fn tell_other_hosts(&mut self, ingress: &Observed<Ingress>, own: &Hostname) {
        let mut hosts = rules_of(ingress).filter_map(|(_, host)| host.ok());
        if let Some(other) = hosts.find(|host| !host.is_any() && host != own) {
            self.tell(Problem {
                object: ingress.key.clone(),
                field: self.annotation("server-alias"),
                level: Level::Warning,
                reason: Reason::Differs,
                fault: format!("`{}` is an alias of several hosts, such as `{own}` and `{other}`", self.host),
                effect: format!("It leads to the routes of `{own}` alone, the first of them"),
                mend: "Move the host that it is another name of to an Ingress of its own".to_owned(),
            });
        }
    }

    /// The host that this one is redirected to (`from-to-www-redirect`), by the oldest Ingress that says so.
    fn twin(&mut self, seen: &[Seen<'a>], served: bool, alias: bool) -> Option<(Hostname, &'a ObjectKey)> {
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
        redirecting.first().map(|first| (twin, first.key()))
    }

    /// Tells that an annotation is in conflict with another object.
    pub(super) fn tell_annotation(&mut self, ingress: &ObjectKey, name: &str, fault: String, effect: &str, mend: &str) {
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
}

// === impl Seen ===

impl<'a> Seen<'a> {
    /// The Ingress.
    fn key(&self) -> &'a ObjectKey {
        &self.ingress.key
    }

    /// Whether it serves a host: it is no canary and has a rule for it, or is the default of any.
    pub(super) fn serves(&self, host: &Hostname) -> bool {
        let Some(spec) = self.ingress.spec.as_ref().filter(|_| self.settings.stable().is_some()) else { return false };
        (host.is_any() && !has_rules(self.ingress) && spec.default_backend.is_some())
            || rules_of(self.ingress).any(|(_, other)| other.as_ref() == Ok(host))
    }

    /// Whether a host has a certificate because of it: a `tls` section is enough, whatever is in it. Any host has none.
    pub(super) fn has_certificate(&self, host: &Hostname) -> bool {
        let tls = self.ingress.spec.as_ref().and_then(|spec| spec.tls.as_ref());
        !host.is_any() && tls.is_some_and(|tls| !tls.is_empty()) && self.serves(host)
    }
}
