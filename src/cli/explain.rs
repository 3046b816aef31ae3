//! `serin explain`: what would become of a request, and why.
//!
//! The request is written as a client writes it, read as the proxy reads it, decided on as the proxy decides
//! (`route::decide`), on the table that the proxy would have, and written as the proxy writes it. Only the endpoints are
//! those that the objects name, since nothing is asked over a network.

use std::{fmt, net::IpAddr, path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::{Result, bail};
use clap::Args;

use super::{check::Output, json, manifests, print};
use crate::{
    config::{ClientFlags, NewTraceparent, ObjectFlags, switch},
    draw::Random,
    http::{self, FieldNames, Limits, RequestView},
    key::{ClusterKey, RouteId},
    route::{self, Plan, Scheme, Step, Table},
    tls::Date,
    translate,
};

mod asking;
mod certificate;
mod changes;
mod report;
mod spoken;
mod url;

use self::{
    asking::Asking,
    changes::{Change, changes},
    report::{Beside, Report},
    url::{Header, Url},
};

/// The command line of `explain`.
#[derive(Args, Debug)]
pub(super) struct ExplainFlags {
    /// A directory of manifests, or one file; `-` for standard input.
    #[arg(short = 'f', long = "filename", env = "SERIN_FILENAME", value_name = "PATH")]
    path: PathBuf,

    /// The method of the request.
    #[arg(value_name = "METHOD")]
    method: String,

    /// The URL of the request: `http://shop.example/cart?item=1`.
    #[arg(value_name = "URL")]
    url: Url,

    /// A header of the request. May be repeated; in the environment, one a line.
    #[arg(short = 'H', long = "header", env = "SERIN_HEADER", value_name = "NAME: VALUE", value_delimiter = '\n')]
    headers: Vec<Header>,

    /// A cookie of the request. May be repeated.
    #[arg(short = 'b', long = "cookie", env = "SERIN_COOKIE", value_name = "NAME=VALUE")]
    cookies: Vec<String>,

    /// The address that the request comes from: the client's, or that of a proxy.
    #[arg(long, env = "SERIN_CLIENT", default_value = "127.0.0.1", value_name = "ADDRESS")]
    client: IpAddr,

    #[command(flatten)]
    objects: ObjectFlags,

    #[command(flatten)]
    clients: ClientFlags,

    /// Passes on request headers whose names contain an underscore, which are dropped otherwise.
    #[arg(long, env = "SERIN_ENABLE_UNDERSCORES_IN_HEADERS", value_parser = switch)]
    enable_underscores_in_headers: bool,

    /// What a request is given that has no `traceparent`.
    #[arg(long, env = "SERIN_NEW_TRACEPARENT", value_enum, default_value_t = NewTraceparent::Sampled)]
    new_traceparent: NewTraceparent,

    /// How to print the explanation.
    #[arg(long, short, env = "SERIN_OUTPUT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A request that is thought of.
#[derive(Debug)]
struct Imagined {
    method: String,
    scheme: Scheme,
    port: u16,
    /// The host of the URL, which a client names in its handshake; empty for an address.
    server_name: String,
    target: String,
    /// As they are sent, `Host` first.
    fields: Vec<(String, String)>,
    /// Who the connection is with.
    client: IpAddr,
}

/// Keeps the steps of a decision.
#[derive(Default)]
struct Steps(Vec<Step>);

/// Explains a request. The code is a failure where there is nothing to explain it by.
pub(super) fn run(flags: &ExplainFlags) -> Result<ExitCode> {
    let request = Imagined::new(flags);
    let manifests = manifests::load(&flags.path, &flags.objects, &flags.clients)?;
    let translation = translate::translate(&manifests.snapshot, &manifests.options);
    let beside = Beside { translation: &translation, manifests: &manifests };

    let names = FieldNames::of_clients(flags.enable_underscores_in_headers);
    let limits = Limits { names, ..Limits::REQUEST };
    let bytes = request.to_bytes();
    let mut head = http::Request::new();
    let report = match head.read(&bytes, &limits) {
        Ok(Some(length)) if length == bytes.len() => {
            explain(&request, head.view(&bytes), &beside, flags.new_traceparent)
        }
        Ok(_) => bail!("a header ends the request before its last one"),
        Err(refusal) => Report::refused(&request, refusal, &beside),
    };

    print(|out| match flags.output {
        Output::Text => report.print(out),
        Output::Json => json(out, &report),
    })?;
    let blind = manifests.objects == 0 && manifests.is_unreadable;
    Ok(if blind { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn explain(imagined: &Imagined, view: RequestView<'_>, beside: &Beside<'_>, new: NewTraceparent) -> Report {
    let table = beside.translation.table();
    let up = |cluster: &ClusterKey| {
        beside.translation.clusters.get(cluster).is_some_and(|output| !output.endpoints.is_empty())
    };
    let asking = Asking::new(view, imagined, &beside.manifests.options.trust);
    let mut steps = Steps(asking.note().into_iter().collect());
    let now = Date::from(SystemTime::now());
    let plan = decide(&table, &asking, now.0.unsigned_abs(), up, &mut steps);
    let certificates = certificate::shown(imagined, beside.translation, now);
    let changes = match &plan {
        Plan::Forward(forward) => {
            let request_id = view.request_id().unwrap_or(b"(a new one)");
            let traceparent = match (view.traceparent(), new) {
                (Some(_), _) | (None, NewTraceparent::Off) => None,
                (None, NewTraceparent::Sampled) => Some(&b"(a new one, sampled)"[..]),
                (None, NewTraceparent::Unsampled) => Some(&b"(a new one, not sampled)"[..]),
            };
            changes(imagined, view, &forward.edits(asking.forwarded(), request_id, traceparent))
        }
        Plan::Answer(_) => Vec::new(),
    };
    Report::new(&asking, certificates, &plan, steps.0, changes, beside)
}

fn decide<'t>(
    table: &'t Table<ClusterKey, RouteId>,
    request: &Asking<'_>,
    now: u64,
    up: impl Fn(&ClusterKey) -> bool,
    steps: &mut Steps,
) -> Plan<'t, ClusterKey, RouteId> {
    route::decide(table, request, &mut Random::new(), now, up, steps)
}

// === impl Imagined ===

impl Imagined {
    fn new(flags: &ExplainFlags) -> Self {
        let Url { scheme, authority, target } = flags.url.clone();
        let written_port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());

        let name = String::from_utf8_lossy(http::host::name(authority.as_bytes())).to_ascii_lowercase();
        let server_name = if name.parse::<IpAddr>().is_ok() || name.starts_with('[') { String::new() } else { name };
        // As curl has it, a header `Host` takes the place of the URL's.
        let mut hosts = Vec::new();
        let mut fields = Vec::new();
        for Header { name, value } in flags.headers.iter().cloned() {
            let list = if name.eq_ignore_ascii_case("host") { &mut hosts } else { &mut fields };
            list.push((name, value));
        }
        if hosts.is_empty() {
            hosts.push(("Host".to_owned(), authority));
        }
        fields.splice(0..0, hosts);
        if !flags.cookies.is_empty() {
            fields.push(("Cookie".to_owned(), flags.cookies.join("; ")));
        }
        let port = written_port.unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        });
        // As the proxy has it: an address of IPv4 that came by IPv6 is one of IPv4.
        let client = flags.client.to_canonical();
        Self { method: flags.method.clone(), scheme, port, server_name, target, fields, client }
    }

    /// The head as a client sends it.
    fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n").into_bytes()
    }
}

impl fmt::Display for Imagined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, scheme, target, fields, client, .. } = self;
        let authority = fields.first().map_or("", |(_, host)| host);
        write!(f, "{method} {}://{authority}{target} from {client}", scheme.as_str())
    }
}

// === impl Steps ===

impl route::Trace for Steps {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.0.push(step());
    }
}
