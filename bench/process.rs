//! What benchmarks start: processes on a core of their own that are killed at the end, Serin as it is shipped among them.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::Result;

/// How long a process may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed at the end.
pub struct Process(pub Child);

impl Process {
    /// The user and system time that all its threads have used.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.0.id())
    }

    /// A field of its status, in KB.
    pub fn memory(&self, field: &str) -> Result<f64> {
        memory(self.0.id(), field)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The user and system time that all threads of a process have used.
pub fn cpu_seconds(process: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let used = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += used.split_whitespace().next().ok_or("no time")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

/// A field of a process's status, in KB.
pub fn memory(process: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    Ok(line.split_whitespace().next().ok_or("no value")?.parse()?)
}

/// A command on a core. `taskset` and what `wrap` names become what they start, so the process is the command's own.
pub fn pinned(core: usize, wrap: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).args(wrap);
    command
}

/// Serin as it is shipped, on core 0 with one worker. What it serves is left to be said.
pub fn serin(wrap: &[&str], plain: SocketAddr, tls: SocketAddr) -> Result<Command> {
    let mut command = pinned(0, wrap);
    command
        .arg(shipped()?)
        .args(["run", "--workers", "1", "--access-log", "off", "--log-level", "warn"])
        .args(["--bind-address", "127.0.0.1", "--http-port", &plain.port().to_string()])
        .args(["--https-port", &tls.port().to_string(), "--healthz-port", &free()?.port().to_string()])
        .args(["--keep-alive-requests", "1000000000", "--upstream-keepalive-requests", "1000000000"]);
    Ok(command)
}

/// The program as it is shipped, or as `SERIN` names it.
pub fn shipped() -> Result<PathBuf> {
    let built = || PathBuf::from(env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()));
    let program = env::var_os("SERIN").map_or_else(|| built().join("dist/serin"), PathBuf::from);
    Ok(program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?)
}

/// An address that nobody listens on.
pub fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Waits until somebody listens there.
pub fn wait_for(address: SocketAddr) -> Result<()> {
    retry(|| Ok(TcpStream::connect(address)?)).map_err(|_| format!("nobody listens on {address}"))?;
    Ok(())
}

/// Tries until it succeeds, and gives the error where it does not.
pub fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < PATIENCE => pause(Duration::from_millis(50)),
            result => return result,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing else runs on this thread")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
