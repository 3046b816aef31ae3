//! What holds for any table and any request.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// Paths over few letters, so that they meet.
fn path() -> impl Strategy<Value = String> {
    let segment = select(vec!["a", "b", "ab", "A", "", "a.b", ".", "..", "%61", "%2F"]);
    vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

/// Paths as rules may have them.
fn rule_path() -> impl Strategy<Value = String> {
    let segment = select(vec!["a", "b", "ab", "A", "a.b"]);
    (vec(segment, 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let path = format!("/{}", segments.join("/"));
        if slash && path != "/" { format!("{path}/") } else { path }
    })
}

fn rules() -> impl Strategy<Value = Vec<(bool, String)>> {
    vec((any::<bool>(), rule_path()), 0..12)
}

/// The position of the rule that serves a path and whether it adds a slash, by nginx's rules, one after the other.
fn reference(rules: &[(bool, String)], path: &str) -> Option<(usize, bool)> {
    let first = |fits: &dyn Fn(bool, &str) -> bool| rules.iter().position(|(exact, rule)| fits(*exact, rule));
    let location = |rule: &str| if rule.ends_with('/') { rule.to_owned() } else { format!("{rule}/") };
    first(&|exact, rule| exact && rule == path)
        .or_else(|| first(&|exact, rule| !exact && rule == path && !rule.ends_with('/')))
        .map(|at| (at, false))
        .or_else(|| first(&|_, rule| rule == format!("{path}/") && path != "/").map(|at| (at, true)))
        .or_else(|| {
            let below =
                rules.iter().enumerate().filter(|(_, (exact, rule))| !exact && path.starts_with(&location(rule)));
            // The longest; of the same length the one written with a slash; of those the first.
            let best =
                below.max_by_key(|(at, (_, rule))| (location(rule).len(), rule.ends_with('/'), std::cmp::Reverse(*at)));
            best.map(|(at, _)| (at, false))
        })
}

fn host_of(rules: &[(bool, String)]) -> HostTable<&'static str, ()> {
    let routes = rules.iter().map(|(exact, path)| route(&format!("{}{path}", if *exact { "=" } else { "" })));
    HostBuilder::new(Hostname::parse("foo").unwrap()).extend(routes).build()
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        "[ -~]{0,40}".prop_map(String::into_bytes),
        select(vec!["foo", "FOO:80", "a.foo", "[::1]", "", "always", "never", "aff=x|y", "c=always; user=7"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

/// Session cookies: with the tag of a side, of none, or of another form.
fn any_session() -> impl Strategy<Value = Vec<u8>> {
    let tag = prop_oneof![
        select(vec!["stable", "a", "b", "other"])
            .prop_map(|side| format!("{:016x}", crate::route::affinity::tag(side))),
        "[0-9a-g]{0,40}",
    ];
    ("[0-9a-f]{16}|[0-9a-f.]{0,40}", prop_oneof![Just("|"), Just("")], tag, "(; c=(always|never))?")
        .prop_map(|(key, bar, tag, more)| format!("aff={key}{bar}{tag}{more}").into_bytes())
}

fn any_target() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any_bytes(),
        path().prop_map(String::into_bytes),
        (path(), any_bytes()).prop_map(|(path, query)| { [path.as_bytes(), b"?", &query].concat() })
    ]
}

fn any_ask() -> impl Strategy<Value = Ask> {
    let name = select(vec!["Cookie", "X-Canary", "X_Canary", "Host", "x-canary"]);
    let field = prop_oneof![3 => (name, any_bytes()), 1 => (Just("Cookie"), any_session())];
    (any_bytes(), any_target(), vec(field, 0..5), any::<bool>()).prop_map(|(authority, target, fields, https)| Ask {
        authority,
        target,
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        scheme: if https { Scheme::Https } else { Scheme::Http },
        ..ask()
    })
}

/// A table with something of everything.
fn everything() -> TestTable {
    let mut canary_a = canary("a");
    canary_a.rule.header = always_never("X-Canary");
    canary_a.rule.query = pattern("a", "^[a-z]+(?!x)$");
    canary_a.share = share(10, 30);
    canary_a.sticky = Some(Sticky::OwnCookie);
    let mut canary_b = canary("b");
    canary_b.rule.cookie = cookie("c");
    canary_b.share = share(1, 7);
    let with = |path: &str, policy: Policy| {
        let mut route = with_canaries([canary_a.clone(), canary_b.clone()]);
        let TestRoute { id, path, .. } = route_of("", path);
        route.id = id;
        route.path = path;
        route.policy = Arc::new(policy);
        let balance = Balance {
            algorithm: Algorithm::Hash,
            hash_by: Some(HashKey::parse("$host$uri$arg_a$cookie_c$http_x_canary$remote_addr").unwrap()),
        };
        route.split.stable = Some(Side { balance, ..side("stable") });
        route.split.affinity = Some(Arc::new(super::affinity::affinity()));
        route
    };
    let rewrite = |target: &str| {
        let pattern = Pattern::new("/a(/|$)(?<rest>.*)", PatternFlags::REWRITE).unwrap();
        Policy { rewrite: Some(Rewrite::new(pattern, target).unwrap()), ..Policy::default() }
    };
    let routes = [
        with("/", Policy { upstream_host: Some(HashKey::parse("$http_host-$arg_a").unwrap()), ..Policy::default() }),
        with("/a", rewrite("/$2/$1/$uri")),
        with("/a/b", rewrite("$rest")),
        with("/ab", rewrite("https://x.example/$2")),
        with("/b/", Policy { ssl_redirect: SslRedirect::On, ..Policy::default() }),
        with("=/a.b/", Policy::default()),
    ];
    table(routes).with_host(
        Hostname::parse("a.foo").unwrap(),
        Some(Arc::new(Host::Twin { to: Hostname::parse("foo").unwrap(), status: 308 })),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_route_is_found_as_the_reference_finds_it(rules in rules(), path in path()) {
        let host = host_of(&rules);
        let mut scratch = Vec::new();
        if let Ok(path) = crate::http::path::normalize(path.as_bytes(), &mut scratch) {
            let found = host.find(path).map(|found| {
                let at = host.routes.iter().position(|route| Arc::ptr_eq(route, found.route)).unwrap();
                (at, found.path.adds_slash())
            });
            prop_assert_eq!(found, reference(&rules, std::str::from_utf8(path).unwrap()));
        }
    }

    #[test]
    fn the_route_that_is_found_fits_best_alone(rules in rules(), path in path()) {
        let host = host_of(&rules);
        let found = host.find(path.as_bytes());
        let fits = |route: &TestRoute| route.path.fits(path.as_bytes(), &route.id.path);
        let best = host.routes.iter().filter_map(|route| fits(route)).max();
        prop_assert_eq!(found.as_ref().map(|found| found.path), best);
        prop_assert_eq!(found.and_then(|found| fits(found.route)), best);
    }

    #[test]
    fn the_first_regex_in_nginx_s_order_is_found(paths in vec(select(vec!["/", "/a", "/a/", "/b", "/a.", "/[ab]", "/a|/b", "/ab$"]), 1..6), path in path()) {
        let routes = paths.iter().map(|path| route(&format!("~{path}")));
        let host = HostBuilder::new(Hostname::parse("foo").unwrap()).extend(routes).build();
        let mut sorted = paths.clone();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted.sort_by_key(|path| std::cmp::Reverse(path.len()));
        let naive = |rule: &&str| regex::Regex::new(&format!("(?i)^{rule}")).unwrap().is_match(&path);
        let expected = sorted.into_iter().find(naive);
        prop_assert_eq!(host.find(path.as_bytes()).map(|found| &*found.route.id.path), expected);
    }

    #[test]
    fn a_host_is_found_as_the_reference_finds_it(hosts in vec(select(vec!["a.b", "*.b", "b", "*.a.b", "", "c.a.b"]), 0..5), asked in "[abcA.*]{0,6}(:80)?") {
        let table = table(hosts.iter().map(|host| route_of(host, "/")));
        let name = asked.split(':').next().unwrap().to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let wildcard = name.split_once('.').filter(|(label, _)| !label.is_empty() && !label.contains('*'));
        let wildcard = wildcard.map(|(_, rest)| format!("*.{rest}"));
        let expected = if !name.is_empty() && !name.contains('*') && hosts.contains(&name) {
            Some(HostMatch::Exact)
        } else if wildcard.is_some_and(|wildcard| hosts.contains(&&*wildcard)) {
            Some(HostMatch::Wildcard)
        } else {
            hosts.contains(&"").then_some(HostMatch::Any)
        };
        prop_assert_eq!(table.find_host(asked.as_bytes()).map(|(fits, _)| fits), expected);
    }

    #[test]
    fn no_request_panics_and_nothing_it_brings_breaks_a_field(ask in any_ask(), lots in vec(any::<u64>(), 1..6), down in vec(select(vec!["stable", "a", "b"]), 0..3)) {
        let table = everything();
        let up = |backend: &&str| !down.contains(backend);
        match decide(&table, &ask, &mut Given::new(lots.clone()), 0, up, &mut NoTrace) {
            Plan::Answer(Answer { why: Why::Redirect { location, .. }, .. }) => {
                prop_assert!(location.iter().all(u8::is_ascii_graphic), "{}", location.escape_ascii());
            }
            Plan::Answer(_) => {}
            Plan::Forward(Forward { side, host, set_cookie, affinity, .. }) => {
                prop_assert!(up(&side.backend));
                let session = affinity.map(|plan| {
                    let mut cookie = Vec::new();
                    crate::route::affinity::set_cookie(&plan, 7, 0, Scheme::Http, None, &mut cookie);
                    cookie
                });
                for value in [host, set_cookie, session].into_iter().flatten() {
                    prop_assert!(!value.iter().any(u8::is_ascii_control), "{}", value.escape_ascii());
                }
            }
        }
        // Watching changes nothing.
        let watched = outcome(&decide(&table, &ask, &mut Given::new(lots.clone()), 0, up, &mut super::decide::Steps::default()));
        prop_assert_eq!(watched, outcome(&decide(&table, &ask, &mut Given::new(lots), 0, up, &mut NoTrace)));
    }

    #[test]
    fn the_odds_of_canaries_are_exact(shares in vec((0..=12_u32, 1..=12_u32), 1..4)) {
        let names = ["a", "b", "c"];
        let canaries = shares.iter().zip(names).map(|(&(weight, total), name)| Canary { share: share(weight, total), ..canary(name) });
        let table = table([with_canaries(canaries)]);
        // 27,720 is a multiple of all totals to 12.
        const WHOLE: u64 = 27_720;
        let parts: Vec<u64> = shares.iter().map(|&(weight, total)| u64::from(weight.min(total)) * WHOLE / u64::from(total)).collect();
        let end = parts.iter().sum::<u64>().max(WHOLE);
        let totals = || shares.iter().map(|&(_, total)| u64::from(total));
        let unit = (1..=WHOLE).find(|unit| totals().all(|total| unit % total == 0)).unwrap();
        let lots = end * unit / WHOLE;
        prop_assume!(lots <= 3000);
        let mut counts = [0_u64; 3];
        for lot in 0..lots {
            if let Some(at) = names.iter().position(|name| *name == drawn(&table, &ask(), lot)) {
                counts[at] += 1;
            }
        }
        for (at, part) in parts.iter().enumerate() {
            prop_assert_eq!(counts[at] * WHOLE, part * unit, "{}", names[at]);
        }
    }

    #[test]
    fn mapping_a_host_finds_the_same_routes(rules in rules(), path in path()) {
        let host = host_of(&rules);
        let mapped = host.map(|backend| backend.len(), |route| route.id.clone());
        let found = mapped.find(path.as_bytes()).map(|found| (found.path, &found.route.state));
        let expected = host.find(path.as_bytes()).map(|found| (found.path, &found.route.id));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_pattern_panics(source in "[a-c(){}\\[\\]?*+|^$.\\\\&~:<>=!,0-9-]{0,24}", text in vec(any::<u8>(), 0..24)) {
        if let Ok(pattern) = Pattern::new(&source, PatternFlags::PATH) {
            let found = pattern.captures(&text);
            prop_assert_eq!(pattern.is_match(&text), found.is_some());
        }
    }

    #[test]
    fn a_path_pattern_matches_as_its_engine_alone(
        pieces in vec(select(vec!["/a", "b", "(x|y)", "|", "*", "+?", "{2}", "[ab]", r"\.", "(?i)", ".", "(?:b", ")", "$"]), 0..6),
        text in "[/abAB.x]{0,6}",
    ) {
        let source = pieces.concat();
        if let (Ok(pattern), Ok(engine)) =
            (Pattern::new(&source, PatternFlags::PATH), regex::bytes::Regex::new(&format!("(?i-u)^{source}")))
        {
            prop_assert_eq!(pattern.is_match(text.as_bytes()), engine.is_match(text.as_bytes()), "{}", source);
        }
    }

    #[test]
    fn no_text_with_variables_panics(source in "[a-z_${}-]{0,24}", ask in any_ask()) {
        if let Ok(key) = HashKey::parse(&source) {
            prop_assert_eq!(&*key.source, &*source);
            prop_assert_eq!(key.hash(&ask), key.hash(&ask));
        }
    }
}
