//! Whether another endpoint is asked after a failure (`proxy-next-upstream`).

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{exchange::Failure, reply::HoldBack};
use crate::{
    route::{Retry, RetryOn},
    upstream::EndpointId,
};

/// The tries of a request.
#[derive(Debug)]
pub(crate) struct Tries {
    policy: Retry,
    started: Instant,
    /// Whether repeating the request does no harm.
    idempotent: bool,
    /// How many tries count. One on a kept connection that turned out to be closed does not.
    made: u32,
    tried: SmallVec<[EndpointId; 4]>,
}

/// How a failed try is to be judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed<'a> {
    pub(crate) failure: &'a Failure,
    /// Whether the endpoint may have seen the request.
    pub(crate) seen: bool,
    /// Whether the same endpoint may answer on another connection: this one had served before, or the stream was refused.
    pub(crate) reused: bool,
    /// Whether there are endpoints that were not asked yet.
    pub(crate) others: bool,
    /// Whether all that was sent can be sent again.
    pub(crate) repeatable: bool,
}

/// What to do after a failed try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Ask the same endpoint again: on a new connection where the kept one had been closed, on any where it refused the
    /// stream.
    Same { fresh: bool },
    /// Ask another endpoint.
    Other,
    /// Give up.
    Nobody,
}

// === impl Tries ===

impl Tries {
    pub(crate) fn new(policy: Retry, idempotent: bool, started: Instant) -> Self {
        Self { policy, started, idempotent, made: 0, tried: SmallVec::new() }
    }

    /// The endpoints that were tried.
    pub(crate) fn tried(&self) -> &[EndpointId] {
        &self.tried
    }

    /// Notes that an endpoint is asked.
    pub(crate) fn begin(&mut self, endpoint: EndpointId) {
        self.made += 1;
        self.tried.push(endpoint);
    }

    /// When the answer of the endpoint that is being asked is held back, to ask another.
    pub(crate) fn hold_back(&self) -> HoldBack {
        let Retry { on, tries, timeout, .. } = self.policy;
        let may_repeat = (self.idempotent || on.non_idempotent) && (tries == 0 || self.made < tries);
        let until = (timeout > Duration::ZERO).then(|| self.started + timeout);
        HoldBack { on: if may_repeat { on } else { RetryOn::default() }, until, tried: self.tried.len() }
    }

    /// Judges a failed try.
    pub(crate) fn judge(&self, failed: Failed<'_>, now: Instant) -> Next {
        if let Failure::Status(_) = failed.failure {
            // It was judged when the answer was held back, and the answer is gone.
            return Next::Other;
        }
        if !failed.repeatable {
            return Next::Nobody;
        }
        let harmless = !failed.seen || self.idempotent;
        if failed.reused && harmless && matches!(failed.failure, Failure::Closed { early: true }) {
            return Next::Same { fresh: true };
        }
        let on = &self.policy.on;
        let wanted = match failed.failure {
            Failure::Connect | Failure::Shortage | Failure::Closed { .. } | Failure::Refused => on.error,
            Failure::ConnectTimeout | Failure::Timeout => on.timeout,
            Failure::Invalid(_) => on.invalid_header,
            Failure::Status(_) => true,
        };
        let may_go_on = wanted && (harmless || on.non_idempotent) && self.may_go_on(now);
        match failed.failure {
            // It has done nothing, whatever the policy is. Where another may be asked, that spares it the work.
            Failure::Refused if failed.reused && !(may_go_on && failed.others) => Next::Same { fresh: false },
            _ if may_go_on => Next::Other,
            _ => Next::Nobody,
        }
    }

    /// Whether neither the number of tries nor the time for them is used up.
    fn may_go_on(&self, now: Instant) -> bool {
        let Retry { tries, timeout, .. } = self.policy;
        (tries == 0 || self.made < tries) && (timeout == Duration::ZERO || now.duration_since(self.started) < timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Malformed, Refusal};

    fn policy(on: RetryOn) -> Retry {
        Retry { on, ..Retry::default() }
    }

    fn judge(policy: Retry, idempotent: bool, failure: &Failure, seen: bool, reused: bool) -> Next {
        let now = Instant::now();
        let mut tries = Tries::new(policy, idempotent, now);
        tries.made = 1;
        tries.judge(Failed { failure, seen, reused, repeatable: true, others: true }, now)
    }

    const CLOSED: Failure = Failure::Closed { early: true };

    #[test]
    fn errors_and_timeouts_are_tried_again_by_default() {
        let default = Retry::default();
        assert_eq!(judge(default, true, &Failure::Connect, false, false), Next::Other);
        assert_eq!(judge(default, true, &CLOSED, true, false), Next::Other);
        assert_eq!(judge(default, true, &Failure::Timeout, true, false), Next::Other);
        let invalid = Failure::Invalid(Refusal::BadUpstream(Malformed::Status));
        assert_eq!(judge(default, true, &invalid, true, false), Next::Nobody);
        assert_eq!(judge(policy(RetryOn::default()), true, &CLOSED, true, false), Next::Nobody);
    }

    #[test]
    fn what_must_not_be_repeated_and_may_have_been_seen_is_not_unless_told() {
        let default = Retry::default();
        assert_eq!(judge(default, false, &Failure::Connect, false, false), Next::Other);
        assert_eq!(judge(default, false, &CLOSED, true, false), Next::Nobody);
        assert_eq!(judge(default, false, &CLOSED, true, true), Next::Nobody);
        let told = policy(RetryOn { error: true, non_idempotent: true, ..RetryOn::default() });
        assert_eq!(judge(told, false, &CLOSED, true, false), Next::Other);
    }

    #[test]
    fn a_kept_connection_that_had_been_closed_is_replaced_whatever_the_policy() {
        let off = policy(RetryOn::default());
        assert_eq!(judge(off, true, &CLOSED, true, true), Next::Same { fresh: true });
        assert_eq!(judge(off, false, &CLOSED, false, true), Next::Same { fresh: true });
        let late = Failure::Closed { early: false };
        assert_eq!(judge(off, true, &late, true, true), Next::Nobody, "a part of an answer had come");
    }

    #[test]
    fn a_stream_that_was_refused_is_opened_elsewhere_or_else_once_more() {
        let (default, off) = (Retry::default(), policy(RetryOn::default()));
        assert_eq!(judge(default, false, &Failure::Refused, false, true), Next::Other);
        assert_eq!(judge(off, false, &Failure::Refused, false, true), Next::Same { fresh: false });
        assert_eq!(judge(off, false, &Failure::Refused, false, false), Next::Nobody, "it was opened once more");
        let now = Instant::now();
        let failed = Failed { failure: &Failure::Refused, seen: false, reused: true, repeatable: true, others: false };
        let next = Tries::new(default, false, now).judge(failed, now);
        assert_eq!(next, Next::Same { fresh: false }, "there is nobody else");
    }

    #[test]
    fn the_number_of_tries_and_their_time_are_limited() {
        let now = Instant::now();
        let failed = Failed { failure: &Failure::Connect, seen: false, reused: false, repeatable: true, others: true };
        let mut tries = Tries::new(Retry { tries: 2, timeout: Duration::from_secs(10), ..Retry::default() }, true, now);
        tries.made = 1;
        assert_eq!(tries.judge(failed, now + Duration::from_secs(9)), Next::Other);
        assert_eq!(tries.judge(failed, now + Duration::from_secs(10)), Next::Nobody);
        tries.made = 2;
        assert_eq!(tries.judge(failed, now), Next::Nobody);
    }

    #[test]
    fn a_body_that_was_let_go_cannot_be_sent_again() {
        let now = Instant::now();
        let failed = Failed { failure: &CLOSED, seen: true, reused: true, repeatable: false, others: true };
        assert_eq!(Tries::new(Retry::default(), true, now).judge(failed, now), Next::Nobody);
    }

    #[test]
    fn an_answer_is_held_back_only_where_the_request_may_be_repeated() {
        let now = Instant::now();
        let on = RetryOn { http_503: true, ..RetryOn::default() };
        let mut tries = Tries::new(Retry { tries: 2, ..policy(on) }, true, now);
        tries.made = 1;
        assert_eq!(tries.hold_back().on, on);
        tries.made = 2;
        assert_eq!(tries.hold_back().on, RetryOn::default(), "the tries are used up");
        let post = Tries::new(policy(on), false, now);
        assert_eq!(post.hold_back().on, RetryOn::default());
    }
}
