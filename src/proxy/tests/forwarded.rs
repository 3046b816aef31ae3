//! What proxies before us tell of a client, believed and not.

use super::harness::*;
use crate::{
    http::forwarded::Trust,
    key::Hostname,
    proxy::{Config, log::Format},
    route::{Affinity, AffinityMode, HashKey, Host, Policy, SslRedirect},
};

/// A request of a client at 192.0.2.1 to https://www.shop.example:8443, as two proxies pass it on.
const TOLD: &str = "GET /cart HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 198.51.100.9, 192.0.2.1\r\n\
                    X-Forwarded-For: 127.0.0.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n\
                    X-Forwarded-Host: www.shop.example:8443, inner.example\r\n\r\n";

fn trust(proxies: &str) -> Trust {
    Trust { forwarded_headers: true, proxies: proxies.parse().expect("the list is good"), ..Trust::default() }
}

fn setup(trust: Trust) -> Setup {
    Setup { config: Config { trust, ..Config::default() }, ..Setup::default() }
}

/// What the endpoint is told by a request's fields, repeated ones with a bar between.
fn seen(setup: Setup, names: &[&str]) -> Vec<String> {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(setup, &[&endpoint]);
    assert_eq!(gateway.ask(TOLD).status(), 200);
    let seen = &endpoint.seen()[0];
    names.iter().map(|name| seen.fields(name).collect::<Vec<_>>().join(" | ")).collect()
}

#[test]
fn the_endpoint_is_told_what_a_trusted_proxy_tells() {
    let fields = [
        ("host", "www.shop.example:8443"),
        ("x-real-ip", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "www.shop.example:8443"),
        ("x-forwarded-port", "8443"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-scheme", "https"),
        ("x-scheme", "https"),
        ("x-original-forwarded-for", "198.51.100.9, 192.0.2.1 | 127.0.0.2"),
        ("x-original-forwarded-host", "www.shop.example:8443, inner.example"),
    ];
    let seen = seen(setup(trust("127.0.0.0/8")), &fields.map(|(name, _)| name));
    assert_eq!(seen, fields.map(|(_, value)| value));
}

#[test]
fn what_a_stranger_tells_is_passed_on_as_such_and_not_believed() {
    for trust in [trust("10.0.0.0/8"), trust(""), Trust { proxies: trust("127.0.0.0/8").proxies, ..Trust::default() }] {
        let trust = Trust { full_chain: true, ..trust };
        let fields = [
            ("host", "shop.example"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "http"),
            ("x-scheme", "http"),
            ("x-original-forwarded-for", "198.51.100.9, 192.0.2.1 | 127.0.0.2"),
        ];
        assert_eq!(seen(setup(trust), &fields.map(|(name, _)| name)), fields.map(|(_, value)| value));
    }
}

#[test]
fn endpoints_may_get_the_whole_chain() {
    let trust = Trust { full_chain: true, ..trust("127.0.0.0/8") };
    let seen = seen(setup(trust), &["x-forwarded-for", "x-real-ip"]);
    assert_eq!(seen, ["198.51.100.9, 192.0.2.1, 127.0.0.2, 127.0.0.1", "192.0.2.1"]);
}

#[test]
fn with_real_ip_the_address_alone_is_believed() {
    let trust = Trust { forwarded_headers: false, real_ip: true, ..trust("127.0.0.0/8") };
    let seen = seen(setup(trust), &["x-real-ip", "x-forwarded-proto", "host", "x-forwarded-host"]);
    assert_eq!(seen, ["192.0.2.1", "http", "shop.example", "shop.example"]);
}

#[test]
fn a_virtual_host_of_the_route_comes_before_that_of_a_proxy() {
    let policy = Policy { upstream_host: HashKey::parse("inner.example").ok(), ..Policy::default() };
    let setup = Setup { policy, ..setup(trust("127.0.0.0/8")) };
    assert_eq!(seen(setup, &["host", "x-forwarded-host"]), ["inner.example", "www.shop.example:8443"]);
}

#[test]
fn redirects_go_by_what_the_client_used() {
    let policy = Policy { ssl_redirect: SslRedirect::On, ..Policy::default() };
    let to_https = |trust: Trust, request: &str| {
        let endpoint = Endpoint::ok();
        let gateway = Gateway::with(Setup { policy: policy.clone(), ..setup(trust) }, &[&endpoint]);
        gateway.ask(request).field("location").map(str::to_owned)
    };
    let plain = TOLD.replace("https", "http");
    assert_eq!(to_https(trust("127.0.0.0/8"), TOLD), None);
    assert_eq!(to_https(trust("127.0.0.0/8"), &plain).as_deref(), Some("https://www.shop.example/cart"));
    assert_eq!(to_https(trust("10.0.0.0/8"), TOLD).as_deref(), Some("https://shop.example/cart"));
}

#[test]
fn a_scheme_without_a_port_has_its_own() {
    let gateway = Gateway::with(setup(trust("127.0.0.0/8")), &[]);
    let twin = Hostname::parse("old.example").expect("a host");
    let to = Hostname::parse("shop.example").expect("a host");
    gateway
        .table
        .replace(gateway.table.get().with_host(twin, Some(std::sync::Arc::new(Host::Twin { to, status: 308 }))));
    let listener = format!("http://shop.example:{}/x", gateway.address.port());
    for (told, location) in [
        ("X-Forwarded-Proto: https\r\n", "https://shop.example:443/x"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n", "https://shop.example:8443/x"),
        ("X-Forwarded-Port: 8080\r\n", "http://shop.example:8080/x"),
        ("X-Forwarded-Proto: http\r\n", &*listener),
        ("", &*listener),
    ] {
        let answer = gateway.ask(&format!("GET /x HTTP/1.1\r\nHost: old.example\r\n{told}\r\n"));
        assert_eq!(answer.field("location"), Some(location), "{told}");
    }
}

#[test]
fn each_request_of_a_connection_has_its_own_client() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with(Setup { format: Format::Nginx, ..setup(trust("127.0.0.0/8")) }, &[&endpoint]);
    let mut line = gateway.connect();
    for client in ["192.0.2.1", "2001:db8::1"] {
        line.ask(&format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: {client}\r\n\r\n"));
    }
    line.ask("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    line.ask("nonsense\r\n\r\n");
    let log = gateway.finish();
    let clients: Vec<_> = log.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(clients, ["192.0.2.1", "2001:db8::1", "127.0.0.1", "127.0.0.1"]);
}

#[test]
fn a_session_cookie_is_secure_where_the_client_used_https() {
    let affinity = Affinity {
        mode: AffinityMode::Balanced,
        cookie_name: "SESSION".into(),
        max_age: None,
        expires: None,
        path: None,
        domain: None,
        same_site: None,
        conditional_same_site_none: false,
        secure: None,
        change_on_failure: false,
    };
    for (proxies, secure) in [("127.0.0.0/8", true), ("10.0.0.0/8", false)] {
        let endpoint = Endpoint::ok();
        let setup = Setup { affinity: Some(affinity.clone()), ..setup(trust(proxies)) };
        let answer = Gateway::with(setup, &[&endpoint]).ask(TOLD);
        let cookie = answer.field("set-cookie").expect("a cookie");
        assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
    }
}
