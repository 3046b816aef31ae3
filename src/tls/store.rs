//! All certificates, and which of them answers a server name.

use std::sync::Arc;

use rpds::HashTrieMapSync;
use rustls::SignatureScheme;
use serde::Serialize;

use super::Certificate;
use crate::key::{Hostname, SecretKey};

/// The longest name that DNS has, and a byte for the `*` of its parent's wildcard.
const LONGEST: usize = 254;

/// The certificates of all hosts. A copy costs nothing, and a change what it changes.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    hosts: HashTrieMapSync<Hostname, Arc<CertificateSet>>,
    default: Arc<CertificateSet>,
}

/// What one name is served with: at most one certificate for each kind of key, in the order of [`KeyKind`](super::KeyKind).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CertificateSet(Vec<Held>);

/// A certificate, and where it is from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Held {
    /// The Secret that holds it; none where it was made at start.
    pub secret: Option<SecretKey>,
    #[serde(flatten)]
    pub certificate: Arc<Certificate>,
}

/// The certificates for a server name, and how they were found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    pub set: &'a Arc<CertificateSet>,
    pub by: NameMatch,
}

/// How well a certificate's host fits a server name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameMatch {
    Exact,
    Wildcard,
    /// No host fits, or no name was given.
    Default,
}

// === impl Certificates ===

impl Certificates {
    /// Sets the certificates of a host, or removes the host.
    pub fn set(&mut self, host: Hostname, certificates: Option<Arc<CertificateSet>>) {
        match certificates {
            Some(certificates) => {
                self.hosts.insert_mut(host, certificates);
            }
            None => {
                self.hosts.remove_mut(&host);
            }
        }
    }

    /// Sets what serves names that no host fits.
    pub fn set_default(&mut self, certificates: Arc<CertificateSet>) {
        self.default = certificates;
    }

    /// What serves names that no host fits.
    #[must_use]
    pub fn default_set(&self) -> &Arc<CertificateSet> {
        &self.default
    }

    /// The certificates of a host of the store, by its own name.
    #[must_use]
    pub fn host(&self, host: &Hostname) -> Option<&Arc<CertificateSet>> {
        self.hosts.get(host)
    }

    /// All hosts, in no order.
    pub fn hosts(&self) -> impl Iterator<Item = (&Hostname, &Arc<CertificateSet>)> {
        self.hosts.iter()
    }

    /// The certificates for a server name: those of the host, else of the wildcard that stands for its first label, else
    /// the default.
    ///
    /// Case does not matter, and one trailing dot is dropped. Costs the same however many hosts there are, and allocates
    /// nothing.
    #[must_use]
    pub fn find(&self, server_name: Option<&str>) -> Found<'_> {
        let default = Found { set: &self.default, by: NameMatch::Default };
        let name = server_name.map(|name| name.strip_suffix('.').unwrap_or(name)).unwrap_or_default();
        let mut buffer = [0; LONGEST];
        // Nothing that a client can name is a wildcard itself, or the host that stands for all.
        if name.is_empty() || name.len() > buffer.len() || name.starts_with('*') {
            return default;
        }
        let buffer = &mut buffer[..name.len()];
        buffer.copy_from_slice(name.as_bytes());
        buffer.make_ascii_lowercase();
        if let Some(set) = self.keyed(buffer) {
            return Found { set, by: NameMatch::Exact };
        }
        let Some(dot @ 1..) = memchr::memchr(b'.', buffer) else { return default };
        buffer[dot - 1] = b'*';
        match self.keyed(&buffer[dot - 1..]) {
            Some(set) => Found { set, by: NameMatch::Wildcard },
            None => default,
        }
    }

    fn keyed(&self, name: &[u8]) -> Option<&Arc<CertificateSet>> {
        self.hosts.get(std::str::from_utf8(name).ok()?)
    }
}

// === impl CertificateSet ===

impl CertificateSet {
    /// These certificates; of several with the same kind of key, the first.
    pub fn of(certificates: impl IntoIterator<Item = Held>) -> Self {
        let mut set = Vec::<Held>::new();
        for held in certificates {
            if set.iter().all(|other| other.certificate.kind() != held.certificate.kind()) {
                set.push(held);
            }
        }
        set.sort_by_key(|held| held.certificate.kind());
        Self(set)
    }

    /// The certificates, the first to be offered first.
    #[must_use]
    pub fn held(&self) -> &[Held] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first that a client can verify, by what it says of itself. Where it can verify none, the first: the client
    /// then ends the handshake, and knows why.
    #[must_use]
    pub fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Arc<Certificate>> {
        let fits = |held: &&Held| held.certificate.certified_key().key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).or(self.0.first()).map(|held| &held.certificate)
    }
}

// === impl Held ===

/// A certificate that was made at start.
impl From<Arc<Certificate>> for Held {
    fn from(certificate: Arc<Certificate>) -> Self {
        Self { secret: None, certificate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Made, testing};

    fn set(name: &str) -> Arc<CertificateSet> {
        Arc::new(CertificateSet::of([testing::certificate(&[name], Made::EcdsaP256).into()]))
    }

    fn store(hosts: &[&str]) -> Certificates {
        let mut store = Certificates::default();
        store.set_default(set("default.example"));
        for host in hosts {
            store.set(Hostname::parse(host).unwrap(), Some(set(host)));
        }
        store
    }

    fn found(store: &Certificates, name: &str) -> (NameMatch, String) {
        let found = store.find(Some(name));
        (found.by, found.set.held()[0].certificate.names()[0].clone())
    }

    #[test]
    fn an_exact_name_beats_a_wildcard_and_that_the_default() {
        let store = store(&["a.shop.example", "*.shop.example"]);
        assert_eq!(found(&store, "a.shop.example"), (NameMatch::Exact, "a.shop.example".into()));
        assert_eq!(found(&store, "b.shop.example"), (NameMatch::Wildcard, "*.shop.example".into()));
        assert_eq!(found(&store, "shop.example"), (NameMatch::Default, "default.example".into()));
        assert_eq!(store.find(None).by, NameMatch::Default);
    }

    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let store = store(&["*.shop.example"]);
        for name in ["shop.example", "a.b.shop.example", ".shop.example", "*.shop.example", ""] {
            assert_eq!(found(&store, name).0, NameMatch::Default, "{name}");
        }
    }

    #[test]
    fn case_and_one_trailing_dot_do_not_matter() {
        let store = store(&["shop.example", "*.shop.example"]);
        assert_eq!(found(&store, "SHOP.Example.").0, NameMatch::Exact);
        assert_eq!(found(&store, "A.Shop.Example.").0, NameMatch::Wildcard);
        assert_eq!(found(&store, "shop.example..").0, NameMatch::Default);
        assert_eq!(found(&store, &"a.".repeat(400)).0, NameMatch::Default);
    }

    #[test]
    fn a_client_gets_a_certificate_that_it_can_verify() {
        let (rsa, ecdsa) = (
            testing::certificate(&["a.example"], Made::Rsa2048),
            testing::certificate(&["a.example"], Made::EcdsaP256),
        );
        let set = CertificateSet::of([rsa.clone().into(), ecdsa.clone().into()]);
        let modern = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
        assert_eq!(set.choose(&modern), Some(&ecdsa), "the cheaper one where both can be verified");
        assert_eq!(set.choose(&[SignatureScheme::RSA_PSS_SHA256]), Some(&rsa));
        assert_eq!(set.choose(&[SignatureScheme::ED25519]), Some(&ecdsa), "the client then says what it misses");
        assert_eq!(CertificateSet::default().choose(&modern), None);
    }

    #[test]
    fn of_several_certificates_with_one_kind_of_key_the_first_counts() {
        let (a, b) = (
            testing::certificate(&["a.example"], Made::EcdsaP256),
            testing::certificate(&["b.example"], Made::EcdsaP256),
        );
        assert_eq!(CertificateSet::of([a.clone().into(), b.into()]).held(), [a.into()]);
    }

    #[test]
    fn a_copy_does_not_change() {
        let mut store = store(&["shop.example"]);
        let copy = store.clone();
        store.set(Hostname::parse("shop.example").unwrap(), None);
        assert_eq!(found(&store, "shop.example").0, NameMatch::Default);
        assert_eq!(found(&copy, "shop.example").0, NameMatch::Exact);
    }
}
