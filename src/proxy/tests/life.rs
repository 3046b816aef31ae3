//! The end of a gateway, and what survives until then.

use std::sync::{Arc, Mutex, mpsc};

use super::harness::*;
use crate::{
    lifecycle::Phase,
    proxy::{Config, log::Format},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// An endpoint that answers when it is told to.
fn held() -> (Endpoint, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Endpoint::run(move |_, mut line| {
        while line.read().is_some() {
            let _ = told.lock().unwrap().recv();
            line.send(OK);
        }
    });
    (endpoint, tell)
}

#[test]
fn a_drain_ends_idle_connections_and_waits_for_requests() {
    let (endpoint, tell) = held();
    let mut gateway = Gateway::to(&[&endpoint]);
    let (mut idle, mut busy) = (gateway.connect(), gateway.connect());
    tell.send(()).unwrap();
    assert_eq!(idle.ask(GET).status(), 200);
    busy.send(GET);
    wait_until("the endpoint has the request", || endpoint.seen().len() == 2);

    gateway.drainer.advance(Phase::Closing);
    assert!(idle.is_closed());
    wait_until("the busy one is left", || gateway.alive() == [("connections", 1)]);
    tell.send(()).unwrap();
    let answer = busy.answer(true);
    assert_eq!(answer.status(), 200);
    assert!(busy.is_closed());
    gateway.join();
}

#[test]
fn before_it_closes_the_gateway_serves_as_ever() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    gateway.drainer.advance(Phase::Leaving);
    assert_eq!(line.ask(GET).field("connection"), None);
    assert_eq!(gateway.get("/").status(), 200, "new connections come in");
}

#[test]
fn who_never_asks_does_not_hold_up_the_end() {
    let mut gateway = Gateway::to(&[]);
    let mut line = gateway.connect();
    wait_until("it is accepted", || gateway.alive() == [("connections", 1)]);
    gateway.drainer.advance(Phase::Closing);
    gateway.join();
    assert!(line.is_closed());
}

#[test]
fn a_request_that_is_cut_off_is_told_and_logged() {
    let (endpoint, _tell) = held();
    let mut gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let mut line = gateway.connect();
    line.send(GET);
    wait_until("the endpoint has the request", || endpoint.seen().len() == 1);
    gateway.stop();
    let answer = line.answer(true);
    assert_eq!(answer.status(), 503, "{}", answer.head);
    assert!(line.is_closed());
    let log = gateway.finish();
    assert!(log.contains("\"status\":503") && log.contains("shutting_down"), "{log}");
}

#[test]
fn several_workers_share_a_port() {
    let endpoint = Endpoint::ok();
    let workers = 3.try_into().unwrap();
    let gateway = Gateway::with_config(Config { workers, ..Config::default() }, &[&endpoint]);
    for _ in 0..30 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    wait_until("all are counted", || gateway.metric("nginx_ingress_controller_requests{") == 30);
}

#[test]
fn a_new_table_serves_the_next_request_of_an_old_connection() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(GET).status(), 200);
    let former = gateway.table.replace(crate::proxy::RoutingTable::new());
    assert_eq!(line.ask(GET).status(), 404);
    gateway.table.replace(former);
    assert_eq!(line.ask(GET).status(), 200);
}

#[test]
fn a_worker_without_requests_lets_go_of_a_replaced_table() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    assert_eq!(gateway.get("/").status(), 200);
    let former = gateway.table.replace(crate::proxy::RoutingTable::new());
    wait_until("nobody else holds it", || Arc::strong_count(&former) == 1);
}
