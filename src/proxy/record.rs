//! What is told of a request when it is over: to the metrics, and to the access log.
//!
//! The log wants to know things of the request's head, which is gone by then. Where there is a log, [`Notes`] keeps
//! copies; where there is none, they cost nothing.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use smallvec::SmallVec;

use super::{
    RoutingTable, buffer,
    connect::Connect,
    log::{Entry, RequestLine, Try},
    worker::Worker,
};
use crate::{
    http::{Refusal, RequestView, Version},
    metrics::{Count, Method, RouteState, Sample, UpstreamTimes},
    route::Route,
    upstream::Cluster,
};

/// nginx's status for a client that left before the answer.
pub(crate) const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A request, as far as it has come.
#[derive(Debug)]
pub(crate) struct Record<'t> {
    pub(crate) started: Instant,
    /// The client's address, where it is not that of the connection.
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: Method,
    pub(crate) route: Option<&'t Route<Arc<Cluster>, Arc<RouteState>>>,
    /// The name of the canary's side, where a canary was chosen.
    pub(crate) canary: Option<&'t str>,
    pub(crate) status: u16,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) request_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) body_bytes: u64,
    pub(crate) tries: SmallVec<[Try; 1]>,
    pub(crate) notes: Option<Notes>,
}

/// What the access log wants to know of a request's head.
#[derive(Debug)]
pub(crate) struct Notes {
    bytes: Vec<u8>,
    ends: [u32; PARTS],
    /// Which parts there are, a bit for each: nginx tells an empty header from none.
    given: u8,
    /// Whether the head could be read; if not, there is only its first line.
    is_read: bool,
    version: Version,
}

#[derive(Clone, Copy)]
#[repr(usize)]
enum Part {
    Method,
    Target,
    Host,
    Authorization,
    Referer,
    UserAgent,
    RequestId,
    TraceId,
}

const PARTS: usize = 8;

// === impl Record ===

impl<'t> Record<'t> {
    /// A request that began at `started`.
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            client: None,
            method: Method::Other,
            route: None,
            canary: None,
            status: 0,
            refusal: None,
            request_bytes: 0,
            sent_bytes: 0,
            body_bytes: 0,
            tries: SmallVec::new(),
            notes: None,
        }
    }

    /// Notes the try that ended with an answer, or without any.
    pub(crate) fn answered(&mut self, last: Try) {
        self.status = last.status.unwrap_or(self.status);
        self.tries.push(last);
    }

    /// Notes what went through the tunnel that followed.
    pub(crate) fn tunnelled(&mut self, received: u64, sent: u64) {
        self.request_bytes += received;
        self.sent_bytes += sent;
        self.body_bytes += sent;
        if let Some(last) = self.tries.last_mut() {
            last.body_bytes += sent;
            last.response_time = Some(self.started.elapsed());
        }
    }

    /// Tells of the request, which came by a connection from `client`.
    pub(crate) fn finish<C: Connect>(self, worker: &Worker<C>, client: IpAddr, table: &RoutingTable) {
        let request_time = self.started.elapsed();
        worker.meters.count(Count::Requests);
        if let Some(refusal) = self.refusal {
            worker.meters.count_refusal(refusal.label());
        }
        if let Some(route) = self.route {
            let upstream = match &self.tries[..] {
                [only] => {
                    UpstreamTimes { connect: only.connect_time, header: only.header_time, response: only.response_time }
                }
                _ => UpstreamTimes::default(),
            };
            let sample = Sample {
                method: self.method,
                status: self.status,
                request_bytes: self.request_bytes,
                sent_bytes: self.sent_bytes,
                request_time,
                upstream,
            };
            route.state.record(&worker.meters, self.canary, &sample);
        }
        let Some(notes) = &self.notes else { return };
        if self.route.is_some_and(|route| !route.policy.access_log) {
            return;
        }
        let stable = self.route.and_then(|route| route.split.stable.as_ref());
        worker.log.borrow_mut().record(&Entry {
            client: self.client.unwrap_or(client),
            authorization: notes.part(Part::Authorization),
            now: SystemTime::now(),
            request: notes.request_line(),
            host: notes.part(Part::Host).unwrap_or_default(),
            status: self.status,
            body_bytes: self.body_bytes,
            sent_bytes: self.sent_bytes,
            referer: notes.part(Part::Referer),
            user_agent: notes.part(Part::UserAgent),
            request_bytes: self.request_bytes,
            request_time,
            upstream: stable.map_or("", |side| &side.name),
            canary: self.canary.unwrap_or_default(),
            tries: &self.tries,
            request_id: notes.part(Part::RequestId).unwrap_or_default(),
            route: self.route.map(|route| &route.id),
            service: self.route.map_or("", |route| &route.service),
            table: table.number,
            refusal: self.refusal.map(Refusal::label),
            trace_id: notes.part(Part::TraceId),
        });
    }
}

// === impl Notes ===

impl Notes {
    /// Notes of a request that was read.
    pub(crate) fn of(view: RequestView<'_>, request_id: &[u8], trace_id: Option<&[u8]>) -> Self {
        let mut notes =
            Self { bytes: buffer::take_out(), ends: [0; PARTS], given: 0, is_read: true, version: view.version() };
        let (mut authorization, mut referer, mut user_agent) = (None, None, None);
        for (name, value) in view.fields() {
            let place = match name.len() {
                7 if name.eq_ignore_ascii_case(b"referer") => &mut referer,
                10 if name.eq_ignore_ascii_case(b"user-agent") => &mut user_agent,
                13 if name.eq_ignore_ascii_case(b"authorization") => &mut authorization,
                _ => continue,
            };
            *place = Some(value);
        }
        let [method, target, host] = [view.method(), view.target(), view.authority()].map(Some);
        let parts = [method, target, host, authorization, referer, user_agent, Some(request_id), trace_id];
        for (at, (end, part)) in notes.ends.iter_mut().zip(parts).enumerate() {
            notes.bytes.extend_from_slice(part.unwrap_or_default());
            *end = notes.bytes.len() as u32;
            notes.given |= u8::from(part.is_some()) << at;
        }
        notes
    }

    /// Notes of bytes that are no request: their first line.
    pub(crate) fn raw(bytes: &[u8], request_id: &[u8]) -> Self {
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let line = &line[..line.len().min(1024)];
        let given = 1 << Part::Method as usize | 1 << Part::RequestId as usize;
        let mut notes =
            Self { bytes: buffer::take_out(), ends: [0; PARTS], given, is_read: false, version: Version::Http11 };
        notes.bytes.extend_from_slice(line);
        notes.ends = [notes.bytes.len() as u32; PARTS];
        notes.bytes.extend_from_slice(request_id);
        for end in &mut notes.ends[Part::RequestId as usize..] {
            *end = notes.bytes.len() as u32;
        }
        notes
    }

    fn request_line(&self) -> RequestLine<'_> {
        let method = self.part(Part::Method).unwrap_or_default();
        if !self.is_read {
            return RequestLine::Raw(method);
        }
        let protocol = match self.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        };
        RequestLine::Read { method, target: self.part(Part::Target).unwrap_or_default(), protocol }
    }

    /// A part, where there is one.
    fn part(&self, part: Part) -> Option<&[u8]> {
        let at = part as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        (self.given >> at & 1 == 1).then(|| &self.bytes[start as usize..self.ends[at] as usize])
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        buffer::give_out(std::mem::take(&mut self.bytes));
    }
}
