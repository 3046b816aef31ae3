//! What holds of every translation, shown on the objects of the golden cases.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::cases::{Objects, all, mixed, snapshot_of};
use crate::{
    api::{Ingress, Object},
    key::{Hostname, Kind},
    store::{Age, Change, Store},
    translate::{ClusterOutput, HostOutput, Options, Read, annotations, index, translate},
};

#[test]
fn the_order_of_observation_makes_no_difference() {
    let mut draw = fastrand::Rng::with_seed(1);
    for (case, options, mut objects) in all() {
        let expected = translate(&snapshot_of(&options, &objects), &options);
        for _ in 0..3 {
            draw.shuffle(&mut objects);
            assert_eq!(translate(&snapshot_of(&options, &objects), &options), expected, "{case}");
        }
    }
}

#[test]
fn translating_twice_is_equal() {
    for (case, options, objects) in all() {
        let snapshot = snapshot_of(&options, &objects);
        assert_eq!(translate(&snapshot, &options), translate(&snapshot, &options), "{case}");
    }
}

/// A host that has nothing to do with an object, by what its translation read, is not changed by removing that object.
#[test]
fn removing_an_object_changes_no_unrelated_host() {
    let options = Options::default();
    let objects = mixed();
    let mut store = Store::new(index(&options));
    for (object, age) in &objects {
        store.apply(object.clone(), age.clone());
    }
    let before = translate(&store.snapshot(), &options);
    for (object, age) in &objects {
        let change = store.delete(&object.key());
        let after = translate(&store.snapshot(), &options);
        for (host, output) in &before.hosts {
            if !reaches(&change, host, output) {
                assert_eq!(after.hosts.get(host), Some(output), "{host} without {}", object.key());
            }
        }
        for (key, output) in &before.clusters {
            if !reaches_cluster(&change, output)
                && let Some(other) = after.clusters.get(key)
            {
                assert_eq!(other, output, "{key} without {}", object.key());
            }
        }
        store.apply(object.clone(), age.clone());
    }
}

/// Whether a change can reach a host, by what its output read.
fn reaches(change: &Change, host: &Hostname, output: &HostOutput) -> bool {
    change.hosts.contains(host)
        || output.reads.contains(&Read::Object(change.key.clone()))
        || change.hosts.iter().any(|changed| output.reads.contains(&Read::Host(changed.clone())))
        || (change.key.kind == Kind::IngressClass && output.reads.contains(&Read::Classes))
}

fn reaches_cluster(change: &Change, output: &ClusterOutput) -> bool {
    change.services.iter().chain([&change.key]).any(|key| output.reads.contains(&Read::Object(key.clone())))
}

/// A stable Ingress and a canary of it with a backend of its own, both with an annotation.
fn pair(name: &str, value: &str, host: &str, path: &str, path_type: &str) -> Objects {
    let ingress = |of: &str, canary: bool| {
        let mut annotations = BTreeMap::from([("nginx.ingress.kubernetes.io/affinity", "cookie"), (name, value)]);
        if canary {
            annotations.insert("nginx.ingress.kubernetes.io/canary", "true");
        }
        let service = if canary { "web-new" } else { "web" };
        let backend = json!({ "service": { "name": service, "port": { "number": 80 } } });
        let path = json!({ "path": path, "pathType": path_type, "backend": backend });
        let ingress: Ingress = serde_json::from_value(json!({
            "metadata": { "name": of, "annotations": annotations },
            "spec": { "ingressClassName": "nginx", "rules": [{ "host": host, "http": { "paths": [path] } }] },
        }))
        .expect("it is an Ingress");
        Object::from(ingress)
    };
    vec![(ingress("a", false), Age::listed("case", 0)), (ingress("b", true), Age::listed("case", 1))]
}

/// The full names of all annotations but the two that the manifest has already.
fn names() -> Vec<String> {
    let full = annotations::registry().map(|annotation| annotation.full_name("nginx.ingress.kubernetes.io"));
    full.filter(|name| !name.ends_with("/affinity") && !name.ends_with("/canary")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_host_or_path_panics(
        name in prop::sample::select(names()),
        value in prop_oneof![".*", "[-0-9a-z ,|:~$(){}/*.]{0,30}", "-?[0-9]{0,25}[kmgs]?"],
        host in prop_oneof![".*", "[a-z*.-]{0,12}", "(www\\.)?shop\\.example"],
        path in prop_oneof![".*", "/[a-z/.*()%\\[\\]+?$^|-]{0,20}"],
        path_type in prop::sample::select(vec!["Exact", "Prefix", "ImplementationSpecific"]),
    ) {
        let options = Options::default();
        let objects = pair(&name, &value, &host, &path, path_type);
        let translation = translate(&snapshot_of(&options, &objects), &options);
        let copies = translation.problems.iter().any(|problem| problem.fault.contains("the backends of the stable"));
        prop_assert!(!copies, "the canary has a backend of its own");
        for problem in &translation.problems {
            prop_assert!(!problem.fault.is_empty() && !problem.effect.is_empty() && !problem.mend.is_empty());
            prop_assert!(!problem.fault.ends_with('.') && !problem.effect.ends_with('.') && !problem.mend.ends_with('.'), "{problem}");
        }
    }
}

#[test]
fn no_annotation_is_dropped_in_silence() {
    let options = Options::default();
    for annotation in annotations::registry() {
        use annotations::{Kind, Support};
        let honoured = annotation.support == Support::Honoured;
        let any_text = matches!(annotation.kind, Kind::Text | Kind::Object | Kind::Template);
        if annotation.name == "ingress.class" || (honoured && any_text) {
            continue;
        }
        // Nothing but a text can be this, neither a name nor a pattern.
        let name = annotation.full_name("nginx.ingress.kubernetes.io");
        let objects = pair(&name, "\u{1}[(", "shop.example", "/", "Prefix");
        let stable = &objects[..1];
        let problems = translate(&snapshot_of(&options, stable), &options).problems;
        assert!(
            problems.iter().any(|problem| problem.field.contains(&name)),
            "{name} is dropped in silence: {problems:?}"
        );
    }
}
