//! A running gateway: the program itself, on free ports, over a directory of manifests.

use crate::client::{Answer, Client, PATIENCE, Request};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};
use tokio::time::{self, Instant};

/// A running gateway, killed on drop.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it serves requests.
    pub(crate) http: SocketAddr,
    /// Where it serves them by TLS.
    pub(crate) https: SocketAddr,
    /// Where it tells of itself.
    pub(crate) admin: SocketAddr,
    /// The process, which is ours to look at.
    pub(crate) process: Child,
    log: Log,
}

/// What the process has logged, shown where a test fails.
#[derive(Clone, Default, Debug)]
struct Log(Arc<Mutex<Vec<String>>>);

// === impl Gateway ===

impl Gateway {
    /// Starts a gateway over a directory, and waits until it is ready.
    pub(crate) async fn start(manifests: &Path, flags: &[&str]) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), manifests, flags).await
    }

    /// Starts a gateway that serves at an address.
    pub(crate) async fn start_at(http: SocketAddr, manifests: &Path, flags: &[&str]) -> Self {
        let mut program = Self::command(http);
        program.arg("--manifests").arg(manifests).args(flags);
        Self::spawn(program).await
    }

    /// The program, told where to serve, and not yet what.
    pub(crate) fn command(http: SocketAddr) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_serin"));
        // Two workers, unless the flags say otherwise.
        program.env("SERIN_WORKERS", "2").args(["run", "--bind-address", &http.ip().to_string()]);
        program.args(["--http-port", &http.port().to_string(), "--https-port", "0"]);
        program
    }

    /// Starts a gateway by a command of one's own, and waits until it is ready.
    pub(crate) async fn spawn(mut command: Command) -> Self {
        let mut process = command
            .args(["--healthz-port", "0", "--access-log", "off", "--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");

        let log = Log::default();
        let stderr = process.stderr.take().expect("it is piped");
        let (said, heard) = mpsc::channel();
        let lines = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(addresses) = addresses(&line) {
                    let _ = said.send(addresses);
                }
                lines.0.lock().expect("no line panics").push(line);
            }
        });
        let [http, https, admin] =
            heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it says where it listens: {log:?}"));
        let gateway = Self { http, https, admin, process, log };
        gateway.wait_until_ready().await;
        gateway
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.http).await.expect("the gateway accepts connections")
    }

    /// Asks the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let mut client = Client::connect(self.admin).await.expect("the gateway has an admin port");
        client.exchange(&Request::get("admin", path)).await.expect("the admin port answers")
    }

    /// The sum of a metric over all its labels, or over those behind the first ones: `serin_objects{kind="Secret"`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let answer = self.admin("/metrics").await;
        let text = String::from_utf8(answer.body).expect("metrics are text");
        let of_name = text.lines().filter_map(|line| line.strip_prefix(name));
        let values =
            of_name.filter(|rest| rest.starts_with(['{', ' ', ','])).filter_map(|rest| rest.split(' ').next_back());
        values.map(|value| value.parse::<f64>().expect("a value is a number") as u64).sum()
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(status.success(), "the process is there");
    }

    /// Waits until the process has ended; its code, unless a signal ended it.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("the process is a child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the process ends: {:?}", self.log());
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the gateway has logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.0.lock().expect("no line panics").clone()
    }

    async fn wait_until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.admin("/readyz").await.status != 200 {
            assert!(Instant::now() < deadline, "the gateway gets ready: {:?}", self.log());
            time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log().join("\n"));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads from a line of the log where the gateway listens: for requests, plain and by TLS, and for questions about itself.
fn addresses(line: &str) -> Option<[SocketAddr; 3]> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| line["fields"][name].as_str()?.parse().ok();
    Some([address("http")?, address("https")?, address("admin")?])
}
