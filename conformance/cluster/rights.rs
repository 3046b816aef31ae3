//! With which rights a gateway reads: those that the documentation gives it, fewer, and none.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    client::{Client, Request},
    control_plane::{ControlPlane, User, eventually},
    echo::Echo,
    gateway::Gateway,
    manifests,
    namespace::in_namespace,
    serving::until_shown,
    shop::{Shop, namespace, pod, until_served, until_told, with_tls, within},
    tls::Trust,
};

#[test]
fn the_documented_rights_suffice_for_a_cluster() {
    in_namespace(async || {
        let shop = Shop::open().await;
        let trust = Trust::new();
        let secret = trust.secret("default", "shop-tls", &["shop.example"]);
        shop.apply(&secret).await;
        shop.apply(&route("default", "stable")).await;
        shop.control_plane.kubectl(&["apply", "-f", "docs/rbac/cluster.yaml"]);
        let token = shop.control_plane.kubectl(&["create", "token", "serin", "--namespace", "serin"]);
        let kubeconfig = shop.control_plane.kubeconfig_by(token.trim());
        for secrets in ["cluster", "namespaces", "named"] {
            let flags = ["--secrets", secrets, "--watch-namespace-selector", "kubernetes.io/metadata.name=default"];
            let gateway = Gateway::spawn(ControlPlane::program_of_gateway(&kubeconfig, &flags)).await;
            until_served(&gateway, "shop.example", Some("stable")).await;
            until_shown(&gateway, &trust, &secret).await;
        }
    });
}

#[test]
fn the_documented_rights_suffice_for_a_namespace_and_reach_no_further() {
    in_namespace(async || {
        let shop = Shop::open().await;
        shop.apply(&namespace("shop")).await;
        let _endpoint = Echo::start_at(pod(3), "shop").await;
        let service = manifests::service("shop", "web");
        let trust = Trust::new();
        let secret = trust.secret("shop", "shop-tls", &["shop.example"]);
        let hidden = with_tls(within("shop", manifests::host("hidden.example", "web")), "hidden-tls");
        let hidden_secret = trust.secret("shop", "hidden-tls", &["hidden.example"]);
        let route = route("shop", "web");
        for object in [&manifests::slice(&service, 0, pod(3)), &service, &secret, &route, &hidden, &hidden_secret] {
            shop.apply(object).await;
        }
        shop.control_plane.kubectl(&["apply", "-f", "docs/rbac/namespace.yaml"]);
        let token = shop.control_plane.kubectl(&["create", "token", "serin", "--namespace", "shop"]);
        let kubeconfig = shop.control_plane.kubeconfig_by(token.trim());
        let flags = ["--watch-namespace", "shop", "--secrets", "named"];
        let gateway = Gateway::spawn(ControlPlane::program_of_gateway(&kubeconfig, &flags)).await;
        until_served(&gateway, "shop.example", Some("shop")).await;
        until_shown(&gateway, &trust, &secret).await;
        until_served(&gateway, "hidden.example", Some("shop")).await;
        until_told(&gateway, "Secret shop/hidden-tls", "Forbidden").await;
        until_told(&gateway, "CommandLine serin", "Forbidden").await;

        // It is granted, and read without more ado.
        let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"] }]);
        shop.control_plane.grant(User::Serin, rules).await.expect("these are rules");
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": "more" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": User::Serin.name() },
            "subjects": [{ "kind": "ServiceAccount", "name": "serin", "namespace": "shop" }],
        });
        shop.apply(&binding).await;
        eventually("the Secret is no problem", async || {
            let problems = gateway.admin("/debug/problems").await;
            (!String::from_utf8_lossy(&problems.body).contains("hidden-tls")).then_some(())
        })
        .await;
    });
}

#[test]
fn without_rights_a_gateway_waits_and_says_for_what() {
    in_namespace(async || {
        let control_plane = ControlPlane::start().await;
        let kubeconfig = control_plane.kubeconfig(User::Serin);
        let admin = ([127, 0, 0, 1], 10254).into();
        let mut program = ControlPlane::program_of_gateway(&kubeconfig, &["--healthz-port", "10254"]);
        let mut gateway = program.spawn().expect("it can be started");
        let unready = eventually("it says what it waits for", async || {
            let mut client = Client::connect(admin).await.ok()?;
            let answer = client.exchange(&Request::get("admin", "/readyz")).await.ok()?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            (text.contains("list of Secret") && !text.contains("IngressClass")).then_some(text)
        })
        .await;
        for kind in ["EndpointSlice", "Ingress", "Secret", "Service"] {
            assert!(unready.contains(&format!("list of {kind}")), "{unready}");
        }
        let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "watch"] }]);
        control_plane.grant(User::Serin, rules).await.expect("these are rules");
        eventually("it is ready", async || {
            let mut client = Client::connect(admin).await.ok()?;
            let answer = client.exchange(&Request::get("admin", "/readyz")).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        gateway.kill().expect("it is there");
        gateway.wait().expect("it is a child");
    });
}

#[test]
fn a_pod_finds_its_cluster_by_its_account() {
    in_namespace(async || {
        let shop = Shop::open().await;
        shop.apply(&manifests::host("shop.example", "stable")).await;
        shop.control_plane.kubectl(&["apply", "-f", "docs/rbac/cluster.yaml"]);
        // What a kubelet gives a container; `/run` is this test's own.
        let mounted = "set -e; mount -t tmpfs tmpfs \"$(readlink -f /var/run)\"; mkdir -p \"$0\"; cd \"$0\"; \
            printf %s \"$1\" >token; printf %s serin >namespace; cp \"$2\" ca.crt";
        let token = shop.control_plane.kubectl(&["create", "token", "serin", "--namespace", "serin"]);
        let authority = shop.control_plane.authority();
        let account = "/var/run/secrets/kubernetes.io/serviceaccount";
        let mut mount = Command::new("sh");
        mount.args(["-c", mounted, account, token.trim()]).arg(authority);
        assert!(mount.status().expect("there is a shell").success(), "what a pod has can be mounted");

        let mut program = Gateway::command(([127, 0, 0, 1], 0).into());
        program.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "6443");
        program.env("HOME", "/nonexistent");
        let gateway = Gateway::spawn(program).await;
        until_served(&gateway, "shop.example", Some("stable")).await;
    });
}

#[test]
fn no_level_of_the_log_shows_what_a_secret_holds() {
    in_namespace(async || {
        let shop = Shop::open().await;
        let trust = Trust::new();
        let mut secrets = Vec::new();
        for secrets_by in ["cluster", "named"] {
            let secret = trust.secret("default", "shop-tls", &["shop.example"]);
            shop.apply(&secret).await;
            shop.apply(&route("default", "stable")).await;
            let gateway = shop.control_plane.gateway(&["--log-level", "trace", "--secrets", secrets_by]).await;
            until_shown(&gateway, &trust, &secret).await;
            secrets.push(secret);
            let log = gateway.log().join("\n");
            assert!(log.contains("TRACE"), "all is logged");
            for secret in &secrets {
                let key = secret["stringData"]["tls.key"].as_str().expect("it has a key");
                let line = key.lines().nth(1).expect("it is PEM");
                assert!(!log.contains(line), "the key is shown");
            }
            let kept = shop.control_plane.read(&secrets[0]).await.expect("it is there");
            let given = kept.data["data"]["tls.key"].as_str().expect("it has a key");
            assert!(!log.contains(&given[80..140]), "the key is shown as the API server gives it");
            let dump = gateway.admin("/debug/certificates").await;
            assert!(!String::from_utf8_lossy(&dump.body).contains("PRIVATE"));
        }
    });
}

/// A route of `shop.example` with a certificate.
fn route(namespace: &str, service: &str) -> Value {
    with_tls(within(namespace, manifests::host("shop.example", service)), "shop-tls")
}
