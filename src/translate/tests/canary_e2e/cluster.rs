//! A cluster as ingress-nginx's tests have it: the Services `httpbun` and `httpbun-canary` with an endpoint each, and
//! Ingresses that are applied to it. What is asked goes the whole way: store, translation, decision.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    draw::Given,
    key::ObjectKey,
    problem::{Problem, Reason},
    route::{Forward, NoTrace, Plan, Request, Scheme, affinity, decide},
    source::files,
    store::{Age, Store},
    translate::{Options, Translation, index, translate},
};

/// An IngressClass and the Services.
const GROUND: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: v1
kind: Service
metadata: {namespace: canary, name: httpbun}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: canary, name: httpbun-canary}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
";

/// A cluster, and what follows from its objects.
pub(super) struct Cluster {
    options: Options,
    store: Store,
    /// When each object was applied first.
    ages: BTreeMap<ObjectKey, Age>,
    /// How often something was applied.
    applied: u32,
    translation: Translation,
}

/// A request, by default `GET http://foo/info`.
#[derive(Clone)]
pub(super) struct Ask {
    host: &'static str,
    path: &'static str,
    fields: Vec<(&'static str, String)>,
}

pub(super) fn ask() -> Ask {
    Ask { host: "foo", path: "/info", fields: Vec::new() }
}

/// An Ingress of `foo/info` in YAML.
pub(super) fn ingress(name: &str, service: &str, annotations: &[(&str, &str)]) -> String {
    ingress_of(name, annotations, &rules("foo", &["/info"], service))
}

/// An Ingress without a rule, in YAML.
pub(super) fn catch_all(name: &str, service: &str, annotations: &[(&str, &str)]) -> String {
    let backend = format!("  defaultBackend: {{service: {{name: {service}, port: {{number: 80}}}}}}\n");
    ingress_of(name, annotations, &backend)
}

/// An Ingress with the rest of a spec, in YAML.
pub(super) fn ingress_of(name: &str, annotations: &[(&str, &str)], spec: &str) -> String {
    let mut yaml = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  namespace: canary\n  name: {name}\n  annotations:\n"
    );
    for (name, value) in annotations {
        let quoted = serde_json::to_string(value).unwrap();
        yaml += &format!("    nginx.ingress.kubernetes.io/{name}: {quoted}\n");
    }
    yaml + "    other.example/annotation: \"\"\nspec:\n  ingressClassName: nginx\n" + spec
}

/// The rules of a host with paths to a Service.
pub(super) fn rules(host: &str, paths: &[&str], service: &str) -> String {
    let mut yaml = format!("  rules:\n  - host: {host}\n    http:\n      paths:\n");
    for path in paths {
        let backend = format!("{{service: {{name: {service}, port: {{number: 80}}}}}}");
        yaml += &format!("      - {{path: {path}, pathType: Prefix, backend: {backend}}}\n");
    }
    yaml
}

// === impl Cluster ===

impl Cluster {
    pub(super) fn new() -> Self {
        let options = Options::default();
        let store = Store::new(index(&options));
        let translation = translate(&store.snapshot(), &options);
        let mut cluster = Self { options, store, ages: BTreeMap::new(), applied: 0, translation };
        cluster.apply(GROUND);
        cluster.scale("httpbun", 1);
        cluster.scale("httpbun-canary", 1);
        cluster
    }

    /// A cluster with some Ingresses, applied one after the other.
    pub(super) fn with(ingresses: &[String]) -> Self {
        let mut cluster = Self::new();
        for ingress in ingresses {
            cluster.apply(ingress);
        }
        cluster
    }

    /// Applies manifests. What is there already stays as old as it is.
    pub(super) fn apply(&mut self, manifests: &str) {
        self.applied += 1;
        let loaded = files::parse(&format!("{:04}.yaml", self.applied), manifests.as_bytes(), &[]);
        assert_eq!(loaded.problems, [], "the manifests can be read");
        assert!(!loaded.objects.is_empty());
        for (object, age) in loaded.objects {
            let age = self.ages.entry(object.key()).or_insert(age).clone();
            self.store.apply(object, age);
        }
        self.translation = translate(&self.store.snapshot(), &self.options);
    }

    /// Gives a Service no endpoint or one.
    pub(super) fn scale(&mut self, service: &str, replicas: usize) {
        let endpoints = ["", "{addresses: [10.0.0.1]}"][replicas];
        self.apply(&format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{namespace: canary, name: {service}-1, labels: {{kubernetes.io/service-name: {service}}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{endpoints}]\n"
        ));
    }

    /// The hosts that are served.
    pub(super) fn hosts(&self) -> Vec<String> {
        let served = self.translation.hosts.values().filter(|output| output.table.is_some());
        served.map(|output| output.host.to_string()).collect()
    }

    /// The fields of an Ingress with a problem of this reason.
    pub(super) fn fields_with(&self, reason: Reason, ingress: &str) -> Vec<&str> {
        let object = ObjectKey::ingress("canary", ingress);
        let mine = |problem: &&Problem| problem.reason == reason && problem.object == object;
        self.translation.problems.iter().filter(mine).map(|problem| &*problem.field).collect()
    }

    /// The Service that serves a request, or the answer: of each lot below 100.
    pub(super) fn served(&self, ask: &Ask) -> String {
        let outcomes: BTreeSet<_> = (0..100).map(|lot| self.drawn(ask, lot)).collect();
        outcomes.into_iter().collect::<Vec<_>>().join(" or ")
    }

    /// How many of the lots below `end` the canary serves.
    pub(super) fn hits_of(&self, end: u64) -> usize {
        (0..end).filter(|lot| self.drawn(&ask(), *lot) == "httpbun-canary").count()
    }

    /// The value of the session cookie that the answer to a request sets, where it does.
    pub(super) fn session(&self, ask: &Ask) -> Option<String> {
        self.decided(ask, 0, |_, forward| {
            let plan = forward?.affinity?;
            let mut field = Vec::new();
            affinity::set_cookie(&plan, 0xaa, 0, Scheme::Http, None, &mut field);
            String::from_utf8(field).unwrap().split(';').next().map(str::to_owned)
        })
    }

    fn drawn(&self, ask: &Ask, lot: u64) -> String {
        self.decided(ask, lot, |answer, forward| match forward {
            Some(forward) => forward.side.backend.service.to_string(),
            None => answer,
        })
    }

    /// Decides, and shows the answer of the gateway or how the request is sent on.
    fn decided<T>(&self, ask: &Ask, lot: u64, show: impl FnOnce(String, Option<Forward<'_, Key, Id>>) -> T) -> T {
        let table = self.translation.table();
        let up = |key: &Key| !self.translation.clusters[key].endpoints.is_empty();
        match decide(&table, ask, &mut Given::new([lot]), 0, up, &mut NoTrace) {
            Plan::Forward(forward) => show(String::new(), Some(forward)),
            Plan::Answer(answer) => show(format!("{:?}", answer.why), None),
        }
    }
}

type Key = crate::key::ClusterKey;
type Id = crate::key::RouteId;

// === impl Ask ===

impl Ask {
    pub(super) fn to(self, host: &'static str, path: &'static str) -> Self {
        Self { host, path, ..self }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub(super) fn with_cookie(self, name: &str, value: &str) -> Self {
        self.with("Cookie", &format!("{name}={value}"))
    }
}

impl Request for Ask {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn authority(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn target(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    fn client(&self) -> IpAddr {
        [192, 0, 2, 7].into()
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn port(&self) -> u16 {
        80
    }

    fn server_name(&self) -> Option<&[u8]> {
        None
    }

    fn request_id(&self) -> &[u8] {
        b"0123456789abcdef0123456789abcdef"
    }
}
