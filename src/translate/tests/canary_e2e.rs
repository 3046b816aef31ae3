//! The cases of ingress-nginx's own end-to-end tests of canaries (`test/e2e/annotations/canary.go`), in their order, each
//! named after its rule. Where we mend a bug on purpose, the name says the issue.

use crate::problem::Reason;

mod cluster;

use self::cluster::{Cluster, ask, catch_all, ingress, ingress_of, rules};

const CANARY: (&str, &str) = ("canary", "true");
const BY_HEADER: (&str, &str) = ("canary-by-header", "CanaryByHeader");
const SIDES: [(&str, &str); 2] = [("never", "httpbun"), ("always", "httpbun-canary")];

/// The Ingress that stands.
fn mainline() -> String {
    ingress("foo", "httpbun", &[])
}

/// The canary of it.
fn canary(annotations: &[(&str, &str)]) -> String {
    let annotations: Vec<_> = [CANARY].iter().chain(annotations).copied().collect();
    ingress("foo-canary", "httpbun-canary", &annotations)
}

/// What becomes of requests with values of the header.
fn by_header(cluster: &Cluster, header: &'static str, expected: &[(&str, &str)]) {
    for (value, side) in expected {
        assert_eq!(cluster.served(&ask().with(header, value)), *side, "{header}: {value}");
    }
}

// === when canary is created ===

#[test]
fn case_01_the_mainline_serves_a_request_without_the_header() {
    let cluster = Cluster::with(&[mainline(), canary(&[BY_HEADER])]);
    assert_eq!(cluster.served(&ask()), "httpbun");
    by_header(&cluster, "CanaryByHeader", &[("always", "httpbun-canary")]);
}

#[test]
fn case_02_a_canary_without_a_matching_ingress_is_not_found() {
    let mut cluster = Cluster::with(&[canary(&[BY_HEADER])]);
    assert_eq!(cluster.served(&ask().with("CanaryByHeader", "always")), "NoRoute");
    assert_eq!(cluster.fields_with(Reason::CanaryWithoutStable, "foo-canary"), ["spec.rules[0].http.paths[0]"]);
    cluster.apply(&mainline());
    assert_eq!(cluster.served(&ask().with("CanaryByHeader", "always")), "httpbun-canary");
}

/// ingress-nginx answers 503 to `always` here; its own test of this is commented out.
#[test]
fn case_03_a_mainline_without_endpoints_leaves_the_canary_to_those_it_is_for_issue_9635() {
    let mut cluster = Cluster::with(&[mainline(), canary(&[BY_HEADER])]);
    cluster.scale("httpbun", 0);
    by_header(&cluster, "CanaryByHeader", &[("always", "httpbun-canary"), ("never", "NoEndpoints")]);
    cluster.scale("httpbun", 1);
    cluster.scale("httpbun-canary", 0);
    by_header(&cluster, "CanaryByHeader", &[("always", "httpbun"), ("never", "httpbun")]);
    assert_eq!(cluster.fields_with(Reason::NoEndpoints, "foo-canary").len(), 1);
}

#[test]
fn case_04_a_mainline_that_is_created_first_has_its_canary() {
    let cluster = Cluster::with(&[mainline(), canary(&[BY_HEADER])]);
    by_header(&cluster, "CanaryByHeader", &SIDES);
}

#[test]
fn case_05_a_mainline_that_is_created_after_its_canary_has_it() {
    let cluster = Cluster::with(&[canary(&[BY_HEADER]), mainline()]);
    by_header(&cluster, "CanaryByHeader", &SIDES);
}

#[test]
fn case_06_a_mainline_that_is_modified_keeps_its_canary() {
    let mut cluster = Cluster::with(&[mainline(), canary(&[BY_HEADER])]);
    cluster.apply(&ingress("foo", "httpbun", &[("proxy-read-timeout", "7")]));
    by_header(&cluster, "CanaryByHeader", &SIDES);
}

#[test]
fn case_07_a_canary_that_is_modified_counts_as_it_is_now() {
    let mut cluster = Cluster::with(&[mainline(), canary(&[BY_HEADER])]);
    by_header(&cluster, "CanaryByHeader2", &[("always", "httpbun")]);
    cluster.apply(&canary(&[("canary-by-header", "CanaryByHeader2")]));
    by_header(&cluster, "CanaryByHeader2", &SIDES);
    by_header(&cluster, "CanaryByHeader", &[("always", "httpbun")]);
}

// === when canaried by header ===

#[test]
fn case_08_a_header_without_a_value_knows_always_and_never() {
    let cluster = Cluster::with(&[mainline(), canary(&[BY_HEADER])]);
    by_header(&cluster, "CanaryByHeader", &SIDES);
    by_header(&cluster, "CanaryByHeader", &[("badheadervalue", "httpbun"), ("Always", "httpbun")]);
}

#[test]
fn case_09_a_header_with_a_value_knows_only_that() {
    let annotations = [BY_HEADER, ("canary-by-header-value", "DoCanary")];
    let cluster = Cluster::with(&[mainline(), canary(&annotations)]);
    let others = ["always", "never", "otherheadervalue"].map(|value| (value, "httpbun"));
    by_header(&cluster, "CanaryByHeader", &[("DoCanary", "httpbun-canary")]);
    by_header(&cluster, "CanaryByHeader", &others);
}

#[test]
fn case_10_a_header_with_a_pattern_is_searched() {
    let annotations = [BY_HEADER, ("canary-by-header-pattern", "^Do[A-Z][a-z]+y$")];
    let cluster = Cluster::with(&[mainline(), canary(&annotations)]);
    by_header(&cluster, "CanaryByHeader", &[("DoCanary", "httpbun-canary"), ("Docanary", "httpbun")]);
}

#[test]
fn case_11_a_value_beats_a_pattern() {
    let annotations =
        [BY_HEADER, ("canary-by-header-value", "DoCanary"), ("canary-by-header-pattern", "^Do[A-Z][a-z]+y$")];
    let cluster = Cluster::with(&[mainline(), canary(&annotations)]);
    // The pattern alone would take it.
    by_header(&cluster, "CanaryByHeader", &[("DoCananry", "httpbun"), ("DoCanary", "httpbun-canary")]);
}

#[test]
fn case_12_a_pattern_that_does_not_compile_keeps_requests_with_the_header_on_the_mainline() {
    let annotations = [BY_HEADER, ("canary-by-header-pattern", "[][**da?$&*"), ("canary-by-cookie", "CanaryByCookie")];
    let cluster = Cluster::with(&[mainline(), canary(&annotations)]);
    let with_cookie = ask().with_cookie("CanaryByCookie", "always");
    assert_eq!(cluster.served(&with_cookie.clone().with("CanaryByHeader", "DoCanary")), "httpbun");
    assert_eq!(cluster.served(&with_cookie), "httpbun-canary");
    assert_eq!(cluster.fields_with(Reason::InvalidValue, "foo-canary").len(), 1);
}

#[test]
fn case_13_a_header_that_does_not_match_leaves_it_to_the_cookie() {
    let annotations = [BY_HEADER, ("canary-by-header-value", "DoCanary"), ("canary-by-cookie", "CanaryByCookie")];
    let cluster = Cluster::with(&[mainline(), canary(&annotations)]);
    let other = ask().with("CanaryByHeader", "otherheadervalue");
    assert_eq!(cluster.served(&other.clone().with_cookie("CanaryByCookie", "always")), "httpbun-canary");
    assert_eq!(cluster.served(&other), "httpbun");
}

// === when canaried by cookie ===

#[test]
fn case_14_a_cookie_knows_always_and_never() {
    let cluster = Cluster::with(&[mainline(), canary(&[("canary-by-cookie", "Canary-By-Cookie")])]);
    for (value, side) in [("always", "httpbun-canary"), ("never", "httpbun"), ("badcookievalue", "httpbun")] {
        assert_eq!(cluster.served(&ask().with_cookie("Canary-By-Cookie", value)), side, "{value}");
    }
}

// === when canaried by weight ===

#[test]
fn case_15_a_weight_of_0_is_never() {
    let mut cluster = Cluster::with(&[mainline(), canary(&[("canary-weight", "0")])]);
    assert_eq!(cluster.hits_of(100), 0);
    cluster.apply(&canary(&[("canary-weight", "1")]));
    assert_eq!(cluster.hits_of(100), 1);
}

#[test]
fn case_16_a_weight_of_100_is_always() {
    let cluster = Cluster::with(&[mainline(), canary(&[("canary-weight", "100")])]);
    assert_eq!(cluster.served(&ask()), "httpbun-canary");
}

#[test]
fn case_17_a_weight_equal_to_its_total_is_always() {
    let annotations = [("canary-weight", "1000"), ("canary-weight-total", "1000")];
    let cluster = Cluster::with(&[mainline(), canary(&annotations)]);
    assert_eq!(cluster.hits_of(1000), 1000);
}

#[test]
fn case_18_a_weight_of_50_is_half() {
    let cluster = Cluster::with(&[mainline(), canary(&[("canary-weight", "50")])]);
    assert_eq!(cluster.hits_of(100), 50);
}

#[test]
fn case_19_a_weight_of_100_of_200_is_half() {
    let annotations = [("canary-weight", "100"), ("canary-weight-total", "200")];
    let cluster = Cluster::with(&[mainline(), canary(&annotations)]);
    assert_eq!(cluster.hits_of(200), 100);
}

// === single canary Ingress ===

#[test]
fn case_20_a_canary_is_no_catch_all() {
    let mut cluster = Cluster::with(&[catch_all("foo-canary", "httpbun-canary", &[CANARY, BY_HEADER])]);
    assert_eq!(cluster.hosts(), [""; 0]);
    cluster.apply(&catch_all("foo", "httpbun", &[]));
    assert_eq!(cluster.hosts(), ["*"]);
    assert_eq!(cluster.served(&ask()), "httpbun");
    by_header(&cluster, "CanaryByHeader", &SIDES);
}

#[test]
fn case_21_a_canary_makes_no_server_of_its_host() {
    let other = ingress_of("bar", &[], &rules("bar", &["/info"], "httpbun"));
    let cluster = Cluster::with(&[canary(&[BY_HEADER]), other]);
    assert_eq!(cluster.hosts(), ["bar"]);
    assert_eq!(cluster.served(&ask().with("CanaryByHeader", "always")), "NoRoute");
    assert_eq!(cluster.served(&ask().to("bar", "/info").with("CanaryByHeader", "always")), "httpbun");
}

#[test]
fn case_22_a_canary_with_paths_to_a_service_that_fit_nothing_does_no_harm() {
    let paths = rules("foo", &["/foo", "/bar"], "httpy-svc-canary");
    let cluster = Cluster::with(&[ingress_of("foo-canary", &[CANARY, BY_HEADER], &paths), mainline()]);
    assert_eq!(cluster.hosts(), ["foo"]);
    by_header(&cluster, "CanaryByHeader", &[("never", "httpbun"), ("always", "httpbun")]);
    assert_eq!(cluster.served(&ask().to("foo", "/bar").with("CanaryByHeader", "always")), "NoRoute");
    let fields = ["spec.rules[0].http.paths[0]", "spec.rules[0].http.paths[1]"];
    assert_eq!(cluster.fields_with(Reason::CanaryWithoutStable, "foo-canary"), fields);
}

// === canary affinity behavior ===

/// A mainline with sessions, and a canary of it.
fn with_sessions(annotations: &[(&str, &str)]) -> Cluster {
    let sessions = [("affinity", "cookie"), ("session-cookie-name", "aff")];
    let by_header = [("canary-by-header", "ForceCanary"), ("canary-by-header-value", "yes")];
    let annotations: Vec<_> = by_header.iter().chain(annotations).copied().collect();
    Cluster::with(&[ingress("foo", "httpbun", &sessions), canary(&annotations)])
}

/// A session that began on the canary stays there, whatever the lot.
fn keeps_the_session(cluster: &Cluster) {
    let forced = ask().with("ForceCanary", "yes");
    assert_eq!(cluster.served(&forced), "httpbun-canary");
    let cookie = cluster.session(&forced).expect("a session begins");
    assert!(cookie.starts_with("aff="), "{cookie}");
    assert_eq!(cluster.served(&ask().with("Cookie", &cookie)), "httpbun-canary");
    // The cookie does it: without one, one lot of a hundred goes there.
    assert_eq!(cluster.hits_of(100), 1);
}

#[test]
fn case_23_a_session_with_the_canary_stays_there_by_default() {
    keeps_the_session(&with_sessions(&[("canary-weight", "1")]));
}

#[test]
fn case_24_a_session_with_the_canary_stays_there_where_it_is_sticky() {
    keeps_the_session(&with_sessions(&[("canary-weight", "1"), ("affinity-canary-behavior", "sticky")]));
}

#[test]
fn case_25_a_legacy_canary_knows_no_sessions() {
    let cluster = with_sessions(&[("canary-weight", "50"), ("affinity-canary-behavior", "legacy")]);
    let forced = ask().with("ForceCanary", "yes");
    assert_eq!(cluster.served(&forced), "httpbun-canary");
    assert_eq!(cluster.session(&forced), None);
    assert_eq!(cluster.hits_of(100), 50);
    // A cookie that it set before it was legacy holds nobody either.
    let cookie = with_sessions(&[]).session(&forced).unwrap();
    assert_eq!(cluster.served(&ask().with("Cookie", &cookie)), "httpbun or httpbun-canary");
}
