//! Canaries. The first part are the cases of ingress-nginx's own end-to-end tests (`test/e2e/annotations/canary.go`),
//! as far as they are about the decision; those about objects are the translation's.

use super::*;

const HEADER: &str = "CanaryByHeader";

fn by_header() -> Canary<&'static str> {
    Canary { rule: Rule { header: always_never(HEADER), ..Rule::default() }, ..canary("canary") }
}

fn asking(value: &str) -> Ask {
    ask().with(HEADER, value)
}

// === when canary is created ===

#[test]
fn case_01_the_stable_side_serves_a_request_without_the_header() {
    let table = table([with_canaries([by_header()])]);
    assert_eq!(always(&table, &ask()), "stable");
}

#[test]
fn case_02_a_canary_without_a_stable_route_is_not_found() {
    // Translation makes no route of it; a table without one has nothing to find.
    assert_eq!(always(&table([route("/other")]), &asking("always")), "NoRoute");
    assert_eq!(always(&table([]), &asking("always")), "NoRoute");
}

#[test]
fn case_03_without_endpoints_of_the_stable_side_the_canary_serves_whom_it_is_for_issue_9635() {
    // ingress-nginx answers 503 to both; its own test of this is commented out.
    let table = table([with_canaries([by_header()])]);
    assert_eq!(always_but(&table, &asking("always"), &["stable"]), "canary");
    assert_eq!(always_but(&table, &asking("never"), &["stable"]), "NoEndpoints");
}

#[test]
fn case_03_without_endpoints_of_the_canary_the_stable_side_serves() {
    let table = table([with_canaries([by_header()])]);
    assert_eq!(always_but(&table, &asking("never"), &["canary"]), "stable");
    assert_eq!(always_but(&table, &asking("always"), &["canary"]), "stable");
}

/// Cases 4, 5 and 6 differ only in the order in which objects are created, which is the translation's; what they ask of
/// the decision is the same.
#[test]
fn cases_04_05_06_never_goes_to_stable_and_always_to_the_canary() {
    let table = table([with_canaries([by_header()])]);
    assert_eq!(always(&table, &asking("never")), "stable");
    assert_eq!(always(&table, &asking("always")), "canary");
}

#[test]
fn case_07_a_renamed_header_takes_effect_with_the_next_table() {
    let before = table([with_canaries([by_header()])]);
    let mut renamed = by_header();
    renamed.rule.header = always_never("CanaryByHeader2");
    let after = table([with_canaries([renamed])]);
    assert_eq!(always(&before, &asking("always")), "canary");
    assert_eq!(always(&after, &asking("always")), "stable");
    assert_eq!(always(&after, &ask().with("CanaryByHeader2", "always")), "canary");
    assert_eq!(always(&after, &ask().with("CanaryByHeader2", "never")), "stable");
}

// === by header ===

#[test]
fn case_08_a_header_without_a_value_knows_always_and_never() {
    let table = table([with_canaries([by_header()])]);
    for (value, side) in [("always", "canary"), ("never", "stable"), ("badheadervalue", "stable"), ("Always", "stable")]
    {
        assert_eq!(always(&table, &asking(value)), side, "{value}");
    }
}

#[test]
fn case_09_a_header_with_a_value_knows_only_that() {
    let mut canary = by_header();
    canary.rule.header = value(HEADER, &["DoCanary"]);
    let table = table([with_canaries([canary])]);
    for (value, side) in [("DoCanary", "canary"), ("always", "stable"), ("never", "stable"), ("other", "stable")] {
        assert_eq!(always(&table, &asking(value)), side, "{value}");
    }
}

#[test]
fn case_10_a_header_with_a_pattern_is_searched() {
    let mut canary = by_header();
    canary.rule.header = pattern(HEADER, "^Do[A-Z][a-z]+y$");
    let table = table([with_canaries([canary])]);
    for (value, side) in [("DoCanary", "canary"), ("Docanary", "stable"), ("always", "stable")] {
        assert_eq!(always(&table, &asking(value)), side, "{value}");
    }
}

#[test]
fn case_11_a_value_beats_a_pattern() {
    // Where both are set the translation gives the value alone.
    let mut canary = by_header();
    canary.rule.header = value(HEADER, &["DoCanary"]);
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &asking("DoCananry")), "stable");
}

#[test]
fn case_12_whoever_sends_the_header_of_a_broken_pattern_stays_on_stable() {
    assert!(Pattern::new("[][**da?$&*", PatternFlags::VALUE).is_err());
    let mut canary = by_header();
    canary.rule.header = Some(FieldRule { name: HEADER.into(), value: ValueMatch::Broken });
    canary.rule.cookie = cookie("CanaryByCookie");
    canary.share = share(100, 100);
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &asking("DoCanary").with("Cookie", "CanaryByCookie=always")), "stable");
    assert_eq!(always(&table, &ask().with("Cookie", "CanaryByCookie=always")), "canary");
}

#[test]
fn case_13_a_header_that_does_not_match_leaves_it_to_the_cookie() {
    let mut canary = by_header();
    canary.rule.header = value(HEADER, &["DoCanary"]);
    canary.rule.cookie = cookie("CanaryByCookie");
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &asking("otherheadervalue").with("Cookie", "CanaryByCookie=always")), "canary");
}

// === by cookie ===

#[test]
fn case_14_a_cookie_knows_always_and_never() {
    let mut canary = canary("canary");
    canary.rule.cookie = cookie("Canary-By-Cookie");
    let table = table([with_canaries([canary])]);
    for (value, side) in [("always", "canary"), ("never", "stable"), ("badcookievalue", "stable")] {
        assert_eq!(always(&table, &ask().with("Cookie", format!("Canary-By-Cookie={value}"))), side, "{value}");
    }
}

// === by weight ===

fn weighted(weight: u32, total: u32) -> TestTable {
    table([with_canaries([Canary { share: share(weight, total), ..canary("canary") }])])
}

fn parts(parts: &[(&str, usize)]) -> Vec<(String, usize)> {
    parts.iter().map(|&(name, lots)| (name.to_owned(), lots)).collect()
}

#[test]
fn case_15_a_weight_of_0_is_never() {
    assert_eq!(always(&weighted(0, 100), &ask()), "stable");
}

#[test]
fn case_16_a_weight_of_100_is_always() {
    assert_eq!(always(&weighted(100, 100), &ask()), "canary");
}

#[test]
fn case_17_a_weight_equal_to_its_total_is_always() {
    assert_eq!(split(&weighted(1000, 1000), &ask(), 1000), parts(&[("canary", 1000)]));
}

#[test]
fn case_18_a_weight_of_50_is_half() {
    assert_eq!(split(&weighted(50, 100), &ask(), 100), parts(&[("canary", 50), ("stable", 50)]));
}

#[test]
fn case_19_a_weight_of_100_of_200_is_half() {
    assert_eq!(split(&weighted(100, 200), &ask(), 200), parts(&[("canary", 100), ("stable", 100)]));
}

// === single canary Ingress ===

#[test]
fn cases_20_21_a_canary_alone_is_no_server() {
    // Of any host, or of its own: without a stable side it serves nobody.
    let mut alone = with_canaries([by_header()]);
    alone.split.stable = None;
    let table = table([alone]);
    assert_eq!(always(&table, &ask()), "NoEndpoints");
    assert_eq!(always(&table, &Ask { authority: b"bar".into(), ..asking("always") }), "NoRoute");
}

#[test]
fn case_22_paths_to_a_backend_that_fits_nothing_do_no_harm() {
    let table = table([route("/info"), route("/other")]);
    assert_eq!(always(&table, &asking("always")), "stable");
}

// Cases 23 to 25 are in `affinity`.

// === what they leave open ===

#[test]
fn a_weight_above_its_total_is_always() {
    assert_eq!(always(&weighted(500, 100), &ask()), "canary");
    assert_eq!(always(&weighted(u32::MAX, 1), &ask()), "canary");
}

#[test]
fn a_total_of_0_is_100() {
    assert_eq!(split(&weighted(25, 0), &ask(), 100), parts(&[("canary", 25), ("stable", 75)]));
}

#[test]
fn the_first_lots_are_the_canarys() {
    let table = weighted(30, 100);
    assert_eq!(drawn(&table, &ask(), 29), "canary");
    assert_eq!(drawn(&table, &ask(), 30), "stable");
}

#[test]
fn a_header_is_found_whatever_its_case_and_dashes() {
    let mut canary = by_header();
    canary.rule.header = always_never("X_Canary");
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &ask().with("x-canary", "always")), "canary");
    assert_eq!(always(&table, &ask().with("X_Canary", "always")), "stable");
}

#[test]
fn a_repeated_header_is_joined() {
    let mut canary = by_header();
    canary.rule.header = value(HEADER, &["always, never"]);
    let both = asking("always").with(HEADER, "never");
    assert_eq!(always(&table([with_canaries([by_header()])]), &both), "stable");
    assert_eq!(always(&table([with_canaries([canary])]), &both), "canary");
}

#[test]
fn an_empty_header_is_there() {
    let mut canary = by_header();
    canary.rule.header = pattern(HEADER, "^$");
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &asking("")), "canary");
    assert_eq!(always(&table, &ask()), "stable");
}

#[test]
fn one_of_several_values_is_enough_issue_4467() {
    let mut canary = by_header();
    canary.rule.header = value(HEADER, &["de", "fr"]);
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &asking("fr")), "canary");
    assert_eq!(always(&table, &asking("de||fr")), "stable");
}

#[test]
fn cookies_know_values_and_patterns() {
    let rule = |value| Some(CookieRule { name: "user".into(), value });
    let mut named = canary("named");
    named.rule.cookie = rule(ValueMatch::OneOf(["7".into()].into()));
    let mut beta = canary("beta");
    beta.rule.cookie = rule(ValueMatch::Pattern(Pattern::new("^beta-", PatternFlags::VALUE).unwrap()));
    let table = table([with_canaries([named, beta])]);
    for (cookies, side) in [("user=7", "named"), ("user=beta-3", "beta"), ("user=8", "stable"), ("USER=7", "named")] {
        assert_eq!(always(&table, &ask().with("Cookie", cookies)), side, "{cookies}");
    }
}

#[test]
fn a_parameter_of_the_query_is_a_rule() {
    let mut canary = canary("canary");
    canary.rule.query = always_never("c");
    let table = table([with_canaries([canary])]);
    for (query, side) in [
        ("?c=always", "canary"),
        ("?x=1&c=always", "canary"),
        ("?%63=%61lways", "canary"),
        ("?c=never", "stable"),
        ("?c", "stable"),
        ("?C=always", "stable"),
        ("", "stable"),
    ] {
        assert_eq!(always(&table, &Ask { target: format!("/info{query}").into(), ..ask() }), side, "{query}");
    }
}

#[test]
fn a_header_and_a_parameter_must_both_match() {
    let mut canary = by_header();
    canary.rule.query = value("v", &["2"]);
    canary.share = share(100, 100);
    let weighted = table([with_canaries([canary.clone()])]);
    canary.share = share(0, 100);
    let table = table([with_canaries([canary])]);
    let with_query = |ask: Ask| Ask { target: b"/info?v=2".into(), ..ask };
    assert_eq!(always(&table, &with_query(asking("always"))), "canary");
    assert_eq!(always(&table, &asking("always")), "stable");
    assert_eq!(always(&table, &with_query(ask())), "stable");
    assert_eq!(always(&weighted, &with_query(asking("never"))), "stable");
}

// === several canaries: ingress-nginx asks only the first (issues 5848, 4769) ===

fn three() -> TestRoute {
    let part = |name, weight| Canary { share: share(weight, 100), ..canary(name) };
    with_canaries([part("a", 30), part("b", 20), part("c", 10)])
}

#[test]
fn several_canaries_share_one_lot_issue_5848() {
    assert_eq!(split(&table([three()]), &ask(), 100), parts(&[("a", 30), ("b", 20), ("c", 10), ("stable", 40)]));
}

#[test]
fn shares_of_different_totals_are_exact() {
    let part = |name, weight, total| Canary { share: share(weight, total), ..canary(name) };
    let table = table([with_canaries([part("a", 1, 3), part("b", 1, 4), part("c", 1, 7)])]);
    // 28/84, 21/84, 12/84
    assert_eq!(split(&table, &ask(), 84), parts(&[("a", 28), ("b", 21), ("c", 12), ("stable", 23)]));
}

#[test]
fn shares_of_more_than_the_whole_are_scaled_by_their_sum() {
    let part = |name, weight| Canary { share: share(weight, 100), ..canary(name) };
    let table = table([with_canaries([part("a", 80), part("b", 60)])]);
    assert_eq!(split(&table, &ask(), 140), parts(&[("a", 80), ("b", 60)]));
}

#[test]
fn never_excludes_one_canary_only() {
    let mut route = three();
    route.split.canaries[0].rule.header = always_never(HEADER);
    let table = table([route]);
    // Its part is the stable side's; the odds of the others stay.
    assert_eq!(split(&table, &asking("never"), 100), parts(&[("b", 20), ("c", 10), ("stable", 70)]));
    assert_eq!(always(&table, &asking("always")), "a");
}

#[test]
fn never_by_header_also_closes_the_cookie_and_the_lot() {
    let mut canary = by_header();
    canary.rule.cookie = cookie("c");
    canary.share = share(100, 100);
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &asking("never").with("Cookie", "c=always")), "stable");
}

#[test]
fn headers_of_all_canaries_are_asked_before_any_cookie() {
    let mut first = canary("first");
    first.rule.cookie = cookie("c");
    let mut second = canary("second");
    second.rule.header = always_never(HEADER);
    let table = table([with_canaries([first, second])]);
    assert_eq!(always(&table, &asking("always").with("Cookie", "c=always")), "second");
    assert_eq!(always(&table, &ask().with("Cookie", "c=always")), "first");
}

#[test]
fn within_a_kind_the_first_canary_is_asked_first() {
    let canary = |name| Canary { rule: Rule { header: always_never(HEADER), ..Rule::default() }, ..canary(name) };
    let table = table([with_canaries([canary("first"), canary("second")])]);
    assert_eq!(always(&table, &asking("always")), "first");
}

#[test]
fn the_part_of_a_canary_that_is_down_is_the_stable_sides() {
    let table = table([three()]);
    let outcomes: Vec<_> =
        [0, 29, 30, 49, 50].map(|lot| outcome_but(&table, &ask(), &mut Given::new([lot]), &["a"])).into();
    assert_eq!(outcomes, ["stable", "stable", "b", "b", "c"]);
}

#[test]
fn in_place_of_the_stable_side_canaries_serve_in_proportion_issue_9635() {
    let table = table([three()]);
    let second = |lot| outcome_but(&table, &ask(), &mut Given::new([99, lot]), &["stable"]);
    let mut sides = std::collections::BTreeMap::new();
    for lot in 0..60 {
        *sides.entry(second(lot)).or_insert(0) += 1;
    }
    assert_eq!(sides.into_iter().collect::<Vec<_>>(), [("a".into(), 30), ("b".into(), 20), ("c".into(), 10)]);
    // Those that are down take no part.
    assert_eq!(always_but(&table, &ask(), &["stable", "a", "b"]), "c");
    assert_eq!(always_but(&table, &ask(), &["stable", "a", "b", "c"]), "NoEndpoints");
}

#[test]
fn a_canary_without_a_weight_serves_only_whom_a_rule_sends_issue_9635() {
    let table = table([with_canaries([by_header()])]);
    assert_eq!(always_but(&table, &ask(), &["stable"]), "NoEndpoints");
    assert_eq!(always_but(&table, &asking("always"), &["stable"]), "canary");
}

#[test]
fn a_canary_that_never_closes_stays_closed_while_the_stable_side_is_down() {
    let mut route = with_canaries([
        Canary { share: share(90, 100), ..by_header() },
        Canary { share: share(5, 100), ..canary("other") },
    ]);
    let both = table([route.clone()]);
    assert_eq!(always_but(&both, &asking("never"), &["stable"]), "other");
    route.split.canaries.pop();
    assert_eq!(always_but(&table([route]), &asking("never"), &["stable"]), "NoEndpoints");
}

#[test]
fn the_fallback_serves_while_the_stable_side_is_down_and_canaries_go_on() {
    let mut route = with_canaries([Canary { share: share(10, 100), ..by_header() }]);
    route.split.fallback = Some(side("fallback"));
    let table = table([route]);
    let down = |ask: &Ask, lot| outcome_but(&table, ask, &mut Given::new([lot]), &["stable"]);
    assert_eq!(down(&ask(), 50), "fallback");
    assert_eq!(down(&ask(), 5), "canary");
    assert_eq!(down(&asking("always"), 50), "canary");
    assert_eq!(always_but(&table, &asking("never"), &["stable", "canary"]), "fallback");
}

#[test]
fn a_canary_belongs_to_its_route_alone_issue_4667() {
    // Two routes share the stable Service; only one has the canary.
    let table = table([with_canaries([Canary { share: share(100, 100), ..canary("canary") }]), route("/other")]);
    assert_eq!(always(&table, &ask()), "canary");
    assert_eq!(always(&table, &get("http://foo/other")), "stable");
}

#[test]
fn totals_without_a_small_common_multiple_are_as_good_as_exact() {
    let part = |name, weight, total| Canary { share: share(weight, total), ..canary(name) };
    let table = table([with_canaries([
        part("a", 4_294_967_291, 4_294_967_291),
        part("b", 1, 4_294_967_279),
        part("c", 1, 4_294_967_231),
    ])]);
    assert_eq!(drawn(&table, &ask(), 0), "a");
    assert_eq!(drawn(&table, &ask(), (1 << 48) - 1), "a");
    assert_eq!(drawn(&table, &ask(), 1 << 48), "b");
}

#[test]
fn real_lots_are_near_the_odds() {
    let table = weighted(25, 100);
    let mut draw = random();
    let hits = (0..10_000).filter(|_| outcome_but(&table, &ask(), &mut draw, &[]) == "canary").count();
    // 2,500 ± 6 σ
    assert!((2240..=2760).contains(&hits), "{hits}");
}
