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

use super::{
    Config, RoutingTable, Shared,
    caller::Caller,
    connect::{Connect, Line},
    h2::Sessions,
    log::Log,
    pool::Pool,
    reply::DATE,
    timer::Clock,
    turns::Turns,
};
use crate::{
    draw::{Draw, Random},
    http::{Hsts, Request, Response},
    lifecycle::Group,
    metrics,
    tls::Connectors,
    upstream::Positions,
};

/// The state of a worker's thread.
#[derive(Debug)]
pub(crate) struct Worker<C: Connect> {
    pub(crate) config: Arc<Config>,
    pub(crate) shared: Shared,
    pub(crate) clock: Rc<Clock>,
    pub(crate) pool: Pool<Line, C::Stream>,
    pub(crate) sessions: Sessions<Line>,
    pub(crate) connect: C,
    /// What connections to endpoints with TLS are made with.
    pub(crate) connectors: RefCell<Connectors>,
    pub(crate) positions: RefCell<Positions>,
    pub(crate) draw: RefCell<Random>,
    pub(crate) meters: metrics::Worker,
    pub(crate) log: RefCell<Log>,
    /// Storage for heads, used from reading one to the next wait.
    pub(crate) request: RefCell<Request>,
    pub(crate) response: RefCell<Response>,
    /// How many client connections there are.
    pub(crate) open: Cell<usize>,
    /// How many handshakes are in progress, and their turns.
    pub(crate) handshakes: Cell<usize>,
    pub(crate) turns: Turns,
    /// Told when there is none any more.
    pub(crate) closed: Notify,
    pub(crate) listeners: Group,
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
            sessions: Sessions::new(config.upstream, Rc::clone(&clock)),
            clock,
            connect,
            connectors: RefCell::default(),
            positions: RefCell::default(),
            draw: RefCell::default(),
            meters,
            log: RefCell::new(log),
            request: RefCell::default(),
            response: RefCell::default(),
            open: Cell::new(0),
            handshakes: Cell::new(0),
            turns: Turns::new(),
            closed: Notify::new(),
            listeners: shared.drain.group("listeners"),
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
        self.sessions.sweep();
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

    /// What a caller is told of https.
    pub(crate) fn hsts(&self, caller: &Caller) -> Option<Hsts> {
        self.config.hsts.filter(|_| caller.server_name.is_some())
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
        let mut id = [0; 32];
        let (first, second) = id.split_at_mut(16);
        first.copy_from_slice(&hex(draw.below(u64::MAX)));
        second.copy_from_slice(&hex(draw.below(u64::MAX)));
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

/// A number in hexadecimal: all sixteen digits at once, since each request has four numbers.
fn hex(number: u64) -> [u8; 16] {
    const ONES: u128 = u128::MAX / 255;
    // Each half, then each quarter, and so on moves up, until each digit has a byte of its own.
    let mut digits = u128::from(number);
    for shift in [32, 16, 8, 4] {
        digits = (digits | digits << shift) & (u128::MAX / ((1 << shift) + 1));
    }
    // In bytes from 10 on, adding 6 carries into the fifth bit: those are letters.
    let letters = (digits + ONES * 6) >> 4 & ONES;
    (digits + ONES * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
}

// === impl HeldTable ===

impl Deref for HeldTable {
    type Target = RoutingTable;

    fn deref(&self) -> &RoutingTable {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_sixteen_digits() {
        for number in [0, 1, 9, 10, 0xf, 0x10, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(hex(number), format!("{number:016x}").as_bytes());
        }
    }
}
