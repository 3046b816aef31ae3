//! The directories that the kernel watches for us.
//!
//! A watch belongs to a directory, not to a path, and ends with it in silence. So watches are begun again with every
//! look; that costs little and leaves nothing to remember.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::mpsc as signals,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tracing::warn;

use super::{follow::Signal, tree::Watch};

/// So many links on the way to a file are followed, as the kernel does.
const MOST_LINKS: usize = 40;

/// The directories that are watched.
pub(super) struct Watches {
    watcher: Option<RecommendedWatcher>,
    /// The directories, by the one path without links that they have, and what they were when the watch began.
    live: HashMap<PathBuf, (u64, u64)>,
    /// The directories that the present look came by.
    wanted: HashSet<PathBuf>,
    /// What matters itself, in directories where nothing else may: the path, links on the way and where they lead.
    single: HashSet<PathBuf>,
    /// Why some change may come without an event.
    pub(super) blind: Option<Blind>,
}

/// Why a change may come without an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Blind {
    pub(super) error: String,
    pub(super) mend: &'static str,
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
        let blind = watcher.as_ref().err().map(Blind::from);
        if let Some(Blind { error, .. }) = &blind {
            warn!(error, path = %path.display(), "changes of manifests cannot be watched");
        }
        Self { watcher: watcher.ok(), live: HashMap::new(), wanted: HashSet::new(), single: HashSet::new(), blind }
    }

    /// Prepares for a look at everything.
    pub(super) fn begin(&mut self, path: &Path) {
        if self.watcher.is_some() {
            self.blind = None;
        }
        self.wanted.clear();
        self.single.clear();
        // A watch belongs to a directory, not to its path: where there is another now, the watch must begin anew.
        let gone = |(path, id): (&PathBuf, &(u64, u64))| (identity(path) != Some(*id)).then(|| path.clone());
        for path in self.live.iter().filter_map(gone).collect::<Vec<_>>() {
            self.unwatch(&path);
        }
        // The path may be replaced itself: a link that is turned, a directory that is made again.
        self.link(path);
    }

    /// Ends the watches that the look had no use for.
    pub(super) fn end(&mut self) {
        let around: HashSet<_> = self.single.iter().filter_map(|path| path.parent()).collect();
        let unwanted = |path: &&PathBuf| !self.wanted.contains(*path) && !around.contains(path.as_path());
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
            if self.single.contains(path) || self.wanted.contains(path) {
                return true;
            }
            // Editors keep their hidden files beside ours; `..data` is where a mounted ConfigMap is turned.
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let hidden = name.starts_with(b".") && !name.starts_with(b"..");
            !hidden && path.parent().is_some_and(|parent| self.wanted.contains(parent))
        })
    }

    /// Goes on from `way`, a path without links, and watches every link before it is followed. `left` is how many may still
    /// come, so that a circle ends.
    fn follow_links(&mut self, way: &mut PathBuf, path: &Path, left: &mut usize) {
        for part in path.components() {
            match part {
                Component::CurDir => continue,
                Component::ParentDir => {
                    way.pop();
                    continue;
                }
                part => way.push(part),
            }
            if *left > 0 && way.is_symlink() {
                *left -= 1;
                self.watch_single(way.clone());
                if let Ok(target) = fs::read_link(&*way) {
                    way.pop();
                    self.follow_links(way, &target, left);
                }
            }
        }
    }

    /// Watches a path itself, which its directory tells of.
    fn watch_single(&mut self, path: PathBuf) {
        let Some(directory) = path.parent().map(Path::to_owned) else { return };
        if self.single.insert(path)
            && !self.wanted.contains(&directory)
            && let Err(error) = self.begin_watch(&directory)
        {
            self.blind = Some(Blind::from(&error));
        }
    }

    fn begin_watch(&mut self, directory: &Path) -> notify::Result<()> {
        let Some(watcher) = &mut self.watcher else { return Ok(()) };
        let Some(id) = identity(directory) else { return Ok(()) };
        // Watching once more what is watched changes nothing, and restores a watch that was lost without a word.
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.live.insert(directory.to_owned(), id);
                Ok(())
            }
            // It has just been removed; the watch of its parent tells.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => Ok(()),
            Err(error) => Err(error),
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
            && let Err(error) = self.begin_watch(&directory)
            // Without the right to watch it there is none to list it, which is told as what it is.
            && !is_denied(&error)
        {
            self.blind = Some(Blind::from(&error));
        }
    }

    fn link(&mut self, link: &Path) {
        if let Ok(path) = std::path::absolute(link) {
            let mut way = PathBuf::new();
            let mut left = MOST_LINKS;
            self.follow_links(&mut way, &path, &mut left);
            // What replaces the target of a link does so in the directory of the target.
            self.watch_single(way);
        }
    }
}

// === impl Blind ===

impl From<&notify::Error> for Blind {
    fn from(error: &notify::Error) -> Self {
        let mend = if is_denied(error) {
            "Make the directories on the way to the manifests readable"
        } else {
            "Raise the limits `fs.inotify.max_user_watches` and `fs.inotify.max_user_instances`"
        };
        Self { error: error.to_string(), mend }
    }
}

fn is_denied(error: &notify::Error) -> bool {
    matches!(&error.kind, notify::ErrorKind::Io(error) if error.kind() == io::ErrorKind::PermissionDenied)
}

/// What tells a directory from another that had its path before.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(directory).ok()?;
    metadata.is_dir().then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_blamed_only_where_no_right_is_missing() {
        for (kind, part) in [(io::ErrorKind::PermissionDenied, "readable"), (io::ErrorKind::StorageFull, "limits")] {
            let blind = Blind::from(&notify::Error::io(kind.into()));
            assert!(blind.mend.contains(part), "{blind:?}");
        }
        assert!(Blind::from(&notify::Error::new(notify::ErrorKind::MaxFilesWatch)).mend.contains("limits"));
    }
}
