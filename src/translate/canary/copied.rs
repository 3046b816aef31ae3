//! What is told of copies: release tools make the Ingress of a canary from the stable one.
//!
//! Flagger and OpenKruise copy its annotations, so the stable Ingress is the only place to write those that they do not
//! know. All copy whole rules, of which most paths lead where the stable ones do.

use std::sync::Arc;

use crate::{
    api::Ingress,
    key::Hostname,
    problem::{Level, Problem, Reason},
    store::Observed,
    translate::{
        Read,
        claim::PathKey,
        host::{Pass, Seen},
        hosts::{has_rules, named_by, paths_on},
        settings::CanarySettings,
    },
};

// === impl Pass ===

impl<'a> Pass<'a> {
    /// Tells which annotations of canaries on a stable Ingress are on no canary of its paths.
    pub(in crate::translate) fn tell_uncopied(&mut self, seen: &Seen<'a>) {
        let Some(stable) = seen.settings.stable().filter(|stable| !stable.for_canaries.is_empty()) else { return };
        let canaries = self.canaries_beside(seen.ingress);
        for (name, value) in &stable.for_canaries {
            let copied = |canary: &Arc<Observed<Ingress>>| {
                let annotations = canary.metadata.annotations.as_ref();
                annotations.and_then(|annotations| annotations.get(name)).is_some_and(|other| other.trim() == value)
            };
            if canaries.iter().any(copied) {
                continue;
            }
            let short = name.split_once('/').map_or(&**name, |(_, name)| name);
            self.tell(Problem {
                object: seen.ingress.key.clone(),
                field: format!("metadata.annotations[{name}]"),
                level: Level::Warning,
                reason: Reason::Unsupported,
                fault: format!("`{short}` is read from the Ingress of the canary"),
                effect: "It has no effect until a canary carries it too: release tools copy it there".to_owned(),
                mend: "Move it to the canary, unless such a tool makes that".to_owned(),
            });
        }
    }

    /// Tells of a canary whose paths on `source` are all copies, where those on its other hosts are too. It is told with
    /// the first host.
    pub(super) fn tell_copy(&mut self, source: &Hostname, canary: &Seen<'a>, settings: &CanarySettings) {
        let hosts = named_by(canary.ingress);
        let Some((first, others)) = hosts.split_first().filter(|_| !self.quiet) else { return };
        if first != source || !others.iter().all(|host| self.copies_all(host, canary, settings)) {
            return;
        }
        self.tell(Problem {
            object: canary.ingress.key.clone(),
            field: "spec".to_owned(),
            level: Level::Warning,
            reason: Reason::CanaryShadowed,
            fault: "All its paths have the backends of the stable Ingress".to_owned(),
            effect: "No request is sent to it".to_owned(),
            mend: "Write the Service of the canary where it is to serve".to_owned(),
        });
    }

    /// Whether all paths of a canary on a host have the backend of the stable Ingress.
    fn copies_all(&mut self, host: &Hostname, canary: &Seen<'a>, settings: &CanarySettings) -> bool {
        self.reads.insert(Read::Host(host.clone()));
        self.quiet = true;
        let seen = self.see(host);
        let claims = self.claims(host, &seen);
        let parts = self.parts(host, canary, settings);
        let mut parts = parts.iter().filter(|part| !part.default);
        let copies = parts.all(|part| {
            self.stable_of(part, &claims).is_some_and(|stable| stable.cluster.same_port(&part.backend.cluster))
        });
        self.quiet = false;
        copies
    }

    /// The canaries of the namespace with a path of an Ingress, on any of its hosts.
    fn canaries_beside(&mut self, stable: &Observed<Ingress>) -> Vec<Arc<Observed<Ingress>>> {
        let quiet = std::mem::replace(&mut self.quiet, true);
        let mut canaries = Vec::new();
        for host in named_by(stable) {
            self.reads.insert(Read::Host(host.clone()));
            let paths = self.keys_on(&host, stable);
            for other in self.see(&host) {
                let is_canary = other.settings.canary().is_some();
                if is_canary
                    && other.ingress.key.namespace == stable.key.namespace
                    && self.keys_on(&host, other.ingress).iter().any(|path| paths.contains(path))
                {
                    canaries.push(Arc::clone(other.ingress));
                }
            }
        }
        self.quiet = quiet;
        canaries
    }

    /// The paths that an Ingress names on a host; all where there is only its default backend.
    fn keys_on(&mut self, host: &Hostname, ingress: &Observed<Ingress>) -> Vec<PathKey> {
        if !has_rules(ingress) {
            let default = ingress.spec.as_ref().and_then(|spec| spec.default_backend.as_ref());
            return default.map(|_| PathKey::all()).into_iter().collect();
        }
        let paths = paths_on(ingress, host);
        paths.filter_map(|(field, path)| Some(self.path(&ingress.key, &field, path, false)?.0)).collect()
    }
}
