//! A request's head, from reading to what is done with it.
//!
//! All of this happens between two waits: the head lies in the connection's buffer, is decided on there, and is written
//! with its changes straight into what will be sent to the endpoint.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::outbox::Outbox;
use crate::{
    http::{Asked, Forwarded, Framing, Refusal, RequestEdits, RequestView, write_request},
    metrics::Method,
    proxy::{
        RoutingTable,
        caller::Caller,
        connect::Connect,
        forward::Job,
        record::{Notes, Record},
        session::Selection,
        worker::Worker,
    },
    route::{self, NoTrace, Plan, Request, Scheme, Why},
};

/// What has to be known of a request when its head is gone.
#[derive(Debug)]
pub(crate) struct Begun<'t> {
    pub(crate) asked: Asked,
    pub(crate) framing: Framing,
    pub(crate) expects_continue: bool,
    pub(crate) body_limit: u64,
    /// The request id, for a refusal.
    pub(crate) request_id: RequestId,
    pub(crate) then: Then<'t>,
}

/// What is done with a request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every request is sent on, and a box would cost an allocation")]
pub(crate) enum Then<'t> {
    /// It is sent on, with this head.
    Forward(Job<'t>, Outbox),
    Redirect {
        status: u16,
        location: Vec<u8>,
    },
    Refuse(Refusal),
}

/// A request id: the client's, or a new one, which has this length.
pub(crate) type RequestId = SmallVec<[u8; 32]>;

/// A request as the decision wants to see it.
struct Asking<'a> {
    view: RequestView<'a>,
    caller: &'a Caller,
    request_id: &'a [u8],
}

/// Decides on the request of `view`, and writes its head where it is to be sent on.
pub(crate) fn begin<'t, C: Connect>(
    worker: &Worker<C>,
    table: &'t RoutingTable,
    view: RequestView<'_>,
    caller: &Caller,
    keep_alive: bool,
    record: &mut Record<'t>,
) -> Begun<'t> {
    let request_id = match view.request_id() {
        Some(id) => RequestId::from_slice(id),
        None => RequestId::from(worker.random_id()),
    };
    let mut made = [0; TRACEPARENT];
    let traceparent = match view.traceparent() {
        Some(_) => None,
        None => {
            made = make_traceparent(worker);
            Some(&made[..])
        }
    };
    record.method = Method::of(view.method());
    if worker.log.borrow().is_on() {
        let trace = view.traceparent().unwrap_or(&made);
        record.notes = Some(Notes::of(view, &request_id, &trace[3..35]));
    }

    let asking = Asking { view, caller, request_id: &request_id };
    let mut draw = worker.draw.borrow_mut();
    let plan = route::decide(table, &asking, &mut *draw, worker.unix_time(), |cluster| cluster.is_up(), &mut NoTrace);
    let mut body_limit = u64::MAX;
    let then = match plan {
        Plan::Answer(answer) => {
            record.route = answer.route;
            match answer.why {
                Why::Redirect { status, location } => Then::Redirect { status, location },
                Why::NoRoute => Then::Refuse(Refusal::NotFound),
                Why::Misdirected => Then::Refuse(Refusal::Misdirected),
                Why::NoEndpoints => Then::Refuse(Refusal::NoEndpoints),
                Why::BadPath => Then::Refuse(Refusal::BadRequest(crate::http::Malformed::Path)),
                Why::NoHost => Then::Refuse(Refusal::BadRequest(crate::http::Malformed::NoHost)),
            }
        }
        Plan::Forward(plan) => {
            let policy = &plan.route.policy;
            record.route = Some(plan.route);
            record.canary = plan.canary.map(|canary| &*canary.side.name);
            body_limit = policy.body_limit.unwrap_or(u64::MAX);
            if matches!(view.framing(), Framing::Length(length) if length > body_limit) {
                Then::Refuse(Refusal::BodyTooLarge)
            } else {
                let mut outbox = Outbox::default();
                let edits = RequestEdits {
                    target: plan.target.as_deref(),
                    host: plan.host.as_deref(),
                    forwarded: Forwarded {
                        client: caller.address_text.as_bytes(),
                        chain: caller.address_text.as_bytes(),
                        proto: caller.scheme.as_str().as_bytes(),
                        port: caller.door.port_text.as_bytes(),
                        host: b"",
                    },
                    request_id: &request_id,
                    traceparent,
                    ..RequestEdits::default()
                };
                write_request(view, &edits, outbox.head());
                outbox.keep();
                let user_agent = plan.affinity.and_then(|_| view.field(b"user-agent"));
                let job = Job {
                    cluster: &plan.side.backend,
                    policy,
                    selection: Selection::new(plan.side.balance.algorithm, plan.hash, caller.address, plan.affinity),
                    keep_alive,
                    set_cookie: plan.set_cookie,
                    scheme: asking.scheme(),
                    user_agent: user_agent.map(<[u8]>::to_vec).unwrap_or_default(),
                };
                Then::Forward(job, outbox)
            }
        }
    };
    Begun {
        asked: Asked { hsts: worker.hsts(caller), ..view.asked() },
        framing: view.framing(),
        expects_continue: view.expects_continue(),
        body_limit,
        request_id,
        then,
    }
}

/// The length of a `traceparent`.
const TRACEPARENT: usize = 55;

/// A new trace context (W3C Trace Context, 3.2). It is not sampled: nothing of ours is recorded.
fn make_traceparent<C: Connect>(worker: &Worker<C>) -> [u8; TRACEPARENT] {
    let (trace, span) = (worker.random_id(), worker.random_id());
    let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
    value[3..35].copy_from_slice(&trace);
    value[36..52].copy_from_slice(&span[..16]);
    value
}

// === impl Asking ===

impl Request for Asking<'_> {
    fn method(&self) -> &[u8] {
        self.view.method()
    }

    fn authority(&self) -> &[u8] {
        self.view.authority()
    }

    fn target(&self) -> &[u8] {
        self.view.target()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view.fields()
    }

    fn client(&self) -> IpAddr {
        self.caller.address
    }

    fn scheme(&self) -> Scheme {
        self.caller.scheme
    }

    fn port(&self) -> u16 {
        self.caller.door.port
    }

    fn server_name(&self) -> Option<&[u8]> {
        self.caller.server_name.as_deref().map(str::as_bytes)
    }

    fn request_id(&self) -> &[u8] {
        self.request_id
    }
}
