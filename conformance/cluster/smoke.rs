//! The control plane itself: what the other tests here take for granted.

use std::{pin::pin, time::Duration};

use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::Ingress};
use kube::{
    Api, Client,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::time;
use tokio_stream::StreamExt as _;

use crate::{
    control_plane::{ControlPlane, User, eventually},
    manifests,
    namespace::in_namespace,
};

#[test]
fn objects_outlive_the_death_of_the_api_server_and_of_etcd() {
    in_namespace(async || {
        let mut control_plane = ControlPlane::start().await;
        let ingress = manifests::host("shop.example", "shop");
        let made = control_plane.apply(&ingress).await.expect("it is an Ingress");
        let uid = made.metadata.uid;

        control_plane.kill_api();
        control_plane.read(&ingress).await.expect_err("the API server is dead");
        control_plane.start_api().await;
        assert_eq!(control_plane.read(&ingress).await.expect("it is still there").metadata.uid, uid);

        control_plane.kill_etcd();
        control_plane.start_etcd().await;
        control_plane.until_ready().await;
        assert_eq!(control_plane.read(&ingress).await.expect("it is still there").metadata.uid, uid);
    });
}

#[test]
fn a_watch_from_before_the_api_server_was_started_is_gone() {
    in_namespace(async || {
        let mut control_plane = ControlPlane::start().await;
        let before = control_plane.apply(&config_map("before")).await.expect("it is a ConfigMap");
        let before = before.metadata.resource_version.expect("an object has a version");
        control_plane.apply(&config_map("after")).await.expect("it is a ConfigMap");
        assert_eq!(first_event(control_plane.client(), &before).await, Ok(Some("after".into())));

        control_plane.kill_api();
        control_plane.start_api().await;
        assert_eq!(first_event(control_plane.client(), &before).await, Err(410));
    });
}

#[test]
fn a_list_from_before_a_compaction_cannot_be_gone_on_with() {
    in_namespace(async || {
        let mut control_plane = ControlPlane::start().await;
        for name in ["first", "second"] {
            control_plane.apply(&config_map(name)).await.expect("it is a ConfigMap");
        }
        let maps = Api::<ConfigMap>::namespaced(control_plane.client(), "default");
        let one = ListParams::default().limit(1);
        let page = maps.list(&one).await.expect("there are ConfigMaps");
        let rest = one.continue_token(&page.metadata.continue_.expect("there is more"));
        control_plane.apply(&config_map("third")).await.expect("it is a ConfigMap");

        // It asks etcd only for what it does not remember.
        control_plane.kill_api();
        control_plane.start_api().await;
        assert_eq!(maps.list(&rest).await.expect("the history is there").items.len(), 1);
        control_plane.compact().await;
        control_plane.kill_api();
        control_plane.start_api().await;
        assert_eq!(code(&maps.list(&rest).await.expect_err("the history is gone")), 410);
    });
}

#[test]
fn a_frozen_api_server_goes_on_where_it_stopped() {
    in_namespace(async || {
        let control_plane = ControlPlane::start().await;
        control_plane.freeze_api();
        let client = control_plane.client();
        let mut asked = tokio::spawn(async move { Api::<Ingress>::all(client).list(&ListParams::default()).await });
        time::timeout(Duration::from_millis(200), &mut asked).await.expect_err("nothing answers");
        control_plane.thaw_api();
        let answer = asked.await.expect("it does not panic");
        assert_eq!(answer.expect("it is answered after all").items, []);
    });
}

#[test]
fn a_namespace_ends_with_all_that_is_in_it() {
    in_namespace(async || {
        let mut control_plane = ControlPlane::start().await;
        control_plane.start_controllers();
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
        let mut inside = config_map("inside");
        inside["metadata"]["namespace"] = json!("shop");
        for object in [&namespace, &inside] {
            control_plane.apply(object).await.expect("it can be made");
        }
        control_plane.delete(&namespace).await.expect("it can be deleted");
        for object in [&namespace, &inside] {
            eventually("it is gone", async || {
                control_plane.read(object).await.err().filter(|error| code(error) == 404)
            })
            .await;
        }
    });
}

#[test]
fn endpoints_have_the_addresses_of_pods_and_not_of_the_loopback() {
    in_namespace(async || {
        let control_plane = ControlPlane::start().await;
        let service = manifests::service("default", "shop");
        let slice = |address: [u8; 4]| manifests::slice(&service, 0, (address, 8080).into());
        let refused = control_plane.apply(&slice([127, 0, 0, 1])).await.expect_err("it is a loopback address");
        assert_eq!(code(&refused), 422);
        control_plane.apply(&slice([10, 244, 1, 1])).await.expect("it is an address that a pod may have");
    });
}

#[test]
fn a_user_may_do_what_was_granted() {
    in_namespace(async || {
        let control_plane = ControlPlane::start().await;
        let client = control_plane.client_of(User::Serin).await;
        let list = async || Api::<Ingress>::all(client.clone()).list(&ListParams::default()).await;
        assert_eq!(list().await.map_err(|error| code(&error)).expect_err("nothing was granted"), 403);
        let rules = json!([{ "apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["list"] }]);
        control_plane.grant(User::Serin, rules).await.expect("these are rules");
        eventually("the grant is heeded", async || list().await.ok()).await;
    });
}

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": "default", "name": name } })
}

/// The name in the first event of a watch of ConfigMaps from a version on, or the code by which it ends.
async fn first_event(client: Client, version: &str) -> Result<Option<String>, u16> {
    let maps = Api::<ConfigMap>::namespaced(client, "default");
    let events = maps.watch(&WatchParams::default().timeout(20), version).await.map_err(|error| code(&error))?;
    match pin!(events).next().await {
        Some(Ok(WatchEvent::Added(map))) => Ok(map.metadata.name),
        Some(Ok(WatchEvent::Error(status))) => Err(status.code),
        other => panic!("a watch without bookmarks begins with what was made: {other:?}"),
    }
}

/// The code of the API server's refusal.
fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        error => panic!("the API server answers: {error}"),
    }
}
