//! What a Secret holds for TLS to endpoints.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

use super::provider;

/// The parts of a Secret that count, as bytes. What is empty counts as not there.
#[derive(Clone, Copy, Default)]
pub struct SecretData<'a> {
    /// `ca.crt`: the authorities that endpoints' certificates may come from.
    pub authorities: Option<&'a [u8]>,
    /// `tls.crt`: the certificate that endpoints are shown, its issuers behind it.
    pub certificate: Option<&'a [u8]>,
    /// `tls.key`: its private key.
    pub key: Option<&'a [u8]>,
}

/// What a Secret holds, parsed: authorities, a certificate with its key, or both.
///
/// Two are equal where all bytes that they were made of are.
pub struct Credentials {
    authorities: Arc<[CertificateDer<'static>]>,
    roots: Arc<RootCertStore>,
    client: Option<Arc<CertifiedKey>>,
    fingerprint: u64,
}

/// Why a Secret is of no use for TLS to endpoints.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidCredentials {
    #[error("It has neither authorities (`ca.crt`) nor a certificate (`tls.crt`) with its key (`tls.key`)")]
    Nothing,
    #[error("It has `{has}` and no `{lacks}`, and one is of no use without the other")]
    Half { has: &'static str, lacks: &'static str },
    #[error("`{file}` is no PEM: {fault}")]
    Pem { file: &'static str, fault: &'static str },
    #[error("There is no certificate in `{file}`")]
    NoCertificate { file: &'static str },
    #[error("A certificate in `{file}` cannot be used: {fault}")]
    Certificate { file: &'static str, fault: String },
    #[error("There is no private key in `tls.key` that is not encrypted")]
    NoKey,
    #[error("The private key in `tls.key` cannot be used: RSA of at least 2048 bits, ECDSA or Ed25519 can")]
    Key,
    #[error("The private key in `tls.key` is not that of the first certificate in `tls.crt`")]
    KeyDoesNotFit,
}

// === impl SecretData ===

/// What there is; nothing of it.
impl fmt::Debug for SecretData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretData")
            .field("authorities", &self.authorities.is_some())
            .field("certificate", &self.certificate.is_some())
            .field("key", &self.key.is_some())
            .finish()
    }
}

impl<'a> SecretData<'a> {
    fn without_empty(self) -> Self {
        let there = |bytes: Option<&'a [u8]>| bytes.filter(|bytes| !bytes.trim_ascii().is_empty());
        Self { authorities: there(self.authorities), certificate: there(self.certificate), key: there(self.key) }
    }

    /// A number that tells it from others for as long as the process runs, and says nothing outside of it.
    fn fingerprint(&self) -> u64 {
        static KEYS: OnceLock<RandomState> = OnceLock::new();
        KEYS.get_or_init(RandomState::new).hash_one((self.authorities, self.certificate, self.key))
    }
}

// === impl Credentials ===

impl Credentials {
    /// Reads the parts of a Secret.
    ///
    /// # Errors
    ///
    /// Where anything that is there cannot be used: a part of what was meant is not what was meant.
    pub fn parse(data: SecretData<'_>) -> Result<Self, InvalidCredentials> {
        let data = data.without_empty();
        let client = match (data.certificate, data.key) {
            (Some(certificate), Some(key)) => Some(Arc::new(certified(certificate, key)?)),
            (Some(_), None) => return Err(InvalidCredentials::Half { has: "tls.crt", lacks: "tls.key" }),
            (None, Some(_)) => return Err(InvalidCredentials::Half { has: "tls.key", lacks: "tls.crt" }),
            (None, None) if data.authorities.is_none() => return Err(InvalidCredentials::Nothing),
            (None, None) => None,
        };
        let mut roots = RootCertStore::empty();
        let mut authorities = Vec::new();
        if let Some(text) = data.authorities {
            let file = "ca.crt";
            authorities = certificates(file, text)?;
            for authority in &authorities {
                roots.add(authority.clone()).map_err(|fault| InvalidCredentials::certificate(file, &fault))?;
            }
        }
        Ok(Self { authorities: authorities.into(), roots: Arc::new(roots), client, fingerprint: data.fingerprint() })
    }

    /// Whether it has authorities, so that endpoints can be verified.
    #[must_use]
    pub fn has_authority(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// The authorities, as rustls wants them.
    #[must_use]
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    /// The certificates of the authorities.
    #[must_use]
    pub fn authorities(&self) -> &Arc<[CertificateDer<'static>]> {
        &self.authorities
    }

    /// What endpoints are shown that ask who calls.
    #[must_use]
    pub fn client(&self) -> Option<&Arc<CertifiedKey>> {
        self.client.as_ref()
    }

    /// What tells it from what the Secret held before, as long as the process runs.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Credentials {}

/// How much there is; nothing of the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("authorities", &self.authorities.len())
            .field("client", &self.client.is_some())
            .finish_non_exhaustive()
    }
}

/// A certificate with its key.
fn certified(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, InvalidCredentials> {
    let chain = certificates("tls.crt", certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|fault| match fault {
        pem::Error::NoItemsFound => InvalidCredentials::NoKey,
        fault => InvalidCredentials::Pem { file: "tls.key", fault: words(&fault) },
    })?;
    let provider = provider();
    let key = provider.key_provider.load_private_key(key).map_err(|_| InvalidCredentials::Key)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(InvalidCredentials::KeyDoesNotFit),
        Err(fault) => Err(InvalidCredentials::certificate("tls.crt", &fault)),
    }
}

/// The certificates in PEM; at least one.
fn certificates(file: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidCredentials> {
    match CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>() {
        Ok(found) if found.is_empty() => Err(InvalidCredentials::NoCertificate { file }),
        Ok(found) => Ok(found),
        Err(fault) => Err(InvalidCredentials::Pem { file, fault: words(&fault) }),
    }
}

/// What is wrong with PEM. Bytes of it may be a key's, so none is shown.
fn words(fault: &pem::Error) -> &'static str {
    match fault {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "the start of a section cannot be read",
        pem::Error::Base64Decode(_) => "what should be base64 is not",
        _ => "it cannot be read",
    }
}

// === impl InvalidCredentials ===

impl InvalidCredentials {
    fn certificate(file: &'static str, fault: &Error) -> Self {
        Self::Certificate { file, fault: fault.to_string() }
    }

    /// The key of the Secret's data that is wrong; none where it is about all of them.
    #[must_use]
    pub const fn file(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Half { has: file, .. }
            | Self::Pem { file, .. }
            | Self::NoCertificate { file }
            | Self::Certificate { file, .. } => Some(file),
            Self::NoKey | Self::Key | Self::KeyDoesNotFit => Some("tls.key"),
        }
    }

    /// What to do about it, without a full stop.
    #[must_use]
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::Nothing => "Write the authorities of the endpoints to `ca.crt` as PEM",
            Self::Half { .. } => "Write both, or neither",
            Self::Pem { .. } | Self::NoCertificate { .. } | Self::Certificate { .. } => {
                "Write certificates of version 3 as PEM; in `tls.crt` the client's own first, its issuers after it"
            }
            Self::NoKey | Self::Key => "Write the private key to `tls.key` as PEM, without a passphrase",
            Self::KeyDoesNotFit => "Write the certificate first in `tls.crt`, its issuers after it, and its own key",
        }
    }
}
