//! What `explain` found, as text and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::{Asking, Change, Imagined, certificate::ShownCertificate, manifests::Manifests, spoken::Spoken};
use crate::{
    http::{self, Refusal},
    key::{ClusterKey, Hostname, ObjectKey, RouteId, SecretKey},
    problem::Problem,
    route::{
        AffinityMode, AffinityPlan, Algorithm, Answer, Forward, Held, HostMatch, PathMatch, Plan, Route, Step, Why,
    },
    translate::Translation,
    upstream::{Endpoints, Origin},
};

/// An explanation.
#[derive(Serialize)]
pub(super) struct Report {
    request: String,
    /// What the client would be shown in the handshake, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<ShownCertificate>,
    /// How the decision was made.
    steps: Vec<Step>,
    /// What was decided.
    outcome: Outcome,
    /// What is wrong with the objects that took part.
    problems: Vec<Problem>,
    /// What is wrong with the files: objects may be missing here because of it.
    unreadable: Vec<Problem>,
}

/// What stands beside the request.
pub(super) struct Beside<'a> {
    pub(super) translation: &'a Translation,
    pub(super) manifests: &'a Manifests,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
enum Outcome {
    /// The request is not understood, or not served on purpose.
    Refused { status: u16, because: &'static str },
    /// The gateway answers by itself.
    Answered { status: u16, because: &'static str, location: Option<String>, route: Option<String> },
    /// An endpoint answers.
    Forwarded(Box<Forwarded>),
}

#[derive(Serialize)]
struct Forwarded {
    route: String,
    /// `stable`, `canary` or `default backend`.
    side: &'static str,
    ingress: ObjectKey,
    cluster: ClusterKey,
    /// The name in logs, metrics and cookies.
    upstream: String,
    endpoints: Vec<String>,
    balance: String,
    spoken: Spoken,
    /// Whether a session cookie chooses the endpoint, and whether the client has one.
    session: Option<String>,
    /// What the endpoint sees other than the client sent it.
    request_changes: Vec<Change>,
    /// What the client sees other than the endpoint sent it.
    answer_changes: Vec<(String, String)>,
}

// === impl Report ===

impl Report {
    pub(super) fn new(
        asking: &Asking<'_>,
        certificates: Vec<ShownCertificate>,
        plan: &Plan<'_, ClusterKey, RouteId>,
        steps: Vec<Step>,
        request_changes: Vec<Change>,
        beside: &Beside<'_>,
    ) -> Self {
        let Beside { translation, manifests } = *beside;
        let mut objects: Vec<ObjectKey> = Vec::new();
        let outcome = match plan {
            Plan::Answer(answer) => {
                match answer.route {
                    Some(route) => objects.extend(objects_of(route)),
                    // Those that name the host may have lost their routes by a mistake.
                    None => objects.extend(ingresses_of(asking.view.authority(), manifests)),
                }
                answered(answer)
            }
            Plan::Forward(forward) => {
                objects.extend(objects_of(forward.route));
                Outcome::Forwarded(Box::new(forwarded(asking, forward, request_changes, translation)))
            }
        };
        let problems = translation.problems.iter().filter(|problem| objects.contains(&problem.object)).cloned();
        Self {
            request: asking.imagined.to_string(),
            certificates,
            steps,
            outcome,
            problems: problems.collect(),
            unreadable: manifests.unreadable.clone(),
        }
    }

    /// The explanation of a request that the proxy refuses when it reads it.
    pub(super) fn refused(request: &Imagined, refusal: Refusal, beside: &Beside<'_>) -> Self {
        Self {
            request: request.to_string(),
            certificates: Vec::new(),
            steps: Vec::new(),
            outcome: Outcome::Refused { status: refusal.status(), because: refusal.text() },
            problems: Vec::new(),
            unreadable: beside.manifests.unreadable.clone(),
        }
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}\n", self.request)?;
        for certificate in &self.certificates {
            writeln!(out, "certificate {certificate}")?;
        }
        for step in &self.steps {
            print_step(step, out)?;
        }
        if !self.steps.is_empty() {
            writeln!(out)?;
        }
        match &self.outcome {
            Outcome::Refused { status, because } => writeln!(out, "answer     {status}: {because}")?,
            Outcome::Answered { status, because, location, route } => {
                writeln!(out, "answer     {status}: {because}")?;
                if let Some(location) = location {
                    writeln!(out, "           Location: {location}")?;
                }
                if let Some(route) = route {
                    writeln!(out, "route      {route}")?;
                }
            }
            Outcome::Forwarded(forwarded) => forwarded.print(out)?,
        }
        for (title, problems) in [("", &self.problems), ("in the files:\n", &self.unreadable)] {
            if !problems.is_empty() {
                write!(out, "\n{title}")?;
            }
            for problem in problems {
                writeln!(out, "{}    {} at {}: {}", problem.level, problem.object, problem.field, problem.fault)?;
            }
        }
        Ok(())
    }
}

// === impl Forwarded ===

impl Forwarded {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { side, ingress, cluster, route, balance, .. } = self;
        writeln!(out, "route      {route}")?;
        writeln!(out, "sent to    the {side} side: {cluster}, of {ingress}")?;
        let endpoints = if self.endpoints.is_empty() { "none".to_owned() } else { self.endpoints.join(", ") };
        writeln!(out, "endpoints  {endpoints} ({balance})")?;
        self.spoken.print(out)?;
        if let Some(session) = &self.session {
            writeln!(out, "session    {session}")?;
        }
        let mut title = "request";
        for Change { name, from, to } in &self.request_changes {
            let (removed, mark) = if from == to { (&[][..], '=') } else { (&from[..], '+') };
            let removed = removed.iter().map(|value| ('-', value));
            for (mark, value) in removed.chain(to.iter().map(|value| (mark, value))) {
                writeln!(out, "{title:<10} {mark} {name}: {value}")?;
                title = "";
            }
        }
        for (at, (name, value)) in self.answer_changes.iter().enumerate() {
            writeln!(out, "{:<10} + {name}: {value}", if at == 0 { "answer" } else { "" })?;
        }
        Ok(())
    }
}

/// The Ingresses that name a host, or one that it fits.
fn ingresses_of(authority: &[u8], manifests: &Manifests) -> Vec<ObjectKey> {
    let name = String::from_utf8_lossy(http::host::name(authority)).to_ascii_lowercase();
    let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    let names =
        [Hostname::parse(&name).ok(), wildcard.and_then(|name| Hostname::parse(&name).ok()), Some(Hostname::any())];
    let ingresses = names.iter().flatten().flat_map(|host| manifests.snapshot.ingresses_of(host));
    ingresses.map(|ingress| ingress.key.clone()).collect()
}

/// The objects that a route is made of: what is wrong with one that did not serve may be why.
fn objects_of(route: &Route<ClusterKey, RouteId>) -> impl Iterator<Item = ObjectKey> {
    let canaries = route.split.canaries.iter().map(|canary| canary.ingress.clone());
    let services = route.split.sides().map(|side| side.backend.service_key());
    let secrets = route.policy.backend_tls.secret.iter().map(SecretKey::object);
    std::iter::once(route.id.ingress.clone()).chain(canaries).chain(services).chain(secrets)
}

fn answered(answer: &Answer<'_, ClusterKey, RouteId>) -> Outcome {
    let (status, because, location) = match &answer.why {
        Why::Health => (200, "a health check, since no path claims it", None),
        Why::NoRoute => (404, "no route fits", None),
        Why::NoEndpoints => (503, "the route has no backend with an endpoint", None),
        Why::Misdirected => (421, "the connection is for a host that asks its clients for other certificates", None),
        Why::BadPath => (400, "the path cannot be read", None),
        Why::NoHost => (400, "a redirect to https needs a host", None),
        Why::Redirect { status, location } => {
            (*status, "a redirect", Some(String::from_utf8_lossy(location).into_owned()))
        }
    };
    Outcome::Answered { status, because, location, route: answer.route.map(|route| route.id.to_string()) }
}

fn forwarded(
    asking: &Asking<'_>,
    forward: &Forward<'_, ClusterKey, RouteId>,
    request_changes: Vec<Change>,
    translation: &Translation,
) -> Forwarded {
    let route = forward.route;
    let is = |side: &Option<_>| side.as_ref().is_some_and(|side| std::ptr::eq(side, forward.side));
    let (side, ingress) = match forward.canary {
        Some(canary) => ("canary", &canary.ingress),
        None if is(&route.split.fallback) => ("default backend", &route.id.ingress),
        None => ("stable", &route.id.ingress),
    };
    let endpoints = translation.clusters.get(&forward.side.backend).map(|output| &output.endpoints);
    let endpoints = match endpoints.map(Endpoints::origin) {
        Some(Origin::Addresses(specs)) => specs.iter().map(ToString::to_string).collect(),
        Some(Origin::Name(name)) => vec![format!("what DNS answers for {name}")],
        None => Vec::new(),
    };
    let by = forward.side.balance.hash_by.as_ref().map_or(String::new(), |key| format!(" of {}", key.source));
    // A persistent session begins with any endpoint, and keeps that.
    let leads = |plan: AffinityPlan<'_>| plan.held != Held::Nothing || plan.affinity.mode == AffinityMode::Balanced;
    let by_session = forward.affinity.is_some_and(leads);
    let balance = match forward.side.balance.algorithm {
        _ if by_session => "by the session".to_owned(),
        Algorithm::RoundRobin => "in turn".to_owned(),
        Algorithm::LeastConnections => "the one with the fewest requests".to_owned(),
        Algorithm::Ewma => "the faster of two".to_owned(),
        Algorithm::Hash => format!("by the hash{by}"),
        Algorithm::HashSubset(size) => format!("in turn among {size}, by the hash{by}"),
    };
    let session = forward.affinity.as_ref().map(|plan| {
        let name = &plan.affinity.cookie_name;
        match plan.held {
            Held::Nothing => format!("a new one: the answer sets the cookie {name}"),
            Held::Here(_) => format!("the cookie {name} leads to the endpoint of before"),
            Held::Elsewhere(_) => format!("the cookie {name} names another side, and stays as it is"),
            Held::Unnamed(_) => format!("the cookie {name} names another side: the answer sets it to name this one"),
        }
    });
    Forwarded {
        route: route.id.to_string(),
        side,
        ingress: ingress.clone(),
        cluster: forward.side.backend.clone(),
        upstream: forward.side.name.to_string(),
        endpoints,
        balance,
        spoken: Spoken::new(asking.imagined.scheme, forward, translation),
        session,
        request_changes,
        answer_changes: answer_changes(forward),
    }
}

fn answer_changes(forward: &Forward<'_, ClusterKey, RouteId>) -> Vec<(String, String)> {
    let cookie = forward.set_cookie.as_ref();
    cookie.map(|value| ("Set-Cookie".to_owned(), String::from_utf8_lossy(value).into_owned())).into_iter().collect()
}

fn print_step(step: &Step, out: &mut impl Write) -> io::Result<()> {
    let mark = |chosen: bool| if chosen { '>' } else { ' ' };
    match step {
        Step::Host { host, fits, chosen } => {
            let fits = match fits {
                Some(HostMatch::Exact) => "fits exactly",
                Some(HostMatch::Wildcard) => "fits by the wildcard",
                Some(HostMatch::Any) => "fits any host",
                None => "is not there",
            };
            let host = if host.is_empty() { "*" } else { host };
            writeln!(out, "host     {} {host} {fits}", mark(*chosen))
        }
        Step::Path { route, fits, chosen } => {
            let fits = match (fits, chosen) {
                (None, _) => "does not fit".to_owned(),
                (Some(PathMatch::Exact), true) => "fits exactly".to_owned(),
                (Some(PathMatch::Exact), false) => "fits exactly, but another goes before it".to_owned(),
                (Some(PathMatch::Slash(_)), true) => {
                    "fits but for its slash: the request is redirected there".to_owned()
                }
                (Some(PathMatch::Slash(_)), false) => {
                    "fits but for its slash, and one that fits without goes before".to_owned()
                }
                (Some(PathMatch::Prefix(_)), true) => "fits, and no longer prefix does".to_owned(),
                (Some(PathMatch::Prefix(_)), false) => {
                    "fits, but a longer prefix or an exact path goes before".to_owned()
                }
                (Some(PathMatch::Regex(_)), true) => "fits, the first to".to_owned(),
                (Some(PathMatch::Regex(_)), false) => "fits, but comes later".to_owned(),
            };
            writeln!(out, "path     {} {route} {fits}", mark(*chosen))
        }
        Step::Asked { canary, rule, answer } => writeln!(out, "rule       {canary}: {rule}: {answer}"),
        Step::Drawn { odds, lot, chosen } => writeln!(out, "lot        {odds}; {lot}: {chosen}"),
        Step::Note(note) => writeln!(out, "note       {note}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of two paths of which the first is chosen.
    fn said_of(chosen: PathMatch, other: PathMatch) -> [String; 2] {
        [(chosen, true), (other, false)].map(|(fits, chosen)| {
            let mut out = Vec::new();
            print_step(&Step::Path { route: "it".to_owned(), fits: Some(fits), chosen }, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn a_path_that_lacks_its_slash_is_no_longer_prefix() {
        let [prefix, slash] = said_of(PathMatch::Prefix(4), PathMatch::Slash(4));
        assert_eq!(prefix, "path     > it fits, and no longer prefix does\n");
        assert_eq!(slash, "path       it fits but for its slash, and one that fits without goes before\n");
        let [slash, root] = said_of(PathMatch::Slash(4), PathMatch::Prefix(1));
        assert_eq!(slash, "path     > it fits but for its slash: the request is redirected there\n");
        assert_eq!(root, "path       it fits, but a longer prefix or an exact path goes before\n");
    }
}
