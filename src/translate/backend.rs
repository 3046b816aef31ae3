//! From the backend of a path to a cluster.

use std::sync::Arc;

use crate::{
    api::{
        Ingress, IngressServiceBackend, IntOrString, Service, ServiceBackendPort, ServicePort, is_external, ports,
        tcp_ports,
    },
    key::{ClusterKey, Hostname, ObjectKey, PathType, PortRef, RouteId, Via},
    problem::{Level, Problem, Reason},
    route::{PathRule, Policy, Route, Side, Split},
    store::{Observed, Snapshot},
};

use super::{Options, Read, Role, Use, host::Pass};

/// A port of a Service that serves something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Backend {
    pub(super) cluster: ClusterKey,
    /// Whether the Service and its port are there. Where they are not, that has been told.
    known: bool,
    /// `<namespace>-<service>-<port>`, with the port as the Ingress writes it.
    pub(super) name: Arc<str>,
}

/// Which port of a Service an Ingress means.
enum Meant<'s> {
    /// This one.
    Port(&'s ServicePort),
    /// This one, by the port of its pods.
    Target(&'s ServicePort),
    /// Any number, since the Service stands for a name.
    Number(u16),
    /// None.
    Missing,
}

/// The cluster of the controller's own default backend (`--default-backend-service`): the first TCP port of the
/// Service.
///
/// None where there is no such Service, or it has no such port.
#[must_use]
pub fn default_backend(snapshot: &Snapshot, options: &Options) -> Option<ClusterKey> {
    let (namespace, name) = options.default_backend.as_ref()?;
    let service = snapshot.service(namespace, name)?;
    let port = number(first_port(service)?);
    Some(ClusterKey::new(namespace.clone(), name.clone(), PortRef::Number(port?)))
}

/// The problem of a default backend that is asked for and not there, on the Service that is asked for.
#[must_use]
pub fn default_backend_problem(snapshot: &Snapshot, options: &Options) -> Option<Problem> {
    let (namespace, name) = options.default_backend.as_ref()?;
    if default_backend(snapshot, options).is_some() {
        return None;
    }
    let (fault, mend) = match snapshot.service(namespace, name) {
        None => ("There is no such Service", "Create it, or name another with --default-backend-service"),
        Some(_) => ("It has no TCP port", "Give it a TCP port, or name another Service with --default-backend-service"),
    };
    Some(Problem {
        object: ObjectKey::service(namespace.clone(), name.clone()),
        field: "--default-backend-service".to_owned(),
        level: Level::Missing,
        reason: Reason::NotFound,
        fault: fault.to_owned(),
        effect: "Requests that no route takes are answered 404".to_owned(),
        mend: mend.to_owned(),
    })
}

/// The route of the default backend: it takes whatever no other route does.
#[must_use]
pub fn default_route(cluster: &ClusterKey) -> Route<ClusterKey, RouteId> {
    let id = RouteId {
        host: Hostname::any(),
        path: "/".into(),
        path_type: PathType::Prefix,
        ingress: cluster.service_key(),
    };
    Route {
        state: id.clone(),
        id,
        path: PathRule::Prefix("/".into()),
        split: Split::to(Side::new(cluster.clone(), "upstream-default-backend")),
        policy: Arc::new(Policy::default()),
        service: cluster.service.clone(),
    }
}

/// The Service and the port of a backend as ingress-nginx calls it.
fn side_name(namespace: &str, service: &str, port: &PortRef) -> Arc<str> {
    format!("{namespace}-{service}-{port}").into()
}

// === impl Pass ===

impl Pass<'_> {
    /// The cluster of a backend. Where the Service or its port is missing, the cluster has no endpoints and the object
    /// is told; none where no port is named.
    pub(super) fn backend(
        &mut self,
        object: &ObjectKey,
        field: &str,
        backend: &IngressServiceBackend,
        via: Via,
        role: Role,
    ) -> Option<Backend> {
        let namespace = object.namespace.clone();
        let service_key = ObjectKey::service(namespace.clone(), &*backend.name);
        let Some(written) = backend.port.as_ref().and_then(written_port) else {
            self.tell(Problem {
                object: object.clone(),
                field: format!("{field}.port"),
                level: Level::Error,
                reason: Reason::InvalidValue,
                fault: format!("It names no port of the Service `{}`", backend.name),
                effect: "The path is not served".to_owned(),
                mend: "Write `number` (1 to 65535) or `name`".to_owned(),
            });
            return None;
        };
        let name = side_name(&namespace, &backend.name, &written);
        let mut cluster = ClusterKey::new(namespace, &*backend.name, written.clone());
        let unanswered = role.effect_of_no_endpoints();
        let Some(service) = self.service(&service_key) else {
            self.tell(Problem {
                object: object.clone(),
                field: format!("{field}.name"),
                level: Level::Missing,
                reason: Reason::NotFound,
                fault: format!("There is no Service `{}/{}`", service_key.namespace, service_key.name),
                effect: unanswered.to_owned(),
                mend: "Create the Service, or correct the name".to_owned(),
            });
            return Some(Backend { cluster, known: false, name });
        };
        let mut known = true;
        match meant_port(&service, &written) {
            Meant::Port(port) => cluster.port = number(port).map_or(written, PortRef::Number),
            Meant::Number(port) => cluster.port = PortRef::Number(port),
            Meant::Target(port) => {
                self.tell(Problem {
                    object: object.clone(),
                    field: format!("{field}.port"),
                    level: Level::Warning,
                    reason: Reason::Differs,
                    fault: format!(
                        "The Service `{}` has no port {written}; {written} is the port of its pods",
                        backend.name
                    ),
                    effect: format!("Its port {} is used, as in ingress-nginx; other controllers refuse it", port.port),
                    mend: format!("Write `number: {}`", port.port),
                });
                cluster.port = number(port).map_or(written, PortRef::Number);
            }
            Meant::Missing => {
                known = false;
                self.tell(Problem {
                    object: object.clone(),
                    field: format!("{field}.port"),
                    level: Level::Error,
                    reason: Reason::NotFound,
                    fault: format!("The Service `{}` has no port `{written}`", backend.name),
                    effect: unanswered.to_owned(),
                    mend: match &*ports_of(&service) {
                        "" => "Give the Service a port, or write its number where it stands for a name".to_owned(),
                        ports => format!("Write one of its ports: {ports}"),
                    },
                });
            }
        }
        if via == Via::ClusterIp {
            self.use_cluster_ip(object, field, &service, &mut cluster);
        }
        Some(Backend { cluster, known, name })
    }

    /// The cluster of the first TCP port of a Service; none where it is not known.
    pub(super) fn first_backend(&mut self, object: &ObjectKey, field: &str, name: &str) -> Option<Backend> {
        let service_key = ObjectKey::service(object.namespace.clone(), name);
        let service = self.service(&service_key);
        let port = service.as_ref().and_then(|service| number(first_port(service)?));
        let Some(port) = port else {
            let (fault, mend) = match service {
                None => (
                    format!("There is no Service `{}/{name}`", service_key.namespace),
                    "Create the Service, or correct the name",
                ),
                Some(_) => (
                    format!("The Service `{}/{name}` has no TCP port", service_key.namespace),
                    "Give the Service a TCP port, or name another",
                ),
            };
            self.tell(Problem {
                object: object.clone(),
                field: field.to_owned(),
                level: Level::Missing,
                reason: Reason::NotFound,
                fault,
                effect: "Nothing stands in for a stable side without endpoints".to_owned(),
                mend: mend.to_owned(),
            });
            return None;
        };
        let port = PortRef::Number(port);
        let name_of_side = side_name(&object.namespace, name, &port);
        let cluster = ClusterKey::new(object.namespace.clone(), name, port);
        Some(Backend { cluster, known: true, name: name_of_side })
    }

    /// Takes note that a part of an Ingress wants a backend, for when that has no endpoint.
    pub(super) fn wants(&mut self, ingress: &ObjectKey, field: String, backend: &Backend, role: Role) {
        if backend.known && !self.quiet {
            self.uses.insert(Use { ingress: ingress.clone(), field, cluster: backend.cluster.clone(), role });
        }
    }

    fn service(&mut self, key: &ObjectKey) -> Option<Arc<Observed<Service>>> {
        self.reads.insert(Read::Object(key.clone()));
        self.snapshot.service(&key.namespace, &key.name).cloned()
    }

    /// Sends requests to the cluster IP, where there is one.
    fn use_cluster_ip(&mut self, object: &ObjectKey, field: &str, service: &Service, cluster: &mut ClusterKey) {
        if cluster_ip(service).is_some() {
            cluster.via = Via::ClusterIp;
            return;
        }
        self.tell(Problem {
            object: object.clone(),
            field: format!("{field}.name"),
            level: Level::Warning,
            reason: Reason::Unsupported,
            fault: format!("The Service `{}` has no cluster IP that `service-upstream` could use", cluster.service),
            effect: "Requests go straight to its endpoints".to_owned(),
            mend: "Remove `service-upstream`, or give the Service a cluster IP".to_owned(),
        });
    }
}

/// The cluster IP of a Service; headless ones have none.
pub(super) fn cluster_ip(service: &Service) -> Option<std::net::IpAddr> {
    service.spec.as_ref()?.cluster_ip.as_ref()?.parse().ok()
}

/// The port of a Service that a cluster is for.
pub(super) fn port_of<'s>(service: &'s Service, port: &PortRef) -> Option<&'s ServicePort> {
    tcp_ports(service).find(|other| match port {
        PortRef::Number(port) => number(other) == Some(*port),
        PortRef::Name(name) => other.name.as_deref() == Some(&**name),
    })
}

/// The number of a port of a Service, which an API server holds to the range.
pub(super) fn number(port: &ServicePort) -> Option<u16> {
    u16::try_from(port.port).ok().filter(|number| *number > 0)
}

fn first_port(service: &Service) -> Option<&ServicePort> {
    tcp_ports(service).next()
}

/// The backends of an Ingress that are Services.
pub(super) fn backends_of(ingress: &Ingress) -> impl Iterator<Item = &IngressServiceBackend> {
    let spec = ingress.spec.iter();
    let paths = spec.clone().flat_map(|spec| &spec.rules).flatten().flat_map(|rule| &rule.http);
    let paths = paths.flat_map(|http| &http.paths).map(|path| &path.backend);
    paths.chain(spec.flat_map(|spec| &spec.default_backend)).filter_map(|backend| backend.service.as_ref())
}

/// The port of a Service that a backend means, where the Service has it.
pub(super) fn written_service_port<'s>(
    service: &'s Service,
    backend: &IngressServiceBackend,
) -> Option<&'s ServicePort> {
    match meant_port(service, &backend.port.as_ref().and_then(written_port)?) {
        Meant::Port(port) | Meant::Target(port) => Some(port),
        Meant::Number(_) | Meant::Missing => None,
    }
}

fn written_port(port: &ServiceBackendPort) -> Option<PortRef> {
    match (port.number, port.name.as_deref()) {
        (None | Some(0), Some(name)) if !name.is_empty() => Some(PortRef::Name(name.into())),
        (Some(number), _) => u16::try_from(number).ok().filter(|number| *number > 0).map(PortRef::Number),
        (None, _) => None,
    }
}

/// Looks for a port by its number or name, then by the port of the pods, as ingress-nginx does.
fn meant_port<'s>(service: &'s Service, written: &PortRef) -> Meant<'s> {
    let ports = ports(service);
    let tcp = |port: &&ServicePort| port.protocol.as_deref().unwrap_or("TCP") == "TCP";
    let own = |port: &&ServicePort| match written {
        PortRef::Number(number) => port.port == i32::from(*number),
        PortRef::Name(name) => port.name.as_deref() == Some(name),
    };
    let targets = |port: &&ServicePort| match (written, &port.target_port) {
        (PortRef::Number(number), Some(IntOrString::Int(target))) => *target == i32::from(*number),
        (PortRef::Name(name), Some(IntOrString::String(target))) => **target == **name,
        _ => false,
    };
    if let Some(port) = ports.iter().filter(tcp).find(own) {
        return Meant::Port(port);
    }
    match written {
        PortRef::Number(number) if is_external(service) => Meant::Number(*number),
        _ => ports.iter().filter(tcp).find(targets).map_or(Meant::Missing, Meant::Target),
    }
}

/// The ports of a Service as a problem shows them.
fn ports_of(service: &Service) -> String {
    let ports = ports(service).iter().map(|port| match port.name.as_deref() {
        Some(name) if !name.is_empty() => format!("{} (`{name}`)", port.port),
        _ => port.port.to_string(),
    });
    ports.collect::<Vec<_>>().join(", ")
}
