//! Changes tables and endpoints under load, and counts what is lost: nothing.
//!
//! Many keep-alive connections ask at a steady rate, a part of them with bodies; some connections are WebSockets, some idle
//! from the first change to the last. Every answer tells who answered and which version of the route it came through. What is compared:
//!
//! * Each request gets its own answer: its path, or its body, comes back.
//! * No answer comes through a version of the route, or from an endpoint, older than what traffic had shown *before* the
//!   request was sent.
//! * No connection is closed, be it busy, upgraded or idle; frames come back in order.
//!
//! Each change is seen on traffic before the next is made. That the checker can see a loss is shown by a gateway that is
//! restarted under it.

use self::traffic::{ENDPOINTS, Load, Traffic, endpoints_of};
use crate::{
    client::{PATIENCE, Request},
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
};
use serde_json::{Value, json};
use std::{
    io::{self, Write as _},
    time::Duration,
};
use tokio::time::{self, Instant};

mod traffic;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_lose_nothing() {
    let stage = Stage::set().await;
    let before = stage.published().await;
    let load = Load { connections: 64, rate: 2200, sockets: 8, idle: 32 };
    let traffic = Traffic::start(stage.gateway.http, load).await;

    let started = Instant::now();
    for change in 1..=100 {
        stage.change_route_under_load(&traffic, change).await;
        stage.change_endpoints(&traffic, 2 * change - 1).await;
        stage.change_another_route(change).await;
        stage.change_endpoints(&traffic, 2 * change).await;
    }
    let took = started.elapsed();
    let tally = traffic.stop().await;
    let published = stage.published().await - before;

    let rate = tally.answered as f64 / took.as_secs_f64();
    let _ = writeln!(
        io::stdout(),
        "churn: 200 table changes ({published} publishes) and 200 endpoint changes in {took:.1?} under {rate:.0} requests/s: \
         {} answered ({} with bodies), {} frames, {} lost",
        tally.answered,
        tally.with_body,
        tally.frames,
        tally.lost.len()
    );
    assert!(tally.lost.is_empty(), "{} lost:\n{}", tally.lost.len(), tally.lost[..tally.lost.len().min(20)].join("\n"));
    assert!(tally.answered >= 2000 * took.as_secs() as usize, "only {rate:.0} requests/s");
    assert!(tally.with_body * 10 >= tally.answered, "only {} had bodies", tally.with_body);
    assert!(tally.frames > 0);
    assert!(published >= 200, "200 tables were changed, {published} were published");
}

/// What the checker is for: it must notice when connections break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_is_seen_as_loss() {
    let stage = Stage::set().await;
    let load = Load { connections: 8, rate: 400, sockets: 2, idle: 4 };
    let traffic = Traffic::start(stage.gateway.http, load).await;
    stage.change_route_under_load(&traffic, 1).await;
    let Stage { gateway, manifests, endpoints } = stage;
    let address = gateway.http;
    drop(gateway);
    let _restarted = Gateway::start_at(address, manifests.path(), &[]).await;
    let tally = traffic.stop().await;
    drop(endpoints);

    for what in ["request", "socket", "idle"] {
        assert!(tally.lost.iter().any(|loss| loss.starts_with(what)), "no {what} was lost: {:?}", tally.lost);
    }
}

/// A gateway with a route under load and others beside it.
struct Stage {
    gateway: Gateway,
    manifests: Manifests,
    endpoints: Vec<Echo>,
}

// === impl Stage ===

impl Stage {
    async fn set() -> Self {
        let mut endpoints = Vec::new();
        for number in 0..ENDPOINTS {
            endpoints.push(Echo::start(&format!("e{number}")).await);
        }
        let manifests = Manifests::new();
        let service = manifests::service("churn", "web");
        manifests.write_objects("endpoints.json", &manifests::slices(&service, &endpoints[..2]));
        manifests.write_objects("services.json", &[service]);
        manifests.write_objects("under-load.json", &[route("under-load", "load.test", 0)]);
        let gateway = Gateway::start(manifests.path(), &[]).await;
        Self { gateway, manifests, endpoints }
    }

    /// Changes the route that is under load, and waits until traffic shows it.
    async fn change_route_under_load(&self, traffic: &Traffic, version: usize) {
        self.manifests.write_objects("under-load.json", &[route("under-load", "load.test", version)]);
        traffic.state.version.wait_for(version).await;
    }

    /// Puts a host in the place of another, and waits until the new one is served and the old one no more.
    async fn change_another_route(&self, version: usize) {
        let host = |version| format!("h{version}.test");
        self.manifests.write_objects("another.json", &[route("another", &host(version), version)]);
        let mut client = self.gateway.client().await;
        for (host, expected) in [(host(version), 200), (host(version - 1), 404)] {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let answer = client.exchange(&Request::get(&host, "/")).await.expect("the gateway answers");
                if answer.status == expected {
                    break;
                }
                assert!(Instant::now() < deadline, "{host} is answered with {expected}");
                time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// Adds an endpoint and takes one away, and waits until traffic reaches the new one.
    async fn change_endpoints(&self, traffic: &Traffic, generation: usize) {
        traffic.state.made.raise_to(generation);
        let up = endpoints_of(generation).map(|at| &self.endpoints[at]);
        let slices = manifests::slices(&manifests::service("churn", "web"), up);
        self.manifests.write_objects("endpoints.json", &slices);
        traffic.state.generation.wait_for(generation).await;
    }

    /// The number of the table that serves: how many have been published.
    async fn published(&self) -> u64 {
        self.gateway.metric("serin_table_number").await
    }
}

/// A route whose answers tell its version: the endpoint sees it as its host.
fn route(name: &str, host: &str, version: usize) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "namespace": "churn",
            "name": name,
            "annotations": { "nginx.ingress.kubernetes.io/upstream-vhost": format!("v{version}.test") },
        },
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{ "host": host, "http": { "paths": [{
                "path": "/",
                "pathType": "Prefix",
                "backend": { "service": { "name": "web", "port": { "number": 80 } } },
            }] } }],
        },
    })
}
