//! The table: hosts, their paths, and the split of each route.

use std::sync::Arc;

use serde::Serialize;

use super::{Affinity, Canary, Pattern, Policy};
use crate::key::{Hostname, RouteId};

/// All routes.
///
/// The map of hosts is in parts that a changed table shares with the former one, so that a change of one host costs
/// one part.
#[derive(Clone, Debug)]
pub struct Table<B, R> {
    // the route helper chooses: e.g. shards: Box<[Arc<HashMap<Hostname, Arc<Host<B, R>>>>]>
    hosts: std::collections::HashMap<Hostname, Arc<Host<B, R>>>,
    /// What serves a request that no route matches: `--default-backend-service`.
    pub default: Option<Arc<Route<B, R>>>,
    /// The number of the publication that made it.
    pub number: u64,
}

/// What a host answers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub enum Host<B, R> {
    /// By its routes.
    Routes(HostTable<B, R>),
    /// With a redirect to its twin with or without `www.` (`from-to-www-redirect`).
    Twin { to: Hostname, status: u16 },
}

/// The routes of a host.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct HostTable<B, R> {
    pub name: Hostname,
    /// Where `/` alone is redirected to (`app-root`).
    pub app_root: Option<Arc<str>>,
    pub routes: Vec<Arc<Route<B, R>>>,
    /// Finds the position of a route by the path; shared with tables that only differ in `B` and `R`.
    #[serde(skip)]
    index: Arc<()>,
}

/// Collects the routes of a host and builds the index.
#[derive(Debug)]
pub struct HostBuilder<B, R> {
    _routes: Vec<Arc<Route<B, R>>>,
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

/// How a path of the table is compared with the path of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum PathRule {
    /// The whole path.
    Exact(Arc<str>),
    /// By elements: `/foo` takes `/foo`, `/foo/` and `/foo/bar`, not `/foobar`. `/foo/` takes what is below, and sends
    /// `/foo` there with a redirect, as nginx does.
    Prefix(Arc<str>),
    /// From the start, ignoring case, in the order of the host's routes. Where one route of a host is a regex, all are.
    Regex(Pattern),
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
    pub balance: super::Balance,
}

/// How well a host of the table fits a request: an exact one beats a wildcard, that beats any host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum HostMatch {
    Any,
    Wildcard,
    Exact,
}

/// How well a path of the table fits: an exact one beats a longer prefix, that beats a shorter one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub enum PathMatch {
    Prefix(usize),
    Regex(usize),
    Exact,
}

/// A route that fits a request, and how well.
#[derive(Debug)]
pub struct RouteMatch<'t, B, R> {
    pub host: HostMatch,
    pub path: PathMatch,
    pub route: &'t Arc<Route<B, R>>,
    /// The request lacks only a trailing slash: it is redirected to the path with it.
    pub add_slash: bool,
}
