//! What the admin port shows of a running gateway: the table, the problems and the clusters, and nothing that is secret.

use crate::{
    client::PATIENCE,
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{self, Instant};

/// A value of a Secret, as it is and in base64.
const SECRET: [&str; 2] = ["correct horse battery", "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"];

/// A value that is of the wrong type: a number, where a Secret holds text.
const MISFIT: &str = "918273645";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_shows_hosts_routes_and_its_number() {
    let stage = Stage::set().await;
    let table = stage.json("/debug/table").await;
    let number = table["number"].as_u64().expect("a table has a number");
    assert_eq!(hosts(&table), ["lost.example", "shop.example"]);
    let route = &table["hosts"][1]["routes"][0];
    assert_eq!(
        (&route["service"], &route["id"]),
        (&json!("a"), &json!("shop.example/ (Prefix) of Ingress default/shop.example"))
    );

    stage.manifests.write_objects("more.json", &[manifests::host("more.example", "a")]);
    let table = stage.until("/debug/table", |table| hosts(table).contains(&"more.example")).await;
    assert_eq!(table["number"].as_u64(), Some(number + 1));
    assert_eq!(hosts(&stage.json("/debug/table?host=more.example").await), ["more.example"]);
    assert_eq!(hosts(&stage.json("/debug/table?host=none.example").await), [""; 0]);
    assert_eq!(stage.gateway.metric("serin_table_number").await, number + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_are_shown_by_namespace_and_level() {
    let stage = Stage::set().await;
    let objects = |problems: &Value| {
        let problems = problems.as_array().expect("a list");
        problems.iter().map(|problem| problem["object"].to_string().replace('"', "")).collect::<Vec<_>>()
    };
    let (lost, misfit) = ("Ingress other/lost", "Secret default/misfit");
    for (query, expected) in [
        ("", &[lost, misfit][..]),
        ("?namespace=other", &[lost]),
        ("?level=missing", &[lost]),
        ("?level=error", &[misfit]),
        ("?namespace=other&level=error", &[]),
    ] {
        let problems = stage.json(&format!("/debug/problems{query}")).await;
        assert_eq!(objects(&problems), expected, "{query}: {problems:#}");
    }
    stage.manifests.write("misfit.yaml", "");
    stage.until("/debug/problems", |problems| objects(problems) == [lost]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_shown_by_namespace_and_service_with_their_endpoints() {
    let stage = Stage::set().await;
    let endpoint = stage.endpoint.address.to_string();
    let addresses = |clusters: &Value| {
        let clusters = clusters.as_array().expect("a list").iter();
        let endpoints = clusters.flat_map(|cluster| cluster["endpoints"].as_array().expect("a list"));
        endpoints.map(|endpoint| endpoint["address"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    for (query, clusters, endpoints) in [
        ("?namespace=default", 1, &[&*endpoint][..]),
        ("?service=a", 1, &[&endpoint]),
        ("?namespace=other", 1, &[]),
        ("?namespace=other&service=a", 0, &[]),
    ] {
        let shown = stage.json(&format!("/debug/clusters{query}")).await;
        assert_eq!(shown.as_array().map(Vec::len), Some(clusters), "{query}: {shown:#}");
        assert_eq!(addresses(&shown), endpoints, "{query}");
    }
    let other = Echo::start("b").await;
    stage.manifests.write_objects("slices.json", &manifests::slices(&manifests::service("default", "a"), [&other]));
    stage.until("/debug/clusters?service=a", |shown| addresses(shown) == [other.address.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_shows_a_value_of_a_secret() {
    let stage = Stage::set().await;
    // A slip in the text makes another kind of problem.
    stage.manifests.write("secret.yaml", &secret("secret", &format!("password: [{}", SECRET[0])));
    let broken = |problems: &Value| problems.to_string().contains("secret.yaml");
    stage.until("/debug/problems", broken).await;
    for path in ["/debug/table", "/debug/problems", "/debug/clusters", "/metrics", "/readyz", "/debug/log-level"] {
        let shown = String::from_utf8(stage.gateway.admin(path).await.body).expect("text");
        for value in SECRET.into_iter().chain([MISFIT]) {
            assert!(!shown.contains(value), "{path} shows {value}: {shown}");
        }
    }
    let log = stage.gateway.log().join("\n");
    assert!(log.contains("Secret default/misfit"), "the problem is logged: {log}");
    for value in SECRET.into_iter().chain([MISFIT, "correct"]) {
        assert!(!log.contains(value), "the log shows {value}: {log}");
    }
}

/// A gateway over objects of two namespaces, with Secrets beside them: one that is right, and one that is not.
struct Stage {
    gateway: Gateway,
    manifests: Manifests,
    endpoint: Echo,
}

// === impl Stage ===

impl Stage {
    async fn set() -> Self {
        let endpoint = Echo::start("a").await;
        let manifests = Manifests::new();
        let service = manifests::service("default", "a");
        manifests.write_objects("slices.json", &manifests::slices(&service, [&endpoint]));
        let mut lost = manifests::host("lost.example", "none");
        lost["metadata"] = json!({ "namespace": "other", "name": "lost" });
        manifests.write_objects("objects.json", &[service, manifests::host("shop.example", "a"), lost]);
        manifests.write("secret.yaml", &secret("secret", &format!("password: {}", SECRET[0])));
        manifests.write("misfit.yaml", &secret("misfit", &format!("pin: {MISFIT}")));
        let gateway = Gateway::start(manifests.path(), &["--log-level", "debug"]).await;
        Self { gateway, manifests, endpoint }
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.gateway.admin(path).await;
        assert_eq!((answer.status, answer.head.field("content-type")), (200, Some("application/json")), "{path}");
        serde_json::from_slice(&answer.body).expect("what is shown is JSON")
    }

    /// What a view shows once it shows something.
    async fn until(&self, path: &str, shows: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.json(path).await;
            if shows(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{path} shows {shown:#}");
            time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn secret(name: &str, entry: &str) -> String {
    let data = SECRET[1];
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata: {{other: {data}}}\nstringData:\n  {entry}\n"
    )
}

fn hosts(table: &Value) -> Vec<&str> {
    table["hosts"].as_array().expect("a list").iter().map(|host| host["host"].as_str().expect("text")).collect()
}
