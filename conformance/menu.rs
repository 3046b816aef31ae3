//! The menu: what clients and endpoints send to have requests or answers taken for others, and what must come of it.
//!
//! `menu/clients` holds what clients send, in bytes (`.wire`) and in frames (`.frames`, see [`frames`]); each is sent to
//! an endpoint that speaks HTTP/1 and to one that speaks HTTP/2. `menu/endpoints` holds what endpoints answer, which
//! clients of both kinds ask for. Under each entry stands what comes of it: an answer a line, with what the endpoint saw
//! of the request, or how the stream or the connection ended. `=` lines hold on both sides of the entry's own, `=1` and
//! `=2` lines where the other side speaks HTTP/1 or HTTP/2. An answer that breaks off is `cut`. An answer over HTTP/2
//! that is none is treated like a stream that broke, so that another is asked for: `honest`. `SERIN_BLESS=1` writes these
//! lines anew.
//!
//! What is smuggled is named `evil`, and never the request around it. So for all entries:
//!
//! * no endpoint sees a request, a host or a field that is named so, or anything that is no request;
//! * no endpoint is asked to go on in HTTP/2, over which others would follow unseen;
//! * none makes the gateway log a line, by which a log could be filled;
//! * no endpoint sees more requests than were answered, or broke off;
//! * an innocent request behind the entry, on the same connection if that lives and on others, gets its own answer.

mod clients;
mod endpoints;
mod frames;

use self::{
    clients::{Outcome, Protocol},
    endpoints::{Arrived, Endpoint},
};
use crate::{
    case::{Case, cases, write_cases},
    client::PATIENCE,
    gateway::Gateway,
    manifests::{self, Manifests},
};
use serde_json::json;
use std::{collections::HashMap, path::PathBuf};
use tokio::time::{self, Duration};

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_speak_http1_smuggle_nothing() {
    clients_smuggle_nothing(Protocol::Http1, "wire").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_speak_http2_smuggle_nothing() {
    clients_smuggle_nothing(Protocol::Http2, "frames").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_speak_http1_answer_nobody_else() {
    endpoints_answer_nobody_else("wire").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_speak_http2_answer_nobody_else() {
    endpoints_answer_nobody_else("frames").await;
}

async fn clients_smuggle_nothing(client: Protocol, extension: &str) {
    let stage = Stage::set(Endpoint::http1().await, Endpoint::http2().await).await;
    let mut menu = Menu::read("menu/clients", extension);
    let mut count = 0;
    for (file, at) in menu.places() {
        let mut came = HashMap::new();
        for endpoint in PROTOCOLS {
            let case = menu.case(file, at);
            let bytes = match client {
                Protocol::Http1 => case.bytes(),
                Protocol::Http2 => frames::encode(&case.lines, 0),
            };
            let bytes = replace(&bytes, b"a.example", stage.host(endpoint).as_bytes());
            count += 1;
            let outcome = stage.ask(client, &bytes, endpoint, &format!("same-{count}")).await;
            let mut faults = stage.check_innocents(endpoint, &outcome, count).await;
            faults.extend(check_arrivals(&stage.endpoint(endpoint).take(), &outcome.lines));
            menu.faults(file, at, endpoint, faults);
            came.insert(endpoint == Protocol::Http2, outcome.lines.replace(stage.host(endpoint), "a.example"));
        }
        menu.compare(file, at, &came[&false], &came[&true]);
    }
    menu.faults.extend(stage.gateway.log().into_iter().filter(|line| !line.contains("\"INFO\"")));
    menu.finish();
}

async fn endpoints_answer_nobody_else(extension: &str) {
    let stage = Stage::set(Endpoint::http1().await, Endpoint::frames().await).await;
    let endpoint = if extension == "wire" { Protocol::Http1 } else { Protocol::Http2 };
    let mut menu = Menu::read("menu/endpoints", extension);
    let mut count = 0;
    for (file, at) in menu.places() {
        let mut came = HashMap::new();
        for client in PROTOCOLS {
            count += 1;
            let mut lines = menu.case(file, at).lines.clone();
            let method = if lines[0].starts_with("? ") { lines.remove(0)[2..].to_owned() } else { "GET".to_owned() };
            stage.endpoint(endpoint).answer_next(&lines);
            let bytes = match client {
                Protocol::Http1 => format!("{method} /asked HTTP/1.1\r\nHost: {}\r\n\r\n", stage.host(endpoint)).into(),
                Protocol::Http2 => {
                    let fields = [(":method", &*method), (":scheme", "http"), (":path", "/asked")];
                    let host = (":authority", stage.host(endpoint));
                    let line = |(name, value): (&str, &str)| format!("  {name} = {value}");
                    let head = ["HEADERS 1 end_stream".to_owned()].into_iter();
                    frames::encode(&head.chain(fields.into_iter().chain([host]).map(line)).collect::<Vec<_>>(), 0)
                }
            };
            // One after the other: which of two the endpoint has first is a matter of time.
            let outcome = stage.ask_alone(client, &method, &bytes).await;
            let faults = stage.check_innocents(endpoint, &outcome, count).await;
            menu.faults(file, at, client, faults);
            stage.endpoint(endpoint).take();
            came.insert(client == Protocol::Http2, outcome.lines);
        }
        menu.compare(file, at, &came[&false], &came[&true]);
    }
    menu.faults.extend(stage.gateway.log().into_iter().filter(|line| !line.contains("\"INFO\"")));
    menu.finish();
}

/// What is wrong with what has arrived, beside the answers that came of it.
fn check_arrivals(arrived: &[Arrived], answers: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut whole = Vec::new();
    for arrived in arrived {
        let (Arrived::Whole(seen, fields) | Arrived::Cut(seen, fields)) = arrived else {
            faults.push(format!("the endpoint got {arrived:?}"));
            continue;
        };
        let head = seen.split('"').next().unwrap_or_default();
        if fields.iter().any(|(name, value)| name == "upgrade" && value.to_ascii_lowercase().contains("h2c")) {
            faults.push(format!("the endpoint is asked for another protocol: {arrived:?}"));
        }
        let named = |text: &str| text.to_ascii_lowercase().contains("evil");
        if named(head) || fields.iter().any(|(name, value)| named(name) || name == "host" && named(value)) {
            faults.push(format!("the endpoint got {arrived:?}"));
        }
        if matches!(arrived, Arrived::Whole(..)) && !seen.contains("innocent") {
            whole.push(seen.clone());
        }
    }
    // A request may reach its end before more comes than it may have, and its stream ends without an answer; and what an
    // endpoint answers may be none.
    let answered = answers
        .lines()
        .filter(|line| ["200", "reset", "invalid answer"].iter().any(|word| line.contains(word)))
        .count();
    if whole.len() > answered && !answers.starts_with("goaway") {
        faults.push(format!("{answered} requests were answered, but the endpoint got {whole:?}"));
    }
    faults
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = bytes.to_vec();
    let found: Vec<_> = memchr::memmem::find_iter(bytes, from).collect();
    for at in found {
        replaced[at..at + from.len()].copy_from_slice(to);
    }
    replaced
}

/// A gateway before an endpoint of each protocol.
struct Stage {
    gateway: Gateway,
    http1: Endpoint,
    http2: Endpoint,
    _manifests: Manifests,
}

// === impl Stage ===

impl Stage {
    async fn set(http1: Endpoint, http2: Endpoint) -> Self {
        let manifests = Manifests::new();
        let mut objects = Vec::new();
        for (name, endpoint) in [("a", &http1), ("b", &http2)] {
            let mut service = manifests::service("default", name);
            if name == "b" {
                service["spec"]["ports"][0]["appProtocol"] = json!("kubernetes.io/h2c");
            }
            objects.push(manifests::slice(&service, 0, endpoint.address));
            objects.push(service);
            objects.push(manifests::host(&format!("{name}.example"), name));
        }
        manifests.write_objects("all.json", &objects);
        // One worker: all share its connections to the endpoints, and what one of them spoils.
        let gateway = Gateway::start(manifests.path(), &["--workers", "1"]).await;
        Self { gateway, http1, http2, _manifests: manifests }
    }

    fn endpoint(&self, protocol: Protocol) -> &Endpoint {
        match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        }
    }

    fn host(&self, protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Http1 => "a.example",
            Protocol::Http2 => "b.example",
        }
    }

    async fn ask(&self, client: Protocol, bytes: &[u8], endpoint: Protocol, innocent: &str) -> Outcome {
        let host = self.host(endpoint);
        match client {
            Protocol::Http1 => clients::http1(self.gateway.http, bytes, host, innocent).await,
            Protocol::Http2 => clients::http2(self.gateway.http, bytes, host, innocent).await,
        }
    }

    /// Asks without an innocent request on the same connection.
    async fn ask_alone(&self, client: Protocol, method: &str, bytes: &[u8]) -> Outcome {
        match client {
            Protocol::Http1 => clients::http1_alone(self.gateway.http, method, bytes).await,
            Protocol::Http2 => clients::http2_alone(self.gateway.http, bytes).await,
        }
    }

    /// Checks that innocent requests get their own answers: the one behind the entry, and some on other connections.
    async fn check_innocents(&self, endpoint: Protocol, outcome: &Outcome, count: usize) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |innocent: &str, answer: Option<&String>| {
            if !answer.is_some_and(|answer| answer.contains(innocent) && !answer.contains("evil")) {
                faults.push(format!("an innocent request ({innocent}) was answered with {answer:?}"));
            }
        };
        if let Some(answer) = &outcome.innocent {
            check(&format!("same-{count}"), Some(answer));
        }
        for client in PROTOCOLS.into_iter().chain(PROTOCOLS) {
            let innocent = format!("other-{count}-{client:?}");
            let other = time::timeout(PATIENCE, self.ask(client, b"", endpoint, &innocent)).await;
            check(&innocent, other.ok().and_then(|outcome| outcome.innocent).as_ref());
        }
        // What an endpoint says behind its answer has had time to arrive when others were answered.
        time::sleep(Duration::from_millis(1)).await;
        faults
    }
}

/// The entries of a kind, and what is wrong with them.
struct Menu {
    files: Vec<(PathBuf, Vec<Case>)>,
    faults: Vec<String>,
}

// === impl Menu ===

impl Menu {
    fn read(dir: &str, extension: &str) -> Self {
        Self { files: cases(dir, extension), faults: Vec::new() }
    }

    /// Where the entries are: the number of the file, and theirs in it.
    fn places(&self) -> Vec<(usize, usize)> {
        let in_file = |(file, (_, cases)): (usize, &(PathBuf, Vec<Case>))| {
            (0..cases.len()).map(move |at| (file, at)).collect::<Vec<_>>()
        };
        self.files.iter().enumerate().flat_map(in_file).collect()
    }

    fn case(&self, file: usize, at: usize) -> &Case {
        &self.files[file].1[at]
    }

    fn faults(&mut self, file: usize, at: usize, other: Protocol, faults: Vec<String>) {
        let name = &self.files[file].1[at].name;
        self.faults.extend(faults.into_iter().map(|fault| format!("{name} ({other:?} on the other side): {fault}")));
    }

    /// Compares what came of an entry with what should.
    fn compare(&mut self, file: usize, at: usize, with_http1: &str, with_http2: &str) {
        let tagged =
            |tag: &str, lines: &str| -> String { lines.lines().map(|line| format!("{tag} {line}\n")).collect() };
        let came = if with_http1 == with_http2 {
            tagged("=", with_http1)
        } else {
            tagged("=1", with_http1) + &tagged("=2", with_http2)
        };
        let case = &mut self.files[file].1[at];
        if came != case.reading {
            if std::env::var("SERIN_BLESS").as_deref() != Ok("1") {
                self.faults.push(format!("{}: what came is\n{came}but should be\n{}", case.name, case.reading));
            }
            case.reading = came;
        }
    }

    fn finish(self) {
        if std::env::var("SERIN_BLESS").as_deref() == Ok("1") {
            for (path, cases) in &self.files {
                write_cases(path, cases);
            }
        }
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}
