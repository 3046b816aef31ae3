//! Whether the server can be reached: said in the log once for all watches, and in metrics for each kind.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::watches::Watch;
use crate::metrics::{CounterVec, GaugeVec, Meters};

/// How often a fault that lasts is said again.
const AGAIN: Duration = Duration::from_secs(60);

/// What is known of the way to the server.
#[derive(Debug)]
pub(super) struct Reach {
    faults: Mutex<Faults>,
    /// Told when a broken watch stands again: then others may, too.
    returned: Notify,
    up: GaugeVec<1>,
    errors: CounterVec<1>,
}

#[derive(Debug, Default)]
struct Faults {
    /// The watches that do not stand, and since when.
    broken: HashMap<Watch, Instant>,
    since: Option<Instant>,
    /// What was said, and when it was last.
    said: HashMap<String, Instant>,
}

// === impl Reach ===

impl Reach {
    pub(super) fn new(meters: &Meters) -> Self {
        Self {
            faults: Mutex::default(),
            returned: Notify::new(),
            up: meters.watch_up.clone(),
            errors: meters.watch_errors.clone(),
        }
    }

    /// Notes that a watch is to stand, and does not yet.
    pub(super) fn begin(&self, watch: &Watch) {
        if !watch.is_single() {
            self.up.with([watch.kind().as_str()]).set(0);
        }
    }

    /// Notes that a watch is not to stand any more.
    pub(super) fn end(&self, watch: &Watch) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.broken.remove(watch);
        self.look(&mut faults);
    }

    /// Notes that a watch stands.
    pub(super) fn stands(&self, watch: &Watch) {
        if !watch.is_single() {
            self.up.with([watch.kind().as_str()]).set(1);
        }
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.broken.remove(watch).is_some() {
            self.returned.notify_waiters();
            self.look(&mut faults);
        }
    }

    /// Notes that a watch broke, or could not be made to stand.
    pub(super) fn broke(&self, watch: &Watch, fault: &str) {
        let kind = watch.kind().as_str();
        self.errors.with([kind]).inc();
        if !watch.is_single() {
            self.up.with([kind]).set(0);
        }
        let now = Instant::now();
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.broken.entry(watch.clone()).or_insert(now);
        faults.since.get_or_insert(now);
        if faults.said.get(fault).is_none_or(|at| *at + AGAIN <= now) {
            faults.said.insert(fault.to_owned(), now);
            warn!(watch = %watch, fault, "cannot watch; what was last known goes on");
        }
    }

    /// Waits until another watch has come to stand again, but not for longer than `most`.
    pub(super) async fn returned(&self, most: Duration) {
        let _ = tokio::time::timeout(most, self.returned.notified()).await;
    }

    fn look(&self, faults: &mut Faults) {
        if faults.broken.is_empty()
            && let Some(since) = faults.since.take()
        {
            faults.said.clear();
            info!(after = ?since.elapsed(), "all is watched again");
        }
    }
}
