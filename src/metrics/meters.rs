//! The handles of what is counted rarely.

use std::{
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector};

use super::certificates::CertificateGauges;

/// What is counted besides requests: one handle each, cheap to clone.
#[derive(Clone, Debug)]
pub struct Meters {
    /// The hosts, routes and clusters of the table.
    pub hosts: Gauge,
    pub routes: Gauge,
    pub clusters: Gauge,
    /// What is wrong with objects, by reason and level.
    pub problems: GaugeVec<2>,
    /// Objects that are in use, by kind.
    pub objects: GaugeVec<1>,
    /// Objects of kinds that are not used.
    pub objects_ignored: Gauge,
    /// Files of manifests that could not be read or parsed.
    pub file_errors: Counter,
    /// Whether a kind is watched on the API server, 1 or 0, by kind.
    pub watch_up: GaugeVec<1>,
    /// Watches that broke or could not be made, by kind.
    pub watch_errors: CounterVec<1>,
    /// Lines of the access log that were lost, by why: `full`, `write`.
    pub log_lines_dropped: CounterVec<1>,
    /// Endpoints that were passed over for a while because they failed.
    pub ejections: Counter,
    /// Names that could not be resolved.
    pub dns_failures: Counter,
    /// Searches that a regex with backtracking gave up.
    pub regex_exhausted: ReadCounter,
    /// The certificates that serve.
    pub certificates: CertificateGauges,
    /// Panics outside of workers.
    pub control_ended: Counter,
    publishes: Counter,
    table: Gauge,
    reloads: Counter,
    reload_successful: Gauge,
    reload_timestamp: Gauge,
}

/// A number that grows.
#[derive(Clone, Debug)]
pub struct Counter(IntCounter);

/// A number that grows and that a module keeps which knows nothing of metrics: it is read for each scrape.
#[derive(Clone, Debug)]
pub struct ReadCounter {
    shown: IntCounter,
    read: Arc<OnceLock<fn() -> u64>>,
}

/// A number that grows and shrinks.
#[derive(Clone, Debug)]
pub struct Gauge(IntGauge);

/// Numbers that grow, by `N` labels. Values of labels stand in the text of this program, so there are few.
#[derive(Clone, Debug)]
pub struct CounterVec<const N: usize>(IntCounterVec);

/// Numbers that grow and shrink, by `N` labels. Values of labels stand in the text of this program, so there are few.
#[derive(Clone, Debug)]
pub struct GaugeVec<const N: usize>(IntGaugeVec);

// === impl Meters ===

impl Meters {
    pub(super) fn new(registry: &Registry, class: &str) -> Self {
        let counter = |name, help| Counter(counter(registry, name, help));
        let gauge = |name, help| Gauge(register(registry, IntGauge::new(name, help)));

        let build_info = gauge_vec(
            registry,
            "nginx_ingress_controller_build_info",
            "Always 1; its labels tell what runs",
            &["release", "build", "repository"],
        );
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION"), option_env!("SERIN_BUILD").unwrap_or("unknown"), "serin"])
            .set(1);

        Self {
            hosts: gauge("serin_hosts", "Hosts of the table"),
            routes: gauge("serin_routes", "Routes of the table"),
            clusters: gauge("serin_clusters", "Clusters that the table names"),
            problems: GaugeVec(gauge_vec(
                registry,
                "serin_problems",
                "What is wrong with objects",
                &["reason", "level"],
            )),
            objects: GaugeVec(gauge_vec(registry, "serin_objects", "Objects as last observed", &["kind"])),
            objects_ignored: gauge("serin_objects_ignored", "Objects of kinds that are not used"),
            file_errors: counter(
                "serin_file_errors_total",
                "Files and directories of manifests that could not be read or parsed",
            ),
            watch_up: GaugeVec(gauge_vec(
                registry,
                "serin_watch_up",
                "Whether objects of a kind are watched on the API server: 0 while what was last known serves",
                &["kind"],
            )),
            watch_errors: CounterVec(counter_vec(
                registry,
                "serin_watch_errors_total",
                "Watches on the API server that broke or could not be made",
                &["kind"],
            )),
            log_lines_dropped: CounterVec(counter_vec(
                registry,
                "serin_access_log_lines_dropped_total",
                "Lines of the access log that were lost: full (the reader is too slow), write (it failed)",
                &["why"],
            )),
            ejections: counter("serin_ejections_total", "Endpoints passed over for a while because they failed"),
            dns_failures: counter("serin_dns_failures_total", "Names that could not be resolved"),
            certificates: CertificateGauges::new(registry, class),
            regex_exhausted: ReadCounter {
                shown: self::counter(
                    registry,
                    "serin_regex_exhausted_total",
                    "Searches of regexes with look-around or back-references that were given up, and so found nothing",
                ),
                read: Arc::default(),
            },
            control_ended: counter(
                "serin_control_tasks_ended_total",
                "Tasks other than workers' that ended before the process, by a panic or otherwise",
            ),
            publishes: counter("serin_publishes_total", "Tables that were published"),
            table: gauge("serin_table_number", "The number of the table that serves"),
            reloads: counter("nginx_ingress_controller_success", "Tables that were published"),
            reload_successful: gauge(
                "nginx_ingress_controller_config_last_reload_successful",
                "Whether the last table could be published: 1 from the first on, as a table never fails as a whole",
            ),
            reload_timestamp: gauge(
                "nginx_ingress_controller_config_last_reload_successful_timestamp_seconds",
                "When the last table was published, in seconds since 1970",
            ),
        }
    }

    /// Notes that a table was published under `number`, also under the names of ingress-nginx's reloads.
    pub fn published(&self, number: u64, now: SystemTime) {
        self.publishes.inc();
        self.table.set(number);
        self.reloads.inc();
        self.reload_successful.set(1);
        self.reload_timestamp.set(now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    }
}

// === impl Counter ===

impl Counter {
    pub fn inc(&self) {
        self.0.inc();
    }

    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }

    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

// === impl ReadCounter ===

impl ReadCounter {
    /// Says where the number is. Where it is does not change: what comes first stays.
    pub fn read_from(&self, read: fn() -> u64) {
        let _ = self.read.set(read);
    }

    /// Brings what is shown up to date.
    pub(super) fn update(&self) {
        if let Some(read) = self.read.get() {
            show(&self.shown, read());
        }
    }
}

// === impl Gauge ===

impl Gauge {
    /// Sets it; what no series can hold becomes the greatest that one can.
    pub fn set(&self, value: u64) {
        self.0.set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub fn inc(&self) {
        self.0.inc();
    }

    pub fn dec(&self) {
        self.0.dec();
    }

    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.get()
    }
}

// === impl CounterVec ===

impl<const N: usize> CounterVec<N> {
    /// The counter under these labels.
    #[must_use]
    pub fn with(&self, labels: [&'static str; N]) -> Counter {
        Counter(self.0.with_label_values(&labels))
    }
}

// === impl GaugeVec ===

impl<const N: usize> GaugeVec<N> {
    /// The gauge under these labels.
    #[must_use]
    pub fn with(&self, labels: [&'static str; N]) -> Gauge {
        Gauge(self.0.with_label_values(&labels))
    }

    /// Sets these; series of other labels leave.
    pub fn replace(&self, values: impl IntoIterator<Item = ([&'static str; N], u64)>) {
        self.0.reset();
        for (labels, value) in values {
            self.with(labels).set(value);
        }
    }
}

/// Makes a counter show `value`.
pub(super) fn show(counter: &IntCounter, value: u64) {
    counter.reset();
    counter.inc_by(value);
}

/// Registers a counter.
pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

/// Registers counters by labels.
pub(super) fn counter_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// Registers gauges by labels.
pub(super) fn gauge_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// Registers what was made, whose name is in the text of this program.
pub(super) fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names of meters are well formed");
    registry.register(Box::new(collector.clone())).expect("names of meters are distinct");
    collector
}
