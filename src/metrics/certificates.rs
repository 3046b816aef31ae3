//! The certificates that serve: until when each is valid, and what it is. ingress-nginx's names and labels.

use prometheus::{IntGaugeVec, Registry};

use super::meters::gauge_vec;

/// The series of certificates.
#[derive(Clone, Debug)]
pub struct CertificateGauges {
    class: String,
    expires: IntGaugeVec,
    info: IntGaugeVec,
}

/// The labels of a certificate that serves a host. They come from objects, and there is one set for each host and kind of
/// key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateLabels {
    pub namespace: String,
    pub host: String,
    pub secret_name: String,
    pub issuer_organization: String,
    pub issuer_common_name: String,
    pub serial_number: String,
    pub public_key_algorithm: &'static str,
}

// === impl CertificateGauges ===

impl CertificateGauges {
    pub(super) fn new(registry: &Registry, class: &str) -> Self {
        Self {
            class: class.to_owned(),
            expires: gauge_vec(
                registry,
                "nginx_ingress_controller_ssl_expire_time_seconds",
                "Until when certificates are valid, in seconds since 1970",
                &["namespace", "class", "host", "secret_name", "identifier"],
            ),
            info: gauge_vec(
                registry,
                "nginx_ingress_controller_ssl_certificate_info",
                "Always 1; its labels tell what certificates are",
                &[
                    "namespace",
                    "class",
                    "host",
                    "secret_name",
                    "identifier",
                    "issuer_organization",
                    "issuer_common_name",
                    "serial_number",
                    "public_key_algorithm",
                ],
            ),
        }
    }

    /// Shows the certificates of a host in the place of the former ones.
    pub fn replace(&self, former: &[CertificateLabels], now: &[(CertificateLabels, i64)]) {
        for (labels, expires) in now {
            let identifier = labels.identifier();
            self.expires.with_label_values(&self.of_time(labels, &identifier)).set(*expires);
            self.info.with_label_values(&self.of_info(labels, &identifier)).set(1);
        }
        for gone in former.iter().filter(|former| now.iter().all(|(labels, _)| labels != *former)) {
            let identifier = gone.identifier();
            // Whatever is not there needs not be removed.
            let _ = self.expires.remove_label_values(&self.of_time(gone, &identifier));
            let _ = self.info.remove_label_values(&self.of_info(gone, &identifier));
        }
    }

    fn of_time<'a>(&'a self, labels: &'a CertificateLabels, identifier: &'a str) -> [&'a str; 5] {
        [&labels.namespace, &self.class, &labels.host, &labels.secret_name, identifier]
    }

    fn of_info<'a>(&'a self, labels: &'a CertificateLabels, identifier: &'a str) -> [&'a str; 9] {
        let [namespace, class, host, secret_name, identifier] = self.of_time(labels, identifier);
        [
            namespace,
            class,
            host,
            secret_name,
            identifier,
            &labels.issuer_organization,
            &labels.issuer_common_name,
            &labels.serial_number,
            labels.public_key_algorithm,
        ]
    }
}

// === impl CertificateLabels ===

impl CertificateLabels {
    /// As ingress-nginx makes it: the serial number that the name of the issuer has, which is hardly ever there, a hyphen,
    /// and the certificate's.
    fn identifier(&self) -> String {
        format!("-{}", self.serial_number)
    }
}
