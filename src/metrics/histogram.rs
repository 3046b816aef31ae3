//! Numbers that one thread writes and others read, and histograms of them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A number that one thread writes and others read.
///
/// As there is one writer, adding is a load and a store: no locked instruction.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

/// A histogram that one thread writes and others read. `N` counts the buckets, the one without a bound included.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    buckets: [Tally; N],
    /// In the unit of the bounds, so that it is exact.
    sum: Tally,
}

/// The sum of the histograms of several threads.
#[derive(Debug)]
pub(super) struct HistogramTotal<const N: usize> {
    pub(super) buckets: [u64; N],
    pub(super) sum: u64,
}

/// An upper bound of a bucket, and its label as the former controller's library writes it.
pub(super) type Bound = (u64, &'static str);

/// The bounds of times, in nanoseconds.
pub(super) const TIMES: [Bound; 11] = [
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

/// The bounds of what is sent, in bytes: those of `response_size` and of `bytes_sent` at once.
pub(super) const SENT: [Bound; 15] = [
    (10, "10"),
    (20, "20"),
    (30, "30"),
    (40, "40"),
    (50, "50"),
    (60, "60"),
    (70, "70"),
    (80, "80"),
    (90, "90"),
    (100, "100"),
    (1_000, "1000"),
    (10_000, "10000"),
    (100_000, "100000"),
    (1_000_000, "1e+06"),
    (10_000_000, "1e+07"),
];

/// How many of [`SENT`] are the bounds of `request_size` and `response_size`.
pub(super) const LENGTHS: usize = 10;

// === impl Tally ===

impl Tally {
    /// Adds; only the one thread that writes may.
    #[inline]
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes away; only the one thread that writes may.
    #[inline]
    pub(super) fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Histogram ===

impl<const N: usize> Histogram<N> {
    /// Counts `value` in the first of the buckets whose bound is not below it.
    #[inline]
    pub(super) fn observe(&self, bounds: &[Bound], value: u64) {
        let bucket = bounds.iter().position(|(bound, _)| value <= *bound).unwrap_or(bounds.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
        }
        self.sum.add(value);
    }

    /// Counts a time.
    #[inline]
    pub(super) fn observe_time(&self, time: Duration) {
        self.observe(&TIMES, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Tally::default()), sum: Tally::default() }
    }
}

// === impl HistogramTotal ===

impl<const N: usize> HistogramTotal<N> {
    /// Adds the histogram of a thread.
    pub(super) fn add(&mut self, histogram: &Histogram<N>) {
        for (total, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += bucket.get();
        }
        self.sum = self.sum.wrapping_add(histogram.sum.get());
    }

    /// How many values were observed.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The counts of the buckets, and the sum.
    pub(super) fn parts(&self) -> (&[u64], u64) {
        (&self.buckets, self.sum)
    }
}

impl<const N: usize> Default for HistogramTotal<N> {
    fn default() -> Self {
        Self { buckets: [0; N], sum: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::<12>::default();
        for micros in [0, 5_000, 5_001, 10_000_000, 10_000_001] {
            histogram.observe_time(Duration::from_micros(micros));
        }
        let mut total = HistogramTotal::default();
        total.add(&histogram);
        assert_eq!(total.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((total.count(), total.sum), (5, 20_010_002_000));
    }
}
