//! Endpoints from the command line: `--endpoint shop/web:80=127.0.0.1:8080`.
//!
//! For a quick try, where the manifests hold a Service but, as usual, no EndpointSlice. The flags become slices like any
//! other, so that nothing behind the source knows of them.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use crate::{
    api::{
        Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Object, ObjectMeta, SERVICE_NAME, Service,
        ServicePort, is_external, tcp_ports,
    },
    key::{ObjectKey, PortRef},
    problem::{Level, Problem, Reason},
    store::Age,
};

/// An endpoint of a port of a Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointFlag {
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub port: PortRef,
    pub address: SocketAddr,
}

/// What is wrong with the text of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidEndpointFlag {
    #[error("`{0}` has no `=`; write NAMESPACE/SERVICE:PORT=ADDRESS:PORT, as in shop/web:80=127.0.0.1:8080")]
    Form(String),
    #[error("`{0}` is no NAMESPACE/SERVICE:PORT, as in shop/web:80 or shop/web:http")]
    Port(String),
    #[error("`{0}` is no ADDRESS:PORT, as in 127.0.0.1:8080 or [::1]:8080")]
    Address(String),
}

/// Makes the slices that the flags stand for.
///
/// A slice names the port of its Service, so `service` finds the Service of a namespace and name. A flag for a Service or
/// a port that is not there, or for a Service that has no use for slices, is a problem and has no effect.
pub fn slices<'s>(
    flags: &[EndpointFlag],
    service: impl Fn(&str, &str) -> Option<&'s Service>,
) -> (Vec<(Object, Age)>, Vec<Problem>) {
    let mut slices = Vec::new();
    let mut problems = Vec::new();
    for (position, flag) in (0..).zip(flags) {
        let service = service(&flag.namespace, &flag.service);
        match service.and_then(|service| flag.port_of(service)) {
            Some(port) => {
                let slice = flag.slice(position, port);
                slices.push((slice.into(), Age::listed("--endpoint", position)));
            }
            None => problems.push(flag.problem(service)),
        }
    }
    (slices, problems)
}

// === impl EndpointFlag ===

impl EndpointFlag {
    /// The port of the Service that is meant, where endpoints of it are of use.
    fn port_of<'s>(&self, service: &'s Service) -> Option<&'s ServicePort> {
        tcp_ports(service).filter(|_| !is_external(service)).find(|port| match &self.port {
            PortRef::Number(number) => port.port == i32::from(*number),
            PortRef::Name(name) => port.name.as_deref() == Some(&**name),
        })
    }

    fn slice(&self, position: u32, port: &ServicePort) -> EndpointSlice {
        let family = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let conditions = EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) };
        EndpointSlice {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.to_string()),
                name: Some(format!("{}-endpoint-flag-{position}", self.service)),
                labels: Some([(SERVICE_NAME.to_owned(), self.service.to_string())].into()),
                ..ObjectMeta::default()
            },
            address_type: family.to_owned(),
            endpoints: Some(vec![Endpoint {
                addresses: vec![self.address.ip().to_string()],
                conditions: Some(conditions),
                ..Endpoint::default()
            }]),
            ports: Some(vec![EndpointPort {
                app_protocol: port.app_protocol.clone(),
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(self.address.port().into()),
                protocol: Some("TCP".to_owned()),
            }]),
        }
    }

    fn problem(&self, service: Option<&Service>) -> Problem {
        let object = ObjectKey::service(self.namespace.clone(), self.service.clone());
        let (field, reason, fault, mend) = match service {
            None => (
                "metadata.name",
                Reason::NotFound,
                format!("there is no such Service for `--endpoint {self}`"),
                "Add the Service to the manifests, or correct the flag".to_owned(),
            ),
            Some(service) if is_external(service) => (
                "spec.type",
                Reason::Unsupported,
                format!("the Service stands for a name, and takes no endpoint from `--endpoint {self}`"),
                "Leave out the flag, or the type ExternalName".to_owned(),
            ),
            Some(service) => {
                let ports = tcp_ports(service).map(|port| match &port.name {
                    Some(name) => format!("{} ({name})", port.port),
                    None => port.port.to_string(),
                });
                let ports = ports.collect::<Vec<_>>().join(", ");
                (
                    "spec.ports",
                    Reason::NotFound,
                    format!("the Service has no TCP port {} for `--endpoint {self}`", self.port),
                    format!("Write one of its TCP ports: {ports}"),
                )
            }
        };
        Problem {
            object,
            field: field.to_owned(),
            level: Level::Error,
            reason,
            fault,
            effect: "the flag has no effect".to_owned(),
            mend,
        }
    }
}

impl FromStr for EndpointFlag {
    type Err = InvalidEndpointFlag;

    fn from_str(text: &str) -> Result<Self, InvalidEndpointFlag> {
        let (of, address) = text.split_once('=').ok_or_else(|| InvalidEndpointFlag::Form(text.to_owned()))?;
        let address = address.parse().map_err(|_| InvalidEndpointFlag::Address(address.to_owned()))?;
        let invalid = || InvalidEndpointFlag::Port(of.to_owned());
        let (namespace, rest) = of.split_once('/').ok_or_else(invalid)?;
        let (service, port) = rest.split_once(':').ok_or_else(invalid)?;
        let is_label = |text: &str| {
            (1..=63).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if !is_label(namespace) || !is_label(service) || !is_label(port) {
            return Err(invalid());
        }
        let port = if port.bytes().all(|b| b.is_ascii_digit()) {
            match port.parse() {
                Ok(0) | Err(_) => return Err(invalid()),
                Ok(number) => PortRef::Number(number),
            }
        } else {
            PortRef::Name(port.into())
        };
        Ok(Self { namespace: namespace.into(), service: service.into(), port, address })
    }
}

impl fmt::Display for EndpointFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}={}", self.namespace, self.service, self.port, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ServiceSpec, service_of};

    #[test]
    fn flags_are_read_and_written_alike() {
        for text in ["shop/web:80=127.0.0.1:8080", "shop/web:http=[::1]:8080"] {
            assert_eq!(text.parse::<EndpointFlag>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("shop/web:80", "shop/web:80"),
            ("shop/web=127.0.0.1:8080", "shop/web"),
            ("web:80=127.0.0.1:8080", "web:80"),
            ("shop/web:0=127.0.0.1:8080", "shop/web:0"),
            ("shop/web:70000=127.0.0.1:8080", "shop/web:70000"),
            ("Shop/web:80=127.0.0.1:8080", "Shop/web:80"),
            ("shop/web:80=127.0.0.1", "127.0.0.1"),
            ("shop/web:80=localhost:8080", "localhost:8080"),
        ] {
            let error = text.parse::<EndpointFlag>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{part}`")), "{error}");
        }
    }

    #[test]
    fn a_flag_becomes_a_slice_of_the_port_that_it_names() {
        let port = |name: &str, protocol: &str| ServicePort {
            name: Some(name.to_owned()),
            port: 80,
            protocol: Some(protocol.to_owned()),
            ..ServicePort::default()
        };
        // HTTP/3 has the number of HTTP.
        let ports = vec![port("h3", "UDP"), port("http", "TCP")];
        let spec = ServiceSpec { ports: Some(ports), ..ServiceSpec::default() };
        let named = ServiceSpec { type_: Some("ExternalName".to_owned()), ..spec.clone() };
        let [service, external] = [spec, named].map(|spec| Service { spec: Some(spec), ..Service::default() });
        let flags = [
            "shop/web:80=127.0.0.1:8080",
            "shop/web:http=[::1]:8081",
            "shop/web:81=127.0.0.1:1",
            "shop/web:h3=127.0.0.1:1",
            "shop/name:80=127.0.0.1:1",
            "shop/gone:80=127.0.0.1:1",
        ]
        .map(|text| text.parse().unwrap());
        let (slices, problems) = slices(&flags, |_, name| match name {
            "web" => Some(&service),
            "name" => Some(&external),
            _ => None,
        });

        let slices = slices.iter().map(|(slice, _)| match slice {
            Object::EndpointSlice(slice) => {
                let endpoint = &slice.endpoints.as_ref().unwrap()[0];
                let port = &slice.ports.as_ref().unwrap()[0];
                let address = (&*slice.address_type, &*endpoint.addresses[0]);
                (service_of(slice).unwrap(), address, port.name.as_deref().unwrap(), port.port.unwrap())
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(
            slices.collect::<Vec<_>>(),
            [("web", ("IPv4", "127.0.0.1"), "http", 8080), ("web", ("IPv6", "::1"), "http", 8081)]
        );
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "Service shop/web: spec.ports: the Service has no TCP port 81 for `--endpoint \
                 shop/web:81=127.0.0.1:1`; the flag has no effect. Write one of its TCP ports: 80 (http).",
                "Service shop/web: spec.ports: the Service has no TCP port h3 for `--endpoint \
                 shop/web:h3=127.0.0.1:1`; the flag has no effect. Write one of its TCP ports: 80 (http).",
                "Service shop/name: spec.type: the Service stands for a name, and takes no endpoint from `--endpoint \
                 shop/name:80=127.0.0.1:1`; the flag has no effect. Leave out the flag, or the type ExternalName.",
                "Service shop/gone: metadata.name: there is no such Service for `--endpoint \
                 shop/gone:80=127.0.0.1:1`; the flag has no effect. Add the Service to the manifests, or correct the \
                 flag.",
            ]
        );
    }
}
