//! Sides that end too early.

use std::sync::{Mutex, mpsc};

use super::harness::*;
use crate::proxy::log::Format;

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        assert!(line.is_closed(), "the endpoint is not left to work for nobody");
    });
    let gateway = Gateway::with(Setup { format: Format::Json, ..Setup::default() }, &[&endpoint]);
    let mut line = gateway.connect();
    line.send(GET);
    wait_until("the endpoint has the request", || endpoint.seen().len() == 1);
    drop(line);
    wait_until("it is dropped", || endpoint.ended() == 1);
    let log = gateway.finish();
    assert!(log.contains("\"status\":499"), "{log}");
}

#[test]
fn an_endpoint_that_resets_in_its_answer_resets_nothing_else() {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Endpoint::run(move |number, mut line| {
        line.read();
        if number == 0 {
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            let _ = told.lock().unwrap().recv();
            line.reset();
        } else {
            line.send(OK);
        }
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = gateway.connect();
    line.send(GET);
    line.read_head().unwrap();
    assert_eq!(line.take(4), b"half");
    tell.send(()).unwrap();
    assert_eq!(line.rest(), b"");
    wait_until("other connections are served", || gateway.ask(GET).status() == 200);
}
