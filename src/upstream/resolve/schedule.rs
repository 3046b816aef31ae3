//! What follows from what DNS says, and when it is asked again.
//!
//! A name has two kinds of addresses, IPv4 (A records) and IPv6 (AAAA), which are asked for apart and may come from
//! different servers. So each kind has a history of its own:
//!
//! * An answer is used until its time to live has passed, within bounds; up to a tenth earlier, so that replicas do
//!   not ask together.
//! * A failure (no server answers, or one fails) keeps the last answer of its kind, however old. It is asked again after
//!   a second, then two, doubling up to half a minute.
//! * A denial (the name does not exist, or has no address of the kind) is believed at once where the other kind has an
//!   answer. Else it may be a slip, so the last answer stays for half a minute of denials. Then it is believed: what has
//!   been taken out of DNS may by now be somebody else's.
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
pub(in crate::upstream) struct Outcome {
    pub(super) v4: Said,
    pub(super) v6: Said,
}

/// What DNS says of one kind of addresses of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::upstream) enum Said {
    Answer {
        addresses: Vec<IpAddr>,
        /// Addresses that may not be used.
        refused: Vec<IpAddr>,
        ttl: Duration,
    },
    /// The name does not exist or has no address of the kind.
    Denied,
    /// There is no answer.
    Failed(String),
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// The addresses of the name from now on.
    pub(super) addresses: Vec<IpAddr>,
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
    v4: Held,
    v6: Held,
    /// Lookups that did not go well, in a row.
    failures: u32,
}

/// What has become of one kind of addresses so far.
#[derive(Debug, Default)]
struct Held {
    addresses: Vec<IpAddr>,
    /// When they were first denied since the last answer.
    denied_since: Option<Duration>,
}

// === impl Outcome ===

impl Outcome {
    /// The same of both kinds.
    pub(in crate::upstream) fn failed(error: &str) -> Self {
        let failed = Said::Failed(error.to_owned());
        Self { v4: failed.clone(), v6: failed }
    }

    /// Whether there is an answer of either kind.
    pub(super) fn is_answered(&self) -> bool {
        self.kinds().iter().any(|said| matches!(said, Said::Answer { .. }))
    }

    /// Whether there is an answer, and nothing failed.
    pub(super) fn is_good(&self) -> bool {
        self.is_answered() && !self.kinds().iter().any(|said| matches!(said, Said::Failed(_)))
    }

    /// The addresses that may not be used.
    pub(super) fn refused(&self) -> Vec<IpAddr> {
        let refused = |said: &Said| match said {
            Said::Answer { refused, .. } => refused.clone(),
            Said::Denied | Said::Failed(_) => Vec::new(),
        };
        self.kinds().into_iter().flat_map(refused).collect()
    }

    /// The shortest time to live.
    fn ttl(&self) -> Option<Duration> {
        let ttl = |said: &Said| match said {
            Said::Answer { ttl, .. } => Some(*ttl),
            Said::Denied | Said::Failed(_) => None,
        };
        self.kinds().into_iter().filter_map(ttl).min()
    }

    fn kinds(&self) -> [&Said; 2] {
        [&self.v4, &self.v6]
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.v4, &self.v6) {
            (Said::Denied, Said::Denied) => return f.write_str("the name does not exist or has no address"),
            (Said::Failed(error), Said::Failed(other)) if error == other => return f.write_str(error),
            _ => {}
        }
        f.write_str(if self.is_answered() { "resolved" } else { "not resolved" })?;
        let refused = self.refused();
        if !refused.is_empty() {
            write!(f, "; refused: {refused:?}")?;
        }
        for (kind, said) in [("IPv4", &self.v4), ("IPv6", &self.v6)] {
            if let Said::Failed(error) = said {
                write!(f, "; {kind}: {error}")?;
            }
        }
        Ok(())
    }
}

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, v4: Held::default(), v6: Held::default(), failures: 0 }
    }

    /// Takes what DNS said. `now` is the time since any fixed moment.
    pub(super) fn step(&mut self, outcome: &Outcome, now: Duration, draw: &mut impl Draw) -> Step {
        let answered = outcome.is_answered();
        self.v4.take(&outcome.v4, answered, now);
        self.v6.take(&outcome.v6, answered, now);
        let addresses = self.v4.addresses.iter().chain(&self.v6.addresses).copied().collect();

        let Bounds { min, max } = self.bounds;
        let kept = outcome.ttl().map(|ttl| ttl.clamp(min, max.max(min)));
        if outcome.is_good() {
            self.failures = 0;
            return Step { addresses, wait: early(kept.unwrap_or(min), draw).max(min) };
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        // Where one kind failed, the answer of the other is not used for longer than it holds.
        Step { addresses, wait: early(kept.map_or(pause, |kept| kept.min(pause)), draw) }
    }
}

// === impl Held ===

impl Held {
    /// Takes what DNS said of the kind; `answered` is whether it had an answer of either.
    fn take(&mut self, said: &Said, answered: bool, now: Duration) {
        match said {
            Said::Answer { addresses, .. } => *self = Self { addresses: addresses.clone(), denied_since: None },
            Said::Denied if answered => *self = Self::default(),
            Said::Denied => {
                let since = *self.denied_since.get_or_insert(now);
                if now.saturating_sub(since) >= BELIEVED_AFTER {
                    self.addresses.clear();
                }
            }
            Said::Failed(_) => {}
        }
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

    /// An answer for IPv4, and none for IPv6.
    fn answer(ttl: u64) -> Outcome {
        Outcome { v4: said("192.0.2.1", ttl), v6: Said::Denied }
    }

    fn said(address: &str, ttl: u64) -> Said {
        Said::Answer { addresses: vec![address.parse().unwrap()], refused: vec![], ttl: Duration::from_secs(ttl) }
    }

    fn failed() -> Outcome {
        Outcome::failed("no server")
    }

    fn denied() -> Outcome {
        Outcome { v4: Said::Denied, v6: Said::Denied }
    }

    /// Takes the outcomes in turn, each when it is due, with lots that draw nothing off; returns waits in milliseconds
    /// and how many addresses there are then.
    fn run(outcomes: &[Outcome]) -> Vec<(u128, usize)> {
        let mut schedule = Schedule::new(BOUNDS);
        let mut now = Duration::ZERO;
        let step = |outcome| {
            let Step { addresses, wait } = schedule.step(outcome, now, &mut Given::new([0]));
            now += wait;
            (wait.as_millis(), addresses.len())
        };
        outcomes.iter().map(step).collect()
    }

    #[test]
    fn answers_are_used_for_their_time_to_live_within_bounds() {
        let expected = [(30_000, 1), (1_000, 1), (300_000, 1)];
        assert_eq!(run(&[answer(30), answer(0), answer(86_400)]), expected);
        let both = Outcome { v4: said("192.0.2.1", 60), v6: said("2001:db8::1", 20) };
        assert_eq!(run(&[both]), [(20_000, 2)], "the shorter counts");
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
        let pauses = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].map(|pause| (pause, 1));
        assert_eq!(run(&outcomes)[1..], pauses);
        assert_eq!(run(&[answer(5), failed(), failed(), answer(5), failed()])[4], (1_000, 1), "an answer ends it");
    }

    #[test]
    fn a_denial_is_believed_after_half_a_minute() {
        let outcomes: Vec<_> = [answer(5)].into_iter().chain((0..7).map(|_| denied())).collect();
        // Denied at 0, 1, 3, 7, 15, 31 and 61 seconds after the first denial.
        let kept: Vec<_> = run(&outcomes)[1..].iter().map(|(_, addresses)| *addresses).collect();
        assert_eq!(kept, [1, 1, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn a_kind_that_fails_keeps_its_addresses_and_the_other_goes_on() {
        let both = Outcome { v4: said("192.0.2.1", 60), v6: said("2001:db8::1", 60) };
        let v6_failed = Outcome { v4: said("192.0.2.1", 60), v6: Said::Failed("no server".to_owned()) };
        assert_eq!(run(&[both.clone(), v6_failed.clone(), v6_failed]), [(60_000, 2), (1_000, 2), (2_000, 2)]);
        let v4_failed = Outcome { v4: Said::Failed("no server".to_owned()), v6: said("2001:db8::1", 0) };
        assert_eq!(run(&[v4_failed.clone(), failed()])[0], (1_000, 1), "what was never there is not");
        assert_eq!(run(&[both.clone(), v4_failed]), [(60_000, 2), (1_000, 2)]);
        assert_eq!(run(&[both, answer(60)]), [(60_000, 2), (60_000, 1)], "a denial beside an answer counts at once");
    }

    #[test]
    fn a_kind_that_is_denied_beside_a_failure_is_gone_after_half_a_minute() {
        let gone = Outcome { v4: Said::Denied, v6: Said::Failed("no server".to_owned()) };
        let both = Outcome { v4: said("192.0.2.1", 60), v6: said("2001:db8::1", 60) };
        let outcomes: Vec<_> = [both].into_iter().chain((0..6).map(|_| gone.clone())).collect();
        let kept: Vec<_> = run(&outcomes)[1..].iter().map(|(_, addresses)| *addresses).collect();
        assert_eq!(kept, [2, 2, 2, 2, 2, 1]);
    }

    #[test]
    fn a_name_without_an_answer_has_no_address() {
        assert_eq!(run(&[failed(), answer(5)]), [(1_000, 0), (5_000, 1)]);
        assert_eq!(run(&[denied()]), [(1_000, 0)]);
    }

    #[test]
    fn an_outcome_says_what_failed() {
        let shown = |v4, v6| Outcome { v4, v6 }.to_string();
        let broken = || Said::Failed("no server".to_owned());
        assert_eq!(shown(said("192.0.2.1", 1), Said::Denied), "resolved");
        assert_eq!(shown(Said::Denied, Said::Denied), "the name does not exist or has no address");
        assert_eq!(shown(broken(), broken()), "no server");
        assert_eq!(shown(said("192.0.2.1", 1), broken()), "resolved; IPv6: no server");
        assert_eq!(shown(broken(), Said::Denied), "not resolved; IPv4: no server");
    }
}
