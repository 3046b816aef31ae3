//! Where the requests for one port of a Service go.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use crate::{
    api::{EndpointSlice, IntOrString, Service, ServicePort, is_external, ports, tcp_ports},
    key::{ClusterKey, ObjectKey, PortRef, Via},
    problem::{Level, Problem, Reason},
    store::{Observed, Snapshot},
    upstream::{EndpointSpec, Endpoints, resolve::is_refused},
};

use super::{
    ClusterOutput, Options, Read,
    app_protocol::{app_protocol, app_protocol_problem},
    backend::{cluster_ip, number, port_of},
};

/// How long a client comes back where the Service does not say.
const CLIENT_IP_TIMEOUT: Duration = Duration::from_secs(10_800);

/// What a Service may say of it, in seconds, by the Kubernetes API reference.
const CLIENT_IP_TIMEOUTS: RangeInclusive<i32> = 1..=86_400;

/// What the slices of a Service have for a port.
#[derive(Default)]
struct Sliced {
    ready: Vec<SocketAddr>,
    /// Those that end but still serve.
    ending: Vec<SocketAddr>,
    /// How many endpoints there are that are neither.
    unready: usize,
    slices: usize,
    /// How many slices have the port.
    with_port: usize,
}

/// Translates one cluster. What a Service lacks is told on the Service.
#[must_use]
pub fn translate_cluster(snapshot: &Snapshot, options: &Options, key: &ClusterKey) -> ClusterOutput {
    let service_key = key.service_key();
    let mut problems = BTreeSet::new();
    // Whoever names a Service that is not there is told so; here there is no object to tell.
    let (endpoints, lack) = match snapshot.service(&key.namespace, &key.service) {
        Some(service) => {
            let port = port_of(service, &key.port);
            problems.extend(port.and_then(|port| app_protocol_problem(service, port)));
            let (endpoints, lack) = endpoints(snapshot, options, key, service, port, &mut problems);
            (endpoints.with_protocol(port.and_then(app_protocol)), lack)
        }
        None => (Endpoints::default(), None),
    };
    ClusterOutput {
        key: key.clone(),
        endpoints,
        lack,
        problems: problems.into_iter().collect(),
        reads: [Read::Object(service_key)].into(),
    }
}

/// The endpoints of a port, and why there is none.
fn endpoints(
    snapshot: &Snapshot,
    options: &Options,
    key: &ClusterKey,
    service: &Observed<Service>,
    port: Option<&ServicePort>,
    problems: &mut BTreeSet<Problem>,
) -> (Endpoints, Option<Problem>) {
    let affinity = client_ip_timeout(service, problems);
    let with_affinity = |endpoints: Endpoints| match affinity {
        Some(timeout) => endpoints.with_client_ip_affinity(timeout),
        None => endpoints,
    };
    if is_external(service) {
        return (with_affinity(external(options, key, service, port, problems)), None);
    }
    // A port that is not there has been told with the Ingress that names it.
    let Some(port) = port else { return (Endpoints::default(), None) };
    if let (Via::ClusterIp, Some(address), Some(number)) = (key.via, cluster_ip(service), number(port)) {
        return (Endpoints::of([EndpointSpec::new(SocketAddr::new(address, number))]), None);
    }

    let mut sliced = Sliced::default();
    for slice in snapshot.slices_of(&key.namespace, &key.service) {
        sliced.add(slice, service, port, problems);
    }
    let used = if sliced.ready.is_empty() { &sliced.ending } else { &sliced.ready };
    let lack = used.is_empty().then(|| sliced.problem(&service.key, service, port));
    (with_affinity(Endpoints::of(used.iter().copied().map(EndpointSpec::new))), lack)
}

/// The timeout of `sessionAffinity: ClientIP`.
fn client_ip_timeout(service: &Observed<Service>, problems: &mut BTreeSet<Problem>) -> Option<Duration> {
    let spec = service.spec.as_ref()?;
    let mut tell = |field: &str, fault: String, effect: String, mend: String| {
        problems.insert(Problem {
            object: service.key.clone(),
            field: field.to_owned(),
            level: Level::Error,
            reason: Reason::InvalidValue,
            fault,
            effect,
            mend,
        });
    };
    match spec.session_affinity.as_deref() {
        Some("ClientIP") => {}
        None | Some("" | "None") => return None,
        Some(other) => {
            tell(
                "spec.sessionAffinity",
                format!("`{other}` is no affinity"),
                "Clients are not tied to endpoints".to_owned(),
                "Write `ClientIP` or `None`".to_owned(),
            );
            return None;
        }
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let Some(seconds) = config.and_then(|config| config.timeout_seconds) else { return Some(CLIENT_IP_TIMEOUT) };
    if let Ok(valid) = u64::try_from(seconds)
        && CLIENT_IP_TIMEOUTS.contains(&seconds)
    {
        return Some(Duration::from_secs(valid));
    }
    tell(
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        format!("`{seconds}` is no time that a client may be tied for"),
        format!("The default applies: `{}`", CLIENT_IP_TIMEOUT.as_secs()),
        format!("Write {} to {}", CLIENT_IP_TIMEOUTS.start(), CLIENT_IP_TIMEOUTS.end()),
    );
    Some(CLIENT_IP_TIMEOUT)
}

/// The endpoints of a Service that stands for a name.
fn external(
    options: &Options,
    key: &ClusterKey,
    service: &Observed<Service>,
    port: Option<&ServicePort>,
    problems: &mut BTreeSet<Problem>,
) -> Endpoints {
    let name = service.spec.as_ref().and_then(|spec| spec.external_name.as_deref()).unwrap_or_default();
    let name = name.trim();
    let mut refuse = |reason, fault: String, mend: &str| {
        problems.insert(Problem {
            object: service.key.clone(),
            field: "spec.externalName".to_owned(),
            level: Level::Error,
            reason,
            fault,
            effect: "It has no endpoints".to_owned(),
            mend: mend.to_owned(),
        });
        Endpoints::default()
    };
    // A port of the Service may lead to another; without one, the number that the Ingress writes is it.
    let target = port.and_then(|port| match &port.target_port {
        Some(IntOrString::Int(target)) if *target != 0 => u16::try_from(*target).ok(),
        _ => number(port),
    });
    let target = match (target, &key.port) {
        (Some(target), _) => target,
        (None, PortRef::Number(number)) => *number,
        (None, PortRef::Name(_)) => return Endpoints::default(),
    };
    if !options.external_names {
        return refuse(
            Reason::Refused,
            "Services of type ExternalName are not served here".to_owned(),
            "Start without `--disable-svc-external-name`, or use a Service with endpoints",
        );
    }
    if name.is_empty() {
        return refuse(Reason::InvalidValue, "It names nothing".to_owned(), "Write a DNS name");
    }
    let address = name.parse::<IpAddr>().ok();
    let local = address.is_some_and(is_refused) || is_localhost(name);
    if local && !options.local_external_names {
        return refuse(
            Reason::Unsafe,
            format!("`{name}` is this machine or its link, which no object may make the gateway call"),
            "Name something else, or start with `--allow-local-external-names`",
        );
    }
    match address {
        Some(address) => Endpoints::of([EndpointSpec::new(SocketAddr::new(address, target))]),
        None => Endpoints::named(name, target),
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

// === impl Sliced ===

impl Sliced {
    fn add(
        &mut self,
        slice: &Observed<EndpointSlice>,
        service: &Service,
        port: &ServicePort,
        problems: &mut BTreeSet<Problem>,
    ) {
        self.slices += 1;
        if slice.address_type == "FQDN" {
            problems.insert(Problem {
                object: slice.key.clone(),
                field: "addressType".to_owned(),
                level: Level::Error,
                reason: Reason::Unsupported,
                fault: "Its endpoints are names, not addresses".to_owned(),
                effect: "They are not used".to_owned(),
                mend: "Use a Service of type ExternalName for a name".to_owned(),
            });
            return;
        }
        let number = match port_in(slice, service, port) {
            Ok(Some(number)) => number,
            Ok(None) => return,
            Err((index, number)) => {
                self.with_port += 1;
                problems.insert(Problem {
                    object: slice.key.clone(),
                    field: format!("ports[{index}].port"),
                    level: Level::Error,
                    reason: Reason::InvalidValue,
                    fault: format!("`{number}` is no port"),
                    effect: "The endpoints of the slice are not used for it".to_owned(),
                    mend: "Write a number from 1 to 65535".to_owned(),
                });
                return;
            }
        };
        self.with_port += 1;
        for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
            let conditions = endpoint.conditions.as_ref();
            let condition = |value: fn(&crate::api::EndpointConditions) -> Option<bool>| conditions.and_then(value);
            let ready = condition(|conditions| conditions.ready).unwrap_or(true);
            // What serves is what is ready, where the slice does not say.
            let serving = condition(|conditions| conditions.serving).unwrap_or(ready);
            let ending = condition(|conditions| conditions.terminating).unwrap_or(false);
            let into = if ready {
                &mut self.ready
            } else if serving && ending {
                &mut self.ending
            } else {
                self.unready += 1;
                continue;
            };
            // The addresses of one endpoint are the same pod; the first is enough.
            let Some(address) = endpoint.addresses.first() else { continue };
            match address.parse::<IpAddr>() {
                Ok(address) => into.push(SocketAddr::new(address, number)),
                Err(_) => {
                    problems.insert(Problem {
                        object: slice.key.clone(),
                        field: format!("endpoints[{index}].addresses[0]"),
                        level: Level::Error,
                        reason: Reason::InvalidValue,
                        fault: format!("`{address}` is no address"),
                        effect: "The endpoint is not used".to_owned(),
                        mend: "Write an IPv4 or IPv6 address".to_owned(),
                    });
                }
            }
        }
    }

    /// Why there is no endpoint.
    fn problem(&self, key: &ObjectKey, service: &Service, port: &ServicePort) -> Problem {
        let shown = shown_port(port);
        let (field, level, reason, fault, mend) = if self.slices == 0 {
            (
                "metadata.name",
                Level::Missing,
                Reason::NoEndpoints,
                "No EndpointSlice belongs to the Service".to_owned(),
                format!("Where nothing makes one, write it:\n{}", slice_for(key, service)),
            )
        } else if self.with_port == 0 {
            (
                "spec.ports",
                Level::Error,
                Reason::NotFound,
                format!("No EndpointSlice of the Service has the port {shown}"),
                "Give the port the same name in Service and EndpointSlice".to_owned(),
            )
        } else {
            (
                "metadata.name",
                Level::Warning,
                Reason::NoEndpoints,
                if self.unready == 0 {
                    format!("Its EndpointSlices have no endpoint for the port {shown}")
                } else {
                    format!("No endpoint for the port {shown} is ready, of {}", self.unready)
                },
                "See why its pods are not there or not ready".to_owned(),
            )
        };
        Problem {
            object: key.clone(),
            field: field.to_owned(),
            level,
            reason,
            fault,
            effect: "Requests for it are answered 503, or go to what stands in for it".to_owned(),
            mend,
        }
    }
}

/// The number that a slice has for a port of its Service: they share the name of the port.
///
/// Fails where it is no port, with its place among those of the slice.
fn port_in(slice: &EndpointSlice, service: &Service, port: &ServicePort) -> Result<Option<u16>, (usize, i32)> {
    let name = name_of(port);
    let all = slice.ports.as_deref().unwrap_or_default();
    let tcp = || all.iter().enumerate().filter(|(_, other)| other.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let named = tcp().find(|(_, other)| other.name.as_deref().unwrap_or_default() == name);
    // The name may be left out of a Service with one port.
    let only = || tcp().next().filter(|_| name.is_empty() && ports(service).len() == 1);
    match named.or_else(only) {
        Some((index, found)) => match found.port {
            Some(number) => match u16::try_from(number) {
                Ok(valid) if valid > 0 => Ok(Some(valid)),
                _ => Err((index, number)),
            },
            None => Ok(target_number(port)),
        },
        // A slice without ports is for all ports.
        None if all.is_empty() => Ok(target_number(port)),
        None => Ok(None),
    }
}

/// The number that a port of a Service has in its pods, where it is written as one.
fn target_number(port: &ServicePort) -> Option<u16> {
    match &port.target_port {
        Some(IntOrString::Int(target)) if *target != 0 => u16::try_from(*target).ok(),
        Some(IntOrString::String(_)) => None,
        _ => number(port),
    }
}

fn name_of(port: &ServicePort) -> &str {
    port.name.as_deref().unwrap_or_default()
}

fn shown_port(port: &ServicePort) -> String {
    match name_of(port) {
        "" => port.port.to_string(),
        name => format!("{} (`{name}`)", port.port),
    }
}

/// An EndpointSlice for a Service, to be completed with addresses.
fn slice_for(key: &ObjectKey, service: &Service) -> String {
    let mut slice = format!(
        "apiVersion: discovery.k8s.io/v1\n\
         kind: EndpointSlice\n\
         metadata:\n  namespace: {namespace}\n  name: {name}\n  labels:\n    kubernetes.io/service-name: {service}\n\
         addressType: IPv4\n\
         ports:\n",
        namespace = scalar(&key.namespace),
        name = scalar(&format!("{}-1", key.name)),
        service = scalar(&key.name),
    );
    for port in tcp_ports(service) {
        let number = target_number(port).or_else(|| number(port)).unwrap_or(80);
        slice += &match name_of(port) {
            "" => format!("  - port: {number}\n"),
            name => format!("  - name: {}\n    port: {number}\n", scalar(name)),
        };
    }
    slice + "endpoints:\n  - addresses: [127.0.0.1]"
}

/// A name as YAML reads it as a text, also where it looks like a number (`2024`, `1e3`) or a truth (`true`, `no`).
fn scalar(name: &str) -> String {
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let means_more = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"].contains(&name);
    if is_word && !means_more { name.to_owned() } else { format!("\"{name}\"") }
}
