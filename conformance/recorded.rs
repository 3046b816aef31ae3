//! Asks what the real ingress-nginx 1.15.1 was asked, and compares the answers.
//!
//! `recorded.json` holds requests, the answers of the real controller, and what its endpoints saw. Each exchange here is
//! *equal*; or equal but for headers that we *add* by rule; or *not yet*, because it wants a feature that we do not have;
//! or *mended*, because a rule of ours differs on purpose. The lists are complete and true: whatever else differs fails, and so does an entry that no longer differs.
//! Each rule that makes a difference has a test of its own in [`mended`](crate::mended).

use crate::{
    client::{self, Client, Seen},
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
    pattern::fits,
    tls::Trust,
};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

/// Exchanges (counted from 1) that want what we do not have yet.
const NOT_YET: &[NotYet] = &[
    NotYet { case: "allowlist no", exchanges: &[1, 2], wants: "access lists" },
    NotYet { case: "basic auth", exchanges: &[1, 2, 3, 4, 5, 6], wants: "auth" },
    NotYet { case: "external auth ok", exchanges: &[1, 2], wants: "auth" },
    NotYet { case: "external auth signin", exchanges: &[1, 2], wants: "auth" },
    NotYet { case: "cors default", exchanges: &[1, 2, 3, 4], wants: "CORS" },
    NotYet { case: "custom http errors", exchanges: &[1, 2], wants: "custom errors" },
];

/// Exchanges whose answer is ours on purpose.
const MENDED: &[Mended] = &[Mended {
    case: "forwarded headers",
    exchange: 4,
    rule: "a header that Connection names is the hop's, and goes no further (RFC 9110, section 7.6.1)",
    mend: |answer| {
        answer.endpoint_saw.as_mut().expect("it was recorded").headers.remove("x-foo");
    },
}];

/// Headers that we add on purpose to whatever they belong to. Where one is missing, the exchange differs.
const ADDED: &[Added] = &[
    Added {
        name: "traceparent",
        value: "00-*-*-*",
        rule: "a request without a trace context starts one (W3C Trace Context, section 3.2)",
        to: To::Requests,
    },
    Added {
        name: "x-request-id",
        value: "*",
        rule: "a refusal names its request, so that it can be found in the logs (ours: `src/http/answer.rs`)",
        to: To::Refusals,
    },
];

/// Headers of an answer that say nothing of the gateway: how the body is framed, and what the endpoint says of itself.
const IGNORED: &[&str] =
    &["connection", "content-length", "content-type", "date", "keep-alive", "transfer-encoding", "x-backend"];

struct NotYet {
    case: &'static str,
    exchanges: &'static [usize],
    wants: &'static str,
}

struct Mended {
    case: &'static str,
    exchange: usize,
    rule: &'static str,
    /// Turns the answer that was recorded into ours.
    mend: fn(&mut Answer),
}

struct Added {
    name: &'static str,
    value: &'static str,
    rule: &'static str,
    to: To,
}

#[derive(PartialEq, Eq)]
enum To {
    /// Requests, as endpoints see them.
    Requests,
    /// Answers with an error that come from no endpoint.
    Refusals,
}

#[derive(Deserialize)]
struct Recording {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    case: String,
    manifests: Vec<Value>,
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
struct Exchange {
    request: Request,
    answer: Answer,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    scheme: String,
    host: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body_bytes: Option<usize>,
    #[serde(default = "once")]
    times: usize,
}

#[derive(Deserialize, Clone)]
struct Answer {
    status: Option<u16>,
    backend: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    endpoint_saw: Option<Seen>,
    /// How many of many answers had which `status:backend`.
    split: Option<BTreeMap<String, usize>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_recorded() {
    assert!(rules().count() <= 5, "what differs in more than five rules is another product");
    let recording = Recording::read();
    let stage = Stage::set(&recording).await;

    let (mut equal, mut added, mut not_yet, mut mended) = (0, BTreeMap::new(), BTreeMap::new(), 0);
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for case in &recording.cases {
        for (exchange, number) in case.exchanges.iter().zip(1..) {
            let mut expected = exchange.answer.clone();
            let adds = expected.add();
            let mend = MENDED.iter().find(|mended| mended.case == case.case && mended.exchange == number);
            if let Some(mend) = mend {
                (mend.mend)(&mut expected);
            }
            let entry = NOT_YET.iter().find(|entry| entry.case == case.case && entry.exchanges.contains(&number));
            let differences = stage.compare(&exchange.request, &expected).await;

            let name = format!("{} #{number}: {} {}", case.case, exchange.request.method, exchange.request.path);
            match (entry, mend, differences.is_empty()) {
                (None, None, true) if adds.is_empty() => equal += 1,
                (None, None, true) => *added.entry(adds.join(", ")).or_insert(0) += 1,
                (None, Some(_), true) => mended += 1,
                (Some(entry), None, false) => *not_yet.entry(entry.wants).or_insert(0) += 1,
                (Some(entry), _, true) => {
                    faults.push(format!("{name}\n  is as recorded, and listed as not yet for want of {}", entry.wants));
                }
                (None, Some(mend), false) => {
                    faults.push(format!("{name}\n  {}\n  mended: {}", differences.join("\n  "), mend.rule));
                }
                (_, _, false) => faults.push(format!("{name}\n  {}", differences.join("\n  "))),
            }
            used.insert((case.case.as_str(), number));
        }
    }
    for (case, number) in listed() {
        if !used.contains(&(case, number)) {
            faults.push(format!("{case} #{number}\n  is listed, and there is no such exchange"));
        }
    }

    // Not by `println!`, which the test runner would hold back.
    let _ = writeln!(
        std::io::stdout(),
        "recorded: {equal} equal, {} equal but for headers that Serin adds by rule {added:?}, {} not yet {not_yet:?}, \
         {mended} mended; on purpose: {:?}",
        added.values().sum::<usize>(),
        not_yet.values().sum::<usize>(),
        rules().collect::<Vec<_>>(),
    );
    assert!(faults.is_empty(), "{} exchanges differ:\n\n{}\n", faults.len(), faults.join("\n"));
}

/// The exchanges that the lists name.
fn listed() -> impl Iterator<Item = (&'static str, usize)> {
    let not_yet = NOT_YET.iter().flat_map(|entry| entry.exchanges.iter().map(|&number| (entry.case, number)));
    not_yet.chain(MENDED.iter().map(|mended| (mended.case, mended.exchange)))
}

/// The rules by which we differ.
fn rules() -> impl Iterator<Item = &'static str> {
    MENDED.iter().map(|mended| mended.rule).chain(ADDED.iter().map(|added| added.rule))
}

fn once() -> usize {
    1
}

/// A gateway with all of the recording's objects, and the endpoints behind it.
struct Stage {
    gateway: Gateway,
    trust: Trust,
    _endpoints: Vec<Echo>,
    _manifests: Manifests,
}

// === impl Recording ===

impl Recording {
    fn read() -> Self {
        serde_json::from_str(include_str!("recorded/recorded.json")).expect("the recording is as described")
    }
}

// === impl Answer ===

impl Answer {
    /// Puts what we add to the answer that was recorded. Returns the names.
    fn add(&mut self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for Added { name, value, to, .. } in ADDED {
            match &mut self.endpoint_saw {
                Some(saw) if *to == To::Requests => {
                    saw.headers.insert((*name).into(), vec![(*value).into()]);
                }
                None if *to == To::Refusals && self.backend.is_none() && self.status >= Some(400) => {
                    self.headers.push(((*name).into(), (*value).into()));
                }
                _ => continue,
            }
            names.push(*name);
        }
        names
    }
}

// === impl Case ===

impl Case {
    /// The namespace that the case was recorded in: `c073`, where its hosts are `h073.test`.
    fn namespace(&self) -> String {
        let host = &self.exchanges[0].request.host;
        let number: String = host.chars().filter(char::is_ascii_digit).take(3).collect();
        format!("c{number}")
    }

    /// The objects of the case, with the Services that all cases share.
    fn objects(&self, endpoints: &[Echo]) -> Vec<Value> {
        let namespace = self.namespace();
        let mut objects = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            let service = manifests::service(&namespace, name);
            objects.extend(manifests::slices(&service, endpoints.iter().filter(|endpoint| endpoint.name == name)));
            objects.push(service);
        }
        let auth = endpoints.iter().find(|endpoint| endpoint.name == "d").expect("d has an endpoint").address;
        for object in &self.manifests {
            let text = object.to_string().replace("SERVICE-D-ADDRESS:3000", &auth.to_string());
            let mut object: Value = serde_json::from_str(&text).expect("an address is no syntax");
            object["metadata"]["namespace"] = namespace.as_str().into();
            objects.push(object);
        }
        objects
    }

    /// The Secrets that the case names, with certificates for the hosts that they are listed for.
    fn secrets(&self, trust: &Trust) -> Vec<Value> {
        let mut secrets = Vec::new();
        for entry in self.manifests.iter().filter_map(|object| object["spec"]["tls"].as_array()).flatten() {
            let hosts = entry["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(name) = entry["secretName"].as_str() {
                secrets.push(trust.secret(&self.namespace(), name, &hosts.collect::<Vec<_>>()));
            }
        }
        secrets
    }
}

// === impl Stage ===

impl Stage {
    async fn set(recording: &Recording) -> Self {
        let mut endpoints = Vec::new();
        for name in ["a", "b", "c", "d"] {
            endpoints.push(Echo::start(name).await);
        }
        let (manifests, trust) = (Manifests::new(), Trust::new());
        for (at, case) in recording.cases.iter().enumerate() {
            let mut objects = case.objects(&endpoints);
            objects.extend(case.secrets(&trust));
            manifests.write_objects(&format!("{at:02}.json"), &objects);
        }
        let names: Vec<_> = recording.cases.iter().map(|case| case.exchanges[0].request.host.as_str()).collect();
        manifests.write_objects("default.json", &[trust.secret("gateway", "default", &names)]);
        let gateway = Gateway::start(manifests.path(), &["--default-ssl-certificate", "gateway/default"]).await;
        Self { gateway, trust, _endpoints: endpoints, _manifests: manifests }
    }

    /// Sends a request as often as it says, and tells how the answers differ from what is expected.
    async fn compare(&self, request: &Request, expected: &Answer) -> Vec<String> {
        let client = match request.scheme.as_str() {
            "https" => Client::connect_by_tls(self.gateway.https, &request.host, &self.trust).await,
            _ => Client::connect(self.gateway.http).await,
        };
        let mut client = client.expect("the gateway accepts connections");
        let sent = request.to_send();
        let mut split = BTreeMap::new();
        for _ in 0..request.times {
            let answer = match client.exchange(&sent).await {
                Ok(answer) => answer,
                Err(error) => return vec![format!("no answer: {error}")],
            };
            if expected.split.is_none() {
                return self.differences(expected, &answer);
            }
            let side = format!("{}:{}", answer.status, answer.backend().unwrap_or("none"));
            *split.entry(side).or_insert(0) += 1;
        }
        differences_of_splits(expected.split.as_ref().expect("there is one"), &split)
    }

    fn differences(&self, expected: &Answer, answer: &client::Answer) -> Vec<String> {
        let mut differences = Vec::new();
        if expected.status != Some(answer.status) {
            differences.push(format!("status {} instead of {:?}", answer.status, expected.status));
        }
        if expected.backend.as_deref() != answer.backend() {
            differences.push(format!("backend {:?} instead of {:?}", answer.backend(), expected.backend));
        }

        let fields = answer.head.fields.iter().filter(|field| !IGNORED.contains(&field.0.as_str()));
        self.compare_fields("answer", &by_name(expected.headers.iter()), &by_name(fields), &mut differences);

        // An answer without a body cannot tell what the endpoint saw.
        if let Some(expected) = &expected.endpoint_saw {
            let Some(seen) = answer.seen() else {
                differences.push("no endpoint saw it".into());
                return differences;
            };
            if (&expected.method, &expected.uri) != (&seen.method, &seen.uri) {
                differences.push(format!(
                    "endpoint saw {} {:?} instead of {} {:?}",
                    seen.method, seen.uri, expected.method, expected.uri
                ));
            }
            self.compare_fields("endpoint", &expected.headers, &seen.headers, &mut differences);
        }
        differences
    }

    /// Compares names and values, both ways.
    fn compare_fields(&self, where_: &str, expected: &Fields, got: &Fields, differences: &mut Vec<String>) {
        let names: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
        for name in names {
            let (expected, got) = (expected.get(name), got.get(name));
            let equal = match (expected, got) {
                (Some(expected), Some(got)) => {
                    expected.len() == got.len()
                        && expected.iter().zip(got).all(|(pattern, text)| self.is(pattern, text))
                }
                _ => false,
            };
            if !equal {
                differences.push(format!("{where_}: {name}: {got:?} instead of {expected:?}"));
            }
        }
    }

    /// Whether a value is what the recording says, where `*` stands for whatever varies.
    fn is(&self, pattern: &str, text: &str) -> bool {
        let port = self.gateway.http.port().to_string();
        fits(&pattern.replace("CLIENT", "127.0.0.1").replace("{http}", &port), text)
    }
}

type Fields = BTreeMap<String, Vec<String>>;

fn by_name<'a>(fields: impl Iterator<Item = &'a (String, String)>) -> Fields {
    let mut by_name = Fields::new();
    for (name, value) in fields {
        by_name.entry(name.clone()).or_default().push(value.clone());
    }
    by_name
}

/// Compares two draws of the same size: each side within four standard deviations of the difference.
fn differences_of_splits(expected: &BTreeMap<String, usize>, got: &BTreeMap<String, usize>) -> Vec<String> {
    let draws = expected.values().sum::<usize>() as f64;
    let sides: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    let mut differences = Vec::new();
    for side in sides {
        let (expected, got) = (expected.get(side).copied().unwrap_or(0), got.get(side).copied().unwrap_or(0));
        let share = (expected + got) as f64 / (2.0 * draws);
        let deviation = (2.0 * draws * share * (1.0 - share)).sqrt();
        if (expected as f64 - got as f64).abs() > 4.0 * deviation {
            differences.push(format!("{side}: {got} instead of {expected} of {draws}"));
        }
    }
    differences
}

// === impl Request ===

impl Request {
    fn to_send(&self) -> client::Request {
        client::Request {
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            fields: self.headers.clone(),
            body: self.body_bytes.map(|length| vec![b'x'; length]),
        }
    }
}

#[test]
fn splits_differ_beyond_four_deviations() {
    let split = |a, b| BTreeMap::from([("200:a".to_owned(), a), ("200:b".to_owned(), b)]);
    assert_eq!(differences_of_splits(&split(742, 258), &split(750, 250)), Vec::<String>::new());
    assert_eq!(differences_of_splits(&split(742, 258), &split(500, 500)).len(), 2);
    assert_eq!(differences_of_splits(&split(742, 258), &BTreeMap::from([("200:a".to_owned(), 1000)])).len(), 2);
}
