//! The store against a model that is too simple to be wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    api::{EndpointSlice, IngressRule, IngressSpec, ObjectMeta, SERVICE_NAME, Service, Timestamp},
    key::Kind,
};

#[derive(Clone, Debug)]
enum Step {
    ApplyIngress { name: &'static str, hosts: Vec<&'static str>, second: i64 },
    ApplySlice { name: &'static str, service: Option<&'static str> },
    DeleteIngress(&'static str),
    DeleteSlice(&'static str),
}

proptest! {
    #[test]
    fn indexes_name_exactly_what_is_there(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = store();
        let mut ingresses: BTreeMap<&str, (Vec<&str>, i64)> = BTreeMap::new();
        let mut slices: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let mut earlier = Vec::new();
        for step in steps {
            earlier.push((store.snapshot(), view(&store.snapshot())));
            let before = store.snapshot();
            let change = match step {
                Step::ApplyIngress { name, hosts, second } => {
                    let change = store.apply(ingress(name, &hosts).into(), created(second));
                    ingresses.insert(name, (hosts, second));
                    change
                }
                Step::ApplySlice { name, service } => {
                    slices.insert(name, service);
                    store.apply(slice(name, service).into(), created(0))
                }
                Step::DeleteIngress(name) => {
                    ingresses.remove(name);
                    store.delete(&ObjectKey::ingress("shop", name))
                }
                Step::DeleteSlice(name) => {
                    slices.remove(name);
                    store.delete(&ObjectKey::new(Kind::EndpointSlice, "shop", name))
                }
            };

            // What the store says of hosts and Services is what the model says of them.
            let after = store.snapshot();
            prop_assert_eq!(view(&after), model(&ingresses, &slices));
            let counts = after.counts().into_iter().filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>();
            let there = [(Kind::Ingress, ingresses.len()), (Kind::EndpointSlice, slices.len())];
            prop_assert_eq!(counts, there.into_iter().filter(|(_, count)| *count > 0).collect());
            // A change reaches all hosts and Services that it makes look different.
            for host in HOSTS.map(host_of) {
                if names(before.ingresses_of(&host)) != names(after.ingresses_of(&host)) {
                    prop_assert!(change.hosts.contains(&host));
                }
            }
            for service in SERVICES {
                let slices = |snapshot: &Snapshot| names(snapshot.slices_of("shop", service));
                if slices(&before) != slices(&after) {
                    prop_assert!(change.services.contains(&ObjectKey::service("shop", service)));
                }
            }
        }
        for (snapshot, view_then) in earlier {
            prop_assert_eq!(view(&snapshot), view_then, "a snapshot changed");
        }
    }
}

#[test]
fn an_observation_that_says_the_same_has_no_effect() {
    let mut store = store();
    assert_eq!(store.apply(ingress("a", &["x.example"]).into(), created(1)).effect, Effect::Added);

    let mut again = ingress("a", &["x.example"]);
    again.metadata.resource_version = Some("2".to_owned());
    assert!(store.apply(again.into(), created(1)).is_none());
    let kept = store.snapshot().object(&ObjectKey::ingress("shop", "a")).expect("it is there");
    assert_eq!(kept.resource_version(), Some("2"), "the newest state is kept nevertheless");

    let moved = store.apply(ingress("a", &["y.example"]).into(), created(1));
    assert_eq!(moved.effect, Effect::Replaced);
    assert_eq!(moved.hosts, ["x.example", "y.example"].map(host_of));
    assert_eq!(store.apply(ingress("a", &["y.example"]).into(), created(2)).effect, Effect::Replaced);

    let key = ObjectKey::ingress("shop", "a");
    assert_eq!(store.delete(&key).effect, Effect::Removed);
    assert!(store.delete(&key).is_none());
}

#[test]
fn a_change_copies_no_map() {
    let mut store = store();
    for n in 0..1_000 {
        store.apply(ingress(&format!("i{n}"), &["x.example"]).into(), created(n));
    }
    let before = store.snapshot();
    let owners = |snapshot: &Snapshot| snapshot.ingresses().map(Arc::strong_count).collect::<Vec<_>>();
    let owned = owners(&before);
    store.apply(ingress("new", &["x.example"]).into(), created(1));
    store.delete(&ObjectKey::ingress("shop", "i7"));
    // A map that is copied shares its values with its copy, and a value would have one owner more.
    assert_eq!(owners(&before), owned);
    assert_eq!((before.ingresses().count(), store.snapshot().ingresses().count()), (1_000, 1_000));
}

#[test]
fn an_ingress_without_a_host_is_found_under_any_host() {
    let mut store = store();
    let change = store.apply(ingress("a", &[]).into(), created(1));
    assert_eq!(change.hosts, [Hostname::any()]);
    assert_eq!(names(store.snapshot().ingresses_of(&Hostname::any())), ["a"]);
}

#[test]
fn keys_find_only_objects_of_their_kind() {
    let mut store = store();
    let metadata = metadata("web");
    store.apply(Service { metadata, ..Service::default() }.into(), created(1));
    let snapshot = store.snapshot();
    assert!(snapshot.service("shop", "web").is_some());
    assert!(snapshot.object(&ObjectKey::service("shop", "web")).is_some());
    assert!(snapshot.ingress(&ObjectKey::service("shop", "web")).is_none());
    assert!(snapshot.object(&ObjectKey::manifest("web")).is_none());
    assert!(store.delete(&ObjectKey::ingress("shop", "web")).is_none());
    assert!(store.snapshot().service("shop", "web").is_some());
}

const HOSTS: [&str; 4] = ["", "x.example", "y.example", "*.example"];
const SERVICES: [&str; 2] = ["one", "two"];

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(vec!["a", "b", "c", "a-b"]);
    let hosts = prop::sample::subsequence(HOSTS.to_vec(), 0..=HOSTS.len());
    let service = prop::option::of(prop::sample::select(SERVICES.to_vec()));
    prop_oneof![
        4 => (name(), hosts, 0..3_i64).prop_map(|(name, hosts, second)| Step::ApplyIngress { name, hosts, second }),
        3 => (name(), service).prop_map(|(name, service)| Step::ApplySlice { name, service }),
        2 => name().prop_map(Step::DeleteIngress),
        1 => name().prop_map(Step::DeleteSlice),
    ]
}

/// What there is to find under each host and each Service.
type View = (Vec<(Hostname, Vec<String>)>, Vec<(String, Vec<String>)>, Vec<String>);

fn view(snapshot: &Snapshot) -> View {
    let hosts = snapshot.hosts().map(|host| (host.clone(), names(snapshot.ingresses_of(host)))).collect();
    let services =
        SERVICES.iter().map(|service| (service.to_string(), names(snapshot.slices_of("shop", service)))).collect();
    (hosts, services, names(snapshot.ingresses()))
}

fn model(ingresses: &BTreeMap<&str, (Vec<&str>, i64)>, slices: &BTreeMap<&str, Option<&str>>) -> View {
    let mut hosts: BTreeMap<Hostname, Vec<(i64, &str)>> = BTreeMap::new();
    for (name, (of, second)) in ingresses {
        let of = if of.is_empty() { &[""][..] } else { of };
        for host in of {
            hosts.entry(host_of(host)).or_default().push((*second, name));
        }
    }
    let sorted = |mut ingresses: Vec<(i64, &str)>| {
        ingresses.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(a.1)));
        ingresses.into_iter().map(|(_, name)| name.to_owned()).collect()
    };
    let hosts = hosts.into_iter().map(|(host, ingresses)| (host, sorted(ingresses))).collect();
    let of = |service| slices.iter().filter(move |(_, of)| **of == Some(service)).map(|(name, _)| name.to_string());
    let services = SERVICES.iter().map(|service| (service.to_string(), of(service).collect())).collect();
    (hosts, services, ingresses.keys().map(ToString::to_string).collect())
}

fn names<'a, T: 'a>(observed: impl Iterator<Item = &'a Arc<Observed<T>>>) -> Vec<String> {
    observed.map(|observed| observed.key.name.to_string()).collect()
}

fn store() -> Store {
    Store::new(Arc::new(|ingress| {
        let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
        rules.map(|rule| host_of(rule.host.as_deref().unwrap_or_default())).collect()
    }))
}

fn host_of(text: &str) -> Hostname {
    if text.is_empty() { Hostname::any() } else { Hostname::parse(text).expect("the host is well formed") }
}

fn created(second: i64) -> Age {
    Age::Created(Timestamp::from_second(second).expect("the second is in range"))
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: Some("shop".to_owned()), ..ObjectMeta::default() }
}

fn ingress(name: &str, hosts: &[&str]) -> Ingress {
    let rules = hosts.iter().map(|host| IngressRule { host: Some((*host).to_owned()), ..IngressRule::default() });
    let spec = IngressSpec { rules: Some(rules.collect()), ..IngressSpec::default() };
    Ingress { metadata: metadata(name), spec: Some(spec), ..Ingress::default() }
}

fn slice(name: &str, service: Option<&str>) -> EndpointSlice {
    let labels = service.map(|service| BTreeMap::from([(SERVICE_NAME.to_owned(), service.to_owned())]));
    EndpointSlice { metadata: ObjectMeta { labels, ..metadata(name) }, ..EndpointSlice::default() }
}
