//! The routes of a host, and who serves each.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{
    Affinity, Balance, Canary, PathMatch, PathRule, Policy,
    paths::{Found, PathIndex},
};
use crate::key::{Hostname, RouteId};

/// The routes of a host.
#[derive(Clone, Debug, Serialize)]
pub struct HostTable<B, R> {
    pub name: Hostname,
    /// Where `/` alone is redirected to (`app-root`).
    pub app_root: Option<Arc<str>>,
    /// What is asked of the certificates of clients.
    pub client_certificates: Option<ClientCertificates>,
    /// Where they are regexes, in the order in which they are tried.
    pub routes: Vec<Arc<Route<B, R>>>,
    /// Finds the position of a route by the path; shared with tables that only differ in `B` and `R`.
    #[serde(skip)]
    index: Arc<PathIndex>,
}

/// What a host asks of the certificates of its clients, in words. Two hosts whose words are equal ask for the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct ClientCertificates(Arc<str>);

/// Collects the routes of a host and builds the index.
#[derive(Debug)]
pub struct HostBuilder<B, R> {
    name: Hostname,
    app_root: Option<Arc<str>>,
    client_certificates: Option<ClientCertificates>,
    routes: Vec<Arc<Route<B, R>>>,
}

/// A path of a host and what serves it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Route<B, R> {
    pub id: RouteId,
    /// What the route carries at run time.
    #[serde(skip)]
    pub state: R,
    pub path: PathRule,
    pub split: Split<B>,
    pub policy: Arc<Policy>,
    /// The Service of the stable side, as logs and metrics call it.
    pub service: Arc<str>,
}

/// Who serves the requests of a route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Split<B> {
    /// None where the backend cannot be used; then the answer is 503.
    pub stable: Option<Side<B>>,
    /// Serves instead while the stable side has no endpoint (`default-backend`).
    pub fallback: Option<Side<B>>,
    /// In the order in which they are asked: by priority, then age.
    pub canaries: Vec<Canary<B>>,
    pub affinity: Option<Arc<Affinity>>,
    /// A header, query or cookie rule wins over a session (`serin.dev/affinity-precedence: rules`).
    pub rules_before_affinity: bool,
}

/// One side of a split.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Side<B> {
    pub backend: B,
    /// The name in logs, metrics and cookies: `<namespace>-<service>-<port>` with the port as the Ingress writes it.
    pub name: Arc<str>,
    pub balance: Balance,
}

/// A route of a host that fits a path, and how well.
#[derive(Debug)]
pub struct RouteMatch<'t, B, R> {
    pub path: PathMatch,
    pub route: &'t Arc<Route<B, R>>,
}

// === impl ClientCertificates ===

impl ClientCertificates {
    /// What is asked, in words.
    pub fn new(words: impl Into<Arc<str>>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl HostTable ===

impl<B, R> HostTable<B, R> {
    /// The route of a path, which is decoded and normalized.
    ///
    /// An exact path beats prefixes, a longer prefix a shorter one; regexes are tried in their order. Costs about the
    /// same however many routes there are, but for regexes, and allocates nothing.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<RouteMatch<'_, B, R>> {
        let Found { route, path } = self.index.find(path)?;
        Some(RouteMatch { path, route: self.routes.get(route)? })
    }

    /// The same routes with backends named, and routes carried, in another way. The index is shared.
    pub fn map<C, S>(
        &self,
        mut backend: impl FnMut(&B) -> C,
        mut state: impl FnMut(&Route<B, R>) -> S,
    ) -> HostTable<C, S> {
        HostTable {
            name: self.name.clone(),
            app_root: self.app_root.clone(),
            client_certificates: self.client_certificates.clone(),
            routes: self.routes.iter().map(|route| Arc::new(route.map(&mut backend, &mut state))).collect(),
            index: self.index.clone(),
        }
    }
}

/// The index follows from the routes.
impl<B: PartialEq, R: PartialEq> PartialEq for HostTable<B, R> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.app_root == other.app_root
            && self.client_certificates == other.client_certificates
            && self.routes == other.routes
    }
}

// === impl HostBuilder ===

impl<B, R> HostBuilder<B, R> {
    /// A host without routes.
    #[must_use]
    pub fn new(name: Hostname) -> Self {
        Self { name, app_root: None, client_certificates: None, routes: Vec::new() }
    }

    /// Redirects `/` alone to a path (`app-root`).
    #[must_use]
    pub fn app_root(mut self, path: impl Into<Option<Arc<str>>>) -> Self {
        self.app_root = path.into();
        self
    }

    /// Asks this of the certificates of clients (`auth-tls-secret`).
    #[must_use]
    pub fn client_certificates(mut self, asks: impl Into<Option<ClientCertificates>>) -> Self {
        self.client_certificates = asks.into();
        self
    }

    /// Adds a route. Of two with the same path and type the first added serves.
    #[must_use]
    pub fn push(mut self, route: impl Into<Arc<Route<B, R>>>) -> Self {
        self.routes.push(route.into());
        self
    }

    /// Adds several routes.
    #[must_use]
    pub fn extend(mut self, routes: impl IntoIterator<Item = Route<B, R>>) -> Self {
        self.routes.extend(routes.into_iter().map(Arc::new));
        self
    }

    /// Builds the index.
    ///
    /// Regexes are put in the order in which ingress-nginx tries them: by the length of the path as the Ingress writes
    /// it, longest first, then by its text, last first, then as they were added; a prefix that leaves its own path to an
    /// exact one has a slash more than is written, and goes before that.
    #[must_use]
    pub fn build(mut self) -> HostTable<B, R> {
        if self.routes.iter().any(|route| matches!(route.path, PathRule::Regex(_))) {
            let pattern = |route: &Route<B, R>| match &route.path {
                PathRule::Regex(pattern) => pattern.as_str().len(),
                PathRule::Exact(_) | PathRule::Prefix(_) => 0,
            };
            self.routes.sort_by(|a, b| {
                let (left, right) = (&a.id.path, &b.id.path);
                let order = right.len().cmp(&left.len()).then_with(|| right.cmp(left));
                order.then_with(|| pattern(b).cmp(&pattern(a)))
            });
        }
        let index = PathIndex::new(self.routes.iter().map(|route| (&route.path, &*route.id.path)));
        HostTable {
            name: self.name,
            app_root: self.app_root,
            client_certificates: self.client_certificates,
            routes: self.routes,
            index: Arc::new(index),
        }
    }
}

// === impl Route ===

impl<B, R> Route<B, R> {
    /// The same route with backends named, and a state carried, in another way.
    pub fn map<C, S>(&self, backend: impl FnMut(&B) -> C, mut state: impl FnMut(&Self) -> S) -> Route<C, S> {
        Route {
            id: self.id.clone(),
            state: state(self),
            path: self.path.clone(),
            split: self.split.map(backend),
            policy: self.policy.clone(),
            service: self.service.clone(),
        }
    }
}

// === impl Split ===

impl<B> Split<B> {
    /// All requests go to one side.
    pub fn to(stable: impl Into<Option<Side<B>>>) -> Self {
        Self {
            stable: stable.into(),
            fallback: None,
            canaries: Vec::new(),
            affinity: None,
            rules_before_affinity: false,
        }
    }

    /// All sides: stable, fallback, canaries.
    pub fn sides(&self) -> impl Iterator<Item = &Side<B>> {
        self.stable.iter().chain(&self.fallback).chain(self.canaries.iter().map(|canary| &canary.side))
    }

    fn map<C>(&self, mut backend: impl FnMut(&B) -> C) -> Split<C> {
        Split {
            stable: self.stable.as_ref().map(|side| side.map(&mut backend)),
            fallback: self.fallback.as_ref().map(|side| side.map(&mut backend)),
            canaries: self.canaries.iter().map(|canary| canary.map(&mut backend)).collect(),
            affinity: self.affinity.clone(),
            rules_before_affinity: self.rules_before_affinity,
        }
    }
}

// === impl Side ===

impl<B> Side<B> {
    /// A side that is balanced by round robin.
    pub fn new(backend: B, name: impl Into<Arc<str>>) -> Self {
        Self { backend, name: name.into(), balance: Balance::default() }
    }

    pub(super) fn map<C>(&self, mut backend: impl FnMut(&B) -> C) -> Side<C> {
        Side { backend: backend(&self.backend), name: self.name.clone(), balance: self.balance.clone() }
    }
}
