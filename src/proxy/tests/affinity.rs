//! Sessions: a client comes back to the endpoint that served it.

use super::harness::*;
use crate::{
    proxy::Tcp,
    route::{Affinity, AffinityMode},
    upstream::{EndpointSpec, Endpoints},
};

fn affinity(mode: AffinityMode, change_on_failure: bool) -> Affinity {
    Affinity {
        mode,
        cookie_name: "SESSION".into(),
        max_age: Some(60),
        expires: None,
        path: None,
        domain: None,
        same_site: None,
        conditional_same_site_none: false,
        secure: None,
        change_on_failure,
    }
}

/// Says who it is.
fn named(name: &'static str) -> Endpoint {
    Endpoint::run(move |_, mut line| {
        while line.read().is_some() {
            line.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
        }
    })
}

fn setup(mode: AffinityMode, change_on_failure: bool) -> Setup {
    Setup { affinity: Some(affinity(mode, change_on_failure)), ..Setup::default() }
}

fn ask_with(gateway: &Gateway, cookie: &str) -> Message {
    gateway.ask(&format!("GET / HTTP/1.1\r\nHost: shop.example\r\nCookie: a=b; {cookie}\r\n\r\n"))
}

/// The name and value of the cookie that an answer sets.
fn cookie(answer: &Message) -> String {
    let cookie = answer.field("set-cookie").expect("a cookie");
    assert!(
        cookie.contains("; Max-Age=60") && cookie.contains("; Path=/") && cookie.contains("; HttpOnly"),
        "{cookie}"
    );
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn a_session_comes_back_to_its_endpoint() {
    for mode in [AffinityMode::Balanced, AffinityMode::Persistent] {
        let (a, b, c) = (named("a"), named("b"), named("c"));
        let gateway = Gateway::with(setup(mode, false), &[&a, &b, &c]);
        let mut served = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let first = gateway.get("/");
            let cookie = cookie(&first);
            for _ in 0..3 {
                let again = ask_with(&gateway, &cookie);
                assert_eq!(again.text(), first.text(), "{mode:?}");
                assert_eq!(again.field("set-cookie"), None, "{mode:?}: it holds it already");
            }
            served.insert(first.text().to_owned());
        }
        assert!(served.len() > 1, "sessions are spread: {served:?}");
    }
}

#[test]
fn a_persistent_session_moves_when_its_endpoint_is_gone() {
    let (a, b) = (named("a"), named("b"));
    let gateway = Gateway::with(setup(AffinityMode::Persistent, false), &[&a, &b]);
    let first = gateway.get("/");
    let held = cookie(&first);
    let (other, name) = if first.text() == "a" { (&b, "b") } else { (&a, "a") };
    gateway.cluster.replace(&Endpoints::of([EndpointSpec::new(other.address)]));
    let moved = ask_with(&gateway, &held);
    assert_eq!(moved.text(), name);
    let new = cookie(&moved);
    assert_ne!(new, held);
    gateway.cluster.replace(&Endpoints::of([a.address, b.address].map(EndpointSpec::new)));
    assert_eq!(ask_with(&gateway, &new).text(), name);
}

/// A cookie whose key is no endpoint's.
fn session_with(side: &str) -> String {
    format!("SESSION=00000000000000aa|{:016x}", crate::route::affinity::tag(side))
}

#[test]
fn a_cookie_of_another_route_leads_to_one_endpoint_and_stays() {
    for mode in [AffinityMode::Balanced, AffinityMode::Persistent] {
        let (a, b, c) = (named("a"), named("b"), named("c"));
        let gateway = Gateway::with(setup(mode, false), &[&a, &b, &c]);
        let answers = [(); 6].map(|()| ask_with(&gateway, &session_with("shop-other-80")));
        assert!(answers.iter().all(|answer| answer.text() == answers[0].text()), "{mode:?}");
        assert!(answers.iter().all(|answer| answer.field("set-cookie").is_none()), "{mode:?}");
    }
}

#[test]
fn a_cookie_of_another_route_comes_to_name_a_canary_with_the_key_that_it_has() {
    for mode in [AffinityMode::Balanced, AffinityMode::Persistent] {
        let (stable, a, b) = (named("stable"), named("a"), named("b"));
        let setup = Setup { canary: vec![a.address, b.address], ..setup(mode, false) };
        let gateway = Gateway::with(setup, &[&stable]);
        let first = ask_with(&gateway, &session_with("shop-other-80"));
        assert_eq!(cookie(&first), session_with("shop-web-canary-80"), "{mode:?}");
        assert_eq!(ask_with(&gateway, &cookie(&first)).text(), first.text(), "{mode:?}");
    }
}

#[test]
fn a_session_comes_back_to_its_endpoint_after_an_outage_of_its_side() {
    for mode in [AffinityMode::Balanced, AffinityMode::Persistent] {
        let (a, b, canary) = (named("a"), named("b"), named("canary"));
        let setup = Setup { canary: vec![canary.address], ..setup(mode, false) };
        let gateway = Gateway::with(setup, &[&a, &b]);
        let old = session_with("shop-web-80");
        let first = ask_with(&gateway, &old);
        let held = first.field("set-cookie").map_or(old, |_| cookie(&first));
        gateway.cluster.replace(&Endpoints::of([]));
        let meanwhile = ask_with(&gateway, &held);
        assert_eq!((meanwhile.text(), meanwhile.field("set-cookie")), ("canary", None), "{mode:?}");
        gateway.cluster.replace(&Endpoints::of([a.address, b.address].map(EndpointSpec::new)));
        let again = ask_with(&gateway, &held);
        assert_eq!((again.text(), again.field("set-cookie")), (first.text(), None), "{mode:?}");
    }
}

#[test]
fn a_session_whose_endpoint_fails_comes_back_or_moves_as_it_is_told() {
    for (change_on_failure, moves) in [(false, false), (true, true)] {
        let good = named("good");
        let setup = setup(AffinityMode::Balanced, change_on_failure);
        let gateway = Gateway::start(setup, &[good.address, nobody()], &Tcp);
        // Keys that lead to the endpoint that fails are found by trying.
        let displaced =
            (0..64).map(|key| format!("SESSION={key:016x}|{:016x}", crate::route::affinity::tag("shop-web-80")));
        let answers: Vec<_> = displaced.map(|cookie| ask_with(&gateway, &cookie)).collect();
        assert!(answers.iter().all(|answer| answer.text() == "good"));
        assert_eq!(answers.iter().any(|answer| answer.field("set-cookie").is_some()), moves);
    }
}
