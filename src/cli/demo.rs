//! `serin demo`: the gateway with a shop behind it and a canary between its versions, in one process.
//!
//! Nothing is faked: the gateway is the one that `serin run` starts, it reads manifests from a directory, and the shop's
//! endpoints are HTTP servers on loopback. Whoever edits the manifests sees the split follow.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    path::Path,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    app::{self, Gateway, Signals},
    config::{LogFilter, RunFlags, switch},
};

mod manifests;
mod shop;
mod split;
mod trickle;

use self::{manifests::HOST, split::Display};

/// How many ports after the first are tried.
const PORTS: u16 = 100;

/// The command line of `demo`.
#[derive(Args, Debug)]
pub(super) struct DemoFlags {
    /// The port for HTTP; the next free one if it is taken, any free one for 0.
    #[arg(long, env = "SERIN_HTTP_PORT", default_value_t = 8080, value_name = "PORT")]
    http_port: u16,

    /// The port for HTTPS; the next free one if it is taken.
    #[arg(long, env = "SERIN_HTTPS_PORT", default_value_t = 8443, value_name = "PORT")]
    https_port: u16,

    /// Prints the lines to try, and no live split.
    #[arg(long, short, env = "SERIN_QUIET", value_parser = switch)]
    quiet: bool,

    /// What the process logs, on standard error.
    #[arg(long, env = "SERIN_LOG_LEVEL", default_value = "warn", value_name = "FILTER")]
    log_level: LogFilter,
}

/// Runs the demo until Ctrl-C, or until the terminal is closed.
pub(super) fn run(flags: &DemoFlags) -> Result<()> {
    let port = free_port(flags.http_port, "--http-port", None)?;
    let https_port = free_port(flags.https_port, "--https-port", Some(port))?;
    let mut run = run_flags(flags, port, https_port)?;
    app::block_on(&run.server.clone(), async {
        // Before the directory is made: who is killed leaves it behind.
        let mut signals = Signals::catch_in_terminal()?;
        let directory = tempfile::Builder::new().prefix("serin-demo-").tempdir().context("cannot make a directory")?;
        // The path that the file system knows, so that what is printed is what an editor shows.
        let manifests = fs::canonicalize(directory.path())?;
        run.manifests = Some(manifests.clone());
        let Some(gateway) = signals.unless_ended(start(&run, &manifests)).await else { return Ok(()) };
        let gateway = gateway?;
        print_lines(&manifests, &gateway)?;
        let trickle = tokio::spawn(trickle::send(gateway.addresses()[0]));
        let display = (!flags.quiet)
            .then(|| tokio::spawn(split::show(gateway.splits(), Display::new(io::stdout().is_terminal()))));
        gateway.run(signals).await;
        trickle.abort();
        if let Some(display) = display {
            display.abort();
        }
        Ok(())
    })
}

/// Starts the shop and the gateway before it.
async fn start(run: &RunFlags, directory: &Path) -> Result<Gateway> {
    let stable = [shop::serve("stable-1").await?, shop::serve("stable-2").await?];
    let canary = [shop::serve("canary-1").await?];
    manifests::write(directory, &stable, &canary)?;
    Gateway::start(run).await
}

/// The flags of `run` that the demo amounts to, but for the directory of manifests.
fn run_flags(flags: &DemoFlags, port: u16, https_port: u16) -> Result<RunFlags> {
    let mut arguments: Vec<OsString> = vec![
        "--manifests".into(),
        ".".into(),
        "--http-port".into(),
        port.to_string().into(),
        "--https-port".into(),
        https_port.to_string().into(),
        "--healthz-port".into(),
        "0".into(),
        "--access-log".into(),
        "off".into(),
        "--log-level".into(),
        flags.log_level.to_string().into(),
        "--shutdown-timeout".into(),
        "2s".into(),
    ];
    for address in loopback() {
        arguments.extend(["--bind-address".into(), address.to_string().into()]);
    }
    RunFlags::from_arguments(arguments).context("the demo's own flags")
}

/// The loopback addresses of this machine.
fn loopback() -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.push(Ipv6Addr::LOCALHOST.into());
    }
    addresses
}

/// The first port, from `first` on, that nobody listens on; any that is free for 0. It is another than `chosen`.
///
/// It must be free on all loopback addresses, since a name may lead to each of them.
fn free_port(first: u16, flag: &str, chosen: Option<u16>) -> Result<u16> {
    let addresses = loopback();
    let bind = |port| addresses.iter().try_for_each(|&address| TcpListener::bind((address, port)).map(drop));
    let free = |port: &u16| Some(*port) != chosen && bind(*port).is_ok();
    if first == 0 {
        let any = || Some(TcpListener::bind((addresses[0], 0)).ok()?.local_addr().ok()?.port());
        let port = (0..PORTS).filter_map(|_| any()).find(free);
        return port.context("no port is free");
    }
    if let Err(error) = bind(first)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        bail!("port {first} needs the capability CAP_NET_BIND_SERVICE ({error}); name one above 1023 with {flag}");
    }
    let last = first.saturating_add(PORTS);
    match (first..=last).find(free) {
        Some(port) => Ok(port),
        None => bail!("all ports from {first} to {last} are taken; name another with {flag}"),
    }
}

/// Prints what there is to try.
fn print_lines(path: &Path, gateway: &Gateway) -> io::Result<()> {
    let url = format!("http://{HOST}:{}", gateway.addresses()[0].port());
    let https_port = gateway.tls_addresses()[0].port();
    let by_tls = format!("--cacert {} https://{HOST}:{https_port}", path.join(manifests::AUTHORITY).display());
    let admin = gateway.admin_address();
    // A call without a message. What is answered is a message of text behind five bytes.
    let call = "/shop.Shop/Greet -H 'Content-Type: application/grpc' -d ''";
    let mut out = io::stdout().lock();
    writeln!(out, "Serin serves a shop at {url}; Ctrl-C ends it. Try:\n")?;
    for (arguments, claim) in [
        (format!("{url}/"), "canary 10 %"),
        (format!("{url}/ -H 'X-Canary: always'"), "canary"),
        (format!("{url}/ -H 'X-Canary: never'"), "stable"),
        (format!("{url}/ --cookie canary=always"), "canary"),
        (format!("'{url}/?preview=always'"), "canary: another one, by the query"),
        (format!("{url}/cart --cookie user=7"), "half of the users, each always on one side"),
        (format!("{by_tls}/ --http1.1 -H 'X-Canary: always'"), "canary, by TLS"),
        (format!("{by_tls}/ -H 'X-Canary: always'"), "canary, by HTTP/2 over TLS"),
        (format!("--http2-prior-knowledge {url}{call} | tail -c +6"), "stable, by gRPC over HTTP/2"),
        (format!("{by_tls}{call} -H 'X-Canary: always' | tail -c +6"), "canary, by gRPC over HTTP/2 over TLS"),
        (format!("http://{admin}/debug/table"), "the table that decides it"),
        (format!("http://{admin}/metrics"), "what was measured"),
    ] {
        writeln!(out, "  curl -s {arguments:<62} # {claim}")?;
    }
    writeln!(out, "\nThe manifests are in {}", path.display())?;
    writeln!(out, "Change canary-weight in {} and see the split follow.\n", path.join("canary.yaml").display())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_port_is_another_than_the_first() {
        let first = free_port(0, "--http-port", None).expect("a port is free");
        let second = free_port(first, "--https-port", Some(first)).expect("another port is free");
        assert_ne!(first, second);
    }
}
