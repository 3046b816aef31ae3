//! Failures of endpoints, and the tries that follow them.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use super::harness::*;
use crate::{
    proxy::Tcp,
    route::{Policy, Retry, RetryOn},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nbody";

/// An endpoint that reads each request and then closes.
fn closing() -> Endpoint {
    Endpoint::run(|_, mut line| {
        line.read();
    })
}

fn on(on: RetryOn) -> Policy {
    Policy { retry: Retry { on, ..Retry::default() }, ..Policy::default() }
}

/// Asks so often that each of two endpoints is the first for some requests.
fn statuses(gateway: &Gateway, request: &str) -> Vec<u16> {
    (0..6).map(|_| gateway.ask(request).status()).collect()
}

#[test]
fn a_refused_connection_leads_to_the_next_endpoint_also_for_what_must_not_be_repeated() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::start(Setup::default(), &[nobody(), endpoint.address], &Tcp);
    for _ in 0..4 {
        assert_eq!(gateway.ask(POST).status(), 200);
    }
    assert!(endpoint.seen().iter().all(|seen| seen.body == b"body"));
}

#[test]
fn an_endpoint_that_refuses_is_passed_over_for_a_while() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::start(Setup::default(), &[nobody(), endpoint.address], &Tcp);
    for _ in 0..10 {
        assert_eq!(gateway.ask(GET).status(), 200);
    }
    assert_eq!(gateway.metric("serin_retries_total"), 1);
    assert_eq!(gateway.metric("serin_ejections_total"), 1);
}

#[test]
fn where_nobody_else_can_be_asked_that_is_no_retry() {
    let gateway = Gateway::start(Setup::default(), &[nobody()], &Tcp);
    assert_eq!(gateway.ask(GET).status(), 502);
    assert_eq!(gateway.metric("serin_retries_total"), 0);
}

#[test]
fn the_head_of_an_answer_ends_the_trouble_of_an_endpoint_and_not_its_body() {
    const LONG: &str = "GET /long HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let fails = AtomicBool::new(true);
    let back = Endpoint::run(move |_, mut line| {
        while let Some(request) = line.read() {
            if fails.swap(false, Relaxed) {
                return;
            }
            line.send(if request.head.contains("/long") { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" } else { OK });
        }
    });
    let other = Endpoint::ok();
    let gateway = Gateway::to(&[&back, &other]);
    wait_until("it fails", || {
        gateway.ask(GET);
        gateway.metric("serin_ejections_total") == 1
    });
    let mut long = None;
    wait_until("it is asked again", || {
        let mut line = gateway.connect();
        line.send(LONG);
        let head = line.read_head().unwrap();
        long = head.to_lowercase().contains("content-length: 9").then_some(line);
        long.is_some()
    });
    let before = back.seen().len();
    assert_eq!(statuses(&gateway, GET), [200; 6]);
    assert!(back.seen().len() > before, "it gets its share while the answer lasts");
}

#[test]
fn a_broken_connection_leads_to_the_next_endpoint_where_repeating_is_harmless() {
    let (bad, good) = (closing(), Endpoint::ok());
    let gateway = Gateway::to(&[&bad, &good]);
    assert_eq!(statuses(&gateway, GET), [200; 6]);
    assert!(!bad.seen().is_empty());
}

#[test]
fn what_must_not_be_repeated_is_not() {
    let (bad, worse) = (closing(), closing());
    let gateway = Gateway::to(&[&bad, &worse]);
    let answer = gateway.ask(POST);
    assert_eq!(answer.status(), 502);
    assert_eq!(bad.seen().len() + worse.seen().len(), 1);
}

#[test]
fn what_must_not_be_repeated_is_where_the_policy_says_so_with_its_body() {
    let (bad, good) = (closing(), Endpoint::ok());
    let policy = on(RetryOn { error: true, non_idempotent: true, ..RetryOn::default() });
    let gateway = Gateway::with_policy(policy, &[&bad, &good]);
    assert_eq!(statuses(&gateway, POST), [200; 6]);
    assert!(!bad.seen().is_empty());
    assert!(good.seen().iter().all(|seen| seen.body == b"body"), "{:?}", good.seen());
}

#[test]
fn a_large_body_is_not_kept_for_another_try() {
    let bad = Endpoint::run(|_, mut line| {
        line.read_head();
        line.take(200_000);
    });
    let good = Endpoint::ok();
    let policy = Policy { body_limit: None, ..on(RetryOn { error: true, ..RetryOn::default() }) };
    let gateway = Gateway::with_policy(policy, &[&bad, &good]);
    let body = "x".repeat(200_000);
    let put = format!("PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let statuses = statuses(&gateway, &put);
    assert!(statuses.contains(&502), "{statuses:?}");
    let small = "PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(gateway.ask(small).status(), 200);
}

#[test]
fn nothing_is_tried_again_where_the_policy_is_off() {
    let (bad, good) = (closing(), Endpoint::ok());
    let gateway = Gateway::with_policy(on(RetryOn::default()), &[&bad, &good]);
    assert!(statuses(&gateway, GET).contains(&502));
}

#[test]
fn a_status_is_held_back_while_another_endpoint_is_left() {
    let bad = Endpoint::answering("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    let good = Endpoint::ok();
    let policy = on(RetryOn { http_503: true, ..RetryOn::default() });
    let gateway = Gateway::with_policy(policy.clone(), &[&bad, &good]);
    assert_eq!(statuses(&gateway, GET), [200; 6]);
    assert!(!bad.seen().is_empty());
    assert!(statuses(&gateway, POST).contains(&503), "it may have been done");

    let worse = Endpoint::answering("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    let gateway = Gateway::with_policy(policy, &[&bad, &worse]);
    let answer = gateway.ask(GET);
    assert_eq!((answer.status(), answer.text()), (503, "busy"), "the last answer is the client's");
    assert_eq!(worse.seen().len(), 1);
}

#[test]
fn the_number_of_tries_is_limited() {
    let nobodies = [nobody(), nobody(), nobody(), nobody()];
    let policy = Policy { retry: Retry { tries: 2, ..Retry::default() }, ..Policy::default() };
    let gateway = Gateway::start(Setup { policy, ..Setup::default() }, &nobodies, &Tcp);
    assert_eq!(gateway.ask(GET).status(), 502);
    wait_until("it is counted", || gateway.metric("serin_retries_total") == 1);
}

#[test]
fn another_try_stays_on_the_side_that_was_chosen() {
    let (stable, live, bad) = (Endpoint::ok(), Endpoint::ok(), closing());
    for dead in [nobody(), bad.address] {
        let setup = Setup { canary: vec![dead, live.address], ..Setup::default() };
        let gateway = Gateway::with(setup, &[&stable]);
        assert_eq!(statuses(&gateway, GET), [200; 6]);
        assert!(gateway.metric("serin_retries_total") > 0, "the other endpoint was asked first once");
    }
    assert_eq!((stable.accepted(), live.seen().len()), (0, 12));
}

#[test]
fn a_failure_of_all_endpoints_of_a_canary_is_not_tried_on_the_stable_side() {
    let stable = Endpoint::ok();
    let gateway = Gateway::with(Setup { canary: vec![nobody(), nobody()], ..Setup::default() }, &[&stable]);
    assert_eq!(gateway.ask(GET).status(), 502);
    assert_eq!(stable.accepted(), 0);
}

#[test]
fn an_endpoint_that_is_too_slow_is_left_for_another() {
    let slow = Endpoint::run(|_, mut line| {
        line.read();
        line.rest();
    });
    let good = Endpoint::ok();
    let mut policy = on(RetryOn { timeout: true, ..RetryOn::default() });
    policy.timeouts.read = Duration::from_millis(200);
    let gateway = Gateway::with_policy(policy, &[&slow, &good]);
    assert_eq!(statuses(&gateway, GET), [200; 6]);
    assert!(slow.accepted() > 0);
}
