//! Which endpoint a client comes back to (`sessionAffinity: ClientIP`).
//!
//! Kubernetes asks that a client which returns within the timeout finds the endpoint that it had, even where others
//! have joined since. A consistent hash alone cannot promise that: it moves a share of the clients to each newcomer at
//! once. A table of clients can, but grows with them. So clients share a fixed number of places, by a hash of their
//! address, and a place remembers its endpoint and when it was last used. A place that has not been used for the
//! timeout, or whose endpoint is gone, takes the endpoint that a consistent hash of its number gives. Hence
//!
//! * a client keeps its endpoint for as long as Kubernetes asks, and longer where another client of its place goes on;
//! * replicas agree without talking to each other, but for places that were in use when endpoints joined;
//! * a cluster's table takes 32 KB, whoever calls.
//!
//! While the endpoint of a place is passed over for its failures, requests go to the next by hash, and come back.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{rendezvous::hash, set::EndpointSet};

/// How many places there are: enough for an even spread over 200 endpoints.
const PLACES: usize = 4096;

/// The places of a cluster's clients.
#[derive(Debug)]
pub(super) struct Clients {
    /// Milliseconds.
    timeout: u64,
    /// In the upper half the upper half of the endpoint's tag; in the lower, the second of the last use.
    places: Box<[AtomicU64]>,
}

/// One of the places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place(u16);

// === impl Clients ===

impl Clients {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// How long a place remembers its endpoint after it was last used.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }

    /// The place of a client.
    pub(super) fn place(&self, client: IpAddr) -> Place {
        let hash = match client.to_canonical() {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        };
        Place((hash % PLACES as u64) as u16)
    }

    /// The endpoint that a place remembers, if it is still there and the timeout has not passed.
    pub(super) fn endpoint(&self, place: Place, set: &EndpointSet, now: u64) -> Option<usize> {
        let word = self.places[usize::from(place.0)].load(Relaxed);
        let passed = seconds(now).wrapping_sub(word as u32).cast_signed().max(0);
        // The time of the last use was rounded down, so it may be up to a second later than it seems.
        if word == 0 || u64::from(passed.cast_unsigned()) * 1_000 > self.timeout.saturating_add(1_000) {
            return None;
        }
        set.find(|tag| tag >> 32 == word >> 32)
    }

    /// Remembers that a place was used, for the endpoint at `index`.
    pub(super) fn used(&self, place: Place, set: &EndpointSet, index: usize, now: u64) {
        let tag = set.endpoints()[index].tag();
        let word = (tag >> 32 << 32) | u64::from(seconds(now));
        let place = &self.places[usize::from(place.0)];
        // Most uses are within a second of the last, and a line that nobody writes stays with every worker.
        if place.load(Relaxed) != word {
            place.store(word, Relaxed);
        }
    }
}

fn seconds(now: u64) -> u32 {
    (now / 1_000) as u32
}

// === impl Place ===

impl Place {
    /// What its endpoint follows from by consistent hash.
    pub(super) fn key(self) -> u64 {
        hash(&self.0.to_be_bytes())
    }
}
