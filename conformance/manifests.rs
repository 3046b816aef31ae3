//! A directory of manifests that a gateway follows.

use crate::echo::Echo;
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, path::Path};

/// A directory of manifests, deleted on drop.
#[derive(Debug)]
pub(crate) struct Manifests {
    dir: tempfile::TempDir,
}

// === impl Manifests ===

impl Manifests {
    /// Makes a directory that holds the class that objects here name.
    pub(crate) fn new() -> Self {
        let manifests = Self {
            dir: tempfile::Builder::new().prefix("manifests-").tempdir().expect("a temporary directory can be made"),
        };
        manifests.write("class.yaml", &ingress_class().to_string());
        manifests
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in one step, as editors do: nobody sees half of it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let ahead = self.dir.path().join(format!(".{name}.new"));
        fs::write(&ahead, text).expect("the directory can be written to");
        fs::rename(ahead, self.dir.path().join(name)).expect("the directory can be written to");
    }

    /// Writes objects as one `List`.
    pub(crate) fn write_objects(&self, name: &str, objects: &[Value]) {
        self.write(name, &json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
    }
}

/// The class that objects here name.
pub(crate) fn ingress_class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": { "name": "nginx" },
        "spec": { "controller": "k8s.io/ingress-nginx" },
    })
}

/// A Service with port 80, named `http`.
pub(crate) fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }] },
    })
}

/// The slices that give a Service these endpoints: one each, since their ports differ.
pub(crate) fn slices<'a>(service: &Value, endpoints: impl IntoIterator<Item = &'a Echo>) -> Vec<Value> {
    slices_at(service, endpoints.into_iter().map(|endpoint| endpoint.address))
}

/// As [`slices`], for endpoints at these addresses.
pub(crate) fn slices_at(service: &Value, addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<Value> {
    addresses.into_iter().enumerate().map(|(at, address)| slice(service, at, address)).collect()
}

/// A slice with one endpoint. Each port of the Service leads to the endpoint's only one.
pub(crate) fn slice(service: &Value, at: usize, address: SocketAddr) -> Value {
    let name = service["metadata"]["name"].as_str().expect("a Service has a name");
    let ports = service["spec"]["ports"].as_array().expect("a Service has ports");
    let port = |port: &Value| json!({ "name": port["name"], "port": address.port(), "protocol": "TCP" });
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": service["metadata"]["namespace"],
            "name": format!("{name}-{at}"),
            "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [address.ip()], "conditions": { "ready": true } }],
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
    })
}

/// An Ingress that sends everything to a Service.
pub(crate) fn catch_all(service: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": { "namespace": "default", "name": "all" },
        "spec": {
            "ingressClassName": "nginx",
            "defaultBackend": { "service": { "name": service, "port": { "number": 80 } } },
        },
    })
}

/// An Ingress that sends all of a host to a Service.
pub(crate) fn host(host: &str, service: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": { "namespace": "default", "name": host },
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{ "host": host, "http": { "paths": [{
                "path": "/",
                "pathType": "Prefix",
                "backend": { "service": { "name": service, "port": { "number": 80 } } },
            }] } }],
        },
    })
}
