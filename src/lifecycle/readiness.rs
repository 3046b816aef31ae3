//! Readiness: whatever must happen first holds a guard.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use tokio::sync::watch;

/// Tells whether the process may be sent traffic: it may while nothing blocks.
///
/// Clones share what blocks. `/readyz` shows the names.
#[derive(Clone)]
pub struct Readiness(Arc<watch::Sender<Blockers>>);

/// Keeps the process unready until it is dropped.
#[must_use = "the process is unready only as long as the guard is held"]
pub struct Guard {
    name: Name,
    readiness: Readiness,
}

type Name = Cow<'static, str>;

/// What blocks, and how many guards there are of each name.
type Blockers = BTreeMap<Name, usize>;

// === impl Readiness ===

impl Readiness {
    /// Nothing blocks yet: take the first guards before anybody can ask.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Blockers::new())))
    }

    /// Makes the process unready until the guard is dropped. `name` says what it waits for: "first snapshot".
    pub fn block(&self, name: impl Into<Name>) -> Guard {
        let name = name.into();
        self.0.send_modify(|blockers| *blockers.entry(name.clone()).or_default() += 1);
        Guard { name, readiness: self.clone() }
    }

    /// Whether nothing blocks.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The names of what blocks, sorted.
    #[must_use]
    pub fn blocked_by(&self) -> Vec<String> {
        self.0.borrow().keys().map(ToString::to_string).collect()
    }

    /// Waits until nothing blocks.
    pub async fn ready(&self) {
        // The sender is in `self`, so the wait can end in no other way.
        let _ = self.0.subscribe().wait_for(Blockers::is_empty).await;
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&*self.0.borrow()).finish()
    }
}

// === impl Guard ===

impl Guard {
    /// Leaves the process unready for good: what was waited for will not come.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Guard {
    /// A panic is not what was waited for: the process then stays unready.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.readiness.0.send_modify(|blockers| {
            if let Some(count) = blockers.get_mut(&self.name) {
                *count -= 1;
                if *count == 0 {
                    blockers.remove(&self.name);
                }
            }
        });
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_guard_is_dropped() {
        let readiness = Readiness::new();
        let snapshot = readiness.block("first snapshot");
        let listeners = readiness.block("listeners");
        assert_eq!(readiness.blocked_by(), ["first snapshot", "listeners"]);
        drop(snapshot);
        assert_eq!(readiness.blocked_by(), ["listeners"]);
        assert!(!readiness.is_ready());
        drop(listeners);
        assert!(readiness.is_ready());
    }

    #[test]
    fn guards_of_one_name_count() {
        let readiness = Readiness::new();
        let first = readiness.block(format!("worker {}", 1));
        let second = readiness.block("worker 1");
        drop(first);
        assert_eq!(readiness.blocked_by(), ["worker 1"]);
        drop(second);
        assert!(readiness.is_ready());
    }

    #[test]
    fn can_be_made_unready_again() {
        let readiness = Readiness::new();
        drop(readiness.block("first snapshot"));
        assert!(readiness.is_ready());
        let _draining = readiness.block("draining");
        assert!(!readiness.is_ready());
    }

    #[test]
    fn what_is_kept_blocks_for_good() {
        let readiness = Readiness::new();
        readiness.block("first snapshot").keep();
        assert_eq!(readiness.blocked_by(), ["first snapshot"]);
        let listeners = readiness.block("listeners");
        std::thread::spawn(move || {
            let _listeners = listeners;
            panic!("of the test");
        })
        .join()
        .expect_err("it panics");
        assert_eq!(readiness.blocked_by(), ["first snapshot", "listeners"]);
    }

    #[tokio::test]
    async fn waits_until_ready() {
        let readiness = Readiness::new();
        let guard = readiness.block("first snapshot");
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(guard);
        waiter.await.unwrap();
    }
}
