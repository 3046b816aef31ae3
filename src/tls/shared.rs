//! One copy of a certificate, however many objects hold it.
//!
//! Parsing a private key takes as long as some thousand other steps of a translation, and ten thousand Ingresses may name
//! one Secret. What was parsed and is still in use is therefore found again, by what it was parsed of; so the result
//! depends on nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Certificate, InvalidCertificate, provider::sha256};

/// How many there may be until those that nobody uses are forgotten; then again at twice what is left. Also how many
/// that cannot serve are remembered.
const FEW: usize = 64;

/// What is in use, by the digest of its PEM.
#[derive(Default)]
struct Known {
    certificates: HashMap<[u8; 32], Weak<Certificate>>,
    /// What the last few were found to be that cannot serve.
    invalid: HashMap<[u8; 32], InvalidCertificate>,
    sweep_at: usize,
}

/// As [`Certificate::parse`]; where the same bytes were parsed before and the result is still in use, that one.
///
/// # Errors
///
/// As [`Certificate::parse`].
pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Arc<Certificate>, InvalidCertificate> {
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let digest = sha256(&[&(certificate.len() as u64).to_be_bytes(), certificate, key]);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(found) = known.certificates.get(&digest).and_then(Weak::upgrade) {
        return Ok(found);
    }
    if let Some(fault) = known.invalid.get(&digest) {
        return Err(fault.clone());
    }
    match Certificate::parse(certificate, key) {
        Ok(parsed) => {
            let parsed = Arc::new(parsed);
            known.insert(digest, &parsed);
            Ok(parsed)
        }
        Err(fault) => {
            if known.invalid.len() >= FEW {
                known.invalid.clear();
            }
            known.invalid.insert(digest, fault.clone());
            Err(fault)
        }
    }
}

// === impl Known ===

impl Known {
    fn insert(&mut self, digest: [u8; 32], certificate: &Arc<Certificate>) {
        if self.certificates.len() >= self.sweep_at {
            self.certificates.retain(|_, certificate| certificate.strong_count() > 0);
            self.sweep_at = FEW.max(2 * self.certificates.len());
        }
        self.certificates.insert(digest, Arc::downgrade(certificate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Made, testing};

    #[test]
    fn the_same_bytes_are_parsed_once_while_the_result_is_in_use() {
        let (a, b) =
            (testing::issued(&["a.example"], Made::EcdsaP256), testing::issued(&["b.example"], Made::EcdsaP256));
        let of = |issued: &crate::tls::Issued| parse(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap();
        let first = of(&a);
        assert!(Arc::ptr_eq(&first, &of(&a)));
        assert!(!Arc::ptr_eq(&first, &of(&b)));
        let weak = Arc::downgrade(&first);
        drop(first);
        assert_eq!(weak.strong_count(), 0, "nothing holds what nobody uses");
        assert_eq!(of(&a).names(), ["a.example"]);
    }

    #[test]
    fn what_cannot_serve_is_found_again_too() {
        for number in 0..3 * FEW {
            let garbage = format!("garbage {number}");
            for _ in 0..2 {
                assert_eq!(parse(garbage.as_bytes(), b""), Err(InvalidCertificate::NoCertificate));
            }
        }
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let mut known = Known::default();
        let certificate = testing::certificate(&["a.example"], Made::EcdsaP256);
        for number in 0..1000_u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            known.insert(digest, &certificate);
            if number > 0 {
                known.certificates.insert(digest, Weak::new());
            }
        }
        assert!(known.certificates.len() <= 2 * FEW, "{}", known.certificates.len());
    }
}
