//! The translation of all objects, kept up to date host by host.
//!
//! Each output of `translate` lists what it read. The inverse of these lists is kept here, so that a change translates
//! again just the hosts and the clusters that it can reach. After any sequence of changes this holds what a translation
//! from scratch would give.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    mem,
    sync::Arc,
};

use crate::{
    key::{ClusterKey, Hostname, Kind, ObjectKey, SecretKey},
    problem::Problem,
    store::{Change, Snapshot},
    tls::Credentials,
    translate::{self, Chosen, ClusterOutput, HostOutput, Options, Read},
};

use super::{credentials::Kept, problems::ProblemBook};

/// The outputs of translation, and who read what.
#[derive(Debug, Default)]
pub(super) struct Translated {
    hosts: HashMap<Hostname, HostEntry>,
    clusters: HashMap<ClusterKey, ClusterEntry>,
    credentials: Kept,
    default_backend: Option<ClusterKey>,
    default_problem: Option<Problem>,
    /// What the Service of the default backend lacks.
    default_lack: Option<Problem>,
    default_certificate: Option<Chosen>,
    default_certificate_problem: Option<Problem>,
    /// Clusters that the last host stopped naming, for the end of the update.
    orphans: Vec<ClusterKey>,
    host_readers: Readers<Hostname>,
    cluster_readers: Readers<ClusterKey>,
}

/// What an update changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Update {
    /// Hosts whose routes changed, came or went.
    pub(super) hosts: Vec<Hostname>,
    /// Hosts whose certificates did.
    pub(super) certificates: Vec<Hostname>,
    /// Whether the default certificate is another.
    pub(super) default_certificate: bool,
    /// Clusters whose endpoints changed, and those that are new.
    pub(super) clusters: Vec<ClusterKey>,
    /// Clusters that no host names any more.
    pub(super) gone: Vec<ClusterKey>,
    /// Secrets for TLS to endpoints that hold something else, and those that are new.
    pub(super) credentials: Vec<SecretKey>,
    /// Secrets that no host names for it any more.
    pub(super) credentials_gone: Vec<SecretKey>,
    /// How many hosts were translated for it.
    pub(super) translated: usize,
    /// Whether problems came or went.
    pub(super) problems: bool,
}

#[derive(Debug)]
struct HostEntry {
    output: Arc<HostOutput>,
    /// The problems of its backends that depend on endpoints.
    endpoint_problems: Vec<Problem>,
}

#[derive(Debug)]
struct ClusterEntry {
    output: Arc<ClusterOutput>,
    /// The hosts that name it.
    users: HashSet<Hostname>,
    /// Whether the controller itself names it: its default backend.
    kept: bool,
}

/// What one update reads and finds.
struct Pass<'a> {
    snapshot: &'a Snapshot,
    options: &'a Options,
    problems: &'a mut ProblemBook,
    update: Update,
    /// Hosts whose clusters came by endpoints, or lost their last.
    check: BTreeSet<Hostname>,
}

/// Who read what.
#[derive(Debug)]
struct Readers<T> {
    of: HashMap<Read, HashSet<T>>,
    /// Whether a Secret or ConfigMap came to be read, or to be read by nobody.
    renamed: bool,
}

// === impl Translated ===

impl Translated {
    /// The output of a host.
    pub(super) fn host(&self, host: &Hostname) -> Option<&HostOutput> {
        self.hosts.get(host).map(|entry| &*entry.output)
    }

    /// All hosts that say something.
    #[cfg(test)]
    pub(super) fn hosts(&self) -> impl Iterator<Item = (&Hostname, &HostOutput)> {
        self.hosts.iter().map(|(host, entry)| (host, &*entry.output))
    }

    /// All clusters that something names.
    #[cfg(test)]
    pub(super) fn clusters(&self) -> impl Iterator<Item = (&ClusterKey, &ClusterOutput)> {
        self.clusters.iter().map(|(key, entry)| (key, &*entry.output))
    }

    /// The output of a cluster.
    pub(super) fn cluster(&self, cluster: &ClusterKey) -> Option<&ClusterOutput> {
        self.clusters.get(cluster).map(|entry| &*entry.output)
    }

    /// What a Secret holds for TLS to endpoints, where it can be used.
    pub(super) fn credentials(&self, secret: &SecretKey) -> Option<&Arc<Credentials>> {
        self.credentials.get(secret)
    }

    /// The cluster of the controller's own default backend.
    pub(super) fn default_backend(&self) -> Option<&ClusterKey> {
        self.default_backend.as_ref()
    }

    /// The Secret of the default certificate.
    pub(super) fn default_certificate(&self) -> Option<&Chosen> {
        self.default_certificate.as_ref()
    }

    /// The Secrets and ConfigMaps that objects and options name, there or not, where they may be others than at the last
    /// call, or where it is the first.
    pub(super) fn named(&mut self, options: &Options, first: bool) -> Option<BTreeSet<ObjectKey>> {
        let renamed = [&mut self.host_readers.renamed, &mut self.cluster_readers.renamed, self.credentials.renamed()];
        if !renamed.into_iter().fold(first, |any, renamed| any | mem::take(renamed)) {
            return None;
        }
        let read = self.host_readers.of.keys().chain(self.cluster_readers.of.keys());
        let secret = |key: &SecretKey| ObjectKey::secret(key.namespace.clone(), key.name.clone());
        let default = options.default_certificate.iter();
        let default = default.map(|(namespace, name)| ObjectKey::secret(namespace.clone(), name.clone()));
        Some(read.filter_map(named).cloned().chain(self.credentials.names().map(secret)).chain(default).collect())
    }

    /// Takes in what changed since the last update.
    pub(super) fn update(
        &mut self,
        snapshot: &Snapshot,
        options: &Options,
        changes: &[Change],
        problems: &mut ProblemBook,
    ) -> Update {
        let mut pass = Pass { snapshot, options, problems, update: Update::default(), check: BTreeSet::new() };
        let stale_hosts = self.stale_hosts(changes);
        pass.update.translated = stale_hosts.len();
        for host in stale_hosts {
            self.translate_host(&host, &mut pass);
        }
        self.find_default_backend(&mut pass);
        self.find_default_certificate(&mut pass);
        for cluster in self.stale_clusters(changes) {
            self.translate_cluster(&cluster, &mut pass);
        }
        self.drop_unused(&mut pass);
        self.find_default_lack(&mut pass);
        let secrets = self.credentials.update(snapshot, changes, |former, now| pass.found(former, now));
        (pass.update.credentials, pass.update.credentials_gone) = (secrets.changed, secrets.gone);
        for host in mem::take(&mut pass.check) {
            self.check_endpoints(&host, &mut pass);
        }
        pass.update
    }

    fn stale_hosts(&self, changes: &[Change]) -> BTreeSet<Hostname> {
        let mut stale = BTreeSet::new();
        for change in changes {
            stale.extend(self.host_readers.of(&Read::Object(change.key.clone())).cloned());
            if change.key.kind == Kind::IngressClass {
                stale.extend(self.host_readers.of(&Read::Classes).cloned());
            }
            for host in &change.hosts {
                stale.extend(self.host_readers.of(&Read::Host(host.clone())).cloned());
                stale.insert(host.clone());
            }
        }
        stale
    }

    fn stale_clusters(&self, changes: &[Change]) -> BTreeSet<ClusterKey> {
        let mut stale = BTreeSet::new();
        for key in changes.iter().flat_map(|change| std::iter::once(&change.key).chain(&change.services)) {
            stale.extend(self.cluster_readers.of(&Read::Object(key.clone())).cloned());
        }
        stale
    }

    /// Translates a host again, and the clusters that it is the first to name.
    fn translate_host(&mut self, host: &Hostname, pass: &mut Pass<'_>) {
        let output = translate::translate_host(pass.snapshot, pass.options, host);
        let former = self.hosts.remove(host);
        if former.as_ref().is_some_and(|former| *former.output == output) {
            self.hosts.extend(former.map(|former| (host.clone(), former)));
            return;
        }
        let mut endpoint_problems = Vec::new();
        let mut former_output = None;
        if let Some(former) = former {
            endpoint_problems = former.endpoint_problems;
            former_output = Some(former.output);
        }
        let former_table = former_output.as_ref().and_then(|former| former.table.as_ref());
        if former_table != output.table.as_ref() {
            pass.update.hosts.push(host.clone());
        }
        if former_output.as_ref().map_or(&[][..], |former| &former.certificates) != output.certificates {
            pass.update.certificates.push(host.clone());
        }

        let nothing = BTreeSet::new();
        self.host_readers.replace(host, former_output.as_ref().map_or(&nothing, |former| &former.reads), &output.reads);
        let former_problems = former_output.as_ref().map_or(&[][..], |former| &former.problems);
        pass.found(former_problems, &output.problems);
        for cluster in former_output.iter().flat_map(|former| former.clusters.difference(&output.clusters)) {
            if let Some(entry) = self.clusters.get_mut(cluster) {
                entry.users.remove(host);
                self.orphans.push(cluster.clone());
            }
        }
        for cluster in &output.clusters {
            if !self.clusters.contains_key(cluster) {
                self.add_cluster(cluster, pass);
            }
            if let Some(entry) = self.clusters.get_mut(cluster) {
                entry.users.insert(host.clone());
            }
        }
        let no_secrets = BTreeSet::new();
        let former_secrets = former_output.as_ref().map_or(&no_secrets, |former| &former.credentials);
        self.credentials.named_by(host, former_secrets, &output.credentials);
        pass.check.insert(host.clone());
        // A host that says nothing and was read from nothing is forgotten, or names of the past would pile up.
        if output.table.is_some() || !output.reads.is_empty() || !output.problems.is_empty() {
            self.hosts.insert(host.clone(), HostEntry { output: Arc::new(output), endpoint_problems });
        } else {
            pass.found(&endpoint_problems, &[]);
        }
    }

    fn add_cluster(&mut self, cluster: &ClusterKey, pass: &mut Pass<'_>) {
        let output = translate::translate_cluster(pass.snapshot, pass.options, cluster);
        self.cluster_readers.replace(cluster, &BTreeSet::new(), &output.reads);
        pass.found(&[], &output.problems);
        pass.update.clusters.push(cluster.clone());
        let entry = ClusterEntry { output: Arc::new(output), users: HashSet::new(), kept: false };
        self.clusters.insert(cluster.clone(), entry);
    }

    fn translate_cluster(&mut self, cluster: &ClusterKey, pass: &mut Pass<'_>) {
        let Some(entry) = self.clusters.get_mut(cluster) else { return };
        let output = translate::translate_cluster(pass.snapshot, pass.options, cluster);
        if *entry.output == output {
            return;
        }
        let former = mem::replace(&mut entry.output, Arc::new(output));
        self.cluster_readers.replace(cluster, &former.reads, &entry.output.reads);
        pass.found(&former.problems, &entry.output.problems);
        if former.endpoints != entry.output.endpoints {
            pass.update.clusters.push(cluster.clone());
        }
        if former.endpoints.is_empty() != entry.output.endpoints.is_empty() || former.lack != entry.output.lack {
            pass.check.extend(entry.users.iter().cloned());
        }
    }

    fn find_default_backend(&mut self, pass: &mut Pass<'_>) {
        let problem = translate::default_backend_problem(pass.snapshot, pass.options);
        pass.found(self.default_problem.as_slice(), problem.as_slice());
        self.default_problem = problem;
        let found = translate::default_backend(pass.snapshot, pass.options);
        if found == self.default_backend {
            return;
        }
        if let Some(entry) = self.default_backend.take().and_then(|former| self.clusters.get_mut(&former)) {
            entry.kept = false;
            self.orphans.push(entry.output.key.clone());
        }
        if let Some(cluster) = &found {
            if !self.clusters.contains_key(cluster) {
                self.add_cluster(cluster, pass);
            }
            if let Some(entry) = self.clusters.get_mut(cluster) {
                entry.kept = true;
            }
        }
        self.default_backend = found;
    }

    fn find_default_lack(&mut self, pass: &mut Pass<'_>) {
        let cluster = self.default_backend.as_ref().and_then(|key| self.clusters.get(key));
        let lack = cluster.and_then(|entry| entry.output.lack.clone());
        pass.found(self.default_lack.as_slice(), lack.as_slice());
        self.default_lack = lack;
    }

    fn find_default_certificate(&mut self, pass: &mut Pass<'_>) {
        let problem = translate::default_certificate_problem(pass.snapshot, pass.options);
        pass.found(self.default_certificate_problem.as_slice(), problem.as_slice());
        self.default_certificate_problem = problem;
        let found = translate::default_certificate(pass.snapshot, pass.options);
        if found != self.default_certificate {
            self.default_certificate = found;
            pass.update.default_certificate = true;
        }
    }

    fn drop_unused(&mut self, pass: &mut Pass<'_>) {
        for cluster in mem::take(&mut self.orphans) {
            let unused = |entry: &ClusterEntry| entry.users.is_empty() && !entry.kept;
            if !self.clusters.get(&cluster).is_some_and(unused) {
                continue;
            }
            if let Some(entry) = self.clusters.remove(&cluster) {
                self.cluster_readers.replace(&cluster, &entry.output.reads, &BTreeSet::new());
                pass.found(&entry.output.problems, &[]);
            }
            pass.update.clusters.retain(|changed| *changed != cluster);
            pass.update.gone.push(cluster);
        }
    }

    /// Finds the problems of a host that depend on whether its clusters have endpoints.
    fn check_endpoints(&mut self, host: &Hostname, pass: &mut Pass<'_>) {
        let Some(entry) = self.hosts.get(host) else { return };
        let clusters = &self.clusters;
        let output = |cluster: &ClusterKey| clusters.get(cluster).map(|entry| &*entry.output);
        let found = translate::endpoint_problems(&entry.output.uses, output);
        if let Some(entry) = self.hosts.get_mut(host) {
            pass.found(&entry.endpoint_problems, &found);
            entry.endpoint_problems = found;
        }
    }
}

/// The object that was read, if it is of a kind that is read because another names it.
fn named(read: &Read) -> Option<&ObjectKey> {
    match read {
        Read::Object(key) if matches!(key.kind, Kind::Secret | Kind::ConfigMap) => Some(key),
        _ => None,
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// Takes note that a finder found the problems `now`, which had found `former` before.
    fn found(&mut self, former: &[Problem], now: &[Problem]) {
        self.update.problems |= self.problems.replace(former, now);
    }
}

// === impl Readers ===

impl<T: Clone + Eq + Hash> Readers<T> {
    fn of(&self, read: &Read) -> impl Iterator<Item = &T> {
        self.of.get(read).into_iter().flatten()
    }

    /// Takes note that `reader`, which had read `former`, has now read `now` instead.
    fn replace(&mut self, reader: &T, former: &BTreeSet<Read>, now: &BTreeSet<Read>) {
        for read in former.difference(now) {
            if let Some(readers) = self.of.get_mut(read) {
                readers.remove(reader);
                if readers.is_empty() {
                    self.of.remove(read);
                    self.renamed |= named(read).is_some();
                }
            }
        }
        for read in now.difference(former) {
            let readers = self.of.entry(read.clone()).or_default();
            self.renamed |= readers.is_empty() && named(read).is_some();
            readers.insert(reader.clone());
        }
    }
}

impl<T> Default for Readers<T> {
    fn default() -> Self {
        Self { of: HashMap::new(), renamed: false }
    }
}
