//! Which endpoint is next: what a route and its Service ask for is what the endpoints see.

use std::{collections::BTreeSet, time::Duration};

use super::harness::*;
use crate::{
    route::Algorithm,
    upstream::{EndpointSpec, Endpoints},
};

/// Far slower than an answer on loopback takes.
const SLOW: Duration = Duration::from_millis(300);

/// Says who it is, after a while.
fn named(name: &'static str, delay: Duration) -> Endpoint {
    Endpoint::run(move |_, mut line| {
        while line.read().is_some() {
            pause(delay);
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
        }
    })
}

#[test]
fn a_slow_endpoint_is_asked_less_where_answer_times_count_and_in_turn_where_requests_in_flight_do() {
    for (algorithm, least, most) in [(Algorithm::Ewma, 0, 1), (Algorithm::LeastConnections, 2, 6)] {
        let (slow, quick) = (named("slow", SLOW), named("quick", Duration::ZERO));
        let gateway = Gateway::with(Setup { algorithm, ..Setup::default() }, &[&slow, &quick]);
        // One after the other: nothing is in flight when the next comes.
        let count = (0..6).filter(|_| gateway.get("/").text() == "slow").count();
        assert!((least..=most).contains(&count), "{algorithm:?}: {count} of 6");
    }
}

#[test]
fn a_client_comes_back_to_its_endpoint_where_the_service_asks_for_it() {
    let endpoints = ["a", "b", "c"].map(|name| named(name, Duration::ZERO));
    let gateway = Gateway::to(&endpoints.each_ref());
    let served = || (0..9).map(|_| gateway.get("/").text().to_owned()).collect::<BTreeSet<_>>().len();
    assert_eq!(served(), 3, "in turn");
    let specs = endpoints.each_ref().map(|endpoint| EndpointSpec::new(endpoint.address));
    gateway.cluster.replace(&Endpoints::of(specs).with_client_ip_affinity(Duration::from_secs(60)));
    assert_eq!(served(), 1, "the address of the client decides");
}
