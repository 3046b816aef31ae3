//! The watches that there are: those of each kind, and those of single Secrets that come and go.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use kube::{
    Api, Client, Resource,
    core::{ClusterResourceScope, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{OnceCell, mpsc},
    task::{AbortHandle, JoinSet},
};

use super::{
    Config, Namespaces, SecretAccess,
    collector::Event,
    reach::Reach,
    watching::{Selection, Watching},
};
use crate::{
    api::{ConfigMap, EndpointSlice, Ingress, IngressClass, Namespace, Object, Secret, Service},
    key::{Kind, ObjectKey},
};

/// The type of the Secrets that are watched before anything names them.
const TLS: &str = "type=kubernetes.io/tls";

/// What is watched by one request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Watch {
    /// All objects of a kind, of the namespaces that are asked for. Of Secrets, those with certificates.
    All(Kind),
    /// The Secrets with certificates of a namespace.
    Certificates(Arc<str>),
    /// A single object.
    One(ObjectKey),
}

/// The watches that run.
pub(super) struct Watches {
    client: Client,
    config: Config,
    events: mpsc::Sender<(Watch, Event)>,
    reach: Arc<Reach>,
    /// Whether the server lists by streaming.
    streams: Arc<OnceCell<bool>>,
    running: HashMap<Watch, AbortHandle>,
    tasks: JoinSet<()>,
}

// === impl Watch ===

impl Watch {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::All(kind) => *kind,
            Self::Certificates(_) => Kind::Secret,
            Self::One(object) => object.kind,
        }
    }

    /// Whether it is of one object that another object names.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// The watches that are made at once.
    pub(super) fn first(config: &Config) -> BTreeSet<Self> {
        let mut kinds = vec![Kind::Ingress, Kind::IngressClass, Kind::Service, Kind::EndpointSlice];
        if config.secrets == SecretAccess::Cluster {
            kinds.push(Kind::Secret);
        }
        if matches!(config.namespaces, Namespaces::Labelled(_)) {
            kinds.push(Kind::Namespace);
        }
        kinds.into_iter().map(Self::All).collect()
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(kind) => fmt::Display::fmt(kind, f),
            Self::Certificates(namespace) => write!(f, "Secret {namespace}/*"),
            Self::One(object) => fmt::Display::fmt(object, f),
        }
    }
}

// === impl Watches ===

impl Watches {
    pub(super) fn new(client: Client, config: Config, events: mpsc::Sender<(Watch, Event)>, reach: Arc<Reach>) -> Self {
        let (streams, running, tasks) = (Arc::default(), HashMap::new(), JoinSet::new());
        Self { client, config, events, reach, streams, running, tasks }
    }

    /// Lets just these watches run: starts those that do not yet, ends the others.
    pub(super) fn run(&mut self, wanted: &BTreeSet<Watch>) {
        let (tasks, reach) = (&mut self.tasks, &self.reach);
        self.running.retain(|watch, task| {
            let stays = wanted.contains(watch);
            if !stays {
                task.abort();
                reach.end(watch);
            }
            stays
        });
        while tasks.try_join_next().is_some() {}
        for watch in wanted {
            if !self.running.contains_key(watch) {
                self.start(watch);
            }
        }
    }

    fn start(&mut self, watch: &Watch) {
        match watch.kind() {
            Kind::ConfigMap => self.start_in_namespace::<ConfigMap>(watch),
            Kind::EndpointSlice => self.start_in_namespace::<EndpointSlice>(watch),
            Kind::Ingress => self.start_in_namespace::<Ingress>(watch),
            Kind::IngressClass => self.start_in_cluster::<IngressClass>(watch),
            Kind::Namespace => self.start_in_cluster::<Namespace>(watch),
            Kind::Secret => self.start_in_namespace::<Secret>(watch),
            Kind::Service => self.start_in_namespace::<Service>(watch),
            Kind::CommandLine | Kind::Manifest => {}
        }
    }

    fn start_in_namespace<K>(&mut self, watch: &Watch)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + fmt::Debug + DeserializeOwned + Into<Object> + Send + 'static,
    {
        let client = self.client.clone();
        let api: Api<K> = match (watch, &self.config.namespaces) {
            (Watch::Certificates(namespace), _) => Api::namespaced(client, namespace),
            (Watch::One(object), _) => Api::namespaced(client, &object.namespace),
            (Watch::All(_), Namespaces::One(namespace)) => Api::namespaced(client, namespace),
            (Watch::All(_), Namespaces::All | Namespaces::Labelled(_)) => Api::all(client),
        };
        let fields = match watch {
            Watch::One(object) => Some(format!("metadata.name={}", object.name)),
            Watch::Certificates(_) | Watch::All(Kind::Secret) => Some(TLS.to_owned()),
            Watch::All(_) => None,
        };
        self.spawn(watch, api, Selection { fields, labels: None });
    }

    fn start_in_cluster<K>(&mut self, watch: &Watch)
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
        K: Clone + fmt::Debug + DeserializeOwned + Into<Object> + Send + 'static,
    {
        let labels = match &self.config.namespaces {
            Namespaces::Labelled(labels) if watch.kind() == Kind::Namespace => Some(labels.to_string()),
            _ => None,
        };
        self.spawn(watch, Api::<K>::all(self.client.clone()), Selection { fields: None, labels });
    }

    fn spawn<K>(&mut self, watch: &Watch, api: Api<K>, selection: Selection)
    where
        K: Resource<DynamicType = ()>,
        K: Clone + fmt::Debug + DeserializeOwned + Into<Object> + Send + 'static,
    {
        self.reach.begin(watch);
        let watching = Watching {
            watch: watch.clone(),
            client: self.client.clone(),
            api,
            selection,
            streams: self.streams.clone(),
            events: self.events.clone(),
            reach: self.reach.clone(),
        };
        self.running.insert(watch.clone(), self.tasks.spawn(watching.run()));
    }
}
