//! A control plane of its own for a test: etcd and kube-apiserver, controllers where they are wanted, and no node.
//!
//! It lives in the test's [namespace](crate::namespace), so its ports are always the same. Each process can be killed and
//! started again over what it had stored.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use serin::tls::{Authority, Made};
use tokio::time::{self, Instant};

use crate::{
    client::{self, PATIENCE, Request},
    gateway::Gateway,
    namespace,
};

const ETCD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2379);
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);
/// How long anything of the control plane may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// Those that need no node, and without which objects do not follow from each other, nor namespaces end.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,endpointslice-controller,endpoints-controller,\
    endpointslice-mirroring-controller,namespace-controller,serviceaccount-controller,garbage-collector-controller";

/// A running control plane; its processes are killed on drop.
pub(crate) struct ControlPlane {
    /// Holds what is stored, the credentials, and the logs.
    dir: PathBuf,
    /// More flags of the API server.
    flags: &'static [&'static str],
    admin: Client,
    // Killed in this order, so that no log ends with complaints about the death of another.
    controllers: Option<Process>,
    api: Option<Process>,
    etcd: Option<Process>,
}

/// Whom the API server knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// May do everything.
    Admin,
    /// May do what is [granted](ControlPlane::grant).
    Serin,
    /// The controllers, which may do what they need.
    Controllers,
}

/// A process that is killed on drop.
#[derive(Debug)]
struct Process(Child);

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts etcd and the API server, and waits until they are ready and there is a namespace `default`.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`start`](Self::start), with more flags for the API server.
    pub(crate) async fn start_with(flags: &'static [&'static str]) -> Self {
        let started = Instant::now();
        let dir = env::temp_dir().join("control-plane");
        fs::create_dir(&dir).expect("there is one control plane in a namespace");
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("the directory can be written to");

        let authority = Authority::from_now("Control plane", SystemTime::now()).expect("an authority can be made");
        let issued = authority
            .issue_from_now(&[&API.ip().to_string()], Made::EcdsaP256, SystemTime::now())
            .expect("it can be issued");
        let accounts = rcgen::KeyPair::generate().expect("there is randomness");
        write("authority.crt", authority.certificate());
        write("api.crt", &issued.chain);
        write("api.key", &issued.key);
        write("accounts.key", &accounts.serialize_pem());
        write("accounts.pub", &accounts.public_key_pem());
        let mut tokens = String::new();
        for user in [User::Admin, User::Serin, User::Controllers] {
            let (name, token, groups) = (user.name(), user.token(), user.groups());
            writeln!(tokens, "{token},{name},{name},\"{groups}\"").expect("a string takes all");
            write(user.kubeconfig(), &kubeconfig(&dir, API.port(), token));
        }
        write("tokens.csv", &tokens);

        let admin = client_by(dir.join(User::Admin.kubeconfig())).await;
        let mut control_plane = Self { dir, flags, admin, controllers: None, api: None, etcd: None };
        control_plane.etcd = Some(control_plane.spawn_etcd());
        control_plane.start_api().await;
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } });
        until(READY, "there is a namespace", async || control_plane.read(&namespace).await.ok()).await;
        eprintln!("the control plane was ready after {:.1} s", started.elapsed().as_secs_f64());
        control_plane
    }

    /// A client that may do everything.
    pub(crate) fn client(&self) -> Client {
        self.admin.clone()
    }

    /// A client of a user, with connections of its own.
    pub(crate) async fn client_of(&self, user: User) -> Client {
        client_by(self.kubeconfig(user)).await
    }

    /// The file that tells a user's programs how to reach the API server.
    pub(crate) fn kubeconfig(&self, user: User) -> PathBuf {
        self.dir.join(user.kubeconfig())
    }

    /// The certificate of the authority that the API server is known by.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.join("authority.crt")
    }

    /// As [`kubeconfig`](Self::kubeconfig), for a way to the API server that begins at another port.
    pub(crate) fn kubeconfig_at(&self, user: User, port: u16) -> PathBuf {
        self.write_kubeconfig(&format!("{port}.kubeconfig"), port, user.token())
    }

    /// As [`kubeconfig`](Self::kubeconfig), for whoever has a token.
    pub(crate) fn kubeconfig_by(&self, token: &str) -> PathBuf {
        self.write_kubeconfig("token.kubeconfig", API.port(), token)
    }

    fn write_kubeconfig(&self, name: &str, port: u16, token: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, kubeconfig(&self.dir, port, token)).expect("the directory can be written to");
        path
    }

    /// Runs `kubectl` as the user who may do everything. Returns what it says.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(namespace::program("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig(User::Admin)).args(arguments);
        let output = command.output().expect("it can be started");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }

    /// Makes an object, or makes it what is given here.
    pub(crate) async fn apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        let params = PatchParams::apply("test").force();
        self.api_of(object).patch(name_of(object), &params, &Patch::Apply(object)).await
    }

    /// Reads the object that has the kind, the namespace and the name of this one.
    pub(crate) async fn read(&self, object: &Value) -> kube::Result<DynamicObject> {
        self.api_of(object).get(name_of(object)).await
    }

    /// Deletes the object that has the kind, the namespace and the name of this one. It may still be there afterwards.
    pub(crate) async fn delete(&self, object: &Value) -> kube::Result<()> {
        self.api_of(object).delete(name_of(object), &DeleteParams::default()).await.map(drop)
    }

    /// Lets a user do in the whole cluster what these rules of a ClusterRole say. The API server takes a moment to heed it.
    pub(crate) async fn grant(&self, user: User, rules: Value) -> kube::Result<()> {
        let (name, group) = (user.name(), "rbac.authorization.k8s.io");
        let version = format!("{group}/v1");
        let role =
            json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules });
        let binding = json!({
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": name }],
        });
        self.apply(&role).await?;
        self.apply(&binding).await?;
        Ok(())
    }

    /// Starts a gateway that watches this cluster as the user `serin`, and waits until it is ready.
    pub(crate) async fn gateway(&self, flags: &[&str]) -> Gateway {
        Gateway::spawn(Self::program_of_gateway(&self.kubeconfig(User::Serin), flags)).await
    }

    /// The program of a gateway that finds this cluster by a kubeconfig.
    pub(crate) fn program_of_gateway(kubeconfig: &Path, flags: &[&str]) -> Command {
        let mut program = Gateway::command(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        program.arg("--kubeconfig").arg(kubeconfig).args(flags);
        program
    }

    /// Kills the API server.
    pub(crate) fn kill_api(&mut self) {
        self.api = None;
    }

    /// Starts the API server, which was killed, and waits until it is ready.
    pub(crate) async fn start_api(&mut self) {
        self.api = Some(self.spawn_api());
        self.until_ready().await;
    }

    /// Waits until the API server says that it is ready, which it is not for a while after etcd was started again.
    pub(crate) async fn until_ready(&self) {
        until(READY, "the API server gets ready", async || {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("it is a request");
            self.admin.request_text(request).await.ok()
        })
        .await;
    }

    /// Kills etcd.
    pub(crate) fn kill_etcd(&mut self) {
        self.etcd = None;
    }

    /// Starts etcd, which was killed, over what it had stored, and waits until it answers.
    pub(crate) async fn start_etcd(&mut self) {
        self.etcd = Some(self.spawn_etcd());
        until(READY, "etcd answers", async || self.etcd_revision().await).await;
    }

    /// Stops the API server as it is: its connections stay, and nothing comes.
    pub(crate) fn freeze_api(&self) {
        self.api.as_ref().expect("the API server runs").freeze();
    }

    /// Lets the API server go on.
    pub(crate) fn thaw_api(&self) {
        self.api.as_ref().expect("the API server runs").signal("CONT");
    }

    /// Makes etcd forget all that was before. The API server remembers a part of it for itself, until it is killed.
    pub(crate) async fn compact(&self) {
        let revision = self.etcd_revision().await.expect("etcd answers");
        let request = json!({ "revision": revision, "physical": true });
        self.ask_etcd("/v3/kv/compaction", &request).await.expect("what was written can be compacted");
    }

    /// Puts what etcd stores aside, or back, while neither it nor the API server runs.
    pub(crate) fn copy_etcd(&self, from: &str, to: &str) {
        assert!(self.etcd.is_none() && self.api.is_none(), "nobody writes meanwhile");
        let _ = fs::remove_dir_all(self.dir.join(to));
        let copied = Command::new("cp").arg("-r").args([self.dir.join(from), self.dir.join(to)]).status();
        assert!(copied.expect("there is cp").success(), "the directory can be copied");
    }

    /// Starts what lets objects follow from each other, among it the end of namespaces.
    pub(crate) fn start_controllers(&mut self) {
        let mut program = self.program("kube-controller-manager");
        for flag in ["--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig"] {
            program.arg(flag).arg(self.kubeconfig(User::Controllers));
        }
        program.args(["--bind-address=127.0.0.1", "--leader-elect=false", "--use-service-account-credentials=true"]);
        program.args(["--service-account-private-key-file=accounts.key", "--root-ca-file=authority.crt"]);
        program.args(["--controllers", CONTROLLERS]);
        self.controllers = Some(Process::spawn(program));
    }

    fn spawn_etcd(&self) -> Process {
        let mut program = self.program("etcd");
        // What is lost when the machine stops is of no interest, and with one member no election has to be patient.
        program.args([
            "--data-dir=etcd",
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--heartbeat-interval=10",
            "--election-timeout=100",
        ]);
        for flag in ["--listen-client-urls", "--advertise-client-urls"] {
            program.arg(flag).arg(format!("http://{ETCD}"));
        }
        for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            program.arg(flag).arg("http://127.0.0.1:2380");
        }
        program.arg("--initial-cluster=default=http://127.0.0.1:2380");
        Process::spawn(program)
    }

    fn spawn_api(&self) -> Process {
        let mut program = self.program("kube-apiserver");
        program.arg("--etcd-servers").arg(format!("http://{ETCD}"));
        program.arg("--bind-address").arg(API.ip().to_string()).arg("--secure-port").arg(API.port().to_string());
        // It would refuse to publish itself at a loopback address.
        program.args(["--advertise-address=10.244.0.1", "--endpoint-reconciler-type=none"]);
        program.args(["--tls-cert-file=api.crt", "--tls-private-key-file=api.key", "--client-ca-file=authority.crt"]);
        program.args(["--token-auth-file=tokens.csv", "--authorization-mode=Node,RBAC", "--allow-privileged=true"]);
        program.args(["--service-account-issuer=https://kubernetes.default.svc"]);
        program.args(["--service-account-key-file=accounts.pub", "--service-account-signing-key-file=accounts.key"]);
        program.args(["--service-cluster-ip-range=10.96.0.0/16", "--kubelet-preferred-address-types=InternalIP"]);
        program.args(self.flags);
        Process::spawn(program)
    }

    /// A program of the control plane that writes to its log, behind what it had written before.
    fn program(&self, name: &str) -> Command {
        let log = File::options().create(true).append(true).open(self.dir.join(format!("{name}.log")));
        let log = log.expect("the directory can be written to");
        let mut command = Command::new(namespace::program(name));
        command.current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("there are descriptors")).stderr(log);
        command
    }

    /// How far etcd's history goes, if it answers.
    async fn etcd_revision(&self) -> Option<String> {
        let status = self.ask_etcd("/v3/maintenance/status", &json!({})).await?;
        Some(status["header"]["revision"].as_str()?.to_owned())
    }

    /// Asks etcd by JSON.
    async fn ask_etcd(&self, path: &str, question: &Value) -> Option<Value> {
        let mut client = client::Client::connect(ETCD).await.ok()?;
        let body = Some(question.to_string().into_bytes());
        let request = Request { method: "POST".into(), body, ..Request::get("etcd", path) };
        let answer = client.exchange(&request).await.ok()?;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).ok())?
    }

    /// Where the objects of its kind in its namespace are.
    pub(crate) fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let text = |value: &Value| value.as_str().expect("an object says what it is").to_owned();
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &resource),
            None => Api::all_with(self.client(), &resource),
        }
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("an object has a name")
}

/// A kubeconfig for whoever has a token.
fn kubeconfig(dir: &Path, port: u16, token: &str) -> String {
    let (server, authority) = (format!("https://127.0.0.1:{port}"), dir.join("authority.crt"));
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": "test", "user": { "token": token } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    })
    .to_string()
}

async fn client_by(kubeconfig: PathBuf) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("it was written here");
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("it is whole")).expect("a client can be made")
}

/// Asks again and again until there is something, or as long as anything may take.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    until(PATIENCE, what, ask).await
}

async fn until<T>(patience: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Ok(Some(found)) = time::timeout_at(deadline, ask()).await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} within {patience:?}");
        time::sleep(Duration::from_millis(10)).await;
    }
}

// === impl User ===

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Serin => "serin",
            Self::Controllers => "system:kube-controller-manager",
        }
    }

    fn token(self) -> &'static str {
        match self {
            Self::Admin => "admin-token",
            Self::Serin => "serin-token",
            Self::Controllers => "controllers-token",
        }
    }

    fn groups(self) -> &'static str {
        if self == Self::Admin { "system:masters" } else { "" }
    }

    fn kubeconfig(self) -> &'static str {
        match self {
            Self::Admin => "admin.kubeconfig",
            Self::Serin => "serin.kubeconfig",
            Self::Controllers => "controllers.kubeconfig",
        }
    }
}

// === impl Process ===

impl Process {
    fn spawn(mut command: Command) -> Self {
        Self(command.spawn().expect("the program can be started"))
    }

    /// Returns when none of its threads runs any more. On a busy machine that can be a while after the signal.
    fn freeze(&self) {
        self.signal("STOP");
        let process = rustix::process::Pid::from_child(&self.0);
        let changed = rustix::process::waitpid(Some(process), rustix::process::WaitOptions::UNTRACED);
        let (_, status) = changed.expect("the process is a child").expect("it was waited for");
        assert!(status.stopped(), "{status:?}");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
        assert!(status.success(), "the process is there");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
