//! Puts a translation live: clusters and credentials, then certificates, then the table, and what is gone last.
//!
//! A Secret that no longer can serve keeps its last good certificate for as long as hosts name it and the process lives.
//! That is the one thing here that depends on more than the objects of now.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tracing::warn;

use crate::{
    key::{ClusterKey, Hostname, RouteId},
    metrics::{CertificateLabels, Metrics, RouteLabels, RouteState},
    route::{Host, Route, Table},
    store::Snapshot,
    tls::{Certificate, CertificateSet, Certificates, CredentialsMap, Held},
    translate::{self, Chosen},
    upstream::{Cluster, Resolver},
};

use super::{
    Clusters, LiveTable, ProblemBook, Published,
    translated::{Translated, Update},
};

/// What is live, on the writer's side.
#[derive(Debug)]
pub(super) struct Publisher {
    published: Arc<Published>,
    metrics: Metrics,
    resolver: Result<Resolver, Arc<str>>,
    clusters: Clusters,
    credentials: CredentialsMap,
    certificates: Certificates,
    /// What serves where there is no default certificate of a Secret.
    fallback: Arc<CertificateSet>,
    table: LiveTable,
    routes: usize,
}

// === impl Publisher ===

impl Publisher {
    pub(super) fn new(published: Arc<Published>, metrics: Metrics, resolver: Result<Resolver, Arc<str>>) -> Self {
        Self {
            published,
            metrics,
            resolver,
            clusters: Clusters::default(),
            credentials: CredentialsMap::default(),
            certificates: Certificates::default(),
            fallback: Arc::default(),
            table: Table::new(),
            routes: 0,
        }
    }

    /// Sets what serves where there is no default certificate of a Secret.
    pub(super) fn set_fallback(&mut self, certificate: Arc<Certificate>) {
        self.fallback = Arc::new(CertificateSet::of([certificate.into()]));
        self.certificates.set_default(self.fallback.clone());
        self.published.certificates.replace(self.certificates.clone());
    }

    /// Puts an update live. Returns the number of the table, where it is another than before.
    pub(super) fn publish(&mut self, update: &Update, translated: &Translated) -> Option<u64> {
        for key in &update.clusters {
            let Some(output) = translated.cluster(key) else { continue };
            if !self.clusters.contains_key(key) {
                self.clusters.insert_mut(key.clone(), self.new_cluster(key));
            }
            if let Some(cluster) = self.clusters.get(key) {
                cluster.replace(&output.endpoints);
            }
        }

        self.publish_credentials(update, translated);
        self.publish_certificates(update, translated);
        let number = self.publish_table(update, translated);

        self.drop_credentials(update);
        for key in &update.gone {
            self.clusters.remove_mut(key);
        }
        self.published.clusters.replace(self.clusters.clone());
        self.metrics.meters().clusters.set(self.clusters.size() as u64);
        number
    }

    /// Puts what Secrets hold live. One that cannot be used takes nothing away.
    fn publish_credentials(&mut self, update: &Update, translated: &Translated) {
        for secret in &update.credentials {
            if let Some(credentials) = translated.credentials(secret) {
                self.credentials.insert_mut(secret.clone(), credentials.clone());
            }
        }
        if !update.credentials.is_empty() {
            self.published.credentials.replace(self.credentials.clone());
        }
    }

    fn drop_credentials(&mut self, update: &Update) {
        for secret in &update.credentials_gone {
            self.credentials.remove_mut(secret);
        }
        if !update.credentials_gone.is_empty() {
            self.published.credentials.replace(self.credentials.clone());
        }
    }

    fn new_cluster(&self, key: &ClusterKey) -> Arc<Cluster> {
        match &self.resolver {
            Ok(resolver) => Cluster::with_resolver(key.clone(), resolver),
            Err(why) => Cluster::without_resolver(key.clone(), why.clone()),
        }
    }

    /// Shows the problems of now.
    pub(super) fn show_problems(&self, problems: &ProblemBook) {
        for ((reason, level), count) in problems.by_reason() {
            self.metrics.meters().problems.with([reason.as_str(), level.as_str()]).set(*count as u64);
        }
        self.published.problems.replace(problems.clone());
    }

    /// Counts files that cannot be read, and could be before.
    pub(super) fn count_unreadable(&self, new: usize) {
        self.metrics.meters().file_errors.add(new as u64);
    }

    /// Counts the objects that are in use.
    pub(super) fn count_objects(&self, snapshot: &Snapshot) {
        for (kind, count) in snapshot.counts() {
            self.metrics.meters().objects.with([kind.as_str()]).set(count as u64);
        }
    }

    /// Counts the objects that are of no use.
    pub(super) fn count_ignored(&self, ignored: &BTreeMap<String, usize>) {
        self.metrics.meters().objects_ignored.set(ignored.values().sum::<usize>() as u64);
    }

    fn publish_certificates(&mut self, update: &Update, translated: &Translated) {
        if update.certificates.is_empty() && !update.default_certificate {
            return;
        }
        for host in &update.certificates {
            let chosen = translated.host(host).map_or(&[][..], |output| &output.certificates);
            let former = self.certificates.host(host).cloned().unwrap_or_default();
            let set = self.live_set(host.as_str(), chosen, &former);
            self.certificates.set(host.clone(), (!set.is_empty()).then(|| Arc::new(set)));
        }
        if update.default_certificate {
            let former = self.certificates.default_set().clone();
            let set = self.live_set("_", translated.default_certificate().map_or(&[], std::slice::from_ref), &former);
            let set = if set.is_empty() { self.fallback.clone() } else { Arc::new(set) };
            self.certificates.set_default(set);
        }
        self.published.certificates.replace(self.certificates.clone());
    }

    /// The certificates of a host, which was served with `former` so far. Metrics learn of them.
    fn live_set(&self, host: &str, chosen: &[Chosen], former: &CertificateSet) -> CertificateSet {
        let live = |chosen: &Chosen| match &chosen.certificate {
            Some(certificate) => Some(Held { secret: Some(chosen.secret.clone()), certificate: certificate.clone() }),
            None => {
                let kept = former.held().iter().find(|held| held.secret.as_ref() == Some(&chosen.secret)).cloned();
                let serves = if kept.is_some() { "the last good certificate" } else { "the default certificate" };
                warn!(host, secret = %chosen.secret, serves, "a Secret has no certificate that can serve");
                kept
            }
        };
        let set = CertificateSet::of(chosen.iter().filter_map(live));
        let labels = |held: &Held| labels_of(host, held);
        let former: Vec<_> = former.held().iter().filter_map(labels).collect();
        let now: Vec<_> =
            set.held().iter().filter_map(|held| Some((labels(held)?, held.certificate.not_after().0))).collect();
        self.metrics.meters().certificates.replace(&former, &now);
        set
    }

    fn publish_table(&mut self, update: &Update, translated: &Translated) -> Option<u64> {
        let first = self.table.number == 0;
        let default = translated.default_backend().and_then(|key| self.clusters.get(key));
        let served = self.table.default.as_ref().and_then(|route| route.split.stable.as_ref());
        let same_default = served.map(|side| side.backend.key()) == default.map(|cluster| cluster.key());
        if update.hosts.is_empty() && same_default && !first {
            return None;
        }

        if !same_default {
            let route = default.map(|cluster| translate::default_route(cluster.key()));
            self.table.default =
                route.map(|route| Arc::new(route.map(|key| self.live_cluster(key), |route| self.state(route))));
        }
        let mut hosts = Vec::with_capacity(update.hosts.len());
        for host in &update.hosts {
            let live = translated.host(host).and_then(|output| output.table.as_ref()).map(|host| self.live_host(host));
            let former = self.table.host(host).map_or(0, |former| routes_of(former));
            self.routes = self.routes + live.as_ref().map_or(0, routes_of) - former;
            hosts.push((host.clone(), live.map(Arc::new)));
        }
        self.table = self.table.with_hosts(hosts);
        self.table.number += 1;
        self.published.table.replace(self.table.clone());

        let meters = self.metrics.meters();
        meters.hosts.set(self.table.len() as u64);
        meters.routes.set(self.routes as u64);
        meters.published(self.table.number, SystemTime::now());
        Some(self.table.number)
    }

    fn live_host(&self, host: &Host<ClusterKey, RouteId>) -> Host<Arc<Cluster>, Arc<RouteState>> {
        host.map(|key| self.live_cluster(key), |route| self.state(route))
    }

    /// The counters of a route, which go on where those with the same labels stopped.
    fn state(&self, route: &Route<ClusterKey, RouteId>) -> Arc<RouteState> {
        let RouteId { host, path, ingress, .. } = &route.id;
        let labels = RouteLabels {
            namespace: ingress.namespace.clone(),
            ingress: ingress.name.clone(),
            service: route.service.clone(),
            path: path.clone(),
            host: label(host),
        };
        let canaries = route.split.canaries.iter().map(|canary| canary.side.name.clone());
        Arc::new(RouteState::new(&self.metrics, labels, canaries))
    }

    /// The cluster of a key. Each that a host names was made before the host is; one that is missing all the same has
    /// no endpoints, and its requests are answered 503.
    fn live_cluster(&self, key: &ClusterKey) -> Arc<Cluster> {
        self.clusters.get(key).cloned().unwrap_or_else(|| Cluster::new(key.clone()))
    }
}

fn routes_of<B, R>(host: &Host<B, R>) -> usize {
    match host {
        Host::Routes(host) => host.routes.len(),
        Host::Twin { .. } => 0,
    }
}

/// How metrics call a certificate; not at all where it is from no Secret.
fn labels_of(host: &str, held: &Held) -> Option<CertificateLabels> {
    let secret = held.secret.as_ref()?;
    let certificate = &held.certificate;
    Some(CertificateLabels {
        namespace: secret.namespace.to_string(),
        host: host.to_owned(),
        secret_name: secret.name.to_string(),
        issuer_organization: certificate.issuer_organization().to_owned(),
        issuer_common_name: certificate.issuer_common_name().to_owned(),
        serial_number: certificate.serial().to_owned(),
        public_key_algorithm: certificate.kind().as_str(),
    })
}

/// How metrics call a host: as ingress-nginx does, `_` where a rule has none.
fn label(host: &Hostname) -> Arc<str> {
    if host.is_any() { "_".into() } else { host.as_str().into() }
}
