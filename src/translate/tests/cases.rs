//! The objects of the golden cases, for what must hold of any.

use std::{collections::BTreeMap, fs};

use super::golden;
use crate::{
    api::Object,
    key::ObjectKey,
    source::files,
    store::{Age, Snapshot, Store},
    translate::{Options, index},
};

pub(crate) type Objects = Vec<(Object, Age)>;

/// The objects of each case, with the options that it needs.
pub(crate) fn all() -> Vec<(String, Options, Objects)> {
    let cases = golden::cases().into_iter().map(|case| {
        let text = fs::read_to_string(&case).expect("the case can be read");
        (case.display().to_string(), golden::options(&text), objects("case.yaml", &text))
    });
    cases.collect()
}

/// All objects of every third case at once: of each feature some, but not so many that each can be taken away in turn.
///
/// Each case has a namespace of its own, so that it keeps all of its objects but the classes. Hosts are as they were: they
/// clash as they may.
pub(crate) fn mixed() -> Objects {
    let mut objects_by_key = BTreeMap::<ObjectKey, _>::new();
    for (at, case) in golden::cases().iter().enumerate().step_by(3) {
        let text = fs::read_to_string(case).expect("the case can be read");
        let text = text.replace("namespace: ", &format!("namespace: case-{at}-"));
        for (object, age) in objects(&format!("{at:04}.yaml"), &text) {
            objects_by_key.entry(object.key()).or_insert((object, age));
        }
    }
    objects_by_key.into_values().collect()
}

/// A snapshot of these objects alone.
pub(crate) fn snapshot_of<'o>(options: &Options, objects: impl IntoIterator<Item = &'o (Object, Age)>) -> Snapshot {
    let mut store = Store::new(index(options));
    for (object, age) in objects {
        store.apply(object.clone(), age.clone());
    }
    store.snapshot()
}

fn objects(name: &str, manifest: &str) -> Objects {
    let loaded = files::parse(name, manifest.as_bytes(), &[]);
    assert_eq!(loaded.problems, [], "{name} can be read");
    loaded.objects
}

#[test]
fn objects_of_all_kinds_are_mixed() {
    let kinds = |objects: &Objects| {
        objects.iter().map(|(object, _)| object.key().kind).collect::<std::collections::BTreeSet<_>>()
    };
    let of_each: Objects = all().into_iter().flat_map(|(_, _, objects)| objects).collect();
    assert_eq!(kinds(&mixed()), kinds(&of_each));
}
