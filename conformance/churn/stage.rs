//! What is under load: the objects, the endpoints behind them, and the changes.

use super::{
    door::Door,
    traffic::{ENDPOINTS, Load, Traffic, endpoints_of},
};
use crate::{
    client::{PATIENCE, Request},
    echo::Echo,
    gateway::Gateway,
    grpc::Probe,
    manifests,
    tls::Trust,
};
use serde_json::{Value, json};
use std::{
    io::{self, Write as _},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::time::{self, Instant};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// As much as two cores bear besides the changes.
const MUCH: Load =
    Load { connections: 64, shared: 8, streams: 8, rate: 2200, sockets: 8, fresh: 4, calls: 8, idle: 32 };

/// Where a gateway reads objects.
pub(crate) trait Objects {
    /// Puts objects in the place of those that were written under this name.
    async fn write(&self, name: &str, objects: &[Value]);
}

/// The objects of a route under load and of others beside it, and the endpoints behind them.
pub(crate) struct Stage<O> {
    pub(super) objects: O,
    pub(super) endpoints: Vec<Echo>,
    /// Endpoints of calls: one at a time is up.
    probes: [Probe; 2],
    pub(super) trust: Arc<Trust>,
}

// === impl Stage ===

impl<O: Objects> Stage<O> {
    /// Writes the objects, with endpoints at an address of this machine.
    pub(crate) async fn set(objects: O, address: IpAddr) -> Self {
        let mut endpoints = Vec::new();
        for number in 0..ENDPOINTS {
            endpoints.push(Echo::start_at((address, 0).into(), &format!("e{number}")).await);
        }
        let service = manifests::service("churn", "web");
        objects.write("endpoints", &manifests::slices(&service, &endpoints[..2])).await;
        objects.write("services", &[service, calls()]).await;
        objects.write("under-load", &[under_load(0)]).await;
        let probes = ["p0", "p1"].map(|name| Probe::start_at((address, 0).into(), name));
        objects.write("probes", &manifests::slices_at(&calls(), [probes[0].address])).await;
        objects.write("calls", &[calls_route()]).await;
        let trust = Arc::new(Trust::new());
        objects.write("certificate", &[certificate(&trust)]).await;
        Self { objects, endpoints, probes, trust }
    }

    /// Makes 200 changes of routes, 200 of endpoints and 50 of the certificate under load, each seen on traffic before the
    /// next is made. Nothing may be lost.
    pub(crate) async fn change_all_under_load(&self, gateway: &Gateway) {
        // The number of the table that serves: how many have been published.
        let before = gateway.metric("serin_table_number").await;
        let traffic = Traffic::start(&[Door::plain(gateway.http), Door::tls(gateway.https, &self.trust)], MUCH).await;

        let started = Instant::now();
        for change in 1..=100 {
            self.change_route_under_load(&traffic, change).await;
            self.change_endpoints(&traffic, 2 * change - 1).await;
            self.change_another_route(gateway, change).await;
            self.change_endpoints(&traffic, 2 * change).await;
            if change % 2 == 0 {
                self.change_certificate(gateway).await;
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
        assert!(
            tally.lost.is_empty(),
            "{} lost:\n{}",
            tally.lost.len(),
            tally.lost[..tally.lost.len().min(20)].join("\n")
        );
        assert!(rate >= 2000.0, "only {rate:.0} requests/s");
        let with_body = tally.with_body as f64 / tally.answered as f64;
        assert!(with_body >= 0.19, "only {:.1} % had bodies", with_body * 100.0);
        assert!(tally.on_streams > tally.answered / 3, "only {} on streams", tally.on_streams);
        assert!(tally.afresh > 0);
        assert!(tally.frames > 0);
        assert!(tally.calls > MUCH.calls, "only {} calls", tally.calls);
        assert!(published >= 200, "200 tables were changed, {published} were published");
    }

    /// Changes the route that is under load, and waits until traffic shows it.
    pub(super) async fn change_route_under_load(&self, traffic: &Traffic, version: usize) {
        self.objects.write("under-load", &[under_load(version)]).await;
        traffic.state.version.wait_for(version).await;
    }

    /// Puts a host in the place of another, and waits until the new one is served and the old one no more.
    pub(super) async fn change_another_route(&self, gateway: &Gateway, version: usize) {
        let host = |version| format!("h{version}.test");
        self.objects.write("another", &[route("another", &host(version), version)]).await;
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
    pub(super) async fn change_certificate(&self, gateway: &Gateway) {
        let secret = certificate(&self.trust);
        let chain = secret["stringData"]["tls.crt"].as_str().expect("it has a certificate");
        let expected = CertificateDer::from_pem_slice(chain.as_bytes()).expect("it is PEM");
        self.objects.write("certificate", std::slice::from_ref(&secret)).await;
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
    pub(super) async fn change_endpoints(&self, traffic: &Traffic, generation: usize) {
        traffic.state.made.raise_to(generation);
        let up = endpoints_of(generation).map(|at| &self.endpoints[at]);
        let slices = manifests::slices(&manifests::service("churn", "web"), up);
        self.objects.write("endpoints", &slices).await;
        let probe = &self.probes[generation % self.probes.len()];
        self.objects.write("probes", &manifests::slices_at(&calls(), [probe.address])).await;
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
