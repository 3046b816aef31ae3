//! What follows from what DNS says, and when it is asked again.
//!
//! * An answer is used until its time to live has passed, within bounds; up to a tenth earlier, so that replicas do
//!   not ask together.
//! * A failure (no server answers, or one fails) keeps the last answer, however old. It is asked again after a second,
//!   then two, doubling up to half a minute.
//! * A denial (the name does not exist, or has no address) may be a slip, so the last answer stays for half a minute of
//!   denials. Then it is believed: what has been taken out of DNS may by now be somebody else's.
//! * A name that has had no answer has no address.

use std::{fmt, net::IpAddr, time::Duration};

use crate::draw::Draw;

/// How long after a failure DNS is asked again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// For how long a name must have been denied to be believed gone.
const BELIEVED_AFTER: Duration = Duration::from_secs(30);

/// What DNS says of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::upstream) enum Outcome {
    Answer {
        addresses: Vec<IpAddr>,
        /// Addresses that may not be used.
        refused: Vec<IpAddr>,
        ttl: Duration,
    },
    /// The name does not exist or has no address.
    Denied,
    /// There is no answer.
    Failed(String),
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// The new addresses; none is to keep what there is.
    pub(super) addresses: Option<Vec<IpAddr>>,
    /// How long to wait before asking again.
    pub(super) wait: Duration,
}

/// How long an answer is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

/// What has become of a name so far.
#[derive(Debug)]
pub(super) struct Schedule {
    bounds: Bounds,
    has_answer: bool,
    /// Lookups without an answer in a row.
    failures: u32,
    /// When the name was first denied since its last answer.
    denied_since: Option<Duration>,
}

// === impl Outcome ===

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { refused, .. } if refused.is_empty() => f.write_str("resolved"),
            Self::Answer { refused, .. } => write!(f, "resolved; refused: {refused:?}"),
            Self::Denied => f.write_str("the name does not exist or has no address"),
            Self::Failed(error) => f.write_str(error),
        }
    }
}

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, has_answer: false, failures: 0, denied_since: None }
    }

    /// Takes what DNS said. `now` is the time since any fixed moment.
    pub(super) fn step(&mut self, outcome: &Outcome, now: Duration, draw: &mut impl Draw) -> Step {
        if let Outcome::Answer { addresses, ttl, .. } = outcome {
            *self = Self { has_answer: true, ..Self::new(self.bounds) };
            let wait = early((*ttl).clamp(self.bounds.min, self.bounds.max.max(self.bounds.min)), draw);
            return Step { addresses: Some(addresses.clone()), wait: wait.max(self.bounds.min) };
        }

        if *outcome == Outcome::Denied {
            let since = *self.denied_since.get_or_insert(now);
            if now.saturating_sub(since) >= BELIEVED_AFTER {
                self.has_answer = false;
            }
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        Step { addresses: (!self.has_answer).then(Vec::new), wait: early(pause, draw) }
    }
}

/// Up to a tenth less.
fn early(wait: Duration, draw: &mut impl Draw) -> Duration {
    wait - wait / 1_000 * draw.below(101) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Given;

    const BOUNDS: Bounds = Bounds { min: Duration::from_secs(1), max: Duration::from_secs(300) };

    fn answer(ttl: u64) -> Outcome {
        Outcome::Answer { addresses: vec![address()], refused: vec![], ttl: Duration::from_secs(ttl) }
    }

    fn address() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    fn failed() -> Outcome {
        Outcome::Failed("no server".to_owned())
    }

    /// Takes the outcomes in turn, each when it is due, with lots that draw nothing off; returns waits in milliseconds
    /// and what becomes of the addresses.
    fn run(outcomes: &[Outcome]) -> Vec<(u128, Option<usize>)> {
        let mut schedule = Schedule::new(BOUNDS);
        let mut now = Duration::ZERO;
        let step = |outcome| {
            let Step { addresses, wait } = schedule.step(outcome, now, &mut Given::new([0]));
            now += wait;
            (wait.as_millis(), addresses.map(|addresses| addresses.len()))
        };
        outcomes.iter().map(step).collect()
    }

    #[test]
    fn answers_are_used_for_their_time_to_live_within_bounds() {
        let expected = [(30_000, Some(1)), (1_000, Some(1)), (300_000, Some(1))];
        assert_eq!(run(&[answer(30), answer(0), answer(86_400)]), expected);
    }

    #[test]
    fn asked_up_to_a_tenth_earlier_but_never_before_the_least_time() {
        for (ttl, lot, wait) in [(100, 0, 100_000), (100, 50, 95_000), (100, 100, 90_000), (1, 100, 1_000)] {
            let step = Schedule::new(BOUNDS).step(&answer(ttl), Duration::ZERO, &mut Given::new([lot]));
            assert_eq!(step.wait.as_millis(), wait);
        }
    }

    #[test]
    fn a_failure_keeps_the_last_answer_and_is_asked_again_ever_more_slowly() {
        let outcomes: Vec<_> = [answer(5)].into_iter().chain((0..7).map(|_| failed())).collect();
        let pauses = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].map(|pause| (pause, None));
        assert_eq!(run(&outcomes)[1..], pauses);
        assert_eq!(run(&[answer(5), failed(), failed(), answer(5), failed()])[4], (1_000, None), "an answer ends it");
    }

    #[test]
    fn a_denial_is_believed_after_half_a_minute() {
        let outcomes: Vec<_> = [answer(5)].into_iter().chain((0..7).map(|_| Outcome::Denied)).collect();
        // Denied at 0, 1, 3, 7, 15, 31 and 61 seconds after the first denial.
        let kept: Vec<_> = run(&outcomes)[1..].iter().map(|(_, addresses)| *addresses).collect();
        assert_eq!(kept, [None, None, None, None, None, Some(0), Some(0)]);
    }

    #[test]
    fn a_name_without_an_answer_has_no_address() {
        assert_eq!(run(&[failed(), answer(5)]), [(1_000, Some(0)), (5_000, Some(1))]);
        assert_eq!(run(&[Outcome::Denied]), [(1_000, Some(0))]);
    }
}
