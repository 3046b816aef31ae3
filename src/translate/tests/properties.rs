//! What holds of every translation, shown on the objects of the golden cases.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use proptest::prelude::*;
use serde_json::json;

use super::golden;
use crate::{
    api::{Ingress, Object},
    key::{ClusterKey, Hostname, Kind, ObjectKey},
    source::files,
    store::{Age, Change, Snapshot, Store},
    translate::{
        ClusterOutput, HostOutput, Options, Read, Translation, annotations, default_backend, index, translate,
        translate_cluster, translate_host,
    },
};

type Objects = Vec<(Object, Age)>;

/// The objects of each case, with the options that it needs.
fn all() -> Vec<(String, Options, Objects)> {
    let cases = golden::cases().into_iter().map(|case| {
        let text = fs::read_to_string(&case).expect("the case can be read");
        let objects = files::parse("case.yaml", text.as_bytes(), &[]).objects;
        (case.display().to_string(), golden::options(&text), objects)
    });
    cases.collect()
}

fn snapshot_of<'o>(options: &Options, objects: impl IntoIterator<Item = &'o (Object, Age)>) -> Snapshot {
    let mut store = Store::new(index(options));
    for (object, age) in objects {
        store.apply(object.clone(), age.clone());
    }
    store.snapshot()
}

/// All objects of all cases at once, where each case has its own namespaces and hosts no longer: they clash as they may.
fn mixed() -> Vec<(Object, Age)> {
    let mut objects: BTreeMap<ObjectKey, (Object, Age)> = BTreeMap::new();
    for (at, (_, _, case)) in all().into_iter().enumerate() {
        for (object, age) in case {
            let age = match age {
                Age::Listed { position, .. } => Age::listed(format!("{at:04}.yaml"), position),
                created @ Age::Created(_) => created,
            };
            objects.entry(object.key()).or_insert((object, age));
        }
    }
    objects.into_values().collect()
}

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

/// A translation that is kept up to date by what its outputs read, as the pipeline does.
#[derive(Default)]
struct Kept {
    hosts: BTreeMap<Hostname, HostOutput>,
    clusters: BTreeMap<ClusterKey, ClusterOutput>,
}

// === impl Kept ===

impl Kept {
    fn take_in(&mut self, snapshot: &Snapshot, options: &Options, change: &Change) {
        let reached = self.hosts.iter().filter(|(host, output)| reaches(change, host, output)).map(|(host, _)| host);
        let reached: BTreeSet<_> = reached.chain(&change.hosts).cloned().collect();
        for host in reached {
            self.hosts.insert(host.clone(), translate_host(snapshot, options, &host));
        }
        self.clusters.retain(|_, output| !reaches_cluster(change, output));
        let wanted: BTreeSet<_> = self
            .hosts
            .values()
            .flat_map(|host| host.clusters.iter().cloned())
            .chain(default_backend(snapshot, options))
            .collect();
        self.clusters.retain(|key, _| wanted.contains(key));
        for key in wanted {
            self.clusters.entry(key.clone()).or_insert_with(|| translate_cluster(snapshot, options, &key));
        }
    }

    fn assert_is(&self, whole: &Translation, context: &str) {
        for (host, output) in &self.hosts {
            match whole.hosts.get(host) {
                Some(expected) => assert_eq!(output, &**expected, "{context}: {host}"),
                None => assert_eq!((&output.table, &output.problems), (&None, &Vec::new()), "{context}: {host}"),
            }
        }
        for host in whole.hosts.keys() {
            assert!(self.hosts.contains_key(host), "{context}: {host}");
        }
        assert_eq!(self.clusters, whole.clusters, "{context}");
    }
}

#[test]
fn kept_up_to_date_is_as_made_from_scratch() {
    for (case, options, objects) in all() {
        walk(&case, &options, &objects, 30);
    }
    let mixed = mixed();
    walk("all cases", &Options::default(), &mixed[..mixed.len().min(60)], 100);
}

/// Applies all objects, takes each away and puts it back, then applies and deletes some at random; compares after each
/// change.
fn walk(case: &str, options: &Options, objects: &[(Object, Age)], steps: usize) {
    let mut draw = fastrand::Rng::with_seed(objects.len() as u64);
    let apply = |object: &Object, age: &Age| Step::Apply(object.clone(), age.clone());
    let all = objects.iter().map(|(object, age)| apply(object, age));
    let each = objects.iter().flat_map(|(object, age)| [Step::Delete(object.key()), apply(object, age)]);
    let some: Vec<_> = (0..steps)
        .map(|_| {
            let (object, age) = &objects[draw.usize(..objects.len())];
            if draw.u8(..3) == 0 { Step::Delete(object.key()) } else { apply(&varied(object, &mut draw), age) }
        })
        .collect();

    let mut store = Store::new(index(options));
    let mut kept = Kept::default();
    for (at, step) in all.chain(each).chain(some).enumerate() {
        let change = match step {
            Step::Apply(object, age) => store.apply(object, age),
            Step::Delete(key) => store.delete(&key),
        };
        kept.take_in(&store.snapshot(), options, &change);
        let whole = translate(&store.snapshot(), options);
        kept.assert_is(&whole, &format!("{case}, step {at}, {change:?}"));
    }
}

/// A step of a walk.
enum Step {
    Apply(Object, Age),
    Delete(ObjectKey),
}

/// The object, now and then with an annotation or a host changed.
fn varied(object: &Object, draw: &mut fastrand::Rng) -> Object {
    let Object::Ingress(ingress) = object else { return object.clone() };
    let mut ingress = (**ingress).clone();
    let annotations = ingress.metadata.annotations.get_or_insert_default();
    let choices = [
        ("server-alias", "alias.example,shop.example"),
        ("from-to-www-redirect", "true"),
        ("use-regex", "true"),
        ("canary", "true"),
        ("canary-weight", "30"),
        ("auth-tls-secret", "shop/ca"),
        ("default-backend", "api"),
    ];
    match draw.usize(..10) {
        at if at < choices.len() => {
            let (name, value) = choices[at];
            annotations.insert(format!("nginx.ingress.kubernetes.io/{name}"), value.to_owned());
        }
        7 => {
            annotations.insert("serin.dev/canary-scope".to_owned(), "service".to_owned());
        }
        8 => annotations.clear(),
        _ => {}
    }
    ingress.into()
}

/// A stable Ingress and a canary of it, both with an annotation.
fn pair(name: &str, value: &str, host: &str, path: &str, path_type: &str) -> Objects {
    let ingress = |of: &str, canary: bool| {
        let mut annotations = BTreeMap::from([("nginx.ingress.kubernetes.io/affinity", "cookie"), (name, value)]);
        if canary {
            annotations.insert("nginx.ingress.kubernetes.io/canary", "true");
        }
        let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
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
