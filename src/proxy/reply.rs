//! What an exchange does with the answer: which statuses are held back for another try, and what is added to the rest.

use std::time::Instant;

use smallvec::SmallVec;

use super::seam::Downstream;
use crate::{
    http::{Coding, Framing, ResponseEdits, ResponseView},
    lifecycle::Drain,
    route::RetryOn,
    upstream::Cluster,
};

/// The length of a date as HTTP writes it.
pub(crate) const DATE: usize = 29;

/// What is done with the answer to a request.
#[derive(Debug)]
pub(crate) struct Reply<'w> {
    pub(crate) cluster: &'w Cluster,
    /// Connections are not kept once it has begun.
    pub(crate) drain: &'w Drain,
    /// Whether the gateway would keep the client's connection.
    pub(crate) keep_alive: bool,
    pub(crate) date: [u8; DATE],
    /// Values of `Set-Cookie`.
    pub(crate) cookies: SmallVec<[Vec<u8>; 1]>,
    /// When an answer is not for the client, because another endpoint is asked instead.
    pub(crate) hold_back: HoldBack,
    /// The status of the answer, when its head has come.
    pub(crate) status: Option<u16>,
    /// When its head had come.
    pub(crate) headed: Option<Instant>,
}

/// When an answer is held back. It is judged when the answer's head is there: an answer that is held back is gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HoldBack {
    /// The statuses after which another endpoint is asked.
    pub(crate) on: RetryOn,
    /// Until when.
    pub(crate) until: Option<Instant>,
    /// How many endpoints were asked.
    pub(crate) tried: usize,
}

// === impl Reply ===

impl Reply<'_> {
    /// Whether an answer of this status is not for the client, because another endpoint is asked instead. `repeatable`
    /// is whether all that was sent can be sent again.
    pub(crate) fn holds_back(&mut self, status: u16, repeatable: bool) -> bool {
        let now = Instant::now();
        self.headed = Some(now);
        let HoldBack { on, until, tried } = &self.hold_back;
        let asked_for = match status {
            403 => on.http_403,
            404 => on.http_404,
            429 => on.http_429,
            500 => on.http_500,
            502 => on.http_502,
            503 => on.http_503,
            504 => on.http_504,
            _ => false,
        };
        asked_for && repeatable && until.is_none_or(|until| now < until) && self.cluster.len() > *tried
    }

    /// Passes on the head of an interim answer.
    pub(crate) fn pass_interim(down: &mut impl Downstream, head: ResponseView<'_>) -> Coding {
        down.answer(head, &ResponseEdits::default())
    }

    /// Passes on the head of the answer, and tells how its body must come.
    ///
    /// Where a part of the request is still to be sent, the client's connection cannot be kept: what follows on it would
    /// be the rest of that.
    ///
    /// `framed` is whether the body comes with the framing of HTTP/1.
    pub(crate) fn pass(
        &mut self,
        down: &mut impl Downstream,
        head: ResponseView<'_>,
        request_is_sent: bool,
        framed: bool,
    ) -> Coding {
        self.status = Some(head.status());
        let add: SmallVec<[(&[u8], &[u8]); 2]> =
            self.cookies.iter().map(|cookie| (&b"Set-Cookie"[..], &cookie[..])).collect();
        let edits = ResponseEdits {
            keep_alive: self.keep_alive && request_is_sent && !self.drain.is_draining(),
            reframe: match head.framing() {
                // Chunks save the client's connection where the endpoint ends the body by closing its own.
                Framing::UntilClose => !head.switches(),
                Framing::Chunked => !framed,
                Framing::None | Framing::Length(_) => false,
            },
            date: Some(&self.date),
            add: &add,
            ..ResponseEdits::default()
        };
        down.answer(head, &edits)
    }
}
