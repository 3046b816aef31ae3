//! What a well-behaved client notices of attackers: how long it waits while they are there, and while they are not.
//!
//! `just bench-hostile` builds the program as it is shipped, and runs this.
//!
//! Wants `taskset`, `chrt` and `prlimit`, and two cores. The gateway is pinned to core 0; the client, the endpoint and the
//! attackers to core 1, where the attackers have what time the others leave. They must still do all that the attack asks
//! for, or it counts for nothing. Each attack meets a gateway of its own, and in each round the client asks first without
//! it and then with it, so that what else the machine does meets both; the ratio counts, not the values. CPU time and
//! memory are the gateway's own, from `/proc`. It fails where the median of the ratios of the 99th percentiles is over
//! what it may be, or where a request of the client's fails.
//!
//! `SERIN` is the program (`dist/serin` in cargo's target directory), `ROUNDS` how often each is measured (5), `SECONDS`
//! for how long (4), `ONLY` a part of the names of the attacks (all).

mod attack;
mod client;
#[path = "../endpoint.rs"]
mod endpoint;
#[path = "../process.rs"]
mod process;
#[path = "../spread.rs"]
mod spread;

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use crate::{
    attack::{ATTACKS, Attack, Toll},
    process::{Process, free, pause, pinned, retry, serin, wait_for},
    spread::Spread,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How much longer the client may wait under an attack, at the 99th percentile.
const MOST: f64 = 1.5;
/// What share of its rate an attack must reach.
const REACHED: f64 = 0.9;
/// How long an attack goes on before and after it is measured, and how long a gateway has to get over it.
const MARGIN: u32 = 1;
/// Each process has more sockets than the usual limit allows.
const MANY_FILES: [&str; 2] = ["prlimit", "--nofile=8192:"];

/// A gateway that runs.
struct Gateway {
    process: Process,
    plain: SocketAddr,
}

/// What the client and the gateway had of one another, for some seconds.
struct Figures {
    /// Microseconds.
    median: f64,
    p99: f64,
    /// The share of its core that the gateway used.
    cpu: f64,
}

fn main() -> Result<ExitCode> {
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let mut out = io::stdout();
    match args[..] {
        [] => return compare(),
        ["endpoint", port] => endpoint::serve(port.parse()?)?,
        ["client", address, seconds] => {
            let latencies = client::ask(address.parse()?, seconds.parse()?)?;
            let percentile = |of: usize| latencies[(latencies.len() - 1) * of / 100].as_micros();
            writeln!(out, "{} {}", percentile(50), percentile(99))?;
        }
        ["attack", name, address, seconds] => {
            let attack = ATTACKS.iter().find(|attack| attack.name == name).ok_or("there is no such attack")?;
            let toll = attack.run(address.parse()?, seconds.parse()?, || writeln!(io::stdout(), "in place"))?;
            writeln!(out, "{} {}", toll.acts, toll.ended)?;
        }
        _ => return Err(format!("{args:?} is not understood; see the head of bench/hostile/main.rs").into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn compare() -> Result<ExitCode> {
    let number = |name: &str, default: u32| env::var(name).ok().map_or(Ok(default), |value| value.parse());
    let (rounds, seconds) = (number("ROUNDS", 5)?, number("SECONDS", 4)?);
    let only = env::var("ONLY").unwrap_or_default();
    let endpoint = free()?;
    let _endpoint = endpoint::start(endpoint, &MANY_FILES)?;
    let mut out = io::stdout().lock();

    writeln!(out, "calm / attacked: medians of {rounds} rounds; the ratio also from the least to the most")?;
    let columns = ["p50 µs", "p99 µs", "ratio of p99", "CPU %", "MB before / peak", "KB each", "acts/s", "ended"];
    row(&mut out, "", &columns.map(String::from))?;
    let mut code = ExitCode::SUCCESS;
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(&only)) {
        let gateway = Gateway::start(endpoint)?;
        gateway.ask(MARGIN)?;
        let before = gateway.process.memory("VmRSS:")?;
        let (mut calm, mut attacked, mut tolls) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            calm.push(gateway.ask(seconds)?);
            let (figures, toll) = gateway.ask_under(attack, seconds)?;
            attacked.push(figures);
            tolls.push(toll);
            pause(Duration::from_secs(MARGIN.into()));
        }
        let peak = gateway.process.memory("VmHWM:")?;

        let both = |of: fn(&Figures) -> f64| [&calm, &attacked].map(|all| Spread(all.iter().map(of).collect()));
        let medians = |of| both(of).map(|spread| format!("{:.0}", spread.median())).join(" / ");
        let [calm_p99, attacked_p99] = both(|figures| figures.p99);
        let ratio = attacked_p99.over(&calm_p99);
        let each = (peak - before) / attack.held as f64;
        let toll = |of: fn(&Toll) -> usize| tolls.iter().map(of).sum::<usize>();
        let rate = toll(|toll| toll.acts) as f64 / f64::from(rounds * (seconds + 2 * MARGIN));
        let columns = [
            medians(|figures| figures.median),
            medians(|figures| figures.p99),
            ratio.to_string(),
            medians(|figures| figures.cpu * 100.0),
            format!("{:.1} / {:.1}", before / 1024.0, peak / 1024.0),
            if attack.held >= 100 { format!("{each:.1}") } else { "–".to_owned() },
            format!("{rate:.0}"),
            toll(|toll| toll.ended).to_string(),
        ];
        row(&mut out, attack.name, &columns)?;
        if ratio.median() > MOST {
            writeln!(out, "{:13} that is more than {MOST}", "")?;
            code = ExitCode::FAILURE;
        }
        if rate < REACHED * f64::from(attack.rate) {
            writeln!(out, "{:13} that is not the attack, which has a rate of {}", "", attack.rate)?;
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn row(out: &mut impl Write, name: &str, columns: &[String; 8]) -> Result<()> {
    write!(out, "{name:13}")?;
    for (column, width) in columns.iter().zip([14, 14, 22, 9, 17, 8, 7, 6]) {
        write!(out, " {column:>width$}")?;
    }
    Ok(writeln!(out)?)
}

// === impl Gateway ===

impl Gateway {
    fn start(endpoint: SocketAddr) -> Result<Self> {
        let (plain, tls) = (free()?, free()?);
        let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/hostile/shop.yaml");
        let mut command = serin(&MANY_FILES, plain, tls)?;
        command.arg("--manifests").arg(shop).args(["--endpoint", &format!("shop/web:80={endpoint}")]);
        let gateway = Self { process: Process(command.stdout(Stdio::null()).spawn()?), plain };
        wait_for(plain)?;
        retry(|| client::ask(plain, 1))?;
        Ok(gateway)
    }

    /// Lets the client ask.
    fn ask(&self, seconds: u32) -> Result<Figures> {
        let (start, before) = (Instant::now(), self.process.cpu_seconds()?);
        let mut client = self.role(&[], &["client"], seconds)?;
        let told = client.stderr(Stdio::inherit()).output()?;
        let cpu = (self.process.cpu_seconds()? - before) / start.elapsed().as_secs_f64();
        let [median, p99] = numbers(&String::from_utf8(told.stdout)?)?;
        Ok(Figures { median, p99, cpu })
    }

    /// Lets the client ask while an attack goes on.
    fn ask_under(&self, attack: &Attack, seconds: u32) -> Result<(Figures, Toll)> {
        let wrap = [&["chrt", "--idle", "0"], &MANY_FILES[..]].concat();
        let mut attacker = self.role(&wrap, &["attack", attack.name], seconds + 2 * MARGIN)?;
        let mut attacker = Process(attacker.stdout(Stdio::piped()).spawn()?);
        let mut told = BufReader::new(attacker.0.stdout.take().ok_or("no output")?).lines();
        let mut next = || told.next().ok_or_else(|| format!("{}: no attack", attack.name));
        next()??;
        pause(Duration::from_secs(MARGIN.into()));
        let figures = self.ask(seconds)?;
        let [acts, ended] = numbers(&next()??)?;
        Ok((figures, Toll { acts: acts as usize, ended: ended as usize }))
    }

    /// This program in another role, on core 1.
    fn role(&self, wrap: &[&str], role: &[&str], seconds: u32) -> Result<Command> {
        let mut command = pinned(1, wrap);
        command.arg(env::current_exe()?).args(role).args([self.plain.to_string(), seconds.to_string()]);
        Ok(command)
    }
}

/// What another role has told.
fn numbers(line: &str) -> Result<[f64; 2]> {
    let numbers = line.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(numbers.try_into().map_err(|_| format!("two numbers were expected, not {line:?}"))?)
}
