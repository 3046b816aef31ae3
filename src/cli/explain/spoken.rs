//! How the endpoints of the chosen side are spoken to.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    http::Transport,
    key::{ClusterKey, RouteId},
    route::{BackendTls, Forward, Scheme},
    translate::Translation,
};

/// The protocol, who says so, and the terms of TLS.
#[derive(Serialize)]
pub(super) struct Spoken {
    protocol: Transport,
    because: &'static str,
    /// Where it is by TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<String>,
}

// === impl Spoken ===

impl Spoken {
    pub(super) fn new(client: Scheme, forward: &Forward<'_, ClusterKey, RouteId>, translation: &Translation) -> Self {
        let policy = &forward.route.policy;
        let cluster = translation.clusters.get(&forward.side.backend);
        let service = cluster.and_then(|output| output.endpoints.protocol());
        let protocol = policy.transport(service, client);
        let because = match (policy.backend_protocol, service) {
            (Some(_), _) => "as `backend-protocol` says",
            (None, Some(_)) => "as `appProtocol` of the Service says",
            (None, None) => "since nothing else is said",
        };
        Self { protocol, because, tls: protocol.tls.then(|| terms(&policy.backend_tls, translation)) }
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "protocol   {}, {}", self.protocol, self.because)?;
        if let Some(tls) = &self.tls {
            writeln!(out, "tls        {tls}")?;
        }
        Ok(())
    }
}

/// The terms of TLS in words.
fn terms(tls: &BackendTls, translation: &Translation) -> String {
    let BackendTls { secret, verify, name, server_name, versions, .. } = tls;
    let held = secret.as_ref().map(|key| (key, translation.credentials.get(key)));
    let credentials = match held {
        Some((key, output)) => match output.and_then(|output| output.credentials.as_ref()) {
            Some(credentials) => Some((key, credentials)),
            None => return format!("none: the Secret {key} cannot be used, so no connection is made"),
        },
        None => None,
    };
    let mut words = vec![match (verify, credentials) {
        (false, _) => "the certificate is not verified".to_owned(),
        (true, Some((key, credentials))) if credentials.has_authority() => {
            let whose = name.as_ref().map_or_else(|| "for any name".to_owned(), |name| format!("for {name}"));
            format!("the certificate must be {whose}, from an authority in the Secret {key}")
        }
        (true, _) => return "none: there is no authority to verify by, so no connection is made".to_owned(),
    }];
    if let Some(name) = name.as_ref().filter(|_| *server_name) {
        words.push(format!("{name} is asked for (SNI)"));
    }
    if credentials.is_some_and(|(_, credentials)| credentials.client().is_some()) {
        words.push("the gateway shows its own certificate".to_owned());
    }
    words.push(versions.to_string());
    words.join("; ")
}
