//! Decisions as a whole: a table, requests, and what becomes of them.

mod affinity;
mod canary;
mod decide;
mod properties;
mod sticky;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::*;
use crate::{
    draw::{Draw, Given, Random},
    key::{Hostname, ObjectKey, PathType, RouteId},
};

/// A request, by default `GET http://foo/info`.
#[derive(Clone, Debug)]
struct Ask {
    method: String,
    authority: Vec<u8>,
    public_authority: Option<Vec<u8>>,
    target: Vec<u8>,
    fields: Vec<(String, Vec<u8>)>,
    client: IpAddr,
    scheme: Scheme,
    port: u16,
    server_name: Option<&'static str>,
}

/// A route to `stable`, by default `foo/info` (Prefix).
type TestRoute = Route<&'static str, ()>;
type TestTable = Table<&'static str, ()>;

fn ask() -> Ask {
    Ask {
        method: "GET".into(),
        authority: b"foo".into(),
        public_authority: None,
        target: b"/info".into(),
        fields: Vec::new(),
        client: [192, 0, 2, 7].into(),
        scheme: Scheme::Http,
        port: 80,
        server_name: None,
    }
}

fn get(url: &str) -> Ask {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let target = if target.is_empty() { "/" } else { target };
    Ask {
        authority: authority.into(),
        target: target.into(),
        scheme,
        port: if scheme == Scheme::Https { 443 } else { 80 },
        ..ask()
    }
}

impl Ask {
    fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    fn from(self, client: impl Into<IpAddr>) -> Self {
        Self { client: client.into(), ..self }
    }
}

impl Request for Ask {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn authority(&self) -> &[u8] {
        &self.authority
    }

    fn public_authority(&self) -> &[u8] {
        self.public_authority.as_ref().unwrap_or(&self.authority)
    }

    fn target(&self) -> &[u8] {
        &self.target
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()))
    }

    fn client(&self) -> IpAddr {
        self.client
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn server_name(&self) -> Option<&[u8]> {
        self.server_name.map(str::as_bytes)
    }

    fn request_id(&self) -> &[u8] {
        b"0123456789abcdef0123456789abcdef"
    }
}

fn side(name: &'static str) -> Side<&'static str> {
    Side::new(name, name)
}

/// The route of a path: `/foo` is a prefix, `=/foo` exact, `~/foo` a regex.
fn route(path: &str) -> TestRoute {
    route_of("foo", path)
}

fn route_of(host: &str, path: &str) -> TestRoute {
    let (path_type, path, rule) = match path.split_at(1) {
        ("=", path) => (PathType::Exact, path, PathRule::Exact(path.into())),
        ("~", path) => {
            let pattern = Pattern::new(path, PatternFlags::PATH).unwrap();
            (PathType::ImplementationSpecific, path, PathRule::Regex(pattern))
        }
        _ => (PathType::Prefix, path, PathRule::Prefix(path.into())),
    };
    let host = if host.is_empty() { Hostname::any() } else { Hostname::parse(host).unwrap() };
    Route {
        id: RouteId { host, path: path.into(), path_type, ingress: ObjectKey::ingress("shop", "web") },
        state: (),
        path: rule,
        split: Split::to(side("stable")),
        policy: Arc::default(),
        service: "stable".into(),
    }
}

/// The table of some routes, each of its own host.
fn table(routes: impl IntoIterator<Item = TestRoute>) -> TestTable {
    let mut hosts = std::collections::BTreeMap::<Hostname, HostBuilder<_, _>>::new();
    for route in routes {
        let name = route.id.host.clone();
        let host = hosts.remove(&name).unwrap_or_else(|| HostBuilder::new(name.clone()));
        hosts.insert(name, host.push(route));
    }
    Table::new().with_hosts(hosts.into_iter().map(|(name, host)| (name, Some(Arc::new(Host::Routes(host.build()))))))
}

/// A canary of no one.
fn canary(name: &'static str) -> Canary<&'static str> {
    Canary {
        ingress: ObjectKey::ingress("shop", name),
        side: side(name),
        rule: Rule::default(),
        share: Share::default(),
        sticky: None,
        keeps_sessions: true,
    }
}

/// A route `foo/info` with canaries.
fn with_canaries(canaries: impl IntoIterator<Item = Canary<&'static str>>) -> TestRoute {
    let mut route = route("/info");
    route.split.canaries = canaries.into_iter().collect();
    route
}

fn always_never(name: &str) -> Option<FieldRule> {
    Some(FieldRule { name: name.into(), value: ValueMatch::AlwaysNever })
}

fn value(name: &str, values: &[&str]) -> Option<FieldRule> {
    let values = values.iter().map(|&value| value.into()).collect();
    Some(FieldRule { name: name.into(), value: ValueMatch::OneOf(values) })
}

fn pattern(name: &str, pattern: &str) -> Option<FieldRule> {
    let pattern = Pattern::new(pattern, PatternFlags::VALUE).unwrap();
    Some(FieldRule { name: name.into(), value: ValueMatch::Pattern(pattern) })
}

fn cookie(name: &str) -> Option<CookieRule> {
    Some(CookieRule { name: name.into(), value: ValueMatch::AlwaysNever })
}

fn share(weight: u32, total: u32) -> Share {
    Share { weight, total }
}

/// What becomes of a request: the name of the side, or the answer.
fn outcome(plan: &Plan<'_, &'static str, ()>) -> String {
    match plan {
        Plan::Forward(forward) => forward.side.name.to_string(),
        Plan::Answer(Answer { why: Why::Redirect { status, location }, .. }) => {
            format!("{status} {}", String::from_utf8_lossy(location))
        }
        Plan::Answer(Answer { why, .. }) => format!("{why:?}"),
    }
}

/// What becomes of a request where all backends are up but `down`.
fn outcome_but(table: &TestTable, ask: &Ask, draw: &mut impl Draw, down: &[&str]) -> String {
    outcome(&decide(table, ask, draw, 0, |backend| !down.contains(backend), &mut NoTrace))
}

fn drawn(table: &TestTable, ask: &Ask, lot: u64) -> String {
    outcome_but(table, ask, &mut Given::new([lot]), &[])
}

/// What becomes of a request whatever the lot.
fn always(table: &TestTable, ask: &Ask) -> String {
    always_but(table, ask, &[])
}

fn always_but(table: &TestTable, ask: &Ask, down: &[&str]) -> String {
    let outcomes: BTreeSet<_> = (0..200).map(|lot| outcome_but(table, ask, &mut Given::new([lot]), down)).collect();
    outcomes.into_iter().collect::<Vec<_>>().join(" or ")
}

/// How many of the lots below `end` go to each side.
fn split(table: &TestTable, ask: &Ask, end: u64) -> Vec<(String, usize)> {
    let mut sides = std::collections::BTreeMap::new();
    for lot in 0..end {
        *sides.entry(drawn(table, ask, lot)).or_default() += 1;
    }
    sides.into_iter().collect()
}

fn random() -> Random {
    Random::new()
}
