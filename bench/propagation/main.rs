//! How soon requests see what was written to the API server, and what a gateway costs that watches a large cluster.
//!
//! `just bench-propagation` builds the control plane and the program as it is shipped, and runs this.
//!
//! Wants what `conformance/cluster/` wants. All of it runs in namespaces of its own and shares the machine's cores:
//! etcd, the API server, the gateway, two endpoints, and who asks.
//!
//! A change is written, and meanwhile one connection (for certificates one handshake after the other) looks at the
//! gateway again and again, with pauses of 0.2 ms. What counts is the time from the API server's answer to the write
//! until an answer of the gateway shows the change: nothing, where that came first. How long a look takes is told, too;
//! no time is known better than that. Other Ingresses are changed or not: each gets another path, so that each change
//! makes another table. It fails where the 99th percentile is over what it may be, with some room for what else the
//! machine does, or where the others could not be changed so often.
//!
//! Then a gateway starts over more and more objects. Its CPU time and memory are its own, from `/proc`; it fails where
//! there is more of the latter than there may be.
//!
//! `SERIN` is the program (`dist/serin` in cargo's target directory), `CHANGES` how often each is changed (100),
//! `INGRESSES` how many there are where there are many (5000), `OTHERS` how many of them are changed each second (100),
//! `PERCENT` which part of the objects a gateway starts over (100; none for 0), `ONLY` a part of the names of what is
//! changed (all).

mod change;
mod population;
mod scale;
mod sight;

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../conformance/client.rs"]
mod client;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../conformance/cluster/control_plane.rs"]
mod control_plane;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../conformance/echo.rs"]
mod echo;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../conformance/gateway.rs"]
mod gateway;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../conformance/manifests.rs"]
mod manifests;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../conformance/cluster/namespace.rs"]
mod namespace;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../conformance/peer.rs"]
mod peer;
#[expect(dead_code, reason = "the other benchmarks use the rest")]
#[path = "../process.rs"]
mod process;
#[path = "../../conformance/tls.rs"]
mod tls;
#[path = "../../conformance/wire.rs"]
mod wire;

use std::{
    env,
    io::{self, Write},
    net::Ipv4Addr,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::time;

use crate::{
    change::{Figures, Stage},
    control_plane::{ControlPlane, User},
    gateway::Gateway,
    population::Population,
    process::shipped,
    scale::SIZES,
    tls::Trust,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How many Ingresses there are where there are few.
const FEW: usize = 10;
/// Milliseconds within which 99 of 100 changes are to be seen: without others, and among them.
const GOALS: [f64; 2] = [10.0, 30.0];
/// What a shared machine may add to a goal.
const ROOM: f64 = 1.5;
/// What share of their rate the other changes must reach.
const REACHED: f64 = 0.8;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(20 * 60);

fn main() -> Result<ExitCode> {
    if namespace::is_inside() {
        return namespace::inside(async || time::timeout(LIMIT, measure()).await?);
    }
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if !args.is_empty() {
        return Err(format!("{args:?} is not understood; see the head of bench/propagation/main.rs").into());
    }
    let temporary = tempfile::Builder::new().prefix("propagation-").tempdir()?;
    let status = namespace::again(namespace::found()?, temporary.path()).env("SERIN", shipped()?).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure() -> Result<ExitCode> {
    let number = |name: &str, default: usize| env::var(name).ok().map_or(Ok(default), |value| value.parse());
    let (changes, many, percent) = (number("CHANGES", 100)?, number("INGRESSES", 5_000)?, number("PERCENT", 100)?);
    let others = u32::try_from(number("OTHERS", 100)?)?;
    let only = env::var("ONLY").unwrap_or_default();
    let control_plane = ControlPlane::start().await;
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "watch"] }]);
    control_plane.grant(User::Serin, rules).await?;
    let trust = Arc::new(Trust::new());
    let stage = Stage::set(&control_plane, trust.clone(), &only).await?;
    let mut population = Population::new(&control_plane, &trust);
    let mut out = io::stdout();
    let mut code = ExitCode::SUCCESS;

    writeln!(out, "milliseconds from the API server's answer until a request sees a change, {changes} of each")?;
    let columns = ["Ingresses", "others/s", "p50", "p99", "max", "seen first", "write p50", "look"];
    row(&mut out, "", &columns.map(String::from))?;
    for ingresses in [FEW, many] {
        population.grow_to(ingresses - stage.ingresses()).await?;
        let gateway = start(&control_plane, &[]).await?;
        for (churn, goal) in [0, others].into_iter().zip(GOALS) {
            for subject in stage.subjects() {
                let churning = population.churn(churn);
                let Figures { delays, first, write, look } = stage.measure(subject, &gateway, changes).await?;
                let rate = churning.rate();
                let columns = [
                    ingresses.to_string(),
                    format!("{rate:.0}"),
                    format!("{:.1}", percentile(&delays, 50)),
                    format!("{:.1}", percentile(&delays, 99)),
                    format!("{:.1}", percentile(&delays, 100)),
                    first.to_string(),
                    format!("{:.1}", percentile(&write, 50)),
                    format!("{look:.2}"),
                ];
                row(&mut out, subject.name(), &columns)?;
                if percentile(&delays, 99) > goal * ROOM {
                    writeln!(out, "{:12} that is more than {goal} ms, and room for chance", "")?;
                    code = ExitCode::FAILURE;
                }
                if rate < REACHED * f64::from(churn) {
                    writeln!(out, "{:12} the others are not changed {churn} times a second", "")?;
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
    if percent == 0 {
        return Ok(code);
    }

    writeln!(out, "\na gateway that starts")?;
    let columns = ["Ingresses", "Services", "slices", "Secrets", "ready s", "CPU s", "MB peak", "MB after"];
    row(&mut out, "--secrets", &columns.map(String::from))?;
    for size in SIZES {
        let (ingresses, secrets) = (size.ingresses * percent / 100, size.secrets * percent / 100);
        population.grow_to(ingresses).await?;
        population.grow_secrets_to(secrets).await?;
        for (way, most) in size.ways {
            let found = scale::start(&control_plane, way).await?;
            let columns = [
                ingresses.to_string(),
                ingresses.to_string(),
                ingresses.to_string(),
                secrets.to_string(),
                format!("{:.1}", found.ready.as_secs_f64()),
                format!("{:.1}", found.cpu),
                format!("{:.0}", found.peak),
                format!("{:.0}", found.after),
            ];
            row(&mut out, way, &columns)?;
            if found.peak > *most {
                writeln!(out, "{:12} that is more than {most:.0} MB", "")?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn row(out: &mut impl Write, name: &str, columns: &[String; 8]) -> Result<()> {
    write!(out, "{name:12}")?;
    for column in columns {
        write!(out, " {column:>10}")?;
    }
    Ok(writeln!(out)?)
}

/// Starts the program as it is shipped over the cluster, and waits until it is ready.
async fn start(control_plane: &ControlPlane, flags: &[&str]) -> Result<Gateway> {
    let mut program = Command::new(shipped()?);
    program.args(["run", "--bind-address", &Ipv4Addr::LOCALHOST.to_string(), "--http-port", "0", "--https-port", "0"]);
    program.args(["--keep-alive-requests", "1000000000", "--upstream-keepalive-requests", "1000000000"]);
    program.arg("--kubeconfig").arg(control_plane.kubeconfig(User::Serin)).args(flags);
    Ok(Gateway::spawn(program).await)
}

/// The least that so many of a hundred are not over, of values in order.
fn percentile(values: &[f64], of: usize) -> f64 {
    values[(values.len() * of).div_ceil(100) - 1]
}
