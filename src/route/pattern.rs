//! Regular expressions of objects: bounded in size and time, compiled once.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A regular expression as an object writes it, compiled.
///
/// The linear-time engine is used wherever it can express the pattern; look-around and back-references go to one with
/// a limit on backtracking. Two patterns are equal where their texts are.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    engine: Arc<Engine>,
}

/// Why a pattern cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidPattern {
    pub reason: String,
}

enum Engine {
    /// Linear in the length of the text.
    Linear(regex::bytes::Regex),
    /// Backtracking, with a limit.
    Backtracking(fancy_regex::Regex),
}

// === impl Pattern ===

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}
