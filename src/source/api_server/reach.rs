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
    /// Whether each watch stands that there should be.
    standing: HashMap<Watch, bool>,
    /// Since when not all stand that did.
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
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.standing.insert(watch.clone(), false);
        self.show(watch, &faults);
    }

    /// Notes that a watch is not to stand any more.
    pub(super) fn end(&self, watch: &Watch) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.standing.remove(watch);
        self.show(watch, &faults);
        faults.look();
    }

    /// Notes that a watch stands.
    pub(super) fn stands(&self, watch: &Watch) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.standing.insert(watch.clone(), true) != Some(true) {
            self.show(watch, &faults);
            self.returned.notify_waiters();
            faults.look();
        }
    }

    /// Notes that a watch broke, or could not be made to stand.
    pub(super) fn broke(&self, watch: &Watch, fault: &str) {
        self.errors.with([watch.kind().as_str()]).inc();
        let now = Instant::now();
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.standing.insert(watch.clone(), false);
        self.show(watch, &faults);
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

    /// Shows whether the kind of a watch is watched. What is refused of a single object is a problem of that alone.
    fn show(&self, watch: &Watch, faults: &Faults) {
        let kind = watch.kind();
        if watch.is_single() {
            return;
        }
        let mut watches = faults.standing.iter().filter(|(watch, _)| watch.kind() == kind && !watch.is_single());
        self.up.with([kind.as_str()]).set(watches.all(|(_, stands)| *stands).into());
    }
}

// === impl Faults ===

impl Faults {
    /// Says so when all stand again.
    fn look(&mut self) {
        if self.standing.values().all(|stands| *stands)
            && let Some(since) = self.since.take()
        {
            self.said.clear();
            info!(after = ?since.elapsed(), "all is watched again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::ObjectKey,
        metrics::{Metrics, Settings},
    };

    #[test]
    fn a_kind_is_up_while_all_its_watches_of_many_stand() {
        let (metrics, _) = Metrics::new(&Settings::default());
        let reach = Reach::new(metrics.meters());
        let up = |expected: u64| {
            let mut text = Vec::new();
            metrics.write_to(&mut text).expect("memory takes all");
            let text = String::from_utf8(text).expect("metrics are text");
            let line =
                text.lines().find(|line| line.starts_with("serin_watch_up{kind=\"Secret\"")).expect("it is shown");
            assert!(line.ends_with(&format!(" {expected}")), "{line}");
        };
        let many = ["a", "b"].map(|namespace| Watch::Certificates(namespace.into()));
        let one = Watch::One(ObjectKey::secret("a", "named"));
        many.iter().chain([&one]).for_each(|watch| reach.begin(watch));
        reach.stands(&many[0]);
        up(0);
        reach.stands(&many[1]);
        up(1);
        reach.broke(&one, "of the test");
        up(1);
        reach.broke(&many[0], "of the test");
        reach.stands(&many[1]);
        up(0);
        reach.end(&many[0]);
        up(1);
    }
}
