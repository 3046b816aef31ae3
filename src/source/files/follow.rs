//! Follows the files: whatever happens below the path, look again and hand on what is different.
//!
//! Events of the kernel only say when to look. What changed is found by comparing objects, so an event too many costs a
//! look, and the many ways to replace a file (write it, rename over it, turn a link) need no case of their own. Every
//! directory is watched before it is listed, so nothing can happen unseen between the two. Should an event be lost, or
//! none be made (network file systems), a look now and then finds the change all the same.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::mpsc::{self as signals, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use notify::Event;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Config, Loaded, STACK,
    manifest::Detail,
    tree::Tree,
    unsettled::Unsettled,
    watches::{Blind, Watches},
};
use crate::{
    api::Object,
    key::ObjectKey,
    problem::{Level, Problem, Reason},
    source::Batch,
    store::Age,
};

/// No event for so long means that a change is complete.
const QUIET: Duration = Duration::from_millis(5);

/// Changes that never end are looked at after so long.
const BUSY: Duration = Duration::from_millis(50);

/// The kernel makes a change visible shortly before it tells of it.
const LATE: Duration = Duration::from_millis(2);

/// How often to look without an event.
const UNASKED: Duration = Duration::from_secs(10);

/// How often to look where events cannot be expected.
const BLIND: Duration = Duration::from_secs(1);

/// The changes of the files. Dropping it ends the following.
#[derive(Debug)]
pub struct Following {
    batches: mpsc::Receiver<Batch>,
    signals: signals::Sender<Signal>,
}

/// Starts to follow the files, on a thread of its own.
///
/// # Errors
///
/// If the thread cannot be started. What is wrong with files is in the batches.
pub fn follow(config: Config) -> io::Result<Following> {
    start(config, UNASKED)
}

/// Follows the files, with a look after `unasked` where there is no event.
pub(super) fn start(config: Config, unasked: Duration) -> io::Result<Following> {
    let (sender, batches) = mpsc::channel(1);
    let (signals, received) = signals::channel();
    let watches = Watches::new(&config.path, signals.clone());
    let follower = Follower {
        path: config.path.clone(),
        tree: Tree::new(config, Detail::Objects),
        watches,
        signals: received,
        batches: sender,
        unasked,
        first: None,
        unsettled: Unsettled::default(),
        held: HashMap::new(),
        told: None,
    };
    thread::Builder::new().name("files".to_owned()).stack_size(STACK).spawn(move || follower.run())?;
    Ok(Following { batches, signals })
}

/// What wakes the thread.
#[derive(Debug)]
pub(super) enum Signal {
    Event(Event),
    /// Events were lost.
    Lost,
    Stop,
}

struct Follower {
    path: PathBuf,
    tree: Tree,
    watches: Watches,
    signals: signals::Receiver<Signal>,
    batches: mpsc::Sender<Batch>,
    /// How often to look without an event.
    unasked: Duration,
    /// When the first event came that calls for the next look.
    first: Option<Instant>,
    unsettled: Unsettled,
    /// The objects as they were last handed on.
    held: HashMap<ObjectKey, (Object, Age)>,
    /// What else was last handed on; nothing before the first batch.
    told: Option<Told>,
}

type Told = (Vec<Problem>, BTreeMap<String, usize>);

// === impl Following ===

impl Following {
    /// The next changes; the first are all that there is. None only if the thread has died.
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // If the thread is gone already, so is its end of the channel.
        let _ = self.signals.send(Signal::Stop);
    }
}

// === impl Follower ===

impl Follower {
    fn run(mut self) {
        let mut blind = None;
        loop {
            self.unsettled.begin();
            self.watches.begin(&self.path);
            let different = self.tree.scan(&mut self.watches);
            self.watches.end();
            if different && !self.settle() {
                return;
            }
            if (different || blind != self.watches.blind || self.told.is_none())
                && let Some(batch) = self.compare(self.tree.loaded())
                && self.batches.blocking_send(batch).is_err()
            {
                return;
            }
            blind.clone_from(&self.watches.blind);
            if !self.wait() {
                return;
            }
        }
    }

    /// Takes back what was read of files while they were being changed. Tells whether to go on.
    ///
    /// Else an editor that empties a file before it writes would take the objects in it away for a moment.
    fn settle(&mut self) -> bool {
        let late = Instant::now() + LATE;
        let mut told = false;
        loop {
            match self.signals.recv_timeout(late.saturating_duration_since(Instant::now())) {
                Ok(Signal::Event(event)) => self.note(&event),
                Ok(Signal::Lost) => self.first = Some(Instant::now()),
                Err(RecvTimeoutError::Timeout) if told => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.watches.hear_out();
                    told = true;
                }
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        let now = Instant::now();
        self.tree.take_back(|path, found| self.unsettled.is_incomplete(path, found, now));
        true
    }

    fn note(&mut self, event: &Event) {
        if self.watches.matters(event) {
            self.unsettled.note(event);
            self.first.get_or_insert_with(Instant::now);
        }
    }

    /// What is different from what was handed on; none if nothing is.
    fn compare(&mut self, loaded: Loaded) -> Option<Batch> {
        let Loaded { problems, unreadable, ignored, .. } = loaded;
        let mut batch = Batch { problems, unreadable, ignored, ..Batch::default() };
        batch.problems.extend(self.watches.blind.as_ref().map(|blind| unwatched(&self.path, blind)));
        batch.problems.sort();
        let mut held = HashMap::with_capacity(loaded.objects.len());
        for (object, age) in loaded.objects {
            let key = object.key();
            let same = self
                .held
                .remove(&key)
                .is_some_and(|(former, former_age)| former_age == age && former.says_the_same(&object));
            if !same {
                batch.applied.push((object.clone(), age.clone()));
            }
            held.insert(key, (object, age));
        }
        batch.deleted.extend(self.held.drain().map(|(key, _)| key));
        batch.deleted.sort();
        self.held = held;

        let told = Some((batch.problems.clone(), batch.ignored.clone()));
        let silent = batch.applied.is_empty() && batch.deleted.is_empty() && self.told == told;
        let known = self.told.as_ref().map_or(&[][..], |told| &told.0);
        for problem in batch.problems.iter().filter(|problem| !known.contains(problem)) {
            warn!(object = %problem.object, field = problem.field, fault = problem.fault, "manifest problem");
        }
        self.told = told;
        if silent {
            return None;
        }
        let (applied, deleted, problems) = (batch.applied.len(), batch.deleted.len(), batch.problems.len());
        info!(path = %self.path.display(), applied, deleted, problems, "manifests read");
        Some(batch)
    }

    /// Waits until it is time to look again. Tells whether to go on.
    fn wait(&mut self) -> bool {
        let blind = self.tree.is_faulty() || self.watches.blind.is_some();
        let unasked = Instant::now() + if blind { BLIND.min(self.unasked) } else { self.unasked };
        loop {
            let now = Instant::now();
            let until = match self.first {
                Some(first) => (now + QUIET).min(first + BUSY),
                None => self.unsettled.until().map_or(unasked, |until| until.min(unasked)),
            };
            match self.signals.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Signal::Event(event)) => self.note(&event),
                Ok(Signal::Lost) => break,
                Err(RecvTimeoutError::Timeout) => break,
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        self.first = None;
        !self.batches.is_closed()
    }
}

/// The problem that the kernel does not tell of changes.
fn unwatched(path: &Path, blind: &Blind) -> Problem {
    Problem {
        object: ObjectKey::manifest(path.to_string_lossy()),
        field: "path".to_owned(),
        level: Level::Warning,
        reason: Reason::Unsupported,
        fault: format!("changes cannot be watched: {}", blind.error),
        effect: "they are looked for every second".to_owned(),
        mend: blind.mend.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_with_its_follower() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let config = Config { path: dir.path().to_owned(), endpoints: Vec::new() };
        let following = follow(config).expect("a thread can be started");
        let signals = following.signals.clone();
        drop(following);
        // The other end of the channel goes with the thread.
        let start = Instant::now();
        while signals.send(Signal::Lost).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(30), "the thread lives on");
            thread::yield_now();
        }
    }
}
