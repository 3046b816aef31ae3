//! Requests of routes, under the names and labels of ingress-nginx (`internal/ingress/metric/collectors/socket.go`).
//!
//! A [`Series`] counts the requests of one route, or of one canary of it. It has cells for each worker, and those have
//! cells for each method and status, made when the first such request comes. Equal labels are one series: a route that
//! comes back, or two paths that differ in their type only, go on counting where they stopped.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Metrics, Settings, Worker,
    chain::Chain,
    histogram::{Histogram, HistogramTotal, SENT, TIMES},
    text::{self, ConstLabels},
};

/// What a route carries at run time: where its requests are counted.
///
/// The pipeline makes one whenever a route is new or changed; as equal labels are one series, counters go on.
#[derive(Clone, Debug)]
pub struct RouteState {
    metrics: Metrics,
    labels: RouteLabels,
    stable: Arc<Series>,
    canaries: Box<[Arc<Series>]>,
}

/// The labels of a route, the stable side's also for requests that a canary served.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteLabels {
    pub namespace: Arc<str>,
    pub ingress: Arc<str>,
    pub service: Arc<str>,
    /// The path of the Ingress, not of a request.
    pub path: Arc<str>,
    /// The host of the Ingress's rule, not of a request; `_` where it has none.
    pub host: Arc<str>,
}

/// How many requests each side of a route has served.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestCounts {
    pub stable: u64,
    /// By the names of the canaries' sides.
    pub canaries: Vec<(Arc<str>, u64)>,
}

/// What is counted of one request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sample {
    pub method: Method,
    pub status: u16,
    /// Bytes of the request line, the head and the body.
    pub request_bytes: u64,
    /// Bytes of the answer, its head included.
    pub sent_bytes: u64,
    /// From the first byte of the request to the last one of the answer.
    pub request_time: Duration,
    /// The times of the endpoint. Leave them out after a retry: what ingress-nginx logs then is a list, which counts
    /// for nothing.
    pub upstream: UpstreamTimes,
}

/// How long the only endpoint that was asked took. Each counts from when it was chosen; what was not reached is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UpstreamTimes {
    /// Until it was connected; zero for a connection from the pool.
    pub connect: Option<Duration>,
    /// Until the head of its answer.
    pub header: Option<Duration>,
    /// Until the end of its answer.
    pub response: Option<Duration>,
}

/// A method, as labels show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Connect,
    Trace,
    /// Any other.
    Other,
}

/// The requests of a route, or of a canary of it.
#[derive(Debug)]
pub(super) struct Series {
    canary: Arc<str>,
    status_classes: bool,
    /// By the index of the worker; made when it serves its first request.
    workers: Box<[OnceLock<Box<WorkerCells>>]>,
}

/// All series.
pub(super) struct Requests {
    workers: usize,
    per_host: bool,
    status_classes: bool,
    linger: Duration,
    labels: ConstLabels,
    registered: Mutex<Registered>,
}

#[derive(Default)]
struct Registered {
    series: BTreeMap<SeriesKey, Entry>,
    swept: Option<Instant>,
}

struct Entry {
    series: Arc<Series>,
    /// When it was first seen that no route has it.
    gone: Option<Instant>,
}

/// What tells series apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SeriesKey {
    pub(super) route: RouteLabels,
    /// `<namespace>-<service>-<port>` of the canary that served; empty where the stable side did.
    pub(super) canary: Arc<str>,
}

/// A worker's cells, in parts by status so that a route that answers in many ways is still found fast.
#[derive(Debug, Default)]
#[repr(align(64))]
struct WorkerCells([Chain<(Method, u16), Cells>; PARTS]);

#[derive(Debug, Default)]
struct Cells {
    request_time: Histogram<{ TIMES.len() + 1 }>,
    response_time: Histogram<{ TIMES.len() + 1 }>,
    header_time: Histogram<{ TIMES.len() + 1 }>,
    connect_time: Histogram<{ TIMES.len() + 1 }>,
    request_bytes: Histogram<{ super::histogram::LENGTHS + 1 }>,
    sent_bytes: Histogram<{ SENT.len() + 1 }>,
}

/// The sum of the cells of all workers for a method and a status.
#[derive(Debug, Default)]
pub(super) struct CellsTotal {
    pub(super) request_time: HistogramTotal<{ TIMES.len() + 1 }>,
    pub(super) response_time: HistogramTotal<{ TIMES.len() + 1 }>,
    pub(super) header_time: HistogramTotal<{ TIMES.len() + 1 }>,
    pub(super) connect_time: HistogramTotal<{ TIMES.len() + 1 }>,
    pub(super) request_bytes: HistogramTotal<{ super::histogram::LENGTHS + 1 }>,
    pub(super) sent_bytes: HistogramTotal<{ SENT.len() + 1 }>,
}

const PARTS: usize = 8;

/// How long nobody need look for series that are gone.
const SWEEP: Duration = Duration::from_secs(60);

// === impl RouteState ===

impl RouteState {
    /// Counts the requests of a route with these labels. `canaries` are the names of its canaries' sides.
    pub fn new(metrics: &Metrics, labels: RouteLabels, canaries: impl IntoIterator<Item = Arc<str>>) -> Self {
        let requests = &metrics.0.requests;
        Self {
            metrics: metrics.clone(),
            stable: requests.series(&labels, ""),
            canaries: canaries.into_iter().map(|canary| requests.series(&labels, &canary)).collect(),
            labels,
        }
    }

    /// The labels of the route.
    #[must_use]
    pub fn labels(&self) -> &RouteLabels {
        &self.labels
    }

    /// How many requests were counted.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        let canaries = self.canaries.iter().map(|series| (series.canary.clone(), series.count()));
        RequestCounts { stable: self.stable.count(), canaries: canaries.collect() }
    }

    /// Counts a request that the stable side, or the canary of this name, served.
    pub fn record(&self, worker: &Worker, canary: Option<&str>, sample: &Sample) {
        let Some(canary) = canary else {
            return self.stable.record(worker, sample);
        };
        match self.canaries.iter().find(|series| &*series.canary == canary) {
            Some(series) => series.record(worker, sample),
            // A canary that was not announced is found the slow way.
            None => self.metrics.0.requests.series(&self.labels, canary).record(worker, sample),
        }
    }
}

// === impl RequestCounts ===

impl RequestCounts {
    /// How many requests the canary of this name has served.
    #[must_use]
    pub fn canary(&self, name: &str) -> u64 {
        self.canaries.iter().find(|(known, _)| &**known == name).map_or(0, |(_, count)| *count)
    }
}

// === impl Method ===

impl Method {
    /// The label for a method as received. Methods are case-sensitive.
    #[must_use]
    pub fn of(method: &[u8]) -> Self {
        match method {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other => "OTHER",
        }
    }
}

// === impl Series ===

impl Series {
    fn new(canary: Arc<str>, workers: usize, status_classes: bool) -> Self {
        Self { canary, status_classes, workers: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    #[inline]
    fn record(&self, worker: &Worker, sample: &Sample) {
        // Workers of another registry have no cells here.
        let Some(cells) = self.workers.get(worker.index()) else { return };
        let status = if self.status_classes { sample.status / 100 } else { sample.status };
        let key = (sample.method, status);
        let part = &cells.get_or_init(Box::default).0[usize::from(status) % PARTS];
        part.find_or_add(|known| *known == key, || key).record(sample);
    }

    /// How many requests were counted.
    fn count(&self) -> u64 {
        self.totals().values().map(|total| total.request_time.count()).sum()
    }

    /// The sums over all workers, by method and status.
    fn totals(&self) -> BTreeMap<(Method, u16), CellsTotal> {
        let mut totals = BTreeMap::<_, CellsTotal>::new();
        let workers = self.workers.iter().filter_map(OnceLock::get);
        for (key, cells) in workers.flat_map(|worker| worker.0.iter().flat_map(Chain::iter)) {
            totals.entry(*key).or_default().add(cells);
        }
        totals
    }
}

// === impl Cells ===

impl Cells {
    #[inline]
    fn record(&self, sample: &Sample) {
        self.request_time.observe_time(sample.request_time);
        self.request_bytes.observe(&SENT[..super::histogram::LENGTHS], sample.request_bytes);
        self.sent_bytes.observe(&SENT, sample.sent_bytes);
        let UpstreamTimes { connect, header, response } = sample.upstream;
        for (histogram, time) in
            [(&self.connect_time, connect), (&self.header_time, header), (&self.response_time, response)]
        {
            if let Some(time) = time {
                histogram.observe_time(time);
            }
        }
    }
}

// === impl CellsTotal ===

impl CellsTotal {
    fn add(&mut self, cells: &Cells) {
        self.request_time.add(&cells.request_time);
        self.response_time.add(&cells.response_time);
        self.header_time.add(&cells.header_time);
        self.connect_time.add(&cells.connect_time);
        self.request_bytes.add(&cells.request_bytes);
        self.sent_bytes.add(&cells.sent_bytes);
    }
}

// === impl Requests ===

impl Requests {
    pub(super) fn new(settings: &Settings, labels: ConstLabels) -> Self {
        Self {
            workers: settings.workers,
            per_host: settings.per_host,
            status_classes: settings.status_classes,
            linger: settings.linger,
            labels,
            registered: Mutex::default(),
        }
    }

    /// The series with these labels: the one that there is, or a new one.
    fn series(&self, labels: &RouteLabels, canary: &str) -> Arc<Series> {
        let mut key = SeriesKey { route: labels.clone(), canary: canary.into() };
        if !self.per_host {
            key.route.host = "".into();
        }

        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if registered.swept.is_none_or(|swept| now.duration_since(swept) > SWEEP) {
            registered.sweep(now, self.linger);
        }
        let entry = registered.series.entry(key).or_insert_with_key(|key| Entry {
            series: Arc::new(Series::new(key.canary.clone(), self.workers, self.status_classes)),
            gone: None,
        });
        entry.gone = None;
        entry.series.clone()
    }

    /// Writes all series as Prometheus text, and forgets those that were gone for long at `now`.
    pub(super) fn write_to(&self, now: Instant, out: &mut dyn io::Write) -> io::Result<()> {
        let rows = self.rows(now);
        text::write_requests(&rows, out)
    }

    /// The labels and sums of all series. Holds none of them afterwards, so that those that are gone are seen to be.
    fn rows(&self, now: Instant) -> Vec<(String, CellsTotal)> {
        let series: Vec<_> = {
            let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
            registered.sweep(now, self.linger);
            registered.series.iter().map(|(key, entry)| (key.clone(), entry.series.clone())).collect()
        };
        let mut rows = Vec::new();
        for (key, series) in series {
            for ((method, status), total) in series.totals() {
                let status = if self.status_classes { format!("{status}xx") } else { status.to_string() };
                rows.push((self.labels.of_requests(&key, method, &status, self.per_host), total));
            }
        }
        rows
    }
}

// === impl Registered ===

impl Registered {
    /// Forgets the series that no route has had for `linger`.
    fn sweep(&mut self, now: Instant, linger: Duration) {
        self.swept = Some(now);
        self.series.retain(|_, entry| {
            // A scrape may hold it for a moment; then it is looked at again the next time.
            if Arc::strong_count(&entry.series) > 1 {
                entry.gone = None;
                return true;
            }
            let gone = *entry.gone.get_or_insert(now);
            now.duration_since(gone) < linger
        });
    }
}
