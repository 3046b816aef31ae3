//! `serin explain`: what would become of a request, and why.
//!
//! The decision is the proxy's own (`route::decide`), on the table that the proxy would have; only the endpoints are
//! those that the objects name, since nothing is asked over a network.

use std::{
    fmt,
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{check::Output, manifests};
use crate::{
    config::{ClientFlags, ObjectFlags},
    draw::Random,
    http::forwarded::Trust,
    key::{ClusterKey, RouteId},
    route::{self, Plan, Scheme, Step, Table},
    translate,
};

mod report;
mod spoken;

use self::report::Report;

/// The command line of `explain`.
#[derive(Args, Debug)]
pub(super) struct ExplainFlags {
    /// A directory of manifests, or one file; `-` for standard input.
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    path: PathBuf,

    /// The method of the request.
    #[arg(value_name = "METHOD")]
    method: String,

    /// The URL of the request: `http://shop.example/cart?item=1`.
    #[arg(value_name = "URL")]
    url: String,

    /// A header of the request. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// A cookie of the request. May be repeated.
    #[arg(short = 'b', long = "cookie", value_name = "NAME=VALUE")]
    cookies: Vec<String>,

    /// The address that the request comes from: the client's, or that of a proxy.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    client: IpAddr,

    #[command(flatten)]
    objects: ObjectFlags,

    #[command(flatten)]
    clients: ClientFlags,

    /// How to print the explanation.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A request that is thought of.
#[derive(Debug)]
struct Imagined {
    method: String,
    scheme: Scheme,
    port: u16,
    authority: String,
    target: String,
    fields: Vec<(String, String)>,
    client: IpAddr,
    /// The host that a believed proxy says was asked for.
    public_authority: Option<String>,
    /// What endpoints get as `X-Forwarded-For`.
    chain: String,
    /// What endpoints get as `X-Forwarded-Port`.
    forwarded_port: u16,
    /// The proxy that is believed.
    proxy: Option<IpAddr>,
}

/// Keeps the steps of a decision.
#[derive(Default)]
struct Steps(Vec<Step>);

/// Explains a request.
pub(super) fn run(flags: &ExplainFlags) -> Result<ExitCode> {
    let request = Imagined::parse(flags)?;
    let manifests = manifests::load(&flags.path, &flags.objects, &flags.clients)?;
    let translation = translate::translate(&manifests.snapshot, &manifests.options);
    let table = translation.table();
    let up =
        |cluster: &ClusterKey| translation.clusters.get(cluster).is_some_and(|output| !output.endpoints.is_empty());

    let mut steps = Steps(request.note().into_iter().collect());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let plan = decide(&table, &request, now, up, &mut steps);
    let report = Report::new(&request, &plan, steps.0, &translation);

    let mut out = io::stdout().lock();
    match flags.output {
        Output::Text => report.print(&mut out)?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn decide<'t>(
    table: &'t Table<ClusterKey, RouteId>,
    request: &Imagined,
    now: u64,
    up: impl Fn(&ClusterKey) -> bool,
    steps: &mut Steps,
) -> Plan<'t, ClusterKey, RouteId> {
    route::decide(table, request, &mut Random::new(), now, up, steps)
}

// === impl Imagined ===

impl Imagined {
    fn parse(flags: &ExplainFlags) -> Result<Self> {
        let (scheme, rest) = match flags.url.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some((other, _)) => bail!("`{other}` is no scheme of ours; write http:// or https://"),
            None => (Scheme::Http, flags.url.as_str()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            bail!("the URL has no host: {:?}", flags.url);
        }
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if let Some(bad) = target.chars().chain(authority.chars()).find(|c| c.is_control() || *c == ' ') {
            bail!("the URL contains {bad:?}; write it as %{:02X}", u32::from(bad));
        }
        let written_port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());

        let mut authority = authority.to_owned();
        let mut fields = Vec::new();
        for header in &flags.headers {
            let (name, value) = header.split_once(':').with_context(|| format!("no colon in the header {header:?}"))?;
            if name.eq_ignore_ascii_case("host") {
                value.trim().clone_into(&mut authority);
            } else {
                fields.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        if !flags.cookies.is_empty() {
            fields.push(("Cookie".to_owned(), flags.cookies.join("; ")));
        }
        let port = written_port.unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        });
        let imagined = Self {
            method: flags.method.clone(),
            scheme,
            port,
            authority,
            target,
            fields,
            client: flags.client,
            public_authority: None,
            chain: flags.client.to_string(),
            forwarded_port: port,
            proxy: None,
        };
        Ok(imagined.told(&flags.clients.trust()))
    }

    /// The same, with what its fields tell where it comes from a proxy that is believed.
    fn told(mut self, trust: &Trust) -> Self {
        let fields = self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let Some(told) = trust.hear(self.client, fields) else { return self };
        let public_authority = told.host.map(|host| String::from_utf8_lossy(host).into_owned());
        self.chain = match &told.chain {
            Some(chain) => String::from_utf8_lossy(chain).into_owned(),
            None => told.client.to_string(),
        };
        self.proxy = Some(self.client);
        self.client = told.client;
        self.port = told.port_beside(self.scheme == Scheme::Https, self.port);
        self.scheme = match told.https {
            Some(true) => Scheme::Https,
            Some(false) => Scheme::Http,
            None => self.scheme,
        };
        self.forwarded_port = told.port.unwrap_or(self.forwarded_port);
        self.public_authority = public_authority;
        self
    }

    /// Who is believed what.
    fn note(&self) -> Option<Step> {
        let Self { client, port, .. } = self;
        let (host, scheme) = (self.public_authority.as_ref().unwrap_or(&self.authority), self.scheme.as_str());
        let proxy = self.proxy?;
        Some(Step::Note(format!("the proxy {proxy} is believed: {client} asks for {host} by {scheme}, port {port}")))
    }
}

impl route::Request for Imagined {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }

    fn public_authority(&self) -> &[u8] {
        self.public_authority.as_ref().unwrap_or(&self.authority).as_bytes()
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    fn client(&self) -> IpAddr {
        self.client
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn request_id(&self) -> &[u8] {
        b"00000000000000000000000000000000"
    }
}

impl fmt::Display for Imagined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let Self { method, authority, target, client, .. } = self;
        write!(f, "{method} {scheme}://{authority}{target} from {client}")
    }
}

// === impl Steps ===

impl route::Trace for Steps {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.0.push(step());
    }
}
