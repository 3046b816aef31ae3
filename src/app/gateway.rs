//! A gateway: source, pipeline, proxy and admin server, wired.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tracing::{error, info, warn};

use super::{cpus, logging, signals::Signals, views};
use crate::{
    admin::{self, Admin},
    config::RunFlags,
    lifecycle::{self, Drainer, Outcome, Readiness},
    metrics::Metrics,
    pipeline::{HoldOff, Pipeline, Published},
    proxy::{self, Proxy, log},
    source::files,
    translate,
    upstream::{Resolver, resolve},
};

/// How many batches of changes wait for the pipeline; more wait in the source.
const BATCHES: usize = 16;

/// How long to wait before saying what is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long DNS may take with the names of the first table.
const FIRST_NAMES: Duration = Duration::from_secs(5);

/// How long the reader of the access log may take with the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    http: Vec<SocketAddr>,
    admin: SocketAddr,
    published: Arc<Published>,
    readiness: Readiness,
    drainer: Drainer,
    proxy: Proxy,
    log: log::Writer,
    flags: RunFlags,
    /// The tasks of the control side, which end with the gateway.
    control: Vec<JoinHandle<()>>,
}

/// Watches the tasks of the control side.
#[derive(Clone)]
struct Watch {
    readiness: Readiness,
    metrics: Metrics,
}

/// How many requests each side of a route has served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSplit {
    /// Host and path.
    pub route: String,
    /// The Services, the stable one first, and how many requests each has served.
    pub sides: Vec<(String, u64)>,
}

// === impl Gateway ===

impl Gateway {
    /// Starts a gateway, and returns once it serves its first table.
    ///
    /// # Errors
    ///
    /// Where a port cannot be had, or the manifests cannot be watched.
    pub async fn start(flags: &RunFlags) -> Result<Self> {
        let manifests = &flags.manifests;
        if !manifests.exists() {
            bail!("there is nothing at {}; name a directory of manifests, or a file", manifests.display());
        }
        let epoch = Instant::now();
        let server = &flags.server;
        let workers = server.workers.unwrap_or_else(cpus::usable);
        let (metrics, metric_workers) = Metrics::new(&server.metrics(workers, &flags.objects));
        let readiness = Readiness::new();
        let starting = readiness.block("first table");
        let (drainer, drain) = lifecycle::drain();
        let published = Arc::new(Published::default());

        let admin_listener = listen_admin(&server.addresses(server.healthz_port)).await?;
        let admin = admin_listener.local_addr().context("the admin port has no address")?;
        let view = Admin {
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            table: views::table(published.clone()),
            problems: views::problems(published.clone()),
            clusters: views::clusters(published.clone(), epoch),
            log_level: logging::level(),
        };
        let watch = Watch { readiness: readiness.clone(), metrics: metrics.clone() };
        let mut control = vec![watch.spawn("admin server", admin::serve(admin_listener, view, drain.clone()))];

        let (batches, received) = mpsc::channel(BATCHES);
        let config = files::Config { path: manifests.clone(), endpoints: flags.objects.endpoint.clone() };
        let mut following = files::follow(config).with_context(|| format!("cannot watch {}", manifests.display()))?;
        control.push(watch.spawn("source", async move {
            while let Some(batch) = following.next().await {
                if batches.send(batch).await.is_err() {
                    return;
                }
            }
        }));
        let resolver = resolver(flags, &metrics);
        let options = flags.objects.options(&flags.clients);
        for problem in translate::trust_problems(&options.trust) {
            warn!("{problem}");
        }
        let pipeline = Pipeline::new(options, published.clone(), metrics.clone(), resolver.clone());
        let translated = Readiness::new();
        let synced = translated.block("first table");
        control.push(watch.spawn("pipeline", pipeline.run(received, HoldOff::default(), synced)));

        first_table(&translated).await;
        if let Some(resolver) = &resolver
            && timeout(FIRST_NAMES, resolver.answered()).await.is_err()
        {
            warn!("serving without an answer for some names: see the clusters of Services of type ExternalName");
        }
        let (log, logs) = log::start(server.access_log.into(), Box::new(io::stdout()), workers.get(), metrics.meters())
            .context("cannot start the access log")?;
        let shared = proxy::Shared {
            credentials: published.credentials.clone(),
            table: published.table.clone(),
            certificates: published.certificates.clone(),
            drain,
            metrics: metrics.clone(),
            epoch,
        };
        let config = flags.clients.proxy(server.proxy(workers));
        let proxy = Proxy::start(config, &shared, metric_workers, logs).context("cannot serve")?;
        let http = proxy.local_addrs().to_vec();
        drop(starting);
        info!(http = %http[0], %admin, workers, "serving");
        Ok(Self { http, admin, published, readiness, drainer, proxy, log, flags: flags.clone(), control })
    }

    /// Serves until a signal asks for the end, then ends without losing a request. A second signal ends it at once.
    ///
    /// # Errors
    ///
    /// Where signals cannot be caught.
    pub async fn run(self) -> Result<()> {
        let mut signals = Signals::catch()?;
        let signal = signals.next().await;
        info!(signal, "leaving");
        let drainer = self.drainer.clone();
        tokio::spawn(async move {
            let signal = signals.next().await;
            warn!(signal, "ending at once");
            drainer.end_now();
        });
        self.shutdown().await;
        Ok(())
    }

    /// Ends: unready at once, closing after the delay, cut off at the deadline, and returns as soon as nothing is left.
    pub async fn shutdown(self) -> Outcome {
        let server = &self.flags.server;
        let outcome = self.drainer.run(&self.readiness, server.shutdown_delay, server.shutdown_timeout).await;
        match &outcome {
            Outcome::Clean => info!("nothing is left"),
            Outcome::Cut(left) => warn!(?left, "cut off"),
        }
        for task in self.control {
            task.abort();
        }
        // The workers end by the same drain; their threads are waited for where waiting disturbs nobody.
        let (proxy, log) = (self.proxy, self.log);
        let written = tokio::task::spawn_blocking(move || {
            proxy.join();
            log.finish(LAST_LINES)
        });
        if !written.await.unwrap_or(false) {
            warn!("the last lines of the access log could not be written");
        }
        outcome
    }

    /// The addresses on which requests are served.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The address of the admin port.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Counts the requests of each route's sides, whenever it is called.
    pub fn splits(&self) -> impl Fn() -> Vec<RouteSplit> + Send + use<> {
        let published = self.published.clone();
        move || views::splits(&published)
    }
}

// === impl Watch ===

impl Watch {
    /// Starts a task of the control side. If it panics, the workers go on with the last table, and the process is
    /// unready from then on: somebody has to look.
    fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let Self { readiness, metrics } = self.clone();
        tokio::spawn(async move {
            // In a set, so that the work ends when this task is aborted.
            let mut working = JoinSet::new();
            working.spawn(work);
            if let Some(Err(ended)) = working.join_next().await
                && ended.is_panic()
            {
                error!(task = name, %ended, "a task of the control side ended in a panic");
                metrics.meters().control_panics.inc();
                let _unready = readiness.block(format!("{name} (it ended in a panic)"));
                std::future::pending::<()>().await;
            }
        })
    }
}

/// What resolves the names of Services of type ExternalName. Where the system has no DNS settings, nothing does.
fn resolver(flags: &RunFlags, metrics: &Metrics) -> Option<Resolver> {
    let settings = resolve::Settings {
        allow_all_addresses: flags.objects.allow_local_external_names,
        ..resolve::Settings::default()
    };
    match Resolver::new(settings, Handle::current(), metrics.meters().dns_failures.clone()) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            warn!(%error, "no names can be resolved: Services of type ExternalName have no endpoints");
            None
        }
    }
}

/// Listens on the first of the addresses that can be had. Where the machine has no IPv6, its wildcard is IPv4's.
async fn listen_admin(addresses: &[SocketAddr]) -> Result<TcpListener> {
    let mut failed = None;
    let wildcards = addresses.iter().filter(|address| address.ip().is_unspecified());
    let of_v4 = wildcards.map(|address| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())));
    for address in addresses.iter().copied().chain(of_v4) {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = failed.or(Some((address, error))),
        }
    }
    let (address, error) = failed.context("no address for the admin port")?;
    Err(error).with_context(|| format!("cannot listen on {address} for health and metrics"))
}

/// Waits for the first table, and says now and then that it does.
async fn first_table(translated: &Readiness) {
    while timeout(PATIENCE, translated.ready()).await.is_err() {
        info!("still waiting for the first table");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Settings;

    #[tokio::test]
    async fn a_panic_of_the_control_side_makes_the_process_unready() {
        let (metrics, _) = Metrics::new(&Settings::default());
        let readiness = Readiness::new();
        let watch = Watch { readiness: readiness.clone(), metrics: metrics.clone() };
        watch.spawn("good", async {}).await.expect("it ends well");
        assert!(readiness.is_ready());

        let bad = watch.spawn("bad", async { panic!("of the test") });
        while readiness.is_ready() {
            tokio::task::yield_now().await;
        }
        assert_eq!(readiness.blocked_by(), ["bad (it ended in a panic)"]);
        assert_eq!(metrics.meters().control_panics.value(), 1);
        bad.abort();
    }
}
