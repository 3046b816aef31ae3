//! Canaries: what the cases of ingress-nginx's own tests leave open. Those are among the tests of translation
//! (`canary_e2e`), since they are about objects.

use super::*;

const HEADER: &str = "CanaryByHeader";

fn by_header() -> Canary<&'static str> {
    Canary { rule: Rule { header: always_never(HEADER), ..Rule::default() }, ..canary("canary") }
}

fn asking(value: &str) -> Ask {
    ask().with(HEADER, value)
}

// === weights ===

fn weighted(weight: u32, total: u32) -> TestTable {
    table([with_canaries([Canary { share: share(weight, total), ..canary("canary") }])])
}

fn parts(parts: &[(&str, usize)]) -> Vec<(String, usize)> {
    parts.iter().map(|&(name, lots)| (name.to_owned(), lots)).collect()
}

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

// === fields ===

#[test]
fn a_header_is_found_whatever_its_case_and_whether_it_has_dashes_or_underscores() {
    let mut canary = by_header();
    canary.rule.header = always_never("X_Canary");
    let table = table([with_canaries([canary])]);
    assert_eq!(always(&table, &ask().with("x-canary", "always")), "canary");
    assert_eq!(always(&table, &ask().with("X_Canary", "always")), "canary");
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
fn a_pattern_that_does_not_compile_closes_its_own_canary_only() {
    let mut canaries = ["a", "b"].map(canary);
    let broken = FieldRule { name: "X-User".into(), value: ValueMatch::Broken };
    canaries[0].rule = Rule { header: Some(broken), cookie: cookie("c"), ..Rule::default() };
    canaries[0].share = share(50, 100);
    canaries[1].rule.header = always_never("X-Canary");
    canaries[1].share = share(50, 100);
    let table = table([with_canaries(canaries)]);
    let user = ask().with("X-User", "1");
    assert_eq!(always(&table, &user.clone().with("X-Canary", "always")), "b");
    // Neither its cookie nor its part of the lot.
    let lots = split(&table, &user.with("Cookie", "c=always"), 100);
    assert_eq!(lots, parts(&[("b", 50), ("stable", 50)]));
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
