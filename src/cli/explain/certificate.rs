//! The certificates that a client would be shown, and why these.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::Imagined;
use crate::{
    key::{Hostname, ObjectKey, SecretKey},
    route::Scheme,
    tls::{Certificate, CertificateSet, Certificates, Date, Held, NameMatch, Validity},
    translate::{Chosen, ChosenBy, Translation},
};

/// A certificate that a client would be shown.
#[derive(Serialize)]
pub(super) struct ShownCertificate {
    /// None where it is the one that is made at start.
    #[serde(flatten)]
    from: Option<Source>,
    /// How the server name was found.
    found: NameMatch,
    server_name: String,
    /// Whether clients would refuse it by its dates.
    refused: Option<String>,
}

/// Where a certificate is from.
#[derive(Serialize)]
struct Source {
    secret: SecretKey,
    by: ChosenBy,
    /// The Ingress that names the Secret.
    ingress: Option<ObjectKey>,
    certificate: Arc<Certificate>,
}

/// The certificates for a request: more than one where it depends on which kind of key the client can verify. None where
/// it comes without TLS.
pub(super) fn shown(request: &Imagined, translation: &Translation, now: Date) -> Vec<ShownCertificate> {
    if request.scheme != Scheme::Https {
        return Vec::new();
    }
    let set = |chosen: &[Chosen]| {
        let good = chosen.iter().filter_map(|chosen| {
            Some(Held { secret: Some(chosen.secret.clone()), certificate: chosen.certificate.clone()? })
        });
        Arc::new(CertificateSet::of(good))
    };
    let mut certificates = Certificates::default();
    certificates.set_default(set(translation.default_certificate.as_slice()));
    for (host, output) in &translation.hosts {
        let set = set(&output.certificates);
        certificates.set(host.clone(), (!set.is_empty()).then_some(set));
    }

    let found = certificates.find(Some(&request.server_name));
    let shown = |from: Option<Source>| {
        let refused = from.as_ref().and_then(|from| match from.certificate.validity(now) {
            Validity::Valid => None,
            Validity::NotYet(date) => Some(format!("it is not valid before {date}")),
            Validity::Expired(date) => Some(format!("it has expired at {date}")),
        });
        ShownCertificate { from, found: found.by, server_name: request.server_name.clone(), refused }
    };
    if found.set.is_empty() {
        return vec![shown(None)];
    }
    let name = Hostname::parse(&request.server_name).ok();
    let wildcard = || Hostname::parse(&format!("*.{}", request.server_name.split_once('.')?.1)).ok();
    let host = if found.by == NameMatch::Exact { name } else { wildcard() };
    let output = host.filter(|_| found.by != NameMatch::Default).and_then(|host| translation.hosts.get(&host));
    let chosen = output.map_or(translation.default_certificate.as_slice(), |output| &output.certificates);
    let source = |held: &Held| {
        let chosen = chosen.iter().find(|chosen| Some(&chosen.secret) == held.secret.as_ref())?;
        Some(Source {
            secret: chosen.secret.clone(),
            by: chosen.by,
            ingress: chosen.ingress.clone(),
            certificate: held.certificate.clone(),
        })
    };
    found.set.held().iter().map(|held| shown(source(held))).collect()
}

// === impl ShownCertificate ===

impl fmt::Display for ShownCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.server_name;
        let Some(Source { secret, by, ingress, certificate }) = &self.from else {
            return match name.as_str() {
                "" => f.write_str("the one made at start: an address is no server name"),
                name => write!(f, "the one made at start: no Secret serves {name}"),
            };
        };
        write!(f, "{secret} ({}) for {}", certificate.kind(), certificate.names().join(", "))?;
        f.write_str(match (self.found, by) {
            (NameMatch::Default, _) => "; the default",
            (_, ChosenBy::Listed) => "; an entry lists the host",
            (_, ChosenBy::Covered) => "; no entry lists the host, and this is valid for it",
            (_, ChosenBy::OtherKey) => "; an entry lists the host, with another kind of key",
            (_, ChosenBy::Related | ChosenBy::Default) => "; it is that of the host that this is another name of",
        })?;
        if let Some(ingress) = ingress {
            write!(f, "; {ingress}")?;
        }
        match &self.refused {
            Some(refused) => write!(f, "; clients refuse it: {refused}"),
            None => write!(f, "; valid until {}", certificate.not_after()),
        }
    }
}
