//! A network of its own for each test, so that ports can be fixed and endpoints have addresses that an API server takes.
//!
//! A test runs its program again, for itself alone, in new namespaces; so does a benchmark. The one of networks holds `lo`
//! and nothing else; there all of [`PODS`] is local, so that whoever listens at an address in it is there for all. The one
//! of processes ends with the test, whatever that started, and whoever waits for it may be killed at any time.

use std::{
    any, env, fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use crate::peer;

/// The addresses that pods have. The API refuses endpoints at loopback addresses.
pub(crate) const PODS: &str = "10.244.0.1/16";

/// How long a test may take, its control plane's start with it.
const LIMIT: Duration = Duration::from_secs(180);
/// The same for a test that takes its time (`just soak`).
const LONG_LIMIT: Duration = Duration::from_secs(900);
/// How much is shown of each log of a test that failed.
const LAST_LINES: usize = 30;
/// Holds the directory with the control plane's programs, inside.
const PROGRAMS: &str = "SERIN_TEST_CONTROL_PLANE";

/// The directory with the control plane's programs, or why no test can run.
static FOUND: LazyLock<Result<PathBuf, String>> = LazyLock::new(find);

/// Runs a test in a network of its own. Says that it is skipped where the control plane is not built, or where the
/// machine lets nobody make a network.
///
/// # Panics
///
/// Where the test fails or takes too long, and where it is skipped although `SERIN_REQUIRE_API` is `1`.
pub(crate) fn in_namespace<T: AsyncFnOnce()>(test: T) {
    within(LIMIT, test);
}

/// The same for a test that takes its time.
pub(crate) fn long_in_namespace<T: AsyncFnOnce()>(test: T) {
    within(LONG_LIMIT, test);
}

fn within<T: AsyncFnOnce()>(limit: Duration, test: T) {
    if is_inside() {
        return inside(test);
    }
    match found() {
        Ok(programs) => outside(name_of::<T>(), programs, limit),
        Err(why) => peer::skip(why, "SERIN_REQUIRE_API"),
    }
}

/// Whether this is the program that was run again.
pub(crate) fn is_inside() -> bool {
    env::var_os(PROGRAMS).is_some()
}

/// The directory with the control plane's programs, or why nothing can run beside it.
pub(crate) fn found() -> Result<&'static Path, &'static str> {
    FOUND.as_deref().map_err(String::as_str)
}

/// This program in new namespaces, where it [is inside](is_inside). What it leaves behind when it is killed is left in
/// the temporary directory that it is given.
pub(crate) fn again(programs: &Path, temporary: &Path) -> Command {
    let mut command = in_new_namespaces();
    command.arg(env::current_exe().expect("the program knows where it is"));
    command.env(PROGRAMS, programs).env("TMPDIR", temporary).stdin(Stdio::null());
    // Nothing of a cluster outside, and no proxy on the way to the one inside.
    for (variable, _) in env::vars_os() {
        let lower = variable.to_string_lossy().to_ascii_lowercase();
        if lower == "kubeconfig" || lower.ends_with("_proxy") {
            command.env_remove(variable);
        }
    }
    command
}

/// Sets the new network up, and does the work of the program that was run again.
pub(crate) fn inside<T>(work: impl AsyncFnOnce() -> T) -> T {
    let output = Command::new("sh")
        .args(["-c", &format!("ip link set lo up && ip address add {PODS} dev lo")])
        .output()
        .expect("there is a shell");
    assert!(output.status.success(), "lo can be set up: {}", text_of(&output.stderr));
    serin::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(work())
}

/// Where a program of the control plane is.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(&env::var_os(PROGRAMS).expect("it is set inside")).join(name)
}

fn outside(name: &str, programs: &Path, limit: Duration) {
    let temporary = tempfile::Builder::new().prefix("cluster-").tempdir().expect("a temporary directory can be made");
    let mut command = again(programs, temporary.path());
    command.args(["--exact", name, "--include-ignored", "--nocapture"]);
    let (mut reader, writer) = io::pipe().expect("there are pipes");
    command.stdout(writer.try_clone().expect("there are descriptors")).stderr(writer);
    let mut process = command.spawn().expect("setpriv can be started");
    // It holds the pipe's other end.
    drop(command);

    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut output = Vec::new();
        let _ = reader.read_to_end(&mut output);
        let _ = said.send(output);
    });
    // The pipe ends when all that could write to it has ended.
    let in_time = heard.recv_timeout(limit);
    let late = in_time.is_err();
    if late {
        let _ = process.kill();
    }
    let output = in_time.or_else(|_| heard.recv()).expect("the reader sends what it has read");
    let status = process.wait().expect("it is a child");

    let output = text_of(&output);
    eprint!("{output}");
    // A test that was not found would pass as well.
    if !late && status.success() && output.contains("\ntest result: ok. 1 passed;") {
        return;
    }
    for log in logs(temporary.path()) {
        eprintln!("{log}");
    }
    assert!(!late, "{name} took longer than {limit:?}");
    panic!("{name} failed inside: {status}");
}

/// The last lines of each log that lies in a directory of this one.
fn logs(dir: &Path) -> Vec<String> {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries(dir).flat_map(|path| entries(&path)).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort_unstable();
    let last_lines = |path: &PathBuf| {
        let text = text_of(&fs::read(path).unwrap_or_default());
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!("the end of {}:\n{}", path.file_name().unwrap_or_default().display(), last.join("\n"))
    };
    files.iter().map(last_lines).collect()
}

/// What becomes, in namespaces of its own, the command that is added to it. It is killed with the thread that starts it.
fn in_new_namespaces() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    // The owner is who runs this.
    if fs::metadata("/proc/self").map_or(0, |process| process.uid()) != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// Finds the control plane, and tries whether a namespace can be made.
fn find() -> Result<PathBuf, String> {
    let build = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/control-plane/build");
    let found = output(Command::new(build).arg("--where"));
    let found = found.map_err(|_| "the control plane is not built, which `just control-plane` does".to_owned())?;
    let tried = output(in_new_namespaces().args(["ip", "link", "set", "lo", "up"]));
    tried.map_err(|why| format!("no network namespace can be made ({why})"))?;
    Ok(found.into())
}

/// What a command prints, or what it complains about.
fn output(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    let told = |bytes: &[u8]| text_of(bytes).trim().to_owned();
    if status.success() { Ok(told(&stdout)) } else { Err(told(&stderr)) }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The name of the test whose closure this is, as the test runner knows it.
fn name_of<T>() -> &'static str {
    let name = any::type_name::<T>().trim_end_matches("::{{closure}}");
    name.split_once("::").map_or(name, |(_, name)| name)
}
