//! The decision for one request.

use std::net::IpAddr;

use serde::Serialize;

use super::{AffinityPlan, Canary, HostMatch, PathMatch, Route, Side, Table};
use crate::draw::Draw;

/// A view of a request, whatever the protocol.
pub trait Request {
    fn method(&self) -> &[u8];
    /// Host or `:authority`, as received; empty where HTTP/1.0 sent none.
    fn authority(&self) -> &[u8];
    /// Path and query, as received; `*` for `OPTIONS *`.
    fn target(&self) -> &[u8];
    /// The fields in their order. Names are compared ignoring case.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
    /// The client's address, as far as it is believed.
    fn client(&self) -> IpAddr;
    /// The scheme that the client used, as far as it is believed.
    fn scheme(&self) -> Scheme;
    /// The port that the client used: the listener's.
    fn port(&self) -> u16;
    /// The request id: the client's or a new one.
    fn request_id(&self) -> &[u8];
}

/// The scheme of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    Https,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Plan<'t, B, R> {
    /// Answer it here.
    Answer(Answer<'t, B, R>),
    /// Send it to an endpoint.
    Forward(Forward<'t, B, R>),
}

/// An answer that needs no endpoint.
#[derive(Debug)]
pub struct Answer<'t, B, R> {
    /// The route, where one matched: metrics and logs name it.
    pub route: Option<&'t Route<B, R>>,
    pub why: Why,
}

/// Why a request is answered here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Why {
    /// No route: 404.
    NoRoute,
    /// The route has no backend that is up: 503.
    NoEndpoints,
    /// The path cannot be read: 400.
    BadPath,
    /// A redirect.
    Redirect { status: u16, location: Vec<u8> },
}

/// Which endpoints may serve a request, and what is changed on the way.
#[derive(Debug)]
pub struct Forward<'t, B, R> {
    pub route: &'t Route<B, R>,
    pub side: &'t Side<B>,
    /// The canary whose side it is.
    pub canary: Option<&'t Canary<B>>,
    /// The path and query that the endpoint sees, where they differ from the client's.
    pub target: Option<Vec<u8>>,
    /// The Host that the endpoint sees, where it differs from the client's.
    pub host: Option<Vec<u8>>,
    /// The hash of what the side balances by.
    pub hash: Option<u64>,
    pub affinity: Option<AffinityPlan<'t>>,
    /// A cookie for the answer, which makes a weighted choice stick.
    pub set_cookie: Option<Vec<u8>>,
}

/// Watches a decision being made: `explain` prints it; a proxy watches nothing, at no cost.
pub trait Trace {
    /// Takes a step note of. `step` is called only by those who want to know.
    fn note(&mut self, step: impl FnOnce() -> Step);
}

/// Watches nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoTrace;

/// A step of a decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum Step {
    /// A host of the table was tried.
    Host { host: String, fits: Option<HostMatch> },
    /// A route of the host was compared.
    Path { route: String, fits: Option<PathMatch>, chosen: bool },
    /// A rule of a canary was asked.
    Asked { canary: String, rule: String, answer: String },
    /// The lot was drawn.
    Drawn { odds: String, lot: String, chosen: String },
    /// Anything else worth a line.
    Note(String),
}

impl Trace for NoTrace {
    fn note(&mut self, _: impl FnOnce() -> Step) {}
}

/// Decides what to do with a request.
///
/// `now` is the time in seconds since 1970, for cookies; `up` tells whether a backend has an endpoint that may serve.
pub fn decide<'t, B, R>(
    _table: &'t Table<B, R>,
    _request: &impl Request,
    _draw: &mut impl Draw,
    _now: u64,
    _up: impl Fn(&B) -> bool,
    _trace: &mut impl Trace,
) -> Plan<'t, B, R> {
    Plan::Answer(Answer { route: None, why: Why::NoRoute })
}
