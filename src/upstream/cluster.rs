//! One port of one Service, for as long as anything names it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;

use super::{
    balance::{Choice, Wanted},
    clients::Clients,
    describe::{EndpointSpec, Endpoints, Origin},
    endpoint::EndpointId,
    health::State,
    lease::Lease,
    positions::Positions,
    set::EndpointSet,
};
use crate::{draw::Draw, key::ClusterKey, live::Live};

/// The endpoints of a Service's port, and what is known of them.
pub struct Cluster {
    key: ClusterKey,
    identity: Arc<Identity>,
    set: Live<EndpointSet>,
    /// What the set was made from. Held by those who replace it, never by those who pick.
    described: Mutex<Endpoints>,
}

/// What tells a cluster from all others, also from a later one with the same key.
#[derive(Debug)]
pub(super) struct Identity(u64);

/// A cluster as it is at one moment.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClusterSnapshot {
    pub cluster: ClusterKey,
    pub endpoints: Vec<EndpointSnapshot>,
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
    pub state: State,
    /// Failures in a row.
    pub failures: u32,
}

// === impl Cluster ===

impl Cluster {
    /// A cluster without endpoints. It asks no DNS: a name gives it none.
    #[must_use]
    pub fn new(key: ClusterKey) -> Arc<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            key,
            identity: Arc::new(Identity(NUMBER.fetch_add(1, Relaxed))),
            set: Live::default(),
            described: Mutex::default(),
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
    pub fn replace(&self, endpoints: &Endpoints) {
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        if *described == *endpoints {
            return;
        }
        let _former = std::mem::replace(&mut *described, endpoints.clone());
        match endpoints.origin() {
            Origin::Addresses(specs) => self.set_addresses(specs, endpoints.client_ip_affinity()),
            Origin::Name(_) => self.set_addresses(&[], endpoints.client_ip_affinity()),
        }
    }

    fn set_addresses(&self, specs: &[EndpointSpec], client_ip_affinity: Option<Duration>) {
        let former = self.set.get();
        let clients = client_ip_affinity.map(|timeout| match former.clients() {
            Some(clients) if clients.timeout() == timeout => clients.clone(),
            _ => Arc::new(Clients::new(timeout)),
        });
        self.set.replace(EndpointSet::following(&former, specs, clients));
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
        ClusterSnapshot { cluster: self.key.clone(), endpoints: endpoints.collect() }
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
