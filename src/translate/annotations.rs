//! The registry of annotations: one record for each that an Ingress may carry.
//!
//! From these records come the typed reader that translation uses, what is said about annotations that are unknown, not
//! built yet or refused, and the [`reference()`] page. A record says what becomes of the annotation, so that none is ever
//! dropped in silence.
//!
//! Unset, empty and invalid are three different things: an unset annotation takes its default, an empty one does too and
//! the object is told, an invalid one is an error on the object.

use std::{collections::HashMap, sync::OnceLock};

mod affinity;
mod auth;
mod backend_tls;
mod canary;
mod read;
mod redirect;
mod reference;
mod removed;
mod security;
mod serving;
mod upstream;
mod value;

pub use self::{reference::reference, value::Kind};

pub(super) use self::{
    affinity::*,
    backend_tls::*,
    canary::*,
    read::{Found, Reader, shown},
    redirect::*,
    serving::*,
    upstream::*,
};

/// The prefix of what Serin adds.
pub const SERIN: &str = "serin.dev";

/// Prefixes under which Alibaba's gateways, and tools that write for them, have query and cookie canaries.
pub const ALIBABA: [&str; 3] = ["mse.ingress.kubernetes.io", "higress.ingress.kubernetes.io", "higress.io"];

/// The record of an annotation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Annotation {
    /// Without the prefix.
    pub name: &'static str,
    /// A former name that is read too.
    pub alias: Option<&'static str>,
    pub prefixes: Prefixes,
    pub group: Group,
    pub scope: Scope,
    pub risk: Risk,
    pub support: Support,
    pub kind: Kind,
    /// What holds where it is not set; empty where nothing does.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub doc: &'static str,
}

/// The prefixes that an annotation is read under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefixes {
    /// That of ingress-nginx, which can be changed.
    Nginx,
    /// `serin.dev`.
    Serin,
    /// That of ingress-nginx and Alibaba's.
    Query,
    /// `serin.dev`, that of ingress-nginx and Alibaba's.
    Cookie,
    /// `kubernetes.io`.
    Kubernetes,
}

/// What an annotation is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    Class,
    Canary,
    Affinity,
    Upstream,
    Redirects,
    Proxying,
    Access,
    BackendTls,
    Tls,
    RateLimits,
    Cors,
    Mirror,
    Errors,
    Observing,
    NginxOnly,
    Removed,
}

/// What an annotation applies to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The Ingress that carries it.
    Ingress,
    /// The paths of the Ingress that carries it.
    Path,
    /// All paths of its hosts; the oldest Ingress that has it decides.
    Host,
    /// The canary that carries it.
    Canary,
    /// The Services of the Ingress that carries it, which may be a canary.
    Backend,
}

/// How much harm whoever writes it can do, as ingress-nginx classes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Risk {
    Low,
    Medium,
    High,
    Critical,
}

/// What becomes of an annotation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// It does what it does in ingress-nginx, or what its documentation says.
    Honoured,
    /// Some values are honoured; the others are told on the object. The text says which.
    Partly(&'static str),
    /// It has another effect; the text says which.
    Differs(&'static str),
    /// Not built yet; the text says what holds meanwhile.
    NotYet(&'static str),
    /// Not built yet, and without it the paths would be open to more than the object allows: they are closed.
    NotYetClosed,
    /// Refused for good.
    Refused {
        /// Why, as a sentence.
        why: &'static str,
        /// What to do, as a sentence.
        mend: &'static str,
    },
}

/// An annotation whose value is read as a `T`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed<T> {
    pub(super) annotation: Annotation,
    parse: fn(&str) -> Result<T, value::Fault>,
}

/// All records, by group and then in a sensible order.
pub fn registry() -> impl Iterator<Item = &'static Annotation> {
    const GROUPS: [&[&Annotation]; 12] = [
        &[&CLASS],
        canary::RECORDS,
        affinity::RECORDS,
        upstream::RECORDS,
        backend_tls::RECORDS,
        redirect::RECORDS,
        serving::RECORDS,
        auth::RECORDS,
        security::RECORDS,
        serving::ERRORS,
        serving::OBSERVING,
        removed::RECORDS,
    ];
    GROUPS.into_iter().flatten().copied()
}

/// The former way to name a class; `class` reads it.
static CLASS: Annotation = Annotation::new("ingress.class", Group::Class, Kind::Text)
    .under(Prefixes::Kubernetes)
    .on(Scope::Ingress)
    .doc("The class of the Ingress, where `spec.ingressClassName` is not set.");

/// The record of a name without prefix, or of an alias.
fn named(name: &str) -> Option<&'static Annotation> {
    static NAMES: OnceLock<HashMap<&'static str, &'static Annotation>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let names = registry().flat_map(|annotation| {
            let names = std::iter::once(annotation.name).chain(annotation.alias);
            names.map(move |name| (name, annotation))
        });
        names.collect()
    });
    names.get(name).copied()
}

// === impl Annotation ===

impl Annotation {
    /// A record of an annotation of ingress-nginx that is honoured, applies to paths, and has no default.
    pub(super) const fn new(name: &'static str, group: Group, kind: Kind) -> Self {
        Self {
            name,
            alias: None,
            prefixes: Prefixes::Nginx,
            group,
            scope: Scope::Path,
            risk: Risk::Low,
            support: Support::Honoured,
            kind,
            default: "",
            doc: "",
        }
    }

    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn under(mut self, prefixes: Prefixes) -> Self {
        self.prefixes = prefixes;
        self
    }

    const fn on(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    const fn risk(mut self, risk: Risk) -> Self {
        self.risk = risk;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    const fn partly(mut self, which: &'static str) -> Self {
        self.support = Support::Partly(which);
        self
    }

    const fn differs(mut self, how: &'static str) -> Self {
        self.support = Support::Differs(how);
        self
    }

    const fn not_yet(mut self, meanwhile: &'static str) -> Self {
        self.support = Support::NotYet(meanwhile);
        self
    }

    const fn closed(mut self) -> Self {
        self.support = Support::NotYetClosed;
        self
    }

    const fn refused(mut self, why: &'static str, mend: &'static str) -> Self {
        self.support = Support::Refused { why, mend };
        self
    }

    /// The name with the prefix that is written first, where ingress-nginx's is `prefix`.
    #[must_use]
    pub fn full_name(&self, prefix: &str) -> String {
        match self.prefixes {
            Prefixes::Nginx | Prefixes::Query => format!("{prefix}/{}", self.name),
            Prefixes::Serin | Prefixes::Cookie => format!("{SERIN}/{}", self.name),
            Prefixes::Kubernetes => format!("kubernetes.io/{}", self.name),
        }
    }

    /// Whether it counts on a canary, whose other annotations come from the stable Ingress.
    #[must_use]
    pub const fn counts_on_canary(&self) -> bool {
        matches!(self.scope, Scope::Canary | Scope::Backend | Scope::Ingress)
    }
}

// === impl Typed ===

impl<T> Typed<T> {
    const fn new(annotation: Annotation, parse: fn(&str) -> Result<T, value::Fault>) -> Self {
        Self { annotation, parse }
    }
}

// === impl Prefixes ===

impl Prefixes {
    /// Whether an annotation is read under a prefix, where ingress-nginx's is `nginx`.
    fn contain(self, prefix: &str, nginx: &str) -> bool {
        match self {
            Self::Nginx => prefix == nginx,
            Self::Serin => prefix == SERIN,
            Self::Query | Self::Cookie => prefix == SERIN || prefix == nginx || ALIBABA.contains(&prefix),
            Self::Kubernetes => prefix == "kubernetes.io",
        }
    }
}

// === impl Group ===

impl Group {
    /// The heading of the group.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Class => "Class",
            Self::Canary => "Canary",
            Self::Affinity => "Session affinity",
            Self::Upstream => "Balancing and endpoints",
            Self::Redirects => "Hosts, rewrites and redirects",
            Self::Proxying => "Proxying",
            Self::Access => "Access",
            Self::BackendTls => "TLS to endpoints",
            Self::Tls => "TLS",
            Self::RateLimits => "Rate limits",
            Self::Cors => "CORS",
            Self::Mirror => "Mirroring",
            Self::Errors => "Errors and headers",
            Self::Observing => "Logs and traces",
            Self::NginxOnly => "Of nginx alone",
            Self::Removed => "Removed from ingress-nginx",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_annotation_of_ingress_nginx_has_a_record() {
        let nginx = registry()
            .filter(|record| matches!(record.prefixes, Prefixes::Nginx) && !matches!(record.group, Group::Removed));
        assert_eq!(nginx.count(), 136);
        assert_eq!(registry().filter_map(|record| record.alias).count(), 2);
    }

    #[test]
    fn names_are_unique() {
        let mut names = BTreeSet::new();
        for record in registry() {
            for name in std::iter::once(record.name).chain(record.alias) {
                assert!(names.insert(name), "{name} is there twice");
            }
        }
    }

    #[test]
    fn every_record_says_what_it_does() {
        for record in registry() {
            assert!(record.doc.ends_with('.'), "{}", record.name);
        }
    }
}
