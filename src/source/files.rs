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

use std::{collections::BTreeMap, panic, path::PathBuf, thread};

use crate::{api::Object, problem::Problem, source::endpoint_flag::EndpointFlag, store::Age};

mod fit;
mod follow;
mod manifest;
mod node;
mod tree;

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
    /// The kinds that are of no use, and how many objects of each there are.
    pub ignored: BTreeMap<String, usize>,
}

/// Enough for the deepest text that is allowed, in a build without optimization.
const STACK: usize = 16 << 20;

/// Reads a directory or a file once.
///
/// What cannot be read is among the problems, the path itself included.
#[must_use]
pub fn read(config: &Config) -> Loaded {
    on_large_stack(|| {
        let mut tree = tree::Tree::new(config.clone());
        tree.scan(&mut tree::Unwatched);
        tree.loaded()
    })
}

/// Reads a text that comes from elsewhere, as from standard input; `name` stands for its path.
#[must_use]
pub fn parse(name: &str, text: &[u8], endpoints: &[EndpointFlag]) -> Loaded {
    on_large_stack(|| {
        let mut tree = tree::Tree::new(Config { path: name.into(), endpoints: endpoints.to_owned() });
        tree.put(name, text);
        tree.loaded()
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
