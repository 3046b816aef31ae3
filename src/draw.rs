//! Chance as an argument.
//!
//! Whatever is decided by lot takes a [`Draw`], so that its arithmetic can be tested exactly.

/// A source of lots.
pub trait Draw {
    /// Draws a number below `end`, each equally likely. Draws nothing and returns 0 where `end` is 0.
    fn below(&mut self, end: u64) -> u64;
}

/// Lots that are drawn by a pseudo-random generator, seeded by the operating system.
#[derive(Debug)]
pub struct Random(fastrand::Rng);

/// Lots that are given beforehand, for tests and explanations. The last is drawn again and again.
#[derive(Clone, Debug)]
pub struct Given {
    lots: Vec<u64>,
    next: usize,
}

// === impl Random ===

impl Random {
    /// A generator of its own, which shares nothing with others.
    #[must_use]
    pub fn new() -> Self {
        Self(fastrand::Rng::new())
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl Draw for Random {
    fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.u64(..end) }
    }
}

// === impl Given ===

impl Given {
    /// Draws `lots` in turn, each taken modulo the end that is asked for.
    pub fn new(lots: impl Into<Vec<u64>>) -> Self {
        Self { lots: lots.into(), next: 0 }
    }
}

impl Draw for Given {
    fn below(&mut self, end: u64) -> u64 {
        let lot = self.lots.get(self.next).or(self.lots.last()).copied().unwrap_or(0);
        self.next += 1;
        if end == 0 { 0 } else { lot % end }
    }
}
