//! What is live, as the admin port and the demo show it.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde::Serialize;
use serde_json::json;

use super::RouteSplit;
use crate::{
    admin::View,
    key::Hostname,
    metrics::RouteState,
    pipeline::{Clusters, ProblemBook, Published},
    problem::{Level, Problem, Reason},
    route::{Host, Route},
    tls::{CertificateSet, Certificates, Date},
    translate,
    upstream::{Cluster, ClusterSnapshot, NameSnapshot},
};

/// The table: its number, and host by host what serves it. `?host=` chooses one.
pub(super) fn table(published: Arc<Published>) -> View {
    View::new(move |query, out| {
        let table = published.table.get();
        write!(out, "{{\"number\":{},\"default\":", table.number)?;
        serde_json::to_writer(&mut *out, &table.default.as_ref().map(|route| shown_route(route)))?;
        write!(out, ",\"hosts\":[")?;
        let mut hosts: Vec<_> = match query.value("host") {
            None => table.hosts().collect(),
            Some("*") => table.hosts().filter(|(name, _)| name.is_any()).collect(),
            Some(text) => {
                let name = Hostname::parse(text).ok();
                name.and_then(|name| table.host(&name).map(|host| (name, host))).into_iter().collect()
            }
        };
        hosts.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (at, (name, host)) in hosts.into_iter().enumerate() {
            if at > 0 {
                out.write_all(b",")?;
            }
            let shown = match &**host {
                Host::Routes(host) => json!({
                    "host": name,
                    "app_root": host.app_root,
                    "routes": host.routes.iter().map(|route| shown_route(route)).collect::<Vec<_>>(),
                }),
                Host::Twin { to, status } => json!({ "host": name, "redirects_to": to, "status": status }),
            };
            serde_json::to_writer(&mut *out, &shown)?;
        }
        out.write_all(b"]}\n")
    })
}

/// The certificates by host, the default one first: where each is from, what it is for, until when. Never a key.
/// `?host=` chooses the host that serves a server name.
pub(super) fn certificates(published: Arc<Published>) -> View {
    View::new(move |query, out| {
        let certificates = published.certificates.get();
        let shown = |host: &str, set: &CertificateSet| json!({ "host": host, "certificates": set.held() });
        if let Some(name) = query.value("host") {
            let found = certificates.find(Some(name));
            let chosen = json!({ "server_name": name, "by": found.by, "certificates": found.set.held() });
            return write_list([chosen].iter(), out);
        }
        let mut hosts: Vec<_> = certificates.hosts().collect();
        hosts.sort_by_key(|(host, _)| *host);
        let default = std::iter::once(shown("_", certificates.default_set()));
        write_list(default.chain(hosts.into_iter().map(|(host, set)| shown(host.as_str(), set))), out)
    })
}

/// The problems, sorted by object. `?namespace=` and `?level=` choose some.
pub(super) fn problems(published: Arc<Published>) -> View {
    View::new(move |query, out| {
        let book = published.problems.get();
        let dated = dated_problems(&published.certificates.get(), Date::from(SystemTime::now()));
        let chosen = |problem: &&Problem| {
            query.value("namespace").is_none_or(|namespace| namespace == &*problem.object.namespace)
                && query.value("level").is_none_or(|level| level == problem.level.as_str())
        };
        let unresolved = name_problems(&published.clusters.get());
        let mut problems = ProblemBook::sorted(&book);
        problems.extend(&dated);
        problems.extend(&unresolved);
        problems.sort_unstable();
        write_list(problems.into_iter().filter(chosen), out)
    })
}

/// What is wrong with the dates of the certificates that serve.
fn dated_problems(certificates: &Certificates, now: Date) -> BTreeSet<Problem> {
    let sets = certificates.hosts().map(|(_, set)| set).chain([certificates.default_set()]);
    let held = sets.flat_map(|set| set.held());
    held.filter_map(|held| translate::validity_problem(held.secret.as_ref()?, &held.certificate, now)).collect()
}

/// What is wrong with the names of Services, as DNS says.
fn name_problems(clusters: &Clusters) -> BTreeSet<Problem> {
    let down = clusters.values().filter(|cluster| !cluster.is_up());
    down.filter_map(|cluster| name_problem(&cluster.snapshot(0))).collect()
}

/// What is wrong with the name of a cluster that has no endpoint; nothing before DNS has answered.
fn name_problem(cluster: &ClusterSnapshot) -> Option<Problem> {
    let NameSnapshot { name, resolution } = cluster.name.as_ref()?;
    Some(Problem {
        object: cluster.cluster.service_key(),
        field: "spec.externalName".to_owned(),
        level: Level::Warning,
        reason: Reason::NoEndpoints,
        fault: format!("`{}` leads to no endpoint: {}", name.name, resolution.as_ref()?),
        effect: "Requests for it are answered 503, or go to what stands in for it".to_owned(),
        mend: "Write a name that DNS knows, with addresses that are not this machine or its link".to_owned(),
    })
}

/// The clusters, their endpoints and how these are. `?namespace=` and `?service=` choose some.
pub(super) fn clusters(published: Arc<Published>, epoch: Instant) -> View {
    View::new(move |query, out| {
        let clusters = published.clusters.get();
        let now = epoch.elapsed().as_millis() as u64;
        let chosen = |cluster: &&Arc<Cluster>| {
            let key = cluster.key();
            query.value("namespace").is_none_or(|namespace| namespace == &*key.namespace)
                && query.value("service").is_none_or(|service| service == &*key.service)
        };
        write_list(clusters.values().filter(chosen).map(|cluster| cluster.snapshot(now)), out)
    })
}

/// How many requests each side of each route has served, by host and path.
pub(super) fn splits(published: &Published) -> Vec<RouteSplit> {
    let table = published.table.get();
    let mut splits = Vec::new();
    for (name, host) in table.hosts() {
        let Host::Routes(host) = &**host else { continue };
        for route in &host.routes {
            let counts = route.state.requests();
            let mut sides = vec![(route.service.to_string(), counts.stable)];
            for canary in &route.split.canaries {
                let service = canary.side.backend.key().service.to_string();
                let count = counts.canary(&canary.side.name);
                // Two canaries may share a Service, and then its count.
                if !sides.iter().any(|(known, _)| *known == service) {
                    sides.push((service, count));
                }
            }
            splits.push(RouteSplit { route: format!("{name}{}", route.id.path), sides });
        }
    }
    splits.sort_by(|a, b| a.route.cmp(&b.route));
    splits
}

fn shown_route(route: &Route<Arc<Cluster>, Arc<RouteState>>) -> impl Serialize {
    let named = route.map(|cluster| cluster.key().clone(), |_| ());
    json!({
        "id": named.id,
        "path": named.path,
        "service": named.service,
        "split": named.split,
        "policy": &*named.policy,
    })
}

/// Writes a list piece by piece, so that one of any length takes little memory.
fn write_list(items: impl Iterator<Item = impl Serialize>, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"[")?;
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.write_all(b",\n")?;
        }
        serde_json::to_writer(&mut *out, &item)?;
    }
    out.write_all(b"]\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{ClusterKey, PortRef},
        upstream::{EndpointSpec, Endpoints},
    };

    #[test]
    fn a_name_that_leads_to_no_endpoint_is_a_problem_of_its_service() {
        let address = EndpointSpec::new(([192, 0, 2, 1], 80).into());
        let clusters = [
            ("name", Endpoints::named("db.example", 80)),
            ("addresses", Endpoints::of([address])),
            ("none", Endpoints::default()),
        ];
        let clusters = clusters.into_iter().map(|(service, endpoints)| {
            let key = ClusterKey::new("shop", service, PortRef::Number(80));
            let cluster = Cluster::without_resolver(key.clone(), "DNS is out of reach".into());
            cluster.replace(&endpoints);
            (key, cluster)
        });
        let problems: Vec<_> = name_problems(&clusters.collect()).iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "Service shop/name: spec.externalName: `db.example` leads to no endpoint: DNS is out of reach; Requests for it \
                 are answered 503, or go to what stands in for it. Write a name that DNS knows, with addresses that are not \
                 this machine or its link."
            ]
        );
    }
}
