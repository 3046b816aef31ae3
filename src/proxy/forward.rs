//! Sends a request to an endpoint, and to others where that fails.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use tracing::info;

use super::{
    connect::Connect,
    exchange::{Ended, Exchange, Failure, Patience},
    h1::{Endpoint, Outbox, Remains},
    log::Try,
    pool::Pooled,
    record::Record,
    replay::Replay,
    reply::Reply,
    retry::{Failed, Next, Tries},
    seam::Downstream,
    session::Selection,
    timer::Timer,
    worker::Worker,
};
use crate::{
    http::Refusal,
    metrics::Count,
    route::{Policy, Scheme},
    upstream::{Cluster, Lease},
};

/// A request that is to be sent on.
#[derive(Debug)]
pub(crate) struct Job<'t> {
    pub(crate) cluster: &'t Arc<Cluster>,
    pub(crate) policy: &'t Policy,
    pub(crate) selection: Selection<'t>,
    /// Whether the gateway would keep the client's connection.
    pub(crate) keep_alive: bool,
    /// A cookie that makes the choice of a canary stick.
    pub(crate) set_cookie: Option<Vec<u8>>,
    pub(crate) scheme: Scheme,
    /// Empty where nothing depends on it.
    pub(crate) user_agent: Vec<u8>,
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

/// Sends a request, whose head is in `outbox`, to endpoints until one answers.
pub(crate) async fn forward<C: Connect, D: Downstream>(
    worker: &Worker<C>,
    down: &mut D,
    timer: &Timer,
    job: &mut Job<'_>,
    outbox: &mut Outbox,
    record: &mut Record<'_>,
) -> Outcome<C::Stream> {
    let asked = down.asked();
    let timeouts = &job.policy.timeouts;
    let patience = Patience {
        send: timeouts.send,
        read: timeouts.read,
        write: worker.config.write_timeout,
        body: worker.config.body_timeout,
        body_rate: worker.config.body_rate,
    };
    let mut tries = Tries::new(job.policy.retry, asked.idempotent, record.started);
    let mut replay = Replay::default();
    let mut reply = Reply {
        drain: &worker.shared.drain,
        keep_alive: job.keep_alive,
        date: worker.date(),
        cookies: SmallVec::new(),
        retry_on: job.policy.retry.on,
        status: None,
        headed: None,
    };
    let mut refusal = Refusal::NoEndpoints;
    let mut began = record.started;
    // The endpoint to be asked on a new connection, where a kept one had been closed.
    let mut again: Option<Lease> = None;

    loop {
        let fresh = again.is_some();
        let Some(mut lease) = again.take().or_else(|| {
            let lease = job.selection.pick(worker, job.cluster, tries.tried(), worker.millis(began))?;
            tries.begin(lease.id());
            Some(lease)
        }) else {
            return Outcome::Refused(refusal);
        };
        reply.retry_on = tries.retry_on(job.cluster.len(), began);
        job.cookies(&lease, worker.unix_time(), &mut reply.cookies);

        let kept = if fresh { None } else { take_kept(worker, &lease, asked.idempotent) };
        let reused = kept.is_some();
        let connected = match kept {
            Some(connection) => Ok(connection),
            // Boxed, so that an idle connection has no room for it.
            None => Box::pin(connect(worker, timer, &lease, timeouts.connect)).await,
        };
        let mut facts = Try {
            endpoint: lease.address(),
            status: None,
            body_bytes: 0,
            connect_time: None,
            header_time: None,
            response_time: None,
        };
        let (ended, seen) = match connected {
            Err(failure) => (Ended::Unanswered(failure), false),
            Ok(connection) => {
                facts.connect_time = Some(if reused { Duration::ZERO } else { began.elapsed() });
                let Pooled { stream, life } = connection;
                let mut up = Endpoint::new(stream, std::mem::take(outbox), asked, &worker.response);
                let mut exchange = Exchange::new(down, &mut up, timer, &patience, &mut replay, &mut reply);
                let ended = poll_fn(|cx| exchange.poll(cx)).await;
                let is_over = matches!(ended, Ended::Complete) && exchange.request_is_sent();
                facts.body_bytes = up.body_received();
                let seen = up.has_sent();
                let remains = up.end(is_over);
                if matches!(ended, Ended::Switched) {
                    record.answered(facts.answered(&reply, began));
                    lease.succeeded(began.elapsed(), worker.millis(began));
                    return Outcome::Switched(remains, lease);
                }
                if remains.is_reusable && !lease.endpoint().is_removed() {
                    worker.pool.give(&lease.id(), Pooled { stream: remains.stream, life });
                }
                *outbox = remains.outbox;
                (ended, seen)
            }
        };

        let now = Instant::now();
        let failure = match ended {
            Ended::Unanswered(failure) => failure,
            ended => {
                if let Some(headed) = reply.headed {
                    lease.succeeded(headed.duration_since(began), worker.millis(headed));
                }
                record.answered(facts.answered(&reply, began));
                return match ended {
                    Ended::Refused(refusal) => Outcome::Refused(refusal),
                    Ended::Truncated => Outcome::Truncated,
                    Ended::Gone => Outcome::Gone,
                    _ => Outcome::Answered,
                };
            }
        };
        refusal = failure.refusal();
        let failed = Failed { failure: &failure, seen, reused, repeatable: replay.is_possible() };
        let next = tries.judge(failed, now);
        if next == Next::Same {
            again = Some(lease);
        } else {
            // A kept connection may have been closed for being idle, which says nothing of the endpoint.
            if !(reused && matches!(failure, Failure::Closed { early: true })) {
                report(worker, &mut lease, &failure, began, worker.millis(now));
            }
            facts.status = Some(failure.status());
            facts.response_time = Some(now.duration_since(began));
            record.tries.push(facts);
        }
        if next == Next::Nobody {
            return Outcome::Refused(refusal);
        }
        if next == Next::Other {
            worker.meters.count(Count::Retries);
        }
        outbox.rewind();
        replay.rewind();
        reply.headed = None;
        began = now;
    }
}

/// Takes a kept connection from the pool.
///
/// For a request that must not be sent twice, the kernel is asked whether it is really open; it is not worth the price
/// for others.
fn take_kept<C: Connect>(worker: &Worker<C>, lease: &Lease, idempotent: bool) -> Option<Pooled<C::Stream>> {
    loop {
        let kept = worker.pool.take(&lease.id())?;
        if idempotent || C::is_open(&kept.stream) {
            return Some(kept);
        }
    }
}

/// Makes a new connection.
async fn connect<C: Connect>(
    worker: &Worker<C>,
    timer: &Timer,
    lease: &Lease,
    patience: Duration,
) -> Result<Pooled<C::Stream>, Failure> {
    timer.set(patience);
    let mut connecting = pin!(worker.connect.connect(lease.endpoint()));
    let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(Ok(stream)) => Poll::Ready(Ok(stream)),
        Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::Connect)),
        Poll::Pending if timer.has_fired() => Poll::Ready(Err(Failure::ConnectTimeout)),
        Poll::Pending => Poll::Pending,
    });
    Ok(worker.pool.adopt(connected.await?))
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
        Failure::Status(_) | Failure::Invalid(_) => lease.succeeded(began.elapsed(), now),
        Failure::Timeout => {}
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
