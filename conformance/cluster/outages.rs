//! The API server and etcd die, come back, forget, and are restored from a copy, while requests go on: none is lost, and
//! what is new is live within a second of their return.

use std::time::Duration;

use tokio::time::{self, Instant};

use crate::{
    control_plane::{ControlPlane, eventually},
    gate::{Gate, Way},
    gateway::Gateway,
    manifests,
    namespace::{in_namespace, long_in_namespace},
    shop::{Load, Shop, canary, until_served},
};

/// Within what time after the return of the API server what is new is live.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn the_api_server_may_be_away_for_a_minute() {
    in_namespace(async || away_for(Duration::from_secs(60)).await);
}

#[test]
#[ignore = "it takes more than ten minutes: `just soak`"]
fn the_api_server_may_be_away_for_ten_minutes() {
    long_in_namespace(async || away_for(Duration::from_secs(600)).await);
}

#[test]
fn etcd_and_the_api_server_may_die_and_come_back() {
    in_namespace(async || {
        let mut shop = Shop::open().await;
        shop.apply(&manifests::host("shop.example", "stable")).await;
        let gateway = shop.control_plane.gateway(&[]).await;
        let load = Load::start(&gateway, "shop.example");
        for weight in [100, 0] {
            shop.control_plane.kill_etcd();
            time::sleep(Duration::from_secs(1)).await;
            shop.control_plane.start_etcd().await;
            shop.control_plane.until_ready().await;
            soon_split(&shop, &gateway, weight).await;
            shop.control_plane.kill_api();
            time::sleep(Duration::from_secs(1)).await;
            shop.control_plane.start_api().await;
            soon_split(&shop, &gateway, 100 - weight).await;
        }
        shop.control_plane.freeze_api();
        time::sleep(Duration::from_secs(3)).await;
        shop.control_plane.thaw_api();
        soon_split(&shop, &gateway, 100).await;
        assert!(load.stop().await > 1000);
    });
}

#[test]
fn what_happens_while_a_gateway_is_cut_off_is_made_up_for() {
    in_namespace(async || {
        let mut shop = Shop::open().await;
        let gate = Gate::open(&shop.control_plane).await;
        for host in ["shop.example", "gone.example", "changed.example"] {
            shop.apply(&manifests::host(host, "stable")).await;
        }
        let gateway = Gateway::spawn(ControlPlane::program_of_gateway(&gate.kubeconfig, &[])).await;
        let load = Load::start(&gateway, "shop.example");
        let mut expired = 0;
        for expires in [false, true] {
            until_served(&gateway, "gone.example", Some("stable")).await;
            gate.set(Way::Closed);
            eventually("the gateway says so", async || (watched(&gateway).await == 0).then_some(())).await;
            shop.delete(&manifests::host("gone.example", "stable")).await;
            shop.apply(&manifests::host("changed.example", "canary")).await;
            shop.apply(&manifests::host("new.example", "stable")).await;
            if expires {
                // It remembers nothing of what was before, so no watch can be taken up.
                shop.control_plane.kill_api();
                shop.control_plane.compact().await;
                shop.control_plane.start_api().await;
            }
            until_served(&gateway, "gone.example", Some("stable")).await;

            gate.set(Way::Open);
            let returned = Instant::now();
            until_served(&gateway, "gone.example", None).await;
            until_served(&gateway, "changed.example", Some("canary")).await;
            until_served(&gateway, "new.example", Some("stable")).await;
            assert!(returned.elapsed() < SOON, "{:?}", returned.elapsed());
            eventually("all is watched", async || (watched(&gateway).await == 5).then_some(())).await;
            expired += usize::from(gateway.log().iter().any(|line| line.contains("all is listed again")));

            shop.apply(&manifests::host("gone.example", "stable")).await;
            shop.apply(&manifests::host("changed.example", "stable")).await;
            shop.delete(&manifests::host("new.example", "stable")).await;
            until_served(&gateway, "changed.example", Some("stable")).await;
        }
        assert_eq!(expired, 1, "the watches expire the second time: {:?}", gateway.log());
        load.stop().await;
    });
}

#[test]
fn what_a_cluster_had_that_is_restored_from_a_copy_takes_the_place_of_what_it_had_since() {
    in_namespace(async || {
        let mut shop = Shop::open().await;
        for host in ["shop.example", "old.example"] {
            shop.apply(&manifests::host(host, "stable")).await;
        }
        shop.control_plane.kill_api();
        shop.control_plane.kill_etcd();
        shop.control_plane.copy_etcd("etcd", "copy");
        shop.control_plane.start_etcd().await;
        shop.control_plane.start_api().await;
        let gateway = shop.control_plane.gateway(&[]).await;
        shop.delete(&manifests::host("old.example", "stable")).await;
        shop.apply(&manifests::host("new.example", "stable")).await;
        until_served(&gateway, "old.example", None).await;
        until_served(&gateway, "new.example", Some("stable")).await;
        let load = Load::start(&gateway, "shop.example");

        shop.control_plane.kill_api();
        shop.control_plane.kill_etcd();
        shop.control_plane.copy_etcd("copy", "etcd");
        // To restore a cluster takes a while, and by that it is known.
        time::sleep(Duration::from_secs(6)).await;
        shop.control_plane.start_etcd().await;
        shop.control_plane.start_api().await;
        let returned = Instant::now();
        until_served(&gateway, "new.example", None).await;
        until_served(&gateway, "old.example", Some("stable")).await;
        assert!(returned.elapsed() < SOON, "{:?}", returned.elapsed());
        load.stop().await;
    });
}

#[test]
fn a_gateway_that_starts_without_the_api_server_waits_for_it() {
    in_namespace(async || {
        let mut shop = Shop::open().await;
        shop.apply(&manifests::host("shop.example", "stable")).await;
        shop.control_plane.kill_api();
        let kubeconfig = shop.control_plane.kubeconfig(crate::control_plane::User::Serin);
        let starting =
            tokio::spawn(async move { Gateway::spawn(ControlPlane::program_of_gateway(&kubeconfig, &[])).await });
        time::sleep(Duration::from_secs(2)).await;
        assert!(!starting.is_finished(), "it serves what it does not know");
        shop.control_plane.start_api().await;
        let gateway = starting.await.expect("it starts");
        until_served(&gateway, "shop.example", Some("stable")).await;
    });
}

#[test]
#[ignore = "it takes more than a minute: `just soak`"]
fn a_connection_that_dies_in_silence_is_noticed() {
    long_in_namespace(async || {
        let shop = Shop::open().await;
        let gate = Gate::open(&shop.control_plane).await;
        shop.apply(&manifests::host("shop.example", "stable")).await;
        let gateway = Gateway::spawn(ControlPlane::program_of_gateway(&gate.kubeconfig, &[])).await;
        gate.set(Way::Silent);
        shop.apply(&manifests::host("new.example", "stable")).await;
        gate.set(Way::Open);
        time::sleep(Duration::from_secs(50)).await;
        until_served(&gateway, "new.example", Some("stable")).await;
    });
}

async fn away_for(time: Duration) {
    let mut shop = Shop::open().await;
    shop.apply(&manifests::host("shop.example", "stable")).await;
    let gateway = shop.control_plane.gateway(&[]).await;
    let load = Load::start(&gateway, "shop.example");
    soon_split(&shop, &gateway, 100).await;
    assert_eq!(watched(&gateway).await, 5);
    shop.control_plane.kill_api();
    eventually("the gateway says so", async || (watched(&gateway).await == 0).then_some(())).await;
    let said = gateway.log().iter().filter(|line| line.contains("cannot watch")).count();
    assert!(said > 0, "{:?}", gateway.log());
    time::sleep(time).await;
    assert_eq!(gateway.admin("/readyz").await.status, 200, "it serves what it knows");
    shop.control_plane.start_api().await;
    soon_split(&shop, &gateway, 0).await;
    eventually("all is watched", async || (watched(&gateway).await == 5).then_some(())).await;
    let answered = load.stop().await;
    assert!(answered > 1000, "{answered}");
}

/// How many kinds the gateway watches.
async fn watched(gateway: &Gateway) -> u64 {
    gateway.metric("serin_watch_up").await
}

/// Lets a canary have all or nothing, which is live within a second.
async fn soon_split(shop: &Shop, gateway: &Gateway, weight: u8) {
    shop.apply(&canary("shop.example", weight)).await;
    let written = Instant::now();
    until_served(gateway, "shop.example", Some(if weight == 0 { "stable" } else { "canary" })).await;
    assert!(written.elapsed() < SOON, "{:?}", written.elapsed());
}
