//! Follows the files: whatever happens below the path, look again and hand on what is different.
//!
//! Events of the kernel only say when to look. What changed is found by comparing objects, so an event too many costs a
//! look, and the many ways to replace a file (write it, rename over it, turn a link) need no case of their own. Every
//! directory is watched before it is listed, so nothing can happen unseen between the two. Should an event be lost, or
//! none be made (network file systems), a look now and then finds the change all the same.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::{self as signals, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Config, Loaded, STACK,
    manifest::Detail,
    tree::{Tree, Watch},
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

/// A file that is open for writing is waited for so long.
const WRITING: Duration = Duration::from_millis(500);

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
        held: HashMap::new(),
        told: None,
    };
    thread::Builder::new().name("files".to_owned()).stack_size(STACK).spawn(move || follower.run())?;
    Ok(Following { batches, signals })
}

#[derive(Debug)]
enum Signal {
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
    /// The objects as they were last handed on.
    held: HashMap<ObjectKey, (Object, Age)>,
    /// What else was last handed on; nothing before the first batch.
    told: Option<Told>,
}

type Told = (Vec<Problem>, BTreeMap<String, usize>);

/// The directories that the kernel watches for us.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    /// The directories, by the one path without links that they have, and what they were when the watch began.
    live: HashMap<PathBuf, (u64, u64)>,
    /// The directories that the present look came by.
    wanted: HashSet<PathBuf>,
    /// The path itself, in a directory where nothing else matters.
    root: Option<PathBuf>,
    /// Why some change may come without an event.
    blind: Option<String>,
}

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
            self.watches.begin(&self.path);
            let different = self.tree.scan(&mut self.watches);
            self.watches.end();
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

    /// What is different from what was handed on; none if nothing is.
    fn compare(&mut self, loaded: Loaded) -> Option<Batch> {
        let mut batch = Batch { problems: loaded.problems, ignored: loaded.ignored, ..Batch::default() };
        batch.problems.extend(self.watches.blind.as_ref().map(|error| unwatched(&self.path, error)));
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
        let mut writing = HashSet::new();
        // When to look at the latest, known from the first event that matters.
        let mut first: Option<Instant> = None;
        loop {
            let now = Instant::now();
            let until = match first {
                None => unasked,
                Some(first) if writing.is_empty() => (now + QUIET).min(first + BUSY),
                Some(first) => first + WRITING,
            };
            match self.signals.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Signal::Event(event)) => {
                    if self.watches.matters(&event) {
                        note_writing(&event, &mut writing);
                        first.get_or_insert_with(Instant::now);
                    }
                }
                Ok(Signal::Lost) => return true,
                Err(RecvTimeoutError::Timeout) => return !self.batches.is_closed(),
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}

/// Notes which files are being written. One that is written in place is incomplete until it is closed.
fn note_writing(event: &Event, writing: &mut HashSet<PathBuf>) {
    match event.kind {
        EventKind::Modify(ModifyKind::Data(_)) => writing.extend(event.paths.iter().cloned()),
        EventKind::Access(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
            for path in &event.paths {
                writing.remove(path);
            }
        }
        _ => {}
    }
}

// === impl Watches ===

impl Watches {
    fn new(path: &Path, signals: signals::Sender<Signal>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let signal = match event {
                // Reading is an event too, ours included.
                Ok(event) => match event.kind {
                    EventKind::Access(AccessKind::Close(AccessMode::Write)) => Signal::Event(event),
                    EventKind::Access(_) => return,
                    _ if event.need_rescan() => Signal::Lost,
                    _ => Signal::Event(event),
                },
                Err(_) => Signal::Lost,
            };
            // Fails only when nobody follows any more.
            let _ = signals.send(signal);
        });
        let blind = watcher.as_ref().err().map(ToString::to_string);
        if let Some(error) = &blind {
            warn!(error, path = %path.display(), "changes of manifests cannot be watched");
        }
        Self { watcher: watcher.ok(), live: HashMap::new(), wanted: HashSet::new(), root: None, blind }
    }

    /// Prepares for a look at everything.
    fn begin(&mut self, path: &Path) {
        if self.watcher.is_some() {
            self.blind = None;
        }
        self.wanted.clear();
        // A watch belongs to a directory, not to its path: where there is another now, the watch must begin anew.
        let gone = |(path, id): (&PathBuf, &(u64, u64))| (identity(path) != Some(*id)).then(|| path.clone());
        for path in self.live.iter().filter_map(gone).collect::<Vec<_>>() {
            self.unwatch(&path);
        }
        // The path may be replaced itself: a link that is turned, a directory that is made again.
        self.root = None;
        if let Ok(absolute) = std::path::absolute(path)
            && let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name())
            && let Ok(parent) = fs::canonicalize(parent)
        {
            self.root = Some(parent.join(name));
            self.begin_watch(&parent);
        }
    }

    /// Ends the watches that the look had no use for.
    fn end(&mut self) {
        let parent = self.root.as_deref().and_then(Path::parent);
        let unwanted = |path: &&PathBuf| !self.wanted.contains(*path) && Some(path.as_path()) != parent;
        for path in self.live.keys().filter(unwanted).cloned().collect::<Vec<_>>() {
            self.unwatch(&path);
        }
    }

    /// Whether an event can have to do with the files.
    fn matters(&self, event: &Event) -> bool {
        event.paths.iter().any(|path| {
            if self.root.as_ref() == Some(path) || self.wanted.contains(path) {
                return true;
            }
            // Editors keep their hidden files beside ours; `..data` is where a mounted ConfigMap is turned.
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let hidden = name.starts_with(b".") && !name.starts_with(b"..");
            !hidden && path.parent().is_some_and(|parent| self.wanted.contains(parent))
        })
    }

    fn begin_watch(&mut self, directory: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let Some(id) = identity(directory) else { return };
        // Watching once more what is watched changes nothing, and restores a watch that was lost without a word.
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.live.insert(directory.to_owned(), id);
            }
            // It has just been removed; the watch of its parent tells.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => self.blind = Some(error.to_string()),
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        self.live.remove(directory);
        if let Some(watcher) = &mut self.watcher {
            // It fails where the watch has ended with its directory.
            let _ = watcher.unwatch(directory);
        }
    }
}

impl Watch for Watches {
    fn watch(&mut self, directory: &Path) {
        if let Ok(directory) = fs::canonicalize(directory)
            && self.wanted.insert(directory.clone())
        {
            self.begin_watch(&directory);
        }
    }
}

/// What tells a directory from another that had its path before.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(directory).ok()?;
    metadata.is_dir().then(|| (metadata.dev(), metadata.ino()))
}

/// The problem that the kernel does not tell of changes.
fn unwatched(path: &Path, error: &str) -> Problem {
    Problem {
        object: ObjectKey::manifest(path.to_string_lossy()),
        field: "path".to_owned(),
        level: Level::Warning,
        reason: Reason::Unsupported,
        fault: format!("changes cannot be watched: {error}"),
        effect: "they are looked for every second".to_owned(),
        mend: "Raise the limits `fs.inotify.max_user_watches` and `fs.inotify.max_user_instances`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, RemoveKind};

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

    #[test]
    fn a_file_is_being_written_until_it_is_closed_or_gone() {
        let mut writing = HashSet::new();
        let mut after = |kind, path: &str| {
            note_writing(&Event::new(kind).add_path(path.into()), &mut writing);
            writing.len()
        };
        let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert_eq!(after(write, "a"), 1);
        assert_eq!(after(write, "a"), 1);
        assert_eq!(after(write, "b"), 2);
        assert_eq!(after(EventKind::Access(AccessKind::Close(AccessMode::Write)), "a"), 1);
        assert_eq!(after(EventKind::Remove(RemoveKind::File), "b"), 0);
    }
}
