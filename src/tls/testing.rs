//! Certificates for tests.

use std::sync::{Arc, OnceLock};

use super::{Authority, Certificate, Date, Issued, Made};

/// Long before and long after any test.
pub(crate) const LONG: (Date, Date) = (Date(0), Date(4_102_444_799));

/// The authority of all certificates here.
pub(crate) fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("Test Authority", LONG.0, LONG.1).unwrap())
}

/// A certificate and its key, as PEM.
pub(crate) fn issued(names: &[&str], kind: Made) -> Issued {
    authority().issue(names, kind, LONG.0, LONG.1).unwrap()
}

/// A certificate that can serve.
pub(crate) fn certificate(names: &[&str], kind: Made) -> Arc<Certificate> {
    let issued = issued(names, kind);
    Arc::new(Certificate::parse(issued.chain.as_bytes(), issued.key.as_bytes()).unwrap())
}
