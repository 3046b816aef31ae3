//! What a proxied request costs, side by side with nginx and HAProxy.
//!
//! `just bench-proxy` builds the program as it is shipped, and runs this.
//!
//! Wants `nginx`, `haproxy`, `wrk`, `h2load`, `taskset` and, for the instructions, `valgrind`. Each proxy is pinned to
//! core 0, the load and the endpoint to core 1. The proxies take turns, so that what else the machine does meets all of
//! them; the ratio counts, not the values. CPU time is the proxy's own, user and system, from `/proc`. Instructions are
//! those in user space, counted by valgrind as the difference between a longer and a shorter run. It fails where the
//! median of the ratios of CPU time is over what it may be.
//!
//! `SERIN` is the program (`dist/serin` in cargo's target directory), `ROUNDS` how often each is measured (7), `SECONDS`
//! for how long (2), `ONLY` a part of the names of what is measured (all).

#[path = "../endpoint.rs"]
mod endpoint;
mod load;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
#[path = "../process.rs"]
mod process;
mod proxies;
#[path = "../spread.rs"]
mod spread;

use std::{
    env, fs,
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    load::{Amount, Speech},
    proxies::{Kind, Setting, is_installed},
    spread::Spread,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is asked for.
struct Case {
    name: &'static str,
    speech: Speech,
    /// How many bytes are answered.
    size: usize,
    /// What a request may cost, in CPU time, of what it costs with the better of the others.
    most: f64,
}

const CASES: [Case; 6] = [
    Case { name: "plain, 200 B", speech: Speech::Plain, size: 200, most: 0.9 },
    Case { name: "plain, 100 KB", speech: Speech::Plain, size: 100 << 10, most: 0.9 },
    Case { name: "TLS, 200 B", speech: Speech::Tls, size: 200, most: 0.9 },
    Case { name: "TLS, 100 KB", speech: Speech::Tls, size: 100 << 10, most: 0.6 },
    Case { name: "TLS HTTP/2, 200 B", speech: Speech::Http2, size: 200, most: 0.9 },
    Case { name: "TLS HTTP/2, 100 KB", speech: Speech::Http2, size: 100 << 10, most: 0.9 },
];

/// Requests of the shorter and of the longer run under valgrind.
const COUNTED: [usize; 2] = [1_000, 6_000];

fn main() -> Result<ExitCode> {
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match &args[..] {
        [] => compare(),
        [role, port] if role == "endpoint" => Ok(endpoint::serve(port.parse()?).map(|()| ExitCode::SUCCESS)?),
        _ => Err(format!("{args:?} is not understood; see the head of bench/proxy/main.rs").into()),
    }
}

fn compare() -> Result<ExitCode> {
    let number = |name: &str, default: u64| env::var(name).ok().map_or(Ok(default), |value| value.parse());
    let (rounds, seconds) = (number("ROUNDS", 7)?, number("SECONDS", 2)?);
    let only = env::var("ONLY").unwrap_or_default();
    let cases: Vec<_> = CASES.iter().filter(|case| case.name.contains(&only)).collect();
    let setting = Setting::new()?;
    let _endpoint = setting.endpoint()?;
    let mut out = io::stdout().lock();

    writeln!(out, "CPU seconds for 100,000 requests: median of {rounds} rounds, and from the least to the most")?;
    heading(&mut out, &["serin / nginx", "serin / haproxy"])?;
    let mut code = ExitCode::SUCCESS;
    {
        let proxies = Kind::ALL.map(|kind| setting.start(kind, &[]));
        let proxies = proxies.into_iter().collect::<Result<Vec<_>>>()?;
        for case in &cases {
            let mut figures = Kind::ALL.map(|_| Vec::new());
            // The first round warms up.
            for round in 0..=rounds {
                for (proxy, figures) in proxies.iter().zip(&mut figures) {
                    let used = proxy.measure(case.speech, case.size, seconds)?;
                    if round > 0 {
                        figures.push(used);
                    }
                }
            }
            let [nginx, haproxy, serin] = figures.map(Spread);
            let ratios = [serin.over(&nginx), serin.over(&haproxy)];
            let columns = [&nginx, &haproxy, &serin, &ratios[0], &ratios[1]].map(Spread::to_string);
            row(&mut out, case.name, &columns)?;
            if ratios.iter().any(|ratio| ratio.median() > case.most) {
                writeln!(out, "{:19} that is more than {} of the better one", "", case.most)?;
                code = ExitCode::FAILURE;
            }
        }
    }

    if !is_installed("valgrind", "--version") {
        writeln!(out, "there is no valgrind, so instructions are not counted")?;
        return Ok(code);
    }
    writeln!(out, "\nuser instructions for a request")?;
    heading(&mut out, &[])?;
    for case in &cases {
        let mut counts = Vec::new();
        for kind in Kind::ALL {
            counts.push(instructions(&setting, kind, case)?.to_string());
        }
        row(&mut out, case.name, &counts)?;
    }
    Ok(code)
}

fn heading(out: &mut impl Write, more: &[&str]) -> Result<()> {
    let names: Vec<_> =
        Kind::ALL.iter().map(|kind| kind.name()).chain(more.iter().copied()).map(String::from).collect();
    row(out, "", &names)
}

fn row(out: &mut impl Write, name: &str, columns: &[String]) -> Result<()> {
    write!(out, "{name:19}")?;
    for column in columns {
        write!(out, " {column:>22}")?;
    }
    Ok(writeln!(out)?)
}

/// The user instructions for a request: the difference of two runs, so that starting and stopping do not count.
fn instructions(setting: &Setting, kind: Kind, case: &Case) -> Result<u64> {
    let mut totals = [0; 2];
    for (total, requests) in totals.iter_mut().zip(COUNTED) {
        let log = env::temp_dir().join(format!("serin-bench-{}.valgrind", std::process::id()));
        let log_arg = format!("--log-file={}", log.display());
        let wrap = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", &log_arg];
        let proxy = setting.start(kind, &wrap)?;
        proxy.load(case.speech, case.size, Amount::Requests(requests))?;
        proxy.stop()?;
        let text = fs::read_to_string(&log)?;
        // `==1== I refs: 1,234`, with more or fewer spaces by the release.
        let count = text.lines().find_map(|line| line.split_once(" refs:")).ok_or("valgrind counted nothing")?.1;
        *total = count.trim().replace(',', "").parse()?;
        fs::remove_file(&log)?;
    }
    Ok((totals[1] - totals[0]) / (COUNTED[1] - COUNTED[0]) as u64)
}
