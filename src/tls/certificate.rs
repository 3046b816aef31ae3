//! A certificate with its key, ready to serve.

use std::{
    fmt::{self, Write as _},
    net::IpAddr,
    sync::Arc,
};

use rustls::{
    SignatureAlgorithm,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::{Date, InvalidCertificate, provider};
use crate::key::Hostname;

/// A certificate, those of its issuers, and its private key.
///
/// It was parsed and its key fits. Two are equal where their chains are: the key follows from that.
pub struct Certificate {
    key: Arc<CertifiedKey>,
    kind: KeyKind,
    subject: String,
    names: Vec<String>,
    issuer_organization: String,
    issuer_common_name: String,
    serial: String,
    not_before: Date,
    not_after: Date,
    fingerprint: [u8; 32],
}

/// The kind of a public key.
///
/// In the order in which they are offered to a client that can verify several: the cheapest to sign with first that
/// every client of today knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum KeyKind {
    #[serde(rename = "ECDSA")]
    Ecdsa,
    #[serde(rename = "RSA")]
    Rsa,
    Ed25519,
}

/// Whether it is the time for a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// Not before this moment.
    NotYet(Date),
    Valid,
    /// It was, until this moment.
    Expired(Date),
}

// === impl Certificate ===

impl Certificate {
    /// Reads PEM: the certificate with its issuers behind it, and its private key.
    ///
    /// # Errors
    ///
    /// Says what keeps it from serving.
    pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, InvalidCertificate> {
        let chain = chain(certificate)?;
        let leaf = chain.first().ok_or(InvalidCertificate::NoCertificate)?.clone();
        let unreadable = |fault: &dyn fmt::Display| InvalidCertificate::Certificate(fault.to_string());
        let (_, x509) = X509Certificate::from_der(&leaf).map_err(|fault| unreadable(&fault))?;
        let names = names(&x509).map_err(|fault| unreadable(&fault))?;

        let key = provider().key_provider.load_private_key(private_key(key)?).map_err(|_| InvalidCertificate::Key)?;
        let kind = match key.algorithm() {
            SignatureAlgorithm::ECDSA => KeyKind::Ecdsa,
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            SignatureAlgorithm::ED25519 => KeyKind::Ed25519,
            _ => return Err(InvalidCertificate::Key),
        };
        if key.public_key().is_some_and(|public| public.as_ref() != x509.public_key().raw) {
            return Err(InvalidCertificate::KeyDoesNotFit);
        }

        let validity = x509.validity();
        let first = |mut attributes: Box<dyn Iterator<Item = String> + '_>| attributes.next().unwrap_or_default();
        Ok(Self {
            kind,
            subject: shown(x509.subject()),
            issuer_organization: first(Box::new(x509.issuer().iter_organization().map(text))),
            issuer_common_name: first(Box::new(x509.issuer().iter_common_name().map(text))),
            serial: x509.tbs_certificate.serial.to_string(),
            not_before: Date(validity.not_before.timestamp()),
            not_after: Date(validity.not_after.timestamp()),
            fingerprint: super::provider::sha256(&[&leaf]),
            names,
            key: Arc::new(CertifiedKey::new(chain, key)),
        })
    }

    /// The chain and the key, as rustls serves them.
    #[must_use]
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Whether it is valid for a host: names it, or has a wildcard for its first label. Any host is no name.
    #[must_use]
    pub fn covers(&self, host: &Hostname) -> bool {
        let parent = host.as_str().split_once('.').map(|(_, parent)| parent);
        !host.is_any()
            && self.names.iter().any(|name| {
                *name == host.as_str() || name.strip_prefix("*.").is_some_and(|suffix| Some(suffix) == parent)
            })
    }

    /// What it is valid for, in lower case: DNS names and addresses. The common name only where there are none.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The kind of its key.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whose it is: `CN=shop.example, O=Shop`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The first organization of its issuer; empty where there is none.
    #[must_use]
    pub fn issuer_organization(&self) -> &str {
        &self.issuer_organization
    }

    /// The common name of its issuer; empty where there is none.
    #[must_use]
    pub fn issuer_common_name(&self) -> &str {
        &self.issuer_common_name
    }

    /// Its serial number, in decimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// From when on it is valid.
    #[must_use]
    pub fn not_before(&self) -> Date {
        self.not_before
    }

    /// Until when it is valid.
    #[must_use]
    pub fn not_after(&self) -> Date {
        self.not_after
    }

    /// The SHA-256 of the certificate, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Whether it is the time for it.
    #[must_use]
    pub fn validity(&self, now: Date) -> Validity {
        if now < self.not_before {
            Validity::NotYet(self.not_before)
        } else if now > self.not_after {
            Validity::Expired(self.not_after)
        } else {
            Validity::Valid
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.key.cert == other.key.cert
    }
}

impl Eq for Certificate {}

/// Whose it is and which; nothing of the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject, self.fingerprint())
    }
}

/// All but the key.
impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_struct("Certificate", 9)?;
        shown.serialize_field("names", &self.names)?;
        shown.serialize_field("subject", &self.subject)?;
        shown.serialize_field("issuer_common_name", &self.issuer_common_name)?;
        shown.serialize_field("issuer_organization", &self.issuer_organization)?;
        shown.serialize_field("key", &self.kind)?;
        shown.serialize_field("not_before", &self.not_before)?;
        shown.serialize_field("not_after", &self.not_after)?;
        shown.serialize_field("serial", &self.serial)?;
        shown.serialize_field("fingerprint", &self.fingerprint())?;
        shown.end()
    }
}

// === impl KeyKind ===

impl KeyKind {
    /// As ingress-nginx's metrics write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The certificates in PEM.
fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidCertificate> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(InvalidCertificate::NoCertificate),
        Ok(chain) => Ok(chain),
        Err(fault) => Err(InvalidCertificate::Pem(words(&fault))),
    }
}

/// The private key in PEM.
fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidCertificate> {
    PrivateKeyDer::from_pem_slice(text).map_err(|fault| match fault {
        pem::Error::NoItemsFound if memchr::memmem::find(text, b"ENCRYPTED PRIVATE KEY").is_some() => {
            InvalidCertificate::EncryptedKey
        }
        pem::Error::NoItemsFound => InvalidCertificate::NoKey,
        fault => InvalidCertificate::KeyPem(words(&fault)),
    })
}

/// What is wrong with PEM. Bytes of it may be a key's, so none is shown.
fn words(fault: &pem::Error) -> String {
    match fault {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "the start of a section cannot be read",
        pem::Error::Base64Decode(_) => "what should be base64 is not",
        _ => "it cannot be read",
    }
    .to_owned()
}

/// What a certificate is valid for.
fn names(x509: &X509Certificate<'_>) -> Result<Vec<String>, x509_parser::error::X509Error> {
    let mut names = Vec::new();
    for name in x509.subject_alternative_name()?.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(name) => names.push(name.trim_end_matches('.').to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => names.extend(address(bytes).map(|address| address.to_string())),
            _ => {}
        }
    }
    if names.is_empty() {
        names.extend(x509.subject().iter_common_name().map(text).map(|name| name.to_ascii_lowercase()));
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let of_v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    of_v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A distinguished name, its common names first.
fn shown(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().map(|it| format!("CN={}", text(it)));
    let organization = name.iter_organization().map(|it| format!("O={}", text(it)));
    common.chain(organization).collect::<Vec<_>>().join(", ")
}

/// The text of an attribute. Control characters, which could forge lines of a log, become spaces.
fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let text = String::from_utf8_lossy(attribute.as_slice());
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Made, testing};

    fn host(name: &str) -> Hostname {
        Hostname::parse(name).unwrap()
    }

    #[test]
    fn every_usual_kind_of_key_is_read() {
        for (made, kind) in [
            (Made::EcdsaP256, KeyKind::Ecdsa),
            (Made::EcdsaP384, KeyKind::Ecdsa),
            (Made::Rsa2048, KeyKind::Rsa),
            (Made::Ed25519, KeyKind::Ed25519),
        ] {
            let issued = testing::issued(&["shop.example"], made);
            let certificate = Certificate::parse(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
            assert_eq!(certificate.kind(), kind, "{made:?}");
        }
    }

    #[test]
    fn what_a_certificate_says_is_at_hand() {
        let issued = testing::authority()
            .issue(&["Shop.Example", "*.shop.example", "10.0.0.1"], Made::EcdsaP256, Date(100), Date(200))
            .unwrap();
        let certificate = Certificate::parse(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        assert_eq!(certificate.names(), ["shop.example", "*.shop.example", "10.0.0.1"]);
        assert_eq!(certificate.subject(), "CN=Shop.Example");
        assert_eq!(certificate.issuer_common_name(), "Test Authority");
        assert_eq!(certificate.issuer_organization(), "Serin");
        assert!(certificate.serial().parse::<u128>().is_ok() || certificate.serial().len() > 30);
        assert_eq!(certificate.fingerprint().len(), 64);
        assert_eq!(certificate.validity(Date(99)), Validity::NotYet(Date(100)));
        assert_eq!(certificate.validity(Date(100)), Validity::Valid);
        assert_eq!(certificate.validity(Date(200)), Validity::Valid);
        assert_eq!(certificate.validity(Date(201)), Validity::Expired(Date(200)));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let certificate = testing::certificate(&["*.shop.example", "Other.example"], Made::EcdsaP256);
        for name in ["a.shop.example", "*.shop.example", "other.example"] {
            assert!(certificate.covers(&host(name)), "{name}");
        }
        for name in ["shop.example", "a.b.shop.example", "*.b.shop.example", "x.other.example", "*.other.example"] {
            assert!(!certificate.covers(&host(name)), "{name}");
        }
        assert!(!certificate.covers(&Hostname::any()));
    }

    #[test]
    fn the_common_name_counts_only_where_there_is_no_other() {
        let only = testing::authority().issue_common_name("shop.example").unwrap();
        let certificate = Certificate::parse(only.chain.as_bytes(), only.key.as_bytes()).unwrap();
        assert_eq!(certificate.names(), ["shop.example"]);
        // `issue` takes the first name as the common name, too.
        assert_eq!(testing::certificate(&["a.example"], Made::EcdsaP256).names(), ["a.example"]);
    }

    #[test]
    fn what_cannot_serve_says_why() {
        let good = testing::issued(&["shop.example"], Made::EcdsaP256);
        let other = testing::issued(&["shop.example"], Made::EcdsaP256);
        let (chain, key) = (good.chain.as_str(), good.key.as_str());
        let cut = &chain[..200];
        let no_base64 = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        let no_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (chain, key, fault) in [
            ("", key, "there is no certificate in `tls.crt`"),
            ("garbage", key, "there is no certificate in `tls.crt`"),
            (key, key, "there is no certificate in `tls.crt`"),
            (cut, key, "`tls.crt` is no PEM: a section has no end"),
            (no_base64, key, "`tls.crt` is no PEM: what should be base64 is not"),
            (chain, "garbage", "there is no private key in `tls.key`"),
            (chain, chain, "there is no private key in `tls.key`"),
            (chain, &key[..100], "`tls.key` is no PEM: a section has no end"),
            (chain, encrypted, "the private key in `tls.key` is encrypted"),
            (
                chain,
                no_key,
                "the private key in `tls.key` cannot be used: RSA of at least 2048 bits, ECDSA or Ed25519 can",
            ),
            (chain, &other.key, "the private key in `tls.key` is not that of the first certificate in `tls.crt`"),
        ] {
            let found = Certificate::parse(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert_eq!(found.to_string(), fault);
        }
        let found = Certificate::parse(no_x509.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(found, InvalidCertificate::Certificate(_)), "{found}");
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        let issued = testing::issued(&["shop.example"], Made::EcdsaP256);
        let certificate = Certificate::parse(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        assert_eq!(format!("{certificate:?}"), format!("Certificate(CN=shop.example, {})", certificate.fingerprint()));
        let shown = serde_json::to_string(&certificate).unwrap() + &format!("{issued:?}");
        // The second line holds the secret; the last one the public half, which the certificate has, too.
        let secret = issued.key.lines().nth(1).unwrap();
        assert!(secret.len() == 64 && !shown.contains(secret), "{shown}");
    }
}
