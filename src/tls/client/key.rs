//! Proofs that an endpoint has the key of its certificate.
//!
//! rustls reads a certificate whole before it looks at its key, and reads only those of version 3 that keep every rule.
//! Many that endpoints serve behind a gateway do not: `openssl x509 -req` has made those of version 1 for decades. So only
//! the key is read here. Whether the certificate is believed is for the verifier to say.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer},
};
use x509_parser::{asn1_rs::Any, certificate::X509Certificate, prelude::FromDer, x509::SubjectPublicKeyInfo};

/// Verifies a signature of TLS 1.2.
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let key = certificate.public_key();
    let algorithm = algorithm_of(key).ok_or(CertificateError::BadEncoding)?;
    let offered = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let (_, candidates) = offered.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    // In TLS 1.2 a scheme does not say the curve, so there may be several to try.
    let mut fitting = candidates.iter().filter(|candidate| *candidate.public_key_alg_id() == *algorithm);
    let bits = &key.subject_public_key.data;
    if fitting.any(|candidate| candidate.verify_signature(bits, message, signed.signature()).is_ok()) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// Verifies a signature of TLS 1.3.
pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
    verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
}

/// The algorithm of a key with its parameters, as DER without its outermost header.
fn algorithm_of<'a>(key: &SubjectPublicKeyInfo<'a>) -> Option<&'a [u8]> {
    let (_, whole) = Any::from_der(key.raw).ok()?;
    let (_, algorithm) = Any::from_der(whole.data).ok()?;
    Some(algorithm.data)
}
