//! A gateway that reads an API server: what is written there is seen on traffic.

use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    control_plane::{ControlPlane, eventually},
    gateway::Gateway,
    manifests,
    namespace::in_namespace,
    shop::{Shop, canary, namespace, pod, until_served, until_told, with_tls, within},
    tls::Trust,
};

#[test]
fn every_kind_is_seen_on_traffic_and_gone_when_it_is_deleted() {
    in_namespace(async || {
        let shop = Shop::open().await;
        let gateway = shop.control_plane.gateway(&[]).await;
        until_served(&gateway, "shop.example", None).await;

        let trust = Trust::new();
        let ingress = with_tls(manifests::host("shop.example", "stable"), "shop-tls");
        shop.apply(&ingress).await;
        until_served(&gateway, "shop.example", Some("stable")).await;
        until_told(&gateway, "Ingress default/shop.example", "NotFound").await;

        for _ in 0..2 {
            let secret = trust.secret("default", "shop-tls", &["shop.example"]);
            shop.apply(&secret).await;
            until_shown(&gateway, &trust, &secret).await;
        }

        shop.apply(&canary("shop.example", 100)).await;
        until_served(&gateway, "shop.example", Some("canary")).await;
        shop.apply(&canary("shop.example", 0)).await;
        until_served(&gateway, "shop.example", Some("stable")).await;
        shop.apply(&canary("shop.example", 100)).await;
        until_served(&gateway, "shop.example", Some("canary")).await;
        shop.delete(&canary("shop.example", 100)).await;
        until_served(&gateway, "shop.example", Some("stable")).await;

        // The Service's endpoint is another, and the Service then another.
        let service = manifests::service("default", "stable");
        shop.apply(&manifests::slice(&service, 0, pod(2))).await;
        until_served(&gateway, "shop.example", Some("canary")).await;
        shop.apply(&manifests::slice(&service, 0, pod(1))).await;
        until_served(&gateway, "shop.example", Some("stable")).await;
        shop.delete(&manifests::slice(&service, 0, pod(1))).await;
        until_told(&gateway, "Service default/stable", "NoEndpoints").await;

        shop.delete(&ingress).await;
        until_served(&gateway, "shop.example", None).await;
        let log = gateway.log();
        assert!(log.iter().all(|line| !line.contains("\"WARN\"") && !line.contains("\"ERROR\"")), "{log:?}");
        assert!(log.iter().all(|line| !line.contains("PRIVATE")), "no key is told");
    });
}

#[test]
fn objects_come_in_any_order_and_again_under_the_same_name() {
    in_namespace(async || {
        let shop = Shop::open().await;
        let gateway = shop.control_plane.gateway(&[]).await;

        // What is named comes after what names it.
        let (service, ingress) = (manifests::service("default", "late"), manifests::host("late.example", "late"));
        shop.apply(&ingress).await;
        until_told(&gateway, "Ingress default/late.example", "NotFound").await;
        shop.apply(&service).await;
        until_told(&gateway, "Service default/late", "NoEndpoints").await;
        shop.apply(&manifests::slice(&service, 0, pod(1))).await;
        until_served(&gateway, "late.example", Some("stable")).await;

        // The same name again, each time with another uid, and at last the other backend.
        let other = |backend| {
            let mut ingress = manifests::host("again.example", backend);
            ingress["metadata"]["name"] = "again".into();
            ingress
        };
        for backend in ["stable", "canary"].into_iter().cycle().take(10) {
            shop.apply(&other(backend)).await;
            until_served(&gateway, "again.example", Some(backend)).await;
            shop.delete(&other(backend)).await;
        }
        shop.apply(&other("canary")).await;
        for backend in ["stable", "canary"] {
            shop.delete(&other(backend)).await;
            shop.apply(&other(backend)).await;
        }
        until_served(&gateway, "again.example", Some("canary")).await;
    });
}

#[test]
fn a_namespace_that_is_deleted_takes_its_routes_along_and_no_others() {
    in_namespace(async || {
        let mut shop = Shop::open().await;
        shop.control_plane.start_controllers();
        let gateway = shop.control_plane.gateway(&[]).await;
        let namespace = namespace("lab");
        shop.apply(&namespace).await;
        let service = manifests::service("lab", "web");
        let trust = Trust::new();
        let secret = trust.secret("lab", "lab-tls", &["lab.example"]);
        let ingress = with_tls(within("lab", manifests::host("lab.example", "web")), "lab-tls");
        for object in [&manifests::slice(&service, 0, pod(1)), &service, &secret, &ingress] {
            shop.apply(object).await;
        }
        shop.apply(&manifests::host("shop.example", "stable")).await;
        until_served(&gateway, "lab.example", Some("stable")).await;
        until_served(&gateway, "shop.example", Some("stable")).await;

        shop.delete(&namespace).await;
        until_served(&gateway, "lab.example", None).await;
        eventually("nothing of it is left", async || {
            let objects = gateway.metric("serin_objects{kind=\"Secret\"").await;
            (objects == 0).then_some(())
        })
        .await;
        until_served(&gateway, "shop.example", Some("stable")).await;
    });
}

#[test]
fn only_the_objects_of_watched_namespaces_are_served() {
    in_namespace(async || {
        let shop = Shop::open().await;
        let namespace = |labels: Value| {
            let metadata = json!({ "name": "lab", "labels": labels });
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })
        };
        shop.apply(&namespace(json!({}))).await;
        let service = manifests::service("lab", "web");
        let ingress = within("lab", manifests::host("lab.example", "web"));
        for object in [&manifests::slice(&service, 0, pod(2)), &service, &ingress] {
            shop.apply(object).await;
        }
        shop.apply(&manifests::host("shop.example", "stable")).await;

        let one = shop.control_plane.gateway(&["--watch-namespace", "lab"]).await;
        until_served(&one, "lab.example", Some("canary")).await;
        until_served(&one, "shop.example", None).await;
        drop(one);

        let labelled = shop.control_plane.gateway(&["--watch-namespace-selector", "tier in (web, lab)"]).await;
        until_served(&labelled, "lab.example", None).await;
        until_served(&labelled, "shop.example", None).await;
        shop.apply(&namespace(json!({ "tier": "lab" }))).await;
        until_served(&labelled, "lab.example", Some("canary")).await;
        shop.apply(&namespace(json!({ "tier": "none" }))).await;
        until_served(&labelled, "lab.example", None).await;
    });
}

#[test]
fn lists_come_in_pages_where_the_server_does_not_stream_them() {
    in_namespace(async || {
        let control_plane = ControlPlane::start_with(&["--feature-gates=WatchList=false"]).await;
        let shop = Shop::open_in(control_plane).await;
        let host = |number: usize| format!("h{number}.example");
        // More than fit on a page.
        for number in 0..600 {
            shop.apply(&manifests::host(&host(number), "stable")).await;
        }
        let gateway = shop.control_plane.gateway(&["--log-level", "debug"]).await;
        assert!(gateway.log().iter().any(|line| line.contains("listing in pages")), "{:?}", gateway.log());
        assert_eq!(gateway.metric("serin_objects{kind=\"Ingress\"").await, 600);
        for number in [0, 599] {
            until_served(&gateway, &host(number), Some("stable")).await;
            shop.apply(&manifests::host(&host(number), "canary")).await;
            until_served(&gateway, &host(number), Some("canary")).await;
            shop.delete(&manifests::host(&host(number), "canary")).await;
            until_served(&gateway, &host(number), None).await;
        }
    });
}

/// Waits until who connects is shown the certificate of a Secret.
pub(crate) async fn until_shown(gateway: &Gateway, trust: &Trust, secret: &Value) {
    let chain = secret["stringData"]["tls.crt"].as_str().expect("it has a certificate");
    let expected = CertificateDer::from_pem_slice(chain.as_bytes()).expect("it is PEM");
    eventually("the certificate is shown", async || {
        let connected = trust.connect(gateway.https, "shop.example").await.ok()?;
        let shown = connected.get_ref().1.peer_certificates()?;
        (shown[0] == expected).then_some(())
    })
    .await;
}
