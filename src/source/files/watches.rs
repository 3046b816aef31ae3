//! The directories that the kernel watches for us.
//!
//! A watch belongs to a directory, not to a path, and ends with it in silence. So watches are begun again with every
//! look; that costs little and leaves nothing to remember.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc as signals,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tracing::warn;

use super::{follow::Signal, tree::Watch};

/// The directories that are watched.
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    /// The directories, by the one path without links that they have, and what they were when the watch began.
    live: HashMap<PathBuf, (u64, u64)>,
    /// The directories that the present look came by.
    wanted: HashSet<PathBuf>,
    /// The path itself, in a directory where nothing else matters.
    root: Option<PathBuf>,
    /// Why some change may come without an event.
    pub(super) blind: Option<String>,
}

// === impl Watches ===

impl Watches {
    pub(super) fn new(path: &Path, signals: signals::Sender<Signal>) -> Self {
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
    pub(super) fn begin(&mut self, path: &Path) {
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
    pub(super) fn end(&mut self) {
        let parent = self.root.as_deref().and_then(Path::parent);
        let unwanted = |path: &&PathBuf| !self.wanted.contains(*path) && Some(path.as_path()) != parent;
        for path in self.live.keys().filter(unwanted).cloned().collect::<Vec<_>>() {
            self.unwatch(&path);
        }
    }

    /// Waits until all that the kernel has told so far is among the signals.
    pub(super) fn hear_out(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            // The watcher's thread takes requests and events in their order, and answers this one, which changes nothing.
            let _ = watcher.configure(notify::Config::default());
        }
    }

    /// Whether an event can have to do with the files.
    pub(super) fn matters(&self, event: &Event) -> bool {
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
