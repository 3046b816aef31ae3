//! Objects from ordinary Kubernetes manifests: YAML and JSON files in a directory of any depth, or one file.
//!
//! [`read`] reads them once; [`follow()`] goes on and hands on what changes. Both see the same: files named `*.yaml`,
//! `*.yml` and `*.json`, in directories whose name does not begin with a dot (so a mounted ConfigMap, whose `..data` is
//! only where its links lead, is read once), with any number of documents, and `List`s of any kind.
//!
//! What always holds:
//!
//! * A file counts as a whole. If any of its documents cannot be read, its former objects stay, and it is a problem.
//! * An object that several files hold is the one of the first path; the others are told.
//! * Without a time of creation, objects are as old as their place: path, then position in the file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, fs, panic,
    path::PathBuf,
    sync::Arc,
    thread,
};

use self::{manifest::Detail, node::Position, tree::Tree};
use crate::{api::Object, key::ObjectKey, problem::Problem, source::endpoint_flag::EndpointFlag, store::Age};

mod fit;
mod follow;
mod manifest;
mod node;
mod tree;
mod unsettled;
mod watches;

#[cfg(test)]
mod tests;

pub use follow::{Following, follow};

/// What to read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// A directory or a file.
    pub path: PathBuf,
    /// Endpoints to add to the Services in the files.
    pub endpoints: Vec<EndpointFlag>,
}

/// All that was read.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The objects, by path and position.
    pub objects: Vec<(Object, Age)>,
    /// What is wrong with files and objects, sorted.
    pub problems: Vec<Problem>,
    /// The files and directories that cannot be read, by path.
    pub unreadable: BTreeSet<Arc<str>>,
    /// The kinds that are of no use, and how many objects of each there are.
    pub ignored: BTreeMap<String, usize>,
    /// Where the objects are.
    pub places: Places,
}

/// Where objects and their fields are in the files.
#[derive(Clone, Debug, Default)]
pub struct Places(HashMap<ObjectKey, Located>);

/// A place in a file: `shop/web.yaml:12:9`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub path: Arc<str>,
    /// Counted from 1.
    pub line: u64,
    /// Counted from 1, in characters.
    pub column: u64,
}

/// Where an object is, and its fields in the file.
#[derive(Clone, Debug)]
struct Located {
    path: Arc<str>,
    at: Position,
    fields: HashMap<String, Position>,
}

/// Enough for the deepest text that is allowed, in a build without optimization.
const STACK: usize = 16 << 20;

/// Reads a directory, a file or a stream once.
///
/// What cannot be read is among the problems, the path itself included.
#[must_use]
pub fn read(config: &Config) -> Loaded {
    on_large_stack(|| {
        let mut tree = Tree::new(config.clone(), Detail::Fields);
        // What a command says, as by `check <(helm template .)`.
        if fs::metadata(&config.path).is_ok_and(|metadata| !metadata.is_dir() && !metadata.is_file()) {
            tree.drain();
        } else {
            tree.scan(&mut tree::Unwatched);
        }
        tree.into_loaded()
    })
}

/// Reads a text that comes from elsewhere, as from standard input; `name` stands for its path.
#[must_use]
pub fn parse(name: &str, text: &[u8], endpoints: &[EndpointFlag]) -> Loaded {
    on_large_stack(|| {
        let config = Config { path: name.into(), endpoints: endpoints.to_owned() };
        let mut tree = Tree::new(config, Detail::Fields);
        tree.put(name, text);
        tree.into_loaded()
    })
}

/// Runs `work` where a deep text cannot exhaust the stack.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("files".to_owned()).stack_size(STACK);
        match thread.spawn_scoped(scope, work).map(thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(panicked)) => panic::resume_unwind(panicked),
            Err(error) => panic!("no thread can be started: {error}"),
        }
    })
}

// === impl Places ===

impl Places {
    /// Where a field of an object is, or the nearest that is there of what it lies in: in the end, the object.
    ///
    /// Fields are named as in a [`Problem`]: `spec.rules[0].host`, `metadata.annotations[serin.dev/canary]`.
    #[must_use]
    pub fn of(&self, object: &ObjectKey, field: &str) -> Option<Place> {
        let Located { path, at, fields } = self.0.get(object)?;
        let mut field = field;
        let at = loop {
            match (fields.get(field), field.rfind(['.', '['])) {
                (Some(at), _) => break at,
                (None, Some(end)) => field = &field[..end],
                (None, None) => break at,
            }
        };
        Some(Place { path: path.clone(), line: at.line, column: at.column })
    }
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}
