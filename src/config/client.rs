//! Flags that say whose word about a client is believed.
//!
//! They have the names and meanings of ingress-nginx's settings, which stand in its ConfigMap. One differs on purpose:
//! where no proxies are named, ingress-nginx believes everybody, and this gateway nobody.

use std::time::Duration;

use clap::Args;

use super::{duration, switch};
use crate::{
    http::{
        self,
        forwarded::{Proxies, Trust},
    },
    proxy,
};

/// Flags about proxies before us: the same for `run`, `check` and `explain`.
#[derive(Args, Clone, Debug)]
pub struct ClientFlags {
    /// The proxies before this gateway whose word about a client is believed: addresses and networks, with commas
    /// between. Nobody is where none are given. May be repeated.
    #[arg(long, env = "SERIN_PROXY_REAL_IP_CIDR", value_name = "CIDR,...")]
    pub proxy_real_ip_cidr: Vec<Proxies>,

    /// Wants a PROXY header (version 1 or 2) at the beginning of each connection, and closes those without; one of a
    /// trusted proxy says who the client is.
    #[arg(long, env = "SERIN_USE_PROXY_PROTOCOL", value_parser = switch)]
    pub use_proxy_protocol: bool,

    /// How long a PROXY header may take, from the beginning of the connection.
    #[arg(long, env = "SERIN_PROXY_PROTOCOL_HEADER_TIMEOUT", default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub proxy_protocol_header_timeout: Duration,

    /// Believes what trusted proxies say of a client in `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Port` and
    /// `X-Forwarded-Host`.
    #[arg(long, env = "SERIN_USE_FORWARDED_HEADERS", value_parser = switch)]
    pub use_forwarded_headers: bool,

    /// Believes what trusted proxies say of a client's address, and nothing else that they say.
    #[arg(long, env = "SERIN_ENABLE_REAL_IP", value_parser = switch)]
    pub enable_real_ip: bool,

    /// The header that trusted proxies put a client's address in. `X-Original-Forwarded-For` has `X-Forwarded-For` all
    /// the same.
    #[arg(long, env = "SERIN_FORWARDED_FOR_HEADER", default_value = "X-Forwarded-For", value_name = "NAME", value_parser = field_name)]
    pub forwarded_for_header: String,

    /// With --use-forwarded-headers, passes on the whole `X-Forwarded-For` of a trusted proxy and its own address
    /// behind it, instead of the client's address alone.
    #[arg(long, env = "SERIN_COMPUTE_FULL_FORWARDED_FOR", value_parser = switch)]
    pub compute_full_forwarded_for: bool,
}

// === impl ClientFlags ===

impl ClientFlags {
    /// What is believed.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust {
            proxies: self.proxy_real_ip_cidr.iter().cloned().collect(),
            proxy_protocol: self.use_proxy_protocol,
            forwarded_headers: self.use_forwarded_headers,
            real_ip: self.enable_real_ip,
            field: self.forwarded_for_header.as_str().into(),
            full_chain: self.compute_full_forwarded_for,
        }
    }

    /// The settings of the proxy, with these.
    #[must_use]
    pub fn proxy(&self, config: proxy::Config) -> proxy::Config {
        let proxy_header_timeout = self.proxy_protocol_header_timeout;
        proxy::Config { trust: self.trust(), proxy_header_timeout, ..config }
    }
}

/// Reads the name of a header.
fn field_name(text: &str) -> Result<String, String> {
    if http::is_field_name(text.as_bytes()) { Ok(text.to_owned()) } else { Err("it is no name of a header".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunFlags;

    fn trust(arguments: &[&str]) -> Result<Trust, String> {
        let flags = RunFlags::from_arguments([&["--manifests", "shop"][..], arguments].concat());
        flags.map(|flags| flags.clients.trust()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_nobody_is_believed() {
        assert_eq!(trust(&[]), Ok(Trust::default()));
    }

    #[test]
    fn networks_may_be_listed_and_repeated() {
        let listed = trust(&["--proxy-real-ip-cidr", "10.0.0.0/8, fd00::/8", "--proxy-real-ip-cidr=192.0.2.1"]);
        let proxies = "10.0.0.0/8,fd00::/8,192.0.2.1".parse().expect("the list is good");
        assert_eq!(listed, Ok(Trust { proxies, ..Trust::default() }));
        let refused = trust(&["--proxy-real-ip-cidr", "10.0.0.0/8,shop"]).expect_err("it is no list");
        assert!(refused.contains("`shop` is no address and no network"), "{refused}");
    }

    #[test]
    fn each_flag_has_its_setting() {
        let all = trust(&[
            "--use-proxy-protocol",
            "--use-forwarded-headers",
            "--enable-real-ip",
            "--compute-full-forwarded-for",
            "--forwarded-for-header=CF-Connecting-IP",
        ]);
        let expected = Trust {
            proxies: Proxies::default(),
            proxy_protocol: true,
            forwarded_headers: true,
            real_ip: true,
            field: "CF-Connecting-IP".into(),
            full_chain: true,
        };
        assert_eq!(all, Ok(expected));
        assert!(trust(&["--forwarded-for-header", "no name"]).is_err());
    }
}
