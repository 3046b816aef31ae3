//! A value that is read without locks and replaced whole.
//!
//! The routing table, certificates and endpoint sets are live values: one writer replaces them, any number of workers
//! read them while they serve. A reader keeps what it loaded for as long as it wants; it never sees a half-made value.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A value that one writer replaces and many readers load.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    /// Starts with `value`.
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// The value of now, cheaply, for use at once. To hold it over an `.await`, take [`Live::get`].
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// The value of now, to keep.
    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value and returns the former one, which readers may still hold.
    pub fn replace(&self, value: impl Into<Arc<T>>) -> Arc<T> {
        self.0.swap(value.into())
    }
}

impl<T: Default> Default for Live<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
