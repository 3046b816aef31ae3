//! Passive health: an endpoint that fails is passed over for a while.
//!
//! ```text
//!             fails                      time is over: one request probes
//!   Up ──────────────────> PassedOver ───────────────────────────────────> Probed
//!   ^ ^                      ^                                              │ │
//!   │ └── answers in panic ──┘└──────── fails: twice as long, ≤ 30 s ───────┘ │
//!   └────────────────────────────── answers ──────────────────────────────────┘
//! ```
//!
//! Only what was asked knowing of the trouble ends it: an answer to a request that began before says nothing of new
//! connections. Likewise many requests that fail together are one failure.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// How long an endpoint is passed over after its first failure, in milliseconds.
const FIRST: u64 = 1_000;
/// How long at most.
const LONGEST: u64 = 30_000;

/// The value of `due` while the endpoint is up.
const UP: u64 = 0;
/// How long a probe may take to tell something, before another request may probe as well.
const PROBE: u64 = 10_000;
/// Marks a `due` while a request probes.
const PROBED: u64 = 1 << 63;

/// The health of an endpoint, as all workers see it.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// [`UP`], or from when on it may be probed; marked as [`PROBED`] where that is for want of news from a probe.
    due: AtomicU64,
    /// Failures in a row.
    failures: AtomicU32,
}

/// How a request came to an endpoint, which tells what its outcome says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// The endpoint was up.
    Up,
    /// It is the one request that tries whether the endpoint is up again.
    Probe {
        /// Since when it was due.
        due: u64,
        /// What marks it in [`Health`].
        mark: u64,
    },
    /// No endpoint was up.
    Panic,
}

/// The state of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    Up,
    /// It failed, and gets no request for so many milliseconds more; at 0 the next request probes.
    PassedOver {
        for_ms: u64,
    },
    /// A request tries whether it is up again.
    Probed,
}

// === impl Health ===

impl Health {
    /// Whether a request may go to the endpoint, as far as can be said without claiming a probe.
    pub(super) fn admits(&self, now: u64) -> bool {
        // UP is the smallest of all times.
        self.due.load(Relaxed) & !PROBED <= now
    }

    /// Admits a request, unless the endpoint is passed over or another request has just become its probe.
    pub(super) fn admit(&self, now: u64) -> Option<Admission> {
        match self.due.load(Relaxed) {
            UP => Some(Admission::Up),
            due if due & !PROBED <= now => {
                let mark = PROBED | now.saturating_add(PROBE);
                self.due.compare_exchange(due, mark, Relaxed, Relaxed).ok().map(|_| Admission::Probe { due, mark })
            }
            _ => None,
        }
    }

    /// Notes that a request got an answer.
    pub(super) fn succeeded(&self, admission: Admission) {
        match admission {
            Admission::Up => {}
            Admission::Probe { .. } | Admission::Panic => {
                self.failures.store(0, Relaxed);
                self.due.store(UP, Relaxed);
            }
        }
    }

    /// Notes that a request failed. Returns whether the endpoint is passed over because of it.
    pub(super) fn failed(&self, admission: Admission, now: u64) -> bool {
        match admission {
            Admission::Up | Admission::Panic => {
                let first = self.due.compare_exchange(UP, now.saturating_add(FIRST), Relaxed, Relaxed).is_ok();
                if first {
                    self.failures.store(1, Relaxed);
                }
                first
            }
            Admission::Probe { mark, .. } => {
                let failures = self.failures.load(Relaxed).saturating_add(1);
                let due = now.saturating_add(pause(failures));
                // Otherwise another has probed since, or an answer in panic has ended the trouble.
                let is_latest = self.due.compare_exchange(mark, due, Relaxed, Relaxed).is_ok();
                if is_latest {
                    self.failures.store(failures, Relaxed);
                }
                is_latest
            }
        }
    }

    /// Notes that a request ended without telling anything: a probe may be tried again.
    pub(super) fn withdrawn(&self, admission: Admission) {
        if let Admission::Probe { due, mark } = admission {
            // Where it fails, there is news from others.
            let _ = self.due.compare_exchange(mark, due, Relaxed, Relaxed);
        }
    }

    pub(super) fn state(&self, now: u64) -> EndpointState {
        match self.due.load(Relaxed) {
            UP => EndpointState::Up,
            due if due & PROBED != 0 => EndpointState::Probed,
            due => EndpointState::PassedOver { for_ms: due.saturating_sub(now) },
        }
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }
}

/// How long an endpoint is passed over after so many failures in a row.
fn pause(failures: u32) -> u64 {
    FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_over_for_a_second_after_a_failure() {
        let health = Health::default();
        assert_eq!(health.admit(5), Some(Admission::Up));
        health.failed(Admission::Up, 5);
        assert_eq!(health.state(5), EndpointState::PassedOver { for_ms: 1_000 });
        assert_eq!(health.admit(1_004), None);
        assert!(!health.admits(1_004));
        assert!(health.admits(1_005));
        assert_eq!(health.admit(1_005), Some(Admission::Probe { due: 1_005, mark: PROBED | 11_005 }));
    }

    #[test]
    fn one_request_probes_at_a_time() {
        let health = Health::default();
        health.failed(Admission::Up, 0);
        let probe = health.admit(1_000).unwrap();
        assert_eq!(health.state(1_000), EndpointState::Probed);
        assert_eq!(health.admit(10_999), None);
        health.withdrawn(probe);
        assert_eq!(health.admit(1_000), Some(probe), "a probe that told nothing is repeated");
        health.succeeded(probe);
        assert_eq!(health.state(1_000), EndpointState::Up);
    }

    #[test]
    fn a_probe_that_tells_nothing_for_long_does_not_keep_others_from_probing() {
        let health = Health::default();
        health.failed(Admission::Up, 0);
        let slow = health.admit(1_000).unwrap();
        let next = health.admit(11_000).unwrap();
        assert!(health.admits(21_000) && !health.admits(20_999));
        health.withdrawn(slow);
        assert!(!health.failed(slow, 11_001), "what it has to say is of the past");
        assert_eq!(health.state(11_001), EndpointState::Probed);
        assert!(health.failed(next, 11_001));
        assert_eq!(health.state(11_001), EndpointState::PassedOver { for_ms: 2_000 });
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_half_a_minute() {
        let health = Health::default();
        let mut now = 0;
        health.failed(Admission::Up, now);
        for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(health.state(now), EndpointState::PassedOver { for_ms: pause });
            now += pause;
            let probe = health.admit(now).unwrap();
            health.failed(probe, now);
        }
        let probe = health.admit(now + 30_000).unwrap();
        health.succeeded(probe);
        health.failed(Admission::Up, now);
        assert_eq!(health.state(now), EndpointState::PassedOver { for_ms: 1_000 }, "an answer ends the growth");
    }

    #[test]
    fn requests_that_fail_together_are_one_failure() {
        let health = Health::default();
        let passed_over = (0..100).filter(|_| health.failed(Admission::Up, 0)).count();
        assert_eq!(passed_over, 1);
        assert_eq!(health.failures(), 1);
        assert_eq!(health.state(0), EndpointState::PassedOver { for_ms: 1_000 });
    }

    #[test]
    fn answers_to_earlier_requests_do_not_end_the_trouble() {
        let health = Health::default();
        health.failed(Admission::Up, 0);
        health.succeeded(Admission::Up);
        assert_eq!(health.state(0), EndpointState::PassedOver { for_ms: 1_000 });
        health.succeeded(Admission::Panic);
        assert_eq!(health.state(0), EndpointState::Up);
    }

    #[test]
    fn a_withdrawn_probe_does_not_undo_an_answer() {
        let health = Health::default();
        health.failed(Admission::Up, 0);
        let probe = health.admit(1_000).unwrap();
        health.succeeded(Admission::Panic);
        health.withdrawn(probe);
        assert_eq!(health.state(1_000), EndpointState::Up);
    }
}
