//! How the endpoints of an Ingress are spoken to.

use crate::{
    http::Transport,
    key::{ClusterKey, ObjectKey},
    problem::{Level, Problem, Reason},
    route::{BackendProtocol, Scheme, Side},
};

use super::{
    annotations::{self as known, Reader, WrittenProtocol},
    app_protocol::{app_protocol, written},
    host::Pass,
    place::Placed,
};

/// What an Ingress says of the way to its endpoints.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    pub(super) protocol: Option<BackendProtocol>,
    /// Whether its endpoints cannot be spoken to as it wants.
    pub(super) closed: bool,
}

// === impl Spoken ===

impl Spoken {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut spoken = Self::default();
        match reader.get(&known::BACKEND_PROTOCOL) {
            Some(WrittenProtocol::Spoken(protocol)) => spoken.protocol = Some(protocol),
            Some(WrittenProtocol::Fcgi) => {
                spoken.closed = true;
                if let Some(found) = reader.set(&known::BACKEND_PROTOCOL.annotation) {
                    reader.tell(
                        found,
                        Level::Error,
                        Reason::Refused,
                        "`FCGI` is refused: Serin does not speak FastCGI",
                        "The paths of the Ingress are closed: they answer 503",
                        "Put an HTTP server in the pod, before the application, and remove it",
                    );
                }
            }
            None => {}
        }
        spoken
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// Tells where an Ingress and a Service of its sides say that the endpoints speak different things.
    pub(super) fn tell_contradictions(&mut self, placed: &[Placed<'_>]) {
        for placed in placed {
            let Some(protocol) = placed.route.policy.backend_protocol else { continue };
            for side in placed.route.split.sides() {
                self.tell_contradiction(&placed.claim.ingress.key, protocol, side);
            }
        }
    }

    fn tell_contradiction(&mut self, ingress: &ObjectKey, protocol: BackendProtocol, side: &Side<ClusterKey>) {
        let Some(port) = self.port_of(&side.backend) else { return };
        let (Some(said), Some(text)) = (app_protocol(port), written(port)) else { return };
        // `http` and `https` are of any version, and AUTO_HTTP is right for one of two clients.
        let agrees = |spoken: Transport| spoken.tls == said.tls && (spoken.http2 || !said.http2);
        if [Scheme::Http, Scheme::Https].into_iter().any(|client| agrees(protocol.transport(client))) {
            return;
        }
        let (written, service, port) = (protocol.as_str(), side.backend.service_key(), &side.backend.port);
        let problem = Problem {
            object: ingress.clone(),
            field: format!("metadata.annotations[{}/backend-protocol]", self.options.annotation_prefix),
            level: Level::Warning,
            reason: Reason::Conflict,
            fault: format!("It says `{written}`, and the port {port} of {service} says `appProtocol: {text}`"),
            effect: "The annotation counts".to_owned(),
            mend: "Remove it, or correct the Service".to_owned(),
        };
        self.tell(problem);
    }
}
