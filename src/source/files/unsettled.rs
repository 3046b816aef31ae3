//! Tells half of a change from the whole.
//!
//! A file that is written in place is empty for a moment, then half of what it will be; one that version control replaces
//! is gone for a moment. What is found then is not what anybody meant, and objects must not come and go with it.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use notify::{Event, EventKind, event::ModifyKind};

use super::tree::Found;

/// A file that is being written is waited for so long; others are not held up by it.
const WRITING: Duration = Duration::from_secs(5);

/// A file that is gone may return for so long without its objects being gone for a moment. Some editors, and version
/// control, remove a file before they write it.
const GONE: Duration = Duration::from_millis(100);

/// The files that are not yet what they will be. All paths are without links, as those of events are.
#[derive(Default)]
pub(super) struct Unsettled {
    /// What something happened to since the last look began.
    touched: HashSet<PathBuf>,
    /// What is being written in place: it is incomplete until it is closed.
    writing: HashSet<PathBuf>,
    /// What is waited for: since when, and until when.
    waits: HashMap<PathBuf, (Instant, Instant)>,
    /// What was waited for at the look before.
    former: HashMap<PathBuf, (Instant, Instant)>,
}

// === impl Unsettled ===

impl Unsettled {
    /// Prepares for a look.
    pub(super) fn begin(&mut self) {
        self.touched.clear();
        self.former = std::mem::take(&mut self.waits);
    }

    pub(super) fn note(&mut self, event: &Event) {
        for path in &event.paths {
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_)) => {
                    self.writing.insert(path.clone());
                }
                // What is linked into the directory is complete; what is made there is still to be written.
                EventKind::Create(_)
                    if fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.nlink() == 1) =>
                {
                    self.writing.insert(path.clone());
                }
                EventKind::Access(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                    self.writing.remove(path);
                }
                _ => {}
            }
            self.touched.insert(path.clone());
        }
    }

    /// Whether what was just found at `path` may be half of a change. That is never so for long.
    pub(super) fn is_incomplete(&mut self, path: &Path, found: Found, now: Instant) -> bool {
        let (real, target) = real(path).unwrap_or_else(|| (path.to_owned(), None));
        let is_in =
            |paths: &HashSet<PathBuf>| paths.contains(&real) || target.as_ref().is_some_and(|t| paths.contains(t));
        // A file is empty before the kernel tells that somebody empties it.
        let wait = if is_in(&self.touched) || is_in(&self.writing) || found == Found::Empty {
            WRITING
        } else if found == Found::Gone {
            GONE
        } else {
            Duration::ZERO
        };
        let since = self.former.get(&real).map_or(now, |(since, _)| *since);
        if now < since + wait {
            self.waits.insert(real, (since, since + wait));
            return true;
        }
        self.writing.remove(&real);
        false
    }

    /// When the next waiting ends.
    pub(super) fn until(&self) -> Option<Instant> {
        self.waits.values().map(|(_, until)| *until).min()
    }
}

/// A path as events have it, and what it leads to.
fn real(path: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
    let parent = fs::canonicalize(std::path::absolute(path).ok()?.parent()?).ok()?;
    Some((parent.join(path.file_name()?), fs::canonicalize(path).ok()))
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, AccessMode, DataChange, RemoveKind};

    use super::*;

    #[test]
    fn a_file_is_incomplete_until_it_is_closed_or_gone_or_the_wait_is_long() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let root = fs::canonicalize(dir.path()).expect("the directory is there");
        let path = root.join("a.yaml");
        let (start, write) = (Instant::now(), EventKind::Modify(ModifyKind::Data(DataChange::Any)));
        let mut unsettled = Unsettled::default();
        assert!(!unsettled.is_incomplete(&path, Found::Text, start));

        for end in [EventKind::Access(AccessKind::Close(AccessMode::Write)), EventKind::Remove(RemoveKind::File)] {
            unsettled.note(&Event::new(write).add_path(path.clone()));
            assert!(unsettled.is_incomplete(&path, Found::Text, start), "it was touched while it was read");
            unsettled.begin();
            assert!(unsettled.is_incomplete(&path, Found::Text, start), "it is not closed");
            assert!(unsettled.until().is_some(), "it is waited for");
            unsettled.note(&Event::new(end).add_path(path.clone()));
            unsettled.begin();
            assert!(!unsettled.is_incomplete(&path, Found::Text, start), "{end:?}");
            assert_eq!(unsettled.until(), None);
        }

        unsettled.note(&Event::new(write).add_path(path.clone()));
        assert!(unsettled.is_incomplete(&path, Found::Text, start));
        unsettled.begin();
        assert!(!unsettled.is_incomplete(&path, Found::Text, start + WRITING), "it was waited for long enough");
        unsettled.begin();
        assert!(!unsettled.is_incomplete(&root.join("b.yaml"), Found::Text, start));
        assert!(unsettled.is_incomplete(&root.join("c.yaml"), Found::Gone, start), "it may return");
        unsettled.begin();
        assert!(!unsettled.is_incomplete(&root.join("c.yaml"), Found::Gone, start + GONE));
        assert!(unsettled.is_incomplete(&root.join("d.yaml"), Found::Empty, start + GONE), "it may be filled");
        unsettled.begin();
        unsettled.begin();
        assert_eq!(unsettled.until(), None, "what is found complete is not waited for");
    }
}
