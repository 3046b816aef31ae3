//! Puts together what the watches see: which objects there are, and what changed since the last batch.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Instant,
};

use tokio::sync::{mpsc, watch};
use tracing::info;

use super::{
    Config, Namespaces, Wanted, secrets,
    watches::{Watch, Watches},
};
use crate::{
    api::{IngressClass, IngressClassSpec, Object, ObjectMeta, Timestamp},
    key::{Kind, ObjectKey},
    lifecycle::{Guard, Readiness},
    problem::{Level, Problem, Reason},
    source::Batch,
    store::Age,
};

/// How many events are taken in before a batch is looked for.
const AT_ONCE: usize = 256;

/// What a watch sees.
#[derive(Debug)]
pub(super) enum Event {
    /// A list of all objects begins.
    Listing,
    /// An object is new or different, or was listed.
    Applied(Object),
    /// An object is gone.
    Deleted(ObjectKey),
    /// The list has ended: what was not in it is gone.
    Listed,
    /// The server says no, and why.
    Refused(String),
    /// The server says yes again.
    Stands,
}

/// The objects of all watches.
#[derive(Debug)]
pub(super) struct Collector {
    config: Config,
    watches: HashMap<Watch, Seen>,
    objects: HashMap<ObjectKey, Held>,
    /// What objects name. None before the pipeline has taken in the first batch.
    wanted: Wanted,
    /// What may be different from what was handed on.
    changed: BTreeSet<ObjectKey>,
    problems: BTreeMap<Watch, Problem>,
    /// Whether there are other problems than were handed on.
    has_news: bool,
    /// Whether other watches may have to run.
    must_adjust: bool,
    stage: Stage,
    /// What keeps the process unready until each kind was listed.
    unready: HashMap<Watch, Guard>,
}

/// What a watch has seen.
#[derive(Debug, Default)]
struct Seen {
    objects: HashSet<ObjectKey>,
    /// What was listed so far, during a list.
    listing: Option<HashSet<ObjectKey>>,
    /// Whether nothing more is waited for: all was listed, or will not be.
    settled: bool,
}

/// An object, and the watch that saw it last: two may see the same one.
#[derive(Debug)]
struct Held {
    object: Object,
    by: Watch,
}

/// How much was handed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Nothing,
    /// All but the Secrets that objects name one by one.
    Part,
    All,
}

// === impl Collector ===

impl Collector {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            watches: HashMap::new(),
            objects: HashMap::new(),
            wanted: None,
            changed: BTreeSet::new(),
            problems: BTreeMap::new(),
            has_news: false,
            must_adjust: true,
            stage: Stage::Nothing,
            unready: HashMap::new(),
        }
    }

    /// Keeps the process unready until each kind was listed once.
    pub(super) fn blocking(mut self, readiness: &Readiness) -> Self {
        let first = Watch::first(&self.config).into_iter();
        self.unready = first.map(|watch| (watch.clone(), readiness.block(format!("list of {watch}")))).collect();
        self
    }

    /// Collects until nobody takes batches any more.
    pub(super) async fn run(
        mut self,
        mut watches: Watches,
        mut events: mpsc::Receiver<(Watch, Event)>,
        mut wanted: watch::Receiver<Wanted>,
        batches: mpsc::Sender<Batch>,
    ) {
        let began = Instant::now();
        loop {
            if let Some(wanted) = self.adjust() {
                watches.run(&wanted);
            }
            tokio::select! {
                permit = batches.reserve(), if self.is_due() => {
                    let Ok(permit) = permit else { return };
                    let batch = self.batch();
                    if self.stage == Stage::Part && batch.partial {
                        let objects = batch.applied.len();
                        info!(objects, took = ?began.elapsed(), "all kinds were listed");
                    }
                    permit.send(batch);
                }
                Some((watch, event)) = events.recv() => {
                    self.take(&watch, event);
                    for _ in 0..AT_ONCE {
                        let Ok((watch, event)) = events.try_recv() else { break };
                        self.take(&watch, event);
                    }
                }
                Ok(()) = wanted.changed() => self.want(wanted.borrow_and_update().clone()),
                () = batches.closed() => return,
            }
        }
    }

    /// Takes in what objects name.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.must_adjust = true;
    }

    /// The watches that should run, if they may be others than before. What was seen by those that should not any more
    /// is forgotten.
    pub(super) fn adjust(&mut self) -> Option<BTreeSet<Watch>> {
        if !std::mem::take(&mut self.must_adjust) {
            return None;
        }
        let nothing = BTreeSet::new();
        let has = |watch: &Watch, object: &ObjectKey| {
            let seen = self.watches.get(watch).filter(|seen| seen.settled)?;
            Some(seen.objects.contains(object))
        };
        let wanted = secrets::watches(&self.config, self.wanted.as_ref().unwrap_or(&nothing), has);
        let ended: Vec<_> = self.watches.keys().filter(|watch| !wanted.contains(watch)).cloned().collect();
        for watch in ended {
            let seen = self.watches.remove(&watch).unwrap_or_default();
            seen.objects.iter().for_each(|object| self.lose(&watch, object));
            self.has_news |= self.problems.remove(&watch).is_some();
        }
        for watch in &wanted {
            self.watches.entry(watch.clone()).or_default();
        }
        Some(wanted)
    }

    /// Takes in what a watch sees.
    pub(super) fn take(&mut self, watch: &Watch, event: Event) {
        // What a watch that was ended had still to say is of no interest.
        let Some(seen) = self.watches.get_mut(watch) else { return };
        match event {
            Event::Listing => seen.listing = Some(HashSet::new()),
            Event::Applied(object) => {
                let key = object.key();
                if let Some(listing) = &mut seen.listing {
                    listing.insert(key.clone());
                }
                let is_new = seen.objects.insert(key.clone());
                self.gain(watch, key, object, is_new);
            }
            Event::Deleted(object) => {
                if let Some(listing) = &mut seen.listing {
                    listing.remove(&object);
                }
                seen.objects.remove(&object);
                self.lose(watch, &object);
            }
            Event::Listed => {
                let listed = seen.listing.take().unwrap_or_default();
                let gone: Vec<_> = seen.objects.difference(&listed).cloned().collect();
                seen.objects = listed;
                gone.iter().for_each(|object| self.lose(watch, object));
                self.settle(watch);
            }
            Event::Stands => self.has_news |= self.problems.remove(watch).is_some(),
            Event::Refused(fault) => self.refuse(watch, &fault),
        }
    }

    /// Notes that an object is as a watch saw it.
    fn gain(&mut self, watch: &Watch, key: ObjectKey, object: Object, is_new: bool) {
        if key.kind == Kind::Namespace {
            // Of namespaces only the names are of interest: those that are selected.
            if is_new {
                self.touch_namespace(&key.name);
            }
            return;
        }
        self.must_adjust |= is_new && key.kind == Kind::Secret;
        self.changed.insert(key.clone());
        self.objects.insert(key, Held { object, by: watch.clone() });
    }

    /// Notes that a watch does not see an object any more.
    fn lose(&mut self, watch: &Watch, key: &ObjectKey) {
        if key.kind == Kind::Namespace {
            self.touch_namespace(&key.name);
        }
        self.must_adjust |= key.kind == Kind::Secret;
        if self.objects.get(key).is_some_and(|held| held.by == *watch) {
            self.objects.remove(key);
            self.changed.insert(key.clone());
        }
    }

    fn touch_namespace(&mut self, namespace: &str) {
        self.changed.extend(self.objects.keys().filter(|key| *key.namespace == *namespace).cloned());
    }

    fn settle(&mut self, watch: &Watch) {
        let settled = self.watches.get_mut(watch).map(|seen| std::mem::replace(&mut seen.settled, true));
        self.must_adjust |= settled == Some(false);
        self.unready.remove(watch);
    }

    /// Notes that a watch is refused. What is named but may not be read is a problem; it is not waited for.
    fn refuse(&mut self, watch: &Watch, fault: &str) {
        let class = Watch::All(Kind::IngressClass);
        let problem = match watch {
            Watch::One(object) => forbidden(object.clone(), "metadata", fault, "It is taken for missing"),
            Watch::Certificates(namespace) => {
                let namespace = ObjectKey::new(Kind::Namespace, "", namespace.clone());
                forbidden(namespace, "metadata", fault, "Its Secrets are watched one by one")
            }
            Watch::All(Kind::IngressClass) => {
                let effect = format!("The class `{}` is taken to be ours, and no other", self.config.class.0);
                forbidden(ObjectKey::command_line(), "--ingress-class", fault, &effect)
            }
            Watch::All(_) => return,
        };
        if *watch == class && !self.watches.get(watch).is_some_and(|seen| seen.settled) {
            let object = our_class(&self.config);
            let key = object.key();
            if let Some(seen) = self.watches.get_mut(watch) {
                seen.objects.insert(key.clone());
            }
            self.gain(watch, key, object, true);
        }
        self.has_news |= self.problems.get(watch) != Some(&problem);
        self.problems.insert(watch.clone(), problem);
        self.settle(watch);
    }

    /// Whether there is something to hand on, and it may be handed on.
    pub(super) fn is_due(&self) -> bool {
        match self.stage {
            Stage::Nothing => {
                let mut first = Watch::first(&self.config).into_iter();
                first.all(|watch| self.watches.get(&watch).is_some_and(|seen| seen.settled))
            }
            Stage::Part if self.wanted.is_none() || self.must_adjust => false,
            Stage::Part => self.watches.values().all(|seen| seen.settled),
            Stage::All => !self.changed.is_empty() || self.has_news,
        }
    }

    /// What is to be handed on.
    pub(super) fn batch(&mut self) -> Batch {
        self.stage = if self.stage == Stage::Nothing { Stage::Part } else { Stage::All };
        self.has_news = false;
        let mut batch = Batch { partial: self.stage == Stage::Part, ..Batch::default() };
        for key in std::mem::take(&mut self.changed) {
            match self.objects.get(&key) {
                Some(Held { object, .. }) if self.is_selected(&key) => {
                    let created = object.created().unwrap_or(Timestamp::UNIX_EPOCH);
                    batch.applied.push((object.clone(), Age::Created(created)));
                }
                _ => batch.deleted.push(key),
            }
        }
        batch.problems = self.problems.values().cloned().collect();
        batch.problems.sort();
        batch
    }

    /// Whether the objects of a namespace are ours to read.
    fn is_selected(&self, object: &ObjectKey) -> bool {
        if !matches!(self.config.namespaces, Namespaces::Labelled(_)) || object.namespace.is_empty() {
            return true;
        }
        let selected = self.watches.get(&Watch::All(Kind::Namespace));
        let namespace = ObjectKey::new(Kind::Namespace, "", object.namespace.clone());
        selected.is_some_and(|selected| selected.objects.contains(&namespace))
    }
}

/// The class that is ours where none can be listed.
fn our_class(config: &Config) -> Object {
    let (name, controller) = &config.class;
    let metadata = ObjectMeta { name: Some(name.to_string()), ..ObjectMeta::default() };
    let spec = IngressClassSpec { controller: Some(controller.to_string()), ..IngressClassSpec::default() };
    IngressClass { metadata, spec: Some(spec) }.into()
}

fn forbidden(object: ObjectKey, field: &str, fault: &str, effect: &str) -> Problem {
    Problem {
        object,
        field: field.to_owned(),
        level: Level::Error,
        reason: Reason::Forbidden,
        fault: fault.to_owned(),
        effect: effect.to_owned(),
        mend: "Grant the gateway's account `get`, `list` and `watch` on it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Ingress, Namespace, Secret, Service},
        source::api_server::SecretAccess,
    };

    const INGRESSES: Watch = Watch::All(Kind::Ingress);
    const SECRETS: Watch = Watch::All(Kind::Secret);
    const NAMESPACES: Watch = Watch::All(Kind::Namespace);

    fn metadata(namespace: &str, name: &str, uid: &str) -> ObjectMeta {
        let (name, uid) = (Some(name.to_owned()), Some(uid.to_owned()));
        ObjectMeta { namespace: Some(namespace.to_owned()), name, uid, ..ObjectMeta::default() }
    }

    fn ingress(namespace: &str, name: &str) -> Event {
        Event::Applied(Ingress { metadata: metadata(namespace, name, "1"), ..Ingress::default() }.into())
    }

    fn secret(name: &str, uid: &str) -> Event {
        Event::Applied(Secret { metadata: metadata("shop", name, uid), ..Secret::default() }.into())
    }

    fn namespace(name: &str) -> Event {
        Event::Applied(Namespace { metadata: metadata("", name, "1"), ..Namespace::default() }.into())
    }

    fn one(name: &str) -> Watch {
        Watch::One(ObjectKey::secret("shop", name))
    }

    fn wanted(names: &[&str]) -> Wanted {
        Some(names.iter().map(|name| ObjectKey::secret("shop", *name)).collect())
    }

    /// What a batch says, each object by its name.
    fn said(batch: &Batch) -> (Vec<String>, Vec<String>) {
        let applied = batch.applied.iter().map(|(object, _)| object.key().to_string());
        (applied.collect(), batch.deleted.iter().map(ToString::to_string).collect())
    }

    fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).into()
    }

    impl Collector {
        /// A list of a watch.
        fn list(&mut self, watch: &Watch, objects: impl IntoIterator<Item = Event>) {
            self.adjust();
            self.take(watch, Event::Listing);
            objects.into_iter().for_each(|object| self.take(watch, object));
            self.take(watch, Event::Listed);
        }

        /// Lists all that was not listed yet, with nothing in it.
        fn list_the_rest(&mut self) {
            self.adjust();
            for watch in Watch::first(&self.config) {
                if !self.watches[&watch].settled {
                    self.list(&watch, []);
                }
            }
        }
    }

    /// A collector that has handed on all.
    fn complete(config: Config) -> Collector {
        let mut collector = Collector::new(config);
        collector.list_the_rest();
        assert!(collector.is_due() && collector.batch().partial);
        collector.want(wanted(&[]));
        collector.adjust();
        assert!(collector.is_due() && !collector.batch().partial);
        assert!(!collector.is_due());
        collector
    }

    #[test]
    fn nothing_is_handed_on_before_every_kind_was_listed() {
        let mut collector = Collector::new(Config::default());
        collector.list(&INGRESSES, [ingress("shop", "web")]);
        assert!(!collector.is_due());
        collector.list_the_rest();
        assert!(collector.is_due());
        let batch = collector.batch();
        assert!(batch.partial);
        assert_eq!(said(&batch), (strings(["Ingress shop/web"]), vec![]));
    }

    #[test]
    fn the_process_is_unready_for_what_was_not_listed() {
        let readiness = Readiness::new();
        let mut collector = Collector::new(Config { secrets: SecretAccess::Named, ..Config::default() });
        collector = collector.blocking(&readiness);
        collector.list(&INGRESSES, []);
        let lists = ["list of EndpointSlice", "list of IngressClass", "list of Service"];
        assert_eq!(readiness.blocked_by(), lists);
        collector.list_the_rest();
        assert!(readiness.is_ready());
    }

    #[test]
    fn the_secrets_that_objects_name_are_waited_for() {
        let mut collector = Collector::new(Config { secrets: SecretAccess::Named, ..Config::default() });
        collector.list_the_rest();
        assert!(collector.batch().partial);
        assert!(!collector.is_due(), "nobody has said what is named");
        collector.want(wanted(&["a", "b"]));
        let watches = collector.adjust().expect("there are others");
        assert!(watches.contains(&one("a")) && watches.contains(&one("b")));
        collector.list(&one("a"), [secret("a", "1")]);
        assert!(!collector.is_due(), "one is missing");
        collector.take(&one("b"), Event::Refused("of the test".to_owned()));
        collector.adjust();
        assert!(collector.is_due(), "what may not be read is not waited for");
        let batch = collector.batch();
        assert!(!batch.partial);
        assert_eq!(said(&batch).0, ["Secret shop/a"]);
        assert_eq!((batch.problems.len(), batch.problems[0].reason), (1, Reason::Forbidden));
        collector.take(&one("b"), Event::Stands);
        assert!(collector.is_due() && collector.batch().problems.is_empty());
    }

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let mut collector = complete(Config::default());
        collector.list(&INGRESSES, [ingress("shop", "a"), ingress("shop", "b")]);
        assert_eq!(said(&collector.batch()).0, ["Ingress shop/a", "Ingress shop/b"]);
        collector.take(&INGRESSES, Event::Listing);
        collector.take(&INGRESSES, ingress("shop", "b"));
        collector.batch();
        // The list broke off, and says nothing of what is gone.
        collector.list(&INGRESSES, [ingress("shop", "b"), ingress("shop", "c")]);
        let expected = (strings(["Ingress shop/b", "Ingress shop/c"]), strings(["Ingress shop/a"]));
        assert_eq!(said(&collector.batch()), expected);
    }

    #[test]
    fn what_is_deleted_during_a_list_is_gone_after_it() {
        let mut collector = complete(Config::default());
        collector.take(&INGRESSES, Event::Listing);
        collector.take(&INGRESSES, ingress("shop", "a"));
        collector.take(&INGRESSES, Event::Deleted(ObjectKey::ingress("shop", "a")));
        collector.take(&INGRESSES, Event::Listed);
        assert_eq!(said(&collector.batch()), (vec![], strings(["Ingress shop/a"])));
        assert!(!collector.is_due());
    }

    #[test]
    fn a_secret_is_there_as_long_as_some_watch_sees_it() {
        let mut collector = complete(Config::default());
        collector.want(wanted(&["a"]));
        collector.adjust();
        collector.list(&one("a"), [secret("a", "opaque")]);
        assert_eq!(said(&collector.batch()).0, ["Secret shop/a"]);
        // Made again with the other type: the watches tell of it in any order.
        collector.take(&SECRETS, secret("a", "tls"));
        collector.take(&one("a"), Event::Deleted(ObjectKey::secret("shop", "a")));
        let batch = collector.batch();
        assert_eq!(said(&batch), (strings(["Secret shop/a"]), vec![]));
        assert_eq!(batch.applied[0].0.uid(), Some("tls"));
        let watches = collector.adjust().expect("there are others");
        assert!(!watches.contains(&one("a")), "the watch of many has it");
        assert!(!collector.is_due());
        collector.take(&SECRETS, Event::Deleted(ObjectKey::secret("shop", "a")));
        assert_eq!(said(&collector.batch()).1, ["Secret shop/a"]);
        assert!(collector.adjust().expect("there are others").contains(&one("a")), "it may come again by any type");
    }

    #[test]
    fn what_nobody_names_any_more_is_forgotten() {
        let mut collector = complete(Config { secrets: SecretAccess::Named, ..Config::default() });
        collector.want(wanted(&["a"]));
        collector.list(&one("a"), [secret("a", "1")]);
        collector.batch();
        collector.want(wanted(&[]));
        assert!(!collector.adjust().expect("there are others").contains(&one("a")));
        assert_eq!(said(&collector.batch()).1, ["Secret shop/a"]);
        collector.take(&one("a"), secret("a", "2"));
        assert!(!collector.is_due(), "what a watch that was ended had still to say is of no interest");
    }

    #[test]
    fn objects_come_and_go_with_their_namespace() {
        let mut collector =
            Collector::new(Config { namespaces: Namespaces::Labelled("a=b".into()), ..Config::default() });
        collector.list(&NAMESPACES, [namespace("shop")]);
        collector.list(&INGRESSES, [ingress("shop", "web"), ingress("lab", "web")]);
        collector.list_the_rest();
        assert_eq!(said(&collector.batch()).0, ["Ingress shop/web"]);
        collector.want(wanted(&[]));
        collector.adjust();
        collector.batch();
        collector.take(&NAMESPACES, namespace("lab"));
        assert_eq!(said(&collector.batch()).0, ["Ingress lab/web"]);
        collector.take(&NAMESPACES, Event::Deleted(ObjectKey::new(Kind::Namespace, "", "shop")));
        assert_eq!(said(&collector.batch()), (vec![], strings(["Ingress shop/web"])));
        collector.take(&NAMESPACES, namespace("lab"));
        assert!(!collector.is_due(), "it was selected before");
    }

    #[test]
    fn where_classes_may_not_be_listed_the_named_one_is_ours() {
        let class = Watch::All(Kind::IngressClass);
        let mut collector = Collector::new(Config::default());
        collector.adjust();
        collector.take(&class, Event::Refused("of the test".to_owned()));
        collector.list_the_rest();
        let batch = collector.batch();
        assert_eq!(said(&batch).0, ["IngressClass nginx"]);
        assert_eq!(batch.problems[0].object, ObjectKey::command_line());
        collector.take(&class, Event::Stands);
        collector.list(&class, []);
        collector.want(wanted(&[]));
        collector.adjust();
        let batch = collector.batch();
        assert_eq!(said(&batch).1, ["IngressClass nginx"]);
        assert!(batch.problems.is_empty());
    }

    #[test]
    fn other_kinds_that_are_refused_are_waited_for() {
        let mut collector = Collector::new(Config::default());
        collector.adjust();
        collector.take(&INGRESSES, Event::Refused("of the test".to_owned()));
        for watch in Watch::first(&Config::default()) {
            if watch != INGRESSES {
                collector.list(&watch, []);
            }
        }
        assert!(!collector.is_due());
        let service = Service { metadata: metadata("shop", "web", "1"), ..Service::default() };
        collector.take(&Watch::All(Kind::Service), Event::Applied(service.into()));
        assert!(!collector.is_due());
    }
}
