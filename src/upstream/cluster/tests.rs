//! What outlives a change of the endpoints, and what does not.

use std::{num::NonZeroU32, sync::Barrier, thread, time::Duration};

use super::*;
use crate::{
    draw::{Given, Random},
    key::PortRef,
    upstream::Algorithm,
};

fn cluster(numbers: impl IntoIterator<Item = u8>) -> Arc<Cluster> {
    let cluster = Cluster::new(ClusterKey::new("shop", "web", PortRef::Number(80)));
    cluster.replace(&endpoints(numbers));
    cluster
}

fn endpoints(numbers: impl IntoIterator<Item = u8>) -> Endpoints {
    Endpoints::of(numbers.into_iter().map(|number| address(number).into()))
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

fn pick(cluster: &Cluster) -> Lease {
    cluster.pick(&Wanted::default(), &mut Positions::new(), &mut Given::new([0]), 0).unwrap()
}

/// What is known of the endpoint with an address.
fn endpoint(cluster: &Cluster, number: u8) -> EndpointSnapshot {
    let snapshot = cluster.snapshot(0);
    snapshot.endpoints.into_iter().find(|endpoint| endpoint.address == address(number)).unwrap()
}

#[test]
fn an_address_that_stays_keeps_what_is_known_of_it() {
    let cluster = cluster([1, 2]);
    let mut failing = pick(&cluster);
    failing.succeeded(Duration::from_millis(7), 0);
    failing.failed(0);
    let before = endpoint(&cluster, 1);
    assert_eq!((before.in_flight, before.latency_us, before.failures), (1, 7_000, 1));
    assert_eq!(before.state, EndpointState::PassedOver { for_ms: 1_000 });
    cluster.replace(&endpoints([1, 3]));
    assert_eq!(endpoint(&cluster, 1), before);
    drop(failing);
    assert_eq!(endpoint(&cluster, 1).in_flight, 0);
}

#[test]
fn another_weight_is_no_other_endpoint() {
    let cluster = cluster([1, 2]);
    let before = endpoint(&cluster, 1);
    let heavy = EndpointSpec { weight: NonZeroU32::new(3).unwrap(), ..address(1).into() };
    cluster.replace(&Endpoints::of([heavy, address(2).into()]));
    assert_eq!(endpoint(&cluster, 1), EndpointSnapshot { weight: 3, ..before });
}

#[test]
fn another_protocol_is_no_other_endpoint() {
    let cluster = cluster([1, 2]);
    assert_eq!(cluster.protocol(), None);
    let before = endpoint(&cluster, 1);
    cluster.replace(&endpoints([1, 2]).with_protocol(Some(Transport::H2C)));
    assert_eq!(cluster.protocol(), Some(Transport::H2C));
    assert_eq!(endpoint(&cluster, 1), before);
    cluster.replace(&endpoints([1, 2]));
    assert_eq!(cluster.protocol(), None, "the Service says nothing any more");
}

#[test]
fn a_removed_endpoint_gets_nothing_new_and_what_is_in_flight_finishes() {
    let cluster = cluster([1, 2]);
    let mut lease = pick(&cluster);
    assert_eq!(lease.address(), address(1));
    cluster.replace(&endpoints([2]));
    assert!(lease.endpoint().is_removed());
    for _ in 0..10 {
        assert_eq!(pick(&cluster).address(), address(2));
    }
    lease.succeeded(Duration::ZERO, 0);
    assert_eq!(lease.endpoint().in_flight(), 1);
    assert!(!pick(&cluster).endpoint().is_removed());
}

#[test]
fn an_address_that_comes_back_is_another_endpoint() {
    let cluster = cluster([1]);
    let former = pick(&cluster);
    cluster.replace(&Endpoints::default());
    assert!(!cluster.is_up() && cluster.is_empty());
    cluster.replace(&endpoints([1]));
    let lease = pick(&cluster);
    assert!(former.endpoint().is_removed() && !lease.endpoint().is_removed());
    assert_ne!(former.id(), lease.id());
    assert_eq!(former.endpoint().tag(), lease.endpoint().tag(), "sessions find it all the same");
}

#[test]
fn endpoints_of_a_dropped_cluster_are_removed() {
    let cluster = cluster([1]);
    let lease = pick(&cluster);
    drop(cluster);
    assert!(lease.endpoint().is_removed());
}

#[test]
fn equal_endpoints_change_nothing() {
    let cluster = cluster([1, 2]);
    let set = cluster.set.get();
    cluster.replace(&endpoints([2, 1]));
    assert!(Arc::ptr_eq(&set, &cluster.set.get()));
    cluster.replace(&endpoints([2, 1]).with_client_ip_affinity(Duration::from_secs(5)));
    assert!(!Arc::ptr_eq(&set, &cluster.set.get()));
}

#[test]
fn a_name_without_a_resolver_has_no_endpoint() {
    let cluster = cluster([1]);
    cluster.replace(&Endpoints::named("db.example", 5432));
    assert!(!cluster.is_up());
}

#[test]
fn a_name_that_nothing_resolves_says_why() {
    let key = ClusterKey::new("shop", "db", PortRef::Number(80));
    let cluster = Cluster::without_resolver(key, "/etc/resolv.conf is not there".into());
    let resolution = || cluster.snapshot(0).name.and_then(|name| name.resolution);
    cluster.replace(&Endpoints::named("db.example", 5432));
    assert_eq!(resolution().as_deref(), Some("/etc/resolv.conf is not there"));
    cluster.replace(&Endpoints::of([address(1).into()]));
    assert!(cluster.is_up() && resolution().is_none());
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let name = |name: &str| ExternalName { name: name.into(), port: 80 };
    let answer = || Outcome::failed("no server");
    let cluster = cluster([1]);
    cluster.resolved(&name("old.example"), &[address(9).ip()], &answer());
    assert_eq!(pick(&cluster).address(), address(1));
    cluster.replace(&Endpoints::named("new.example", 80));
    cluster.resolved(&name("old.example"), &[address(9).ip()], &answer());
    assert!(!cluster.is_up());
    cluster.resolved(&name("new.example"), &[address(9).ip()], &answer());
    assert_eq!(pick(&cluster).address(), address(9));
}

#[test]
fn all_endpoints_may_be_passed_over_and_the_cluster_is_up() {
    let cluster = cluster([1]);
    pick(&cluster).failed(0);
    assert!(cluster.is_up());
}

#[test]
fn a_snapshot_says_what_an_operator_asks() {
    let cluster = cluster([1, 2]);
    let mut lease = pick(&cluster);
    assert!(lease.failed(0), "the first failure passes the endpoint over");
    assert!(!lease.failed(0), "the next is the same trouble");
    let mut snapshot = serde_json::to_value(cluster.snapshot(250)).unwrap();
    for endpoint in snapshot["endpoints"].as_array_mut().unwrap() {
        endpoint.as_object_mut().unwrap().remove("id");
    }
    let expected = serde_json::json!({
        "cluster": "shop/web:80",
        "endpoints": [
            {
                "address": "10.0.0.1:80",
                "weight": 1,
                "in_flight": 1,
                "latency_us": 0,
                "state": { "passed-over": { "for_ms": 750 } },
                "failures": 1,
            },
            { "address": "10.0.0.2:80", "weight": 1, "in_flight": 0, "latency_us": 0, "state": "up", "failures": 0 },
        ],
    });
    assert_eq!(snapshot, expected);
}

/// Four workers pick and report by all algorithms while the endpoints change under them.
#[test]
fn nothing_is_in_flight_when_all_workers_are_done() {
    const WORKERS: usize = 4;
    let cluster = cluster(1..=4);
    let start = Barrier::new(WORKERS + 1);
    let seen: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(|| work(&cluster, &start))).collect();
        start.wait();
        for round in 0..200_u8 {
            cluster.replace(&endpoints((1..=6).filter(|number| number % 3 != round % 3)));
        }
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(seen.iter().all(|endpoint| endpoint.in_flight() == 0));
    // No probe was lost either: whoever failed is up, or due at some time.
    assert!(seen.iter().all(|endpoint| endpoint.health.state(0) != EndpointState::Probed));
}

/// Picks and reports many times; returns the endpoints that were seen.
fn work(cluster: &Cluster, start: &Barrier) -> Vec<Arc<crate::upstream::Endpoint>> {
    const ALGORITHMS: [Algorithm; 5] = [
        Algorithm::RoundRobin,
        Algorithm::LeastConnections,
        Algorithm::Ewma,
        Algorithm::Hash,
        Algorithm::HashSubset(2),
    ];
    let (mut positions, mut draw) = (Positions::new(), Random::new());
    let mut seen: Vec<Arc<crate::upstream::Endpoint>> = Vec::new();
    let mut held = Vec::new();
    start.wait();
    for now in 0..5_000 {
        let algorithm = ALGORITHMS[now as usize % ALGORITHMS.len()];
        let wanted = Wanted { algorithm, hash: Some(now), ..Wanted::default() };
        let mut lease = cluster.pick(&wanted, &mut positions, &mut draw, now).expect("there are always endpoints");
        if !seen.iter().any(|endpoint| endpoint.id() == lease.id()) {
            seen.push(lease.endpoint().clone());
        }
        match draw.below(4) {
            0 => drop(lease),
            1 => {
                lease.failed(now);
            }
            _ => {
                lease.succeeded(Duration::from_micros(now), now);
                held.push(lease);
            }
        }
        if held.len() > 8 {
            held.clear();
        }
    }
    seen
}
