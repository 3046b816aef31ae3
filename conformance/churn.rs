//! Changes tables and endpoints under load, and counts what is lost: nothing.
//!
//! Many keep-alive connections ask at a steady rate, a part of them with bodies, and so do many streams of connections over
//! HTTP/2; some connections are WebSockets, some idle from the first change to the last; some calls of gRPC last as long,
//! others come and go. Where TLS is spoken, half of them come by it, and its certificate is replaced all the time. Every answer tells who answered and which version of the route it came through. What is compared:
//!
//! * Each request gets its own answer: its path, or its body, comes back.
//! * No answer comes through a version of the route, or from an endpoint, older than what traffic had shown *before* the
//!   request was sent.
//! * No connection is closed, be it busy, upgraded or idle; frames come back in order, and so do the notes of a call, all
//!   from one endpoint, though that be taken away meanwhile.
//!
//! Each change is seen on traffic before the next is made. That the checker sees what goes wrong is shown by gateways whose
//! tables and endpoints are published wrongly on purpose, and by one that is restarted under it.

use self::{
    door::Door,
    open::OpenGateway,
    stage::{Objects, Stage},
    traffic::{Load, Traffic, endpoints_of},
};
use crate::{gateway::Gateway, manifests::Manifests};
use serde_json::Value;
use serin::upstream::{EndpointSpec, Endpoints};
use std::{net::Ipv4Addr, sync::Arc};

mod calls;
mod door;
mod open;
mod stage;
mod streams;
mod traffic;

/// Enough to notice what is wrong.
const SOME: Load = Load { connections: 8, shared: 2, streams: 4, rate: 400, sockets: 2, fresh: 1, calls: 4, idle: 4 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_lose_nothing() {
    let stage = stage().await;
    let gateway = Gateway::start(stage.objects.path(), &[]).await;
    stage.change_all_under_load(&gateway).await;
}

/// What the checker is for: it must notice where a swap goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_table_that_is_put_back_is_seen() {
    let stage = stage().await;
    let gateway = OpenGateway::start(stage.objects.path()).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    let former = gateway.published.table.get();
    stage.change_route_under_load(&traffic, 1).await;
    gateway.published.table.replace(former);
    traffic.wait_for_loss().await;

    let lost = traffic.stop().await.lost;
    assert!(lost.iter().all(|loss| loss.ends_with("version 0 after 1")), "{lost:?}");
}

/// It must notice a table that comes before what it names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_published_before_its_clusters_is_seen() {
    let stage = stage().await;
    let gateway = OpenGateway::start(stage.objects.path()).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    let whole = gateway.published.table.replace(gateway.table_before_its_clusters());
    traffic.wait_for_loss().await;
    gateway.published.table.replace(whole);

    let lost = traffic.stop().await.lost;
    let is_so = |loss: &String| loss.ends_with("status 503") || loss.contains("the service is not available");
    assert!(lost.iter().all(is_so), "{lost:?}");
}

/// It must notice a certificate that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_taken_away_are_seen() {
    let stage = stage().await;
    let gateway = OpenGateway::start(stage.objects.path()).await;
    let traffic = Traffic::start(&[Door::tls(gateway.https, &stage.trust)], SOME).await;
    gateway.published.certificates.replace(Arc::default());
    traffic.wait_for_loss().await;

    let lost = traffic.stop().await.lost;
    assert!(lost.iter().all(|loss| loss.starts_with("request: no connection")), "{lost:?}");
}

/// It must notice endpoints that are used after they were taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_were_taken_away_and_answer_are_seen() {
    let stage = stage().await;
    let gateway = OpenGateway::start(stage.objects.path()).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    let former = endpoints_of(0).map(|at| EndpointSpec::new(stage.endpoints[at].address));
    for generation in 1..=2 {
        stage.change_endpoints(&traffic, generation).await;
    }
    gateway.cluster("web").replace(&Endpoints::of(former));
    traffic.wait_for_loss().await;

    let lost = traffic.stop().await.lost;
    assert!(lost.iter().all(|loss| loss.ends_with("answered after generation 2")), "{lost:?}");
}

/// It must notice when connections break, of whichever kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_is_seen_as_loss() {
    let stage = stage().await;
    let gateway = Gateway::start(stage.objects.path(), &[]).await;
    let traffic = Traffic::start(&[Door::plain(gateway.http)], SOME).await;
    stage.change_route_under_load(&traffic, 1).await;
    let address = gateway.http;
    drop(gateway);
    let _restarted = Gateway::start_at(address, stage.objects.path(), &[]).await;
    let tally = traffic.stop().await;

    for what in ["request", "stream", "socket", "call", "idle"] {
        assert!(tally.lost.iter().any(|loss| loss.starts_with(what)), "no {what} was lost: {:?}", tally.lost);
    }
}

impl Objects for Manifests {
    async fn write(&self, name: &str, objects: &[Value]) {
        self.write_objects(&format!("{name}.json"), objects);
    }
}

async fn stage() -> Stage<Manifests> {
    Stage::set(Manifests::new(), Ipv4Addr::LOCALHOST.into()).await
}
