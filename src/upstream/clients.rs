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

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::Arc,
    };

    use super::*;
    use crate::{
        draw::Given,
        key::{ClusterKey, PortRef},
        upstream::{Cluster, Endpoints, Lease, Positions, Wanted},
    };

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// A cluster with so many endpoints.
    fn cluster(count: u8) -> Arc<Cluster> {
        let cluster = Cluster::new(ClusterKey::new("shop", "web", PortRef::Number(80)));
        cluster.replace(&endpoints(1..=count));
        cluster
    }

    fn endpoints(numbers: impl IntoIterator<Item = u8>) -> Endpoints {
        let address = |number| SocketAddr::from(([10, 0, 0, number], 80));
        Endpoints::of(numbers.into_iter().map(|number| address(number).into())).with_client_ip_affinity(TIMEOUT)
    }

    fn pick(cluster: &Cluster, client: IpAddr, now: u64) -> Lease {
        let wanted = Wanted { client: Some(client), ..Wanted::default() };
        cluster.pick(&wanted, &mut Positions::new(), &mut Given::new([0]), now).unwrap()
    }

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(0xc633_6400 + number).into()
    }

    /// Where each of 1,000 clients goes.
    fn map(cluster: &Cluster, now: u64) -> Vec<SocketAddr> {
        (0..1_000).map(|number| pick(cluster, client(number), now).address()).collect()
    }

    fn moved(before: &[SocketAddr], after: &[SocketAddr]) -> usize {
        before.iter().zip(after).filter(|(before, after)| before != after).count()
    }

    #[test]
    fn clients_keep_their_endpoints_within_the_timeout_though_others_join() {
        let cluster = cluster(2);
        let before = map(&cluster, 500);
        cluster.replace(&endpoints(1..=50));
        assert_eq!(map(&cluster, 60_500), before);
        assert_eq!(map(&cluster, 120_500), before, "each use starts the time anew");
        assert!(moved(&before, &map(&cluster, 182_500)) > 900, "after it, they are spread over all");
    }

    #[test]
    fn only_clients_of_an_endpoint_that_is_gone_move() {
        let cluster = cluster(4);
        let before = map(&cluster, 0);
        cluster.replace(&endpoints([1, 2, 4]));
        let after = map(&cluster, 1_000);
        let gone = SocketAddr::from(([10, 0, 0, 3], 80));
        for (before, after) in before.iter().zip(&after) {
            assert!(*after != gone && (before == after || *before == gone));
        }
        cluster.replace(&endpoints(1..=4));
        assert_eq!(map(&cluster, 2_000), after, "it is another endpoint when it comes back");
    }

    #[test]
    fn replicas_agree_without_talking() {
        assert_eq!(map(&cluster(7), 0), map(&cluster(7), 99_000));
    }

    #[test]
    fn clients_are_spread_evenly() {
        let map = map(&cluster(4), 0);
        for number in 1..=4 {
            let count = map.iter().filter(|&&address| address == ([10, 0, 0, number], 80).into()).count();
            assert!((200..=300).contains(&count), "{number} has {count}");
        }
    }

    #[test]
    fn clients_of_a_failing_endpoint_come_back_to_it() {
        let cluster = cluster(4);
        let mut lease = pick(&cluster, client(1), 0);
        lease.failed(0);
        let meanwhile = pick(&cluster, client(1), 500);
        assert!(meanwhile.is_displaced() && meanwhile.id() != lease.id());
        assert_eq!(pick(&cluster, client(1), 600).id(), meanwhile.id());
        let back = pick(&cluster, client(1), 1_000);
        assert!(!back.is_displaced() && back.id() == lease.id());
    }

    #[test]
    fn a_mapped_address_is_the_same_client() {
        let clients = Clients::new(TIMEOUT);
        assert_eq!(clients.place("::ffff:198.51.100.7".parse().unwrap()), clients.place(client(7)));
        assert_ne!(clients.place(client(8)), clients.place(client(7)));
    }

    #[test]
    fn the_table_is_of_fixed_size() {
        let clients = Clients::new(TIMEOUT);
        assert_eq!(size_of_val(&*clients.places), 32 << 10);
    }

    #[test]
    fn a_session_or_hash_goes_before_the_clients_address() {
        let cluster = cluster(50);
        let tag = pick(&cluster, client(1), 0).endpoint().tag();
        let wanted = Wanted {
            client: Some(client(2)),
            session: Some(crate::upstream::Session::Endpoint(tag)),
            ..Wanted::default()
        };
        let lease = cluster.pick(&wanted, &mut Positions::new(), &mut Given::new([0]), 0).unwrap();
        assert_eq!(lease.endpoint().tag(), tag);
        assert_ne!(pick(&cluster, client(2), 0).endpoint().tag(), tag);
    }
}
