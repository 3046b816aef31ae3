//! Certificates in a running gateway: from files, by name, replaced under open connections.

use crate::{
    client::{Client, PATIENCE, Request},
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
    tls::Trust,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{self, Instant};

const HOST: &str = "shop.example";

/// A gateway in front of one endpoint, with a certificate for its host.
struct Stage {
    manifests: Manifests,
    trust: Trust,
    gateway: Gateway,
    _endpoint: Echo,
}

// === impl Stage ===

impl Stage {
    async fn set() -> Self {
        let (manifests, trust, endpoint) = (Manifests::new(), Trust::new(), Echo::start("a").await);
        let service = manifests::service("shop", "a");
        let mut objects = manifests::slices(&service, [&endpoint]);
        objects.push(service);
        objects.push(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": {
                "ingressClassName": "nginx",
                "tls": [{ "hosts": [HOST], "secretName": "cert" }],
                "rules": [{
                    "host": HOST,
                    "http": { "paths": [{
                        "path": "/",
                        "pathType": "Prefix",
                        "backend": { "service": { "name": "a", "port": { "number": 80 } } },
                    }] },
                }],
            },
        }));
        manifests.write_objects("web.json", &objects);
        let stage =
            Self { gateway: Gateway::start(manifests.path(), &[]).await, manifests, trust, _endpoint: endpoint };
        stage.write(&stage.trust.secret("shop", "cert", &[HOST]));
        stage.wait_for(|shown| shown.len() == 2).await;
        stage
    }

    fn write(&self, secret: &Value) {
        self.manifests.write_objects("secret.json", std::slice::from_ref(secret));
    }

    /// What `/debug/certificates` tells.
    async fn shown(&self) -> Vec<Value> {
        let answer = self.gateway.admin("/debug/certificates").await;
        let text = String::from_utf8(answer.body).expect("JSON is text");
        assert!(!text.contains("PRIVATE"), "no key is shown");
        serde_json::from_str(&text).expect("it is JSON")
    }

    async fn wait_for(&self, is_so: impl Fn(&[Value]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.shown().await) {
            assert!(Instant::now() < deadline, "{:?}", self.shown().await);
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn client(&self) -> Client {
        Client::connect_by_tls(self.gateway.https, HOST, &self.trust).await.expect("the certificate is trusted")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_replaced_under_open_connections_and_a_broken_one_changes_nothing() {
    let stage = Stage::set().await;
    let ask = Request::get(HOST, "/");
    let mut open = stage.client().await;
    assert_eq!(open.exchange(&ask).await.expect("it is served").status, 200);

    let fingerprint = |shown: &[Value]| shown[1]["certificates"][0]["fingerprint"].clone();
    let first = fingerprint(&stage.shown().await);
    stage.write(&stage.trust.secret("shop", "cert", &[HOST]));
    stage.wait_for(|shown| fingerprint(shown) != first).await;
    let second = fingerprint(&stage.shown().await);
    assert_eq!(stage.client().await.exchange(&ask).await.expect("it is served").status, 200);

    let mut broken = stage.trust.secret("shop", "cert", &[HOST]);
    broken["stringData"]["tls.key"] = "garbage".into();
    stage.write(&broken);
    let deadline = Instant::now() + PATIENCE;
    let problems = loop {
        let problems = String::from_utf8(stage.gateway.admin("/debug/problems").await.body).expect("JSON is text");
        if problems.contains("InvalidCertificate") {
            break problems;
        }
        assert!(Instant::now() < deadline, "the broken Secret is told of");
        time::sleep(Duration::from_millis(5)).await;
    };
    assert!(problems.contains("Secret shop/cert"), "{problems}");
    assert_eq!(fingerprint(&stage.shown().await), second);
    assert_eq!(stage.client().await.exchange(&ask).await.expect("it is served").status, 200);
    assert_eq!(open.exchange(&ask).await.expect("the first connection goes on").status, 200);
    assert_eq!(stage.gateway.metric("nginx_ingress_controller_ssl_certificate_info").await, 1);
}
