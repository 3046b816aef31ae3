//! Sessions, and weighted choices that stick.

use super::*;

/// A route with affinity by the cookie `aff`, as the case of ingress-nginx has it.
fn with_affinity(canaries: impl IntoIterator<Item = Canary<&'static str>>) -> TestRoute {
    let mut route = with_canaries(canaries);
    route.split.affinity = Some(Arc::new(affinity()));
    route
}

pub(super) fn affinity() -> Affinity {
    Affinity {
        mode: AffinityMode::Balanced,
        cookie_name: "aff".into(),
        max_age: None,
        expires: None,
        path: None,
        domain: None,
        same_site: None,
        conditional_same_site_none: false,
        secure: None,
        change_on_failure: false,
    }
}

fn canary_of(weight: u32, keeps_sessions: bool) -> Canary<&'static str> {
    let rule = Rule { header: always_never("X-Canary"), ..Rule::default() };
    Canary { rule, share: share(weight, 100), keeps_sessions, ..canary("canary") }
}

/// The cookie of a new session with a side.
fn session_with(side: &str) -> String {
    format!("aff=00000000000000aa|{:016x}", crate::route::affinity::tag(side))
}

/// The session that a decision asks for: what the client holds, and the side of its tag.
fn session(table: &TestTable, ask: &Ask) -> Option<(Held, &'static str)> {
    session_but(table, ask, &[])
}

/// The session where all backends are up but `down`.
fn session_but(table: &TestTable, ask: &Ask, down: &[&str]) -> Option<(Held, &'static str)> {
    match decide(table, ask, &mut Given::new([99]), 0, |side| !down.contains(side), &mut NoTrace) {
        Plan::Forward(Forward { affinity: Some(plan), .. }) => {
            let side = ["stable", "canary"].into_iter().find(|side| crate::route::affinity::tag(side) == plan.tag);
            Some((plan.held, side.unwrap_or("?")))
        }
        _ => None,
    }
}

#[test]
fn a_session_with_the_canary_beats_never_and_goes_on_with_its_key() {
    let table = table([with_affinity([canary_of(1, true)])]);
    let held = ask().with("Cookie", session_with("canary"));
    assert_eq!(always(&table, &held.clone().with("X-Canary", "never")), "canary");
    assert_eq!(session(&table, &held), Some((Held::Here(0xaa), "canary")));
}

#[test]
fn a_session_with_the_stable_side_stays_there_also_before_a_legacy_canary() {
    for keeps_sessions in [true, false] {
        let table = table([with_affinity([canary_of(100, keeps_sessions)])]);
        let held = ask().with("Cookie", session_with("stable"));
        assert_eq!(always(&table, &held), "stable");
        assert_eq!(always(&table, &held.with("X-Canary", "always")), "stable");
    }
}

#[test]
fn rules_may_win_over_a_session_issue_8246() {
    let mut route = with_affinity([canary_of(100, true)]);
    route.split.rules_before_affinity = true;
    let table = table([route]);
    let held = ask().with("Cookie", session_with("stable"));
    assert_eq!(always(&table, &held.clone().with("X-Canary", "always")), "canary");
    // Without the header the session holds, and the lot is not asked.
    assert_eq!(always(&table, &held), "stable");
}

#[test]
fn never_wins_over_a_session_with_the_canary_where_rules_go_first_issue_8246() {
    let mut canary = canary_of(100, true);
    canary.rule.cookie = cookie("c");
    let mut by_query = canary_of(100, true);
    by_query.rule = Rule { query: always_never("c"), ..Rule::default() };
    let held = |more: &str| ask().with("Cookie", format!("{}{more}", session_with("canary")));
    for rules_first in [true, false] {
        let table = |canary: &Canary<&'static str>| {
            let mut route = with_affinity([canary.clone()]);
            route.split.rules_before_affinity = rules_first;
            table([route])
        };
        let side = if rules_first { "stable" } else { "canary" };
        assert_eq!(always(&table(&canary), &held("").with("X-Canary", "never")), side, "header");
        assert_eq!(always(&table(&canary), &held("; c=never")), side, "cookie");
        let target = b"/info?c=never".to_vec();
        assert_eq!(always(&table(&by_query), &Ask { target, ..held("") }), side, "query");
        // Another value decides nothing, and the session holds.
        assert_eq!(always(&table(&canary), &held("; c=other")), "canary");
    }
}

#[test]
fn a_cookie_of_ingress_nginx_begins_a_new_session_and_is_replaced() {
    let table = table([with_affinity([canary_of(0, true)])]);
    let old = "aff=1763722440.123.45.678901|8c7dd922ad47494fc02c388e12c00eac";
    assert_eq!(session(&table, &ask().with("Cookie", old)), Some((Held::Nothing, "stable")));
    assert_eq!(session(&table, &ask()), Some((Held::Nothing, "stable")));
}

#[test]
fn any_other_value_is_a_key_as_in_ingress_nginx() {
    let table = table([with_affinity([])]);
    let (held, side) = session(&table, &ask().with("Cookie", "aff=junk")).unwrap();
    assert!(matches!((held, side), (Held::Here(_), "stable")), "{held:?}");
    assert_eq!(session(&table, &ask().with("Cookie", "aff=junk")), Some((held, side)));
    assert_eq!(session(&table, &ask().with("Cookie", "aff=")), Some((Held::Nothing, "stable")));
}

#[test]
fn a_session_with_a_canary_that_is_gone_keeps_its_key_and_finds_the_canary_when_it_is_back() {
    let held = ask().with("Cookie", session_with("canary"));
    assert_eq!(session(&table([with_affinity([])]), &held), Some((Held::Elsewhere(0xaa), "stable")));
    assert_eq!(always(&table([with_affinity([canary_of(0, true)])]), &held), "canary");
}

#[test]
fn routes_that_share_a_cookie_do_not_end_each_others_sessions() {
    let other = |canaries: Vec<Canary<&'static str>>| {
        let mut route = with_affinity(canaries);
        route.id.path = "/other".into();
        route.path = PathRule::Prefix("/other".into());
        route.split.stable = Some(side("other"));
        route
    };
    let at_other = |side: &str| Ask { target: "/other".into(), ..ask().with("Cookie", session_with(side)) };
    let held = |table: &TestTable, ask: &Ask| session(table, ask).unwrap().0;
    // Only where there are canaries to have sessions with is the side worth another cookie.
    for (canaries, expected) in [
        (vec![], Held::Elsewhere(0xaa)),
        (vec![canary_of(0, false)], Held::Elsewhere(0xaa)),
        (vec![canary_of(0, true)], Held::Unnamed(0xaa)),
    ] {
        let table = table([with_affinity([]), other(canaries)]);
        assert_eq!(held(&table, &at_other("stable")), expected);
        assert_eq!(held(&table, &at_other("other")), Held::Here(0xaa));
        assert_eq!(held(&table, &ask().with("Cookie", session_with("other"))), Held::Elsewhere(0xaa));
    }
}

#[test]
fn a_session_outlasts_the_absence_of_its_side() {
    let table = table([with_affinity([canary_of(1, true)])]);
    for (of, other) in [("canary", "stable"), ("stable", "canary")] {
        let held = ask().with("Cookie", session_with(of));
        assert_eq!(always_but(&table, &held, &[of]), other);
        assert_eq!(session_but(&table, &held, &[of]), Some((Held::Elsewhere(0xaa), of)));
        assert_eq!(session(&table, &held), Some((Held::Here(0xaa), of)));
    }
}

#[test]
fn a_session_that_begins_while_another_stands_in_is_one_with_the_side_that_was_meant() {
    let table = table([with_affinity([canary_of(10, true)])]);
    let forced = ask().with("X-Canary", "always");
    assert_eq!(session_but(&table, &ask(), &["stable"]), Some((Held::Nothing, "stable")));
    assert_eq!(session_but(&table, &forced, &["canary"]), Some((Held::Nothing, "canary")));
}

#[test]
fn a_legacy_canary_that_is_down_has_no_session_with_the_stable_side_begin() {
    let table = table([with_affinity([canary_of(10, false)])]);
    assert_eq!(session_but(&table, &ask().with("X-Canary", "always"), &["canary"]), None);
}

#[test]
fn a_rule_that_wins_over_a_session_leaves_it_as_it_is_issue_8246() {
    let mut route = with_affinity([canary_of(10, true)]);
    route.split.rules_before_affinity = true;
    let table = table([route]);
    for (of, rule) in [("canary", "never"), ("stable", "always")] {
        let forced = ask().with("Cookie", session_with(of)).with("X-Canary", rule);
        assert_eq!(session(&table, &forced), Some((Held::Elsewhere(0xaa), of)));
    }
}

#[test]
fn a_session_with_a_stable_side_that_is_down_goes_to_the_canary_issue_9635() {
    let table = table([with_affinity([canary_of(10, true)])]);
    let held = ask().with("Cookie", session_with("stable"));
    assert_eq!(always_but(&table, &held, &["stable"]), "canary");
}

#[test]
fn a_session_with_a_stable_side_that_is_down_leaves_it_to_the_rules_issue_9635() {
    let table = table([with_affinity([canary_of(0, true)])]);
    let held = ask().with("Cookie", session_with("stable"));
    assert_eq!(always_but(&table, &held.clone().with("X-Canary", "always"), &["stable"]), "canary");
    assert_eq!(always_but(&table, &held, &["stable"]), "NoEndpoints");
}

#[test]
fn a_session_with_the_fallback_is_one_with_the_stable_side() {
    let mut route = with_affinity([canary_of(100, true)]);
    route.split.fallback = Some(side("fallback"));
    let table = table([route]);
    let held = ask().with("Cookie", session_with("fallback"));
    assert_eq!(always_but(&table, &held, &["stable"]), "fallback");
    assert_eq!(always(&table, &held), "stable");
    assert_eq!(session(&table, &held), Some((Held::Here(0xaa), "stable")));
}

fn rendered(affinity: &Affinity, scheme: Scheme, user_agent: Option<&str>) -> String {
    let plan = AffinityPlan { affinity, held: Held::Nothing, tag: 0xbeef, path: "/info" };
    let mut out = Vec::new();
    crate::route::affinity::set_cookie(&plan, 0xaa, 1_290_079_655, scheme, user_agent.map(str::as_bytes), &mut out);
    String::from_utf8(out).unwrap().replace("00000000000000aa|000000000000beef", "*")
}

#[test]
fn the_cookie_is_written_as_ingress_nginx_writes_it() {
    let plain = affinity();
    assert_eq!(rendered(&plain, Scheme::Http, None), "aff=*; Path=/info; HttpOnly");
    assert_eq!(rendered(&plain, Scheme::Https, None), "aff=*; Path=/info; Secure; HttpOnly");
    let all = Affinity {
        max_age: Some(-1),
        expires: Some(0),
        path: Some("/a;b".into()),
        domain: Some("shop.example".into()),
        same_site: Some(SameSite::Strict),
        secure: Some(true),
        ..affinity()
    };
    assert_eq!(
        rendered(&all, Scheme::Http, None),
        "aff=*; Expires=Thu, 18-Nov-10 11:27:35 GMT; Max-Age=-1; Domain=shop.example; Path=/a%3Bb; Secure; HttpOnly; \
         SameSite=Strict"
    );
    let insecure = Affinity { secure: Some(false), ..affinity() };
    assert_eq!(rendered(&insecure, Scheme::Https, None), "aff=*; Path=/info; HttpOnly");
}

#[test]
fn dates_after_2037_have_all_digits_of_the_year() {
    let at = |expires| rendered(&Affinity { expires: Some(expires), ..affinity() }, Scheme::Http, None);
    assert!(at(1_000_000_000).contains("Expires=Sun, 27-Jul-2042 13:14:15 GMT"), "{}", at(1_000_000_000));
    assert!(at(i64::MAX).contains("31-Dec-9999"));
    assert!(at(i64::MIN).contains("01-Jan-70"));
}

#[test]
fn same_site_none_is_left_out_for_clients_that_misread_it() {
    let old =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/63.0.3239.132 Safari/537.36";
    let safari = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_5) AppleWebKit/605.1.15 Version/12.1 Safari/605.1.15";
    let ios = "Mozilla/5.0 (iPhone; CPU iPhone OS 12_2 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1";
    let new = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36";
    let none = Affinity { same_site: Some(SameSite::None), ..affinity() };
    let conditional = Affinity { conditional_same_site_none: true, ..none.clone() };
    for agent in [old, safari, ios] {
        assert!(!rendered(&conditional, Scheme::Https, Some(agent)).contains("SameSite"), "{agent}");
        assert!(rendered(&none, Scheme::Https, Some(agent)).ends_with("; SameSite=None"), "{agent}");
    }
    for agent in [Some(new), None] {
        assert!(rendered(&conditional, Scheme::Https, agent).ends_with("; SameSite=None"), "{agent:?}");
    }
}
