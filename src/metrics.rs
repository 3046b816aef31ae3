//! What is measured, and how it is shown.
//!
//! [`Metrics`] is the registry: it holds everything that is counted and writes it as Prometheus text. What happens once
//! per request or connection is counted by a [`Worker`] in cells that only its own thread writes, and by a
//! [`RouteState`] in cells of that worker: no lock, no shared cache line, no allocation once a combination of labels
//! has been seen. What happens rarely is counted by the handles of [`Meters`].
//!
//! Series of requests have ingress-nginx's names and labels, so that dashboards and release tools go on; what is our
//! own is called `serin_…`. A request that no route takes is in no such series, unlike with ingress-nginx, which has one
//! without the labels of a route for each host: it is counted as a refusal. Labels are bounded: they come from objects or from the text of this program, never from
//! a request; unknown methods are `OTHER`.

mod certificates;
mod chain;
mod histogram;
mod meters;
mod process;
mod requests;
mod text;
mod worker;

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use self::{
    certificates::{CertificateGauges, CertificateLabels},
    meters::{Counter, CounterVec, Gauge, GaugeVec, Meters, ReadCounter},
    requests::{Method, RequestCounts, RouteLabels, RouteState, Sample, UpstreamTimes},
    worker::{Connection, ConnectionState, Count, Worker},
};
use self::{process::Process, requests::Requests, text::ConstLabels, worker::Totals};

/// The registry. Clones are the same registry.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

/// What to measure, and under which names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How many workers count.
    pub workers: usize,
    /// The labels `controller_namespace`, `controller_class` and `controller_pod` of every series.
    pub namespace: String,
    pub class: String,
    pub pod: String,
    /// Whether series of requests have the label `host` (`--metrics-per-host`).
    pub per_host: bool,
    /// Whether statuses are shown as classes: `5xx` (`--report-status-classes`).
    pub status_classes: bool,
    /// How long the series of a route stay after it is gone.
    pub linger: Duration,
}

struct Inner {
    registry: prometheus::Registry,
    meters: Meters,
    requests: Requests,
    /// Also makes one scrape wait for another.
    totals: Mutex<(Totals, Process)>,
}

// === impl Metrics ===

impl Metrics {
    /// A registry, and as many workers as `settings` asks for, each to be moved to its thread.
    ///
    /// # Panics
    ///
    /// Where two meters of this program have the same name, which every test would notice.
    #[must_use]
    pub fn new(settings: &Settings) -> (Self, Vec<Worker>) {
        let labels = ConstLabels::new(settings);
        let registry = labels.registry();
        let workers: Vec<_> = (0..settings.workers).map(Worker::new).collect();
        let metrics = Self(Arc::new(Inner {
            meters: Meters::new(&registry, &settings.class),
            requests: Requests::new(settings, labels),
            totals: Mutex::new((Totals::new(&registry, &workers), Process::new(&registry))),
            registry,
        }));
        (metrics, workers)
    }

    /// The handles of what is counted rarely.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.0.meters
    }

    /// Writes everything as Prometheus text, version 0.0.4, and forgets what has been gone for long.
    ///
    /// # Errors
    ///
    /// Where `out` fails.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let families = {
            let mut totals = self.0.totals.lock().unwrap_or_else(PoisonError::into_inner);
            let (totals, process) = &mut *totals;
            totals.update();
            process.update();
            self.0.meters.regex_exhausted.update();
            self.0.registry.gather()
        };
        // From here on nothing is held: `out` may wait for a slow reader.
        text::write_families(&families, out)?;
        self.0.requests.write_to(Instant::now(), out)
    }

    /// The media type of what [`Metrics::write_to`] writes.
    #[must_use]
    pub fn content_type() -> &'static str {
        "text/plain; version=0.0.4; charset=utf-8"
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 1,
            namespace: "default".to_owned(),
            class: "k8s.io/ingress-nginx".to_owned(),
            pod: "serin".to_owned(),
            per_host: true,
            status_classes: false,
            linger: Duration::from_secs(600),
        }
    }
}

#[cfg(test)]
mod tests;
