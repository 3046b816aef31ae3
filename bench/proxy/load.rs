//! The load: what a browser would ask for, again and again.

use std::{net::SocketAddr, process::Command};

use crate::{Result, process::pinned};

/// The fields that a browser sends.
const FIELDS: [&str; 5] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=0123456789abcdef; theme=dark",
];
/// Connections over HTTP/1.
const CONNECTIONS: &str = "64";

/// How a client speaks to a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speech {
    /// HTTP/1.1 on 64 connections.
    Plain,
    /// The same over TLS.
    Tls,
    /// HTTP/2 over TLS: 8 connections with 8 streams each.
    Http2,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Seconds(u64),
    Requests(usize),
}

impl Speech {
    pub fn is_tls(self) -> bool {
        self != Self::Plain
    }
}

/// Asks for `size` bytes, and gives how often they were answered.
pub fn load(speech: Speech, address: SocketAddr, size: usize, amount: Amount) -> Result<f64> {
    let scheme = if speech.is_tls() { "https" } else { "http" };
    let url = format!("{scheme}://{address}/{size}");
    match (speech, amount) {
        // It is the leaner of the two, and leaves more of the core to the endpoint.
        (Speech::Plain | Speech::Tls, Amount::Seconds(seconds)) => with_wrk(&url, seconds),
        _ => with_h2load(speech, &url, amount),
    }
}

fn with_wrk(url: &str, seconds: u64) -> Result<f64> {
    let mut wrk = pinned(1, &[]);
    wrk.args(["wrk", "-t1", "-c", CONNECTIONS, &format!("-d{seconds}s"), "-H", "Host: bench.example"]);
    let text = output(&mut wrk, url)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(text.into());
    }
    let line = text.lines().find(|line| line.contains("requests in")).ok_or_else(|| text.clone())?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

fn with_h2load(speech: Speech, url: &str, amount: Amount) -> Result<f64> {
    let mut h2load = pinned(1, &[]);
    h2load.args(["h2load", "-H", ":authority: bench.example"]);
    match speech {
        Speech::Http2 => h2load.args(["-c8", "-m8"]),
        Speech::Plain | Speech::Tls => h2load.args(["--h1", "-c8"]),
    };
    match amount {
        Amount::Seconds(seconds) => h2load.arg(format!("-D{seconds}")),
        Amount::Requests(requests) => h2load.arg(format!("-n{requests}")),
    };
    let text = output(&mut h2load, url)?;
    let line = text.lines().find_map(|line| line.strip_prefix("status codes: ")).ok_or_else(|| text.clone())?;
    let counts: Vec<f64> = line.split(", ").filter_map(|count| count.split_whitespace().next()?.parse().ok()).collect();
    match counts[..] {
        [good, 0.0, 0.0, 0.0] if good > 0.0 => Ok(good),
        _ => Err(text.into()),
    }
}

fn output(command: &mut Command, url: &str) -> Result<String> {
    for field in FIELDS {
        command.args(["-H", field]);
    }
    Ok(String::from_utf8(command.arg(url).output()?.stdout)?)
}
