//! Names that DNS resolves (`ExternalName`).
//!
//! Each cluster that stands for a name has a task on the control runtime, which asks for A and AAAA records, puts what
//! they say into the cluster, and asks again when the shortest of their times to live has passed. It ends with the
//! cluster. When DNS fails, the last good answer stays; see [`schedule`] for what happens when.
//!
//! The two kinds of records are asked for apart, and so is each search domain: only then can a server that fails be told
//! from one that says that there is no such name. Addresses of one answer always belong to one name.
//!
//! A name is what anybody who may write a Service makes of it, so an answer is not trusted: addresses that lead to the
//! gateway itself, its node or its cloud's metadata are refused; see [`refused`].

mod refused;
mod schedule;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RecordType},
    system_conf::read_system_conf,
};
use tokio::{runtime::Handle, sync::watch, task::AbortHandle, time::Instant};
use tracing::{debug, info, warn};

pub use self::refused::is_refused;
pub(super) use self::schedule::Outcome;
use self::schedule::{Bounds, Said, Schedule, Step};
use super::{cluster::Cluster, describe::ExternalName};
use crate::{draw::Random, metrics::Counter};

/// How long one lookup may take over all servers, search domains and repetitions.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// How names are resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub servers: Servers,
    /// How long an answer is used at least and at most, whatever its time to live.
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// Accepts all addresses, also those of [`is_refused`].
    pub allow_all_addresses: bool,
}

/// Who is asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Servers {
    /// What `/etc/resolv.conf` says, search domains and `ndots` included.
    #[default]
    System,
    /// These servers.
    Given {
        servers: Vec<SocketAddr>,
        search: Vec<String>,
        /// A name with so many dots is tried as it is before the search domains.
        ndots: usize,
    },
}

/// Resolves the names of clusters. Clones are the same resolver.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    dns: TokioResolver,
    search: Search,
    settings: Settings,
    runtime: Handle,
    failures: Counter,
    /// How many names wait for their first answer.
    unanswered: watch::Sender<usize>,
}

/// Which names a name may stand for.
#[derive(Debug)]
struct Search {
    domains: Vec<Name>,
    ndots: usize,
}

/// The task of a name, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Following(AbortHandle);

/// A name that waits for its first answer, of whatever kind.
struct Unanswered(Resolver);

/// What has been logged of a name.
#[derive(Default)]
struct News {
    failing: bool,
    refused: Vec<IpAddr>,
}

/// What is wrong with [`Settings`].
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    #[error("/etc/resolv.conf cannot be used: {0}")]
    System(NetError),
    #[error("{0:?} is not a search domain: {1}")]
    Search(String, hickory_resolver::proto::ProtoError),
    #[error("no resolver can be made: {0}")]
    Resolver(NetError),
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Servers::System,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
            allow_all_addresses: false,
        }
    }
}

// === impl Resolver ===

impl Resolver {
    /// Starts a resolver, whose tasks run on `runtime`. `failures` counts lookups that failed.
    ///
    /// # Errors
    ///
    /// Where `/etc/resolv.conf` is needed and cannot be read, or a search domain is no name.
    pub fn new(settings: Settings, runtime: Handle, failures: Counter) -> Result<Self, InvalidSettings> {
        let (config, system_options) = match &settings.servers {
            Servers::System => read_system_conf().map_err(InvalidSettings::System)?,
            Servers::Given { servers, search, ndots } => {
                let search = search.iter().map(|domain| {
                    Name::from_utf8(domain).map_err(|error| InvalidSettings::Search(domain.clone(), error))
                });
                let servers = servers.iter().map(|&server| name_server(server)).collect();
                let config = ResolverConfig::from_parts(None, search.collect::<Result<_, _>>()?, servers);
                let mut options = ResolverOpts::default();
                options.ndots = *ndots;
                (config, options)
            }
        };
        let domains = if config.search().is_empty() {
            config.domain().cloned().into_iter().collect()
        } else {
            config.search().to_vec()
        };
        let search = Search { domains, ndots: system_options.ndots };
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        *options = system_options;
        // A pod's own hosts file says nothing of other replicas, and the schedule keeps answers as long as they hold.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        // Answers also carry the times to live of aliases on the way.
        options.preserve_intermediates = true;
        let dns = builder.build().map_err(InvalidSettings::Resolver)?;
        Ok(Self(Arc::new(Inner { dns, search, settings, runtime, failures, unanswered: watch::Sender::new(0) })))
    }

    /// Waits until no name waits for its first answer, or for the news that there is none.
    pub async fn answered(&self) {
        // The sender is in `self`, so the wait can end in no other way.
        let _ = self.0.unanswered.subscribe().wait_for(|&unanswered| unanswered == 0).await;
    }

    /// Keeps `cluster` at the addresses of `name`.
    pub(super) fn follow(&self, name: ExternalName, cluster: Weak<Cluster>) -> Following {
        let unanswered = Unanswered::new(self);
        Following(self.0.runtime.spawn(self.clone().run(name, cluster, unanswered)).abort_handle())
    }

    async fn run(self, name: ExternalName, cluster: Weak<Cluster>, unanswered: Unanswered) {
        let bounds = Bounds { min: self.0.settings.min_ttl, max: self.0.settings.max_ttl };
        let mut schedule = Schedule::new(bounds);
        let mut unanswered = Some(unanswered);
        let mut news = News::default();
        let mut draw = Random::new();
        let start = Instant::now();
        loop {
            let outcome = self.ask(&name).await;
            news.log(&name, &outcome);
            let Step { addresses, wait } = schedule.step(&outcome, start.elapsed(), &mut draw);
            match cluster.upgrade() {
                Some(cluster) => cluster.resolved(&name, &addresses, &outcome),
                None => return,
            }
            drop(unanswered.take());
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks once.
    async fn ask(&self, name: &ExternalName) -> Outcome {
        let outcome = match tokio::time::timeout(LOOKUP_TIMEOUT, self.look_up(&name.name)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::failed("no answer in time"),
        };
        if !outcome.is_good() {
            self.0.failures.inc();
        }
        outcome
    }

    /// Asks for one name after the other that `name` may stand for, until one has an address.
    ///
    /// A failure on the way is not forgotten: a name is denied only where all that it may stand for are.
    async fn look_up(&self, name: &str) -> Outcome {
        if let Ok(address) = name.parse::<IpAddr>() {
            let said = self.judge([address], self.0.settings.max_ttl);
            return if address.is_ipv4() {
                Outcome { v4: said, v6: Said::Denied }
            } else {
                Outcome { v4: Said::Denied, v6: said }
            };
        }
        let names = match Name::from_utf8(name) {
            Ok(name) => self.0.search.names(name),
            Err(error) => return Outcome::failed(&error.to_string()),
        };
        let mut failed = Outcome { v4: Said::Denied, v6: Said::Denied };
        for name in names {
            let (v4, v6) = tokio::join!(self.records(&name, RecordType::A), self.records(&name, RecordType::AAAA));
            let outcome = Outcome { v4, v6 };
            if outcome.is_answered() {
                return outcome;
            }
            for (said, failed) in [(outcome.v4, &mut failed.v4), (outcome.v6, &mut failed.v6)] {
                if *failed == Said::Denied {
                    *failed = said;
                }
            }
        }
        failed
    }

    /// Asks for the records of one kind of one name.
    async fn records(&self, name: &Name, kind: RecordType) -> Said {
        match self.0.dns.lookup(name.clone(), kind).await {
            Ok(lookup) => {
                let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                self.judge(addresses(&lookup), Duration::from_secs(ttl.into()))
            }
            Err(error) if error.is_no_records_found() => Said::Denied,
            Err(error) => Said::Failed(error.to_string()),
        }
    }

    fn judge(&self, addresses: impl IntoIterator<Item = IpAddr>, ttl: Duration) -> Said {
        let allow_all = self.0.settings.allow_all_addresses;
        let mut addresses: Vec<_> = addresses.into_iter().map(|address| address.to_canonical()).collect();
        addresses.sort_unstable();
        let (addresses, refused): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|&address| allow_all || !is_refused(address));
        match (&*addresses, &*refused) {
            // An alias may lead to a name without addresses of the kind.
            ([], []) => Said::Denied,
            _ => Said::Answer { addresses, refused, ttl },
        }
    }
}

/// The addresses of an answer, without the aliases on the way.
fn addresses(lookup: &Lookup) -> impl Iterator<Item = IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr())
}

/// A server that is asked over UDP, and over TCP where an answer is too long.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections.into())
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

// === impl Search ===

impl Search {
    /// The names that a name may stand for, in the order in which they are tried (resolv.conf(5)).
    fn names(&self, name: Name) -> Vec<Name> {
        if name.is_fqdn() {
            return vec![name];
        }
        let in_domains = self.domains.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut names: Vec<Name> = in_domains.collect();
        let mut plain = name.clone();
        plain.set_fqdn(true);
        // A label more than dots.
        let plain_first = usize::from(name.num_labels()) > self.ndots || name.is_localhost();
        names.insert(if plain_first { 0 } else { names.len() }, plain);
        names
    }
}

// === impl News ===

impl News {
    /// Logs what changed. An operator wants to read of trouble once, and when it ends.
    fn log(&mut self, name: &ExternalName, outcome: &Outcome) {
        if outcome.is_answered() {
            let refused = outcome.refused();
            if refused != self.refused && !refused.is_empty() {
                warn!(%name, ?refused, "addresses refused: they are local or lead to metadata of the cloud");
            }
            self.refused = refused;
        }
        match (outcome.is_good(), self.failing) {
            (true, true) => info!(%name, "name resolves again"),
            (false, true) => debug!(%name, %outcome, "name still does not resolve wholly"),
            (false, false) => {
                warn!(%name, %outcome, "name does not resolve wholly; what failed keeps its last addresses for now");
            }
            (true, false) => {}
        }
        self.failing = !outcome.is_good();
    }
}

// === impl Following ===

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Unanswered ===

impl Unanswered {
    fn new(resolver: &Resolver) -> Self {
        resolver.0.unanswered.send_modify(|unanswered| *unanswered += 1);
        Self(resolver.clone())
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.0.unanswered.send_modify(|unanswered| *unanswered -= 1);
    }
}

#[cfg(test)]
mod tests;
