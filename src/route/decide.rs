//! The decision for one request.

use std::net::IpAddr;

use serde::Serialize;

use super::{
    AffinityPlan, Algorithm, Canary, ClientCertificates, Host, HostMatch, HostTable, PathMatch, PathRule, Route, Side,
    SslRedirect, Table,
    choose::{self, Choice},
    fields, redirect,
    rewrite::Rewritten,
};
use crate::{draw::Draw, http, key::Hostname};

/// The path that load balancers of clouds ask, on the port of the requests and without a name that they would know.
const HEALTH: &[u8] = b"/healthz";

/// A view of a request, whatever the protocol.
pub trait Request {
    fn method(&self) -> &[u8];
    /// Host or `:authority`, as received; empty where HTTP/1.0 sent none. Routes are found by it.
    fn authority(&self) -> &[u8];
    /// The host that the client asked for, where a proxy that is believed says that it asked for another.
    fn public_authority(&self) -> &[u8] {
        self.authority()
    }
    /// Path and query, as received; `*` for `OPTIONS *`.
    fn target(&self) -> &[u8];
    /// The fields in their order. Names are compared ignoring case.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
    /// The client's address, as far as it is believed.
    fn client(&self) -> IpAddr;
    /// The scheme that the client used, as far as it is believed.
    fn scheme(&self) -> Scheme;
    /// The port that the client used, as far as it is believed: the listener's otherwise.
    fn port(&self) -> u16;
    /// The name that the client gave in its TLS handshake, empty where it gave none; none where there was no handshake.
    fn server_name(&self) -> Option<&[u8]>;
    /// The request id: the client's or a new one.
    fn request_id(&self) -> &[u8];
}

/// The scheme of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    Https,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Plan<'t, B, R> {
    /// Answer it here.
    Answer(Answer<'t, B, R>),
    /// Send it to an endpoint.
    Forward(Forward<'t, B, R>),
}

/// An answer that needs no endpoint.
#[derive(Debug)]
pub struct Answer<'t, B, R> {
    /// The route, where one matched: metrics and logs name it.
    pub route: Option<&'t Route<B, R>>,
    pub why: Why,
}

/// Why a request is answered here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Why {
    /// The health check of a load balancer, which no path claims: 200.
    Health,
    /// No route: 404.
    NoRoute,
    /// The route has no backend that is up: 503.
    NoEndpoints,
    /// The connection was made for a host that asks its clients for other certificates: 421.
    Misdirected,
    /// The path cannot be read: 400.
    BadPath,
    /// It would be redirected to https and names no host: 400.
    NoHost,
    /// A redirect.
    Redirect { status: u16, location: Vec<u8> },
}

/// Which endpoints may serve a request, and what is changed on the way.
#[derive(Debug)]
pub struct Forward<'t, B, R> {
    pub route: &'t Route<B, R>,
    pub side: &'t Side<B>,
    /// The canary whose side it is.
    pub canary: Option<&'t Canary<B>>,
    /// The path and query that the endpoint sees, where they differ from the client's.
    pub target: Option<Vec<u8>>,
    /// The Host that the endpoint sees, where it differs from the client's.
    pub host: Option<Vec<u8>>,
    /// The hash of what the side balances by.
    pub hash: Option<u64>,
    pub affinity: Option<AffinityPlan<'t>>,
    /// The value of a `Set-Cookie` for the answer, which makes a weighted choice stick.
    pub set_cookie: Option<Vec<u8>>,
}

/// Watches a decision being made: `explain` prints it; a proxy watches nothing, at no cost.
pub trait Trace {
    /// Takes a step note of. `step` is called only by those who want to know.
    fn note(&mut self, step: impl FnOnce() -> Step);

    /// Whether anybody wants to know.
    fn watches(&self) -> bool {
        true
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoTrace;

/// A step of a decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Step {
    /// A host of the table was tried.
    Host { host: String, fits: Option<HostMatch>, chosen: bool },
    /// A route of the host was compared.
    Path { route: String, fits: Option<PathMatch>, chosen: bool },
    /// A rule of a canary was asked.
    Asked { canary: String, rule: String, answer: String },
    /// The lot was drawn.
    Drawn { odds: String, lot: String, chosen: String },
    /// Anything else worth a line.
    Note(String),
}

/// Decides what to do with a request.
///
/// `now` is the time in seconds since 1970, for policies that depend on it; `up` tells whether a backend has an endpoint
/// that may serve. A request that is only sent on allocates nothing here.
///
/// The order is: the host, whether the connection may be used for it, the path, redirects of the host, the route or a health
/// check, its redirects (to the path with a slash, to a fixed place, to https), the side, the changes. A redirect needs no
/// endpoint.
pub fn decide<'t, B, R>(
    table: &'t Table<B, R>,
    request: &impl Request,
    draw: &mut impl Draw,
    _now: u64,
    up: impl Fn(&B) -> bool,
    trace: &mut impl Trace,
) -> Plan<'t, B, R> {
    let answer = |route, why| Plan::Answer(Answer { route, why });

    // `OPTIONS *` is about no path, and about no host's routes.
    let any = request.target() == b"*";
    let path = if any { b"/" } else { fields::split_target(request.target()).0 };
    let mut scratch = Vec::new();
    let Ok(path) = http::path::normalize(path, &mut scratch) else {
        trace.note(|| Step::Note("the path cannot be read".to_owned()));
        return answer(None, Why::BadPath);
    };
    let host = if any { table.host(&Hostname::any()) } else { find_host(table, request.authority(), trace) };
    if is_misdirected(table, host.map(|host| &**host), request, trace) {
        return answer(None, Why::Misdirected);
    }
    let routes = match host.map(|host| &**host) {
        Some(Host::Twin { to, status }) => {
            let location = redirect::to_twin(request, to.as_str());
            return answer(None, Why::Redirect { status: *status, location });
        }
        Some(Host::Routes(routes)) => Some(routes),
        None => None,
    };
    if let Some(root) = routes.and_then(|routes| routes.app_root.as_deref())
        && path == b"/"
    {
        return answer(None, Why::Redirect { status: 302, location: redirect::to_app_root(request, root) });
    }

    let found = routes.and_then(|routes| find_route(routes, path, trace));
    // As nginx's `location /healthz` of the server for any host: a shorter prefix does not claim it, other paths do.
    if path == HEALTH
        && routes.is_none_or(|routes| routes.name.is_any())
        && found.is_none_or(|(_, fits)| fits < PathMatch::Slash(HEALTH.len()))
    {
        return answer(None, Why::Health);
    }
    let (route, adds_slash) = match (found, &table.default) {
        (Some((route, fits)), _) => (route, fits.adds_slash()),
        (None, Some(default)) => {
            trace.note(|| Step::Note("no route fits: the default backend serves".to_owned()));
            (&**default, false)
        }
        (None, None) => return answer(None, Why::NoRoute),
    };
    if let Some(why) = redirected(route, request, adds_slash) {
        return answer(Some(route), why);
    }

    let Some(choice) = choose::choose(route, request, draw, &up, trace) else {
        return answer(Some(route), Why::NoEndpoints);
    };
    let rewritten = route.policy.rewrite.as_ref().and_then(|it| it.apply(path, request));
    let target = match rewritten {
        Some(Rewritten::Redirect(location)) => return answer(Some(route), Why::Redirect { status: 302, location }),
        Some(Rewritten::Target(target)) => Some(target),
        None => None,
    };
    Plan::Forward(forward(route, choice, target, request, trace))
}

/// The host of a request. Those who watch are told of all that fit.
fn find_host<'t, B, R>(
    table: &'t Table<B, R>,
    authority: &[u8],
    trace: &mut impl Trace,
) -> Option<&'t std::sync::Arc<Host<B, R>>> {
    let found = table.find_host(authority);
    if trace.watches() {
        for (host, fits) in table.hosts_that_could_fit(authority) {
            let chosen = fits.is_some() && fits == found.map(|(fits, _)| fits);
            trace.note(|| Step::Host { host: host.to_owned(), fits, chosen });
        }
    }
    found.map(|(_, host)| host)
}

/// Whether the client would get round what a host asks of its clients, by a connection that was made for another.
///
/// What was agreed on in the handshake was for the host that the server name stands for. A host that asks for the same,
/// or both for nothing, may share the connection (RFC 9110, section 7.4).
fn is_misdirected<B, R>(
    table: &Table<B, R>,
    host: Option<&Host<B, R>>,
    request: &impl Request,
    trace: &mut impl Trace,
) -> bool {
    let Some(name) = request.server_name() else { return false };
    if name.eq_ignore_ascii_case(http::host::name(request.authority())) && request.target() != b"*" {
        return false;
    }
    let of_name =
        if name.is_empty() { table.host(&Hostname::any()) } else { table.find_host(name).map(|(_, host)| host) };
    let (asked, asks) = (of_name.and_then(|host| host.client_certificates()), host.and_then(Host::client_certificates));
    if asked == asks {
        return false;
    }
    trace.note(|| {
        let shown = |asks: Option<&ClientCertificates>| asks.map_or("nothing".to_owned(), ToString::to_string);
        let name = if name.is_empty() { "no server name".into() } else { String::from_utf8_lossy(name) };
        Step::Note(format!(
            "the connection is for {name}, which asks clients for {}; this host asks for {}",
            shown(asked),
            shown(asks)
        ))
    });
    true
}

/// The route of a path, and how well it fits. Those who watch are told of all routes.
fn find_route<'t, B, R>(
    routes: &'t HostTable<B, R>,
    path: &[u8],
    trace: &mut impl Trace,
) -> Option<(&'t Route<B, R>, PathMatch)> {
    let found = routes.find(path);
    if trace.watches() {
        if routes.routes.iter().any(|route| matches!(route.path, PathRule::Regex(_))) {
            let how = "the longest is tried first, in any case of letters";
            trace.note(|| Step::Note(format!("the paths of the host are regular expressions: {how}")));
        }
        for route in &routes.routes {
            let chosen = found.as_ref().is_some_and(|found| std::ptr::eq(&**found.route, &**route));
            let fits = route.path.fits(path, &route.id.path);
            trace.note(|| Step::Path { route: route.id.to_string(), fits, chosen });
        }
    }
    found.map(|found| (&**found.route, found.path))
}

/// The redirect of a route that a request meets first. nginx adds a slash while it looks for the location, and only then
/// comes to what the location says.
fn redirected<B, R>(route: &Route<B, R>, request: &impl Request, adds_slash: bool) -> Option<Why> {
    if adds_slash {
        let path = route.path.path().map_or("/", |path| path);
        return Some(Why::Redirect { status: 301, location: redirect::to_slash(request, path) });
    }
    let policy = &route.policy;
    if let Some(fixed) = &policy.redirect {
        return Some(Why::Redirect { status: fixed.status, location: redirect::to_fixed(&fixed.location) });
    }
    if policy.ssl_redirect == SslRedirect::On && request.scheme() == Scheme::Http {
        return Some(match redirect::to_https(request, policy.preserve_trailing_slash) {
            Some(location) => Why::Redirect { status: 308, location },
            None => Why::NoHost,
        });
    }
    None
}

fn forward<'t, B, R>(
    route: &'t Route<B, R>,
    choice: Choice<'t, B>,
    target: Option<Vec<u8>>,
    request: &impl Request,
    trace: &mut impl Trace,
) -> Forward<'t, B, R> {
    let Choice { side, canary, affinity, set_cookie } = choice;
    let host = route.policy.upstream_host.as_ref().map(|host| {
        let mut text = host.text(request);
        text.retain(|c| !c.is_ascii_control());
        text
    });
    let by_hash = matches!(side.balance.algorithm, Algorithm::Hash | Algorithm::HashSubset(_));
    let hash = side.balance.hash_by.as_ref().filter(|_| by_hash).map(|key| key.hash(request));
    for (name, value) in [("target", &target), ("Host", &host), ("Set-Cookie", &set_cookie)] {
        if let Some(value) = value {
            trace.note(|| Step::Note(format!("{name}: {}", value.escape_ascii())));
        }
    }
    Forward { route, side, canary, target, host, hash, affinity, set_cookie }
}

// === impl Forward ===

impl<B, R> Forward<'_, B, R> {
    /// The edits of the head on its way to the endpoint: what was decided, and what the gateway says of the client. A host
    /// that a proxy is believed to have been asked for is the endpoint's, too, unless the route names another.
    #[must_use]
    pub fn edits<'a>(
        &'a self,
        forwarded: http::Forwarded<'a>,
        request_id: &'a [u8],
        traceparent: Option<&'a [u8]>,
    ) -> http::RequestEdits<'a> {
        let public = Some(forwarded.host).filter(|host| !host.is_empty());
        http::RequestEdits {
            target: self.target.as_deref(),
            host: self.host.as_deref().or(public),
            forwarded,
            request_id,
            traceparent,
            ..http::RequestEdits::default()
        }
    }
}

// === impl Scheme ===

impl Scheme {
    /// As it is written before `://`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

// === impl NoTrace ===

impl Trace for NoTrace {
    fn note(&mut self, _: impl FnOnce() -> Step) {}

    fn watches(&self) -> bool {
        false
    }
}
