//! The ports that are listened on.

use clap::{ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};

/// The ports that are listened on, each another: workers share a port, so that the kernel would spread connections over
/// who speaks TLS there and who does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    http: u16,
    https: u16,
    healthz: u16,
}

/// The flags of ports, before they are compared.
#[derive(Args)]
struct PortFlags {
    /// The port for HTTP; 0 takes a free one.
    #[arg(long, env = "SERIN_HTTP_PORT", default_value_t = 80, value_name = "PORT")]
    http_port: u16,

    /// The port for HTTPS; 0 takes a free one. Endpoints are told of 443 whatever it is.
    #[arg(long, env = "SERIN_HTTPS_PORT", default_value_t = 443, value_name = "PORT")]
    https_port: u16,

    /// The port for health, readiness, metrics and dumps; 0 takes a free one.
    #[arg(long, env = "SERIN_HEALTHZ_PORT", default_value_t = 10254, value_name = "PORT")]
    healthz_port: u16,
}

// === impl Ports ===

impl Ports {
    /// The port for HTTP; 0 is any that is free, as for the others.
    #[must_use]
    pub fn http(self) -> u16 {
        self.http
    }

    /// The port for HTTPS.
    #[must_use]
    pub fn https(self) -> u16 {
        self.https
    }

    /// The port for health, readiness, metrics and dumps.
    #[must_use]
    pub fn healthz(self) -> u16 {
        self.healthz
    }
}

impl FromArgMatches for Ports {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let PortFlags { http_port: http, https_port: https, healthz_port: healthz } =
            PortFlags::from_arg_matches(matches)?;
        let ports = [(http, "--http-port"), (https, "--https-port"), (healthz, "--healthz-port")];
        for (at, (port, flag)) in ports.into_iter().enumerate() {
            if let Some((_, other)) = ports[..at].iter().find(|(other, _)| port != 0 && *other == port) {
                let text = format!("{other} and {flag} are both {port}; each needs a port of its own\n");
                return Err(clap::Error::raw(ErrorKind::ValueValidation, text));
            }
        }
        Ok(Self { http, https, healthz })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Ports {
    fn augment_args(command: Command) -> Command {
        PortFlags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        PortFlags::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::RunFlags;

    #[test]
    fn no_port_is_listened_on_for_two_things() {
        let read = |ports: [&str; 3]| {
            let flags = ["--http-port", "--https-port", "--healthz-port"].into_iter().zip(ports);
            RunFlags::from_arguments(
                ["--manifests", "x"].into_iter().chain(flags.flat_map(|(flag, port)| [flag, port])),
            )
        };
        for good in [["80", "443", "10254"], ["0", "0", "0"]] {
            assert!(read(good).is_ok(), "{good:?}");
        }
        for (bad, flags) in [
            (["81", "81", "82"], ["--http-port", "--https-port"]),
            (["81", "82", "81"], ["--http-port", "--healthz-port"]),
            (["81", "82", "82"], ["--https-port", "--healthz-port"]),
        ] {
            let error = read(bad).expect_err("two are the same").to_string();
            assert!(flags.iter().all(|flag| error.contains(flag)), "{error}");
        }
    }
}
