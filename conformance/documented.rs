//! Serves manifests as the documentation of Kubernetes and of ingress-nginx describes them, and holds the answers to it.
//!
//! `documented/<whose>/<case>.yaml` is what `kubectl apply` takes, but for the endpoints: each Service gets one that is
//! started here (or several, where `endpoints` says so). `<case>.expect.yaml` beside it says what is asked and answered.

use crate::{
    client::{Answer, Request},
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
    pattern::fits,
};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What is expected of one case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectations {
    /// What the documentation says, and where we differ on purpose.
    #[expect(dead_code, reason = "for those who read the file")]
    about: String,
    /// How many endpoints a Service has: one, unless it stands here.
    #[serde(default)]
    endpoints: BTreeMap<String, usize>,
    /// How many more it has at whose port nobody listens.
    #[serde(default)]
    gone: BTreeMap<String, usize>,
    exchanges: Vec<Exchange>,
}

/// A request and its answer. Where a value has a `*`, anything may stand there; `{http}` is the gateway's port. In a header
/// that is sent, `{n}` is the number of the request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// The method and the URL.
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body_bytes: Option<usize>,

    #[serde(default = "ok")]
    status: u16,
    /// The Service that answers; where it is absent, none must.
    backend: Option<String>,
    /// Headers of the answer; where one is `absent`, it must not be there.
    #[serde(default)]
    answer: BTreeMap<String, String>,
    /// What the endpoint saw: `uri`, and headers.
    #[serde(default)]
    saw: BTreeMap<String, String>,
    /// How often it is asked; each answer is as expected.
    #[serde(default = "once")]
    times: usize,
    /// How many percent of the answers come from which Service, instead of `backend`; within four standard deviations.
    #[serde(default)]
    shares: BTreeMap<String, f64>,
    /// Whether the endpoint that answered first answers always, when from then on no headers are sent but its cookies and
    /// `later`.
    #[serde(default)]
    sticks: bool,
    #[serde(default)]
    later: BTreeMap<String, String>,
    /// Whether several endpoints answer.
    #[serde(default)]
    spreads: bool,
    /// Whether any of the answers sets a cookie.
    sets_cookies: Option<bool>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behaves_as_documented() {
    let mut faults = Vec::new();
    for case in cases() {
        let stage = Stage::set(&case).await;
        for exchange in &stage.expectations.exchanges {
            for fault in stage.faults(exchange).await {
                faults.push(format!("{}: {} {:?}: {fault}", case.display(), exchange.request, exchange.headers));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}\n", faults.len(), faults.join("\n"));
}

#[test]
fn each_expectation_has_manifests_and_each_manifest_expectations() {
    let mut stems = BTreeMap::<_, usize>::new();
    for file in files() {
        let stem = file.to_string_lossy().replace(".expect.yaml", "").replace(".yaml", "");
        *stems.entry(stem).or_default() += 1;
    }
    let alone: Vec<_> = stems.iter().filter(|stem| *stem.1 != 2).collect();
    assert!(alone.is_empty(), "{alone:?}");
    assert!(stems.len() >= 30, "only {} cases", stems.len());
}

fn ok() -> u16 {
    200
}

fn once() -> usize {
    1
}

/// The manifests of each case.
fn cases() -> Vec<PathBuf> {
    files().into_iter().filter(|path| !path.to_string_lossy().ends_with(".expect.yaml")).collect()
}

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/documented");
    let mut files = Vec::new();
    for whose in ["kubernetes", "ingress-nginx"] {
        for entry in fs::read_dir(root.join(whose)).expect("the directory is there") {
            files.push(entry.expect("the directory can be listed").path());
        }
    }
    files.sort();
    files
}

/// A gateway that serves a case, and the endpoints behind it.
struct Stage {
    expectations: Expectations,
    gateway: Gateway,
    _endpoints: Vec<Echo>,
    _manifests: Manifests,
}

// === impl Stage ===

impl Stage {
    async fn set(case: &Path) -> Self {
        let text = fs::read_to_string(case.with_extension("expect.yaml")).expect("a case has expectations");
        let expectations: Expectations =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        let text = fs::read_to_string(case).expect("the case can be read");
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", case.display()));

        let mut endpoints = Vec::new();
        let mut slices = Vec::new();
        for service in objects.iter().filter(|object| object["kind"] == "Service") {
            let name = service["metadata"]["name"].as_str().expect("a Service has a name");
            let mut of_service = Vec::new();
            for number in 1..=expectations.endpoints.get(name).copied().unwrap_or(1) {
                of_service.push(Echo::start(&format!("{name}@{number}")).await);
            }
            let gone = expectations.gone.get(name).copied().unwrap_or(0);
            of_service.extend((0..gone).map(|_| Echo::absent(name)));
            slices.extend(manifests::slices(service, &of_service));
            endpoints.extend(of_service);
        }

        let manifests = Manifests::new();
        manifests.write("case.yaml", &text);
        manifests.write_objects("slices.json", &slices);
        let gateway = Gateway::start(manifests.path(), &[]).await;
        Self { expectations, gateway, _endpoints: endpoints, _manifests: manifests }
    }

    /// How the answers to an exchange differ from what is expected.
    async fn faults(&self, exchange: &Exchange) -> BTreeSet<String> {
        let mut client = self.gateway.client().await;
        let mut request = exchange.to_send(0);
        let mut faults = BTreeSet::new();
        let mut counts = BTreeMap::<String, usize>::new();
        let mut endpoints = BTreeSet::new();
        let mut first = None;
        let mut cookies = 0;
        for number in 0..exchange.times {
            if !(exchange.sticks && number > 0) {
                request = exchange.to_send(number);
            }
            let answer = match client.exchange(&request).await {
                Ok(answer) => answer,
                Err(error) => {
                    faults.insert(format!("no answer: {error}"));
                    return faults;
                }
            };
            faults.extend(self.faults_of(exchange, &answer));
            if answer.closes() {
                client = self.gateway.client().await;
            }
            if let Some(service) = service_of(&answer) {
                *counts.entry(service.into()).or_default() += 1;
            }
            endpoints.extend(answer.backend().map(str::to_owned));
            cookies += answer.head.field_values("set-cookie").count();
            if exchange.sticks {
                let endpoint = answer.backend().map(str::to_owned);
                if *first.get_or_insert_with(|| endpoint.clone()) != endpoint {
                    faults.insert(format!("{first:?} answered first, {endpoint:?} later"));
                }
                for cookie in answer.head.field_values("set-cookie") {
                    let pair = cookie.split(';').next().expect("there is a first part");
                    request.fields = vec![("Cookie".into(), pair.into())];
                }
                request.fields.retain(|field| field.0 == "Cookie");
                request.fields.extend(exchange.later.clone());
            }
        }
        if exchange.spreads && endpoints.len() < 2 {
            faults.insert(format!("only {endpoints:?} answered"));
        }
        if exchange.sets_cookies.is_some_and(|sets| sets != (cookies > 0)) {
            faults.insert(format!("{cookies} cookies were set"));
        }
        for (service, percent) in &exchange.shares {
            let (draws, share) = (exchange.times as f64, percent / 100.0);
            let count = counts.get(service).copied().unwrap_or(0);
            if (count as f64 - draws * share).abs() > 4.0 * (draws * share * (1.0 - share)).sqrt() {
                faults.insert(format!("{service} answered {count} of {draws}, not {percent} %"));
            }
        }
        faults
    }

    /// How one answer differs from what is expected.
    fn faults_of(&self, exchange: &Exchange, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        if answer.status != exchange.status {
            faults.push(format!("status {} instead of {}", answer.status, exchange.status));
        }
        let service = service_of(answer);
        if exchange.shares.is_empty() {
            if service != exchange.backend.as_deref() {
                faults.push(format!("answered by {service:?} instead of {:?}", exchange.backend));
            }
        } else if service.is_none_or(|service| !exchange.shares.contains_key(service)) {
            faults.push(format!("answered by {service:?} instead of one of {:?}", exchange.shares));
        }
        for (name, expected) in &exchange.answer {
            let values: Vec<_> = answer.head.field_values(&name.to_ascii_lowercase()).collect();
            if !self.is(expected, &values) {
                faults.push(format!("{name}: {values:?} instead of {expected:?}"));
            }
        }
        if !exchange.saw.is_empty() {
            let Some(seen) = answer.seen() else {
                faults.push("no endpoint saw it".into());
                return faults;
            };
            for (name, expected) in &exchange.saw {
                let values: Vec<_> = if name == "uri" {
                    vec![seen.uri.as_str()]
                } else {
                    let values = seen.headers.get(&name.to_ascii_lowercase());
                    values.into_iter().flatten().map(String::as_str).collect()
                };
                if !self.is(expected, &values) {
                    faults.push(format!("the endpoint saw {name}: {values:?} instead of {expected:?}"));
                }
            }
        }
        faults
    }

    /// Whether the values of a field are what is expected: one that fits, or none.
    fn is(&self, expected: &str, values: &[&str]) -> bool {
        let expected = expected.replace("{http}", &self.gateway.http.port().to_string());
        match values {
            [] => expected == "absent",
            [value] => fits(&expected, value),
            _ => false,
        }
    }
}

// === impl Exchange ===

impl Exchange {
    fn to_send(&self, number: usize) -> Request {
        let (method, url) = self.request.split_once(" http://").expect("a request is a method and a URL of http");
        let slash = url.find('/').expect("a URL has a path");
        let mut request = Request::get(&url[..slash], &url[slash..]);
        request.method = method.into();
        request.body = self.body_bytes.map(|length| vec![b'x'; length]);
        let fill = |value: &String| value.replace("{n}", &number.to_string());
        request.fields = self.headers.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
        request
    }
}

/// The Service whose endpoint answered: endpoints are named `service@number`.
fn service_of(answer: &Answer) -> Option<&str> {
    Some(answer.backend()?.split_once('@')?.0)
}
