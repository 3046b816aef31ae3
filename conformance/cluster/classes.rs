//! Which Ingresses are ours: each rule of ingress-nginx, with the IngressClasses that a real API server keeps.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    client::Request,
    control_plane::eventually,
    gateway::Gateway,
    manifests,
    namespace::in_namespace,
    shop::{Shop, until_told},
};

/// The hosts, each by what its Ingress says of its class.
const HOSTS: [&str; 6] = ["ours", "renamed", "others", "unknown", "annotated", "none"];

#[test]
fn an_ingress_is_ours_by_its_class_its_annotation_or_for_want_of_one() {
    in_namespace(async || {
        let shop = Shop::open().await;
        shop.apply(&class("renamed", "k8s.io/ingress-nginx")).await;
        shop.apply(&class("others", "example.com/ingress")).await;
        for host in HOSTS {
            let ingress = match host {
                "ours" => of_class(host, Some("nginx")),
                "annotated" => annotated(host, "nginx"),
                "none" => of_class(host, None),
                class => of_class(class, Some(class)),
            };
            shop.apply(&ingress).await;
        }

        let gateway = shop.control_plane.gateway(&[]).await;
        until_served_are(&gateway, &["annotated", "ours", "renamed"]).await;
        until_told(&gateway, "Ingress default/unknown.example", "NotFound").await;
        // A class that comes or goes is heeded at once.
        shop.apply(&class("unknown", "k8s.io/ingress-nginx")).await;
        until_served_are(&gateway, &["annotated", "ours", "renamed", "unknown"]).await;
        shop.delete(&class("unknown", "k8s.io/ingress-nginx")).await;
        until_served_are(&gateway, &["annotated", "ours", "renamed"]).await;
        drop(gateway);

        let cases: [(&[&str], &[&str]); 5] = [
            (&["--watch-ingress-without-class"], &["annotated", "none", "ours", "renamed"]),
            (&["--controller-class", "example.com/ingress"], &["annotated", "others"]),
            // The flag names the class of the annotation; the field goes by the controller.
            (&["--ingress-class", "others"], &["ours", "renamed"]),
            (&["--ingress-class", "others", "--ingress-class-by-name"], &["others", "ours", "renamed"]),
            (&["--controller-class", "example.com/none", "--ingress-class-by-name"], &["annotated", "ours"]),
        ];
        for (flags, served) in cases {
            let gateway = shop.control_plane.gateway(flags).await;
            until_served_are(&gateway, served).await;
        }
    });
}

#[test]
fn the_default_class_is_the_api_servers_to_give() {
    in_namespace(async || {
        let shop = Shop::open().await;
        let mut class = class("default", "k8s.io/ingress-nginx");
        class["metadata"]["annotations"] = json!({ "ingressclass.kubernetes.io/is-default-class": "true" });
        // It has none, and gets none afterwards.
        shop.apply(&of_class("none", None)).await;
        shop.apply(&class).await;
        // The API server sees its own classes a moment later.
        let given = of_class("ours", None);
        eventually("the default class is given", async || {
            let made = shop.control_plane.apply(&given).await.expect("it can be applied");
            if made.data["spec"]["ingressClassName"] == "default" {
                return Some(());
            }
            shop.delete(&given).await;
            None
        })
        .await;
        let gateway = shop.control_plane.gateway(&[]).await;
        until_served_are(&gateway, &["ours"]).await;
    });
}

fn class(name: &str, controller: &str) -> Value {
    let mut class = manifests::ingress_class();
    class["metadata"]["name"] = name.into();
    class["spec"]["controller"] = controller.into();
    class
}

fn of_class(name: &str, class: Option<&str>) -> Value {
    let mut ingress = manifests::host(&format!("{name}.example"), "stable");
    ingress["spec"]["ingressClassName"] = class.into();
    if class.is_none() {
        ingress["spec"].as_object_mut().expect("it is one").remove("ingressClassName");
    }
    ingress
}

fn annotated(name: &str, class: &str) -> Value {
    let mut ingress = of_class(name, None);
    ingress["metadata"]["annotations"] = json!({ "kubernetes.io/ingress.class": class });
    ingress
}

/// Waits until just these of [`HOSTS`] are served.
async fn until_served_are(gateway: &Gateway, expected: &[&str]) {
    let mut client = gateway.client().await;
    let expected: BTreeSet<_> = expected.iter().copied().collect();
    eventually(&format!("{expected:?} are served"), async || {
        let mut served = BTreeSet::new();
        for host in HOSTS {
            let request = Request::get(&format!("{host}.example"), "/");
            let answer = client.exchange(&request).await.expect("the gateway answers");
            if answer.closes() {
                client = gateway.client().await;
            }
            if answer.status == 200 {
                served.insert(host);
            }
        }
        (served == expected).then_some(())
    })
    .await;
}
