//! What is said of the way to the endpoints of a side, by its Ingress and by its Service.

use crate::{
    api::{Ingress, IngressServiceBackend},
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
        let key = &ingress.key;
        self.reads.insert(Read::Object(secret.object()));
        let problem = |field, level, reason, fault, effect: &str, mend: &str| Problem {
            object: key.clone(),
            field,
            level,
            reason,
            fault,
            effect: effect.to_owned(),
            mend: mend.to_owned(),
        };
        match self.snapshot.secret(&secret.namespace, &secret.name) {
            None => self.tell(problem(
                self.annotation("proxy-ssl-secret"),
                Level::Missing,
                Reason::NotFound,
                format!("There is no Secret `{secret}`"),
                LAST_GOOD,
                "Create the Secret, or correct the name",
            )),
            Some(found) if *verify => {
                let authorities = found.data.as_ref().and_then(|data| data.get("ca.crt"));
                if authorities.is_none_or(|authorities| authorities.0.trim_ascii().is_empty()) {
                    self.tell(problem(
                        self.annotation("proxy-ssl-verify"),
                        Level::Error,
                        Reason::NotFound,
                        format!("The Secret `{secret}` has no authority (`ca.crt`) to verify endpoints by"),
                        "Nothing is sent to endpoints that cannot be verified: requests are answered 502",
                        "Write the authority of the endpoints' certificates to `ca.crt` of the Secret, as PEM",
                    ));
                }
            }
            Some(_) => {}
        }
        let spoken = stable.policy.backend_protocol;
        let by_tls = match spoken {
            Some(protocol) => protocol.transport(Scheme::Https).tls,
            None => backends_of(ingress).any(|backend| self.says_tls(key, backend)),
        };
        if !by_tls && !stable.closed {
            self.tell(problem(
                self.annotation("proxy-ssl-secret"),
                Level::Warning,
                Reason::Unsupported,
                "The endpoints are not spoken to by TLS".to_owned(),
                "It is ignored",
                "Write `backend-protocol: HTTPS` or `GRPCS`, or `appProtocol` at the port of the Service",
            ));
        }
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
