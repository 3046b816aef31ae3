//! The endpoints of a cluster at one moment.

use std::{
    collections::HashMap,
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    clients::Clients,
    describe::EndpointSpec,
    endpoint::Endpoint,
    latency::Latency,
    rendezvous::{score, weighted_score},
};
use crate::http::Transport;

/// Endpoints in the order of their addresses. It never changes; a cluster replaces it whole.
#[derive(Debug, Default)]
pub(super) struct EndpointSet {
    /// Tells this set from all others.
    number: u64,
    endpoints: Box<[Arc<Endpoint>]>,
    /// The endpoints' tags, side by side: hashing looks at all of them.
    tags: Box<[u64]>,
    /// The endpoints' weights, where they differ.
    weights: Option<Box<[u32]>>,
    /// Which client goes where (`sessionAffinity: ClientIP`).
    clients: Option<Arc<Clients>>,
    /// What they speak, where their Service says so.
    protocol: Option<Transport>,
}

// === impl EndpointSet ===

impl EndpointSet {
    /// A set with these addresses, which are sorted and each there once. An endpoint whose address stays is kept;
    /// others of `former` are marked as removed.
    pub(super) fn following(
        former: &Self,
        specs: &[EndpointSpec],
        clients: Option<Arc<Clients>>,
        protocol: Option<Transport>,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let mut kept: HashMap<SocketAddr, &Arc<Endpoint>> =
            former.endpoints.iter().map(|endpoint| (endpoint.address(), endpoint)).collect();
        let endpoints: Box<[_]> = specs
            .iter()
            .map(|spec| match kept.remove(&spec.address) {
                Some(endpoint) => endpoint.clone(),
                None => {
                    let latency = Latency::joining(former.endpoints.iter().map(|endpoint| &endpoint.latency));
                    Arc::new(Endpoint::new(spec.address, latency))
                }
            })
            .collect();
        for endpoint in kept.into_values() {
            endpoint.remove();
        }
        Self {
            number: NUMBER.fetch_add(1, Relaxed),
            tags: endpoints.iter().map(|endpoint| endpoint.tag()).collect(),
            weights: weights(specs),
            endpoints,
            clients,
            protocol,
        }
    }

    /// Whether it has just these addresses, with these shares.
    pub(super) fn is_of(&self, specs: &[EndpointSpec]) -> bool {
        let addresses = self.endpoints.iter().map(|endpoint| endpoint.address());
        addresses.eq(specs.iter().map(|spec| spec.address)) && self.weights == weights(specs)
    }

    /// What it is made from.
    pub(super) fn specs(&self) -> Vec<EndpointSpec> {
        let weight = |index| NonZeroU32::new(self.weight(index)).unwrap_or(NonZeroU32::MIN);
        let specs = self.endpoints.iter().enumerate();
        specs.map(|(index, endpoint)| EndpointSpec { address: endpoint.address(), weight: weight(index) }).collect()
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The weights, where they differ.
    pub(super) fn weights(&self) -> Option<&[u32]> {
        self.weights.as_deref()
    }

    /// The weight of the endpoint at `index`, where only proportions matter.
    pub(super) fn weight(&self, index: usize) -> u32 {
        self.weights.as_deref().map_or(1, |weights| weights[index])
    }

    /// The place of the endpoint whose tag is accepted by `is`.
    pub(super) fn find(&self, is: impl Fn(u64) -> bool) -> Option<usize> {
        self.tags.iter().position(|&tag| is(tag))
    }

    pub(super) fn protocol(&self) -> Option<Transport> {
        self.protocol
    }

    pub(super) fn clients(&self) -> Option<&Arc<Clients>> {
        self.clients.as_ref()
    }

    /// The scores of all endpoints for a key, in their order.
    pub(super) fn scores(&self, key: u64) -> impl Iterator<Item = u64> + '_ {
        self.tags.iter().enumerate().map(move |(index, &tag)| match &self.weights {
            None => score(key, tag),
            Some(weights) => weighted_score(score(key, tag), weights[index]),
        })
    }
}

/// The weights, where they differ.
fn weights(specs: &[EndpointSpec]) -> Option<Box<[u32]>> {
    let even = specs.iter().all(|spec| spec.weight == specs[0].weight);
    (!even).then(|| specs.iter().map(|spec| spec.weight.get()).collect())
}
