//! gRPC through the running gateway: tonic on both sides, and bare HTTP/2 where tonic would do too much by itself.
//!
//! A call keeps what it is made of, whatever is spoken on the two sides: each message as it comes, metadata, the status with
//! its message and details. Whoever gives up, goes away or comes too late is noticed on the other side. What the gateway
//! refuses has a status of gRPC's.

use self::{
    bare::{Bare, Then},
    probe::{DETAILS, MESSAGE},
};
use crate::{
    client::PATIENCE,
    gateway::Gateway,
    manifests::{Manifests, service, slices_at},
    tls::Trust,
};
use serde_json::{Value, json};
use serin::tls::{Authority, Made};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, metadata::MetadataValue};

pub(crate) use self::{
    caller::Caller,
    probe::{Note, Probe},
};

mod bare;
mod caller;
mod probe;

/// Hosts whose endpoints speak HTTP/2, each by another word for it.
const HOSTS: [&str; 4] = ["grpc.test", "grpcs.test", "h2c.test", "app.test"];

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_all_four_kinds_pass_whatever_is_spoken_on_the_two_sides() {
    let stage = Stage::set().await;
    for host in HOSTS {
        for caller in [stage.caller(host).await, stage.caller_by_tls(host).await] {
            for _ in 0..4 {
                all_four_kinds(&caller).await;
            }
        }
    }
    assert!(stage.probes.iter().all(|probe| probe.calls() > 0), "calls are balanced over the endpoints");
}

async fn all_four_kinds(caller: &Caller) {
    let request = || Note { text: "hello \u{fc}".into(), count: 7, ..Note::default() };
    let note = caller.unary("Echo", Request::new(request())).await.expect("it is answered").into_inner();
    assert_eq!(Note { by: String::new(), ..note }, request());

    let asked = Note { count: 100, payload: vec![7; 1000], ..Note::default() };
    let mut notes = caller.down("Count", Request::new(asked)).await.expect("it is answered");
    for count in 0..100 {
        let note = notes.message().await.expect("it goes on").expect("it has more");
        assert_eq!((note.count, note.payload.len()), (count, 1000));
    }
    assert_eq!(notes.message().await.expect("it ends well"), None);

    let notes = tokio_stream::iter(0..100).map(|count| Note { count, payload: vec![7; 1000], ..Note::default() });
    let note = caller.sum(notes).await.expect("it is answered");
    assert_eq!((note.count, &*note.text), (100, "100000"));

    // Each note has to come back before the next is sent: nothing on the way may wait for company.
    let mut call = caller.ping_pong().await.expect("it is answered");
    for count in 0..100 {
        call.send.send(Note { count, ..Note::default() }).await.expect("it goes on");
        let note = call.receive.message().await.expect("it goes on").expect("it has more");
        assert_eq!(note.count, count);
    }
    drop(call.send);
    assert_eq!(call.receive.message().await.expect("it ends well"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_passes_both_ways_as_text_and_as_bytes() {
    let stage = Stage::set().await;
    for host in HOSTS {
        let mut request = Request::new(Note::default());
        for text in ["one", "two, three"] {
            request.metadata_mut().append("x-echo", text.parse().expect("it is ASCII"));
        }
        for bytes in [DETAILS, b"", b"text"] {
            request.metadata_mut().append_bin("x-echo-bin", MetadataValue::from_bytes(bytes));
        }
        let response = stage.caller(host).await.unary("Echo", request).await.expect("it is answered");
        let text: Vec<_> = response.metadata().get_all("x-echo").into_iter().collect();
        assert_eq!(text, ["one", "two, three"], "{host}");
        let bytes = response.metadata().get_all_bin("x-echo-bin").into_iter();
        let bytes: Vec<_> = bytes.map(|value| value.to_bytes().expect("it is base64")).collect();
        assert_eq!(bytes, [DETAILS, b"", b"text"], "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_comes_with_its_message_and_details_in_the_head_and_after_messages() {
    let stage = Stage::set().await;
    for host in HOSTS {
        let caller = stage.caller(host).await;
        for code in [Code::Cancelled, Code::NotFound, Code::Unauthenticated, Code::DataLoss] {
            let status = caller.unary("Echo", wanting(code, 0)).await.expect_err("it fails");
            assert_eq!((status.code(), status.message(), status.details()), (code, MESSAGE, DETAILS), "{host}");

            let mut notes = caller.down("Count", wanting(code, 3)).await.expect("it begins well");
            for count in 0..3 {
                let note = notes.message().await.expect("it goes on").expect("it has more");
                assert_eq!(note.count, count);
            }
            let status = notes.message().await.expect_err("it ends badly");
            assert_eq!((status.code(), status.message(), status.details()), (code, MESSAGE, DETAILS), "{host}");
            let more = status.metadata().get_bin("x-more-bin").expect("it is there").to_bytes();
            assert_eq!(more.expect("it is base64"), DETAILS, "{host}");
        }
    }
}

fn wanting(code: Code, count: u32) -> Request<Note> {
    let mut request = Request::new(Note { count, ..Note::default() });
    request.metadata_mut().insert("x-want-status", i32::from(code).into());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_pass() {
    let stage = Stage::set().await;
    for host in HOSTS {
        let caller = stage.caller(host).await;
        let payload: Vec<u8> = (0..4 << 20).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        let request = Note { payload: payload.clone(), ..Note::default() };
        let note = caller.unary("Echo", Request::new(request)).await.expect("it is answered").into_inner();
        assert!(note.payload == payload, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_at_once_share_connections() {
    let stage = Stage::set().await;
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let caller = stage.caller("grpc.test").await;
        for _ in 0..125 {
            let caller = caller.clone();
            calls.spawn(async move { caller.unary("Hold", Request::new(Note::default())).await });
        }
    }
    let [a, b] = &stage.probes;
    until("all calls are held", || a.held() + b.held() == 1000).await;
    // A hundred on each connection, of two workers to two endpoints: none has room left on more than one.
    let connections = a.connections() + b.connections();
    assert!((10..=14).contains(&connections), "{connections} connections");
    a.let_go();
    b.let_go();
    while let Some(call) = calls.join_next().await {
        call.expect("it is awaited").expect("it is answered");
    }
    assert_eq!(a.connections() + b.connections(), connections);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_client_gives_up_is_given_up_at_the_endpoint() {
    let stage = Stage::set().await;
    let [a, b] = &stage.probes;
    let caller = stage.caller("grpc.test").await;
    let unary = tokio::spawn({
        let caller = caller.clone();
        async move { caller.unary("Hold", Request::new(Note::default())).await }
    });
    until("the call is held", || a.held() + b.held() == 1).await;
    unary.abort();
    until("the call is given up", || a.given_up() + b.given_up() == 1).await;

    let mut notes = caller.down("Watch", Request::new(Note::default())).await.expect("it begins well");
    assert!(notes.message().await.expect("it goes on").is_some());
    until("the call is held", || a.held() + b.held() == 2).await;
    drop(notes);
    until("the call is given up", || a.given_up() + b.given_up() == 2).await;
    caller.echo().await.expect("the connection lives on");
}

/// Flow control holds the call's messages, so that nothing can be sent on when the client leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_while_it_is_blocked_is_given_up_at_the_endpoint() {
    let mut endpoint = Bare::start(Then::Hold).await;
    let stage = Stage::before([endpoint.address, endpoint.address]).await;
    let caller = stage.caller("grpc.test").await;
    let call = tokio::spawn(async move {
        let payload = vec![0; 4 << 20];
        caller.unary("Echo", Request::new(Note { payload, ..Note::default() })).await
    });
    endpoint.has_begun().await;
    // The endpoint takes nothing: what is sent stays where it is.
    time::sleep(Duration::from_millis(300)).await;
    call.abort();
    assert_eq!(endpoint.was_reset().await, Some(h2::Reason::CANCEL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_ends_its_calls_with_a_status() {
    let mut stage = Stage::set().await;
    let caller = stage.caller("grpc.test").await;
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let mut notes = caller.down("Watch", Request::new(Note::default())).await.expect("it begins well");
        assert!(notes.message().await.expect("it goes on").is_some());
        calls.spawn(async move { notes.message().await });
        let caller = caller.clone();
        calls.spawn(async move { caller.unary("Hold", Request::new(Note::default())).await.map(|_| None) });
    }
    let held = |stage: &Stage| stage.probes.iter().map(Probe::held).sum::<usize>();
    until("all calls are held", || held(&stage) == 8).await;
    for probe in &mut stage.probes {
        probe.kill();
    }
    while let Some(call) = calls.join_next().await {
        let status = call.expect("it is awaited").expect_err("nobody is left to answer");
        assert!(matches!(status.code(), Code::Unavailable | Code::Internal), "{status:?}");
    }
    let status = caller.echo().await.expect_err("nobody is left to answer");
    assert_eq!(status.code(), Code::Unavailable);
}

/// As servers do that are to be balanced, or that end: what they have not begun to serve may be asked elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_its_clients_to_leave_costs_no_call() {
    let leaving = ["a", "b"].map(|name| Probe::start_leaving(name, Duration::from_millis(100)));
    let stage = Stage::before(leaving.each_ref().map(|probe| probe.address)).await;
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let caller = stage.caller("grpc.test").await;
        for _ in 0..8 {
            let caller = caller.clone();
            calls.spawn(async move {
                // Fewer than the gateway takes on a connection.
                for _ in 0..100 {
                    caller.echo().await?;
                    time::sleep(Duration::from_millis(20)).await;
                }
                Ok::<_, tonic::Status>(())
            });
        }
    }
    while let Some(call) = calls.join_next().await {
        call.expect("it is awaited").expect("it is answered");
    }
    assert!(leaving[0].connections() >= 5, "{} connections", leaving[0].connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_by_header_takes_calls() {
    let stage = Stage::set().await;
    let caller = stage.caller("grpc.test").await;
    for _ in 0..8 {
        assert!(["a", "b"].contains(&&*caller.echo().await.expect("it is answered").by));
        let mut request = Request::new(Note::default());
        request.metadata_mut().insert("x-canary", "always".parse().expect("it is ASCII"));
        assert_eq!(caller.unary("Echo", request).await.expect("it is answered").into_inner().by, "canary");
    }
}

/// Nobody has seen such a call, so that it may be made again, though a call is not known to be harmless.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_an_endpoint_refuses_is_made_to_another() {
    let refusing = Bare::start(Then::Refuse).await;
    let answering = Probe::start("answering");
    let stage = Stage::before([refusing.address, answering.address]).await;
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let caller = stage.caller("grpc.test").await;
        for _ in 0..25 {
            let caller = caller.clone();
            calls.spawn(async move { caller.echo().await });
        }
    }
    while let Some(call) = calls.join_next().await {
        let note = call.expect("it is awaited").expect("another endpoint answers");
        assert_eq!(note.by, "answering");
    }
    // An endpoint that refuses a call has not closed its connection.
    assert!((1..=8).contains(&refusing.connections()), "{} connections", refusing.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_has_a_status_of_grpc() {
    let mute = Bare::start(Then::Hold).await;
    let stage = Stage::before([mute.address, mute.address]).await;
    for (host, code, message) in [
        ("nowhere.test", Code::Unimplemented, "no route matches the request"),
        ("empty.test", Code::Unavailable, "the service is not available"),
        ("gone.test", Code::Unavailable, "the service could not be reached"),
        ("slow.test", Code::DeadlineExceeded, "the service did not answer in time"),
    ] {
        let status = stage.caller(host).await.echo().await.expect_err("it is refused");
        assert_eq!((status.code(), status.message()), (code, message), "{host}");
    }
    let request = Note { payload: vec![0; 100_000], ..Note::default() };
    let status =
        stage.caller("small.test").await.unary("Echo", Request::new(request)).await.expect_err("it is refused");
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "the body is too long"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_the_time_that_its_client_gives_it() {
    let mut endpoint = Bare::start(Then::Hold).await;
    let stage = Stage::before([endpoint.address, endpoint.address]).await;
    for (timeout, wait) in [("300m", 300), ("1S", 1000), ("200000u", 200), ("0n", 0)] {
        let begin = Instant::now();
        let answer = bare::ask(stage.gateway.http, "grpc.test", Some(timeout)).await.expect("it is answered");
        assert_eq!((answer.status, answer.grpc_status.as_deref()), (200, Some("4")), "{timeout}");
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(wait), "{timeout}: {took:?}");
        if wait > 0 {
            assert_eq!(endpoint.has_begun().await.as_deref(), Some(timeout), "it is told as well");
            assert_eq!(endpoint.was_reset().await, Some(h2::Reason::CANCEL), "it is told of the end");
        }
    }
}

/// Even where it has begun to be answered: it is cut off, in a way that no client takes for its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_answered_in_part_is_cut_off_when_its_time_is_over() {
    let mut endpoint = Bare::start(Then::Begin).await;
    let stage = Stage::before([endpoint.address, endpoint.address]).await;
    let cut = bare::ask(stage.gateway.http, "grpc.test", Some("300m")).await.expect_err("it is cut off");
    assert!(cut.is_reset(), "{cut}");
    endpoint.has_begun().await;
    assert_eq!(endpoint.was_reset().await, Some(h2::Reason::CANCEL));
}

/// Where the client's word is none, the route's own times count, and the endpoint sees what was said.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_timeout_sets_none() {
    let mut endpoint = Bare::start(Then::Answer(Duration::from_millis(300))).await;
    let stage = Stage::before([endpoint.address, endpoint.address]).await;
    for timeout in [None, Some("10"), Some("1s"), Some("123456789n"), Some("")] {
        let answer = bare::ask(stage.gateway.http, "grpc.test", timeout).await.expect("it is answered");
        assert_eq!((answer.status, answer.grpc_status.as_deref()), (200, Some("0")), "{timeout:?}");
        assert_eq!(endpoint.has_begun().await.as_deref(), timeout);
    }
}

/// A gateway before endpoints that speak gRPC.
struct Stage {
    gateway: Gateway,
    probes: [Probe; 2],
    _others: [Probe; 2],
    trust: Arc<Trust>,
    _manifests: Manifests,
}

// === impl Stage ===

impl Stage {
    /// A gateway before two servers, one that speaks TLS, and a canary.
    async fn set() -> Self {
        let probes = ["a", "b"].map(Probe::start);
        let addresses = probes.each_ref().map(|probe| probe.address);
        Self::with(probes, addresses).await
    }

    /// A gateway before endpoints of another kind.
    async fn before(addresses: [SocketAddr; 2]) -> Self {
        Self::with(["unused", "unused"].map(Probe::start), addresses).await
    }

    async fn with(probes: [Probe; 2], addresses: [SocketAddr; 2]) -> Self {
        let now = SystemTime::now();
        let authority = Authority::from_now("Endpoints", now).expect("there is randomness");
        let certificate = authority.issue_from_now(&["calls.test"], Made::EcdsaP256, now).expect("there is randomness");
        let (tls, canary) = (Probe::start_tls("tls", &certificate), Probe::start("canary"));
        let nobody =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound");

        let manifests = Manifests::new();
        let mut objects = Vec::new();
        for (name, protocol, addresses) in [
            ("calls", None, &addresses[..]),
            ("calls-tls", None, &[tls.address]),
            ("calls-canary", None, &[canary.address]),
            ("calls-h2c", Some("kubernetes.io/h2c"), &addresses),
            ("calls-app", Some("grpc"), &addresses),
            ("nobody", None, &[nobody]),
            ("empty", None, &[]),
        ] {
            let mut service = service("default", name);
            if let Some(protocol) = protocol {
                service["spec"]["ports"][0]["appProtocol"] = json!(protocol);
            }
            objects.extend(slices_at(&service, addresses.iter().copied()));
            objects.push(service);
        }
        let unlimited = ("proxy-body-size", "0");
        let grpc = ("backend-protocol", "GRPC");
        objects.extend([
            route("grpc.test", "calls", &[grpc, unlimited]),
            route("grpcs.test", "calls-tls", &[("backend-protocol", "GRPCS"), unlimited]),
            route("h2c.test", "calls-h2c", &[unlimited]),
            route("app.test", "calls-app", &[unlimited]),
            route("small.test", "calls", &[grpc, ("proxy-body-size", "10k")]),
            route("slow.test", "calls", &[grpc, ("proxy-read-timeout", "1"), ("proxy-next-upstream", "off")]),
            route("gone.test", "nobody", &[grpc]),
            route("empty.test", "empty", &[grpc]),
        ]);
        let by_header = [("canary", "true"), ("canary-by-header", "X-Canary")];
        let mut side = route("grpc.test", "calls-canary", &by_header);
        side["metadata"]["name"] = json!("canary");
        objects.push(side);
        manifests.write_objects("objects.json", &objects);
        let trust = Arc::new(Trust::new());
        let secret = trust.secret("default", "certificate", &HOSTS);
        manifests.write_objects("certificate.json", &[secret]);
        let gateway = Gateway::start(manifests.path(), &["--default-ssl-certificate", "default/certificate"]).await;
        Self { gateway, probes, _others: [tls, canary], trust, _manifests: manifests }
    }

    async fn caller(&self, host: &str) -> Caller {
        Caller::plain(self.gateway.http, host).await
    }

    async fn caller_by_tls(&self, host: &str) -> Caller {
        Caller::tls(self.gateway.https, host, &self.trust).await
    }
}

/// An Ingress that sends all of a host to a Service.
fn route(host: &str, service: &str, annotations: &[(&str, &str)]) -> Value {
    let mut ingress = crate::manifests::host(host, service);
    let named = annotations.iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), json!(value)));
    ingress["metadata"]["annotations"] = named.collect::<serde_json::Map<_, _>>().into();
    ingress
}

/// Waits for a condition.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        time::sleep(Duration::from_millis(2)).await;
    }
}
