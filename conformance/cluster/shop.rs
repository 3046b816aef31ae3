//! A shop in a cluster: the objects that the tests here begin with, and the ways to see what a gateway makes of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time};

use crate::{
    client::{Client, Request},
    control_plane::{ControlPlane, User, eventually},
    echo::Echo,
    gateway::Gateway,
    manifests,
};

/// A cluster in which the user `serin` may read what a gateway needs, with a class and two Services, `stable` and `canary`,
/// of one endpoint each.
pub(crate) struct Shop {
    pub(crate) control_plane: ControlPlane,
    _endpoints: [Echo; 2],
}

/// Requests, one after another on each of some connections, that must all be answered.
pub(crate) struct Load {
    stopped: Arc<AtomicBool>,
    clients: JoinSet<Asked>,
}

#[derive(Default)]
struct Asked {
    answered: usize,
    lost: Vec<String>,
}

// === impl Shop ===

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_in(ControlPlane::start().await).await
    }

    pub(crate) async fn open_in(control_plane: ControlPlane) -> Self {
        let kinds = ["ingresses", "ingressclasses", "services", "endpointslices", "secrets", "namespaces"];
        let rules = json!([{ "apiGroups": ["*"], "resources": kinds, "verbs": ["list", "watch"] }]);
        control_plane.grant(User::Serin, rules).await.expect("these are rules");
        let stable = Echo::start_at(pod(1), "stable").await;
        let canary = Echo::start_at(pod(2), "canary").await;
        let shop = Self { control_plane, _endpoints: [stable, canary] };
        shop.apply(&manifests::ingress_class()).await;
        for (name, number) in [("stable", 1), ("canary", 2)] {
            let service = manifests::service("default", name);
            shop.apply(&manifests::slice(&service, 0, pod(number))).await;
            shop.apply(&service).await;
        }
        shop
    }

    pub(crate) async fn apply(&self, object: &Value) {
        self.control_plane.apply(object).await.expect("it can be applied");
    }

    pub(crate) async fn delete(&self, object: &Value) {
        self.control_plane.delete(object).await.expect("it can be deleted");
    }
}

/// Where a pod listens.
pub(crate) fn pod(number: u8) -> SocketAddr {
    ([10, 244, 1, number], 8080).into()
}

/// The Ingress of a host, as [`manifests::host`], with annotations of ingress-nginx.
pub(crate) fn annotated(mut ingress: Value, annotations: &[(&str, &str)]) -> Value {
    let annotations = annotations.iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), *value));
    ingress["metadata"]["annotations"] = annotations.map(|(name, value)| (name, Value::from(value))).collect();
    ingress
}

/// A canary of a host, which sends a share of the requests to the Service `canary`.
pub(crate) fn canary(host: &str, weight: u8) -> Value {
    let mut ingress = manifests::host(host, "canary");
    ingress["metadata"]["name"] = "canary".into();
    annotated(ingress, &[("canary", "true"), ("canary-weight", &weight.to_string())])
}

/// An Ingress that serves its host with the certificate of a Secret, and without TLS as well.
pub(crate) fn with_tls(mut ingress: Value, secret: &str) -> Value {
    let host = ingress["spec"]["rules"][0]["host"].clone();
    ingress["spec"]["tls"] = json!([{ "hosts": [host], "secretName": secret }]);
    annotated(ingress, &[("ssl-redirect", "false")])
}

/// A namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}

/// Puts an object into another namespace.
pub(crate) fn within(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

/// Waits until a host is answered by a Service's endpoint; until it is not found, where that is none.
pub(crate) async fn until_served(gateway: &Gateway, host: &str, by: Option<&str>) {
    let mut client = gateway.client().await;
    let what = format!("{host} is served by {by:?}");
    eventually(&what, async || {
        let answer = client.exchange(&Request::get(host, "/")).await.expect("the gateway answers");
        if answer.closes() {
            client = gateway.client().await;
        }
        (answer.backend() == by && (by.is_some() || answer.status == 404)).then_some(())
    })
    .await;
}

/// Waits until `/debug/problems` tells of an object.
pub(crate) async fn until_told(gateway: &Gateway, object: &str, reason: &str) {
    eventually(&format!("{object} has a problem {reason}"), async || {
        let answer = gateway.admin("/debug/problems").await;
        let problems: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
        let is_it = |problem: &Value| problem["object"] == object && problem["reason"] == reason;
        problems.as_array()?.iter().any(is_it).then_some(())
    })
    .await;
}

// === impl Load ===

impl Load {
    /// Starts to ask a gateway for a host.
    pub(crate) fn start(gateway: &Gateway, host: &'static str) -> Self {
        let (stopped, mut clients) = (Arc::<AtomicBool>::default(), JoinSet::new());
        for _ in 0..8 {
            clients.spawn(ask(gateway.http, host, stopped.clone()));
        }
        Self { stopped, clients }
    }

    /// Stops, and tells how many were answered: all.
    pub(crate) async fn stop(self) -> usize {
        self.stopped.store(true, Ordering::Relaxed);
        let asked = self.clients.join_all().await;
        let lost: Vec<_> = asked.iter().flat_map(|asked| &asked.lost).collect();
        assert!(lost.is_empty(), "{} were lost: {:?}", lost.len(), &lost[..lost.len().min(10)]);
        asked.iter().map(|asked| asked.answered).sum()
    }
}

async fn ask(address: SocketAddr, host: &str, stopped: Arc<AtomicBool>) -> Asked {
    let mut asked = Asked::default();
    let mut kept = None;
    while !stopped.load(Ordering::Relaxed) {
        let mut client = match kept.take() {
            Some(client) => client,
            None => match Client::connect(address).await {
                Ok(client) => client,
                Err(error) => {
                    asked.lost.push(error.to_string());
                    continue;
                }
            },
        };
        match client.exchange(&Request::get(host, "/")).await {
            Ok(answer) if answer.status == 200 => {
                asked.answered += 1;
                kept = (!answer.closes()).then_some(client);
            }
            Ok(answer) => asked.lost.push(format!("{} {:?}", answer.status, String::from_utf8_lossy(&answer.body))),
            Err(error) => asked.lost.push(error.to_string()),
        }
        time::sleep(Duration::from_millis(4)).await;
    }
    asked
}
