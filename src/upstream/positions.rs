//! What a worker's balancers remember.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use foldhash::fast::RandomState;

use super::{cluster::Identity, set::EndpointSet};
use crate::draw::Draw;

/// Below how many clusters the positions of those that are gone are kept.
const SWEEP: usize = 64;

/// Where a worker's balancers stand, for each cluster that it has used.
///
/// A worker starts anywhere, so that workers and replicas do not all begin with the same endpoint.
#[derive(Debug, Default)]
pub struct Positions {
    clusters: HashMap<u64, Position, RandomState>,
    /// At how many clusters those that are gone are forgotten.
    sweep_at: usize,
}

/// Where a worker stands in one cluster.
#[derive(Debug)]
pub(super) struct Position {
    cluster: Weak<Identity>,
    /// The next in turn, over all endpoints.
    pub(super) next: usize,
    /// The next in turn where the one whose turn it is cannot be had.
    pub(super) spare: usize,
    /// What each endpoint is ahead of its share, where weights differ.
    pub(super) ahead: Vec<i64>,
    /// The number of the set that `ahead` is for.
    pub(super) set: u64,
    /// Room to rank endpoints in.
    pub(super) ranks: Vec<(u64, u32)>,
}

// === impl Positions ===

impl Positions {
    /// No cluster has been used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The position in a cluster that has the endpoints `set`.
    pub(super) fn of(&mut self, cluster: &Arc<Identity>, set: &EndpointSet, draw: &mut impl Draw) -> &mut Position {
        if self.clusters.len() >= self.sweep_at.max(SWEEP) {
            self.clusters.retain(|_, position| position.cluster.strong_count() > 0);
            self.sweep_at = self.clusters.len() * 2;
        }
        self.clusters.entry(cluster.number()).or_insert_with(|| Position {
            cluster: Arc::downgrade(cluster),
            next: draw.below(set.len() as u64) as usize,
            spare: 0,
            ahead: Vec::new(),
            set: 0,
            ranks: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        draw::Given,
        key::{ClusterKey, PortRef},
        upstream::{Cluster, Endpoints, Wanted},
    };

    fn cluster() -> Arc<Cluster> {
        let cluster = Cluster::new(ClusterKey::new("shop", "web", PortRef::Number(80)));
        cluster.replace(&Endpoints::of([std::net::SocketAddr::from(([10, 0, 0, 1], 80)).into()]));
        cluster
    }

    #[test]
    fn positions_of_clusters_that_are_gone_are_forgotten() {
        let mut positions = Positions::new();
        let stays = cluster();
        for _ in 0..10_000 {
            let passes = cluster();
            for cluster in [&stays, &passes] {
                drop(cluster.pick(&Wanted::default(), &mut positions, &mut Given::new([0]), 0));
            }
            assert!(positions.clusters.len() <= SWEEP);
        }
        assert!(positions.clusters.contains_key(&stays.identity().number()));
    }

    #[test]
    fn positions_of_clusters_that_stay_are_kept() {
        let mut positions = Positions::new();
        let clusters: Vec<_> = (0..500).map(|_| cluster()).collect();
        for cluster in &clusters {
            drop(cluster.pick(&Wanted::default(), &mut positions, &mut Given::new([0]), 0));
        }
        assert_eq!(positions.clusters.len(), 500);
    }
}
