//! A gateway: source, pipeline, proxy and admin server, wired.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tracing::{error, info, warn};

use super::{cpus, descriptors, listen, logging, signals::Signals, source::Source, views};
use crate::{
    admin::{self, Admin},
    config::{ObjectFlags, RunFlags},
    lifecycle::{self, Drain, Drainer, Outcome, Readiness},
    metrics::Metrics,
    pipeline::{HoldOff, Pipeline, Published},
    proxy::{self, Proxy, log},
    tls, translate,
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
    https: Vec<SocketAddr>,
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
    drain: Drain,
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
    /// Where a port cannot be had, the manifests cannot be watched, or nothing says where the API server is.
    pub async fn start(flags: &RunFlags) -> Result<Self> {
        let source = Source::find(flags).await?;
        let epoch = Instant::now();
        let server = &flags.server;
        let workers = server.workers.unwrap_or_else(cpus::usable);
        let (metrics, metric_workers) = Metrics::new(&server.metrics(workers, &flags.objects));
        let readiness = Readiness::new();
        let starting = readiness.block("first table");
        let (drainer, drain) = lifecycle::drain();
        let published = Arc::new(Published::default());

        let admin_listeners = listen::bind(&server.addresses(server.ports.healthz()))?;
        let admin = admin_listeners.first().context("no address for the admin port")?.local_addr()?;
        let view = Admin {
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            table: views::table(published.clone()),
            problems: views::problems(published.clone()),
            certificates: views::certificates(published.clone()),
            clusters: views::clusters(published.clone(), epoch),
            log_level: logging::level(),
            showings: admin::Showings::default(),
        };
        let watch = Watch { readiness: readiness.clone(), metrics: metrics.clone(), drain: drain.clone() };
        let mut control = vec![watch.spawn("admin server", admin::serve(admin_listeners, view, drain.clone()))];

        let (batches, received) = mpsc::channel(BATCHES);
        let resolver = resolver(flags, &metrics);
        let options = translate::Options { standalone: source.is_files(), ..flags.objects.options(&flags.clients) };
        for problem in translate::trust_problems(&options.trust) {
            warn!("{problem}");
        }
        let fallback = tls::self_signed(SystemTime::now()).context("cannot make a certificate")?;
        let pipeline = Pipeline::new(options, published.clone(), metrics.clone(), resolver.clone())
            .with_fallback(Arc::new(fallback));
        control.push(watch.spawn("source", source.follow(flags, &metrics, &readiness, pipeline.named(), batches)?));
        let translated = Readiness::new();
        let synced = translated.block("first table");
        control.push(watch.spawn("pipeline", pipeline.run(received, HoldOff::default(), synced)));

        first_table(&translated).await;
        if let Ok(resolver) = &resolver
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
        let connections = descriptors::connections(server.max_connections);
        let config = flags.clients.proxy(server.proxy(workers, connections));
        let proxy = Proxy::start(config, &shared, metric_workers, logs).map_err(|error| {
            let advice = listen::advice(&error, "--http-port and --https-port");
            anyhow!("cannot serve: {error}{advice}")
        })?;
        let (http, https) = (proxy.local_addrs().to_vec(), proxy.local_tls_addrs().to_vec());
        drop(starting);
        info!(http = %http[0], https = %https[0], %admin, workers, "serving");
        Ok(Self { http, https, admin, published, readiness, drainer, proxy, log, flags: flags.clone(), control })
    }

    /// Serves until a signal asks for the end, then ends without losing a request. A second signal ends it at once.
    pub async fn run(self, mut signals: Signals) {
        let signal = signals.next().await;
        info!(signal, "leaving");
        let drainer = self.drainer.clone();
        tokio::spawn(async move {
            let signal = signals.next().await;
            warn!(signal, "ending at once");
            drainer.end_now();
        });
        self.shutdown().await;
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

    /// The addresses on which requests are served by TLS.
    #[must_use]
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.https
    }

    /// The first address of the admin port.
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
    /// Starts a task of the control side. If it ends before the process does, by a panic or otherwise, the workers go on
    /// with the last table, and the process is unready from then on: somebody has to look.
    fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let Self { readiness, metrics, drain } = self.clone();
        tokio::spawn(async move {
            // In a set, so that the work ends when this task is aborted.
            let mut working = JoinSet::new();
            working.spawn(work);
            let how = match working.join_next().await {
                Some(Err(ended)) if ended.is_panic() => format!("it ended in a panic: {ended}"),
                Some(Ok(())) if !drain.is_draining() => "it ended".to_owned(),
                _ => return,
            };
            error!(task = name, how, "a task of the control side ended before the process");
            metrics.meters().control_ended.inc();
            let _unready = readiness.block(format!("{name} (it has ended)"));
            std::future::pending::<()>().await;
        })
    }
}

/// What resolves the names of Services of type ExternalName, or why nothing does: the system has no DNS settings.
fn resolver(flags: &RunFlags, metrics: &Metrics) -> Result<Resolver, Arc<str>> {
    match Resolver::new(resolver_settings(&flags.objects), Handle::current(), metrics.meters().dns_failures.clone()) {
        Ok(resolver) => Ok(resolver),
        Err(error) => {
            warn!(%error, "no names can be resolved: Services of type ExternalName have no endpoints");
            Err(error.to_string().into())
        }
    }
}

/// How names are resolved. What no object may make the gateway call is refused unless a flag allows it.
fn resolver_settings(flags: &ObjectFlags) -> resolve::Settings {
    resolve::Settings { allow_all_addresses: flags.allow_local_external_names, ..resolve::Settings::default() }
}

/// Waits for the first table, and says now and then that it does.
async fn first_table(translated: &Readiness) {
    while timeout(PATIENCE, translated.ready()).await.is_err() {
        info!("still waiting for the first table");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{config::ClientFlags, metrics::Settings};

    #[test]
    fn names_lead_to_this_machine_only_where_a_flag_allows_it() {
        #[derive(Parser)]
        struct Command {
            #[command(flatten)]
            objects: ObjectFlags,
            #[command(flatten)]
            clients: ClientFlags,
        }
        for (arguments, allowed) in [(&["serin"][..], false), (&["serin", "--allow-local-external-names"], true)] {
            let Command { objects, clients } = Command::parse_from(arguments);
            assert_eq!(resolver_settings(&objects).allow_all_addresses, allowed, "{arguments:?}");
            // An address in the place of a name is judged by translation.
            assert_eq!(objects.options(&clients).local_external_names, allowed, "{arguments:?}");
        }
    }

    #[tokio::test]
    async fn a_task_of_the_control_side_that_ends_makes_the_process_unready() {
        for (work, how) in [("panics", "a panic"), ("returns", "no panic")] {
            let (metrics, _) = Metrics::new(&Settings::default());
            let (readiness, (_drainer, drain)) = (Readiness::new(), lifecycle::drain());
            let watch = Watch { readiness: readiness.clone(), metrics: metrics.clone(), drain };
            let ended = watch.spawn(work, async move { assert!(work != "panics", "of the test") });
            while readiness.is_ready() {
                assert!(!ended.is_finished(), "{how} goes unseen");
                tokio::task::yield_now().await;
            }
            assert_eq!(readiness.blocked_by(), [format!("{work} (it has ended)")]);
            assert_eq!(metrics.meters().control_ended.value(), 1);
            ended.abort();
        }
    }

    #[tokio::test]
    async fn a_task_may_end_with_the_process() {
        let (metrics, _) = Metrics::new(&Settings::default());
        let (readiness, (drainer, drain)) = (Readiness::new(), lifecycle::drain());
        let watch = Watch { readiness: readiness.clone(), metrics, drain };
        drainer.end_now();
        watch.spawn("good", async {}).await.expect("it ends well");
        assert!(readiness.is_ready());
    }
}
