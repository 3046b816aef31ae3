//! Those who are too slow.
//!
//! Times are short here, and only lower bounds are asserted: a busy machine makes everything later.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::harness::*;
use crate::{
    proxy::{Config, log::Format},
    route::{Policy, Retry, RetryOn},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);

fn without_retries() -> Policy {
    Policy { retry: Retry { on: RetryOn::default(), ..Retry::default() }, ..Policy::default() }
}

fn mute() -> Endpoint {
    Endpoint::run(|_, mut line| {
        line.read();
        line.rest();
    })
}

#[test]
fn an_endpoint_that_does_not_answer_in_time() {
    let endpoint = mute();
    let mut policy = without_retries();
    policy.timeouts.read = Duration::from_secs(1);
    let gateway = Gateway::with_policy(policy, &[&endpoint]);
    let begin = Instant::now();
    let answer = gateway.ask(GET);
    assert_eq!(answer.status(), 504);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert!(begin.elapsed() < Duration::from_millis(1900), "a second is not two: {:?}", begin.elapsed());
}

#[test]
fn an_endpoint_that_stops_in_its_answer_cuts_the_client_off() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        line.rest();
    });
    let mut policy = without_retries();
    policy.timeouts.read = SHORT;
    let gateway = Gateway::with_policy(policy, &[&endpoint]);
    let mut line = gateway.connect();
    line.send(GET);
    assert!(line.read_head().unwrap().to_lowercase().contains("content-length: 100"));
    assert_eq!(line.rest(), b"half");
}

#[test]
fn an_answer_that_goes_on_is_not_late() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
        for _ in 0..8 {
            pause(SHORT / 2);
            line.send("x");
        }
    });
    let mut policy = without_retries();
    policy.timeouts.read = 2 * SHORT;
    let gateway = Gateway::with_policy(policy, &[&endpoint]);
    assert_eq!(gateway.ask(GET).text(), "xxxxxxxx");
}

#[test]
fn an_endpoint_that_does_not_take_the_request() {
    let endpoint = Endpoint::run(|_, line| {
        let _open = line;
        pause(GENEROUS);
    });
    let mut policy = Policy { body_limit: None, ..without_retries() };
    policy.timeouts.send = SHORT;
    let gateway = Gateway::with_policy(policy, &[&endpoint]);
    let mut line = gateway.connect();
    let mut other = line.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        let _ = other.write_all(b"PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000000000\r\n\r\n");
        while other.write_all(&[b'x'; 65536]).is_ok() {}
    });
    assert_eq!(line.answer(true).status(), 504);
}

#[test]
fn a_body_has_so_much_time_in_all_however_it_drips() {
    let endpoint = Endpoint::ok();
    let config = Config { body_timeout: Duration::from_secs(1), body_rate: 1000, ..Config::default() };
    let gateway = Gateway::with_config(config, &[&endpoint]);
    let mut line = gateway.connect();
    line.send("PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000000\r\n\r\n");
    let mut drip = line.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while drip.write_all(b"x").is_ok() {
            pause(Duration::from_millis(50));
        }
    });
    assert_eq!(line.answer(true).status(), 408);
}

#[test]
fn a_body_that_comes_at_a_fair_rate_has_all_the_time_it_needs() {
    let endpoint = Endpoint::ok();
    let config = Config { body_timeout: SHORT, body_rate: 1000, ..Config::default() };
    let gateway = Gateway::with_config(config, &[&endpoint]);
    let mut line = gateway.connect();
    line.send("PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 20000\r\n\r\n");
    for _ in 0..20 {
        line.send([b'x'; 1000]);
        pause(Duration::from_millis(50));
    }
    assert_eq!(line.answer(true).status(), 200);
}

/// Answers at once, and goes on when it was told to.
fn conversing(pieces: usize, every: Duration) -> Endpoint {
    Endpoint::run(move |_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..pieces {
            pause(every);
            line.send("1\r\nx\r\n");
        }
        line.send("0\r\n\r\n");
        line.rest();
    })
}

#[test]
fn a_client_that_is_being_answered_may_be_silent() {
    let endpoint = conversing(8, SHORT / 2);
    let config = Config { body_timeout: SHORT, ..Config::default() };
    let gateway = Gateway::with_config(config, &[&endpoint]);
    let mut line = gateway.connect();
    line.send("PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(line.answer(true).text(), "xxxxxxxx");
}

#[test]
fn an_endpoint_that_is_being_told_more_may_be_silent() {
    let endpoint = conversing(1, 7 * SHORT);
    let mut policy = without_retries();
    // With room for a machine that stands still for a moment.
    policy.timeouts.read = 5 * SHORT;
    let gateway = Gateway::with_policy(policy, &[&endpoint]);
    let mut line = gateway.connect();
    line.send("PUT / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 9\r\n\r\n");
    for _ in 0..8 {
        line.send("x");
        pause(SHORT);
    }
    assert_eq!(line.answer(true).text(), "x");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with_config(Config { keep_alive: SHORT, ..Config::default() }, &[&endpoint]);
    let mut line = gateway.connect();
    assert_eq!(line.ask(GET).status(), 200);
    assert!(line.is_closed());
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let endpoint = Endpoint::run(|_, mut line| {
        line.read_head();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n");
        let mut piece = Ok(());
        while piece.is_ok() {
            piece = line.stream.write_all(&[b'x'; 65536]);
        }
    });
    let setup = Setup {
        config: Config { write_timeout: SHORT, ..Config::default() },
        format: Format::Json,
        ..Setup::default()
    };
    let gateway = Gateway::with(setup, &[&endpoint]);
    let mut line = gateway.connect();
    line.send(GET);
    wait_until("the endpoint's connection is dropped", || endpoint.ended() == 1);

    // One that goes on with its own body is none the better for it.
    let mut line = gateway.connect();
    line.send("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000000\r\n\r\n");
    wait_until("the endpoint's connection is dropped", || {
        let _ = line.stream.write_all(b"x");
        endpoint.ended() == 2
    });
}
