//! Changes tables and endpoints under load, and counts what is lost: nothing.
//!
//! Many keep-alive connections ask at a steady rate, a part of them with bodies, and so do many streams of connections over
//! HTTP/2; some connections are WebSockets, some idle from the first change to the last; some calls of gRPC last as long,
//! others come and go. Where TLS is spoken, half of them come by it, and its certificate is replaced all the time. Every answer tells who answered and which version of the route it came through. What is compared:
//!
//! * Each request gets its own answer: its path, or its body, comes back.
//! * No answer comes through a version of the route, or from an endpoint, older than what traffic had shown *before* the
//!   request was sent.
//! * No connection is closed, be it busy, upgraded or idle; frames come back in order, and so do the notes of a call, all
//!   from one endpoint, though that be taken away meanwhile.
//!
//! Each change is seen on traffic before the next is made. That the checker sees what goes wrong is shown by gateways whose
//! tables and endpoints are published wrongly on purpose, and by one that is restarted under it.

use self::{
    door::Door,
    open::OpenGateway,
    traffic::{ENDPOINTS, Load, Traffic, endpoints_of},
};
use crate::{
    client::{PATIENCE, Request},
    echo::Echo,
    gateway::Gateway,
    grpc::Probe,
    manifests::{self, Manifests},
    tls::Trust,
};
use serde_json::{Value, json};
use serin::upstream::{EndpointSpec, Endpoints};
use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};
use tokio::time::{self, Instant};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

mod calls;
mod door;
mod open;
mod streams;
mod traffic;

/// Enough to notice what is wrong.
const SOME: Load = Load { connections: 8, shared: 2, streams: 4, rate: 400, sockets: 2, fresh: 1, calls: 4, idle: 4 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_lose_nothing() {
    let stage = Stage::set().await;
    let gateway = Gateway::start(stage.manifests.path(), &[]).await;
    // The number of the table that serves: how many have been published.
    let before = gateway.metric("serin_table_number").await;
    let load = Load { connections: 64, shared: 8, streams: 8, rate: 2200, sockets: 8, fresh: 4, calls: 8, idle: 32 };
    let traffic = Traffic::start(&[Door::plain(gateway.http), Door::tls(gateway.https, &stage.trust)], load).await;

    let started = Instant::now();
    for change in 1..=100 {
        stage.change_route_under_load(&traffic, change).await;
        stage.change_endpoints(&traffic, 2 * change - 1).await;
        stage.change_another_route(&gateway, change).await;
        stage.change_endpoints(&traffic, 2 * change).await;
        if change % 2 == 0 {
            stage.change_certificate(&gateway).await;
        }
    }
    let took = started.elapsed();
    let tally = traffic.stop().await;
    let published = gateway.metric("serin_table_number").await - before;

    let rate = tally.answered as f64 / took.as_secs_f64();
    let _ = writeln!(
        io::stdout(),
        "churn: 200 table changes ({published} publishes), 200 endpoint changes and 50 certificates in {took:.1?} under {rate:.0} requests/s: \
         {} answered ({} with bodies, {} on streams, {} on connections of their own), {} frames, {} calls with {} notes, {} lost",
        tally.answered,
        tally.with_body,
        tally.on_streams,
        tally.afresh,
        tally.frames,
        tally.calls,
        tally.notes,
        tally.lost.len()
    );
    assert!(tally.lost.is_empty(), "{} lost:\n{}", tally.lost.len(), tally.lost[..tally.lost.len().min(20)].join("\n"));
    assert!(rate >= 2000.0, "only {rate:.0} requests/s");
    let with_body = tally.with_body as f64 / tally.answered as f64;
    assert!(with_body >= 0.19, "only {:.1} % had bodies", with_body * 100.0);
    assert!(tally.on_streams > tally.answered / 3, "only {} on streams", tally.on_streams);
    assert!(tally.afresh > 0);
    assert!(tally.frames > 0);
    assert!(tally.calls > load.calls, "only {} calls", tally.calls);
    assert!(published >= 200, "200 tables were changed, {published} were published");
}

/// What the checker is for: it must notice where a swap goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_table_that_is_put_back_is_seen() {
    let stage = Stage::set().await;
    let gateway = OpenGateway::start(stage.manifests.path()).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    let former = gateway.published.table.get();
    stage.change_route_under_load(&traffic, 1).await;
    gateway.published.table.replace(former);
    traffic.wait_for_loss().await;

    let lost = traffic.stop().await.lost;
    assert!(lost.iter().all(|loss| loss.ends_with("version 0 after 1")), "{lost:?}");
}

/// It must notice a table that comes before what it names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_published_before_its_clusters_is_seen() {
    let stage = Stage::set().await;
    let gateway = OpenGateway::start(stage.manifests.path()).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    let whole = gateway.published.table.replace(gateway.table_before_its_clusters());
    traffic.wait_for_loss().await;
    gateway.published.table.replace(whole);

    let lost = traffic.stop().await.lost;
    let is_so = |loss: &String| loss.ends_with("status 503") || loss.contains("the service is not available");
    assert!(lost.iter().all(is_so), "{lost:?}");
}

/// It must notice a certificate that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_taken_away_are_seen() {
    let stage = Stage::set().await;
    let gateway = OpenGateway::start(stage.manifests.path()).await;
    let traffic = Traffic::start(&[Door::tls(gateway.https, &stage.trust)], SOME).await;
    gateway.published.certificates.replace(Arc::default());
    traffic.wait_for_loss().await;

    let lost = traffic.stop().await.lost;
    assert!(lost.iter().all(|loss| loss.starts_with("request: no connection")), "{lost:?}");
}

/// It must notice endpoints that are used after they were taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_were_taken_away_and_answer_are_seen() {
    let stage = Stage::set().await;
    let gateway = OpenGateway::start(stage.manifests.path()).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    let former = endpoints_of(0).map(|at| EndpointSpec::new(stage.endpoints[at].address));
    for generation in 1..=2 {
        stage.change_endpoints(&traffic, generation).await;
    }
    gateway.cluster("web").replace(&Endpoints::of(former));
    traffic.wait_for_loss().await;

    let lost = traffic.stop().await.lost;
    assert!(lost.iter().all(|loss| loss.ends_with("answered after generation 2")), "{lost:?}");
}

/// It must notice when connections break, of whichever kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_is_seen_as_loss() {
    let stage = Stage::set().await;
    let gateway = Gateway::start(stage.manifests.path(), &[]).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    stage.change_route_under_load(&traffic, 1).await;
    let address = gateway.http;
    drop(gateway);
    let _restarted = Gateway::start_at(address, stage.manifests.path(), &[]).await;
    let tally = traffic.stop().await;

    for what in ["request", "stream", "socket", "call", "idle"] {
        assert!(tally.lost.iter().any(|loss| loss.starts_with(what)), "no {what} was lost: {:?}", tally.lost);
    }
}

/// The objects of a route under load and of others beside it, and the endpoints behind them.
struct Stage {
    manifests: Manifests,
    endpoints: Vec<Echo>,
    /// Endpoints of calls: one at a time is up.
    probes: [Probe; 2],
    trust: Arc<Trust>,
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
        manifests.write_objects("services.json", &[service, calls()]);
        manifests.write_objects("under-load.json", &[under_load(0)]);
        let probes = ["p0", "p1"].map(Probe::start);
        manifests.write_objects("probes.json", &manifests::slices_at(&calls(), [probes[0].address]));
        manifests.write_objects("calls.json", &[calls_route()]);
        let trust = Arc::new(Trust::new());
        manifests.write_objects("certificate.json", &[certificate(&trust)]);
        Self { manifests, endpoints, probes, trust }
    }

    /// Changes the route that is under load, and waits until traffic shows it.
    async fn change_route_under_load(&self, traffic: &Traffic, version: usize) {
        self.manifests.write_objects("under-load.json", &[under_load(version)]);
        traffic.state.version.wait_for(version).await;
    }

    /// Puts a host in the place of another, and waits until the new one is served and the old one no more.
    async fn change_another_route(&self, gateway: &Gateway, version: usize) {
        let host = |version| format!("h{version}.test");
        self.manifests.write_objects("another.json", &[route("another", &host(version), version)]);
        let mut client = gateway.client().await;
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

    /// Replaces the certificate, and waits until who connects is shown the new one.
    async fn change_certificate(&self, gateway: &Gateway) {
        let secret = certificate(&self.trust);
        let chain = secret["stringData"]["tls.crt"].as_str().expect("it has a certificate");
        let expected = CertificateDer::from_pem_slice(chain.as_bytes()).expect("it is PEM");
        self.manifests.write_objects("certificate.json", std::slice::from_ref(&secret));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let connected = self.trust.connect_offering(gateway.https, "load.test", b"http/1.1").await;
            let connected = connected.expect("the gateway makes the handshake");
            let shown = connected.get_ref().1.peer_certificates().expect("it shows a certificate");
            if shown[0] == expected {
                break;
            }
            assert!(Instant::now() < deadline, "the new certificate is shown");
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Adds an endpoint and takes one away, and waits until traffic reaches the new one.
    async fn change_endpoints(&self, traffic: &Traffic, generation: usize) {
        traffic.state.made.raise_to(generation);
        let up = endpoints_of(generation).map(|at| &self.endpoints[at]);
        let slices = manifests::slices(&manifests::service("churn", "web"), up);
        self.manifests.write_objects("endpoints.json", &slices);
        let probe = &self.probes[generation % self.probes.len()];
        self.manifests.write_objects("probes.json", &manifests::slices_at(&calls(), [probe.address]));
        traffic.state.generation.wait_for(generation).await;
    }
}

/// A new certificate for the hosts under load.
fn certificate(trust: &Trust) -> Value {
    trust.secret("churn", "certificate", &["load.test", "calls.test"])
}

/// Has the certificate serve a host, which goes on to be served without TLS as well.
fn with_tls(mut ingress: Value, host: &str) -> Value {
    ingress["spec"]["tls"] = json!([{ "hosts": [host], "secretName": "certificate" }]);
    ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"] = "false".into();
    ingress
}

/// The Service that calls go to.
fn calls() -> Value {
    let mut service = manifests::service("churn", "calls");
    service["spec"]["ports"][0]["appProtocol"] = "grpc".into();
    service
}

/// A route for calls.
fn calls_route() -> Value {
    let mut ingress = manifests::host("calls.test", "calls");
    ingress["metadata"]["namespace"] = "churn".into();
    ingress["metadata"]["annotations"] = json!({ "nginx.ingress.kubernetes.io/proxy-body-size": "0" });
    with_tls(ingress, "calls.test")
}

/// The route that is under load.
fn under_load(version: usize) -> Value {
    with_tls(route("under-load", "load.test", version), "load.test")
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
