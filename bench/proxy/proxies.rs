//! The proxies that are compared, each with the settings that make it do the same.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Result,
    load::{Amount, Speech, load},
};

/// Where everything runs.
pub struct Setting {
    dir: tempfile::TempDir,
    here: PathBuf,
    endpoint: SocketAddr,
    cert: String,
    key: String,
}

/// A proxy to compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Nginx,
    Haproxy,
    Serin,
}

/// A proxy that runs.
pub struct Proxy {
    child: Child,
    plain: SocketAddr,
    tls: SocketAddr,
}

/// A process that is killed at the end.
pub struct Killed(Child);

impl Kind {
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Serin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Serin => "serin",
        }
    }
}

impl Setting {
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(["bench.example".to_owned()])?;
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(dir.path().join("cert.pem"), &cert)?;
        fs::write(dir.path().join("key.pem"), &key)?;
        fs::write(dir.path().join("both.pem"), format!("{cert}{key}"))?;
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/proxy");
        Ok(Self { dir, here, endpoint: free()?, cert, key })
    }

    pub fn endpoint(&self) -> Result<Killed> {
        let mut command = pinned(1, &[]);
        command.arg(env::current_exe()?).args(["endpoint", &self.endpoint.port().to_string()]);
        let child = Killed(command.spawn()?);
        wait_for(self.endpoint)?;
        Ok(child)
    }

    /// Starts a proxy, by a program that it is given to where `wrap` names one.
    pub fn start(&self, kind: Kind, wrap: &[&str]) -> Result<Proxy> {
        let (plain, tls) = (free()?, free()?);
        let mut command = pinned(0, wrap);
        match kind {
            Kind::Nginx => command.args(["nginx", "-c"]).arg(self.settings("nginx.conf", plain, tls)?),
            Kind::Haproxy => command.args(["haproxy", "-db", "-f"]).arg(self.settings("haproxy.cfg", plain, tls)?),
            Kind::Serin => {
                let built = || PathBuf::from(env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()));
                let program = env::var_os("SERIN").map_or_else(|| built().join("dist/serin"), PathBuf::from);
                let program = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
                command
                    .arg(program)
                    .args(["run", "--workers", "1", "--access-log", "off", "--log-level", "warn"])
                    .args(["--bind-address", "127.0.0.1", "--http-port", &plain.port().to_string()])
                    .args(["--https-port", &tls.port().to_string(), "--healthz-port", &free()?.port().to_string()])
                    .args(["--keep-alive-requests", "1000000000", "--upstream-keepalive-requests", "1000000000"])
                    .arg("--manifests")
                    .arg(self.settings("shop.yaml", plain, tls)?)
            }
        };
        let proxy = Proxy { child: command.stdout(Stdio::null()).spawn()?, plain, tls };
        wait_for(plain)?;
        wait_for(tls)?;
        proxy.wait_until_it_serves()?;
        Ok(proxy)
    }

    /// Fills in a file of settings, and gives its path.
    fn settings(&self, name: &str, plain: SocketAddr, tls: SocketAddr) -> Result<PathBuf> {
        let indented = |pem: &str| pem.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
        let text = fs::read_to_string(self.here.join(name))?
            .replace("@PLAIN@", &plain.to_string())
            .replace("@TLS@", &tls.to_string())
            .replace("@ENDPOINT@", &self.endpoint.to_string())
            .replace("@PORT@", &self.endpoint.port().to_string())
            .replace("@DIR@", &self.dir.path().display().to_string())
            .replace("@CERT@", &indented(&self.cert))
            .replace("@KEY@", &indented(&self.key));
        let path = self.dir.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Proxy {
    /// Puts load on it, and gives how often it answered.
    pub fn load(&self, speech: Speech, size: usize, amount: Amount) -> Result<f64> {
        load(speech, if speech.is_tls() { self.tls } else { self.plain }, size, amount)
    }

    /// CPU seconds for 100,000 requests.
    pub fn measure(&self, speech: Speech, size: usize, seconds: u64) -> Result<f64> {
        let before = self.cpu_seconds()?;
        let requests = self.load(speech, size, Amount::Seconds(seconds))?;
        Ok((self.cpu_seconds()? - before) / requests * 100_000.0)
    }

    /// The user and system time that all its threads have used.
    fn cpu_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let used = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += used.split_whitespace().next().ok_or("no time")?.parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }

    /// Ends the proxy in order, so that valgrind tells its count.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        Ok(())
    }

    fn wait_until_it_serves(&self) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = self.load(Speech::Http2, 1, Amount::Requests(8)) {
            if start.elapsed() > Duration::from_secs(60) {
                return Err(error);
            }
            pause();
        }
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

/// Whether a program is there.
pub fn is_installed(program: &str, ask: &str) -> bool {
    Command::new(program).arg(ask).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A command on a core. `taskset` and `valgrind` become what they start, so the process is the command's own.
pub fn pinned(core: usize, wrap: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).args(wrap);
    command
}

/// An address that nobody listens on.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
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
