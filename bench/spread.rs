//! The figures of a benchmark's rounds, and what is shown of them.

/// The figures of all rounds.
pub struct Spread(pub Vec<f64>);

impl Spread {
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        sorted[sorted.len() / 2]
    }

    /// The ratios to another's, round by round.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(this, other)| this / other).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sorted = self.sorted();
        write!(f, "{:.2} ({:.2} to {:.2})", self.median(), sorted[0], sorted[sorted.len() - 1])
    }
}
