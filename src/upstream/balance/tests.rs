//! Exact tests of the choice: lots and times are given.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::super::{Cluster, EndpointSpec, Endpoints, Lease, Positions, endpoint::Endpoint, hash, latency::Latency};
use super::*;
use crate::{
    draw::Given,
    key::{ClusterKey, PortRef},
};

/// A cluster with endpoints 10.0.0.1, 10.0.0.2 and so on, which have these weights.
fn cluster(weights: &[u32]) -> Arc<Cluster> {
    let cluster = Cluster::new(ClusterKey::new("shop", "web", PortRef::Number(80)));
    cluster.replace(&endpoints(weights));
    cluster
}

fn endpoints(weights: &[u32]) -> Endpoints {
    Endpoints::of(
        (1..).zip(weights).map(|(number, &weight)| EndpointSpec {
            address: address(number),
            weight: NonZeroU32::new(weight).unwrap(),
        }),
    )
}

fn address(number: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + number), 80))
}

/// The last number of a lease's address.
fn number(lease: &Lease) -> u32 {
    match lease.address().ip() {
        IpAddr::V4(ip) => u32::from(ip) - 0x0a00_0000,
        IpAddr::V6(_) => unreachable!("no test has one"),
    }
}

/// A worker that starts with the first endpoint.
struct Worker<'a> {
    cluster: &'a Cluster,
    positions: Positions,
    draw: Given,
    now: u64,
}

impl<'a> Worker<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        Self::drawing(cluster, [0])
    }

    fn drawing(cluster: &'a Cluster, lots: impl Into<Vec<u64>>) -> Self {
        Self { cluster, positions: Positions::new(), draw: Given::new(lots), now: 0 }
    }

    fn pick(&mut self, wanted: &Wanted<'_>) -> Lease {
        self.try_pick(wanted).expect("there is an endpoint that was not tried")
    }

    fn try_pick(&mut self, wanted: &Wanted<'_>) -> Option<Lease> {
        self.cluster.pick(wanted, &mut self.positions, &mut self.draw, self.now)
    }

    /// Picks `count` times, each at rest.
    fn numbers(&mut self, count: usize, wanted: &Wanted<'_>) -> Vec<u32> {
        (0..count).map(|_| number(&self.pick(wanted))).collect()
    }

    /// How often each endpoint is picked in `count` times.
    fn shares(&mut self, count: usize, wanted: &Wanted<'_>) -> BTreeMap<u32, usize> {
        let mut shares = BTreeMap::new();
        for number in self.numbers(count, wanted) {
            *shares.entry(number).or_default() += 1;
        }
        shares
    }

    /// Lets a request to an endpoint fail.
    fn fail(&mut self, number: u32) {
        let wanted = Wanted { session: Some(kept(number)), ..Wanted::default() };
        let mut lease = self.pick(&wanted);
        assert!(!lease.is_displaced());
        lease.failed(self.now);
    }
}

/// A session that keeps an endpoint.
fn kept(number: u32) -> Session {
    Session::Endpoint(Endpoint::new(address(number), Latency::default()).tag())
}

fn id(cluster: &Cluster, number: u32) -> EndpointId {
    let snapshot = cluster.snapshot(0);
    snapshot.endpoints.iter().find(|endpoint| endpoint.address == address(number)).unwrap().id
}

fn by(algorithm: Algorithm) -> Wanted<'static> {
    Wanted { algorithm, ..Wanted::default() }
}

fn hashed(algorithm: Algorithm, key: u64) -> Wanted<'static> {
    Wanted { algorithm, hash: Some(key), ..Wanted::default() }
}

// Round robin.

#[test]
fn endpoints_are_asked_in_turn_from_anywhere() {
    let cluster = cluster(&[1, 1, 1]);
    assert_eq!(Worker::drawing(&cluster, [0]).numbers(5, &by(Algorithm::RoundRobin)), [1, 2, 3, 1, 2]);
    assert_eq!(Worker::drawing(&cluster, [2]).numbers(5, &by(Algorithm::RoundRobin)), [3, 1, 2, 3, 1]);
}

#[test]
fn turns_by_weight_are_spread_out() {
    let cluster = cluster(&[5, 1, 1]);
    assert_eq!(Worker::new(&cluster).numbers(7, &by(Algorithm::RoundRobin)), [1, 1, 2, 1, 3, 1, 1]);
}

#[test]
fn a_worker_starts_anywhere_by_weight_too() {
    let cluster = cluster(&[5, 1, 1]);
    let mut worker = Worker::drawing(&cluster, [0, 2]);
    assert_eq!(worker.numbers(7, &by(Algorithm::RoundRobin)), [2, 1, 3, 1, 1, 1, 1]);
}

#[test]
fn equal_weights_are_no_weights() {
    let cluster = cluster(&[7, 7]);
    assert_eq!(Worker::new(&cluster).numbers(4, &by(Algorithm::RoundRobin)), [1, 2, 1, 2]);
}

#[test]
fn the_share_of_one_that_fails_is_spread_evenly() {
    let cluster = cluster(&[1, 1, 1, 1]);
    let mut worker = Worker::new(&cluster);
    worker.fail(2);
    worker.fail(4);
    assert_eq!(worker.shares(400, &by(Algorithm::RoundRobin)), [(1, 200), (3, 200)].into());
}

#[test]
fn the_share_of_one_that_fails_is_spread_by_weight() {
    let cluster = cluster(&[3, 2, 1]);
    let mut worker = Worker::new(&cluster);
    worker.fail(2);
    assert_eq!(worker.shares(400, &by(Algorithm::RoundRobin)), [(1, 300), (3, 100)].into());
}

proptest! {
    #[test]
    fn shares_over_a_round_are_the_weights(weights in proptest::collection::vec(1_u32..20, 1..8), start: u64) {
        let cluster = cluster(&weights);
        let round: u32 = weights.iter().sum();
        let shares = Worker::drawing(&cluster, [start]).shares(round as usize, &by(Algorithm::RoundRobin));
        // Equal weights are taken as 1, which gives the same shares.
        for (number, &weight) in (1..).zip(&weights) {
            prop_assert_eq!(shares[&number], weight as usize);
        }
    }
}

// Least connections.

#[test]
fn the_fewest_in_flight_is_asked() {
    let cluster = cluster(&[1, 1, 1]);
    let mut worker = Worker::new(&cluster);
    let wanted = by(Algorithm::LeastConnections);
    let held: Vec<_> = (0..3).map(|_| worker.pick(&wanted)).collect();
    let mut numbers: Vec<_> = held.iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3], "each gets one before any gets two");
    let freed = number(&held[1]);
    let [_a, _, _c] = <[Lease; 3]>::try_from(held).unwrap().map(|lease| (number(&lease) != freed).then_some(lease));
    for _ in 0..5 {
        assert_eq!(number(&worker.pick(&wanted)), freed);
    }
}

#[test]
fn equals_take_turns() {
    let cluster = cluster(&[1, 1, 1]);
    assert_eq!(Worker::new(&cluster).numbers(6, &by(Algorithm::LeastConnections)), [1, 2, 3, 1, 2, 3]);
}

#[test]
fn in_flight_counts_by_weight() {
    let cluster = cluster(&[3, 1]);
    let mut worker = Worker::new(&cluster);
    let held: Vec<_> = (0..8).map(|_| worker.pick(&by(Algorithm::LeastConnections))).collect();
    assert_eq!(held.iter().filter(|lease| number(lease) == 1).count(), 6);
}

// EWMA.

#[test]
fn the_faster_of_two_drawn_is_asked() {
    let cluster = cluster(&[1, 1, 1]);
    let mut worker = Worker::new(&cluster);
    for (number, ms) in [(1, 50), (2, 10), (3, 30)] {
        let wanted = Wanted { session: Some(kept(number)), ..Wanted::default() };
        worker.pick(&wanted).succeeded(Duration::from_millis(ms), 0);
    }
    // The first lot is where turns begin; then two lots draw two different endpoints.
    for (lots, faster) in [([0, 0, 0], 2), ([0, 0, 1], 3), ([0, 1, 1], 2), ([0, 2, 0], 3), ([0, 2, 1], 2)] {
        let mut worker = Worker::drawing(&cluster, lots);
        assert_eq!(number(&worker.pick(&by(Algorithm::Ewma))), faster, "{lots:?}");
    }
}

#[test]
fn requests_in_flight_make_a_fast_endpoint_dear() {
    let cluster = cluster(&[1, 1]);
    let mut worker = Worker::new(&cluster);
    for (number, ms) in [(1, 9), (2, 29)] {
        let wanted = Wanted { session: Some(kept(number)), ..Wanted::default() };
        worker.pick(&wanted).succeeded(Duration::from_millis(ms), 0);
    }
    // (9 + 1) × 1, × 2, × 3 are not more than (29 + 1) × 1; × 4 is.
    let held: Vec<_> = (0..4).map(|_| worker.pick(&by(Algorithm::Ewma))).collect();
    assert_eq!(held.iter().map(number).collect::<Vec<_>>(), [1, 1, 1, 2]);
}

#[test]
fn a_slow_endpoint_is_tried_again_when_its_average_has_decayed() {
    let cluster = cluster(&[1, 1]);
    let mut worker = Worker::new(&cluster);
    let slow = Wanted { session: Some(kept(1)), ..Wanted::default() };
    let steady = Wanted { session: Some(kept(2)), ..Wanted::default() };
    worker.pick(&slow).succeeded(Duration::from_millis(100), 0);
    for (now, chosen) in [(0, 2), (20_000, 2), (24_000, 1)] {
        // 100 ms fall to 10 ms in 23 s.
        worker.pick(&steady).succeeded(Duration::from_millis(10), now);
        worker.now = now;
        assert_eq!(worker.numbers(1, &by(Algorithm::Ewma)), [chosen], "after {now} ms");
    }
}

#[test]
fn both_drawn_are_candidates() {
    let cluster = cluster(&[1, 1, 1]);
    let mut worker = Worker::new(&cluster);
    worker.fail(1);
    assert_eq!(worker.shares(10, &by(Algorithm::Ewma)).get(&1), None);
    worker.fail(2);
    assert_eq!(worker.shares(10, &by(Algorithm::Ewma)), [(3, 10)].into());
}

// Hashing.

#[test]
fn a_key_keeps_its_endpoint_on_every_worker_and_replica() {
    let (one, other) = (cluster(&[1; 10]), cluster(&[1; 10]));
    for key in 0..100 {
        let wanted = hashed(Algorithm::Hash, key);
        let chosen = Worker::drawing(&one, [0]).numbers(1, &wanted);
        assert_eq!(Worker::drawing(&other, [7]).numbers(2, &wanted), [chosen[0]; 2]);
    }
}

#[test]
fn keys_have_known_endpoints() {
    // Computed with another program. A change here would move the sessions of every user with an update.
    let cluster = cluster(&[1; 5]);
    let mut worker = Worker::new(&cluster);
    let chosen: Vec<_> =
        (0..12_u64).map(|key| worker.numbers(1, &hashed(Algorithm::Hash, hash(&key.to_be_bytes())))[0]).collect();
    assert_eq!(chosen, [1, 1, 4, 4, 2, 5, 2, 3, 5, 4, 4, 2]);
}

/// Where each of 20,000 keys goes.
fn map(cluster: &Cluster) -> Vec<u32> {
    let mut worker = Worker::new(cluster);
    (0..20_000_u64).map(|key| number(&worker.pick(&hashed(Algorithm::Hash, hash(&key.to_be_bytes()))))).collect()
}

fn share(map: &[u32], number: u32) -> f64 {
    map.iter().filter(|&&other| other == number).count() as f64 / map.len() as f64
}

/// Whether a share of 20,000 keys is within five standard deviations.
fn is_near(actual: f64, expected: f64) -> bool {
    (actual - expected).abs() <= 5.0 * (expected * (1.0 - expected) / 20_000.0).sqrt()
}

#[test]
fn keys_are_spread_by_weight() {
    for weights in [vec![1; 2], vec![1; 10], vec![1; 97], vec![1, 2, 3, 4], vec![1, 99]] {
        let map = map(&cluster(&weights));
        let total: u32 = weights.iter().sum();
        for (number, &weight) in (1..).zip(&weights) {
            let (actual, expected) = (share(&map, number), f64::from(weight) / f64::from(total));
            assert!(is_near(actual, expected), "{number} of {weights:?} has {actual}");
        }
    }
}

#[test]
fn keys_that_follow_each_other_are_spread_too() {
    let cluster = cluster(&[1; 4]);
    let mut worker = Worker::new(&cluster);
    let map: Vec<_> = (0..20_000).map(|key| worker.numbers(1, &hashed(Algorithm::Hash, key))[0]).collect();
    for number in 1..=4 {
        assert!(is_near(share(&map, number), 0.25));
    }
}

#[test]
fn only_keys_of_an_endpoint_that_leaves_move_and_evenly() {
    let cluster = cluster(&[1; 10]);
    let before = map(&cluster);
    let without = Endpoints::of((1..=10).filter(|&number| number != 4).map(|number| address(number).into()));
    cluster.replace(&without);
    let after = map(&cluster);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == 4);
    }
    for number in (1..=10).filter(|&number| number != 4) {
        assert!(is_near(share(&after, number), 1.0 / 9.0));
    }
}

#[test]
fn only_a_newcomers_share_of_keys_moves() {
    let cluster = cluster(&[1; 9]);
    let before = map(&cluster);
    cluster.replace(&endpoints(&[1; 10]));
    let after = map(&cluster);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *after == 10);
    }
    assert!(is_near(share(&after, 10), 0.1));
}

#[test]
fn a_weight_that_grows_draws_keys_and_drives_none_away() {
    let cluster = cluster(&[2, 2, 3]);
    let before = map(&cluster);
    cluster.replace(&endpoints(&[2, 2, 6]));
    let after = map(&cluster);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *after == 3);
    }
}

proptest! {
    #[test]
    fn keys_move_only_to_and_from_what_changed(
        before in proptest::collection::btree_set(1_u32..40, 1..20),
        after in proptest::collection::btree_set(1_u32..40, 1..20),
        keys in proptest::collection::vec(any::<u64>(), 50),
    ) {
        let cluster = cluster(&[]);
        let specs = |numbers: &std::collections::BTreeSet<u32>| {
            Endpoints::of(numbers.iter().map(|&number| address(number).into()))
        };
        for key in keys {
            let wanted = hashed(Algorithm::Hash, key);
            cluster.replace(&specs(&before));
            let had = Worker::new(&cluster).numbers(1, &wanted)[0];
            cluster.replace(&specs(&after));
            let has = Worker::new(&cluster).numbers(1, &wanted)[0];
            prop_assert!(had == has || !after.contains(&had) || !before.contains(&has));
        }
    }
}

#[test]
fn keys_of_a_failing_endpoint_go_where_they_would_without_it_and_come_back() {
    let cluster = cluster(&[1; 6]);
    let before = map(&cluster);
    let mut worker = Worker::new(&cluster);
    worker.fail(2);
    let during = map(&cluster);
    let without = self::cluster(&[]);
    without.replace(&Endpoints::of([1, 3, 4, 5, 6].map(|number| address(number).into())));
    assert_eq!(during, map(&without));
    worker.now = 1_000;
    worker.pick(&Wanted { session: Some(kept(2)), ..Wanted::default() }).succeeded(Duration::ZERO, 1_000);
    assert_eq!(map(&cluster), before);
}

#[test]
fn without_a_key_hashing_takes_turns() {
    let cluster = cluster(&[1, 1]);
    for algorithm in [Algorithm::Hash, Algorithm::HashSubset(1)] {
        assert_eq!(Worker::new(&cluster).numbers(4, &by(algorithm)), [1, 2, 1, 2]);
    }
}

#[test]
fn a_subset_has_its_size_and_its_key() {
    let cluster = cluster(&[1; 10]);
    for key in 0..20 {
        let wanted = hashed(Algorithm::HashSubset(3), key);
        let mut lots: Vec<_> = (0..30).collect();
        lots.insert(0, 0);
        let shares = Worker::drawing(&cluster, lots).shares(30, &wanted);
        assert_eq!(shares.values().collect::<Vec<_>>(), [&10, &10, &10], "each third lot is another of three");
        let alone = Worker::new(&cluster).numbers(1, &hashed(Algorithm::Hash, key))[0];
        assert!(shares.contains_key(&alone), "the endpoint of the key is in its subset");
    }
}

#[test]
fn a_subset_larger_than_the_cluster_is_the_cluster() {
    let cluster = cluster(&[1, 1]);
    let mut worker = Worker::drawing(&cluster, [0, 0, 1, 0, 1]);
    assert_eq!(worker.shares(4, &hashed(Algorithm::HashSubset(3), 5)), [(1, 2), (2, 2)].into());
    assert_eq!(worker.numbers(1, &hashed(Algorithm::HashSubset(0), 5)).len(), 1, "an empty one cannot be asked for");
}

#[test]
fn a_subset_that_fails_whole_is_left() {
    let cluster = cluster(&[1; 5]);
    let wanted = hashed(Algorithm::HashSubset(2), 9);
    let subset: Vec<_> = Worker::drawing(&cluster, [0, 0, 1]).shares(2, &wanted).into_keys().collect();
    let mut worker = Worker::new(&cluster);
    worker.fail(subset[0]);
    assert_eq!(worker.shares(10, &wanted), [(subset[1], 10)].into());
    worker.fail(subset[1]);
    let lease = worker.pick(&wanted);
    assert!(lease.is_displaced());
    assert!(!subset.contains(&number(&lease)));
}

// Sessions.

#[test]
fn a_session_decides_before_everything_else() {
    let cluster = cluster(&[1; 4]);
    let mut worker = Worker::new(&cluster);
    let session = Some(kept(3));
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections, Algorithm::Ewma, Algorithm::Hash] {
        let wanted = Wanted { session, ..hashed(algorithm, 1) };
        assert_eq!(worker.numbers(3, &wanted), [3, 3, 3]);
    }
    let wanted = Wanted { session: Some(Session::Key(77)), ..by(Algorithm::RoundRobin) };
    let chosen = worker.numbers(1, &hashed(Algorithm::Hash, 77))[0];
    assert_eq!(worker.numbers(2, &wanted), [chosen; 2]);
}

#[test]
fn a_session_stays_when_others_join() {
    let cluster = cluster(&[1; 2]);
    let session = Some(kept(2));
    cluster.replace(&endpoints(&[1; 50]));
    let lease = Worker::new(&cluster).pick(&Wanted { session, ..Wanted::default() });
    assert_eq!((number(&lease), lease.is_displaced()), (2, false));
}

#[test]
fn a_session_whose_endpoint_is_gone_finds_one_other() {
    let cluster = cluster(&[1; 4]);
    let session = Some(kept(4));
    cluster.replace(&endpoints(&[1; 3]));
    let wanted = Wanted { session, ..Wanted::default() };
    let mut worker = Worker::new(&cluster);
    let first = worker.pick(&wanted);
    assert!(first.is_displaced());
    assert_eq!(worker.numbers(5, &wanted), [number(&first); 5]);
}

#[test]
fn a_session_whose_endpoint_fails_comes_back_to_it() {
    let cluster = cluster(&[1; 4]);
    let wanted = Wanted { session: Some(kept(2)), ..Wanted::default() };
    let mut worker = Worker::new(&cluster);
    worker.fail(2);
    let lease = worker.pick(&wanted);
    assert!(lease.is_displaced() && number(&lease) != 2);
    worker.now = 1_000;
    let lease = worker.pick(&wanted);
    assert!(!lease.is_displaced() && number(&lease) == 2);
}

// What was tried, and what fails.

#[test]
fn what_was_tried_is_not_asked_again() {
    let algorithms = [
        Algorithm::RoundRobin,
        Algorithm::LeastConnections,
        Algorithm::Ewma,
        Algorithm::Hash,
        Algorithm::HashSubset(2),
    ];
    for weights in [[1, 1, 1, 1], [1, 2, 3, 4]] {
        let cluster = cluster(&weights);
        for algorithm in algorithms {
            let mut worker = Worker::new(&cluster);
            let mut tried = Vec::new();
            for _ in weights {
                let lease = worker.pick(&Wanted { tried: &tried, ..hashed(algorithm, 1) });
                assert!(!tried.contains(&lease.id()), "{algorithm:?}");
                tried.push(lease.id());
            }
            assert!(worker.try_pick(&Wanted { tried: &tried, ..hashed(algorithm, 1) }).is_none());
        }
    }
}

#[test]
fn where_all_fail_they_are_asked_all_the_same() {
    let cluster = cluster(&[1, 1]);
    let mut worker = Worker::new(&cluster);
    worker.fail(1);
    worker.fail(2);
    assert_eq!(worker.shares(10, &by(Algorithm::RoundRobin)), [(1, 5), (2, 5)].into());
    worker.pick(&Wanted { session: Some(kept(1)), ..Wanted::default() }).succeeded(Duration::ZERO, 0);
    assert_eq!(worker.shares(10, &by(Algorithm::RoundRobin)), [(1, 10)].into(), "one that answers is up again");
}

#[test]
fn what_fails_is_asked_before_what_was_tried() {
    let cluster = cluster(&[1, 1]);
    let mut worker = Worker::new(&cluster);
    worker.fail(2);
    let tried = [id(&cluster, 1)];
    assert_eq!(worker.numbers(1, &Wanted { tried: &tried, ..Wanted::default() }), [2]);
}

#[test]
fn one_request_at_a_time_probes_what_failed() {
    let cluster = cluster(&[1, 1]);
    let mut worker = Worker::new(&cluster);
    worker.fail(1);
    worker.now = 1_000;
    let probe = worker.pick(&Wanted { session: Some(kept(1)), ..Wanted::default() });
    assert_eq!(number(&probe), 1);
    assert_eq!(worker.shares(10, &by(Algorithm::RoundRobin)), [(2, 10)].into());
    drop(probe);
    let held: Vec<_> = (0..2).map(|_| worker.pick(&by(Algorithm::RoundRobin))).collect();
    assert_eq!(held.iter().filter(|lease| number(lease) == 1).count(), 1, "a probe that told nothing is repeated");
}

#[test]
fn nothing_to_pick_from_an_empty_cluster() {
    assert!(Worker::new(&cluster(&[])).try_pick(&Wanted::default()).is_none());
}

fn any_wanted() -> impl Strategy<Value = Wanted<'static>> {
    let algorithm = prop_oneof![
        Just(Algorithm::RoundRobin),
        Just(Algorithm::LeastConnections),
        Just(Algorithm::Ewma),
        Just(Algorithm::Hash),
        any::<u32>().prop_map(Algorithm::HashSubset),
        (0_u32..4).prop_map(Algorithm::HashSubset),
    ];
    let session = prop_oneof![
        any::<u64>().prop_map(Session::Key),
        any::<u64>().prop_map(Session::Endpoint),
        (1_u32..8).prop_map(kept),
    ];
    let client = proptest::option::of(any::<u32>().prop_map(|client| IpAddr::from(client.to_be_bytes())));
    (algorithm, any::<Option<u64>>(), proptest::option::of(session), client)
        .prop_map(|(algorithm, hash, session, client)| Wanted { algorithm, hash, session, client, tried: &[] })
}

proptest! {
    /// Whatever is wanted: an endpoint that was not tried, one that is up before one that is not, and none only where
    /// all were tried.
    #[test]
    fn every_choice_is_among_the_candidates(
        weights in proptest::collection::vec(1_u32..4, 0..8),
        (failing, tried) in (any::<u8>(), any::<u8>()),
        affinity: bool,
        wanted in proptest::collection::vec(any_wanted(), 1..8),
        lots in proptest::collection::vec(any::<u64>(), 0..8),
        now in any::<u64>(),
    ) {
        let has = |bits: u8, number: u32| bits & (1 << number) != 0;
        let cluster = cluster(&weights);
        if affinity {
            cluster.replace(&endpoints(&weights).with_client_ip_affinity(Duration::from_secs(60)));
        }
        let numbers: Vec<_> = (1..=weights.len() as u32).collect();
        let mut worker = Worker::drawing(&cluster, lots);
        worker.now = now / 2;
        for &number in numbers.iter().filter(|&&number| has(failing, number)) {
            worker.fail(number);
        }
        let ids: Vec<_> =
            numbers.iter().filter(|&&number| has(tried, number)).map(|&number| id(&cluster, number)).collect();
        let up_is_left = numbers.iter().any(|&number| !has(tried, number) && !has(failing, number));
        let any_is_left = numbers.iter().any(|&number| !has(tried, number));
        for wanted in wanted {
            let lease = worker.try_pick(&Wanted { tried: &ids, ..wanted });
            prop_assert_eq!(lease.is_some(), any_is_left);
            if let Some(lease) = lease {
                prop_assert!(!has(tried, number(&lease)));
                prop_assert!(!up_is_left || !has(failing, number(&lease)));
            }
        }
    }
}
