//! What a worker counts by itself.

use std::{cell::Cell, fmt, marker::PhantomData, sync::Arc};

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::{
    chain::Chain,
    histogram::Tally,
    meters::{counter, counter_vec, gauge_vec, show},
};

/// A worker's right to count: only the thread that holds it writes its cells.
///
/// It can be moved to a thread but not shared between threads, so every cell has one writer.
pub struct Worker {
    index: usize,
    cells: Arc<Cells>,
    one_thread: PhantomData<Cell<()>>,
}

/// What a worker counts besides the requests of routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Count {
    /// Requests of any kind, also those that belong to no route.
    Requests,
    /// Tries on another endpoint after a failed one.
    Retries,
    /// Connections taken from the listener; [`Worker::accept`] counts it.
    ConnectionsAccepted,
    /// Connections that were accepted and closed at once, since there were as many as may be.
    ConnectionsRefused,
    /// Connections that were closed because they did not begin with a PROXY header, where they have to.
    BadIntroductions,
    /// Tasks that ended in a panic.
    Panics,
    /// Connections over HTTP/2 that were ended, since their frames cost more than they were for.
    Floods,
}

/// A connection of a client, counted in its state until it is dropped. It stays on the thread of its worker.
pub struct Connection {
    cells: Arc<Cells>,
    state: Cell<ConnectionState>,
    one_thread: PhantomData<*const ()>,
}

/// What a connection is doing, as nginx's status page tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum ConnectionState {
    /// A request is being read.
    Reading,
    /// A request is being served.
    Writing,
    /// Idle.
    Waiting,
}

/// The cells of all workers, and what shows their sums.
pub(super) struct Totals {
    workers: Vec<Arc<Cells>>,
    counts: [IntCounter; COUNTS],
    refusals: IntCounterVec,
    handshakes: IntCounterVec,
    connections: IntGaugeVec,
    connections_total: IntCounterVec,
}

#[derive(Default)]
#[repr(align(64))]
struct Cells {
    counts: [Tally; COUNTS],
    states: [Tally; STATES.len()],
    refusals: Chain<&'static str, Tally>,
    handshakes: Chain<&'static str, Tally>,
}

const COUNTS: usize = 7;

const STATES: [(ConnectionState, &str); 3] = [
    (ConnectionState::Reading, "reading"),
    (ConnectionState::Writing, "writing"),
    (ConnectionState::Waiting, "waiting"),
];

// === impl Worker ===

impl Worker {
    pub(super) fn new(index: usize) -> Self {
        Self { index, cells: Arc::default(), one_thread: PhantomData }
    }

    /// Its number, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Counts one.
    #[inline]
    pub fn count(&self, what: Count) {
        self.cells.counts[what as usize].add(1);
    }

    /// Counts a request that was refused, under the label of the refusal.
    #[inline]
    pub fn count_refusal(&self, label: &'static str) {
        self.cells.refusals.find_or_add(|known| *known == label, || label).add(1);
    }

    /// Counts a handshake of TLS by its result, a text of this program.
    #[inline]
    pub fn count_handshake(&self, result: &'static str) {
        self.cells.handshakes.find_or_add(|known| *known == result, || result).add(1);
    }

    /// Counts a connection that was accepted, in [`ConnectionState::Reading`] at first.
    #[must_use = "it is counted as open only as long as it is held"]
    pub fn accept(&self) -> Connection {
        self.count(Count::ConnectionsAccepted);
        self.cells.states[ConnectionState::Reading as usize].add(1);
        Connection { cells: self.cells.clone(), state: Cell::new(ConnectionState::Reading), one_thread: PhantomData }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.index).finish()
    }
}

// === impl Connection ===

impl Connection {
    /// Says what the connection does from now on.
    #[inline]
    pub fn enter(&self, state: ConnectionState) {
        let former = self.state.replace(state);
        if former != state {
            self.cells.states[former as usize].sub(1);
            self.cells.states[state as usize].add(1);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.cells.states[self.state.get() as usize].sub(1);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.state.get()).finish()
    }
}

// === impl Totals ===

impl Totals {
    pub(super) fn new(registry: &Registry, workers: &[Worker]) -> Self {
        Self {
            workers: workers.iter().map(|worker| worker.cells.clone()).collect(),
            // In the order of `Count`.
            counts: [
                counter(
                    registry,
                    "nginx_ingress_controller_nginx_process_requests_total",
                    "Requests of clients, of any kind",
                ),
                counter(registry, "serin_retries_total", "Tries on another endpoint after a failed one"),
                counter(registry, "serin_connections_accepted_total", "Connections taken from the listeners"),
                counter(
                    registry,
                    "serin_connections_refused_total",
                    "Connections closed at once because of the limit on connections",
                ),
                counter(
                    registry,
                    "serin_proxy_header_errors_total",
                    "Connections closed because they did not begin with a PROXY header",
                ),
                counter(registry, "serin_panics_total", "Tasks of workers that ended in a panic"),
                counter(registry, "serin_http2_floods_total", "Connections over HTTP/2 ended because of their frames"),
            ],
            refusals: counter_vec(registry, "serin_refusals_total", "Requests that were refused", &["refusal"]),
            handshakes: counter_vec(
                registry,
                "serin_tls_handshakes_total",
                "Handshakes of clients by result: ok, refused (too many at once), timeout, closed, alert (by the client), \
                 incompatible, not_tls, misbehaved, other",
                &["result"],
            ),
            connections: gauge_vec(
                registry,
                "nginx_ingress_controller_nginx_process_connections",
                "Connections of clients by state: active, or what these do: reading, writing, waiting",
                &["state"],
            ),
            connections_total: counter_vec(
                registry,
                "nginx_ingress_controller_nginx_process_connections_total",
                "Connections of clients: accepted, handled",
                &["state"],
            ),
        }
    }

    /// Brings what is shown up to date.
    pub(super) fn update(&mut self) {
        let sum = |what: Count| self.workers.iter().map(|cells| cells.counts[what as usize].get()).sum::<u64>();
        for (at, counter) in self.counts.iter().enumerate() {
            show(counter, self.workers.iter().map(|cells| cells.counts[at].get()).sum());
        }

        let mut active = 0;
        for (state, label) in STATES {
            let of_state = self.workers.iter().map(|cells| cells.states[state as usize].get()).sum::<u64>();
            // A sum taken while connections change may for a moment lack one.
            let of_state = i64::try_from(of_state).unwrap_or(0);
            active += of_state;
            self.connections.with_label_values(&[label]).set(of_state);
        }
        self.connections.with_label_values(&["active"]).set(active);
        let accepted = sum(Count::ConnectionsAccepted);
        let handled = accepted.saturating_sub(sum(Count::ConnectionsRefused));
        for (label, value) in [("accepted", accepted), ("handled", handled)] {
            show(&self.connections_total.with_label_values(&[label]), value);
        }

        self.refusals.reset();
        self.handshakes.reset();
        for cells in &self.workers {
            for (label, tally) in cells.refusals.iter() {
                self.refusals.with_label_values(&[label]).inc_by(tally.get());
            }
            for (result, tally) in cells.handshakes.iter() {
                self.handshakes.with_label_values(&[result]).inc_by(tally.get());
            }
        }
    }
}
