//! Where objects come from.
//!
//! A source observes objects and hands on what changed as [`Batch`]es: the first, and those after one that is partial,
//! are all that there is, each later one what became different since. It reads and watches on a thread of its own, so that a big directory cannot hold up
//! anybody else. What it cannot read is a [`Problem`] of the file or the object, and what was
//! read before stays.
//!
//! [`api_server`] watches a cluster. [`files`] reads a directory of ordinary Kubernetes manifests and follows it.
//! [`endpoint_flag`] makes endpoints of a command line for a quick try.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{api::Object, key::ObjectKey, problem::Problem, store::Age};

pub mod api_server;
pub mod endpoint_flag;
pub mod files;

/// What a source observed since its last batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Objects that are new or different.
    pub applied: Vec<(Object, Age)>,
    /// Objects that are gone.
    pub deleted: Vec<ObjectKey>,
    /// All problems that the source has now, sorted; they take the place of those of the last batch.
    pub problems: Vec<Problem>,
    /// All files and directories that cannot be read now, by path; they take the place of those of the last batch.
    pub unreadable: BTreeSet<Arc<str>>,
    /// All kinds that are there but of no use, and how many objects of each; they take the place of those before.
    pub ignored: BTreeMap<String, usize>,
    /// Whether more is to come before all is known that there is.
    pub partial: bool,
}
