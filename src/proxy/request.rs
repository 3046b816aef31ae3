//! A request's head, from reading to what is done with it.
//!
//! All of this happens between two waits: the head lies in a buffer, is decided on there, and is written with its changes
//! straight into what will be sent to the endpoint. A head that came in frames has the form of HTTP/1 here, too.

use std::{net::IpAddr, sync::Arc};

use smallvec::SmallVec;
use tracing::debug;

use super::{
    RoutingTable,
    caller::Caller,
    config::NewTraceparent,
    connect::Connect,
    forward::Job,
    h1::Outbox,
    origin::Origin,
    record::{Notes, Record},
    replay,
    session::Selection,
    worker::Worker,
};
use crate::{
    http::{Asked, Coding, Framing, Refusal, RequestView, write_request},
    metrics::Method,
    route::{self, BackendTls, NoTrace, Plan, Policy, Request, Scheme, TlsVersions, Why},
    tls::{Connector, Terms},
};

/// What has to be known of a request when its head is gone.
#[derive(Debug)]
pub(crate) struct Begun<'t> {
    pub(crate) asked: Asked,
    pub(crate) framing: Framing,
    pub(crate) expects_continue: bool,
    pub(crate) body_limit: u64,
    /// How the endpoint wants the body.
    pub(crate) coding: Coding,
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
    /// It is answered without a body; where there is no location, none is written.
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
    server_name: Option<&'a str>,
    view: RequestView<'a>,
    origin: &'a Origin<'a>,
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
    let of_client = view.traceparent();
    let made = if of_client.is_none() { make_traceparent(worker) } else { None };
    let traceparent = made.as_ref().map(|made| &made[..]);
    record.method = Method::of(view.method());
    if worker.log.borrow().is_on() {
        let trace = of_client.or(traceparent).map(|context| &context[3..35]);
        record.notes = Some(Notes::of(view, &request_id, trace));
    }

    let origin = Origin::of(&worker.config.trust, caller, view);
    record.client = Some(origin.address);
    let asking = Asking { server_name: caller.server_name.as_deref(), view, origin: &origin, request_id: &request_id };
    let mut draw = worker.draw.borrow_mut();
    let plan = route::decide(table, &asking, &mut *draw, worker.unix_time(), |cluster| cluster.is_up(), &mut NoTrace);
    let mut body_limit = u64::MAX;
    let mut coding = Coding::Pass;
    let then = match plan {
        Plan::Answer(answer) => {
            record.route = answer.route;
            match answer.why {
                Why::Redirect { status, location } => Then::Redirect { status, location },
                Why::Health => {
                    // Nobody wants to read of these, and ingress-nginx does not log them.
                    record.notes = None;
                    Then::Redirect { status: 200, location: Vec::new() }
                }
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
            let transport = policy.transport(plan.side.backend.protocol(), caller.own_scheme());
            let connector = if transport.tls { connector(worker, policy, transport.http2).map(Some) } else { Ok(None) };
            if transport.http2 {
                coding = Coding::Decode;
            }
            if matches!(view.framing(), Framing::Length(length) if length > body_limit) {
                Then::Refuse(Refusal::BodyTooLarge)
            } else if let Err(refusal) = connector {
                Then::Refuse(refusal)
            } else {
                let mut outbox = Outbox::default();
                let edits = plan.edits(origin.forwarded(), &request_id, traceparent);
                write_request(view, &edits, outbox.head());
                outbox.keep();
                let user_agent = plan.affinity.and_then(|_| view.field(b"user-agent"));
                let job = Job {
                    cluster: &plan.side.backend,
                    policy,
                    http2: transport.http2,
                    repeatable: match view.framing() {
                        Framing::None => true,
                        Framing::Length(length) => length <= replay::MOST as u64,
                        Framing::Chunked | Framing::UntilClose => false,
                    },
                    tls: connector.unwrap_or_default(),
                    selection: Selection::new(plan.side.balance.algorithm, plan.hash, origin.address, plan.affinity),
                    keep_alive,
                    set_cookie: plan.set_cookie,
                    scheme: origin.scheme,
                    user_agent: user_agent.map(<[u8]>::to_vec).unwrap_or_default(),
                    timeout: view.grpc_timeout(),
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
        coding,
        request_id,
        then,
    }
}

/// What connections to the endpoints of a route are made with. Where its terms cannot be kept, none may be made.
fn connector<C: Connect>(worker: &Worker<C>, policy: &Policy, http2: bool) -> Result<Arc<Connector>, Refusal> {
    let BackendTls { secret, verify, depth, name, server_name, versions } = &policy.backend_tls;
    let terms = Terms {
        secret: secret.clone(),
        verify: *verify,
        depth: *depth,
        name: name.clone(),
        server_name: *server_name,
        tls12: *versions != TlsVersions::Only13,
        tls13: *versions != TlsVersions::Only12,
        http2,
    };
    worker.connectors.borrow_mut().get(&terms, &worker.shared.credentials.load()).map_err(|error| {
        debug!(%error, "no connection to an endpoint may be made");
        Refusal::ConnectFailed
    })
}

/// The length of a `traceparent`.
const TRACEPARENT: usize = 55;

/// A new trace context (W3C Trace Context, 3.2), if one is to be made.
fn make_traceparent<C: Connect>(worker: &Worker<C>) -> Option<[u8; TRACEPARENT]> {
    let mut value = match worker.config.new_traceparent {
        NewTraceparent::Sampled => *b"00-00000000000000000000000000000000-0000000000000000-01",
        NewTraceparent::Unsampled => *b"00-00000000000000000000000000000000-0000000000000000-00",
        NewTraceparent::Off => return None,
    };
    let (trace, span) = (worker.random_id(), worker.random_id());
    value[3..35].copy_from_slice(&trace);
    value[36..52].copy_from_slice(&span[..16]);
    Some(value)
}

// === impl Asking ===

impl Request for Asking<'_> {
    fn method(&self) -> &[u8] {
        self.view.method()
    }

    fn authority(&self) -> &[u8] {
        self.view.authority()
    }

    fn public_authority(&self) -> &[u8] {
        self.origin.host.unwrap_or(self.view.authority())
    }

    fn target(&self) -> &[u8] {
        self.view.target()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view.fields()
    }

    fn client(&self) -> IpAddr {
        self.origin.address
    }

    fn scheme(&self) -> Scheme {
        self.origin.scheme
    }

    fn port(&self) -> u16 {
        self.origin.port
    }

    fn server_name(&self) -> Option<&[u8]> {
        self.server_name.map(str::as_bytes)
    }

    fn request_id(&self) -> &[u8] {
        self.request_id
    }
}
