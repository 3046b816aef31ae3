//! Thousands of Ingresses as a busy cluster has them, and what happens to one of them.
//!
//! Application by application: an Ingress with hosts of its own, a Service with two ports, a slice with three endpoints.
//! Each tenth is a canary of the one before it; the others take turns with rewrites, session affinity, aliases, a `www.`
//! twin, timeouts and a second host. Each fiftieth has no endpoints, and a problem because of it. Everything follows from
//! the number of the application, so that two runs measure the same.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serin::{
    api::{
        Endpoint, EndpointConditions, EndpointPort, EndpointSlice, HTTPIngressPath, HTTPIngressRuleValue, Ingress,
        IngressBackend, IngressRule, IngressServiceBackend, IngressSpec, Object, ObjectMeta, SERVICE_NAME, Service,
        ServiceBackendPort, ServicePort, ServiceSpec,
    },
    metrics::{Metrics, Settings},
    pipeline::{Pipeline, Published},
    source::Batch,
    store::Age,
    translate::Options,
};

/// How many applications differ before they repeat.
const KINDS: usize = 10;

/// In how many namespaces they are.
const NAMESPACES: usize = 200;

/// One application of many.
#[derive(Clone, Copy, Debug)]
struct App(usize);

/// What can happen to an application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Its Ingress gets a path more.
    Ingress,
    /// The weight of its canary is another.
    Weight,
    /// One of its endpoints has another address.
    Endpoints,
    /// The port that its Ingress names has another number.
    ServicePort,
    /// Its Ingress gets an annotation that is misspelt.
    Problem,
}

/// A pipeline that has published nothing, and where it will publish.
pub fn pipeline() -> (Pipeline, Arc<Published>) {
    let (metrics, _) = Metrics::new(&Settings::default());
    let published = Arc::new(Published::default());
    (Pipeline::new(Options::default(), published.clone(), metrics, Err("names are not measured".into())), published)
}

/// All objects of `count` applications.
pub fn everything(count: usize) -> Batch {
    let objects = |app: App| {
        [app.ingress(None).into(), app.service(None).into(), app.slice(None).into()].map(|object| (object, app.age()))
    };
    Batch { applied: (0..count).map(App).flat_map(objects).collect(), ..Batch::default() }
}

// === impl Change ===

impl Change {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ingress, Self::Weight, Self::Endpoints, Self::ServicePort, Self::Problem];

    /// Endless batches, of which each changes one object of `count` applications: it happens to an application, is taken
    /// back, happens to another, and so on, through all of them.
    pub fn batches(self, count: usize) -> impl Iterator<Item = Batch> {
        // Not one after the other, which would be kinder to the processor's caches than what happens in a cluster.
        let apps = (0..).map(move |turn: usize| App(turn * 7919 % count)).filter(move |app| self.fits(*app));
        apps.flat_map(move |app| {
            [Some(self), None].map(|change| {
                let object: Object = match self {
                    Self::Ingress | Self::Weight | Self::Problem => app.ingress(change).into(),
                    Self::Endpoints => app.slice(change).into(),
                    Self::ServicePort => app.service(change).into(),
                };
                Batch { applied: vec![(object, app.age())], ..Batch::default() }
            })
        })
    }

    fn fits(self, app: App) -> bool {
        match self {
            Self::Ingress | Self::Problem => true,
            Self::Weight => app.is_canary(),
            Self::Endpoints => app.has_endpoints(),
            // The canary's Ingress names another port only.
            Self::ServicePort => !app.is_canary(),
        }
    }
}

/// How the measurements call it.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "one Ingress",
            Self::Weight => "one canary weight",
            Self::Endpoints => "one EndpointSlice",
            Self::ServicePort => "one Service port",
            Self::Problem => "one problem",
        })
    }
}

// === impl App ===

impl App {
    fn is_canary(self) -> bool {
        self.0 % KINDS == KINDS - 1
    }

    fn has_endpoints(self) -> bool {
        self.0 % 50 != 1
    }

    fn age(self) -> Age {
        Age::listed(format!("{:05}.yaml", self.0), 0)
    }

    /// The hosts of its Ingress. A canary has those of the application before it.
    fn hosts(self) -> Vec<String> {
        let own = self.0 - usize::from(self.is_canary());
        let mut hosts = vec![format!("app-{own}.example")];
        if matches!(own % KINDS, 0 | 7) {
            hosts.push(format!("app-{own}.internal.example"));
        }
        hosts
    }

    fn metadata(self) -> ObjectMeta {
        // A canary is in the namespace of the application before it.
        let namespace = self.0 / KINDS % NAMESPACES;
        ObjectMeta {
            namespace: Some(format!("team-{namespace}")),
            name: Some(format!("app-{}", self.0)),
            labels: Some(texts([("app.kubernetes.io/name", format!("app-{}", self.0))])),
            ..ObjectMeta::default()
        }
    }

    fn annotations(self, change: Option<Change>) -> BTreeMap<String, String> {
        let weight = if change == Some(Change::Weight) { "30" } else { "10" };
        let mut annotations: Vec<(&str, String)> = match self.0 % KINDS {
            2 => vec![("affinity", "cookie".to_owned()), ("session-cookie-name", "app".to_owned())],
            3 => vec![("rewrite-target", "/$2".to_owned())],
            4 => vec![("server-alias", format!("app-{}.alias.example", self.0))],
            5 => vec![("proxy-read-timeout", "120".to_owned()), ("proxy-body-size", "8m".to_owned())],
            6 => vec![("from-to-www-redirect", "true".to_owned())],
            9 => vec![("canary", "true".to_owned()), ("canary-weight", weight.to_owned())],
            _ => Vec::new(),
        };
        if change == Some(Change::Problem) {
            annotations.push(("proxy-read-timout", "5".to_owned()));
        }
        texts(annotations.into_iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), value)))
    }

    fn ingress(self, change: Option<Change>) -> Ingress {
        let number = ServiceBackendPort { number: Some(80), ..ServiceBackendPort::default() };
        let name = ServiceBackendPort { name: Some("api".to_owned()), ..ServiceBackendPort::default() };
        let mut paths = match self.0 % KINDS {
            3 => vec![
                self.path("/shop(/|$)(.*)", "ImplementationSpecific", &number),
                self.path("/api(/|$)(.*)", "ImplementationSpecific", &name),
            ],
            9 => vec![self.path("/", "Prefix", &number)],
            _ => vec![
                self.path("/", "Prefix", &number),
                self.path("/api", "Prefix", &name),
                self.path("/static", "Prefix", &number),
                self.path("/status", "Exact", &number),
            ],
        };
        if change == Some(Change::Ingress) {
            // A path that there is already where it is a canary's.
            paths.push(self.path(if self.is_canary() { "/static" } else { "/more" }, "Prefix", &number));
        }
        let rule = |host| IngressRule { host: Some(host), http: Some(HTTPIngressRuleValue { paths: paths.clone() }) };
        Ingress {
            metadata: ObjectMeta { annotations: Some(self.annotations(change)), ..self.metadata() },
            spec: Some(IngressSpec {
                ingress_class_name: Some("nginx".to_owned()),
                rules: Some(self.hosts().into_iter().map(rule).collect()),
                ..IngressSpec::default()
            }),
            ..Ingress::default()
        }
    }

    fn path(self, path: &str, path_type: &str, port: &ServiceBackendPort) -> HTTPIngressPath {
        let service = IngressServiceBackend { name: format!("app-{}", self.0), port: Some(port.clone()) };
        HTTPIngressPath {
            path: Some(path.to_owned()),
            path_type: path_type.to_owned(),
            backend: IngressBackend { service: Some(service), ..IngressBackend::default() },
        }
    }

    fn service(self, change: Option<Change>) -> Service {
        let api = if change == Some(Change::ServicePort) { 9090 } else { 8080 };
        let ports = [("http", 80), ("api", api)].map(|(name, port)| ServicePort {
            name: Some(name.to_owned()),
            port,
            ..ServicePort::default()
        });
        Service {
            metadata: self.metadata(),
            spec: Some(ServiceSpec { ports: Some(ports.into()), ..ServiceSpec::default() }),
            ..Service::default()
        }
    }

    fn slice(self, change: Option<Change>) -> EndpointSlice {
        let last = if change == Some(Change::Endpoints) { 9 } else { 3 };
        let endpoints = [1, 2, last].map(|pod| Endpoint {
            addresses: vec![format!("10.{}.{}.{pod}", self.0 / 250, self.0 % 250)],
            conditions: Some(EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) }),
            ..Endpoint::default()
        });
        let ports = [("http", 8000), ("api", 8001)].map(|(name, port)| EndpointPort {
            name: Some(name.to_owned()),
            port: Some(port),
            ..EndpointPort::default()
        });
        let metadata = self.metadata();
        let labels = texts([(SERVICE_NAME, format!("app-{}", self.0))]);
        EndpointSlice {
            metadata: ObjectMeta { name: Some(format!("app-{}-x7k2p", self.0)), labels: Some(labels), ..metadata },
            address_type: "IPv4".to_owned(),
            endpoints: self.has_endpoints().then(|| endpoints.into()),
            ports: Some(ports.into()),
        }
    }
}

fn texts<K: Into<String>>(pairs: impl IntoIterator<Item = (K, String)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.into(), value)).collect()
}
