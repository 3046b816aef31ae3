//! Reads the manifests that `check` and `explain` are asked about.

use std::{
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result};

use crate::{
    config::{ClientFlags, ObjectFlags},
    key::ObjectKey,
    problem::{Level, Problem, Reason},
    source::files::{self, Places},
    store::{Snapshot, Store},
    translate::{self, Options},
};

/// The objects of some manifests.
#[derive(Debug)]
pub(super) struct Manifests {
    pub(super) snapshot: Snapshot,
    pub(super) options: Options,
    /// What is wrong with the files, as far as it shows when they are read.
    pub(super) unreadable: Vec<Problem>,
    /// Whether anything could not be read, or there was nothing to read.
    pub(super) is_unreadable: bool,
    /// Where the objects are in the files.
    pub(super) places: Places,
    /// How many objects were read.
    pub(super) objects: usize,
    /// How many objects are of kinds that are not used.
    pub(super) ignored: usize,
}

/// Reads a directory or a file; `-` is standard input.
pub(super) fn load(path: &Path, flags: &ObjectFlags, clients: &ClientFlags) -> Result<Manifests> {
    let loaded = if path == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
        files::parse("standard input", &text, &flags.endpoint)
    } else {
        files::read(&files::Config { path: path.to_owned(), endpoints: flags.endpoint.clone() })
    };
    let options = flags.options(clients);
    let mut store = Store::new(translate::index(&options));
    let objects = loaded.objects.len();
    for (object, age) in loaded.objects {
        store.apply(object, age);
    }
    let ignored = loaded.ignored.values().sum();
    let (mut unreadable, places) = (loaded.problems, loaded.places);
    let is_empty = objects == 0 && loaded.ignored.is_empty() && unreadable.is_empty();
    if is_empty {
        unreadable.push(nothing(path));
    }
    let is_unreadable = is_empty || !loaded.unreadable.is_empty();
    Ok(Manifests { snapshot: store.snapshot(), options, unreadable, is_unreadable, places, objects, ignored })
}

/// The problem of a path with no object, of whatever kind. Nobody asks about nothing: it is the wrong path.
fn nothing(path: &Path) -> Problem {
    Problem {
        object: ObjectKey::manifest(path.display().to_string()),
        field: "file".to_owned(),
        level: Level::Error,
        reason: Reason::Unreadable,
        fault: "no object was found".to_owned(),
        effect: "there is nothing to judge".to_owned(),
        mend: "Name a file of manifests, or a directory with files whose names end in .yaml, .yml or .json".to_owned(),
    }
}
