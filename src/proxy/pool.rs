//! Idle connections to endpoints, kept for the next request.
//!
//! Each worker has its own pool, so taking and giving back are a look into a map: no lock, no task that watches, no
//! system call. Whether an idle connection is still good the reactor knows already: one that was closed, or on which
//! the endpoint spoke unasked, is readable.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::Hash,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

use tokio::io::{AsyncRead, ReadBuf};

use super::timer::{Clock, Deadline};

/// How many stacks are looked at to find an old connection when the pool is full.
const LOOK_AT: usize = 8;

/// What bounds a pool (`upstream-keepalive-*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolLimits {
    /// How many idle connections a worker keeps in all.
    pub connections: usize,
    /// How long a connection may be idle.
    pub idle: Duration,
    /// How many requests a connection serves.
    pub requests: u32,
    /// How long a connection is used.
    pub age: Duration,
}

/// The idle connections of a worker, by endpoint.
#[derive(Debug)]
pub(crate) struct Pool<K, S> {
    limits: PoolLimits,
    clock: Rc<Clock>,
    stacks: RefCell<HashMap<K, Vec<Idle<S>>, foldhash::fast::RandomState>>,
    count: Cell<usize>,
}

/// A connection and what it has served.
#[derive(Debug)]
pub(crate) struct Pooled<S> {
    pub(crate) stream: S,
    pub(crate) life: Life,
}

/// What a connection has served, and how long it may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    served: u32,
    ends: Deadline,
}

#[derive(Debug)]
struct Idle<S> {
    connection: Pooled<S>,
    until: Deadline,
}

// === impl PoolLimits ===

impl Default for PoolLimits {
    fn default() -> Self {
        Self { connections: 320, idle: Duration::from_secs(60), requests: 10_000, age: Duration::from_secs(3600) }
    }
}

// === impl Pool ===

impl<K: Hash + Eq + Clone, S: AsyncRead + Unpin> Pool<K, S> {
    pub(crate) fn new(limits: PoolLimits, clock: Rc<Clock>) -> Self {
        Self { limits, clock, stacks: RefCell::default(), count: Cell::new(0) }
    }

    /// A new connection, to be given to the pool after use.
    pub(crate) fn adopt(&self, stream: S) -> Pooled<S> {
        Pooled { stream, life: Life { served: 0, ends: self.clock.deadline(self.limits.age) } }
    }

    /// Takes the connection to `endpoint` that was used last, if there is one and it is alive.
    pub(crate) fn take(&self, endpoint: &K) -> Option<Pooled<S>> {
        let mut stacks = self.stacks.borrow_mut();
        let stack = stacks.get_mut(endpoint)?;
        while let Some(mut idle) = stack.pop() {
            self.count.set(self.count.get() - 1);
            if is_quiet(&mut idle.connection.stream) {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection after a request, unless it has served enough.
    pub(crate) fn give(&self, endpoint: &K, mut connection: Pooled<S>) {
        connection.life.served += 1;
        if connection.life.served >= self.limits.requests
            || self.clock.has_passed(connection.life.ends)
            || self.limits.connections == 0
        {
            return;
        }
        let mut stacks = self.stacks.borrow_mut();
        if self.count.get() >= self.limits.connections {
            self.evict(&mut stacks);
        }
        let idle = Idle { until: self.clock.deadline(self.limits.idle).min(connection.life.ends), connection };
        match stacks.get_mut(endpoint) {
            Some(stack) => stack.push(idle),
            None => drop(stacks.insert(endpoint.clone(), vec![idle])),
        }
        self.count.set(self.count.get() + 1);
    }

    /// Closes what has been idle for too long or was closed by its endpoint, and forgets endpoints without any.
    pub(crate) fn sweep(&self) {
        let mut count = 0;
        self.stacks.borrow_mut().retain(|_, stack| {
            stack.retain_mut(|idle| !self.clock.has_passed(idle.until) && is_quiet(&mut idle.connection.stream));
            count += stack.len();
            !stack.is_empty()
        });
        self.count.set(count);
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.stacks.borrow_mut().clear();
        self.count.set(0);
    }

    /// Closes one of the connections that have been idle longest.
    ///
    /// The very oldest would have to be searched in all stacks; the oldest of a few does as well.
    fn evict(&self, stacks: &mut HashMap<K, Vec<Idle<S>>, foldhash::fast::RandomState>) {
        let filled = stacks.values_mut().filter(|stack| !stack.is_empty()).take(LOOK_AT);
        if let Some(stack) = filled.min_by_key(|stack| stack[0].until) {
            stack.remove(0);
            self.count.set(self.count.get() - 1);
        }
    }
}

/// Whether nothing arrived on an idle connection: neither bytes nor its end.
fn is_quiet<S: AsyncRead + Unpin>(stream: &mut S) -> bool {
    let mut byte = [0];
    let read = Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
    read.is_pending()
}

/// Whether the kernel, too, has nothing to read on a connection: the reactor may not have heard of a close yet.
///
/// This costs a system call. It is made before a request that must not be sent twice.
pub(crate) fn is_quiet_in_kernel(stream: &tokio::net::TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = socket2::SockRef::from(stream).peek(&mut byte);
    matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PoolLimits =
        PoolLimits { connections: 3, idle: Duration::from_secs(60), requests: 100, age: Duration::from_secs(3600) };

    /// A connection that is quiet, closed, or talks.
    #[derive(Debug, PartialEq)]
    enum Line {
        Quiet(u32),
        Closed,
        Talks,
    }

    impl AsyncRead for Line {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            match *self {
                Self::Quiet(_) => return std::task::Poll::Pending,
                Self::Closed => {}
                Self::Talks => buffer.put_slice(b"H"),
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    fn pool(limits: PoolLimits) -> Pool<&'static str, Line> {
        Pool::new(limits, Clock::new())
    }

    fn give(pool: &Pool<&'static str, Line>, endpoint: &'static str, line: Line) {
        pool.give(&endpoint, pool.adopt(line));
    }

    fn take(pool: &Pool<&'static str, Line>, endpoint: &'static str) -> Option<Line> {
        pool.take(&endpoint).map(|pooled| pooled.stream)
    }

    #[test]
    fn the_connection_used_last_is_taken_first() {
        let pool = pool(LIMITS);
        give(&pool, "a", Line::Quiet(1));
        give(&pool, "a", Line::Quiet(2));
        assert_eq!(take(&pool, "b"), None);
        assert_eq!(take(&pool, "a"), Some(Line::Quiet(2)));
        assert_eq!(take(&pool, "a"), Some(Line::Quiet(1)));
        assert_eq!(take(&pool, "a"), None);
    }

    #[test]
    fn closed_and_talking_connections_are_passed_over() {
        let pool = pool(LIMITS);
        give(&pool, "a", Line::Quiet(1));
        give(&pool, "a", Line::Closed);
        give(&pool, "a", Line::Talks);
        assert_eq!(take(&pool, "a"), Some(Line::Quiet(1)));
    }

    #[test]
    fn a_full_pool_closes_the_oldest_of_a_stack() {
        let pool = pool(LIMITS);
        for n in 0..5 {
            give(&pool, "a", Line::Quiet(n));
        }
        assert_eq!(pool.count.get(), 3);
        assert_eq!([take(&pool, "a"), take(&pool, "a"), take(&pool, "a")], [4, 3, 2].map(|n| Some(Line::Quiet(n))));
    }

    #[test]
    fn a_connection_that_has_served_enough_is_closed() {
        let pool = pool(PoolLimits { requests: 2, ..LIMITS });
        give(&pool, "a", Line::Quiet(1));
        let again = pool.take(&"a").unwrap();
        assert_eq!(again.life.served, 1);
        pool.give(&"a", again);
        assert_eq!(take(&pool, "a"), None);
    }

    #[test]
    fn the_sweep_closes_what_was_closed_and_forgets_the_endpoint() {
        let pool = pool(LIMITS);
        give(&pool, "a", Line::Closed);
        give(&pool, "b", Line::Quiet(1));
        pool.sweep();
        assert_eq!(pool.count.get(), 1);
        assert!(!pool.stacks.borrow().contains_key("a"));
    }
}
