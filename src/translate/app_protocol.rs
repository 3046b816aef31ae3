//! What the port of a Service says that its endpoints speak (`appProtocol`).
//!
//! Names without a prefix are those of IANA's registry, where `http` and `https` are; those with `kubernetes.io/` are
//! defined with the field (KEP-3726). `grpc` is in neither, but many write it and all mean the same by it. What is known
//! by other names is not guessed: `HTTP2`, say, is by TLS in one implementation and without in another.

use crate::{
    api::{Service, ServicePort, ports},
    http::Transport,
    key::ClusterKey,
    problem::{Level, Problem, Reason},
    store::Observed,
};

use super::{backend::port_of, host::Pass};

/// What is written to `appProtocol`, where anything is.
pub(super) fn written(port: &ServicePort) -> Option<&str> {
    port.app_protocol.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

/// What a port says that its endpoints speak, where that is known.
pub(super) fn app_protocol(port: &ServicePort) -> Option<Transport> {
    let text = written(port)?;
    let named = |name: &str| text.eq_ignore_ascii_case(name);
    if named("http") || text == "kubernetes.io/ws" {
        Some(Transport::HTTP)
    } else if named("https") || text == "kubernetes.io/wss" {
        Some(Transport::HTTPS)
    } else if named("grpc") || text == "kubernetes.io/h2c" {
        Some(Transport::H2C)
    } else {
        None
    }
}

/// The problem of a port that says what is not known here.
pub(super) fn app_protocol_problem(service: &Observed<Service>, port: &ServicePort) -> Option<Problem> {
    let text = written(port).filter(|_| app_protocol(port).is_none())?;
    let index = ports(service).iter().position(|other| std::ptr::eq(other, port))?;
    Some(Problem {
        object: service.key.clone(),
        field: format!("spec.ports[{index}].appProtocol"),
        level: Level::Warning,
        reason: Reason::Unsupported,
        fault: format!("`{text}` is no protocol that is known here"),
        effect: "It is ignored: endpoints are spoken to as the Ingress says, by HTTP/1.1 where it says nothing"
            .to_owned(),
        mend: "Write `http`, `https`, `grpc`, `kubernetes.io/h2c`, `kubernetes.io/ws` or `kubernetes.io/wss`, \
               or `backend-protocol` on the Ingress"
            .to_owned(),
    })
}

// === impl Pass ===

impl Pass<'_> {
    /// The port of a cluster, and the Service that it is of. The Service has been read before.
    pub(super) fn port_of(&self, cluster: &ClusterKey) -> Option<&ServicePort> {
        port_of(self.snapshot.service(&cluster.namespace, &cluster.service)?, &cluster.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_iana_and_of_kubernetes() {
        for (text, transport) in [
            ("http", Some(Transport::HTTP)),
            ("HTTP", Some(Transport::HTTP)),
            ("https", Some(Transport::HTTPS)),
            ("grpc", Some(Transport::H2C)),
            ("kubernetes.io/h2c", Some(Transport::H2C)),
            ("kubernetes.io/ws", Some(Transport::HTTP)),
            ("kubernetes.io/wss", Some(Transport::HTTPS)),
            ("kubernetes.io/H2C", None),
            ("http2", None),
            ("example.com/h2c", None),
            ("", None),
        ] {
            let port = ServicePort { app_protocol: Some(text.to_owned()), ..ServicePort::default() };
            assert_eq!(app_protocol(&port), transport, "{text}");
        }
    }
}
