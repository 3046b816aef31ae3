//! Golden translations: manifests beside what they become.
//!
//! `testdata/<feature>/<case>.yaml` holds objects as `kubectl apply` takes them, `<case>.out.yaml` the hosts, clusters and
//! problems that follow; policies show only what is not the default. A first line `# serin: --flag` sets flags that the
//! program has, too. `SERIN_BLESS=1 cargo test translate` writes what follows.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde_json::{Map, Value, json};

use super::{Options, snapshot};
use crate::{
    config::{ClientFlags, ObjectFlags},
    key::{ClusterKey, RouteId},
    problem::Problem,
    route::{Balance, Canary, Host, HostTable, PathRule, Policy, Route, Side},
    tls::Credentials,
    translate::{Chosen, Translation, translate},
    upstream::{Endpoints, Origin},
};

/// The manifests of all cases.
pub(super) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/translate/testdata");
    let mut cases = Vec::new();
    for feature in fs::read_dir(root).expect("there are cases") {
        let feature = feature.expect("there are cases").path();
        for file in fs::read_dir(feature).expect("a feature is a directory") {
            let file = file.expect("a feature is a directory").path();
            let name = file.to_string_lossy();
            if name.ends_with(".yaml") && !name.ends_with(".out.yaml") {
                cases.push(file);
            }
        }
    }
    cases.sort();
    cases
}

/// The options of a case: the flags in its first line, `# serin: --ingress-class-by-name`, where it has such a line.
pub(super) fn options(manifest: &str) -> Options {
    let first = manifest.lines().next().unwrap_or_default();
    let flags = first.strip_prefix("# serin: ").unwrap_or_default();
    let flags = Flags::try_parse_from(flags.split_whitespace()).unwrap_or_else(|error| panic!("{first}: {error}"));
    flags.objects.options(&flags.clients)
}

/// The flags of a case, read as the program reads them.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    objects: ObjectFlags,
    #[command(flatten)]
    clients: ClientFlags,
}

#[test]
fn manifests_become_what_stands_beside_them() {
    let bless = std::env::var_os("SERIN_BLESS").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 60, "there are {} cases", cases.len());
    for case in cases {
        let manifest = fs::read_to_string(&case).expect("the case can be read");
        let options = options(&manifest);
        let found = shown(&translate(&snapshot(&options, &manifest), &options));
        let beside = case.with_extension("out.yaml");
        if bless {
            fs::write(&beside, &found).expect("the output can be written");
        } else if fs::read_to_string(&beside).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "these differ from what stands beside them:\n{}", wrong.join("\n"));
}

/// A translation as the cases have it.
fn shown(translation: &Translation) -> String {
    let hosts: Map<_, _> = translation
        .hosts
        .values()
        .filter_map(|output| Some((output.host.to_string(), host(output.table.as_ref()?))))
        .collect();
    let clusters: Map<_, _> =
        translation.clusters.values().map(|cluster| (cluster.key.to_string(), endpoints(&cluster.endpoints))).collect();
    let credentials: Map<_, _> = translation
        .credentials
        .values()
        .map(|output| (output.key.to_string(), credentials(output.credentials.as_deref())))
        .collect();
    let certificates: Map<_, _> = translation
        .hosts
        .values()
        .filter(|output| !output.certificates.is_empty())
        .map(|output| (output.host.to_string(), output.certificates.iter().map(certificate).collect()))
        .collect();
    let default_certificate = translation.default_certificate.as_ref().map(certificate);
    let problems: Vec<_> = translation.problems.iter().map(problem).collect();
    let mut text = String::new();
    let default = translation.default_backend.as_ref().map(ToString::to_string);
    let parts = [
        ("hosts", Value::Object(hosts)),
        ("default", json!(default)),
        ("certificates", Value::Object(certificates)),
        ("default-certificate", json!(default_certificate)),
        ("clusters", Value::Object(clusters)),
        ("credentials", Value::Object(credentials)),
        ("problems", json!(problems)),
    ];
    for (name, part) in parts {
        if !is_empty(&part) {
            write_entry(&mut text, 0, name, &part);
        }
    }
    text
}

fn host(host: &Host<ClusterKey, RouteId>) -> Value {
    match host {
        Host::Routes(table) => routes(table),
        Host::Twin { to, status } => json!(format!("{status} to {to}")),
    }
}

fn routes(table: &HostTable<ClusterKey, RouteId>) -> Value {
    let routes: Vec<_> = table.routes.iter().map(|item| route(item)).collect();
    if table.app_root.is_none() && table.client_certificates.is_none() {
        return json!(routes);
    }
    let asks = &table.client_certificates;
    simplified(json!({ "app-root": table.app_root, "client-certificates": asks, "routes": routes }))
}

fn route(route: &Route<ClusterKey, RouteId>) -> Value {
    assert_eq!(route.id, route.state, "a route carries its own name");
    let path = match &route.path {
        PathRule::Exact(path) => format!("{path} (Exact)"),
        PathRule::Prefix(path) => format!("{path} (Prefix)"),
        PathRule::Regex(pattern) => format!("{pattern} (Regex)"),
    };
    let split = &route.split;
    let mut shown = Map::new();
    shown.insert("path".to_owned(), json!(path));
    shown.insert("of".to_owned(), json!(route.id.ingress));
    shown.insert("to".to_owned(), split.stable.as_ref().map_or_else(|| json!("nothing"), side));
    shown.insert("fallback".to_owned(), split.fallback.as_ref().map_or(Value::Null, side));
    shown.insert("canaries".to_owned(), split.canaries.iter().map(canary).collect());
    if let Some(affinity) = &split.affinity {
        shown.insert("affinity".to_owned(), serde_json::to_value(affinity).expect("it is plain"));
    }
    if split.rules_before_affinity {
        shown.insert("affinity-precedence".to_owned(), json!("rules"));
    }
    shown.insert("policy".to_owned(), policy(&route.policy));
    simplified(Value::Object(shown))
}

fn side(side: &Side<ClusterKey>) -> Value {
    let ClusterKey { namespace, service, port, .. } = &side.backend;
    let mut shown = side.backend.to_string();
    if *side.name != format!("{namespace}-{service}-{port}") {
        let _ = write!(shown, " as {}", side.name);
    }
    if side.balance != Balance::default() {
        let _ = write!(shown, ", by {:?}", side.balance.algorithm);
        if let Some(key) = &side.balance.hash_by {
            let _ = write!(shown, " of {}", key.source);
        }
    }
    json!(shown)
}

fn canary(canary: &Canary<ClusterKey>) -> Value {
    let mut shown = Map::new();
    shown.insert("of".to_owned(), json!(canary.ingress));
    shown.insert("to".to_owned(), side(&canary.side));
    shown.insert("share".to_owned(), json!(format!("{} of {}", canary.share.weight, canary.share.total)));
    for (kind, rule) in [("header", &canary.rule.header), ("query", &canary.rule.query)] {
        if let Some(rule) = rule {
            shown.insert(kind.to_owned(), json!(format!("{} {:?}", rule.name, rule.value)));
        }
    }
    if let Some(rule) = &canary.rule.cookie {
        shown.insert("cookie".to_owned(), json!(format!("{} {:?}", rule.name, rule.value)));
    }
    if let Some(sticky) = &canary.sticky {
        shown.insert("sticky".to_owned(), json!(format!("{sticky:?}")));
    }
    if !canary.keeps_sessions {
        shown.insert("sessions".to_owned(), json!("none"));
    }
    Value::Object(shown)
}

fn certificate(chosen: &Chosen) -> Value {
    let mut shown = Map::new();
    shown.insert("secret".to_owned(), json!(chosen.secret));
    shown.insert("of".to_owned(), json!(chosen.ingress));
    shown.insert("by".to_owned(), json!(chosen.by));
    match &chosen.certificate {
        None => shown.insert("is".to_owned(), json!("not usable")),
        Some(certificate) => {
            let names = certificate.names().join(", ");
            let (from, until) = (certificate.not_before(), certificate.not_after());
            shown.insert("is".to_owned(), json!(format!("{} for {names}, {from} to {until}", certificate.kind())))
        }
    };
    simplified(Value::Object(shown))
}

fn endpoints(endpoints: &Endpoints) -> Value {
    let origin = match endpoints.origin() {
        Origin::Addresses(addresses) => json!(addresses),
        Origin::Name(name) => json!(format!("what DNS answers for {name}")),
    };
    let mut shown = Map::new();
    if let Some(timeout) = endpoints.client_ip_affinity() {
        shown.insert("client-ip-affinity".to_owned(), json!(timeout.as_secs()));
    }
    if let Some(protocol) = endpoints.protocol() {
        shown.insert("protocol".to_owned(), json!(protocol));
    }
    if shown.is_empty() {
        return origin;
    }
    shown.insert("to".to_owned(), origin);
    Value::Object(shown)
}

fn credentials(credentials: Option<&Credentials>) -> Value {
    let Some(credentials) = credentials else { return json!("nothing") };
    json!({ "authorities": credentials.authorities().len(), "client": credentials.client().is_some() })
}

/// A policy without what is the default.
fn policy(policy: &Policy) -> Value {
    let plain = |policy: &Policy| serde_json::to_value(policy).expect("it is plain");
    without(plain(policy), &plain(&Policy::default()))
}

/// The parts of a value that another has not.
fn without(value: Value, other: &Value) -> Value {
    let (Value::Object(value), Value::Object(other)) = (value, other) else { return Value::Null };
    let different = value.into_iter().filter_map(|(key, value)| {
        let other = other.get(&key);
        match (&value, other) {
            (_, Some(other)) if *other == value => None,
            (Value::Object(_), Some(Value::Object(_))) => Some((key, without(value, other?))),
            (Value::Null, _) => Some((key, json!("none"))),
            _ => Some((key, value)),
        }
    });
    Value::Object(different.collect())
}

fn problem(problem: &Problem) -> Value {
    let Problem { object, field, level, reason, fault, effect, mend } = problem;
    json!({ "at": format!("{object} {field}"), "is": format!("{level:?} {reason}"), "fault": fault, "effect": effect, "mend": mend })
}

/// The value without what is empty.
fn simplified(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map =
                map.into_iter().map(|(key, value)| (key, simplified(value))).filter(|(_, value)| !is_empty(value));
            Value::Object(map.collect())
        }
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The keys that come first, in this order; the others follow by name.
const ORDER: [&str; 10] = ["app-root", "routes", "path", "at", "of", "is", "to", "fault", "effect", "mend"];

/// The entries of a map in the order in which they are read best.
fn in_order(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| ORDER.iter().position(|first| first == key).unwrap_or(ORDER.len()));
    entries
}

/// Writes an entry of a YAML map.
fn write_entry(text: &mut String, depth: usize, key: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    let key = scalar(&json!(key));
    match value {
        Value::Object(map) if !map.is_empty() => {
            let _ = writeln!(text, "{indent}{key}:");
            for (key, value) in in_order(map) {
                write_entry(text, depth + 1, key, value);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let _ = writeln!(text, "{indent}{key}:");
            for item in items {
                let mut entry = String::new();
                for (key, value) in item.as_object().map(in_order).unwrap_or_default() {
                    write_entry(&mut entry, depth + 1, key, value);
                }
                let start = "  ".repeat(depth + 1);
                let _ = write!(text, "{indent}- {}", entry.strip_prefix(&start).unwrap_or(&entry));
            }
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(scalar).collect();
            let _ = writeln!(text, "{indent}{key}: [{}]", items.join(", "));
        }
        Value::String(lines) if lines.contains('\n') => {
            let _ = writeln!(text, "{indent}{key}: |");
            for line in lines.lines() {
                let _ = writeln!(text, "{indent}  {line}");
            }
        }
        other => {
            let _ = writeln!(text, "{indent}{key}: {}", scalar(other));
        }
    }
}

/// A scalar: quoted where YAML would read something else.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let plain = text.starts_with(|c: char| c.is_alphanumeric() || c == '/')
        && !text.contains([':', '#', '"', '\\', '[', ']', '{', '}', ','])
        && !text.ends_with(' ')
        && text.parse::<f64>().is_err()
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&text.as_str());
    let colon = text.starts_with(|c: char| c.is_alphanumeric() || c == '/')
        && !text.contains(": ")
        && !text.ends_with(':')
        && !text.contains(['#', '"', '\\', '[', ']', '{', '}', ','])
        && text.parse::<f64>().is_err();
    if plain || (colon && text.contains(':')) { text.clone() } else { value.to_string() }
}
