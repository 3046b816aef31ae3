//! The churn of the test `conformance`, with an API server between: changes of tables, endpoints and certificates under
//! load lose nothing.

use std::{collections::HashMap, net::Ipv4Addr, sync::Mutex};

use serde_json::Value;

use self::stage::{Objects, Stage};
use crate::{
    namespace::in_namespace,
    shop::{Shop, namespace},
};

#[path = "../churn/calls.rs"]
mod calls;
#[path = "../churn/door.rs"]
mod door;
#[path = "../churn/stage.rs"]
mod stage;
#[path = "../churn/streams.rs"]
mod streams;
#[expect(dead_code, reason = "the test `conformance` uses the rest")]
#[path = "../churn/traffic.rs"]
mod traffic;

/// Objects that are written to an API server, one by one.
struct Written<'a> {
    shop: &'a Shop,
    /// What was written under each name.
    former: Mutex<HashMap<String, Vec<Value>>>,
}

#[test]
fn changes_under_load_lose_nothing() {
    in_namespace(async || {
        let shop = Shop::open().await;
        shop.apply(&namespace("churn")).await;
        let objects = Written { shop: &shop, former: Mutex::default() };
        let stage = Stage::set(objects, Ipv4Addr::new(10, 244, 1, 1).into()).await;
        let gateway = shop.control_plane.gateway(&[]).await;
        stage.change_all_under_load(&gateway).await;
    });
}

impl Objects for Written<'_> {
    async fn write(&self, name: &str, objects: &[Value]) {
        for object in objects {
            self.shop.apply(object).await;
        }
        let former = self.former.lock().expect("no holder panics").insert(name.to_owned(), objects.to_vec());
        let is_left = |former: &&Value| objects.iter().all(|object| !are_same(former, object));
        for gone in former.iter().flatten().filter(is_left) {
            self.shop.delete(gone).await;
        }
    }
}

/// Whether two are states of the same object.
fn are_same(a: &Value, b: &Value) -> bool {
    let name = |object: &Value| {
        let metadata = &object["metadata"];
        [&object["kind"], &metadata["namespace"], &metadata["name"]].map(Value::to_string)
    };
    name(a) == name(b)
}
