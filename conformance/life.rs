//! How a gateway ends: by a signal, as Kubernetes ends it, and without losing a request.

use crate::{
    client::{Client, PATIENCE, Request},
    echo::Echo,
    gateway::Gateway,
    manifests::{self, Manifests},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use tokio::time::{self, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_finishes_and_idle_connections_are_closed() {
    let mut stage = Stage::set(&[]).await;
    let mut idle = stage.gateway.client().await;
    idle.exchange(&Request::get("shop.example", "/")).await.expect("the gateway answers");
    let in_flight = stage.slow_request().await;

    stage.gateway.signal("TERM");
    let answer = in_flight.await.expect("the task does not panic").expect("a request in flight finishes");
    assert_eq!(answer.status, 200);
    assert_eq!(stage.gateway.exit_code().await, Some(0));
    idle.exchange(&Request::get("shop.example", "/")).await.expect_err("an idle connection is closed");
    Client::connect(stage.gateway.http).await.expect_err("nothing listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_unready_at_once_and_accepts_for_the_delay() {
    let mut stage = Stage::set(&["--shutdown-delay", "10s"]).await;
    stage.gateway.signal("TERM");
    stage.until_unready().await;
    let answer = stage.gateway.client().await.exchange(&Request::get("shop.example", "/")).await;
    assert_eq!(answer.expect("it still accepts and answers").status, 200);
    assert_eq!(stage.gateway.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let mut stage = Stage::set(&["--shutdown-delay", "1h"]).await;
    stage.gateway.signal("TERM");
    stage.until_unready().await;
    stage.gateway.signal("TERM");
    stage.gateway.exit_code().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_where_clients_have_taken_all_file_descriptors() {
    let mut stage = Stage::set(&[]).await;
    // They are taken by the connections that are there already, and by the first of those that come.
    let few = format!("--nofile={0}:{0}", stage.open_files() + 8);
    let limited = Command::new("prlimit").args(["--pid", &stage.gateway.process.id().to_string(), &few]).status();
    assert!(limited.expect("there is prlimit").success());
    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(Client::connect(stage.gateway.http).await.expect("the kernel lets them in"));
    }
    until(async || stage.gateway.log().iter().any(|line| line.contains("cannot be accepted")).then_some(())).await;
    stage.gateway.signal("TERM");
    assert_eq!(stage.gateway.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_are_served_than_file_descriptors_are_enough_for() {
    let manifests = Manifests::new();
    let mut command = Command::new("prlimit");
    let program = Gateway::command(net::SocketAddr::from(([127, 0, 0, 1], 0)));
    // The hard limit is enough for two connections on each of two workers, the soft one for less.
    command.args(["--nofile=200:264"]).arg(program.get_program()).args(program.get_args());
    command.env("SERIN_WORKERS", "2").args(["--max-connections", "5"]).arg("--manifests").arg(manifests.path());
    let gateway = Gateway::spawn(command).await;
    assert!(gateway.log().iter().any(|line| line.contains("fewer connections are served")), "{:?}", gateway.log());
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(gateway.client().await);
    }
    until(async || (gateway.metric("serin_connections_refused_total").await >= 28).then_some(())).await;
    assert_eq!(gateway.metric("serin_connections_refused_total").await, 28);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_last_until_the_deadline() {
    let mut stage = Stage::set(&["--shutdown-timeout", "1s"]).await;
    let mut client = stage.gateway.client().await;
    let upgrade = Request::get("shop.example", "/").with("Connection", "Upgrade").with("Upgrade", "websocket");
    assert_eq!(client.exchange(&upgrade).await.expect("the gateway answers").status, 101);
    let mut tunnel = client.into_wire();

    stage.gateway.signal("TERM");
    stage.until_unready().await;
    tunnel.write(b"ping").await.expect("the tunnel is open");
    assert_eq!(tunnel.read_exact(4).await.expect("the tunnel is open"), b"ping");
    stage.gateway.exit_code().await;
    assert!(tunnel.read_some().await.is_ok_and(|bytes| bytes.is_empty()) || tunnel.write(b"x").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_before_the_first_table_ends_the_process_as_any_other() {
    let manifests = Manifests::new();
    let service =
        |n| format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}}}\nspec: {{ports: [{{port: 80}}]}}\n");
    manifests.write("many.yaml", &(0..40_000).map(service).collect::<String>());
    let port = net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.args(["run", "--bind-address", "127.0.0.1", "--http-port", "0", "--healthz-port", &port.to_string()]);
    let process = command.arg("--manifests").arg(manifests.path()).stderr(Stdio::piped()).spawn();
    let mut process = Process(process.expect("the program can be started"));
    let admin = net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut client = until(async || Client::connect(admin).await.ok()).await;
    let ready = client.exchange(&Request::get("admin", "/readyz")).await.expect("the admin port answers");
    assert_eq!(ready.status, 503, "it is still reading");

    process.signal("TERM");
    assert_eq!(until(async || { process.exit_code() }).await, Some(0));
    let said = std::io::read_to_string(process.0.stderr.take().expect("it is piped")).expect("text");
    assert!(said.contains("SIGTERM") && !said.contains("serving"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_that_is_ended_while_it_starts_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("a temporary directory can be made");
    let left = |path: &Path| fs::read_dir(path).expect("it can be listed").count();
    let process = Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(["demo", "--quiet", "--http-port", "0"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .spawn();
    let mut process = Process(process.expect("the program can be started"));
    until(async || (left(temporary.path()) > 0).then_some(())).await;
    process.signal("INT");
    assert_eq!(until(async || { process.exit_code() }).await, Some(0));
    assert_eq!(left(temporary.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_whose_terminal_is_closed_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().expect("a temporary directory can be made");
    let mut demo = Demo::start(|command| command.env("TMPDIR", temporary.path()));
    demo.process.signal("HUP");
    assert_eq!(until(async || demo.process.exit_code()).await, Some(0));
    assert_eq!(fs::read_dir(temporary.path()).expect("it can be listed").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_on_any_port_prints_the_one_it_got() {
    let mut demo = Demo::start(|command| command);
    assert_eq!(demo.status().await, 200);
    demo.process.signal("INT");
    assert_eq!(until(async || demo.process.exit_code()).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_serves_its_shop_whatever_the_environment_says_of_a_gateway() {
    let mut demo = Demo::start(|command| {
        command
            .env("SERIN_KUBECONFIG", "/nowhere")
            .env("SERIN_INGRESS_CLASS", "other")
            .env("SERIN_CONTROLLER_CLASS", "other")
            .env("SERIN_ANNOTATIONS_PREFIX", "other")
            .env("SERIN_USE_PROXY_PROTOCOL", "true")
    });
    assert_eq!(demo.status().await, 200);
    demo.process.signal("INT");
    assert_eq!(until(async || demo.process.exit_code()).await, Some(0));
}

/// A demo that serves.
struct Demo {
    process: Process,
    host: String,
    address: net::SocketAddr,
    /// Held to the end: it could not print the rest otherwise.
    _lines: BufReader<ChildStdout>,
}

// === impl Demo ===

impl Demo {
    /// Starts one, and waits until it says where it serves.
    fn start(set: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(["demo", "--quiet", "--http-port", "0"]).stdout(Stdio::piped());
        let mut process = Process(set(&mut command).spawn().expect("the program can be started"));
        let mut lines = BufReader::new(process.0.stdout.take().expect("it is piped"));
        let mut said = lines.by_ref().lines().map_while(Result::ok);
        let url = said.find_map(|line| Some(line.split_once("http://")?.1.split_once(';')?.0.to_owned()));
        let url = url.expect("it says where it serves");
        let (host, port) = url.split_once(':').expect("it says at which port");
        let address = net::SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
        Self { process, host: host.to_owned(), address, _lines: lines }
    }

    /// The status of its shop's first page.
    async fn status(&self) -> u16 {
        let mut client = Client::connect(self.address).await.expect("it serves there");
        client.exchange(&Request::get(&self.host, "/")).await.expect("it answers").status
    }
}

/// A process, killed on drop.
struct Process(Child);

// === impl Process ===

impl Process {
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("there is a shell").success());
    }

    /// Its code once it has ended; the inner one is none where a signal ended it.
    fn exit_code(&mut self) -> Option<Option<i32>> {
        self.0.try_wait().expect("the process is a child").map(|status| status.code())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again and again until there is something.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it comes in time");
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// A gateway before one endpoint.
struct Stage {
    gateway: Gateway,
    endpoint: Echo,
    _manifests: Manifests,
}

// === impl Stage ===

impl Stage {
    async fn set(flags: &[&str]) -> Self {
        let endpoint = Echo::start("a").await;
        let manifests = Manifests::new();
        let service = manifests::service("default", "a");
        manifests.write_objects("slices.json", &manifests::slices(&service, [&endpoint]));
        manifests.write_objects("others.json", &[service, manifests::catch_all("a")]);
        let gateway = Gateway::start(manifests.path(), flags).await;
        Self { gateway, endpoint, _manifests: manifests }
    }

    /// Sends a request that takes a while, and waits until the endpoint has it.
    async fn slow_request(&self) -> tokio::task::JoinHandle<std::io::Result<crate::client::Answer>> {
        let before = self.endpoint.requests();
        let mut client = self.gateway.client().await;
        let request = Request::get("shop.example", "/").with("X-Want-Delay", "1");
        let answer = tokio::spawn(async move { client.exchange(&request).await });
        let deadline = Instant::now() + PATIENCE;
        while self.endpoint.requests() == before {
            assert!(Instant::now() < deadline, "the request reaches the endpoint");
            time::sleep(Duration::from_millis(1)).await;
        }
        answer
    }

    /// How many files the gateway has open.
    fn open_files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.gateway.process.id()));
        files.expect("the process is there").count()
    }

    async fn until_unready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.gateway.admin("/readyz").await.status == 200 {
            assert!(Instant::now() < deadline, "the gateway gets unready");
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}
