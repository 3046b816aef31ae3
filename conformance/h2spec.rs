//! The cases of h2spec, of which none may fail: over plain connections and over TLS.
//!
//! h2spec is built by `just h2spec-tool`, once, into the cache outside the checkout; where it is not there, the tests say
//! so and pass. The proxy runs in this process, so that both of its listeners are there whatever the flags of the program.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Instant, SystemTime},
};

use serin::{
    key::{ClusterKey, Hostname, ObjectKey, PathType, PortRef, RouteId, Via},
    lifecycle::{Drainer, drain},
    live::Live,
    metrics::{Metrics, RouteLabels, RouteState, Settings},
    proxy::{
        Config, Proxy, RoutingTable, Shared,
        log::{self, Format},
    },
    route::{Host, HostBuilder, PathRule, Policy, Route, Side, Split},
    tls::{self, CertificateSet, Certificates},
    upstream::{Cluster, EndpointSpec, Endpoints},
};

use crate::{echo::Echo, peer};

/// The version that the recipe builds, under which it lies in the cache.
const VERSION: &str = "2.2.1";
/// How many cases it has, those of its strict mode among them.
const CASES: &str = "146 tests, 146 passed, 0 skipped, 0 failed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_over_plain_connections() {
    let Some(h2spec) = h2spec() else { return };
    let endpoint = Echo::start("a").await;
    let served = Served::start(endpoint.address);
    assert_passes(&h2spec, served.plain, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_passes_over_tls() {
    let Some(h2spec) = h2spec() else { return };
    let endpoint = Echo::start("a").await;
    let served = Served::start(endpoint.address);
    assert_passes(&h2spec, served.with_tls, &["--tls", "--insecure"]);
}

/// Runs all cases against a listener.
fn assert_passes(h2spec: &PathBuf, listener: SocketAddr, flags: &[&str]) {
    let output = Command::new(h2spec)
        .args(["--strict", "--timeout", "5", "--host", &listener.ip().to_string()])
        .args(["--port", &listener.port().to_string()])
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("h2spec starts");
    let told = String::from_utf8_lossy(&output.stdout);
    // Its exit code is 0 also where it could not connect.
    let passed = output.status.success() && told.contains(CASES);
    assert!(passed, "{told}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Where h2spec is: in the cache, or on the path.
fn h2spec() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let built = cache.map(|cache| cache.join(format!("serin/tools/h2spec-{VERSION}/bin/h2spec")));
    built.filter(|program| program.is_file()).or_else(|| peer::program("h2spec"))
}

/// A proxy in this process that serves any host from one endpoint.
struct Served {
    plain: SocketAddr,
    with_tls: SocketAddr,
    drainer: Drainer,
    proxy: Option<Proxy>,
}

// === impl Served ===

impl Served {
    fn start(endpoint: SocketAddr) -> Self {
        let (metrics, meters) = Metrics::new(&Settings::default());
        let (_, logs) = log::start(Format::Off, Box::new(io::sink()), 1, metrics.meters()).expect("a log starts");
        let (drainer, drain) = drain();
        let mut certificates = Certificates::default();
        let certificate = tls::self_signed(SystemTime::now()).expect("there is randomness");
        certificates.set_default(Arc::new(CertificateSet::of([Arc::new(certificate).into()])));
        let shared = Shared {
            table: Arc::new(Live::new(table(endpoint, &metrics))),
            certificates: Arc::new(Live::new(certificates)),
            credentials: Arc::default(),
            drain,
            metrics,
            epoch: Instant::now(),
        };
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen: vec![free], listen_tls: vec![free], ..Config::default() };
        let proxy = Proxy::start(config, &shared, meters, logs).expect("loopback ports are free");
        let (plain, with_tls) = (proxy.local_addrs()[0], proxy.local_tls_addrs()[0]);
        Self { plain, with_tls, drainer, proxy: Some(proxy) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.drainer.end_now();
        if let Some(proxy) = self.proxy.take() {
            proxy.join();
        }
    }
}

fn table(endpoint: SocketAddr, metrics: &Metrics) -> RoutingTable {
    let port = PortRef::Number(80);
    let cluster = Cluster::new(ClusterKey { namespace: "a".into(), service: "a".into(), port, via: Via::default() });
    cluster.replace(&Endpoints::of([EndpointSpec::new(endpoint)]));
    let of = |text: &str| text.into();
    let labels = RouteLabels { namespace: of("a"), ingress: of("a"), service: of("a"), path: of("/"), host: of("") };
    let ingress = ObjectKey::ingress("a", "a");
    let route = Route {
        id: RouteId { host: Hostname::any(), path: "/".into(), path_type: PathType::Prefix, ingress },
        state: Arc::new(RouteState::new(metrics, labels, [])),
        path: PathRule::Prefix("/".into()),
        split: Split::to(Side::new(cluster, "a-a-80")),
        policy: Arc::new(Policy::default()),
        service: "a".into(),
    };
    let host = Host::Routes(HostBuilder::new(Hostname::any()).push(route).build());
    RoutingTable::new().with_host(Hostname::any(), Some(Arc::new(host)))
}
