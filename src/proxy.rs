//! Serves requests: takes them from clients, has the table decide, passes them to endpoints and the answers back.
//!
//! ```text
//! accept ─> h1::serve ── head ──> route::decide ──> forward ── try by try ──> exchange <─> endpoint
//!              ^                                       |  pool, connect, retry      |
//!              └──────────── answer, access log, metrics ─────────────────────────┘
//! ```
//!
//! * [`introduction`] reads who is behind a load balancer; [`origin`] is where a request comes from, as far as it is known.
//! * [`worker`] is a thread and what it owns; [`accept`] lets connections in; [`timer`] and [`buffer`] are what makes a
//!   connection cheap.
//! * [`seam`] is what an exchange asks of the protocols on its two sides; [`h1`] is HTTP/1 for both.
//! * [`exchange`] is one try; [`forward`] makes as many as [`retry`] allows; [`tunnel`] is what follows an upgrade.
//!
//! In the steady state a request allocates nothing, starts no task, registers no timer, takes no lock and wakes no other
//! thread. A test counts the allocations.

mod accept;
mod buffer;
mod caller;
mod config;
mod connect;
mod exchange;
mod forward;
mod h1;
mod h2;
mod handshake;
mod introduction;
mod linger;
mod listen;
pub mod log;
mod origin;
mod pool;
mod pump;
mod record;
mod replay;
mod reply;
mod request;
mod retry;
mod seam;
mod session;
mod stream;
mod timer;
mod tunnel;
mod turns;
mod worker;

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, LocalOptions};

pub use self::{
    config::{Config, NewTraceparent},
    connect::{Connect, Tcp},
    pool::PoolLimits,
    stream::Stream,
};
use self::{log::Log, timer::Idleness, worker::Worker};
use crate::{
    lifecycle::Drain,
    live::Live,
    metrics::{self, Metrics, RouteState},
    route::Table,
    tls::{self, Certificates, CredentialsMap, Protocols},
    upstream::Cluster,
};

/// How long connections without any request are kept once the drain has begun.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// How long what is left at the end of the drain may take to say so. The process waits a little longer than that.
const LAST_WORD: Duration = Duration::from_millis(250);

/// The table that is served.
pub type RoutingTable = Table<Arc<Cluster>, Arc<RouteState>>;

/// What workers share with each other and with the rest of the process.
#[derive(Clone, Debug)]
pub struct Shared {
    pub table: Arc<Live<RoutingTable>>,
    pub certificates: Arc<Live<Certificates>>,
    /// What is known of the Secrets that the table names for TLS to endpoints.
    pub credentials: Arc<Live<CredentialsMap>>,
    pub drain: Drain,
    pub metrics: Metrics,
    /// From where the milliseconds are counted that clusters are told.
    pub epoch: Instant,
}

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

// === impl Proxy ===

impl Proxy {
    /// Starts to serve, with endpoints connected to over plain TCP. There must be a metrics worker and a log for each worker.
    ///
    /// It ends when `shared.drain` ends, or is closing and no connection is left.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, a thread cannot be started, or there is no randomness for TLS.
    pub fn start(config: Config, shared: &Shared, meters: Vec<metrics::Worker>, logs: Vec<Log>) -> io::Result<Self> {
        Self::start_with(config, shared, &Tcp, meters, logs)
    }

    /// As [`Proxy::start`], with endpoints connected to in another way.
    ///
    /// # Errors
    ///
    /// As [`Proxy::start`].
    pub fn start_with<C: Connect + Clone + Send>(
        config: Config,
        shared: &Shared,
        connect: &C,
        meters: Vec<metrics::Worker>,
        logs: Vec<Log>,
    ) -> io::Result<Self> {
        let count = config.workers.get();
        if meters.len() != count || logs.len() != count {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "each worker needs its meters and its log"));
        }
        let mut listeners: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        let addresses = listen(&config.listen, None, &mut listeners)?;
        let protocols = Protocols { http2: config.http2 };
        let with_tls = tls::server_config(shared.certificates.clone(), protocols).map_err(io::Error::other)?;
        let tls_addresses = listen(&config.listen_tls, Some(&with_tls), &mut listeners)?;

        let config = Arc::new(config);
        let mut threads = Vec::new();
        let (ready, started) = mpsc::channel();
        for ((listeners, meters), log) in listeners.into_iter().zip(meters).zip(logs) {
            let (config, shared, connect) = (Arc::clone(&config), shared.clone(), connect.clone());
            let ready = ready.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{}", meters.index()));
            threads.push(thread.spawn(move || {
                // A runtime that never leaves its thread: its tasks need no lock to wake each other.
                let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                let worker = Worker::new(config, shared, connect, meters, log);
                runtime.block_on(run(worker, listeners));
            })?);
        }
        drop(ready);
        started.into_iter().take(count).collect::<io::Result<()>>()?;
        Ok(Self { addresses, tls_addresses, threads })
    }

    /// The addresses that are listened on, in the order of [`Config::listen`].
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses that are listened on for TLS, in the order of [`Config::listen_tls`].
    #[must_use]
    pub fn local_tls_addrs(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.threads {
            // A worker's thread does not panic: its connections are isolated.
            let _ = thread.join();
        }
    }
}

/// A worker's listener, and what connections through it begin with: TLS, or nothing.
type Listener = (std::net::TcpListener, Option<Arc<tls::ServerConfig>>);

/// Binds addresses for all workers, and tells what was bound.
fn listen(
    addresses: &[SocketAddr],
    with_tls: Option<&Arc<tls::ServerConfig>>,
    listeners: &mut [Vec<Listener>],
) -> io::Result<Vec<SocketAddr>> {
    let mut local = Vec::new();
    for bound in listen::bind(addresses, listeners.len())? {
        local.push(bound[0].local_addr()?);
        for (of_worker, listener) in listeners.iter_mut().zip(bound) {
            of_worker.push((listener, with_tls.cloned()));
        }
    }
    Ok(local)
}

/// Runs a worker until it is drained.
async fn run<C: Connect>(worker: Rc<Worker<C>>, listeners: Vec<Listener>) {
    let sweeper = Rc::clone(&worker);
    tokio::task::spawn_local(async move { sweeper.clock.run(|| sweeper.every_second()).await });

    let passing = Rc::clone(&worker);
    tokio::task::spawn_local(async move { passing.turns.pass_on().await });

    let mut accepting = Vec::new();
    for (listener, with_tls) in listeners {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                let accept = accept::accept(Rc::clone(&worker), listener, with_tls);
                accepting.push(tokio::task::spawn_local(accept));
            }
            Err(error) => tracing::error!(%error, "a listener cannot be used"),
        }
    }
    worker.shared.drain.started().await;
    // Idle connections end now; new ones a little later, since their first request may be on the way. Requests in flight
    // finish, and tunnels go on until the drain ends. Who is left then has time for a last word, so that no client takes
    // what it has for the whole, and each request is told of in the log.
    worker.pool.clear();
    worker.sessions.clear();
    worker.clock.fire_all(Idleness::Idle);
    let mut grace = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_REQUEST, FIRST_REQUEST);
    // Where no file descriptor was left, those in the queues come in as others end.
    let mut queues = pin!(async {
        for accept in accepting {
            let _ = accept.await;
        }
    });
    let mut are_empty = false;
    while !are_empty || worker.open.get() > 0 {
        tokio::select! {
            () = &mut queues, if !are_empty => are_empty = true,
            () = worker.closed.notified() => {}
            () = worker.shared.drain.ended() => break,
            _ = grace.tick() => worker.clock.fire_all(Idleness::Fresh),
        }
    }
    if worker.open.get() > 0 {
        worker.clock.fire_all(Idleness::Busy);
        let _ = tokio::time::timeout(LAST_WORD, worker.closed.notified()).await;
    }
    worker.log.borrow_mut().flush();
}

#[cfg(test)]
mod tests;
