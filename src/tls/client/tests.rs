//! Handshakes in memory: what connectors accept, show and ask for.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::*;

/// A certificate of version 1, as `openssl x509 -req` makes it.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJzCBzwIUSCOLUPnEv4BklwL33RSDTybmAmQwCgYIKoZIzj0EAwIwFjEUMBIG
A1UEAwwLb2xkLmV4YW1wbGUwIBcNMjYxMTI0MTQwMzU1WhgPMjEyNjEwMzExNDAz
NTVaMBYxFDASBgNVBAMMC29sZC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE+EfxtodA5ikKpvhpzwlqwsK6wIdWB94u0XBON9nJ/JqjCB9rGDxA7zy/
FkA9HcxqTwxn2n7M1oMf6JeNelEklzAKBggqhkjOPQQDAgNHADBEAiBqF4jHeEKB
75V6RSoYnBZ2SG8IzsTozKTiVn3ITc/18AIgZwE6h8djdtem2cvdaVwvOWaS+u5w
7S85pMP7/ad7/K8=
-----END CERTIFICATE-----
";

/// Its key, which is nowhere else.
const VERSION_1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9l4O0epjTyZNaFTm
Ct5ATdku/+HvEfwHXcd9ZTNkMT+hRANCAAT4R/G2h0DmKQqm+GnPCWrCwrrAh1YH
3i7RcE432cn8mqMIH2sYPEDvPL8WQD0dzGpPDGfafszWgx/ol416USSX
-----END PRIVATE KEY-----
";

/// An authority, and the chain that leads from it to another one.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// From the nearest on, without that whose certificates are trusted.
    chain: Vec<String>,
}

/// A certificate with its issuers, and its key, as PEM.
struct Issued {
    chain: String,
    key: String,
}

/// An endpoint that serves one certificate.
#[derive(Debug)]
struct Endpoint(Arc<CertifiedKey>);

/// What a handshake came to.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Agreed {
    version: rustls::ProtocolVersion,
    protocol: Option<Vec<u8>>,
    /// The name that the endpoint was asked for.
    sni: Option<String>,
    /// Whether the endpoint saw a certificate of the client.
    client: bool,
}

// === impl Authority ===

impl Authority {
    fn new() -> Self {
        let (params, key) = (Self::params(), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem, chain: Vec::new() }
    }

    /// An authority by the grace of this one.
    fn under(&self) -> Self {
        let (params, key) = (Self::params(), KeyPair::generate().unwrap());
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let chain = std::iter::once(pem.clone()).chain(self.chain.iter().cloned()).collect();
        Self { issuer: Issuer::new(params, key), pem, chain }
    }

    fn issue(&self, name: &str) -> Issued {
        self.issue_as(&CertificateParams::new([name.to_owned()]).unwrap())
    }

    fn issue_as(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { chain: own + &self.chain.concat(), key: key.serialize_pem() }
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("authority {:p}", &params));
        params
    }

    fn credentials(&self) -> Credentials {
        Credentials::parse(SecretData { authorities: Some(self.pem.as_bytes()), ..SecretData::default() }).unwrap()
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn new(issued: &Issued) -> Arc<Self> {
        let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        Arc::new(Self(Arc::new(CertifiedKey::new(chain, provider().key_provider.load_private_key(key).unwrap()))))
    }

    fn config(self: &Arc<Self>, version: &'static SupportedProtocolVersion) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let mut config = builder.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

impl ResolvesServerCert for Endpoint {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Terms without a Secret.
fn terms() -> Terms {
    Terms {
        secret: None,
        verify: false,
        depth: 1,
        name: None,
        server_name: false,
        tls12: true,
        tls13: true,
        http2: false,
    }
}

fn verified(name: Option<&str>) -> Terms {
    Terms { secret: Some(secret()), verify: true, name: name.map(Arc::from), ..terms() }
}

fn secret() -> SecretKey {
    SecretKey { namespace: "shop".into(), name: "ca".into() }
}

fn known(credentials: Credentials) -> CredentialsMap {
    CredentialsMap::new_sync().insert(secret(), Arc::new(credentials))
}

/// Connects to an endpoint by every version of TLS; the outcomes must be alike.
fn connect(terms: &Terms, known: &CredentialsMap, endpoint: &Arc<Endpoint>) -> Result<Agreed, rustls::Error> {
    let connector = Connector::new(terms, known).unwrap();
    let by_12 = handshake(&connector, endpoint.config(&TLS12));
    let by_13 = handshake(&connector, endpoint.config(&TLS13));
    match (&by_12, &by_13) {
        (Ok(by_12), Ok(by_13)) => assert_eq!(by_12, &Agreed { version: by_12.version, ..by_13.clone() }),
        // Some errors of rustls are never equal.
        (by_12, by_13) => assert_eq!(format!("{by_12:?}"), format!("{by_13:?}")),
    }
    by_13
}

fn handshake(connector: &Connector, config: ServerConfig) -> Result<Agreed, rustls::Error> {
    let name = connector.name_of(IpAddr::from([10, 0, 0, 1]));
    let mut client = ClientConnection::new(connector.config().clone(), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        while !bytes.is_empty() && server.wants_read() {
            let mut rest = &*bytes;
            server.read_tls(&mut rest).unwrap();
            bytes = rest.to_vec();
        }
        // What the endpoint has against the client is told by an alert.
        let refused = server.process_new_packets();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &*bytes;
        while !rest.is_empty() && client.wants_read() {
            client.read_tls(&mut rest).unwrap();
        }
        client.process_new_packets()?;
        refused?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Agreed {
        version: client.protocol_version().unwrap(),
        protocol: client.alpn_protocol().map(<[u8]>::to_vec),
        sni: server.server_name().map(str::to_owned),
        client: server.peer_certificates().is_some(),
    })
}

#[test]
fn anybody_is_believed_where_nobody_is_verified() {
    let stranger = Endpoint::new(&Authority::new().issue("a.example"));
    let agreed = connect(&terms(), &CredentialsMap::new_sync(), &stranger).unwrap();
    assert_eq!((agreed.sni, agreed.client), (None, false));
}

#[test]
fn certificates_of_version_1_are_as_good_as_others_where_nobody_is_verified() {
    let old = Endpoint::new(&Issued { chain: VERSION_1.to_owned(), key: VERSION_1_KEY.to_owned() });
    connect(&terms(), &CredentialsMap::new_sync(), &old).unwrap();
}

#[test]
fn whoever_has_not_the_key_of_its_certificate_is_believed_by_nobody() {
    let authority = Authority::new();
    let (honest, thief) = (authority.issue("a.example"), authority.issue("a.example"));
    let stolen = Endpoint::new(&Issued { chain: honest.chain, key: thief.key });
    let known = known(authority.credentials());
    for terms in [terms(), verified(None)] {
        let refused = connect(&terms, &known, &stolen).unwrap_err();
        assert_eq!(refused, rustls::CertificateError::BadSignature.into(), "{terms:?}");
    }
}

#[test]
fn only_certificates_of_the_authority_are_verified() {
    let (ours, other) = (Authority::new(), Authority::new());
    let known = known(ours.credentials());
    connect(&verified(None), &known, &Endpoint::new(&ours.issue("a.example"))).unwrap();
    connect(&verified(None), &known, &Endpoint::new(&other.issue("a.example"))).unwrap_err();
}

#[test]
fn the_name_counts_where_one_is_asked_for_whether_or_not_it_is_sent() {
    let authority = Authority::new();
    let (known, endpoint) = (known(authority.credentials()), Endpoint::new(&authority.issue("a.example")));
    for server_name in [false, true] {
        let terms = |name| Terms { server_name, ..verified(Some(name)) };
        let agreed = connect(&terms("a.example"), &known, &endpoint).unwrap();
        assert_eq!(agreed.sni.as_deref(), server_name.then_some("a.example"));
        connect(&terms("b.example"), &known, &endpoint).unwrap_err();
    }
    let unverified = Terms { verify: false, server_name: true, ..verified(Some("b.example")) };
    assert_eq!(connect(&unverified, &known, &endpoint).unwrap().sni.as_deref(), Some("b.example"));
    let unnamed = Terms { server_name: true, ..verified(None) };
    assert_eq!(connect(&unnamed, &known, &endpoint).unwrap().sni, None, "there is no name to send");
}

#[test]
fn an_address_can_be_the_name() {
    let authority = Authority::new();
    let (known, endpoint) = (known(authority.credentials()), Endpoint::new(&authority.issue("10.0.0.1")));
    connect(&verified(Some("10.0.0.1")), &known, &endpoint).unwrap();
    connect(&verified(Some("10.0.0.2")), &known, &endpoint).unwrap_err();
}

#[test]
fn the_depth_is_the_number_of_certificates_between() {
    let root = Authority::new();
    let under = root.under();
    let further = under.under();
    let known = known(root.credentials());
    for (authority, between) in [(&root, 0), (&under, 1), (&further, 2)] {
        let endpoint = Endpoint::new(&authority.issue("a.example"));
        for depth in 0..4 {
            let connected = connect(&Terms { depth, ..verified(None) }, &known, &endpoint);
            assert_eq!(connected.is_ok(), between <= depth, "{between} between, depth {depth}");
        }
    }
}

#[test]
fn a_certificate_in_the_secret_is_believed_itself_in_its_time() {
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let make = |until| {
            let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
            params.is_ca = is_ca;
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
            let key = KeyPair::generate().unwrap();
            Issued { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
        };
        let (own, other, past) = (make(3000), make(3000), make(2000));
        let trusting = |issued: &Issued| {
            let authorities = Some(issued.chain.as_bytes());
            known(Credentials::parse(SecretData { authorities, ..SecretData::default() }).unwrap())
        };
        connect(&verified(Some("a.example")), &trusting(&own), &Endpoint::new(&own)).unwrap();
        connect(&verified(Some("b.example")), &trusting(&own), &Endpoint::new(&own)).unwrap_err();
        connect(&verified(None), &trusting(&own), &Endpoint::new(&other)).unwrap_err();
        let refused = connect(&verified(None), &trusting(&past), &Endpoint::new(&past)).unwrap_err();
        assert_eq!(refused, rustls::CertificateError::Expired.into());
    }
}

#[test]
fn endpoints_that_ask_are_shown_the_clients_certificate() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(["gateway.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = authority.issue_as(&params);
    let data = SecretData {
        authorities: Some(authority.pem.as_bytes()),
        certificate: Some(own.chain.as_bytes()),
        key: Some(own.key.as_bytes()),
    };
    let with = known(Credentials::parse(data).unwrap());
    let without = known(authority.credentials());

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let endpoint = Endpoint::new(&authority.issue("a.example"));
    for version in [&TLS12, &TLS13] {
        let config = || {
            let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
            builder.with_client_cert_verifier(verifier.clone()).with_cert_resolver(endpoint.clone())
        };
        let connector = Connector::new(&verified(None), &with).unwrap();
        assert!(handshake(&connector, config()).unwrap().client);
        let connector = Connector::new(&verified(None), &without).unwrap();
        handshake(&connector, config()).unwrap_err();
    }
}

#[test]
fn protocols_and_versions_are_those_of_the_terms() {
    let endpoint = Endpoint::new(&Authority::new().issue("a.example"));
    let none = CredentialsMap::new_sync();
    for (http2, protocol) in [(false, b"http/1.1".to_vec()), (true, b"h2".to_vec())] {
        let agreed = connect(&Terms { http2, ..terms() }, &none, &endpoint).unwrap();
        assert_eq!(agreed.protocol, Some(protocol));
    }
    for (tls12, tls13) in [(true, false), (false, true), (true, true)] {
        let connector = Connector::new(&Terms { tls12, tls13, ..terms() }, &none).unwrap();
        assert_eq!(handshake(&connector, endpoint.config(&TLS12)).is_ok(), tls12);
        assert_eq!(handshake(&connector, endpoint.config(&TLS13)).is_ok(), tls13);
    }
}

#[test]
fn terms_that_cannot_be_kept_make_no_connector() {
    let none = CredentialsMap::new_sync();
    let authority = Authority::new();
    let made = |terms: &Terms, known: &CredentialsMap| Connector::new(terms, known).map(|_| ()).unwrap_err();
    assert_eq!(made(&verified(None), &none), NoConnector::NoCredentials(secret()));
    assert_eq!(made(&Terms { verify: false, ..verified(None) }, &none), NoConnector::NoCredentials(secret()));
    assert_eq!(made(&Terms { verify: true, ..terms() }, &none), NoConnector::NoAuthority);
    let own = authority.issue("gateway.example");
    let data = SecretData { authorities: None, certificate: Some(own.chain.as_bytes()), key: Some(own.key.as_bytes()) };
    assert_eq!(made(&verified(None), &known(Credentials::parse(data).unwrap())), NoConnector::NoAuthority);
    let name = "not a name";
    assert!(!is_name(name) && is_name("a.example") && is_name("10.0.0.1") && is_name("fd00::1"));
    assert_eq!(made(&verified(Some(name)), &known(authority.credentials())), NoConnector::Name(name.into()));
}

#[test]
fn a_connector_is_kept_until_its_secret_holds_something_else() {
    let mut connectors = Connectors::default();
    let (before, after) = (Authority::new(), Authority::new());
    let mut number = |terms: &Terms, known: &CredentialsMap| connectors.get(terms, known).map(|it| it.number());
    let first = number(&verified(None), &known(before.credentials())).unwrap();
    assert_eq!(number(&verified(None), &known(before.credentials())).unwrap(), first, "the same, read again");
    assert_ne!(number(&terms(), &known(before.credentials())).unwrap(), first);
    assert_ne!(number(&verified(None), &known(after.credentials())).unwrap(), first);
    number(&verified(None), &CredentialsMap::new_sync()).unwrap_err();
}

#[test]
fn sessions_are_resumed() {
    let endpoint = Endpoint::new(&Authority::new().issue("a.example"));
    let connector = Connector::new(&terms(), &CredentialsMap::new_sync()).unwrap();
    let mut config = endpoint.config(&TLS12);
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
    let config = Arc::new(config);
    let kinds: Vec<_> = (0..2)
        .map(|_| {
            let name = connector.name_of(IpAddr::from([10, 0, 0, 1]));
            let mut client = ClientConnection::new(connector.config().clone(), name).unwrap();
            let mut server = ServerConnection::new(config.clone()).unwrap();
            while client.is_handshaking() || server.is_handshaking() {
                let mut bytes = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut bytes).unwrap();
                }
                server.read_tls(&mut &*bytes).unwrap();
                server.process_new_packets().unwrap();
                bytes.clear();
                while server.wants_write() {
                    server.write_tls(&mut bytes).unwrap();
                }
                client.read_tls(&mut &*bytes).unwrap();
                client.process_new_packets().unwrap();
            }
            client.handshake_kind().unwrap()
        })
        .collect();
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
}

#[test]
fn a_secret_that_cannot_be_used_is_told_why() {
    let authority = Authority::new();
    let (own, other) = (authority.issue("a.example"), authority.issue("a.example"));
    let (ca, certificate, key) = (authority.pem.as_bytes(), own.chain.as_bytes(), own.key.as_bytes());
    let parsed = |authorities: &[u8], certificate: &[u8], key: &[u8]| {
        let data = SecretData { authorities: Some(authorities), certificate: Some(certificate), key: Some(key) };
        Credentials::parse(data).map(|_| ())
    };
    use InvalidCredentials as Is;
    assert_eq!(parsed(ca, certificate, key), Ok(()));
    assert_eq!(parsed(ca, b"", b""), Ok(()));
    assert_eq!(parsed(b"\n", certificate, key), Ok(()));
    assert_eq!(parsed(b"", b"", b" "), Err(Is::Nothing));
    assert_eq!(parsed(ca, certificate, b""), Err(Is::Half { has: "tls.crt", lacks: "tls.key" }));
    assert_eq!(parsed(ca, b"", key), Err(Is::Half { has: "tls.key", lacks: "tls.crt" }));
    assert_eq!(parsed(b"garbage", b"", b""), Err(Is::NoCertificate { file: "ca.crt" }));
    assert_eq!(parsed(ca, key, key), Err(Is::NoCertificate { file: "tls.crt" }));
    assert_eq!(parsed(ca, certificate, certificate), Err(Is::NoKey));
    assert_eq!(parsed(ca, certificate, other.key.as_bytes()), Err(Is::KeyDoesNotFit));
    let broken = own.chain.replace("-----END", "");
    assert_eq!(parsed(broken.as_bytes(), b"", b""), Err(Is::Pem { file: "ca.crt", fault: "a section has no end" }));
    let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(matches!(parsed(empty.as_bytes(), b"", b""), Err(Is::Certificate { file: "ca.crt", .. })));
}

#[test]
fn no_text_shows_a_key() {
    let own = Authority::new().issue("a.example");
    let data = SecretData { authorities: None, certificate: Some(own.chain.as_bytes()), key: Some(own.key.as_bytes()) };
    let credentials = Credentials::parse(data).unwrap();
    assert_eq!(format!("{credentials:?}"), "Credentials { authorities: 0, client: true, .. }");
}
