//! The moving average of an endpoint's answer times.
//!
//! It decays with a time constant of ten seconds, as ingress-nginx's `ewma` balancer has it, so that an endpoint
//! which was slow is tried again. An answer slower than the average counts in full at once (*peak* sensitive): trouble
//! is noticed with one answer, and forgotten slowly.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// After how many milliseconds an average without answers has fallen to 1/e.
const DECAY: f32 = 10_000.0;

/// An average, in one word: the time of the last answer in the upper half, the average in the lower.
///
/// The time is in milliseconds and wraps after 49 days. Zero is no answer yet.
#[derive(Debug, Default)]
pub(super) struct Latency(AtomicU64);

// === impl Latency ===

impl Latency {
    /// The average as it has decayed until `now`, in microseconds.
    pub(super) fn micros(&self, now: u64) -> f32 {
        let (average, at) = unpack(self.0.load(Relaxed));
        average * weight(at, now)
    }

    /// Takes an answer time into the average.
    pub(super) fn observe(&self, observed: Duration, now: u64) {
        let observed = observed.as_micros() as f32;
        let mut word = self.0.load(Relaxed);
        loop {
            let (average, at) = unpack(word);
            let weight = weight(at, now);
            let decayed = average * weight;
            let average = if observed > decayed { observed } else { decayed + observed * (1.0 - weight) };
            // An answer that another worker's clock has overtaken must not make the average older, or it decays twice.
            let latest = if word == 0 || later(now as u32, at) { now as u32 } else { at };
            match self.0.compare_exchange_weak(word, pack(average, latest), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
    }

    /// The average that a new endpoint starts from: the mean of those that it joins, so that it is neither
    /// flooded nor left out before its first answer.
    pub(super) fn joining<'a>(others: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut sum, mut count, mut latest) = (0.0, 0, None);
        for other in others {
            let word = other.0.load(Relaxed);
            if word != 0 {
                let (average, at) = unpack(word);
                sum += average;
                count += 1;
                latest = latest.filter(|&latest| later(latest, at)).or(Some(at));
            }
        }
        match latest {
            Some(at) => Self(AtomicU64::new(pack(sum / count as f32, at))),
            None => Self::default(),
        }
    }
}

fn pack(average: f32, at: u32) -> u64 {
    (u64::from(at) << 32) | u64::from(average.to_bits())
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits(word as u32), (word >> 32) as u32)
}

/// What is left at `now` of an average that was taken `at`.
fn weight(at: u32, now: u64) -> f32 {
    // Workers read their clocks at different moments, so that `now` may be a little earlier.
    let passed = (now as u32).wrapping_sub(at).cast_signed().max(0);
    (-(passed as f32) / DECAY).exp()
}

/// Whether `a` is not before `b`, over the wrap.
fn later(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() >= 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[track_caller]
    fn near(actual: f32, expected: f32) {
        assert!((actual - expected).abs() <= expected.abs() * 1e-5 + 1e-3, "{actual} is not {expected}");
    }

    #[test]
    fn falls_to_one_part_in_e_in_ten_seconds() {
        let latency = Latency::default();
        latency.observe(100 * MS, 0);
        near(latency.micros(0), 100_000.0);
        near(latency.micros(10_000), 100_000.0 / std::f32::consts::E);
        near(latency.micros(20_000), 100_000.0 / std::f32::consts::E.powi(2));
    }

    #[test]
    fn a_faster_answer_weighs_what_has_decayed() {
        let latency = Latency::default();
        latency.observe(100 * MS, 0);
        latency.observe(10 * MS, 10_000);
        let kept = (-1.0_f32).exp();
        near(latency.micros(10_000), 100_000.0 * kept + 10_000.0 * (1.0 - kept));
    }

    #[test]
    fn a_slower_answer_counts_in_full_at_once() {
        let latency = Latency::default();
        latency.observe(10 * MS, 0);
        latency.observe(90 * MS, 1);
        near(latency.micros(1), 90_000.0);
    }

    #[test]
    fn a_clock_that_is_a_little_behind_decays_nothing() {
        let latency = Latency::default();
        latency.observe(10 * MS, 1_000);
        near(latency.micros(990), 10_000.0);
    }

    #[test]
    fn an_answer_by_a_clock_that_is_behind_makes_the_average_no_older() {
        let latency = Latency::default();
        latency.observe(10 * MS, 100_000);
        latency.observe(5 * MS, 10_000);
        near(latency.micros(100_000), 10_000.0);
    }

    #[test]
    fn the_wrap_of_the_clock_goes_unnoticed() {
        let wrap = 1 << 32;
        let latency = Latency::default();
        latency.observe(10 * MS, wrap - 5_000);
        near(latency.micros(wrap + 5_000), 10_000.0 / std::f32::consts::E);
    }

    #[test]
    fn a_new_endpoint_starts_from_the_mean_of_those_it_joins() {
        let [a, b, silent] = [(); 3].map(|()| Latency::default());
        a.observe(10 * MS, 7);
        b.observe(30 * MS, 9);
        near(Latency::joining([&a, &b, &silent]).micros(9), 20_000.0);
        near(Latency::joining([&silent]).micros(9), 0.0);
    }
}
