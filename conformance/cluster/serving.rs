//! A gateway that reads an API server.

use serde_json::json;

use crate::{
    client::Request,
    control_plane::{ControlPlane, User, eventually},
    echo::Echo,
    manifests,
    namespace::in_namespace,
};

#[test]
#[ignore = "the program reads no API server yet"]
fn an_ingress_is_served() {
    in_namespace(async || {
        let control_plane = ControlPlane::start().await;
        let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"] }]);
        control_plane.grant(User::Serin, rules).await.expect("these are rules");
        let endpoint = Echo::start_at(([10, 244, 1, 1], 8080).into(), "a").await;
        let service = manifests::service("default", "shop");
        let mut objects = manifests::slices(&service, [&endpoint]);
        objects.extend([manifests::ingress_class(), service, manifests::host("shop.example", "shop")]);
        for object in &objects {
            control_plane.apply(object).await.expect("it can be made");
        }

        let gateway = control_plane.gateway(&[]).await;
        let mut client = gateway.client().await;
        let request = Request::get("shop.example", "/");
        eventually("the endpoint answers", async || {
            let answer = client.exchange(&request).await.expect("the gateway answers");
            (answer.backend() == Some("a")).then_some(())
        })
        .await;
    });
}
