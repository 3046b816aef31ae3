//! Certificates that are made here: the default one, and those of the demo and of tests.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{Certificate, Date};

/// How long the default certificate is valid; it is made anew at every start.
const YEARS_OF_DEFAULT: i64 = 10;

const YEAR: i64 = 365 * 24 * 60 * 60;
const DAY: i64 = 24 * 60 * 60;

/// An authority that signs certificates.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
pub struct Issued {
    /// The certificate, and the authority's behind it.
    pub chain: String,
    pub key: String,
}

/// A kind of key to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    EcdsaP256,
    EcdsaP384,
    Rsa2048,
    Ed25519,
}

/// Makes the certificate that serves where there is no other. It names no host, so that no client takes it for one.
///
/// # Errors
///
/// Where there is no randomness to be had.
pub fn self_signed(now: SystemTime) -> Result<Certificate, rcgen::Error> {
    let key = Made::EcdsaP256.key()?;
    let now = Date::from(now);
    let mut params = params(&["ingress.local"], Date(now.0 - DAY), Date(now.0 + YEARS_OF_DEFAULT * YEAR))?;
    params.distinguished_name = name("Serin Default Certificate");
    let made = params.self_signed(&key)?;
    Certificate::parse(made.pem().as_bytes(), key.serialize_pem().as_bytes())
        .map_err(|_| rcgen::Error::CouldNotParseCertificate)
}

fn moment(date: Date) -> SystemTime {
    let since = Duration::from_secs(date.0.unsigned_abs());
    if date.0 < 0 { SystemTime::UNIX_EPOCH - since } else { SystemTime::UNIX_EPOCH + since }
}

/// What all of them have in common.
fn params(names: &[&str], not_before: Date, not_after: Date) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.not_before = moment(not_before).into();
    params.not_after = moment(not_after).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name.push(DnType::OrganizationName, "Serin");
    name
}

// === impl Authority ===

impl Authority {
    /// Makes an authority.
    ///
    /// # Errors
    ///
    /// Where there is no randomness to be had.
    pub fn new(common_name: &str, not_before: Date, not_after: Date) -> Result<Self, rcgen::Error> {
        let key = Made::EcdsaP256.key()?;
        let mut params = params(&[], not_before, not_after)?;
        params.distinguished_name = name(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = Vec::new();
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// An authority that is valid from yesterday on, for ten years.
    ///
    /// # Errors
    ///
    /// Where there is no randomness to be had.
    pub fn from_now(common_name: &str, now: SystemTime) -> Result<Self, rcgen::Error> {
        let now = Date::from(now);
        Self::new(common_name, Date(now.0 - DAY), Date(now.0 + 10 * YEAR))
    }

    /// The certificate of the authority, as PEM, for those who are to trust it.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate for these names, DNS names or addresses. The first is the common name, too.
    ///
    /// # Errors
    ///
    /// Where a name is none, or there is no randomness to be had.
    pub fn issue(&self, names: &[&str], kind: Made, not_before: Date, not_after: Date) -> Result<Issued, rcgen::Error> {
        let mut params = params(names, not_before, not_after)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or_default());
        self.sign(&params, kind)
    }

    /// Signs a certificate that is valid from yesterday on, for a year.
    ///
    /// # Errors
    ///
    /// Where a name is none, or there is no randomness to be had.
    pub fn issue_from_now(&self, names: &[&str], kind: Made, now: SystemTime) -> Result<Issued, rcgen::Error> {
        let now = Date::from(now);
        self.issue(names, kind, Date(now.0 - DAY), Date(now.0 + YEAR))
    }

    /// Signs a certificate of the old kind, whose name is its common name.
    #[cfg(test)]
    pub(super) fn issue_common_name(&self, name: &str) -> Result<Issued, rcgen::Error> {
        let mut params = params(&[], Date(0), Date(YEAR))?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(&params, Made::EcdsaP256)
    }

    fn sign(&self, params: &CertificateParams, kind: Made) -> Result<Issued, rcgen::Error> {
        let key = kind.key()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { chain: certificate.pem() + &self.certificate, key: key.serialize_pem() })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

// === impl Issued ===

/// Nothing of the key.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("chain", &self.chain).finish_non_exhaustive()
    }
}

// === impl Made ===

impl Made {
    fn key(self) -> Result<KeyPair, rcgen::Error> {
        KeyPair::generate_for(match self {
            Self::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::Hostname, tls::Validity};

    #[test]
    fn the_default_certificate_is_valid_from_the_start_and_names_no_host_of_anybody() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let made = self_signed(now).unwrap();
        assert_eq!(made.subject(), "CN=Serin Default Certificate, O=Serin");
        assert_eq!(made.validity(Date(1_800_000_000)), Validity::Valid);
        assert!(!made.covers(&Hostname::parse("shop.example").unwrap()));
    }
}
