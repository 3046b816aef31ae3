//! What a proxied request costs, side by side with nginx.
//!
//! `just bench-proxy` builds the program as it is shipped, and runs this.
//!
//! Wants `nginx`, `wrk`, `taskset` and, for the instructions, `valgrind`. Each proxy is pinned to core 0, the load and
//! the endpoint to core 1. The proxies take turns, so that what else the machine does meets both; the ratio counts, not
//! the values. CPU time is the proxy's own, user and system, from `/proc`. Instructions are those in user space, counted
//! by valgrind as the difference between a longer and a shorter run. It fails where the median of the ratios of CPU time
//! is over what it may be.
//!
//! `SERIN` is the program (`dist/serin` in cargo's target directory), `ROUNDS` how often each is measured (5), `SECONDS`
//! for how long (5).

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is asked for: a name for it, and how many bytes are answered.
const SIZES: [(&str, usize); 2] = [("200 B", 200), ("100 KB", 100 << 10)];
/// The fields that a browser sends.
const FIELDS: [&str; 5] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Cookie: session=0123456789abcdef; theme=dark",
];
/// Requests of the shorter and of the longer run under valgrind.
const COUNTED: [usize; 2] = [1_000, 6_000];
/// Connections of the runs under valgrind.
const LINES: usize = 8;
/// What a request may cost of what it costs with nginx, in CPU time.
const MOST: f64 = 0.9;

fn main() -> Result<ExitCode> {
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match &args[..] {
        [] => compare(),
        [role, port] if role == "endpoint" => serve(port.parse()?).map(|()| ExitCode::SUCCESS),
        _ => Err(format!("{args:?} is not understood; see the head of bench/proxy.rs").into()),
    }
}

// === the comparison ===

fn compare() -> Result<ExitCode> {
    let number = |name: &str, default: u64| env::var(name).ok().map_or(Ok(default), |value| value.parse());
    let (rounds, seconds) = (number("ROUNDS", 5)?, number("SECONDS", 5)?);
    let setting = Setting::new()?;
    let _endpoint = setting.endpoint()?;

    let (nginx, serin) = (setting.nginx(&[])?, setting.serin(&[])?);
    let mut out = io::stdout().lock();
    writeln!(out, "CPU seconds for 100,000 requests: median of {rounds} rounds, and from the least to the most")?;
    writeln!(out, "{:8} {:>24} {:>24} {:>24}", "", "nginx", "serin", "serin / nginx")?;
    let mut code = ExitCode::SUCCESS;
    for (name, size) in SIZES {
        let (mut of_nginx, mut of_serin) = (Vec::new(), Vec::new());
        // The first round warms up.
        for round in 0..=rounds {
            let (a, b) = (nginx.measure(size, seconds)?, serin.measure(size, seconds)?);
            if round > 0 {
                of_nginx.push(a);
                of_serin.push(b);
            }
        }
        let mut ratios: Vec<_> = of_nginx.iter().zip(&of_serin).map(|(nginx, serin)| serin / nginx).collect();
        let columns = [&mut of_nginx, &mut of_serin, &mut ratios].map(|figures| spread(figures));
        writeln!(out, "{name:8} {:>24} {:>24} {:>24}", columns[0], columns[1], columns[2])?;
        // The figures are sorted by now.
        if ratios[ratios.len() / 2] > MOST {
            writeln!(out, "{name:8} that is more than {MOST} of nginx")?;
            code = ExitCode::FAILURE;
        }
    }
    drop((nginx, serin));

    if Command::new("valgrind").arg("--version").output().is_err() {
        writeln!(out, "there is no valgrind, so instructions are not counted")?;
        return Ok(code);
    }
    writeln!(out, "\nuser instructions for a request")?;
    for (name, size) in SIZES {
        let nginx = instructions(size, |wrap| setting.nginx(wrap))?;
        let serin = instructions(size, |wrap| setting.serin(wrap))?;
        let ratio = serin as f64 / nginx as f64;
        writeln!(out, "{name:8} {nginx:>24} {serin:>24} {ratio:>24.2}")?;
    }
    Ok(code)
}

/// The median, the least and the most.
fn spread(figures: &mut [f64]) -> String {
    figures.sort_by(f64::total_cmp);
    let (least, median, most) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
    format!("{median:.2} ({least:.2} to {most:.2})")
}

/// The user instructions for a request: the difference of two runs, so that starting and stopping do not count.
fn instructions(size: usize, start: impl Fn(&[&str]) -> Result<Proxy>) -> Result<u64> {
    let mut totals = [0; 2];
    for (total, requests) in totals.iter_mut().zip(COUNTED) {
        let log = env::temp_dir().join(format!("serin-bench-{}.valgrind", std::process::id()));
        let log_arg = format!("--log-file={}", log.display());
        let wrap = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", &log_arg];
        let mut proxy = start(&wrap)?;
        ask_often(proxy.address, size, requests)?;
        proxy.stop()?;
        let text = fs::read_to_string(&log)?;
        // `==1== I refs: 1,234`, with more or fewer spaces by the release.
        let count = text.lines().filter_map(|line| line.split_once(" refs:")).next().ok_or("valgrind counted nothing")?.1;
        *total = count.trim().replace(',', "").parse()?;
        fs::remove_file(&log)?;
    }
    Ok((totals[1] - totals[0]) / (COUNTED[1] - COUNTED[0]) as u64)
}

// === processes ===

/// Where everything runs.
struct Setting {
    dir: tempfile::TempDir,
    here: PathBuf,
    endpoint: SocketAddr,
    nginx: SocketAddr,
    serin: SocketAddr,
    health: SocketAddr,
}

/// A proxy that runs.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

/// A process that is killed at the end.
struct Killed(Child);

impl Setting {
    fn new() -> Result<Self> {
        let free = || TcpListener::bind(("127.0.0.1", 0))?.local_addr();
        Ok(Self {
            dir: tempfile::tempdir()?,
            here: Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/proxy"),
            endpoint: free()?,
            nginx: free()?,
            serin: free()?,
            health: free()?,
        })
    }

    fn endpoint(&self) -> Result<Killed> {
        let mut command = pinned(1, &[]);
        command.arg(env::current_exe()?).args(["endpoint", &self.endpoint.port().to_string()]);
        let child = Killed(command.spawn()?);
        wait_for(self.endpoint)?;
        Ok(child)
    }

    fn nginx(&self, wrap: &[&str]) -> Result<Proxy> {
        let conf = fs::read_to_string(self.here.join("nginx.conf"))?
            .replace("LISTEN", &self.nginx.to_string())
            .replace("ENDPOINT", &self.endpoint.to_string())
            .replace("DIR", &self.dir.path().display().to_string());
        let path = self.dir.path().join("nginx.conf");
        fs::write(&path, conf)?;
        let mut command = pinned(0, wrap);
        command.args(["nginx", "-c"]).arg(path);
        Proxy::start(command, self.nginx)
    }

    fn serin(&self, wrap: &[&str]) -> Result<Proxy> {
        let built = || PathBuf::from(env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into())).join("dist/serin");
        let program = env::var_os("SERIN").map_or_else(built, PathBuf::from);
        let program = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
        let manifests = self.dir.path().join("manifests");
        fs::create_dir_all(&manifests)?;
        let shop = fs::read_to_string(self.here.join("shop.yaml"))?;
        fs::write(manifests.join("shop.yaml"), shop.replace("PORT", &self.endpoint.port().to_string()))?;
        let mut command = pinned(0, wrap);
        command
            .arg(program)
            .args([
                "run",
                "--workers",
                "1",
                "--access-log",
                "off",
                "--log-level",
                "warn",
                "--bind-address",
                "127.0.0.1",
            ])
            .args(["--http-port", &self.serin.port().to_string(), "--https-port", "0"])
            .args(["--healthz-port", &self.health.port().to_string()])
            .arg("--manifests")
            .arg(manifests);
        Proxy::start(command, self.serin)
    }
}

impl Proxy {
    fn start(mut command: Command, address: SocketAddr) -> Result<Self> {
        let child = command.stdout(Stdio::null()).spawn()?;
        let proxy = Self { child, address };
        wait_for(address)?;
        let start = Instant::now();
        while ask(&mut TcpStream::connect(address)?, 1).is_err() {
            if start.elapsed() > Duration::from_secs(60) {
                return Err(format!("{address} does not serve").into());
            }
            pause();
        }
        Ok(proxy)
    }

    /// CPU seconds for 100,000 requests under load.
    fn measure(&self, size: usize, seconds: u64) -> Result<f64> {
        let before = self.cpu_ticks()?;
        let mut wrk = pinned(1, &[]);
        wrk.args(["wrk", "-t1", "-c64", &format!("-d{seconds}s"), "-H", "Host: bench.example"]);
        for field in FIELDS {
            wrk.args(["-H", field]);
        }
        let output = wrk.arg(format!("http://{}/{size}", self.address)).output()?;
        let used = self.cpu_ticks()? - before;
        let text = String::from_utf8(output.stdout)?;
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(text.into());
        }
        let line = text.lines().find(|line| line.contains("requests in")).ok_or_else(|| text.clone())?;
        let requests: f64 = line.split_whitespace().next().unwrap_or_default().parse()?;
        // A tick is a hundredth of a second on every Linux that matters.
        Ok(used as f64 / 100.0 / requests * 100_000.0)
    }

    /// The ticks of user and system time that the process has used.
    fn cpu_ticks(&self) -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        Ok(fields.get(11).ok_or("no utime")?.parse::<u64>()? + fields.get(12).ok_or("no stime")?.parse::<u64>()?)
    }

    /// Ends the proxy in order, so that valgrind tells its count.
    fn stop(&mut self) -> Result<()> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command on a core. `taskset` and `valgrind` become what they start, so the process is the command's own.
fn pinned(core: usize, wrap: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).args(wrap);
    command
}

fn wait_for(address: SocketAddr) -> Result<()> {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!("nobody listens on {address}").into());
        }
        pause();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "nothing else runs here")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

// === a load of so many requests ===

fn ask_often(address: SocketAddr, size: usize, requests: usize) -> Result<()> {
    let mut lines = Vec::new();
    for _ in 0..LINES {
        lines.push(TcpStream::connect(address)?);
    }
    for request in 0..requests {
        let line = &mut lines[request % LINES];
        // Both proxies end a connection after a thousand requests.
        if request / LINES % 900 == 899 {
            *line = TcpStream::connect(address)?;
        }
        ask(line, size)?;
    }
    Ok(())
}

fn ask(stream: &mut TcpStream, size: usize) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET /{size} HTTP/1.1\r\nHost: bench.example\r\n{}\r\n\r\n", FIELDS.join("\r\n"))?;
    let mut answer = Vec::new();
    let mut piece = [0; 65536];
    let body = loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err("the answer broke off".into());
        }
        answer.extend_from_slice(&piece[..count]);
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&answer[..body]).into());
    }
    let mut rest = vec![0; size - (answer.len() - body)];
    stream.read_exact(&mut rest)?;
    Ok(())
}

// === the endpoint ===

/// Answers `GET /<n>` with `n` bytes, as cheaply as can be.
fn serve(port: u16) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(answer(stream));
        }
    })
}

async fn answer(mut stream: tokio::net::TcpStream) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut request = Vec::with_capacity(4096);
    let mut answer = Vec::new();
    let mut answered = String::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let path = String::from_utf8_lossy(path);
        if path != answered {
            let size: usize = path.trim_start_matches('/').parse().unwrap_or(0);
            answer = format!(
                "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
                 Content-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
            )
            .into_bytes();
            answer.resize(answer.len() + size, b'x');
            answered = path.into_owned();
        }
        stream.write_all(&answer).await?;
    }
}
