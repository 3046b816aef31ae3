//! A real DNS server on loopback, and clusters that stand for names.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use tokio::net::UdpSocket;

use super::*;
use crate::{
    draw::Given,
    key::{ClusterKey, PortRef},
    metrics::{self, Metrics},
    upstream::{EndpointId, Endpoints, Positions, Wanted},
};

/// A DNS server, which answers what it was told to; what it was not told of does not exist. Addresses may be kept for a
/// minute, aliases not at all.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    answers: HashMap<String, Answer>,
    /// The names that were asked for, in order, each once for A and AAAA.
    asked: Vec<String>,
}

#[derive(Clone)]
enum Answer {
    Addresses(Vec<IpAddr>),
    Alias(&'static str),
    Failure,
    /// Addresses for those who ask for the other kind.
    FailureOf(RecordType, Vec<IpAddr>),
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        tokio::spawn(serve(socket, zone.clone()));
        Self { address, zone }
    }

    /// Answers `name` with addresses.
    fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.answer(name, Answer::Addresses(addresses));
    }

    fn answer(&self, name: &str, answer: Answer) {
        self.zone.lock().unwrap().answers.insert(name.to_owned(), answer);
    }

    fn asked(&self) -> Vec<String> {
        self.zone.lock().unwrap().asked.clone()
    }

    /// A resolver that asks this server every few milliseconds.
    fn resolver(&self) -> Resolver {
        self.resolver_with(|_| {})
    }

    fn resolver_with(&self, change: impl FnOnce(&mut Settings)) -> Resolver {
        let mut settings = Settings {
            servers: Servers::Given {
                servers: vec![self.address],
                search: vec!["shop.svc.test".to_owned(), "svc.test".to_owned()],
                ndots: 2,
            },
            min_ttl: Duration::from_millis(5),
            max_ttl: Duration::from_millis(5),
            allow_all_addresses: false,
        };
        change(&mut settings);
        let (metrics, _) = Metrics::new(&metrics::Settings::default());
        Resolver::new(settings, Handle::current(), metrics.meters().dns_failures.clone()).unwrap()
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let answer = zone.lock().unwrap().respond(Message::from_vec(&buffer[..length]).unwrap());
        let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
    }
}

impl Zone {
    fn respond(&mut self, query: Message) -> Message {
        let mut message = query.into_response();
        let (name, kind) = (message.queries[0].name().clone(), message.queries[0].query_type());
        let mut text = name.to_ascii();
        if kind == RecordType::A {
            self.asked.push(text.clone());
        }
        let mut owner = name;
        while let Some(Answer::Alias(target)) = self.answers.get(&text) {
            let target_name = Name::from_ascii(target).unwrap();
            let alias = RData::CNAME(hickory_proto::rr::rdata::CNAME(target_name.clone()));
            message.add_answer(Record::from_rdata(owner, 0, alias));
            (owner, text) = (target_name, (*target).to_owned());
        }
        match self.answers.get(&text) {
            Some(Answer::FailureOf(failing, _)) if *failing == kind => {
                message.metadata.response_code = ResponseCode::ServFail;
            }
            Some(Answer::Addresses(addresses) | Answer::FailureOf(_, addresses)) => {
                for &address in addresses {
                    let data = match address {
                        IpAddr::V4(address) => RData::A(address.into()),
                        IpAddr::V6(address) => RData::AAAA(address.into()),
                    };
                    if data.record_type() == kind {
                        message.add_answer(Record::from_rdata(owner.clone(), 60, data));
                    }
                }
            }
            Some(Answer::Failure) => message.metadata.response_code = ResponseCode::ServFail,
            Some(Answer::Alias(_)) | None => message.metadata.response_code = ResponseCode::NXDomain,
        }
        message
    }
}

/// A cluster that stands for a name.
fn named(resolver: &Resolver, name: &str) -> Arc<Cluster> {
    let cluster = Cluster::with_resolver(ClusterKey::new("shop", "db", PortRef::Number(80)), resolver);
    cluster.replace(&Endpoints::named(name, 5432));
    cluster
}

/// The addresses of a cluster.
fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.snapshot(0).endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

/// What DNS said last.
fn resolution(cluster: &Cluster) -> String {
    cluster.snapshot(0).name.and_then(|name| name.resolution).unwrap_or_default()
}

/// Waits until `condition` holds.
#[track_caller]
fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(30), "it does not come true at {caller}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_name_has_the_addresses_that_dns_answers() {
    let server = Server::start().await;
    server.set("db.example.", &["192.0.2.2", "2001:db8::1", "192.0.2.1"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432", "192.0.2.2:5432", "[2001:db8::1]:5432"]);
    assert!(cluster.is_up());
}

#[tokio::test]
async fn a_change_is_followed_and_an_address_that_stays_keeps_its_identity() {
    let server = Server::start().await;
    server.set("db.example.", &["192.0.2.1", "192.0.2.2"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    let kept: EndpointId = cluster.snapshot(0).endpoints[1].id;
    server.set("db.example.", &["192.0.2.2", "192.0.2.3"]);
    until(|| addresses(&cluster) == ["192.0.2.2:5432", "192.0.2.3:5432"]).await;
    assert_eq!(cluster.snapshot(0).endpoints[0].id, kept);
}

#[tokio::test]
async fn aliases_are_followed() {
    let server = Server::start().await;
    server.answer("db.example.", Answer::Alias("a.example."));
    server.answer("a.example.", Answer::Alias("b.example."));
    server.set("b.example.", &["192.0.2.1"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432"]);
}

#[tokio::test]
async fn the_time_to_live_of_an_alias_counts_too() {
    let server = Server::start().await;
    server.answer("db.example.", Answer::Alias("a.example."));
    server.set("a.example.", &["192.0.2.1"]);
    let resolver = server.resolver_with(|settings| settings.max_ttl = Duration::from_secs(60));
    let _cluster = named(&resolver, "db.example.");
    // The address may be kept for a minute, the alias not at all.
    until(|| server.asked().len() >= 3).await;
}

#[tokio::test]
async fn a_short_name_is_looked_for_in_the_search_domains() {
    let server = Server::start().await;
    server.set("db.svc.test.", &["192.0.2.1"]);
    let resolver = server.resolver_with(|settings| settings.max_ttl = Duration::from_secs(60));
    let cluster = named(&resolver, "db");
    resolver.answered().await;
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432"]);
    assert_eq!(server.asked(), ["db.shop.svc.test.", "db.svc.test."]);
}

#[tokio::test]
async fn a_name_with_enough_dots_is_tried_as_it_is_first() {
    let server = Server::start().await;
    server.set("db.prod.example.svc.test.", &["192.0.2.1"]);
    let resolver = server.resolver_with(|settings| settings.max_ttl = Duration::from_secs(60));
    let cluster = named(&resolver, "db.prod.example");
    resolver.answered().await;
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432"]);
    let expected = ["db.prod.example.", "db.prod.example.shop.svc.test.", "db.prod.example.svc.test."];
    assert_eq!(server.asked(), expected);
}

#[tokio::test]
async fn a_failure_keeps_the_last_answer_and_is_counted() {
    let server = Server::start().await;
    server.set("db.example.", &["192.0.2.1"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    assert_eq!((resolution(&cluster).as_str(), resolver.0.failures.value()), ("resolved", 0));
    server.answer("db.example.", Answer::Failure);
    until(|| resolution(&cluster) != "resolved").await;
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432"]);
    assert_eq!(resolver.0.failures.value(), 1);
    server.set("db.example.", &["192.0.2.2"]);
    until(|| addresses(&cluster) == ["192.0.2.2:5432"]).await;
    assert_eq!(resolution(&cluster), "resolved");
}

#[tokio::test]
async fn a_kind_of_addresses_that_fails_keeps_the_last_ones() {
    let addresses_of = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
    for (failing, now, expected) in [
        (RecordType::AAAA, "192.0.2.2", ["192.0.2.2:5432", "[2001:db8::1]:5432"]),
        (RecordType::A, "2001:db8::2", ["192.0.2.1:5432", "[2001:db8::2]:5432"]),
    ] {
        let server = Server::start().await;
        server.set("db.example.", &["192.0.2.1", "2001:db8::1"]);
        let resolver = server.resolver();
        let cluster = named(&resolver, "db.example.");
        resolver.answered().await;
        server.answer("db.example.", Answer::FailureOf(failing, addresses_of(&[now])));
        until(|| resolution(&cluster) != "resolved").await;
        assert_eq!(addresses(&cluster), expected);
        assert!(resolution(&cluster).starts_with("resolved; IPv"), "{}", resolution(&cluster));
        server.set("db.example.", &[now]);
        until(|| addresses(&cluster).len() == 1).await;
        assert_eq!(resolution(&cluster), "resolved");
    }
}

#[tokio::test]
async fn a_failure_of_one_kind_is_no_denial() {
    let server = Server::start().await;
    server.set("db.example.", &["192.0.2.1"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    // What A has failed; of AAAA there was never one, and of this the server is sure.
    server.answer("db.example.", Answer::FailureOf(RecordType::A, Vec::new()));
    until(|| resolution(&cluster) != "resolved").await;
    assert!(resolution(&cluster).starts_with("not resolved; IPv4: "), "{}", resolution(&cluster));
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432"]);
}

#[tokio::test]
async fn a_failure_of_one_search_domain_is_no_denial() {
    let server = Server::start().await;
    for failing in ["db.shop.svc.test.", "db.svc.test."] {
        server.answer(failing, Answer::Failure);
        let resolver = server.resolver();
        let cluster = named(&resolver, "db");
        resolver.answered().await;
        assert_ne!(resolution(&cluster), "the name does not exist or has no address", "{failing}");
        server.zone.lock().unwrap().answers.clear();
    }
}

#[tokio::test]
async fn all_addresses_are_those_of_one_name() {
    let server = Server::start().await;
    server.set("db.shop.svc.test.", &["192.0.2.1"]);
    server.set("db.svc.test.", &["2001:db8::2"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db");
    resolver.answered().await;
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432"]);
}

#[tokio::test]
async fn a_name_that_does_not_exist_has_no_address() {
    let server = Server::start().await;
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    assert!(!cluster.is_up());
    assert_eq!(resolution(&cluster), "the name does not exist or has no address");
}

#[tokio::test]
async fn a_name_that_is_no_name_has_no_address() {
    let server = Server::start().await;
    let resolver = server.resolver();
    for name in ["", ".", "a..b", &"a".repeat(300), "\u{0}", "*"] {
        let cluster = named(&resolver, name);
        resolver.answered().await;
        assert!(!cluster.is_up(), "{name:?}");
    }
}

#[tokio::test]
async fn local_addresses_are_refused_unless_allowed() {
    let server = Server::start().await;
    server.set("db.example.", &["127.0.0.1", "192.0.2.1", "::1"]);
    server.set("meta.example.", &["169.254.169.254"]);
    let resolver = server.resolver();
    let (mixed, whole) = (named(&resolver, "db.example."), named(&resolver, "meta.example."));
    let (localhost, literal) = (named(&resolver, "localhost"), named(&resolver, "127.0.0.1"));
    resolver.answered().await;
    assert_eq!(addresses(&mixed), ["192.0.2.1:5432"]);
    assert_eq!(resolution(&mixed), "resolved; refused: [127.0.0.1, ::1]");
    assert!(!whole.is_up() && !localhost.is_up() && !literal.is_up());

    let resolver = server.resolver_with(|settings| settings.allow_all_addresses = true);
    let (mixed, literal) = (named(&resolver, "db.example."), named(&resolver, "127.0.0.1"));
    resolver.answered().await;
    assert_eq!(addresses(&mixed), ["127.0.0.1:5432", "192.0.2.1:5432", "[::1]:5432"]);
    assert_eq!(addresses(&literal), ["127.0.0.1:5432"]);
}

#[tokio::test]
async fn a_task_ends_with_its_cluster() {
    let server = Server::start().await;
    server.set("db.example.", &["192.0.2.1"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    assert!(Arc::strong_count(&resolver.0) > 1);
    drop(cluster);
    until(|| Arc::strong_count(&resolver.0) == 1).await;
}

#[tokio::test]
async fn a_task_ends_when_its_cluster_stands_for_something_else() {
    let server = Server::start().await;
    server.set("db.example.", &["192.0.2.1"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    cluster.replace(&Endpoints::of([SocketAddr::from(([192, 0, 2, 9], 80)).into()]));
    // The cluster itself holds the resolver.
    until(|| Arc::strong_count(&resolver.0) == 2).await;
    assert_eq!(addresses(&cluster), ["192.0.2.9:80"]);
    assert!(cluster.snapshot(0).name.is_none());
}

#[tokio::test]
async fn another_name_takes_over_with_its_first_answer() {
    let server = Server::start().await;
    server.set("old.example.", &["192.0.2.1"]);
    server.set("new.example.", &["192.0.2.2"]);
    let resolver = server.resolver();
    let cluster = named(&resolver, "old.example.");
    resolver.answered().await;
    cluster.replace(&Endpoints::named("new.example.", 5432));
    assert_eq!(addresses(&cluster), ["192.0.2.1:5432"]);
    resolver.answered().await;
    assert_eq!(addresses(&cluster), ["192.0.2.2:5432"]);
    cluster.replace(&Endpoints::named("none.example.", 5432));
    resolver.answered().await;
    assert!(!cluster.is_up(), "a name without an answer does not inherit another's");
}

#[tokio::test]
async fn another_affinity_keeps_the_addresses_of_a_name() {
    let server = Server::start().await;
    server.set("db.example.", &["192.0.2.1", "192.0.2.2"]);
    let resolver = server.resolver_with(|settings| settings.max_ttl = Duration::from_secs(60));
    let cluster = named(&resolver, "db.example.");
    resolver.answered().await;
    let asked = server.asked().len();
    cluster.replace(&Endpoints::named("db.example.", 5432).with_client_ip_affinity(Duration::from_secs(60)));
    assert_eq!(addresses(&cluster).len(), 2);
    let wanted = Wanted { client: Some("198.51.100.7".parse().unwrap()), ..Wanted::default() };
    let mut positions = Positions::new();
    let mut pick = || cluster.pick(&wanted, &mut positions, &mut Given::new([0]), 0).unwrap().address();
    let first = pick();
    assert_eq!([pick(), pick(), pick()], [first; 3]);
    assert_eq!(server.asked().len(), asked, "and DNS is not asked again for it");
}

#[test]
fn the_systems_servers_are_used_by_default() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (metrics, _) = Metrics::new(&metrics::Settings::default());
    let failures = metrics.meters().dns_failures.clone();
    // A machine without a resolv.conf is told so; none may panic.
    match Resolver::new(Settings::default(), runtime.handle().clone(), failures) {
        Ok(resolver) => assert!(format!("{resolver:?}").contains("System")),
        Err(error) => assert!(error.to_string().contains("/etc/resolv.conf")),
    }
}
