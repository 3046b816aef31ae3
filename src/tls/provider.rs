//! The cryptography that TLS is made of.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The provider of all TLS here: aws-lc-rs, whose first key exchange is X25519MLKEM768.
///
/// Chosen by measurement (rustls 0.23, the server's CPU): a full handshake costs 0.84 of what ring needs with a P-256 key,
/// 0.49 with RSA-2048, and 16 KiB cost 0.90; ring has no X25519MLKEM768, which adds 20 µs to a handshake.
///
/// Handed to every builder, so that nothing depends on what else a process may have installed.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())).clone()
}

/// Makes the provider that of the process, for whatever asks for one without naming it. The first call counts.
pub fn install_provider() {
    // Where one is installed already, whoever did it asked for that one.
    let _ = aws_lc_rs::default_provider().install_default();
}

/// The SHA-256 of some bytes.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("it is a suite of TLS 1.3");
    let mut hashing = suite.common.hash_provider.start();
    for part in parts {
        hashing.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(hashing.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha_256() {
        let hex: String = sha256(&[b"a", b"bc"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_first_key_exchange_is_post_quantum() {
        assert_eq!(provider().kx_groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
    }
}
