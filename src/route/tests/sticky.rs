//! Weighted choices that stick to a client.

use proptest::prelude::*;

use super::*;

fn sticking(weight: u32, sticky: Sticky) -> Canary<&'static str> {
    Canary { share: share(weight, 100), sticky: Some(sticky), ..canary("canary") }
}

fn by_cookie() -> Sticky {
    Sticky::Cookie("user".into())
}

fn user(name: impl std::fmt::Display) -> Ask {
    ask().with("Cookie", format!("user={name}"))
}

/// Where a client is at each weight.
fn at_weights(sticky: &Sticky, ask: &Ask, weights: impl IntoIterator<Item = u32>) -> Vec<String> {
    weights.into_iter().map(|weight| always(&table([with_canaries([sticking(weight, sticky.clone())])]), ask)).collect()
}

/// The vectors were made by another implementation of SipHash. They hold for good: a change would move every client.
#[test]
fn buckets_are_as_they_always_were() {
    #[derive(serde::Deserialize)]
    struct Vector {
        namespace: String,
        name: String,
        key: String,
        bucket: String,
    }
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../testdata/sticky.json")).unwrap();
    assert_eq!(vectors.len(), 30);
    for Vector { namespace, name, key, bucket } in vectors {
        let ingress = ObjectKey::ingress(&*namespace, &*name);
        let found = by_cookie().bucket(&ingress, &user(&key)).map(|bucket| format!("{bucket:016x}"));
        assert_eq!(found, Some(bucket), "{ingress} {key}");
    }
}

#[test]
fn the_same_key_goes_to_the_same_side_whatever_the_lot() {
    let table = table([with_canaries([sticking(50, by_cookie())])]);
    let sides: BTreeSet<_> = (0..64).map(|name| always(&table, &user(name))).collect();
    // Some to each side, and none to both.
    assert_eq!(sides.into_iter().collect::<Vec<_>>(), ["canary", "stable"]);
}

#[test]
fn keys_fall_as_the_odds_say() {
    let table = table([with_canaries([sticking(25, by_cookie())])]);
    let hits = (0..10_000).filter(|name| drawn(&table, &user(name), 0) == "canary").count();
    // 2,500 ± 6 σ, of keys that never change
    assert!((2240..=2760).contains(&hits), "{hits}");
}

#[test]
fn whoever_has_the_canary_keeps_it_while_its_weight_grows() {
    for name in 0..64 {
        let sides = at_weights(&by_cookie(), &user(name), [0, 1, 5, 10, 25, 50, 75, 99, 100]);
        let moves = sides.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!((moves, &*sides[0], &*sides[8]), (1, "stable", "canary"), "{name}: {sides:?}");
    }
}

#[test]
fn each_kind_of_key_sticks() {
    let target = |query: &str| Ask { target: format!("/info?{query}").into(), ..ask() };
    for (sticky, one, other) in [
        (by_cookie(), user("a"), user("a").from([10, 0, 0, 1])),
        (
            Sticky::Header("X-User".into()),
            ask().with("x-user", "a"),
            ask().with("X-User", "a").with("Cookie", "user=b"),
        ),
        (Sticky::Query("user".into()), target("user=a"), target("x=1&user=%61")),
        (Sticky::ClientIp, ask(), user("a")),
    ] {
        let weights = || (0..=100).step_by(5);
        assert_eq!(at_weights(&sticky, &one, weights()), at_weights(&sticky, &other, weights()), "{sticky}");
    }
}

#[test]
fn without_a_key_the_lot_is_drawn() {
    for sticky in [by_cookie(), Sticky::Header("X-User".into()), Sticky::Query("user".into())] {
        let table = table([with_canaries([sticking(30, sticky)])]);
        for ask in [ask(), user("")] {
            assert_eq!(split(&table, &ask, 100), [("canary".to_owned(), 30), ("stable".to_owned(), 70)]);
        }
    }
}

#[test]
fn ingresses_do_not_share_buckets() {
    let one = ObjectKey::ingress("shop", "web");
    for other in [ObjectKey::ingress("shop", "other"), ObjectKey::ingress("other", "web")] {
        let of = |ingress, name: &u32| by_cookie().bucket(ingress, &user(name));
        assert_eq!((0..64).filter(|name| of(&one, name) != of(&other, name)).count(), 64, "{other}");
    }
}

#[test]
fn a_client_has_the_same_side_on_all_paths_and_hosts_of_an_ingress() {
    let at = |host, path| {
        let mut route = route_of(host, path);
        route.split.canaries = [sticking(50, by_cookie())].into_iter().collect();
        route
    };
    let table = table([at("foo", "/"), at("foo", "/api"), at("alias", "/api")]);
    let sides = |name| {
        ["http://foo/", "http://foo/api", "http://alias/api"]
            .map(|url| drawn(&table, &get(url).with("Cookie", format!("user={name}")), 0))
    };
    let mut seen = BTreeSet::new();
    for name in 0..64 {
        let [page, api, alias] = sides(name);
        assert!(page == api && page == alias, "{name}: {page}, {api}, {alias}");
        seen.insert(page);
    }
    assert_eq!(seen.len(), 2);
}

/// The side and the cookie that are given to a request.
fn own_cookie(table: &TestTable, ask: &Ask, lots: &[u64]) -> (String, Option<String>) {
    match decide(table, ask, &mut Given::new(lots), 0, |_| true, &mut NoTrace) {
        Plan::Forward(forward) => {
            let cookie = forward.set_cookie.map(|cookie| String::from_utf8(cookie).unwrap());
            (forward.side.name.to_string(), cookie)
        }
        Plan::Answer(answer) => panic!("{:?}", answer.why),
    }
}

#[test]
fn our_own_cookie_is_set_once_and_decides_at_once() {
    let table = table([with_canaries([sticking(50, Sticky::OwnCookie)])]);
    let mut sides = BTreeSet::new();
    for lot in 0..32 {
        let (side, cookie) = own_cookie(&table, &ask(), &[lot, 0xffff_ffff, 1, 2]);
        let cookie = cookie.unwrap();
        let value = cookie.strip_suffix("; Path=/; HttpOnly; SameSite=Lax").unwrap();
        assert_eq!(value, format!("SERIN_CANARY={lot:08x}ffffffff0000000100000002"));
        let (again, cookie) = own_cookie(&table, &ask().with("Cookie", value), &[0]);
        assert_eq!((&again, cookie), (&side, None));
        sides.insert(side);
    }
    assert_eq!(sides.len(), 2);
}

#[test]
fn our_own_cookie_is_secure_where_the_request_is() {
    let table = table([with_canaries([sticking(50, Sticky::OwnCookie)])]);
    let (_, cookie) = own_cookie(&table, &Ask { scheme: Scheme::Https, ..ask() }, &[0]);
    assert_eq!(
        cookie.as_deref(),
        Some("SERIN_CANARY=00000000000000000000000000000000; Path=/; Secure; HttpOnly; SameSite=Lax")
    );
}

#[test]
fn our_own_cookie_is_not_set_where_no_lot_is_drawn() {
    let mut canary = sticking(0, Sticky::OwnCookie);
    canary.rule.header = always_never("X-Canary");
    assert_eq!(own_cookie(&table([with_canaries([canary.clone()])]), &ask(), &[0]), ("stable".into(), None));
    canary.share = share(50, 100);
    let table = table([with_canaries([canary])]);
    assert_eq!(own_cookie(&table, &ask().with("X-Canary", "always"), &[0]), ("canary".into(), None));
}

/// The canaries `a`, `b` and `c`, of which the first names the key.
fn three(weights: [u32; 3]) -> TestTable {
    let mut canaries = ["a", "b", "c"].map(canary);
    for (canary, weight) in canaries.iter_mut().zip(weights) {
        canary.share = share(weight, 100);
    }
    canaries[0].sticky = Some(by_cookie());
    table([with_canaries(canaries)])
}

#[test]
fn in_place_of_a_stable_side_that_is_down_a_canary_serves_the_same_clients_again() {
    let table = three([10, 5, 5]);
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for name in 0..2000 {
        let [side, again] = [0, 19].map(|lot| outcome_but(&table, &user(name), &mut Given::new([lot]), &["stable"]));
        assert_eq!(side, again, "{name}");
        let before = drawn(&table, &user(name), 0);
        assert!(before == "stable" || before == side, "{name} leaves {before}, which is up");
        *counts.entry(side).or_default() += 1;
    }
    // One of them for each, in proportion: 1,000, 500 and 500, ± 6 σ.
    let near = |side: &str, count: u32, spread: u32| counts[side].abs_diff(count) <= spread;
    assert!(counts.len() == 3 && near("a", 1000, 135) && near("b", 500, 117) && near("c", 500, 117), "{counts:?}");
}

#[test]
fn whom_a_rule_would_send_to_a_canary_that_is_down_stays_with_another_while_the_stable_side_is_down() {
    let mut canaries = ["a", "b", "c"].map(|name| Canary { share: share(10, 100), ..canary(name) });
    canaries[0].rule.header = always_never("X-Canary");
    canaries[1].sticky = Some(Sticky::OwnCookie);
    let table = table([with_canaries(canaries)]);
    let asked = ask().with("X-Canary", "always");
    let decided = |ask: &Ask, lot| {
        let mut draw = Given::new([lot, 1, 2, 3]);
        match decide(&table, ask, &mut draw, 0, |side| !["stable", "a"].contains(side), &mut NoTrace) {
            Plan::Forward(forward) => (forward.side.name.to_string(), forward.set_cookie),
            Plan::Answer(answer) => panic!("{:?}", answer.why),
        }
    };
    for lot in 0..16 {
        let (side, cookie) = decided(&asked, lot);
        let cookie = String::from_utf8(cookie.unwrap()).unwrap();
        let value = cookie.split(';').next().unwrap();
        assert_eq!(decided(&asked.clone().with("Cookie", value), 99 - lot), (side, None));
    }
}

proptest! {
    #[test]
    fn with_one_canary_sticking_is_monotonic(
        name in any::<u64>(), total in 1..10_000_u32, weight in 0..10_000_u32, more in 0..10_000_u32, other in 1..10_000_u32,
    ) {
        let at = |share| {
            let canary = Canary { share, ..sticking(0, by_cookie()) };
            drawn(&table([with_canaries([canary])]), &user(name), 0)
        };
        // Whoever has a share has every share that is not less, over whatever total.
        let (small, large) = (share(weight, total), share(more, other));
        if u64::from(weight.min(total)) * u64::from(other) <= u64::from(more.min(other)) * u64::from(total)
            && at(small) == "canary"
        {
            prop_assert_eq!(at(large), "canary");
        }
    }

    #[test]
    fn a_client_leaves_a_canary_only_for_its_own_weight_or_an_earlier_ones(
        name in any::<u64>(), a in 0..=40_u32, b in 0..=30_u32, c in 0..=30_u32, other in 0..=30_u32,
    ) {
        let at = |weights| drawn(&three(weights), &user(name), 0);
        let before = at([a, b, c]);
        if before == "a" || before == "b" {
            prop_assert_eq!(&at([a, b, other]), &before);
        }
        if before == "a" {
            prop_assert_eq!(&at([a, other, c]), &before);
        }
    }
}
