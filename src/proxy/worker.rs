//! A worker: one thread, with everything that a request needs.
//!
//! ```text
//!            ┌─ listeners (SO_REUSEPORT) ── one task per connection ─┐
//!  worker ───┤  clock, buffers, pool of idle connections             ├── shared: the table, the drain
//!            └─ positions of balancers, metric cells, log buffer ────┘
//! ```
//!
//! What workers share is read: the table, the endpoints, the phase of the drain. What a request writes is its worker's
//! own, but for relaxed counters of endpoints.

use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

use super::{Config, RoutingTable, Shared, connect::Connect, log::Log, pool::Pool, reply::DATE, timer::Clock};
use crate::{
    draw::{Draw, Random},
    http::{Request, Response},
    lifecycle::Group,
    metrics,
    upstream::{EndpointId, Positions},
};

/// The state of a worker's thread.
#[derive(Debug)]
pub(crate) struct Worker<C: Connect> {
    pub(crate) config: Arc<Config>,
    pub(crate) shared: Shared,
    pub(crate) clock: Rc<Clock>,
    pub(crate) pool: Pool<EndpointId, C::Stream>,
    pub(crate) connect: C,
    pub(crate) positions: RefCell<Positions>,
    pub(crate) draw: RefCell<Random>,
    pub(crate) meters: metrics::Worker,
    pub(crate) log: RefCell<Log>,
    /// Storage for heads, used from reading one to the next wait.
    pub(crate) request: RefCell<Request>,
    pub(crate) response: RefCell<Response>,
    /// How many client connections there are.
    pub(crate) open: Cell<usize>,
    /// Told when there is none any more.
    pub(crate) closed: Notify,
    pub(crate) connections: Group,
    pub(crate) tunnels: Group,
    table: RefCell<Rc<HeldTable>>,
    date: Cell<[u8; DATE]>,
    /// Seconds since 1970, as of the last sweep.
    unix_time: Cell<u64>,
}

/// A table that a worker holds, for as many requests as need it.
#[derive(Debug)]
pub(crate) struct HeldTable(Arc<RoutingTable>);

// === impl Worker ===

impl<C: Connect> Worker<C> {
    pub(crate) fn new(config: Arc<Config>, shared: Shared, connect: C, meters: metrics::Worker, log: Log) -> Rc<Self> {
        let clock = Clock::new();
        let worker = Self {
            pool: Pool::new(config.upstream, Rc::clone(&clock)),
            clock,
            connect,
            positions: RefCell::default(),
            draw: RefCell::default(),
            meters,
            log: RefCell::new(log),
            request: RefCell::default(),
            response: RefCell::default(),
            open: Cell::new(0),
            closed: Notify::new(),
            connections: shared.drain.group("connections"),
            tunnels: shared.drain.group("tunnels"),
            table: RefCell::new(Rc::new(HeldTable(shared.table.get()))),
            date: Cell::new([b' '; DATE]),
            unix_time: Cell::new(0),
            config,
            shared,
        };
        worker.tell_time();
        Rc::new(worker)
    }

    /// Does what has to be done once a second.
    pub(crate) fn every_second(&self) {
        self.tell_time();
        self.pool.sweep();
        self.log.borrow_mut().flush();
        super::buffer::trim();
        // A worker without requests must not hold on to a table that was replaced.
        self.table();
    }

    /// The table of now.
    ///
    /// The worker counts its own holders, so that workers do not fight for the cache line of a common count.
    pub(crate) fn table(&self) -> Rc<HeldTable> {
        let mut held = self.table.borrow_mut();
        if !Arc::ptr_eq(&self.shared.table.load(), &held.0) {
            *held = Rc::new(HeldTable(self.shared.table.get()));
        }
        Rc::clone(&held)
    }

    /// Milliseconds of the clock that all workers share, as [`crate::upstream`] wants them.
    pub(crate) fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.shared.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// Seconds since 1970, as of the last sweep.
    pub(crate) fn unix_time(&self) -> u64 {
        self.unix_time.get()
    }

    /// The value of `Date`, as of the last sweep.
    pub(crate) fn date(&self) -> [u8; DATE] {
        self.date.get()
    }

    /// Sixteen random bytes in hexadecimal.
    pub(crate) fn random_id(&self) -> [u8; 32] {
        let mut draw = self.draw.borrow_mut();
        let (high, low) = (draw.below(u64::MAX), draw.below(u64::MAX));
        let mut id = [0; 32];
        for (at, digit) in id.iter_mut().enumerate() {
            let half = if at < 16 { high } else { low };
            *digit = b"0123456789abcdef"[(half >> (60 - 4 * (at % 16)) & 15) as usize];
        }
        id
    }

    fn tell_time(&self) {
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.unix_time.set(since.as_secs());
        let mut date = [b' '; DATE];
        let text = httpdate::fmt_http_date(now);
        date.copy_from_slice(&text.as_bytes()[..DATE]);
        self.date.set(date);
    }
}

// === impl HeldTable ===

impl Deref for HeldTable {
    type Target = RoutingTable;

    fn deref(&self) -> &RoutingTable {
        &self.0
    }
}
