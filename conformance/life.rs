//! How a gateway ends: by a signal, as Kubernetes ends it, and without losing a request.

use crate::{
    client::{Client, PATIENCE, Request},
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
};
use std::time::Duration;
use tokio::time::{self, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_finishes_and_idle_connections_are_closed() {
    let mut stage = Stage::set(&[]).await;
    let mut idle = stage.gateway.client().await;
    idle.exchange(&Request::get("shop.example", "/")).await.expect("the gateway answers");
    let in_flight = stage.slow_request().await;

    stage.gateway.signal("TERM");
    let answer = in_flight.await.expect("the task does not panic").expect("a request in flight finishes");
    assert_eq!(answer.status, 200);
    assert_eq!(stage.gateway.exit_code().await, Some(0));
    idle.exchange(&Request::get("shop.example", "/")).await.expect_err("an idle connection is closed");
    Client::connect(stage.gateway.http).await.expect_err("nothing listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_unready_at_once_and_accepts_for_the_delay() {
    let mut stage = Stage::set(&["--shutdown-delay", "10s"]).await;
    stage.gateway.signal("TERM");
    stage.until_unready().await;
    let answer = stage.gateway.client().await.exchange(&Request::get("shop.example", "/")).await;
    assert_eq!(answer.expect("it still accepts and answers").status, 200);
    assert_eq!(stage.gateway.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let mut stage = Stage::set(&["--shutdown-delay", "1h"]).await;
    stage.gateway.signal("TERM");
    stage.until_unready().await;
    stage.gateway.signal("TERM");
    stage.gateway.exit_code().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_last_until_the_deadline() {
    let mut stage = Stage::set(&["--shutdown-timeout", "1s"]).await;
    let mut client = stage.gateway.client().await;
    let upgrade = Request::get("shop.example", "/").with("Connection", "Upgrade").with("Upgrade", "websocket");
    assert_eq!(client.exchange(&upgrade).await.expect("the gateway answers").status, 101);
    let mut tunnel = client.into_wire();

    stage.gateway.signal("TERM");
    stage.until_unready().await;
    tunnel.write(b"ping").await.expect("the tunnel is open");
    assert_eq!(tunnel.read_exact(4).await.expect("the tunnel is open"), b"ping");
    stage.gateway.exit_code().await;
    assert!(tunnel.read_some().await.is_ok_and(|bytes| bytes.is_empty()) || tunnel.write(b"x").await.is_err());
}

/// A gateway before one endpoint.
struct Stage {
    gateway: Gateway,
    endpoint: Echo,
    _manifests: Manifests,
}

// === impl Stage ===

impl Stage {
    async fn set(flags: &[&str]) -> Self {
        let endpoint = Echo::start("a").await;
        let manifests = Manifests::new();
        let service = manifests::service("default", "a");
        manifests.write_objects("slices.json", &manifests::slices(&service, [&endpoint]));
        manifests.write_objects("others.json", &[service, manifests::catch_all("a")]);
        let gateway = Gateway::start(manifests.path(), flags).await;
        Self { gateway, endpoint, _manifests: manifests }
    }

    /// Sends a request that takes a while, and waits until the endpoint has it.
    async fn slow_request(&self) -> tokio::task::JoinHandle<std::io::Result<crate::client::Answer>> {
        let before = self.endpoint.requests();
        let mut client = self.gateway.client().await;
        let request = Request::get("shop.example", "/").with("X-Want-Delay", "1");
        let answer = tokio::spawn(async move { client.exchange(&request).await });
        let deadline = Instant::now() + PATIENCE;
        while self.endpoint.requests() == before {
            assert!(Instant::now() < deadline, "the request reaches the endpoint");
            time::sleep(Duration::from_millis(1)).await;
        }
        answer
    }

    async fn until_unready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.gateway.admin("/readyz").await.status == 200 {
            assert!(Instant::now() < deadline, "the gateway gets unready");
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}
