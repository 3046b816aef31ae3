//! Handshakes, certificates and sessions.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, SignatureScheme, SupportedProtocolVersion,
    crypto::WebPkiSupportedAlgorithms,
    version::{TLS12, TLS13},
};

use super::super::wire::*;
use super::harness::*;
use crate::{
    key::Hostname,
    proxy::Config,
    route::{ClientCertificates, Host, HostBuilder},
    tls::{Certificate, CertificateSet, Certificates, Made, provider, testing},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

fn connect(gateway: &Gateway, config: ClientConfig, server_name: &str) -> Line {
    let socket = TcpStream::connect(gateway.tls_address).unwrap();
    Line::over(Wire::tls_with(socket, Arc::new(config), server_name))
}

fn host(name: &str) -> Hostname {
    Hostname::parse(name).unwrap()
}

fn set(certificates: &[&Arc<Certificate>]) -> Arc<CertificateSet> {
    Arc::new(CertificateSet::of(certificates.iter().map(|certificate| Arc::clone(certificate).into())))
}

/// Changes the certificates of a gateway.
fn change(gateway: &Gateway, change: impl FnOnce(&mut Certificates)) {
    let mut certificates = Certificates::clone(&gateway.certificates.get());
    change(&mut certificates);
    gateway.certificates.replace(certificates);
}

/// Whether a server showed this certificate.
fn showed(line: &Line, certificate: &Certificate) -> bool {
    let session = line.stream.session();
    session.peer_certificates().unwrap()[0] == certificate.certified_key().cert[0]
}

/// A client that can only verify signatures by these schemes.
fn verifying(schemes: &[SignatureScheme]) -> ClientConfig {
    let mut provider = (*provider()).clone();
    let all = provider.signature_verification_algorithms;
    let mapping: Vec<_> = all.mapping.iter().filter(|(scheme, _)| schemes.contains(scheme)).copied().collect();
    provider.signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: all.all, mapping: Box::leak(mapping.into_boxed_slice()) };
    client_config_by(Arc::new(provider), &[&TLS13, &TLS12])
}

fn speaking(version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_config_by(provider(), &[version])
}

#[test]
fn the_certificate_is_that_of_the_name_then_of_its_wildcard_then_the_default() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let exact = testing::certificate(&["a.shop.example"], Made::EcdsaP256);
    let wildcard = testing::certificate(&["*.shop.example"], Made::EcdsaP256);
    let default = testing::certificate(&["elsewhere.example"], Made::EcdsaP256);
    change(&gateway, |certificates| {
        certificates.set(host("a.shop.example"), Some(set(&[&exact])));
        certificates.set(host("*.shop.example"), Some(set(&[&wildcard])));
        certificates.set_default(set(&[&default]));
    });
    for (name, certificate) in [
        ("a.shop.example", &exact),
        ("A.Shop.Example", &exact),
        ("b.shop.example", &wildcard),
        ("elsewhere.example", &default),
    ] {
        let mut line = connect(&gateway, client_config(), name);
        assert_eq!(line.ask(GET).status(), 200, "{name}");
        assert!(showed(&line, certificate), "{name}");
    }
    // A client that names nobody is shown the default.
    let mut config = client_config();
    config.enable_sni = false;
    let mut line = connect(&gateway, config, "elsewhere.example");
    assert_eq!(line.ask(GET).status(), 200);
}

#[test]
fn a_client_is_shown_a_certificate_that_it_can_verify() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let rsa = testing::certificate(&["shop.example"], Made::Rsa2048);
    let ecdsa = testing::certificate(&["shop.example"], Made::EcdsaP256);
    change(&gateway, |certificates| certificates.set(host("shop.example"), Some(set(&[&rsa, &ecdsa]))));
    let of_rsa = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
    for (config, certificate) in [
        (client_config(), &ecdsa),
        // The authority signs by ECDSA; for its own signature, the server has to do with RSA.
        (verifying(&of_rsa), &rsa),
        (verifying(&[SignatureScheme::ECDSA_NISTP256_SHA256]), &ecdsa),
    ] {
        let mut line = connect(&gateway, config, "shop.example");
        line.send(GET);
        // Whether the client can go on from here does not matter: it saw who it is.
        let _ = line.stream.read(&mut [0; 64]);
        assert!(showed(&line, certificate));
    }
}

#[test]
fn a_certificate_is_replaced_under_open_connections() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut before = connect(&gateway, client_config(), "shop.example");
    assert_eq!(before.ask(GET).status(), 200);
    let replaced = testing::certificate(&["shop.example"], Made::EcdsaP256);
    change(&gateway, |certificates| certificates.set(host("shop.example"), Some(set(&[&replaced]))));
    let mut after = connect(&gateway, client_config(), "shop.example");
    assert_eq!(after.ask(GET).status(), 200);
    assert_eq!(before.ask(GET).status(), 200);
    assert!(showed(&after, &replaced) && !showed(&before, &replaced));
}

#[test]
fn both_versions_are_spoken() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut line = connect(&gateway, speaking(version), "shop.example");
        assert_eq!(line.ask(GET).status(), 200);
        assert_eq!(line.stream.session().protocol_version(), Some(number));
    }
    assert_eq!(handshakes(&gateway, "ok"), 2);
}

#[test]
fn the_protocol_is_agreed_on() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut config = client_config();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut line = connect(&gateway, config, "shop.example");
    assert_eq!(line.ask(GET).status(), 200);
    assert_eq!(line.stream.session().alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_session_is_resumed_by_any_worker() {
    let endpoint = Endpoint::ok();
    let workers = 4.try_into().unwrap();
    let gateway = Gateway::with_config(Config { workers, ..Config::default() }, &[&endpoint]);
    for version in [&TLS12, &TLS13] {
        let mut config = speaking(version);
        config.resumption = rustls::client::Resumption::default();
        let config = Arc::new(config);
        for number in 0..20 {
            let socket = TcpStream::connect(gateway.tls_address).unwrap();
            let mut line = Line::over(Wire::tls_with(socket, Arc::clone(&config), "shop.example"));
            assert_eq!(line.ask(GET).status(), 200);
            let kind = line.stream.session().handshake_kind();
            let resumed = kind == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, number > 0, "connection {number}: {kind:?}");
        }
    }
}

#[test]
fn a_handshake_has_so_much_time_however_it_drips() {
    let config = Config { handshake_timeout: Duration::from_secs(1), ..Config::default() };
    let gateway = Gateway::with_config(config, &[]);
    let mut line = Line::new(TcpStream::connect(gateway.tls_address).unwrap());
    let mut drip = line.stream.try_clone().unwrap();
    let begin = Instant::now();
    std::thread::spawn(move || {
        // The beginning of a long ClientHello.
        let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[0; 400]].concat();
        for byte in hello {
            if drip.write_all(&[byte]).is_err() {
                return;
            }
            pause(Duration::from_millis(50));
        }
    });
    assert!(line.is_closed());
    assert!(begin.elapsed() >= Duration::from_secs(1));
    wait_until("it is counted", || handshakes(&gateway, "timeout") == 1);
}

#[test]
fn so_many_handshakes_are_in_progress_and_no_more() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::with_config(Config { handshakes: 2, ..Config::default() }, &[&endpoint]);
    let slow: Vec<_> = (0..2).map(|_| TcpStream::connect(gateway.tls_address).unwrap()).collect();
    wait_until("both are accepted", || gateway.alive() == [("connections", 2)]);
    let mut line = Line::new(TcpStream::connect(gateway.tls_address).unwrap());
    assert!(line.is_closed());
    assert_eq!(handshakes(&gateway, "refused"), 1);
    drop(slow);
    wait_until("both are gone", || gateway.alive().iter().all(|(_, count)| *count == 0));
    assert_eq!(handshakes(&gateway, "closed"), 2);
    let mut line = connect(&gateway, client_config(), "shop.example");
    assert_eq!(line.ask(GET).status(), 200);
    assert_eq!(handshakes(&gateway, "ok"), 1);
}

#[test]
fn plain_http_on_the_port_for_tls_is_told_so_by_an_alert() {
    let gateway = Gateway::to(&[]);
    let mut line = Line::new(TcpStream::connect(gateway.tls_address).unwrap());
    line.send(GET.repeat(20));
    line.shutdown();
    let alert = line.rest();
    assert_eq!(alert[0], 21, "{alert:?}");
    assert_eq!(handshakes(&gateway, "not_tls"), 1);
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_counted_as_such() {
    let gateway = Gateway::to(&[]);
    let mut line = connect(&gateway, client_config(), "other.example");
    line.send(GET);
    assert!(line.stream.read(&mut [0; 1]).is_err());
    wait_until("it is counted", || handshakes(&gateway, "alert") == 1);
}

#[test]
fn the_end_of_an_idle_connection_is_told() {
    let endpoint = Endpoint::ok();
    let config = Config { keep_alive: Duration::from_secs(1), ..Config::default() };
    let gateway = Gateway::with_config(config, &[&endpoint]);
    let mut line = connect(&gateway, client_config(), "shop.example");
    assert_eq!(line.ask(GET).status(), 200);
    assert_eq!(line.stream.read(&mut [0; 1]).unwrap(), 0, "without it, this would be an error");
}

#[test]
fn a_flood_of_handshakes_leaves_plain_requests_alone() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let address: SocketAddr = gateway.tls_address;
    let clients: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..25 {
                    let mut line = Line::over(Wire::tls(TcpStream::connect(address).unwrap()));
                    assert_eq!(line.ask(GET).status(), 200);
                }
            })
        })
        .collect();
    let mut plain = Line::new(TcpStream::connect(gateway.plain_address).unwrap());
    while clients.iter().any(|client| !client.is_finished()) {
        assert_eq!(plain.ask(GET).status(), 200);
    }
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(handshakes(&gateway, "ok"), 100);
}

fn handshakes(gateway: &Gateway, result: &str) -> u64 {
    let mut text = Vec::new();
    gateway.metrics.write_to(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let label = format!("result=\"{result}\"");
    let mut lines = text.lines().filter(|line| line.starts_with("serin_tls_handshakes_total") && line.contains(&label));
    lines.next().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn every_answer_tells_of_https_and_none_of_a_plain_connection_does() {
    const HSTS: &str = "max-age=31536000; includeSubDomains";
    let endpoint =
        Endpoint::answering("HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::to(&[&endpoint]);
    for (request, status) in [
        (GET, 200),
        ("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 404),
        ("GET /%zz HTTP/1.1\r\nHost: shop.example\r\n\r\n", 400),
        ("nonsense HTTP/1.1\r\n\r\n", 400),
    ] {
        let answer = connect(&gateway, client_config(), "shop.example").ask(request);
        assert_eq!((answer.status(), answer.fields("strict-transport-security").collect()), (status, vec![HSTS]));
        let mut plain = Line::new(TcpStream::connect(gateway.plain_address).unwrap());
        let expected = if status == 200 { Some("max-age=1") } else { None };
        assert_eq!(plain.ask(request).field("strict-transport-security"), expected);
    }
}

#[test]
fn a_connection_for_one_host_is_no_way_into_another_that_asks_for_certificates() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::to(&[&endpoint]);
    let mut line = connect(&gateway, client_config(), "shop.example");
    assert_eq!(line.ask(GET).status(), 200);
    let guarded = host("guarded.example");
    let asks = ClientCertificates::new("auth-tls-secret=shop/ca");
    let table = HostBuilder::new(guarded.clone()).client_certificates(asks).build();
    let table = gateway.table.get().with_host(guarded, Some(Arc::new(Host::Routes(table))));
    gateway.table.replace(table);
    let answer = line.ask("GET / HTTP/1.1\r\nHost: guarded.example\r\n\r\n");
    assert_eq!(answer.status(), 421);
    assert_eq!(line.ask(GET).status(), 200, "the connection is as good as before");
}
