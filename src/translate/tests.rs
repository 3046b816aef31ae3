//! Tests of translation as a whole.

mod canary_e2e;
pub(crate) mod cases;
mod golden;
mod properties;

use crate::{
    source::files,
    store::{Snapshot, Store},
};

use super::{Options, index};

/// A snapshot of the objects of a manifest.
fn snapshot(options: &Options, manifest: &str) -> Snapshot {
    let loaded = files::parse("case.yaml", manifest.as_bytes(), &[]);
    assert_eq!(loaded.problems, [], "the manifest can be read");
    let mut store = Store::new(index(options));
    for (object, age) in loaded.objects {
        store.apply(object, age);
    }
    store.snapshot()
}
