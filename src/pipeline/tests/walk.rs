//! Whatever the order and grouping of changes, what is kept up to date equals a translation from scratch, and each update
//! names all that it changed. Shown on the objects of the golden cases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    api::Object,
    key::{ClusterKey, Hostname, ObjectKey, RouteId},
    pipeline::{ProblemBook, Translated, translated::Update},
    problem::Problem,
    route::Host,
    store::{Age, Change, Store},
    translate::{
        Options, index,
        tests::cases::{self, Objects},
        translate,
    },
    upstream::Endpoints,
};

#[test]
fn kept_up_to_date_is_as_made_from_scratch() {
    for (case, options, objects) in cases::all() {
        walk(&case, options, &objects, 30);
    }
    walk("mixed", Options::default(), &cases::mixed(), 200);
}

/// Applies all objects, takes each away and puts it back, one after the other; then applies and deletes some at random,
/// several at once. Compares after each update.
fn walk(case: &str, options: Options, objects: &Objects, updates: usize) {
    let mut draw = fastrand::Rng::with_seed(objects.len() as u64);
    let mut kept = Kept::new(case, options);
    for (object, age) in objects {
        kept.update([Step::apply(object, age)]);
    }
    for (object, age) in objects {
        kept.update([Step::Delete(object.key())]);
        kept.update([Step::apply(object, age)]);
    }
    for _ in 0..updates {
        let steps: Vec<_> = (0..draw.usize(1..5))
            .map(|_| {
                let (object, age) = &objects[draw.usize(..objects.len())];
                match draw.u8(..3) {
                    0 => Step::Delete(object.key()),
                    _ => Step::apply(&varied(object, &mut draw), age),
                }
            })
            .collect();
        kept.update(steps);
    }
}

/// A step of a walk.
#[derive(Debug)]
enum Step {
    Apply(Object, Age),
    Delete(ObjectKey),
}

/// What is kept up to date, and what somebody has who follows the updates alone.
struct Kept<'a> {
    case: &'a str,
    options: Options,
    store: Store,
    translated: Translated,
    book: ProblemBook,
    followed: Followed,
}

/// What the updates have told, as [`Publisher`](crate::pipeline::Publisher) takes it.
#[derive(Default)]
struct Followed {
    hosts: BTreeMap<Hostname, Host<ClusterKey, RouteId>>,
    clusters: BTreeMap<ClusterKey, Endpoints>,
    problems: BTreeSet<Problem>,
}

// === impl Step ===

impl Step {
    fn apply(object: &Object, age: &Age) -> Self {
        Self::Apply(object.clone(), age.clone())
    }
}

// === impl Kept ===

impl<'a> Kept<'a> {
    fn new(case: &'a str, options: Options) -> Self {
        let store = Store::new(index(&options));
        Self {
            case,
            options,
            store,
            translated: Translated::default(),
            book: ProblemBook::default(),
            followed: Followed::default(),
        }
    }

    fn update(&mut self, steps: impl IntoIterator<Item = Step>) {
        let changes = steps.into_iter().map(|step| match step {
            Step::Apply(object, age) => self.store.apply(object, age),
            Step::Delete(key) => self.store.delete(&key),
        });
        let changes: Vec<_> = changes.filter(|change| !change.is_none()).collect();
        let update = self.translated.update(&self.store.snapshot(), &self.options, &changes, &mut self.book);
        self.followed.follow(&update, &self.translated, &self.book);
        self.assert_is_whole(&changes);
    }

    /// Fails where anything differs from what a translation from scratch gives.
    fn assert_is_whole(&self, changes: &[Change]) {
        let context = || format!("{}, after {changes:?}", self.case);
        let whole = translate(&self.store.snapshot(), &self.options);

        let kept: HashMap<_, _> = self.translated.hosts().collect();
        for (host, output) in &whole.hosts {
            match kept.get(host) {
                Some(kept) => assert_eq!(**kept, **output, "{}: {host}", context()),
                None => assert_eq!((&output.table, &output.problems[..]), (&None, &[][..]), "{}: {host}", context()),
            }
        }
        for (host, output) in kept.iter().filter(|(host, _)| !whole.hosts.contains_key(**host)) {
            assert_eq!((&output.table, &output.problems[..]), (&None, &[][..]), "{}: {host}", context());
        }
        let clusters: BTreeMap<_, _> = self.translated.clusters().collect();
        assert_eq!(clusters, whole.clusters.iter().collect(), "{}", context());
        for (secret, output) in &whole.credentials {
            assert_eq!(self.translated.credentials(secret), output.credentials.as_ref(), "{}: {secret}", context());
        }
        assert_eq!(self.translated.default_backend(), whole.default_backend.as_ref(), "{}", context());
        assert_eq!(self.book.sorted(), whole.problems.iter().collect::<Vec<_>>(), "{}", context());

        let hosts = whole.hosts.iter().filter_map(|(host, output)| Some((host, output.table.as_ref()?)));
        assert_eq!(self.followed.hosts.iter().collect::<BTreeMap<_, _>>(), hosts.collect(), "{}: told", context());
        let clusters = whole.clusters.iter().map(|(key, output)| (key, &output.endpoints));
        assert_eq!(
            self.followed.clusters.iter().collect::<BTreeMap<_, _>>(),
            clusters.collect(),
            "{}: told",
            context()
        );
        assert_eq!(self.followed.problems, whole.problems.iter().cloned().collect(), "{}: told", context());
    }
}

// === impl Followed ===

impl Followed {
    /// Takes over what an update names, and fails where that is what it was.
    fn follow(&mut self, update: &Update, translated: &Translated, book: &ProblemBook) {
        for host in &update.hosts {
            let now = translated.host(host).and_then(|output| output.table.clone());
            let former = match &now {
                Some(table) => self.hosts.insert(host.clone(), table.clone()),
                None => self.hosts.remove(host),
            };
            assert_ne!(former, now, "{host} is told and is as before");
        }
        for key in &update.clusters {
            let now = translated.cluster(key).expect("a cluster that is told is there").endpoints.clone();
            let former = self.clusters.insert(key.clone(), now.clone());
            assert_ne!(former, Some(now), "{key} is told and is as before");
        }
        for key in &update.gone {
            self.clusters.remove(key);
        }
        if update.problems {
            self.problems = book.sorted().into_iter().cloned().collect();
        }
    }
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
