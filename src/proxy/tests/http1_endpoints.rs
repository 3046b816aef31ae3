//! Endpoints that speak HTTP/1: what they say that is no answer, and connections that they close.

use super::harness::*;
use crate::route::{Policy, Retry, RetryOn};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nbody";

fn on(on: RetryOn) -> Policy {
    Policy { retry: Retry { on, ..Retry::default() }, ..Policy::default() }
}

/// Asks so often that each of two endpoints is the first for some requests.
fn statuses(gateway: &Gateway, request: &str) -> Vec<u16> {
    (0..6).map(|_| gateway.ask(request).status()).collect()
}

#[test]
fn an_invalid_answer_is_refused_or_tried_elsewhere_as_the_policy_says() {
    let (bad, good) = (Endpoint::answering("what?\r\n\r\n"), Endpoint::ok());
    let gateway = Gateway::to(&[&bad, &good]);
    assert!(statuses(&gateway, GET).contains(&502));
    let policy = on(RetryOn { invalid_header: true, ..RetryOn::default() });
    let gateway = Gateway::with_policy(policy, &[&bad, &good]);
    assert_eq!(statuses(&gateway, GET), [200; 6]);
}

#[test]
fn a_kept_connection_that_the_endpoint_closed_is_replaced() {
    // It answers once on each connection, says nothing of closing, and closes when the next request comes.
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send(OK);
        line.read();
    });
    let gateway = Gateway::with_policy(on(RetryOn::default()), &[&endpoint]);
    let mut line = gateway.connect();
    for _ in 0..4 {
        assert_eq!(line.ask(GET).status(), 200);
    }
    assert_eq!(line.ask(POST).status(), 502, "it may have been done");
    assert_eq!(gateway.metric("serin_ejections_total"), 0, "that is no failure of the endpoint");
}
