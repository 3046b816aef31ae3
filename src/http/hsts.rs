//! Strict transport security: from now on, and for a while, clients shall come by https alone (RFC 6797).

use smallvec::SmallVec;

/// The field.
pub(super) const NAME: &[u8] = b"Strict-Transport-Security";

/// What answers over TLS tell clients of https. The default is ingress-nginx's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hsts {
    /// For how many seconds it holds (`hsts-max-age`).
    pub max_age: u64,
    /// Whether it holds for all hosts below, too (`hsts-include-subdomains`).
    pub include_subdomains: bool,
    /// Whether browsers may know of it beforehand (`hsts-preload`).
    pub preload: bool,
}

// === impl Hsts ===

impl Hsts {
    /// Appends the field.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&self.value());
        out.extend_from_slice(b"\r\n");
    }

    /// The field's value.
    pub(super) fn value(self) -> SmallVec<[u8; 64]> {
        let mut out = SmallVec::new();
        out.extend_from_slice(b"max-age=");
        out.extend_from_slice(itoa::Buffer::new().format(self.max_age).as_bytes());
        if self.include_subdomains {
            out.extend_from_slice(b"; includeSubDomains");
        }
        if self.preload {
            out.extend_from_slice(b"; preload");
        }
        out
    }
}

impl Default for Hsts {
    fn default() -> Self {
        Self { max_age: 31_536_000, include_subdomains: true, preload: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_as_ingress_nginx_writes_it() {
        let written = |hsts: Hsts| {
            let mut out = Vec::new();
            hsts.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let default = Hsts::default();
        assert_eq!(written(default), "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n");
        assert_eq!(
            written(Hsts { max_age: 0, include_subdomains: false, preload: true }),
            "Strict-Transport-Security: max-age=0; preload\r\n"
        );
    }
}
