//! Objects in, routes, clusters and problems out.
//!
//! Translation is pure and total: the same snapshot and options always give the same output, and there is no object
//! that it fails on. What is wrong with an object becomes a [`Problem`] on that object; everything else goes on.
//!
//! The unit is a host. [`translate_host`] makes what one host answers, [`translate_cluster`] what one port of a Service
//! stands for, and each output lists what it read. `pipeline` keeps the inverse of these lists, so that a change costs
//! what it can reach. [`translate`] is the sum, for those who want all of it at once.
//!
//! ```text
//! Ingress ── class ──> annotations ──> settings ──┐
//!                                                 ├─> host: claims ──> routes <── canary
//! Service ── backend ──> cluster key ─────────────┘
//! Service, EndpointSlices ── cluster ──> endpoints
//! Secret ── credentials ──> authorities, client certificate
//! Ingress, Secret ── certificate ──> what a host is served with by TLS
//! ```
//!
//! A problem of an Ingress that has nothing to do with one of its hosts is found with its first host; so the same
//! problem can be in the outputs of several hosts only where it is found by comparing it with others.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    key::{ClusterKey, Hostname, ObjectKey, RouteId, SecretKey},
    problem::Problem,
    route::{Host, Table},
    store::{HostsOf, Snapshot},
    tls::Credentials,
    upstream::Endpoints,
};

pub mod annotations;
mod app_protocol;
mod backend;
mod canary;
mod certificate;
mod claim;
mod class;
mod cluster;
mod credentials;
mod host;
mod hosts;
mod options;
mod place;
mod settings;
mod sides;
mod spoken;
mod trust;
mod uses;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    backend::{default_backend, default_backend_problem, default_route},
    certificate::{Chosen, ChosenBy, default_certificate, default_certificate_problem, validity_problem},
    cluster::translate_cluster,
    credentials::translate_credentials,
    host::translate_host,
    hosts::hosts_of,
    options::Options,
    trust::trust_problems,
    uses::{Role, Use, endpoint_problems},
};

/// What one host answers, and all that follows from its objects.
#[derive(Clone, PartialEq, Debug)]
pub struct HostOutput {
    pub host: Hostname,
    /// None where no object serves the host.
    pub table: Option<Host<ClusterKey, RouteId>>,
    /// The clusters that its routes name.
    pub clusters: BTreeSet<ClusterKey>,
    /// The Secrets that its routes name for TLS to endpoints.
    pub credentials: BTreeSet<SecretKey>,
    /// The Secrets that it is served with by TLS; none where it is the default certificate.
    pub certificates: Vec<Chosen>,
    /// Sorted, each once.
    pub problems: Vec<Problem>,
    /// What a change of could change this output, besides the Ingresses of the host itself.
    pub reads: BTreeSet<Read>,
    /// Which part of which object wants which cluster, for [`endpoint_problems`].
    pub uses: Vec<Use>,
}

/// Where the requests for one port of a Service go.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterOutput {
    pub key: ClusterKey,
    pub endpoints: Endpoints,
    /// What the Service is told where it has no endpoint and something sends requests to it: [`endpoint_problems`] does.
    pub lack: Option<Problem>,
    /// Sorted, each once.
    pub problems: Vec<Problem>,
    /// The Service. A change of one of its EndpointSlices is a change of it.
    pub reads: BTreeSet<Read>,
}

/// What a Secret holds for TLS to endpoints. It depends on that Secret alone.
#[derive(Clone, PartialEq, Debug)]
pub struct CredentialsOutput {
    pub key: SecretKey,
    /// None where the Secret is not there, or cannot be used.
    pub credentials: Option<Arc<Credentials>>,
    /// What is wrong with the Secret.
    pub problems: Vec<Problem>,
}

/// What an output depends on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Read {
    /// An object, there or not.
    Object(ObjectKey),
    /// All Ingresses that are found under a host.
    Host(Hostname),
    /// All IngressClasses.
    Classes,
}

/// All hosts and clusters of a snapshot.
#[derive(Clone, PartialEq, Debug)]
pub struct Translation {
    pub hosts: BTreeMap<Hostname, Arc<HostOutput>>,
    pub clusters: BTreeMap<ClusterKey, ClusterOutput>,
    pub credentials: BTreeMap<SecretKey, CredentialsOutput>,
    /// The cluster of the controller's own default backend.
    pub default_backend: Option<ClusterKey>,
    /// The Secret of the default certificate, where one is asked for and there.
    pub default_certificate: Option<Chosen>,
    /// Those of all hosts and clusters, those that depend on endpoints, and those of the options: sorted, each once.
    pub problems: Vec<Problem>,
}

/// Translates all of a snapshot.
#[must_use]
pub fn translate(snapshot: &Snapshot, options: &Options) -> Translation {
    let hosts: BTreeMap<_, _> =
        snapshot.hosts().map(|host| (host.clone(), Arc::new(translate_host(snapshot, options, host)))).collect();
    let default_backend = default_backend(snapshot, options);
    let keys: BTreeSet<_> = hosts.values().flat_map(|host| &host.clusters).chain(&default_backend).collect();
    let clusters: BTreeMap<_, _> =
        keys.into_iter().map(|key| (key.clone(), translate_cluster(snapshot, options, key))).collect();

    let keys: BTreeSet<_> = hosts.values().flat_map(|host| &host.credentials).collect();
    let credentials: BTreeMap<_, _> =
        keys.into_iter().map(|key| (key.clone(), translate_credentials(snapshot, key))).collect();

    let mut problems = BTreeSet::new();
    for host in hosts.values() {
        problems.extend(host.problems.iter().cloned());
        problems.extend(endpoint_problems(&host.uses, |key| clusters.get(key)));
    }
    problems.extend(clusters.values().flat_map(|cluster| cluster.problems.iter().cloned()));
    problems.extend(credentials.values().flat_map(|output| output.problems.iter().cloned()));
    problems.extend(default_backend_problem(snapshot, options));
    problems.extend(default_backend.as_ref().and_then(|key| clusters.get(key)?.lack.clone()));
    problems.extend(trust_problems(&options.trust));
    problems.extend(default_certificate_problem(snapshot, options));
    Translation {
        hosts,
        clusters,
        credentials,
        default_backend,
        default_certificate: default_certificate(snapshot, options),
        problems: problems.into_iter().collect(),
    }
}

/// What the store finds Ingresses by: [`hosts_of`] under these options.
#[must_use]
pub fn index(options: &Options) -> HostsOf {
    let options = options.clone();
    Arc::new(move |ingress| hosts_of(&options, ingress))
}

// === impl Translation ===

impl Translation {
    /// The table of all hosts.
    #[must_use]
    pub fn table(&self) -> Table<ClusterKey, RouteId> {
        let hosts = self.hosts.iter().filter_map(|(name, output)| {
            let table = output.table.clone()?;
            Some((name.clone(), Some(Arc::new(table))))
        });
        let mut table = Table::new().with_hosts(hosts);
        table.default = self.default_backend.as_ref().map(|key| Arc::new(default_route(key)));
        table
    }
}
