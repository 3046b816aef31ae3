//! Connections to endpoints that speak HTTP/2, shared by the requests of a worker.
//!
//! A request opens a stream on a connection that has room for one. Where none has, one request makes a new connection and
//! the others wait for it, so that a burst does not become as many connections.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    future::{Future, poll_fn},
    hash::Hash,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use ::h2::{
    Reason,
    client::{Builder, SendRequest},
};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};

use super::gather::gather;
use crate::proxy::{
    pool::PoolLimits,
    timer::{Clock, Deadline},
};

/// How many streams of ours a connection has at once, if the endpoint allows as many.
const STREAMS: usize = 100;
/// Stands for the number of streams that an endpoint takes until it has said it; none can say this one.
const UNSAID: usize = usize::MAX - 1;
/// How many bytes of an answer's body may wait here, and of all answers of a connection: enough that one whose client is
/// slow does not hold up the others.
const WINDOW: u32 = 64 << 10;
const WINDOWS: u32 = 100 * WINDOW;
/// How many bytes of a request's body may wait for the endpoint.
const WAITING: usize = 64 << 10;
/// How many bytes the fields of an answer may have: no less than what the reader of heads takes.
const FIELDS: u32 = 128 << 10;

/// The connections of a worker, by endpoint.
#[derive(Debug)]
pub(crate) struct Sessions<K> {
    limits: PoolLimits,
    clock: Rc<Clock>,
    connections: RefCell<HashMap<K, Vec<Rc<Connection>>, foldhash::fast::RandomState>>,
    /// To whom somebody is connecting.
    connecting: RefCell<HashSet<K, foldhash::fast::RandomState>>,
    /// Told when a connection was made, or could not be.
    settled: Notify,
}

/// A place for a stream on a connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) sender: SendRequest<Bytes>,
    connection: Rc<Connection>,
    /// Whether the connection had served before.
    pub(crate) reused: bool,
}

/// The right to connect to an endpoint, which nobody else does meanwhile.
#[derive(Debug)]
pub(crate) struct Connecting<'s, K: Hash + Eq> {
    sessions: &'s Sessions<K>,
    key: K,
}

/// What a request finds.
#[derive(Debug)]
pub(crate) enum Found<'s, K: Hash + Eq> {
    Session(Session),
    /// No connection has room: this request has to make one.
    Connect(Connecting<'s, K>),
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Bytes>,
    streams: Cell<usize>,
    served: Cell<u32>,
    idle_until: Cell<Deadline>,
    ends: Deadline,
    /// Whether it takes no more streams.
    closed: Cell<bool>,
}

// === impl Sessions ===

impl<K: Hash + Eq + Clone> Sessions<K> {
    pub(crate) fn new(limits: PoolLimits, clock: Rc<Clock>) -> Self {
        Self { limits, clock, connections: RefCell::default(), connecting: RefCell::default(), settled: Notify::new() }
    }

    /// Finds a connection with room, waiting for one that is being made. With `fresh`, only a new one will do.
    pub(crate) async fn find(&self, key: &K, fresh: bool) -> Found<'_, K> {
        let mut waited = false;
        loop {
            // Before the look: who is told between the look and the wait must hear of it.
            let settled = self.settled.notified();
            if (!fresh || waited)
                && let Some(session) = self.take(key)
            {
                return Found::Session(session);
            }
            if self.connecting.borrow_mut().insert(key.clone()) {
                return Found::Connect(Connecting { sessions: self, key: key.clone() });
            }
            settled.await;
            waited = true;
        }
    }

    fn take(&self, key: &K) -> Option<Session> {
        let mut connections = self.connections.borrow_mut();
        let connections = connections.get_mut(key)?;
        connections.retain(|connection| !connection.closed.get());
        let with_room = connections.iter().find(|connection| connection.has_room());
        with_room.map(|connection| self.open(Rc::clone(connection)))
    }

    fn open(&self, connection: Rc<Connection>) -> Session {
        let reused = connection.served.get() > 0;
        connection.streams.set(connection.streams.get() + 1);
        connection.served.set(connection.served.get() + 1);
        connection.idle_until.set(self.clock.deadline(self.limits.idle));
        if connection.served.get() >= self.limits.requests || self.clock.has_passed(connection.ends) {
            connection.closed.set(true);
        }
        Session { sender: connection.sender.clone(), connection, reused }
    }

    /// Lets go of connections that were closed or idle for too long, and of idle ones that are too many; each ends when
    /// its last stream has.
    pub(crate) fn sweep(&self) {
        let mut idle = 0;
        self.connections.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| {
                let is_idle = connection.streams.get() == 0;
                idle += usize::from(is_idle);
                let is_over = self.clock.has_passed(connection.idle_until.get()) || idle > self.limits.connections;
                !(connection.closed.get() || is_idle && is_over)
            });
            !connections.is_empty()
        });
    }

    /// Lets go of all.
    pub(crate) fn clear(&self) {
        self.connections.borrow_mut().clear();
    }
}

// === impl Connecting ===

impl<K: Hash + Eq + Clone> Connecting<'_, K> {
    /// Begins to speak HTTP/2 on a new connection, and waits until the endpoint has said how many streams it takes: it
    /// would refuse those of a burst that are too many.
    pub(crate) async fn begin<S>(self, stream: S) -> Result<Session, ::h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let sessions = self.sessions;
        let (stream, outlet) = gather(stream, None);
        let (sender, mut driver) = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .max_header_list_size(FIELDS)
            .max_send_buffer_size(WAITING)
            .initial_max_send_streams(UNSAID)
            .handshake(stream)
            .await?;
        let mut driven = move |cx: &mut Context<'_>| {
            let turn = Pin::new(&mut driver).poll(cx);
            outlet.end_turn(cx, turn)
        };
        poll_fn(|cx| match driven(cx) {
            Poll::Ready(ended) => Poll::Ready(ended.unwrap_or(Ok(())).and(Err(Reason::CONNECT_ERROR.into()))),
            Poll::Pending if sender.current_max_send_streams() == UNSAID => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await?;
        let connection = Rc::new(Connection {
            sender,
            streams: Cell::new(0),
            served: Cell::new(0),
            idle_until: Cell::new(sessions.clock.deadline(sessions.limits.idle)),
            ends: sessions.clock.deadline(sessions.limits.age),
            closed: Cell::new(false),
        });
        let held = Rc::downgrade(&connection);
        tokio::task::spawn_local(async move {
            // Whoever has a stream on it learns of an error there.
            let _ = poll_fn(&mut driven).await;
            drop(driven);
            if let Some(connection) = held.upgrade() {
                connection.closed.set(true);
            }
        });
        let session = sessions.open(Rc::clone(&connection));
        sessions.connections.borrow_mut().entry(self.key.clone()).or_default().push(connection);
        Ok(session)
    }
}

impl<K: Hash + Eq> Drop for Connecting<'_, K> {
    fn drop(&mut self) {
        self.sessions.connecting.borrow_mut().remove(&self.key);
        self.sessions.settled.notify_waiters();
    }
}

// === impl Session ===

impl Session {
    /// Lets the connection take no more streams: the endpoint has said so, or it is broken.
    pub(crate) fn close(&self) {
        self.connection.closed.set(true);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.streams.set(self.connection.streams.get() - 1);
    }
}

// === impl Connection ===

impl Connection {
    fn has_room(&self) -> bool {
        self.streams.get() < STREAMS.min(self.sender.current_max_send_streams())
    }
}
