//! The proxies that are compared, each with the settings that make it do the same.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Result, endpoint,
    load::{Amount, Speech, load},
    process::{Process, free, pinned, retry, serin, wait_for},
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
    process: Process,
    plain: SocketAddr,
    tls: SocketAddr,
}

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

    pub fn endpoint(&self) -> Result<Process> {
        endpoint::start(self.endpoint, &[])
    }

    /// Starts a proxy, by a program that it is given to where `wrap` names one.
    pub fn start(&self, kind: Kind, wrap: &[&str]) -> Result<Proxy> {
        let (plain, tls) = (free()?, free()?);
        let mut command = match kind {
            Kind::Nginx | Kind::Haproxy => pinned(0, wrap),
            Kind::Serin => serin(wrap, plain, tls)?,
        };
        match kind {
            Kind::Nginx => command.args(["nginx", "-c"]).arg(self.settings("nginx.conf", plain, tls)?),
            Kind::Haproxy => command.args(["haproxy", "-db", "-f"]).arg(self.settings("haproxy.cfg", plain, tls)?),
            Kind::Serin => command.arg("--manifests").arg(self.settings("shop.yaml", plain, tls)?),
        };
        let proxy = Proxy { process: Process(command.stdout(Stdio::null()).spawn()?), plain, tls };
        wait_for(plain)?;
        wait_for(tls)?;
        retry(|| proxy.load(Speech::Http2, 1, Amount::Requests(8)))?;
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
        let before = self.process.cpu_seconds()?;
        let requests = self.load(speech, size, Amount::Seconds(seconds))?;
        Ok((self.process.cpu_seconds()? - before) / requests * 100_000.0)
    }

    /// Ends the proxy in order, so that valgrind tells its count.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").arg("-TERM").arg(self.process.0.id().to_string()).status()?;
        self.process.0.wait()?;
        Ok(())
    }
}

/// Whether a program is there.
pub fn is_installed(program: &str, ask: &str) -> bool {
    Command::new(program).arg(ask).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
