//! What is said of the way to the endpoints of a side, by its Ingress and by its Service.

use crate::{
    api::{Ingress, IngressServiceBackend, Secret},
    http::Transport,
    key::{ClusterKey, ObjectKey},
    problem::{Level, Problem, Reason},
    route::{BackendProtocol, BackendTls, Scheme, Side},
    store::Observed,
};

use super::{
    Read,
    app_protocol::{app_protocol, written},
    backend::{backends_of, written_service_port},
    credentials::LAST_GOOD,
    host::Pass,
    place::Placed,
    settings::Stable,
    spoken::{UNVERIFIED, VERIFY},
};

// === impl Pass ===

impl Pass<'_> {
    /// Tells of each side of the routes what its Ingress and its Service make of it together.
    pub(super) fn tell_sides(&mut self, placed: &[Placed<'_>]) {
        for placed in placed {
            let policy = &placed.route.policy;
            for side in placed.route.split.sides() {
                let ingress = &placed.claim.ingress.key;
                match policy.backend_protocol {
                    Some(protocol) => self.tell_contradiction(ingress, protocol, side),
                    None => self.tell_unverified_side(ingress, &policy.backend_tls, side),
                }
            }
        }
    }

    /// Tells where an Ingress and a Service say that the endpoints speak different things.
    fn tell_contradiction(&mut self, ingress: &ObjectKey, protocol: BackendProtocol, side: &Side<ClusterKey>) {
        let Some(port) = self.port_of(&side.backend) else { return };
        let (Some(said), Some(text)) = (app_protocol(port), written(port)) else { return };
        // `http` and `https` are of any version, and AUTO_HTTP is right for one of two clients.
        let agrees = |spoken: Transport| spoken.tls == said.tls && (spoken.http2 || !said.http2);
        if [Scheme::Http, Scheme::Https].into_iter().any(|client| agrees(protocol.transport(client))) {
            return;
        }
        let fault = format!(
            "It says `{}`, and the port {} of {} says `appProtocol: {text}`",
            protocol.as_str(),
            side.backend.port,
            side.backend.service_key()
        );
        self.tell(Problem {
            object: ingress.clone(),
            field: self.annotation("backend-protocol"),
            level: Level::Warning,
            reason: Reason::Conflict,
            fault,
            effect: "The annotation counts".to_owned(),
            mend: "Remove it, or correct the Service".to_owned(),
        });
    }

    /// Tells where a Service says that its endpoints speak TLS, and nobody verifies them.
    fn tell_unverified_side(&mut self, ingress: &ObjectKey, tls: &BackendTls, side: &Side<ClusterKey>) {
        let Some(port) = self.port_of(&side.backend).filter(|_| !tls.verify) else { return };
        let (Some(Transport { tls: true, .. }), Some(text)) = (app_protocol(port), written(port)) else { return };
        let fault = format!(
            "The port {} of {} says `appProtocol: {text}`, and the certificates of its endpoints are not verified",
            side.backend.port,
            side.backend.service_key()
        );
        self.tell(Problem {
            object: ingress.clone(),
            field: self.annotation("proxy-ssl-verify"),
            level: Level::Warning,
            reason: Reason::Unsafe,
            fault,
            effect: UNVERIFIED.to_owned(),
            mend: VERIFY.to_owned(),
        });
    }

    /// Tells what is wrong with the Secret that an Ingress names for TLS to its endpoints.
    pub(super) fn tell_secret(&mut self, ingress: &Observed<Ingress>, stable: &Stable) {
        let BackendTls { secret: Some(secret), verify, .. } = &stable.policy.backend_tls else { return };
        self.reads.insert(Read::Object(secret.object()));
        let problem = match self.snapshot.secret(&secret.namespace, &secret.name) {
            None => Problem {
                object: ingress.key.clone(),
                field: self.annotation("proxy-ssl-secret"),
                level: Level::Missing,
                reason: Reason::NotFound,
                fault: format!("There is no Secret `{secret}`"),
                effect: LAST_GOOD.to_owned(),
                mend: "Create the Secret, or correct the name".to_owned(),
            },
            Some(found) if *verify && !has_authority(found) => Problem {
                object: ingress.key.clone(),
                field: self.annotation("proxy-ssl-verify"),
                level: Level::Error,
                reason: Reason::NotFound,
                fault: format!("The Secret `{secret}` has no authority (`ca.crt`) to verify endpoints by"),
                effect: "Nothing is sent to endpoints that cannot be verified: requests are answered 502".to_owned(),
                mend: "Write the authority of the endpoints' certificates to `ca.crt` of the Secret, as PEM".to_owned(),
            },
            Some(_) => return,
        };
        self.tell(problem);
    }

    /// Tells of a Secret for TLS to endpoints that are not spoken to by TLS: most likely somebody forgot to say so.
    pub(super) fn tell_idle_secret(&mut self, ingress: &Observed<Ingress>, stable: &Stable) {
        let policy = &stable.policy;
        if policy.backend_tls.secret.is_none() || stable.closed {
            return;
        }
        let by_tls = match policy.backend_protocol {
            Some(protocol) => protocol.transport(Scheme::Https).tls,
            None => backends_of(ingress).any(|backend| self.says_tls(&ingress.key, backend)),
        };
        if by_tls {
            return;
        }
        self.tell(Problem {
            object: ingress.key.clone(),
            field: self.annotation("proxy-ssl-secret"),
            level: Level::Warning,
            reason: Reason::Unsupported,
            fault: "The endpoints are not spoken to by TLS".to_owned(),
            effect: "It is ignored".to_owned(),
            mend: "Write `backend-protocol: HTTPS` or `GRPCS`, or `appProtocol` at the port of the Service".to_owned(),
        });
    }

    /// Whether a Service says that the endpoints of a backend speak TLS.
    fn says_tls(&mut self, ingress: &ObjectKey, backend: &IngressServiceBackend) -> bool {
        let service = ObjectKey::service(ingress.namespace.clone(), &*backend.name);
        self.reads.insert(Read::Object(service));
        let service = self.snapshot.service(&ingress.namespace, &backend.name);
        let port = service.and_then(|service| written_service_port(service, backend));
        port.and_then(app_protocol).is_some_and(|said| said.tls)
    }
}

/// Whether there is anything in a Secret that could be authorities.
fn has_authority(secret: &Secret) -> bool {
    let authorities = secret.data.as_ref().and_then(|data| data.get("ca.crt"));
    authorities.is_some_and(|authorities| !authorities.0.trim_ascii().is_empty())
}
