//! Sends a request to an endpoint, and to others where that fails.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use tracing::{debug, info};

use super::{
    connect::{Connect, Line},
    exchange::{Ended, Exchange, Failure, Patience},
    h1::{self, Outbox, Remains},
    h2::{self, Found, Session},
    log::Try,
    pool::Pooled,
    record::Record,
    replay::Replay,
    reply::{HoldBack, Reply},
    retry::{Failed, Next, Tries},
    seam::{Downstream, Upstream},
    session::Selection,
    timer::{Deadline, Timer, until_fired},
    worker::Worker,
};
use crate::{
    http::Refusal,
    metrics::Count,
    route::{Policy, Scheme},
    tls::Connector,
    upstream::{Cluster, Lease},
};

/// A request that is to be sent on.
#[derive(Debug)]
pub(crate) struct Job<'t> {
    pub(crate) cluster: &'t Arc<Cluster>,
    pub(crate) policy: &'t Policy,
    pub(crate) http2: bool,
    /// Whether the body is short enough to be sent again.
    pub(crate) repeatable: bool,
    /// What connections to endpoints are made with, where they are made with TLS.
    pub(crate) tls: Option<Arc<Connector>>,
    pub(crate) selection: Selection<'t>,
    /// Whether the gateway would keep the client's connection.
    pub(crate) keep_alive: bool,
    /// A cookie that makes the choice of a canary stick.
    pub(crate) set_cookie: Option<Vec<u8>>,
    pub(crate) scheme: Scheme,
    /// Empty where nothing depends on it.
    pub(crate) user_agent: Vec<u8>,
    /// How long the client gives all of it (`grpc-timeout`).
    pub(crate) timeout: Option<Duration>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome<S> {
    /// The answer was passed on whole.
    Answered,
    /// The answer was a switch of protocols: what follows is a tunnel to this endpoint.
    Switched(Remains<S>, Lease),
    /// It could not be served, and the client was told nothing yet.
    Refused(Refusal),
    /// The answer broke off.
    Truncated,
    /// The client has left.
    Gone,
}

/// What all tries of a request share.
struct Attempts<'a, C: Connect, D> {
    worker: &'a Worker<C>,
    down: &'a mut D,
    timer: &'a Timer,
    tls: Option<&'a Connector>,
    /// Whether a request that did no harm by being repeated can be.
    repeatable: bool,
    connect_timeout: Duration,
    /// When all tries must be over.
    deadline: Deadline,
    outbox: &'a mut Outbox,
    patience: Patience,
    replay: Replay,
    reply: Reply<'a>,
}

/// What became of a try.
struct Tried<S> {
    ended: Ended,
    /// Whether the endpoint may have seen the request.
    seen: bool,
    /// Whether the connection had served before.
    reused: bool,
    /// The endpoint's connection, where the answer was a switch of protocols.
    switched: Option<Remains<S>>,
}

/// Sends a request, whose head is in `outbox`, to endpoints until one answers.
pub(crate) async fn forward<C: Connect, D: Downstream>(
    worker: &Worker<C>,
    down: &mut D,
    timer: &Timer,
    job: &mut Job<'_>,
    outbox: &mut Outbox,
    record: &mut Record<'_>,
) -> Outcome<C::Stream> {
    let mut tries = Tries::new(job.policy.retry, down.asked().idempotent, record.started);
    let tls = job.tls.clone();
    let mut attempts = Attempts::new(worker, down, timer, job, tls.as_deref(), outbox);
    let mut refusal = Refusal::NoEndpoints;
    let mut began = record.started;
    // The endpoint to be asked again, where it is not known to be at fault, and whether on a new connection.
    let mut again: Option<(Lease, bool)> = None;

    loop {
        let is_again = again.is_some();
        let Some((mut lease, fresh)) = again.take().or_else(|| {
            let lease = job.selection.pick(worker, job.cluster, tries.tried(), worker.millis(began))?;
            if !tries.tried().is_empty() {
                worker.meters.count(Count::Retries);
            }
            tries.begin(lease.id());
            Some((lease, false))
        }) else {
            return Outcome::Refused(refusal);
        };
        attempts.reply.hold_back = tries.hold_back();
        job.cookies(&lease, worker.unix_time(), &mut attempts.reply.cookies);
        let mut facts = Try {
            endpoint: lease.address(),
            status: None,
            body_bytes: 0,
            connect_time: None,
            header_time: None,
            response_time: None,
        };
        let tried = if job.http2 {
            attempts.over_http2(&mut lease, is_again, fresh, began, &mut facts).await
        } else {
            attempts.over_http1(&mut lease, fresh, began, &mut facts).await
        };
        if let Some(remains) = tried.switched {
            record.answered(facts.answered(&attempts.reply, began));
            return Outcome::Switched(remains, lease);
        }

        let now = Instant::now();
        let failure = match tried.ended {
            Ended::Unanswered(failure) => failure,
            ended => {
                record.answered(facts.answered(&attempts.reply, began));
                return match ended {
                    Ended::Refused(refusal) => Outcome::Refused(refusal),
                    Ended::Truncated => {
                        worker.meters.count(Count::Truncated);
                        info!(endpoint = %lease.address(), "an answer broke off");
                        Outcome::Truncated
                    }
                    Ended::Gone => Outcome::Gone,
                    _ => Outcome::Answered,
                };
            }
        };
        refusal = failure.refusal();
        let repeatable = attempts.replay.is_possible();
        let others = job.cluster.len() > tries.tried().len();
        let failed = Failed { failure: &failure, seen: tried.seen, reused: tried.reused, repeatable, others };
        let next = tries.judge(failed, now);
        if let Next::Same { fresh } = next {
            again = Some((lease, fresh));
        } else {
            // A kept connection may have been closed for being idle, which says nothing of the endpoint.
            if !(tried.reused && matches!(failure, Failure::Closed { early: true })) {
                report(worker, &mut lease, &failure, began, worker.millis(now));
            }
            facts.status = Some(failure.status());
            facts.response_time = Some(now.duration_since(began));
            record.tries.push(facts);
        }
        if worker.shared.drain.has_ended() {
            return Outcome::Refused(Refusal::ShuttingDown);
        }
        if next == Next::Nobody {
            return Outcome::Refused(refusal);
        }
        attempts.rewind();
        began = now;
    }
}

/// Takes a kept connection from the pool.
///
/// For a request that must not be sent twice, the kernel is asked whether it is really open; it is not worth the price
/// for others.
fn take_kept<C: Connect>(worker: &Worker<C>, line: &Line, idempotent: bool) -> Option<Pooled<C::Stream>> {
    loop {
        let kept = worker.pool.take(line)?;
        if idempotent || C::is_open(&kept.stream) {
            return Some(kept);
        }
    }
}

/// Makes a new connection, in the time that the timer is set to.
async fn connect<C: Connect>(
    worker: &Worker<C>,
    timer: &Timer,
    lease: &Lease,
    tls: Option<&Connector>,
) -> Result<C::Stream, Failure> {
    match until_fired(timer, worker.connect.connect(lease.endpoint(), tls)).await {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(error)) => {
            debug!(endpoint = %lease.address(), %error, "an endpoint cannot be connected to");
            Err(if is_ours(&error) { Failure::Shortage } else { Failure::Connect })
        }
        None => Err(Failure::ConnectTimeout),
    }
}

/// Whether a connection could not be made for want of something here, which is no fault of the endpoint's.
fn is_ours(error: &io::Error) -> bool {
    use libc::{EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EADDRNOTAVAIL | ENOBUFS | ENOMEM))
}

/// Finds a place on a connection over HTTP/2, or makes one, in the time that the timer is set to.
async fn session<C: Connect>(
    worker: &Worker<C>,
    timer: &Timer,
    lease: &Lease,
    tls: Option<&Connector>,
    fresh: bool,
) -> Result<Session, Failure> {
    let line = Line::new(lease.id(), tls);
    let connecting = match until_fired(timer, worker.sessions.find(&line, fresh)).await {
        Some(Found::Session(session)) => return Ok(session),
        Some(Found::Connect(connecting)) => connecting,
        None => return Err(Failure::ConnectTimeout),
    };
    let stream = connect(worker, timer, lease, tls).await?;
    match until_fired(timer, connecting.begin(stream)).await {
        Some(Ok(session)) => Ok(session),
        Some(Err(_)) => Err(Failure::Connect),
        None => Err(Failure::ConnectTimeout),
    }
}

/// Tells the endpoint's health of a failure. One that spoke, or was merely slow, is not passed over.
fn report<C: Connect>(worker: &Worker<C>, lease: &mut Lease, failure: &Failure, began: Instant, now: u64) {
    match failure {
        Failure::Connect | Failure::ConnectTimeout | Failure::Closed { .. } => {
            if lease.failed(now) {
                worker.shared.metrics.meters().ejections.inc();
                info!(endpoint = %lease.address(), ?failure, "an endpoint is passed over for a while");
            }
        }
        Failure::Invalid(refusal) => {
            info!(endpoint = %lease.address(), why = %refusal, "an endpoint's answer cannot be passed on");
            lease.succeeded(began.elapsed(), now);
        }
        Failure::Status(_) => lease.succeeded(began.elapsed(), now),
        Failure::Shortage | Failure::Timeout | Failure::Refused => {}
    }
}

// === impl Attempts ===

impl<'a, C: Connect, D: Downstream> Attempts<'a, C, D> {
    fn new(
        worker: &'a Worker<C>,
        down: &'a mut D,
        timer: &'a Timer,
        job: &Job<'a>,
        tls: Option<&'a Connector>,
        outbox: &'a mut Outbox,
    ) -> Self {
        let timeouts = &job.policy.timeouts;
        let patience = Patience {
            send: timeouts.send,
            read: timeouts.read,
            write: worker.config.write_timeout,
            body: worker.config.body_timeout,
            body_rate: worker.config.body_rate,
        };
        let reply = Reply {
            cluster: job.cluster,
            drain: &worker.shared.drain,
            keep_alive: job.keep_alive,
            date: worker.date(),
            cookies: SmallVec::new(),
            hold_back: HoldBack::default(),
            status: None,
            headed: None,
        };
        Self {
            worker,
            down,
            timer,
            tls,
            repeatable: job.repeatable,
            connect_timeout: timeouts.connect,
            deadline: job.timeout.map_or(Deadline::NEVER, |timeout| worker.clock.deadline(timeout)),
            outbox,
            patience,
            replay: Replay::default(),
            reply,
        }
    }

    /// Tries an endpoint over HTTP/1, on a kept connection or a new one.
    async fn over_http1(
        &mut self,
        lease: &mut Lease,
        fresh: bool,
        began: Instant,
        facts: &mut Try,
    ) -> Tried<C::Stream> {
        let worker = self.worker;
        let asked = self.down.asked();
        let line = Line::new(lease.id(), self.tls);
        let kept = if fresh { None } else { take_kept(worker, &line, asked.idempotent && self.repeatable) };
        let reused = kept.is_some();
        let connected = match kept {
            Some(connection) => Ok(connection),
            // Boxed, so that an idle connection has no room for it.
            None => {
                self.timer.arm(self.connect_by());
                let connected = Box::pin(connect(worker, self.timer, lease, self.tls)).await;
                connected.map(|stream| worker.pool.adopt(stream))
            }
        };
        let Pooled { stream, life } = match connected {
            Ok(connection) => connection,
            Err(failure) => return self.not_connected(failure),
        };
        facts.connect_time = Some(if reused { Duration::ZERO } else { began.elapsed() });
        let outbox = std::mem::take(self.outbox);
        let mut up = h1::Endpoint::new(stream, outbox, self.down.wants_chunks(), asked, &worker.response);
        let (ended, request_is_sent) = self.exchange(&mut up, lease, began, facts).await;
        let is_over = matches!(ended, Ended::Complete) && request_is_sent;
        let seen = up.has_sent();
        let remains = up.end(is_over);
        if matches!(ended, Ended::Switched) {
            return Tried { ended, seen, reused, switched: Some(remains) };
        }
        if remains.is_reusable && !lease.endpoint().is_removed() {
            worker.pool.give(&line, Pooled { stream: remains.stream, life });
        }
        *self.outbox = remains.outbox;
        Tried { ended, seen, reused, switched: None }
    }

    /// Tries an endpoint over HTTP/2, on a stream of a connection that others use, too.
    async fn over_http2(
        &mut self,
        lease: &mut Lease,
        is_again: bool,
        fresh: bool,
        began: Instant,
        facts: &mut Try,
    ) -> Tried<C::Stream> {
        let worker = self.worker;
        self.timer.arm(self.connect_by());
        let session = match Box::pin(session(worker, self.timer, lease, self.tls, fresh)).await {
            Ok(session) => session,
            Err(failure) => return self.not_connected(failure),
        };
        let reused = session.reused;
        facts.connect_time = Some(if reused { Duration::ZERO } else { began.elapsed() });
        let outbox = std::mem::take(self.outbox);
        let asked = self.down.asked();
        let mut up = h2::Endpoint::new(session, self.tls.is_some(), outbox, asked, &worker.request, &worker.response);
        let (ended, _) = self.exchange(&mut up, lease, began, facts).await;
        let seen = up.has_sent();
        // The endpoint is asked again once, and not where that would end in the same way.
        let reused = !is_again && up.is_worth_another() && (reused || !seen);
        *self.outbox = up.end();
        Tried { ended, seen, reused, switched: None }
    }

    /// Until when the endpoint has to be connected to.
    fn connect_by(&self) -> Deadline {
        self.worker.clock.deadline(self.connect_timeout).min(self.deadline)
    }

    /// A try that ended before there was a connection. It is no fault of the endpoint's where the client gave it no time.
    fn not_connected(&self, failure: Failure) -> Tried<C::Stream> {
        let is_over = matches!(failure, Failure::ConnectTimeout) && self.worker.clock.has_passed(self.deadline);
        let ended = if is_over { Ended::Refused(Refusal::DeadlineExceeded) } else { Ended::Unanswered(failure) };
        Tried { ended, seen: false, reused: false, switched: None }
    }

    /// Sends the request, and passes the answer on. Returns also whether all of the request was sent.
    ///
    /// The head of an answer is what tells that the endpoint is well: its body can take hours.
    async fn exchange<U: Upstream>(
        &mut self,
        up: &mut U,
        lease: &mut Lease,
        began: Instant,
        facts: &mut Try,
    ) -> (Ended, bool) {
        let (worker, timer, patience) = (self.worker, self.timer, &self.patience);
        let mut exchange =
            Exchange::new(self.down, up, timer, patience, self.deadline, &mut self.replay, &mut self.reply);
        let mut is_well = false;
        let ended = poll_fn(|cx| {
            let ended = exchange.poll(cx);
            if !is_well && let Some(headed) = exchange.reply.headed {
                lease.succeeded(headed.duration_since(began), worker.millis(headed));
                is_well = true;
            }
            ended
        })
        .await;
        let request_is_sent = exchange.request_is_sent();
        facts.body_bytes = up.body_received();
        (ended, request_is_sent)
    }

    /// Makes ready for another try.
    fn rewind(&mut self) {
        self.outbox.rewind();
        self.replay.rewind();
        self.reply.headed = None;
    }
}

// === impl Job ===

impl Job<'_> {
    /// The cookies for an answer of the endpoint of `lease`.
    fn cookies(&self, lease: &Lease, now: u64, cookies: &mut SmallVec<[Vec<u8>; 1]>) {
        cookies.clear();
        cookies.extend(self.set_cookie.clone());
        cookies.extend(self.selection.cookie(lease, self.cluster, now, self.scheme, &self.user_agent));
    }
}

// === impl Try ===

impl Try {
    /// The same, once the endpoint's answer is over.
    fn answered(self, reply: &Reply<'_>, began: Instant) -> Self {
        let header_time = reply.headed.map(|headed| headed.duration_since(began));
        Self { status: reply.status, header_time, response_time: Some(began.elapsed()), ..self }
    }
}
