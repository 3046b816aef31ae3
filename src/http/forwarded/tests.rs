use super::*;
use proptest::prelude::*;

const SENDER: &str = "10.0.0.1";

/// Believes those in 10.0.0.0/8 and fd00::/8 all that they say.
fn trust() -> Trust {
    Trust { proxies: proxies("10.0.0.0/8,fd00::/8"), forwarded_headers: true, ..Trust::default() }
}

fn proxies(text: &str) -> Proxies {
    text.parse().expect("the list is good")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the address is good")
}

fn hear<'a>(trust: &Trust, sender: &str, fields: &[(&'a str, &'a str)]) -> Option<Told<'a>> {
    trust.hear(ip(sender), fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

#[test]
fn the_client_is_the_right_most_address_that_is_no_proxy() {
    for (lines, client) in [
        (&["192.0.2.1"][..], "192.0.2.1"),
        (&["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (&["192.0.2.1,10.0.0.2 ,  10.0.0.3"], "192.0.2.1"),
        // What is to the left of a stranger was written by the stranger.
        (&["198.51.100.7, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        (&["10.0.0.9, 192.0.2.1"], "192.0.2.1"),
        // Where all are proxies, the left-most is the client.
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // Repeated fields are one list.
        (&["198.51.100.7", "192.0.2.1, 10.0.0.3", "10.0.0.2"], "192.0.2.1"),
        (&["192.0.2.1", "", " , "], "192.0.2.1"),
        (&[""], SENDER),
        (&[], SENDER),
    ] {
        let fields: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
        let told = hear(&trust(), SENDER, &fields).expect("the sender is believed");
        assert_eq!(told.client, ip(client), "{lines:?}");
    }
}

#[test]
fn addresses_may_have_ports_and_what_cannot_be_read_ends_the_search() {
    for (line, client) in [
        ("192.0.2.1:5000", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:5000", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
        ("192.0.2.1, [fd00::2]:80", "192.0.2.1"),
        // nginx reads none of these.
        ("192.0.2.1:0", SENDER),
        ("192.0.2.1:65536", SENDER),
        ("192.0.2.1:", SENDER),
        ("[2001:db8::1]", SENDER),
        ("2001:db8::1:", SENDER),
        ("unknown", SENDER),
        ("_hidden", SENDER),
        ("192.0.2.1\t", SENDER),
        ("192.0.2.256", SENDER),
        ("192.0.2.1, unknown", SENDER),
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("\u{e4}", SENDER),
    ] {
        let told = hear(&trust(), SENDER, &[("x-forwarded-for", line)]).expect("the sender is believed");
        assert_eq!(told.client, ip(client), "{line}");
    }
}

#[test]
fn a_stranger_tells_nothing() {
    let fields = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")];
    for sender in ["192.0.2.9", "11.0.0.1", "::1"] {
        assert_eq!(hear(&trust(), sender, &fields), None, "{sender}");
    }
    assert!(hear(&trust(), "::ffff:10.0.0.1", &fields).is_some(), "an IPv4 address stays one within an IPv6 one");
}

#[test]
fn by_default_nobody_tells_anything() {
    let fields = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(hear(&Trust { proxies: proxies("0.0.0.0/0"), ..Trust::default() }, SENDER, &fields), None);
    assert_eq!(hear(&Trust { forwarded_headers: true, ..Trust::default() }, SENDER, &fields), None);
    assert_eq!(hear(&Trust { real_ip: true, ..Trust::default() }, SENDER, &fields), None);
}

#[test]
fn the_first_element_tells_of_scheme_port_and_host() {
    for (name, value, told) in [
        ("X-Forwarded-Proto", "https", (Some(true), None, None)),
        ("x-forwarded-proto", "HTTP", (Some(false), None, None)),
        ("X-Forwarded-Proto", "https, http", (Some(true), None, None)),
        ("X-Forwarded-Proto", "wss", (Some(true), None, None)),
        ("X-Forwarded-Proto", "gopher", (None, None, None)),
        ("X-Forwarded-Proto", "", (None, None, None)),
        ("X-Forwarded-Port", "8443", (None, Some(8443), None)),
        ("X-Forwarded-Port", "443,80", (None, Some(443), None)),
        ("X-Forwarded-Port", "0", (None, None, None)),
        ("X-Forwarded-Port", "65536", (None, None, None)),
        ("X-Forwarded-Port", "https", (None, None, None)),
        ("X-Forwarded-Host", "shop.example:8443", (None, None, Some("shop.example:8443"))),
        ("X-Forwarded-Host", "shop.example, inner.example", (None, None, Some("shop.example"))),
        ("X-Forwarded-Host", "", (None, None, None)),
        ("X-Forwarded-Host", "shop.example/cart", (None, None, None)),
        ("X-Forwarded-Host", "a b", (None, None, None)),
    ] {
        let heard = hear(&trust(), SENDER, &[(name, value)]).expect("the sender is believed");
        assert_eq!(
            (heard.https, heard.port, heard.host),
            (told.0, told.1, told.2.map(str::as_bytes)),
            "{name}: {value}"
        );
    }
    let twice = hear(&trust(), SENDER, &[("X-Forwarded-Port", "1"), ("X-Forwarded-Port", "2")]);
    assert_eq!(twice.and_then(|told| told.port), Some(1));
}

#[test]
fn real_ip_is_about_the_address_alone() {
    let trust = Trust { forwarded_headers: false, real_ip: true, full_chain: true, ..trust() };
    let fields = [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Host", "other.example"),
    ];
    let told = Told { client: ip("192.0.2.1"), https: None, port: None, host: None, chain: None };
    assert_eq!(hear(&trust, SENDER, &fields), Some(told));
}

#[test]
fn the_address_may_be_in_another_field() {
    let trust = Trust { field: "CF-Connecting-IP".into(), ..trust() };
    let fields = [("X-Forwarded-For", "192.0.2.1"), ("cf-connecting-ip", "192.0.2.2")];
    assert_eq!(hear(&trust, SENDER, &fields).map(|told| told.client), Some(ip("192.0.2.2")));
}

#[test]
fn beside_proxy_headers_the_field_is_not_read() {
    let trust = Trust { proxy_protocol: true, full_chain: true, ..trust() };
    let told = hear(&trust, SENDER, &[("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")]);
    let told = told.expect("the sender is believed");
    assert_eq!((told.client, told.https), (ip(SENDER), Some(true)));
    assert_eq!(told.chain.as_deref(), Some(&b"192.0.2.1, 10.0.0.1"[..]));
}

#[test]
fn the_full_chain_ends_with_the_sender() {
    let trust = Trust { full_chain: true, ..trust() };
    for (lines, chain) in [
        (&["198.51.100.7, 192.0.2.1", "10.0.0.2"][..], "198.51.100.7, 192.0.2.1, 10.0.0.2, 10.0.0.1"),
        (&["nonsense"], "nonsense, 10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&[], "10.0.0.1"),
    ] {
        let fields: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
        let told = hear(&trust, "::ffff:10.0.0.1", &fields).expect("the sender is believed");
        assert_eq!(told.chain.as_deref(), Some(chain.as_bytes()), "{lines:?}");
    }
}

#[test]
fn proxies_are_addresses_and_networks() {
    let list = proxies(" 10.1.2.3/8, 192.0.2.1 ,fd00::/8,");
    for (address, is_one) in [
        ("10.255.0.1", true),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("fd12::1", true),
        ("fe80::1", false),
        ("::ffff:10.0.0.1", true),
    ] {
        assert_eq!(list.contains(ip(address)), is_one, "{address}");
    }
    assert!(proxies("").is_empty());
    for bad in ["10.0.0.0/33", "shop.example", "10.0.0.0/", "10.0.0.0-10.0.0.9", "10.0.0.0/8 fd00::/8"] {
        let refused = bad.parse::<Proxies>().expect_err("it is no list");
        assert!(refused.to_string().starts_with(&format!("`{bad}` is no address")), "{refused}");
    }
}

#[test]
fn everybody_is_seen_through() {
    for (list, everybody) in [
        ("0.0.0.0/0", true),
        ("10.0.0.0/8,::/0", true),
        ("0.0.0.0/1,128.0.0.0/1", true),
        ("10.0.0.0/8,0.0.0.0/1", false),
        ("fd00::/8", false),
        ("", false),
    ] {
        assert_eq!(proxies(list).is_everybody(), everybody, "{list}");
    }
}

proptest! {
    #[test]
    fn only_a_proxy_can_name_another_than_itself(
        sender in any::<IpAddr>(),
        lines in proptest::collection::vec("[0-9a-fx:.,\\[\\] ]{0,40}|(10[.]0[.]0[.][0-9],? ?|192[.]0[.]2[.]1,? ?){0,6}", 0..4),
        full_chain: bool,
    ) {
        let trust = Trust { full_chain, ..trust() };
        for sender in [sender, ip(SENDER)] {
            let fields = lines.iter().map(|line| (&b"X-Forwarded-For"[..], line.as_bytes()));
            match trust.hear(sender, fields) {
                None => prop_assert!(!trust.proxies.contains(sender)),
                Some(told) => {
                    prop_assert!(trust.proxies.contains(sender));
                    let named = |address: IpAddr| lines.iter().any(|line| {
                        elements_from_right(line.as_bytes()).any(|element| super::address(element) == Some(address))
                    });
                    prop_assert!(told.client == sender.to_canonical() || named(told.client));
                }
            }
        }
    }
}
