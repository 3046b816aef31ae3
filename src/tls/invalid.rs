//! What is wrong with a certificate or its key.

/// Why bytes are no certificate with its key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidCertificate {
    #[error("there is no `tls.crt`")]
    NoCertificateFile,
    #[error("there is no `tls.key`")]
    NoKeyFile,
    #[error("`tls.crt` is no PEM: {0}")]
    Pem(String),
    #[error("there is no certificate in `tls.crt`")]
    NoCertificate,
    #[error("the first certificate in `tls.crt` cannot be read: {0}")]
    Certificate(String),
    #[error("`tls.key` is no PEM: {0}")]
    KeyPem(String),
    #[error("there is no private key in `tls.key`")]
    NoKey,
    #[error("the private key in `tls.key` is encrypted")]
    EncryptedKey,
    #[error("the private key in `tls.key` cannot be used: RSA of at least 2048 bits, ECDSA or Ed25519 can")]
    Key,
    #[error("the private key in `tls.key` is not that of the first certificate in `tls.crt`")]
    KeyDoesNotFit,
}

// === impl InvalidCertificate ===

impl InvalidCertificate {
    /// Whether it is `tls.key` that is to be mended, not `tls.crt`.
    #[must_use]
    pub const fn is_about_key(&self) -> bool {
        matches!(
            self,
            Self::NoKeyFile | Self::KeyPem(_) | Self::NoKey | Self::EncryptedKey | Self::Key | Self::KeyDoesNotFit
        )
    }

    /// What to do about it, without a full stop.
    #[must_use]
    pub const fn mend(&self) -> &'static str {
        match self {
            Self::NoCertificateFile | Self::NoKeyFile => {
                "Give the Secret both `tls.crt` and `tls.key`, as `kubectl create secret tls` does"
            }
            Self::Pem(_) | Self::NoCertificate | Self::Certificate(_) => {
                "Write the certificate and those of its issuers to `tls.crt` as PEM, its own first"
            }
            Self::KeyPem(_) | Self::NoKey | Self::EncryptedKey | Self::Key => {
                "Write the private key to `tls.key` as PEM, without a passphrase"
            }
            Self::KeyDoesNotFit => "Write the certificate first in `tls.crt`, its issuers after it, and its own key",
        }
    }
}
