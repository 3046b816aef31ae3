//! Hosts, paths, redirects and rewrites.

use super::*;

fn with_policy(path: &str, policy: Policy) -> TestRoute {
    TestRoute { policy: Arc::new(policy), ..route_of("shop.example", path) }
}

#[test]
fn without_a_host_the_request_is_for_any() {
    let table = table([route_of("", "/")]);
    assert_eq!(always(&table, &Ask { authority: vec![], ..ask() }), "stable");
    assert_eq!(always(&table, &get("http://who.example/x")), "stable");
}

#[test]
fn a_host_without_a_fitting_path_does_not_ask_others() {
    let table = table([route_of("shop.example", "/a"), route_of("", "/")]);
    assert_eq!(always(&table, &get("http://shop.example/b")), "NoRoute");
}

#[test]
fn the_default_serves_what_no_route_matches() {
    let mut table = table([route_of("shop.example", "/a")]);
    let mut default = route_of("", "/");
    default.split = Split::to(side("default"));
    table.default = Some(Arc::new(default));
    assert_eq!(always(&table, &get("http://shop.example/b")), "default");
    assert_eq!(always(&table, &get("http://who.example/")), "default");
}

#[test]
fn options_star_is_for_any_host() {
    let star = Ask { method: "OPTIONS".into(), target: b"*".into(), ..get("http://shop.example/") };
    assert_eq!(always(&table([route_of("shop.example", "/")]), &star), "NoRoute");
    assert_eq!(always(&table([route_of("shop.example", "/"), route_of("", "/")]), &star), "stable");
}

#[test]
fn a_path_is_normalized_to_match_and_sent_on_as_it_came() {
    let table = table([route_of("shop.example", "/foo")]);
    for path in ["/foo", "//foo", "/./foo/", "/x/../foo", "/foo%2Fbar", "/%66oo"] {
        let ask = get(&format!("http://shop.example{path}"));
        let mut draw = Given::new([]);
        let Plan::Forward(forward) = decide(&table, &ask, &mut draw, 0, |_| true, &mut NoTrace) else {
            panic!("{path} is not sent on");
        };
        assert_eq!(forward.target, None, "{path}");
    }
    for path in ["/..", "/%zz", "/%00", "foo"] {
        assert_eq!(always(&table, &Ask { target: path.into(), ..get("http://shop.example/") }), "BadPath", "{path}");
    }
}

#[test]
fn a_health_check_of_no_known_host_is_answered_unless_a_path_claims_it() {
    let mut default = route_of("", "/");
    default.split = Split::to(side("default"));
    let named = route_of("shop.example", "/a");
    for (any, outcome) in [
        (None, "Health"),
        (Some("/"), "Health"),
        (Some("/a"), "Health"),
        (Some("/healthz"), "stable"),
        (Some("=/healthz"), "stable"),
        (Some("/healthz/"), "301 http://192.0.2.1/healthz/"),
        (Some("~/"), "stable"),
    ] {
        let mut table = table(any.map(|path| route_of("", path)).into_iter().chain([named.clone()]));
        table.default = Some(Arc::new(default.clone()));
        assert_eq!(always_but(&table, &get("http://192.0.2.1/healthz"), &["default"]), outcome, "{any:?}");
        // A host that is known has paths of its own, and no other path is meant.
        assert_eq!(always(&table, &get("http://shop.example/healthz")), "default");
        assert_ne!(always(&table, &get("http://192.0.2.1/healthz/x")), "Health");
    }
    assert_eq!(always(&self::table([]), &get("http://192.0.2.1/healthz")), "Health");
    assert_eq!(always(&self::table([]), &get("http://192.0.2.1/")), "NoRoute");
}

#[test]
fn a_path_that_lacks_its_slash_is_redirected_by_301() {
    let table = table([route_of("h003.test", "/foo/")]);
    for (url, location) in [
        ("http://h003.test/foo", "301 http://h003.test/foo/"),
        ("http://h003.test/foo?x=1", "301 http://h003.test/foo/?x=1"),
        ("http://H003.test.:8080/foo?", "301 http://h003.test/foo/"),
        ("https://h003.test/foo", "301 https://h003.test/foo/"),
        ("http://h003.test/foo/", "stable"),
        ("http://h003.test/foobar", "NoRoute"),
    ] {
        assert_eq!(always(&table, &get(url)), location, "{url}");
    }
}

#[test]
fn an_app_root_is_for_the_root_alone() {
    let host = HostBuilder::new(Hostname::parse("h031.test").unwrap())
        .app_root(Some("/start".into()))
        .push(route_of("h031.test", "/"))
        .build();
    let table = Table::new().with_host(host.name.clone(), Some(Arc::new(Host::Routes(host))));
    assert_eq!(always(&table, &get("http://h031.test/")), "302 http://h031.test/start");
    assert_eq!(always(&table, &get("http://h031.test/?a=b")), "302 http://h031.test/start");
    assert_eq!(always(&table, &get("https://h031.test:8443//")), "302 https://h031.test:8443/start");
    assert_eq!(always(&table, &get("http://h031.test/x")), "stable");
}

#[test]
fn a_redirect_to_a_fixed_place_comes_before_that_to_https() {
    let redirect = Some(Redirect { status: 301, location: "https://example.com/x".into() });
    let table = table([with_policy("/", Policy { redirect, ssl_redirect: SslRedirect::On, ..Policy::default() })]);
    assert_eq!(always(&table, &get("http://shop.example/y?z=1")), "301 https://example.com/x");
    assert_eq!(always_but(&table, &get("http://shop.example/y"), &["stable"]), "301 https://example.com/x");
}

#[test]
fn the_slash_is_added_before_any_other_redirect_of_the_route() {
    let redirect = Some(Redirect { status: 302, location: "https://example.com/x".into() });
    for policy in [
        Policy { ssl_redirect: SslRedirect::On, ..Policy::default() },
        Policy { redirect, ssl_redirect: SslRedirect::On, ..Policy::default() },
    ] {
        let table = table([with_policy("/foo/", policy)]);
        assert_eq!(always(&table, &get("http://shop.example/foo?x=1")), "301 http://shop.example/foo/?x=1");
        assert_ne!(always(&table, &get("http://shop.example/foo/")), "301 http://shop.example/foo/");
    }
}

#[test]
fn plain_requests_are_sent_to_https_by_308() {
    let table = table([with_policy("/", Policy { ssl_redirect: SslRedirect::On, ..Policy::default() })]);
    for (url, location) in [
        ("http://shop.example/x?y=1", "308 https://shop.example/x?y=1"),
        ("http://shop.example:8080/x/", "308 https://shop.example/x"),
        ("http://shop.example/", "308 https://shop.example"),
        ("http://Shop.example//a", "308 https://Shop.example//a"),
        ("https://shop.example/x", "stable"),
    ] {
        assert_eq!(always(&table, &get(url)), location, "{url}");
    }
}

#[test]
fn the_way_to_https_is_on_the_host_that_the_client_knows() {
    let policy = Policy { ssl_redirect: SslRedirect::On, ..Policy::default() };
    let table = table([with_policy("/", policy)]);
    let public = Some(b"www.shop.example:8443".into());
    let ask = Ask { public_authority: public, ..get("http://shop.example:8080/x") };
    assert_eq!(always(&table, &ask), "308 https://www.shop.example/x");
}

#[test]
fn a_preserved_trailing_slash_stays_on_the_way_to_https() {
    let policy = Policy { ssl_redirect: SslRedirect::On, preserve_trailing_slash: true, ..Policy::default() };
    assert_eq!(
        always(&table([with_policy("/", policy)]), &get("http://shop.example/x/")),
        "308 https://shop.example/x/"
    );
}

#[test]
fn to_https_without_a_host_is_refused() {
    let policy = Policy { ssl_redirect: SslRedirect::On, ..Policy::default() };
    let table = table([TestRoute { policy: Arc::new(policy), ..route_of("", "/") }]);
    assert_eq!(always(&table, &Ask { authority: vec![], ..ask() }), "NoHost");
}

#[test]
fn a_twin_redirects_by_308_with_the_port() {
    let to = Hostname::parse("h044.test").unwrap();
    let www = Hostname::parse("www.h044.test").unwrap();
    let table = table([route_of("h044.test", "/")]).with_host(www, Some(Arc::new(Host::Twin { to, status: 308 })));
    assert_eq!(always(&table, &get("http://www.h044.test/x?y=1")), "308 http://h044.test:80/x?y=1");
    assert_eq!(always(&table, &get("https://www.h044.test/x/")), "308 https://h044.test:443/x");
    assert_eq!(always(&table, &get("http://h044.test/x")), "stable");
}

#[test]
fn what_a_client_sends_cannot_break_out_of_a_location() {
    let policy = Policy { ssl_redirect: SslRedirect::On, ..Policy::default() };
    let table = table([TestRoute { policy: Arc::new(policy), ..route_of("", "/") }]);
    let ask = Ask { authority: b"a@b/\r\nX: \"\xff".into(), target: b"/\r\nY: z\xe4\x00".into(), ..ask() };
    // A NUL in the path is refused before.
    assert_eq!(always(&table, &ask), "BadPath");
    let ask = Ask { target: b"/\r\nY: z\xe4".into(), ..ask };
    assert_eq!(always(&table, &ask), "308 https://a%40b%2F%0D%0AX/%0D%0AY:%20z%E4");
}

fn rewritten(pattern: &str, target: &str, url: &str) -> String {
    let pattern = Pattern::new(pattern, PatternFlags::REWRITE).unwrap();
    let rewrite = Some(Rewrite::new(pattern, target).unwrap());
    let table = table([with_policy("~/", Policy { rewrite, ..Policy::default() })]);
    match decide(&table, &get(url), &mut Given::new([]), 0, |_| true, &mut NoTrace) {
        Plan::Forward(Forward { target, .. }) => {
            target.map_or("unchanged".to_owned(), |target| String::from_utf8(target).unwrap())
        }
        plan => outcome(&plan),
    }
}

#[test]
fn a_rewrite_replaces_the_whole_path_and_keeps_the_query() {
    for (path, target) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api/v1/x?y=1", "/v1/x?y=1"),
        ("/apix", "unchanged"),
        ("/API/v1", "/v1"),
        ("/api/a%20b", "/a%20b"),
        ("/api/a%2Fb", "/a/b"),
        ("/api//x", "/x"),
        ("/api/%3Fa=%25", "/%3Fa=%25"),
        ("/x/api/y", "/y"),
        ("/api/?", "/?"),
    ] {
        let url = format!("http://shop.example{path}");
        assert_eq!(rewritten("/api(/|$)(.*)", "/$2", &url), target, "{path}");
    }
}

#[test]
fn a_rewrite_knows_named_groups_and_variables() {
    assert_eq!(rewritten("/u/(?<user>[a-z]+)", "/${user}/$host$9", "http://Shop.example/u/ann"), "/ann/shop.example");
    assert_eq!(rewritten("/u/(.*)", "$1", "http://shop.example/u/ann"), "/ann");
}

#[test]
fn a_rewrite_to_what_is_unknown_is_refused() {
    let rewrite =
        |pattern: &str, target: &str| Rewrite::new(Pattern::new(pattern, PatternFlags::REWRITE).unwrap(), target);
    for (target, fault) in [
        ("/$tenant/$1", InvalidHashKey::Unknown("tenant".into())),
        ("/x$", InvalidHashKey::NoName),
        ("/$-", InvalidHashKey::NoName),
        ("/$0", InvalidHashKey::Unknown("0".into())),
    ] {
        assert_eq!(rewrite("/foo/(.*)", target), Err(fault), "{target}");
    }
    assert!(rewrite("/(?<tenant>[a-z]+)/(.*)", "/$tenant/$2").is_ok());
}

#[test]
fn a_rewrite_knows_which_groups_are_missing() {
    for (pattern, target, missing) in [
        ("/foo", "/$2", Some((2, 0))),
        ("/foo/(.*)", "/$2/$1", Some((2, 1))),
        ("/foo/(.*)", "/$1", None),
        ("/foo(/|$)(?!x)(.*)", "/$2", None),
        ("/foo", "/", None),
    ] {
        let rewrite = Rewrite::new(Pattern::new(pattern, PatternFlags::REWRITE).unwrap(), target).unwrap();
        assert_eq!(rewrite.missing_group(), missing, "{target} of {pattern}");
    }
}

#[test]
fn a_rewrite_to_a_url_redirects() {
    assert_eq!(
        rewritten("/u/(.*)", "https://other.example/$1", "http://shop.example/u/a b?c=d"),
        "302 https://other.example/a%20b?c=d"
    );
}

#[test]
fn regexes_are_tried_by_the_length_of_their_text_then_the_last_first() {
    let named = |path: &str, name: &'static str| {
        let mut route = route(path);
        route.split = Split::to(side(name));
        route
    };
    let table = table([
        named("~/", "root"),
        named("~/foo", "foo"),
        named("~/foo/[0-9]+", "digits"),
        named("~/foo/[a-z]+", "letters"),
        named("~/f.o/[0-9]{2}", "two"),
    ]);
    for (path, side) in [
        ("/foo/12", "two"),
        ("/foo/1", "digits"),
        ("/foo/x", "letters"),
        ("/FOO/X", "letters"),
        ("/foobar", "foo"),
        ("/bar", "root"),
    ] {
        assert_eq!(always(&table, &get(&format!("http://foo{path}"))), side, "{path}");
    }
}

#[test]
fn the_host_for_the_endpoint_may_have_variables() {
    let upstream_host = Some(HashKey::parse("$http_x_tenant.internal").unwrap());
    let table = table([with_policy("/", Policy { upstream_host, ..Policy::default() })]);
    let ask = get("http://shop.example/").with("X-Tenant", "blue\r\n");
    let Plan::Forward(forward) = decide(&table, &ask, &mut Given::new([]), 0, |_| true, &mut NoTrace) else {
        panic!("it is not sent on");
    };
    assert_eq!(forward.host.as_deref(), Some(&b"blue.internal"[..]));
}

#[test]
fn requests_with_the_same_key_have_the_same_hash() {
    let mut route = route("/info");
    let balance = Balance { algorithm: Algorithm::Hash, hash_by: Some(HashKey::parse("$remote_addr-$arg_u").unwrap()) };
    route.split.stable = Some(Side { balance, ..side("stable") });
    let table = table([route]);
    let hash = |ask: &Ask| match decide(&table, ask, &mut Given::new([]), 0, |_| true, &mut NoTrace) {
        Plan::Forward(forward) => forward.hash.unwrap(),
        Plan::Answer(_) => panic!("it is not sent on"),
    };
    let with = |query: &str| Ask { target: format!("/info?{query}").into(), ..ask() };
    assert_eq!(hash(&with("u=1&x=1")), hash(&with("x=2&u=1")));
    assert_ne!(hash(&with("u=1")), hash(&with("u=2")));
    assert_ne!(hash(&with("u=1")), hash(&with("u=1").from([192, 0, 2, 8])));
    // An IPv4 address is the same in an IPv6 one.
    let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
    assert_eq!(hash(&with("u=1")), hash(&with("u=1").from(mapped)));
}

#[test]
fn a_request_that_is_only_sent_on_allocates_nothing() {
    let mut canary = canary("canary");
    canary.rule = Rule { header: always_never("X-Canary"), query: always_never("c"), cookie: cookie("c") };
    canary.share = share(25, 100);
    canary.sticky = Some(Sticky::Cookie("user".into()));
    let mut route = with_canaries([canary]);
    let balance = Balance { algorithm: Algorithm::Hash, hash_by: Some(HashKey::parse("$remote_addr$arg_u").unwrap()) };
    route.split.stable = Some(Side { balance, ..side("stable") });
    let table = table([route, route_of("*.foo", "/"), route_of("", "/")]);
    for ask in [
        ask(),
        ask().with("Cookie", "a=b; user=7").with("X-Canary", "other"),
        Ask { authority: b"A.Foo:8080".into(), ..ask() },
        Ask { target: b"/info/deep/er?u=1&c=x".into(), ..ask() },
        Ask { authority: b"[::1]:80".into(), ..ask() },
        Ask { target: b"/nowhere".into(), ..ask() },
    ] {
        let mut draw = random();
        let count = allocation_counter::measure(|| {
            std::hint::black_box(decide(&table, &ask, &mut draw, 0, |_| true, &mut NoTrace));
        });
        assert_eq!(count.count_total, 0, "{ask:?}");
    }
    // The count sees what there is.
    let rewritten = Ask { target: b"/%69nfo".into(), ..ask() };
    let count = allocation_counter::measure(|| {
        std::hint::black_box(decide(&table, &rewritten, &mut random(), 0, |_| true, &mut NoTrace));
    });
    assert_eq!(count.count_total, 1);
}

#[test]
fn a_key_is_hashed_only_where_the_side_balances_by_it() {
    for (algorithm, hashes) in [
        (Algorithm::Hash, true),
        (Algorithm::HashSubset(3), true),
        (Algorithm::RoundRobin, false),
        (Algorithm::Ewma, false),
    ] {
        let mut route = route("/info");
        let balance = Balance { algorithm, hash_by: Some(HashKey::parse("$request_uri").unwrap()) };
        route.split.stable = Some(Side { balance, ..side("stable") });
        let table = table([route]);
        let Plan::Forward(forward) = decide(&table, &ask(), &mut Given::new([]), 0, |_| true, &mut NoTrace) else {
            panic!("it is not sent on");
        };
        assert_eq!(forward.hash.is_some(), hashes, "{algorithm:?}");
    }
}

/// Keeps all steps.
#[derive(Default)]
pub(super) struct Steps(Vec<Step>);

impl Trace for Steps {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.0.push(step());
    }
}

#[test]
fn a_trace_tells_what_fits_and_who_is_chosen() {
    let mut canary = canary("canary");
    canary.rule.header = always_never("X-Canary");
    canary.share = share(25, 100);
    let table = table([with_canaries([canary]), route("/"), route_of("", "/")]);
    let mut steps = Steps::default();
    let plan = decide(&table, &ask().with("X-Canary", "no"), &mut Given::new([10]), 0, |_| true, &mut steps);
    assert_eq!(outcome(&plan), "canary");
    let host = |host: &str, fits, chosen| Step::Host { host: host.into(), fits, chosen };
    let path = |route: &str, fits, chosen| Step::Path { route: route.into(), fits, chosen };
    assert_eq!(
        steps.0,
        [
            host("foo", Some(HostMatch::Exact), true),
            host("*", Some(HostMatch::Any), false),
            path("foo/info (Prefix) of Ingress shop/web", Some(PathMatch::Prefix(5)), true),
            path("foo/ (Prefix) of Ingress shop/web", Some(PathMatch::Prefix(1)), false),
            Step::Asked {
                canary: "Ingress shop/canary".into(),
                rule: "header X-Canary = always".into(),
                answer: "decides nothing".into(),
            },
            Step::Drawn {
                odds: "canary 25/100, stable 75/100".into(),
                lot: "10 of 100, drawn".into(),
                chosen: "canary".into(),
            },
        ]
    );
}

#[test]
fn a_trace_tells_that_paths_are_regular_expressions() {
    let note = |table: TestTable| {
        let mut steps = Steps::default();
        decide(&table, &ask(), &mut Given::new([]), 0, |_| true, &mut steps);
        steps.0.into_iter().any(|step| matches!(step, Step::Note(note) if note.contains("regular expressions")))
    };
    let pattern = Pattern::new("/info", PatternFlags::PATH).unwrap();
    assert!(note(table([Route { path: PathRule::Regex(pattern), ..route("/info") }])));
    assert!(!note(table([route("/info")])));
}

/// Hosts that ask their clients for certificates, and others.
fn asking() -> TestTable {
    let host = |name: &str, asks: Option<&str>| {
        let name = if name.is_empty() { Hostname::any() } else { Hostname::parse(name).unwrap() };
        let asks = asks.map(ClientCertificates::new);
        let host = HostBuilder::new(name.clone()).client_certificates(asks).push(route("/")).build();
        (name, Some(Arc::new(Host::Routes(host))))
    };
    let twin = Host::Twin { to: Hostname::parse("asks.example").unwrap(), status: 308 };
    Table::new().with_hosts([
        host("open.example", None),
        host("too.example", None),
        host("asks.example", Some("a")),
        host("same.example", Some("a")),
        host("*.other.example", Some("b")),
        host("", None),
        (Hostname::parse("www.asks.example").unwrap(), Some(Arc::new(twin))),
    ])
}

#[test]
fn a_connection_serves_only_hosts_that_ask_the_same_of_clients() {
    let table = asking();
    for (server_name, host, misdirected) in [
        ("open.example", "open.example", false),
        ("open.example", "too.example", false),
        ("open.example", "unknown.example", false),
        ("open.example", "asks.example", true),
        ("open.example", "ASKS.example.:443", true),
        ("", "asks.example", true),
        ("", "open.example", false),
        ("unknown.example", "asks.example", true),
        ("asks.example", "asks.example", false),
        ("asks.example", "Asks.Example:8443", false),
        ("asks.example", "same.example", false),
        ("asks.example", "a.other.example", true),
        ("asks.example", "open.example", true),
        ("asks.example", "", true),
        ("a.other.example", "b.other.example", false),
        ("asks.example", "www.asks.example", true),
        ("www.asks.example", "asks.example", true),
    ] {
        let request = Ask { server_name: Some(server_name), authority: host.into(), ..get("https://x/") };
        assert_eq!(always(&table, &request) == "Misdirected", misdirected, "{server_name} {host}");
    }
    let star = Ask { server_name: Some("asks.example"), target: b"*".into(), ..get("https://asks.example/") };
    assert_eq!(always(&table, &star), "Misdirected");
}

#[test]
fn without_a_handshake_no_request_is_misdirected() {
    let table = asking();
    // Also where a proxy before us says that it was https.
    let request = Ask { scheme: Scheme::Https, ..get("https://asks.example/") };
    assert_eq!(always(&table, &request), "stable");
}
