//! What the operator sets: flags and environment, as each module's own configuration.
//!
//! Flags that ingress-nginx has keep its names and meanings. Every flag is also an environment variable: `--http-port`
//! is `SERIN_HTTP_PORT`. What is on or off takes `true`, `1`, `yes` and their opposites, in the environment and behind
//! the flag: `--strict=true`. A flag wins over the environment, where an empty variable is as none.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum, builder::Resettable};

use crate::{
    http::{self, FieldNames},
    metrics,
    proxy::{self, log::Format},
    source::endpoint_flag::EndpointFlag,
    translate,
};

mod client;
mod cluster;
mod command_line;
mod limits;
mod ports;

pub use self::{
    client::ClientFlags,
    cluster::{ClusterFlags, Secrets},
    command_line::command_line,
    limits::{HeaderBuffers, InvalidHeaderBuffers, LimitFlags},
    ports::Ports,
};
pub use crate::admin::LogFilter;

/// Flags that say which objects are ours and how they are read: the same for `run`, `check` and `explain`.
#[derive(Args, Clone, Debug)]
pub struct ObjectFlags {
    /// The IngressClass, or the legacy `kubernetes.io/ingress.class`, that is ours.
    #[arg(long, env = "SERIN_INGRESS_CLASS", default_value = "nginx", value_name = "NAME")]
    pub ingress_class: String,

    /// The `spec.controller` of the IngressClasses that are ours.
    #[arg(long, env = "SERIN_CONTROLLER_CLASS", default_value = "k8s.io/ingress-nginx", value_name = "NAME")]
    pub controller_class: String,

    /// Takes IngressClasses by their name too, whatever their controller is.
    #[arg(long, env = "SERIN_INGRESS_CLASS_BY_NAME", value_parser = switch)]
    pub ingress_class_by_name: bool,

    /// Takes Ingresses that name no class.
    #[arg(long, env = "SERIN_WATCH_INGRESS_WITHOUT_CLASS", value_parser = switch)]
    pub watch_ingress_without_class: bool,

    /// What stands before the `/` of annotations.
    #[arg(
        long,
        env = "SERIN_ANNOTATIONS_PREFIX",
        default_value = "nginx.ingress.kubernetes.io",
        value_name = "PREFIX"
    )]
    pub annotations_prefix: String,

    /// The Service that answers requests that no Ingress takes: its first TCP port.
    #[arg(long, env = "SERIN_DEFAULT_BACKEND_SERVICE", value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    pub default_backend_service: Option<(String, String)>,

    /// The Secret with the certificate for hosts that have no other. Without it, one is made at start.
    #[arg(long, env = "SERIN_DEFAULT_SSL_CERTIFICATE", value_name = "NAMESPACE/NAME", value_parser = namespaced)]
    pub default_ssl_certificate: Option<(String, String)>,

    /// Refuses Services of type ExternalName.
    #[arg(long, env = "SERIN_DISABLE_SVC_EXTERNAL_NAME", value_parser = switch)]
    pub disable_svc_external_name: bool,

    /// Lets Services of type ExternalName lead to loopback, link-local and metadata addresses.
    #[arg(long, env = "SERIN_ALLOW_LOCAL_EXTERNAL_NAMES", value_parser = switch)]
    pub allow_local_external_names: bool,

    /// Gives a Service's port an endpoint, as if it stood in an EndpointSlice. May be repeated.
    #[arg(long, env = "SERIN_ENDPOINT", value_name = "NS/SERVICE:PORT=ADDRESS:PORT", value_delimiter = ',')]
    pub endpoint: Vec<EndpointFlag>,
}

/// Flags of the running gateway.
#[derive(Args, Clone, Debug)]
pub struct RunFlags {
    /// Serves a directory of Kubernetes manifests, or one file, instead of what an API server has.
    #[arg(long, env = "SERIN_MANIFESTS", value_name = "PATH", conflicts_with = "ClusterFlags")]
    pub manifests: Option<PathBuf>,

    #[command(flatten)]
    pub cluster: ClusterFlags,

    #[command(flatten)]
    pub objects: ObjectFlags,

    #[command(flatten)]
    pub clients: ClientFlags,

    #[command(flatten)]
    pub server: ServerFlags,
}

/// Flags of the server: where it listens, what it bounds, what it says.
#[derive(Args, Clone, Debug)]
pub struct ServerFlags {
    #[command(flatten)]
    pub ports: Ports,

    /// An address to listen on; all of IPv4 and IPv6 where none is given. May be repeated.
    #[arg(long, env = "SERIN_BIND_ADDRESS", value_name = "ADDRESS", value_delimiter = ',')]
    pub bind_address: Vec<IpAddr>,

    /// The form of access log lines on standard output.
    #[arg(long, env = "SERIN_ACCESS_LOG", value_enum, default_value_t = AccessLog::Nginx)]
    pub access_log: AccessLog,

    /// How many threads serve requests; as many as the CPU quota allows where it is not given.
    #[arg(long, env = "SERIN_WORKERS", value_name = "COUNT")]
    pub workers: Option<NonZeroUsize>,

    /// What the process logs, on standard error: a level, or directives as `serin=debug,warn`. Changeable at run time
    /// by PUT to `/debug/log-level`.
    #[arg(long, env = "SERIN_LOG_LEVEL", default_value = "info", value_name = "FILTER")]
    pub log_level: LogFilter,

    /// The form of the process log.
    #[arg(long, env = "SERIN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// How long after SIGTERM new connections are still accepted, so that those who route here can learn of it.
    #[arg(long, env = "SERIN_SHUTDOWN_DELAY", default_value = "0s", value_name = "DURATION", value_parser = duration)]
    pub shutdown_delay: Duration,

    /// How long after that requests in flight and tunnels may take to end.
    #[arg(long, env = "SERIN_SHUTDOWN_TIMEOUT", default_value = "240s", value_name = "DURATION", value_parser = duration)]
    pub shutdown_timeout: Duration,

    /// The most client connections at once, over all workers. Without it they are 16384, or as many as the open files are
    /// enough for that the system grants.
    #[arg(long, env = "SERIN_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<usize>,

    /// Counts requests by host: the label `host` of request metrics. Without it, all hosts are counted together.
    #[arg(long, env = "SERIN_METRICS_PER_HOST", default_value_t = true, action = clap::ArgAction::Set, value_parser = switch, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub metrics_per_host: bool,

    /// Counts requests by the class of their status (`2xx`) instead of the status.
    #[arg(long, env = "SERIN_REPORT_STATUS_CLASSES", value_parser = switch)]
    pub report_status_classes: bool,

    /// The namespace of this pod, for metrics.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default", value_name = "NAME", hide = true)]
    pub pod_namespace: String,

    /// The name of this pod, for metrics.
    #[arg(long, env = "POD_NAME", default_value = "serin", value_name = "NAME", hide = true)]
    pub pod_name: String,

    /// What a request is given whose client sent no `traceparent`. An application with OpenTelemetry's defaults records
    /// what its caller sampled, and nothing else.
    #[arg(long, env = "SERIN_NEW_TRACEPARENT", value_enum, default_value_t = NewTraceparent::Sampled)]
    pub new_traceparent: NewTraceparent,

    /// Passes on request headers whose names contain an underscore, which are dropped otherwise.
    #[arg(long, env = "SERIN_ENABLE_UNDERSCORES_IN_HEADERS", value_parser = switch)]
    pub enable_underscores_in_headers: bool,

    #[command(flatten)]
    pub limits: LimitFlags,
}

/// The form of the access log.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessLog {
    /// None.
    Off,
    /// ingress-nginx's default line.
    Nginx,
    /// One JSON object a line.
    Json,
}

impl From<AccessLog> for Format {
    fn from(form: AccessLog) -> Self {
        match form {
            AccessLog::Off => Self::Off,
            AccessLog::Nginx => Self::Nginx,
            AccessLog::Json => Self::Json,
        }
    }
}

/// What a request is given whose client sent no trace context.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewTraceparent {
    /// One that asks for the request to be recorded.
    Sampled,
    /// One that does not.
    Unsampled,
    /// None.
    Off,
}

impl From<NewTraceparent> for proxy::NewTraceparent {
    fn from(new: NewTraceparent) -> Self {
        match new {
            NewTraceparent::Sampled => Self::Sampled,
            NewTraceparent::Unsampled => Self::Unsampled,
            NewTraceparent::Off => Self::Off,
        }
    }
}

/// The form of the process log.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Text,
    Json,
}

/// A parser for the flags of `run` alone.
#[derive(Parser, Debug)]
#[command(name = "serin run", no_binary_name = true)]
struct RunCommand {
    #[command(flatten)]
    flags: RunFlags,
}

// === impl RunFlags ===

impl RunFlags {
    /// Reads the flags of `serin run`, as a command line has them after `run`, without a look at the environment.
    ///
    /// # Errors
    ///
    /// Where the command line would be refused.
    pub fn from_arguments(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let command = command_line(RunCommand::command()).mut_args(|arg| arg.env(Resettable::Reset));
        let matches = command.try_get_matches_from(arguments)?;
        RunCommand::from_arg_matches(&matches).map(|command| command.flags)
    }
}

// === impl ObjectFlags ===

impl ObjectFlags {
    /// The settings of translation, with those of the clients.
    #[must_use]
    pub fn options(&self, clients: &ClientFlags) -> translate::Options {
        translate::Options {
            annotation_prefix: self.annotations_prefix.trim_end_matches('/').into(),
            ingress_class: self.ingress_class.as_str().into(),
            controller_class: self.controller_class.as_str().into(),
            ingress_class_by_name: self.ingress_class_by_name,
            watch_ingress_without_class: self.watch_ingress_without_class,
            default_backend: self.default_backend_service.as_ref().map(shared),
            default_certificate: self.default_ssl_certificate.as_ref().map(shared),
            external_names: !self.disable_svc_external_name,
            local_external_names: self.allow_local_external_names,
            trust: clients.trust(),
            ..translate::Options::default()
        }
    }
}

// === impl ServerFlags ===

impl ServerFlags {
    /// The settings of metrics.
    #[must_use]
    pub fn metrics(&self, workers: NonZeroUsize, objects: &ObjectFlags) -> metrics::Settings {
        metrics::Settings {
            workers: workers.get(),
            namespace: self.pod_namespace.clone(),
            class: objects.controller_class.clone(),
            pod: self.pod_name.clone(),
            per_host: self.metrics_per_host,
            status_classes: self.report_status_classes,
            ..metrics::Settings::default()
        }
    }

    /// The settings of the proxy, which may have so many connections of clients in all.
    #[must_use]
    pub fn proxy(&self, workers: NonZeroUsize, connections: usize) -> proxy::Config {
        let defaults = proxy::Config::default();
        let mut config = proxy::Config {
            listen: self.addresses(self.ports.http()),
            listen_tls: self.addresses(self.ports.https()),
            workers,
            connections: connections.div_ceil(workers.get()),
            new_traceparent: self.new_traceparent.into(),
            head: http::Limits { names: FieldNames::of_clients(self.enable_underscores_in_headers), ..defaults.head },
            ..defaults
        };
        self.limits.apply(&mut config);
        config
    }

    /// The addresses to listen on for a port. The IPv6 wildcard takes IPv4 as well.
    #[must_use]
    pub fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        if self.bind_address.is_empty() {
            vec![(Ipv6Addr::UNSPECIFIED, port).into()]
        } else {
            self.bind_address.iter().map(|&address| (address, port).into()).collect()
        }
    }
}

/// Reads what a switch is set to, behind its flag or in the environment.
///
/// # Errors
///
/// Where it is neither on nor off.
pub fn switch(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

fn shared((namespace, name): &(String, String)) -> (Arc<str>, Arc<str>) {
    (namespace.as_str().into(), name.as_str().into())
}

/// Reads `namespace/name`.
fn namespaced(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.into(), name.into()))
        }
        _ => Err("write it as NAMESPACE/NAME".into()),
    }
}

/// Reads a duration: `30s`, `500ms`, `2m`, `1h`; a number alone is seconds, as ingress-nginx's flags have it.
fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| "write it as 30s, 500ms, 2m or 1h".to_owned())?;
    let millis = match unit {
        "" | "s" => 1000,
        "ms" => 1,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{unit}` is no unit of time; write it as 30s, 500ms, 2m or 1h")),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(|| "it is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_an_environment_variable() {
        for argument in RunCommand::command().get_arguments() {
            let Some(flag) = argument.get_long().filter(|flag| !["help", "pod-namespace", "pod-name"].contains(flag))
            else {
                continue;
            };
            let name = format!("SERIN_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(name.as_str()));
        }
    }

    #[test]
    fn durations_have_units_and_numbers_alone_are_seconds() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "1d", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn switches_are_on_or_off_and_nothing_else() {
        for on in ["1", "true", "TRUE", "yes", "on"] {
            assert_eq!(switch(on), Ok(true), "{on}");
        }
        for off in ["0", "false", "No", "off"] {
            assert_eq!(switch(off), Ok(false), "{off}");
        }
        for bad in ["", "2", "treu", "y e s", " "] {
            assert!(switch(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_namespaced_name_has_two_parts() {
        assert_eq!(namespaced("shop/web"), Ok(("shop".into(), "web".into())));
        for bad in ["web", "/web", "shop/", "a/b/c"] {
            assert!(namespaced(bad).is_err(), "{bad:?}");
        }
    }
}
