//! A change costs what it can reach, however much there is besides.

use std::net::SocketAddr;

use serin::{
    pipeline::Published,
    store::Store,
    translate::{self, Options},
};

use crate::{
    counting::allocations_of,
    population::{Change, everything, pipeline},
};

const INGRESSES: usize = 10_000;

/// How often each kind of change happens.
const TURNS: usize = 40;

/// Storing, translating and publishing one change is held against translating everything and nothing else.
#[test]
fn one_change_among_10_000_ingresses_costs_at_most_2_percent_of_all() {
    let all = allocations_of_translation(INGRESSES);
    for (change, costs) in allocations_of_changes(INGRESSES) {
        let most = costs.iter().copied().max().expect("there are turns");
        eprintln!("{change}: {:.1} allocations, {most} at most, of {all} for all", mean(&costs));
        assert!(most * 50 <= all, "{change}: {most} allocations of {all}");
    }
}

/// A cost that grows with everything can hide for long behind a share of everything.
#[test]
fn a_change_costs_the_same_among_few_and_among_many() {
    let few = allocations_of_changes(INGRESSES / 20);
    for ((change, few), (_, many)) in few.iter().zip(allocations_of_changes(INGRESSES)) {
        let (few, many) = (mean(few), mean(&many));
        eprintln!("{change}: {few:.1} allocations among few, {many:.1} among many");
        assert!(many <= few * 1.5 + 20.0, "{change}: {few} allocations among few, {many} among many");
    }
}

/// What is measured is worth it: after each change something else is published than before.
#[test]
fn each_change_is_one() {
    let (mut pipeline, published) = pipeline();
    pipeline.apply([everything(100)]);
    let mut former = seen(&published);
    for change in Change::ALL {
        for (turn, batch) in change.batches(100).take(TURNS).enumerate() {
            pipeline.apply([batch]);
            let now = seen(&published);
            assert_ne!(former, now, "{change}, turn {turn}");
            former = now;
        }
    }
}

/// The table's number, all endpoints in the order of their clusters, and how many problems there are.
fn seen(published: &Published) -> (u64, Vec<SocketAddr>, usize) {
    let clusters = published.clusters.get();
    let endpoints = clusters.values().flat_map(|cluster| cluster.snapshot(0).endpoints);
    let addresses = endpoints.map(|endpoint| endpoint.address).collect();
    (published.table.load().number, addresses, published.problems.load().len())
}

/// What the translation of everything allocates: from stored objects to routes, clusters and problems.
fn allocations_of_translation(ingresses: usize) -> u64 {
    let options = Options::default();
    let mut store = Store::new(translate::index(&options));
    for (object, age) in everything(ingresses).applied {
        store.apply(object, age);
    }
    let mut translation = None;
    let allocations = allocations_of(|| translation = Some(translate::translate(&store.snapshot(), &options)));
    let hosts = translation.map_or(0, |translation| translation.hosts.len());
    assert!(hosts >= ingresses * 9 / 10, "{hosts} hosts are less than there must be");
    allocations
}

/// What each kind of change allocates, time after time.
fn allocations_of_changes(ingresses: usize) -> Vec<(Change, Vec<u64>)> {
    let (mut pipeline, _) = pipeline();
    pipeline.apply([everything(ingresses)]);
    let mut measure = |change: Change| {
        let batches = change.batches(ingresses).take(TURNS);
        (change, batches.map(|batch| allocations_of(|| pipeline.apply([batch]))).collect())
    };
    Change::ALL.map(&mut measure).into()
}

fn mean(costs: &[u64]) -> f64 {
    costs.iter().sum::<u64>() as f64 / costs.len() as f64
}
