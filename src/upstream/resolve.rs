//! Names that DNS resolves (`ExternalName`).
//!
//! Each cluster that stands for a name has a task on the control runtime, which asks for A and AAAA records, puts what
//! they say into the cluster, and asks again when the shortest of their times to live has passed. It ends with the
//! cluster. When DNS fails, the last good answer stays; see [`schedule`] for what happens when.
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
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup_ip::LookupIp,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::Name,
};
use tokio::{runtime::Handle, sync::watch, task::AbortHandle, time::Instant};
use tracing::{debug, info, warn};

pub use self::refused::is_refused;
pub(super) use self::schedule::Outcome;
use self::schedule::{Bounds, Schedule, Step};
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
    settings: Settings,
    runtime: Handle,
    failures: Counter,
    /// How many names wait for their first answer.
    unanswered: watch::Sender<usize>,
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
        let mut builder = match &settings.servers {
            Servers::System => TokioResolver::builder_tokio().map_err(InvalidSettings::System)?,
            Servers::Given { servers, search, ndots } => {
                let search = search.iter().map(|domain| {
                    Name::from_utf8(domain).map_err(|error| InvalidSettings::Search(domain.clone(), error))
                });
                let servers = servers.iter().map(|&server| name_server(server)).collect();
                let config = ResolverConfig::from_parts(None, search.collect::<Result<_, _>>()?, servers);
                let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
                builder.options_mut().ndots = *ndots;
                builder
            }
        };
        let options = builder.options_mut();
        // A pod's own hosts file says nothing of other replicas, and the schedule keeps answers as long as they hold.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        // Answers also carry the times to live of aliases on the way.
        options.preserve_intermediates = true;
        let dns = builder.build().map_err(InvalidSettings::Resolver)?;
        Ok(Self(Arc::new(Inner { dns, settings, runtime, failures, unanswered: watch::Sender::new(0) })))
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
                Some(cluster) => cluster.resolved(&name, addresses.as_deref(), &outcome),
                None => return,
            }
            drop(unanswered.take());
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks once.
    async fn ask(&self, name: &ExternalName) -> Outcome {
        let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, self.0.dns.lookup_ip(&*name.name)).await;
        let outcome = match lookup {
            Ok(Ok(lookup)) => self.judge(&lookup),
            Ok(Err(error)) if error.is_no_records_found() => Outcome::Denied,
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::Failed("no answer in time".to_owned()),
        };
        if matches!(outcome, Outcome::Denied | Outcome::Failed(_)) {
            self.0.failures.inc();
        }
        outcome
    }

    fn judge(&self, lookup: &LookupIp) -> Outcome {
        let ttl = lookup.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or(0);
        let allow_all = self.0.settings.allow_all_addresses;
        let mut addresses: Vec<_> = lookup.iter().map(|address| address.to_canonical()).collect();
        addresses.sort_unstable();
        let (addresses, refused): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|&address| allow_all || !is_refused(address));
        match (&*addresses, &*refused) {
            ([], []) => Outcome::Denied,
            _ => Outcome::Answer { addresses, refused, ttl: Duration::from_secs(ttl.into()) },
        }
    }
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

// === impl News ===

impl News {
    /// Logs what changed. An operator wants to read of trouble once, and when it ends.
    fn log(&mut self, name: &ExternalName, outcome: &Outcome) {
        match outcome {
            Outcome::Answer { addresses, refused, .. } => {
                if *refused != self.refused && !refused.is_empty() {
                    warn!(%name, ?refused, "addresses refused: they are local or lead to metadata of the cloud");
                }
                if self.failing {
                    info!(%name, ?addresses, "name resolves again");
                }
                *self = Self { failing: false, refused: refused.clone() };
            }
            outcome if self.failing => debug!(%name, %outcome, "name still does not resolve"),
            outcome => {
                warn!(%name, %outcome, "name does not resolve; its last addresses stay in use for now");
                self.failing = true;
            }
        }
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
