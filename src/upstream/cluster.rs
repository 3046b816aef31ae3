//! One port of one Service, for as long as anything names it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;

use super::{
    balance::{Choice, Wanted},
    clients::Clients,
    describe::{EndpointSpec, Endpoints, ExternalName, Origin},
    endpoint::EndpointId,
    health::EndpointState,
    lease::Lease,
    positions::Positions,
    resolve::{Following, Outcome, Resolver},
    set::EndpointSet,
};
use crate::{draw::Draw, http::Transport, key::ClusterKey, live::Live};

/// The endpoints of a Service's port, and what is known of them.
pub struct Cluster {
    key: ClusterKey,
    identity: Arc<Identity>,
    set: Live<EndpointSet>,
    /// What the set was made from. Held by those who replace it, never by those who pick.
    described: Mutex<Described>,
    /// What resolves names, or why nothing does.
    resolver: Result<Resolver, Arc<str>>,
    /// Itself, for the task that follows a name.
    this: Weak<Self>,
}

/// What a cluster was told of its endpoints.
#[derive(Default)]
struct Described {
    endpoints: Endpoints,
    following: Option<Following>,
    /// What DNS said last.
    resolution: Option<Outcome>,
}

/// What tells a cluster from all others, also from a later one with the same key.
#[derive(Debug)]
pub(super) struct Identity(u64);

/// A cluster as it is at one moment.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClusterSnapshot {
    pub cluster: ClusterKey,
    /// Where the endpoints come from a name: what DNS said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<NameSnapshot>,
    /// What its Service says that they speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Transport>,
    pub endpoints: Vec<EndpointSnapshot>,
}

/// A name as it is at one moment.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NameSnapshot {
    pub name: ExternalName,
    /// What DNS said last; none is that it has not answered yet.
    pub resolution: Option<String>,
}

/// An endpoint as it is at one moment.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EndpointSnapshot {
    pub id: EndpointId,
    pub address: SocketAddr,
    pub weight: u32,
    pub in_flight: u32,
    /// The moving average of its answer times, in microseconds.
    pub latency_us: u64,
    pub state: EndpointState,
    /// Failures in a row.
    pub failures: u32,
}

// === impl Cluster ===

impl Cluster {
    /// A cluster without endpoints. It asks no DNS: a name gives it none.
    #[must_use]
    pub fn new(key: ClusterKey) -> Arc<Self> {
        Self::without_resolver(key, "no names are resolved here".into())
    }

    /// A cluster without endpoints. It asks no DNS, and this is why: a name gives it none.
    #[must_use]
    pub fn without_resolver(key: ClusterKey, why: Arc<str>) -> Arc<Self> {
        Self::make(key, Err(why))
    }

    /// A cluster without endpoints, whose names are resolved by `resolver`.
    #[must_use]
    pub fn with_resolver(key: ClusterKey, resolver: &Resolver) -> Arc<Self> {
        Self::make(key, Ok(resolver.clone()))
    }

    fn make(key: ClusterKey, resolver: Result<Resolver, Arc<str>>) -> Arc<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Arc::new_cyclic(|this| Self {
            key,
            identity: Arc::new(Identity(NUMBER.fetch_add(1, Relaxed))),
            set: Live::default(),
            described: Mutex::default(),
            resolver,
            this: this.clone(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> &ClusterKey {
        &self.key
    }

    /// Gives the cluster other endpoints.
    ///
    /// An address that stays keeps its identity, counters and health. One that is gone gets no new request; those in
    /// flight finish.
    ///
    /// Another name takes over with its first answer; until then the former endpoints serve.
    pub fn replace(&self, endpoints: &Endpoints) {
        let mut described = self.described();
        if described.endpoints == *endpoints {
            return;
        }
        let former = std::mem::replace(&mut described.endpoints, endpoints.clone());
        match (endpoints.origin(), &self.resolver) {
            (Origin::Addresses(specs), _) => {
                described.following = None;
                described.resolution = None;
                self.set_addresses(specs, endpoints);
            }
            (Origin::Name(_), Err(why)) => {
                described.resolution = Some(Outcome::failed(why));
                self.set_addresses(&[], endpoints);
            }
            (Origin::Name(name), Ok(resolver)) => {
                if former.origin() != endpoints.origin() {
                    described.following = Some(resolver.follow(name.clone(), self.this.clone()));
                    described.resolution = None;
                }
                self.set_addresses(&self.set.get().specs(), endpoints);
            }
        }
    }

    /// Takes the addresses of `name` and what DNS said of it, unless the cluster stands for something else by now.
    pub(super) fn resolved(&self, name: &ExternalName, addresses: &[IpAddr], outcome: &Outcome) {
        let mut described = self.described();
        if !matches!(described.endpoints.origin(), Origin::Name(current) if current == name) {
            return;
        }
        described.resolution = Some(outcome.clone());
        let specs = addresses.iter().map(|&address| SocketAddr::new(address, name.port).into());
        self.set_addresses(Endpoints::of(specs).addresses(), &described.endpoints);
    }

    #[cfg(test)]
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    fn described(&self) -> MutexGuard<'_, Described> {
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes addresses over, and what is said of them besides.
    fn set_addresses(&self, specs: &[EndpointSpec], said: &Endpoints) {
        let former = self.set.get();
        let (affinity, protocol) = (said.client_ip_affinity(), said.protocol());
        let same_affinity = former.clients().map(|clients| clients.timeout()) == affinity;
        if former.is_of(specs) && same_affinity && former.protocol() == protocol {
            return;
        }
        let clients = affinity.map(|timeout| match former.clients() {
            Some(clients) if clients.timeout() == timeout => clients.clone(),
            _ => Arc::new(Clients::new(timeout)),
        });
        self.set.replace(EndpointSet::following(&former, specs, clients, protocol));
    }

    /// What its endpoints speak, where the port of the Service says so (`appProtocol`).
    #[must_use]
    pub fn protocol(&self) -> Option<Transport> {
        self.set.load().protocol()
    }

    /// Whether it has an endpoint. Endpoints that are passed over count, for a request would try them at last.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.set.load().is_empty()
    }

    /// How many endpoints it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.load().len()
    }

    /// Whether it has the endpoint with this tag.
    #[must_use]
    pub fn has(&self, tag: u64) -> bool {
        self.set.load().find(|other| other == tag).is_some()
    }

    /// Whether it has no endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_up()
    }

    /// Chooses the endpoint for a try. None where there is no endpoint that has not been tried.
    ///
    /// `positions` and `draw` are the worker's own; `now` is in milliseconds of a monotonic clock.
    pub fn pick(
        &self,
        wanted: &Wanted<'_>,
        positions: &mut Positions,
        draw: &mut impl Draw,
        now: u64,
    ) -> Option<Lease> {
        let set = self.set.load();
        if set.is_empty() {
            return None;
        }
        let position = positions.of(&self.identity, &set, draw);
        Choice::new(&set, wanted, now).lease(position, draw)
    }

    /// What it is like now.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> ClusterSnapshot {
        let set = self.set.get();
        let endpoints = set.endpoints().iter().enumerate().map(|(index, endpoint)| EndpointSnapshot {
            id: endpoint.id(),
            address: endpoint.address(),
            weight: set.weight(index),
            in_flight: endpoint.in_flight(),
            latency_us: endpoint.latency.micros(now) as u64,
            state: endpoint.health.state(now),
            failures: endpoint.health.failures(),
        });
        let described = self.described();
        let name = match described.endpoints.origin() {
            Origin::Addresses(_) => None,
            Origin::Name(name) => {
                let resolution = described.resolution.as_ref().map(ToString::to_string);
                Some(NameSnapshot { name: name.clone(), resolution })
            }
        };
        ClusterSnapshot { cluster: self.key.clone(), name, protocol: set.protocol(), endpoints: endpoints.collect() }
    }
}

impl Drop for Cluster {
    /// Endpoints of a cluster that nothing names are gone, as those that are replaced.
    fn drop(&mut self) {
        for endpoint in self.set.load().endpoints() {
            endpoint.remove();
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.key).finish()
    }
}

// === impl Identity ===

impl Identity {
    pub(super) fn number(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
