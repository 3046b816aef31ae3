//! Objects from an API server: each kind is listed and watched, and what changes is handed on.
//!
//! ```text
//! watch of Ingresses ──┐
//! watch of Services  ──┼──> collector ──> batches ──> pipeline
//! watch of a Secret  ──┘        ^                        │
//!                               └── what is wanted <─────┘
//! ```
//!
//! What always holds:
//!
//! * The first batch comes when every kind has been listed once, and is marked as partial until the Secrets that its
//!   objects name were listed, too. From then on each batch is what changed since the last.
//! * A watch that breaks is taken up where it was; where the server no longer knows that place, or was away for so long
//!   that it may have been restored from a backup, the kind is listed again, and what is no longer there is deleted.
//! * While the server is away nothing is taken back: what was last known goes on.
//!
//! The watching is ours and not that of `kube-runtime`, which does not tell when a broken watch stands again, and does
//! not list in pages where a server cannot stream.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::sync::{mpsc, watch};

use super::Batch;
use crate::{key::ObjectKey, lifecycle::Readiness, metrics::Meters};

mod collector;
mod reach;
mod secrets;
mod watches;
mod watching;

use self::{collector::Collector, reach::Reach, watches::Watches};

/// How long a connection to the server may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How many events wait for the collector; more wait in the server.
const EVENTS: usize = 1024;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose objects are read.
    pub namespaces: Namespaces,
    /// How Secrets are read.
    pub secrets: SecretAccess,
    /// The name and controller of the class that is ours where IngressClasses may not be listed.
    pub class: (Arc<str>, Arc<str>),
}

/// Whose objects are read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Namespaces {
    #[default]
    All,
    /// Those of one namespace; nothing else is asked for.
    One(Arc<str>),
    /// Those of the namespaces with these labels. All are watched, since labels can change.
    Labelled(Arc<str>),
}

/// How Secrets are read. Each way wants other rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SecretAccess {
    /// Those of the type `kubernetes.io/tls` are listed in the whole cluster, others one by one when they are named.
    #[default]
    Cluster,
    /// As `Cluster`, but only in the namespaces where a Secret is named.
    Namespaces,
    /// All one by one when they are named. Roles can then list the names.
    Named,
}

/// What the pipeline wants to know besides what is always watched: the Secrets that objects name. None before the
/// first batch was taken in.
pub type Wanted = Option<BTreeSet<ObjectKey>>;

/// Why there is no way to the server. What the errors of `kube` say has their causes in it: none is named as the source, or
/// it would be told twice.
#[derive(Debug, thiserror::Error)]
pub enum NoServer {
    #[error("cannot use the kubeconfig {0}: {1}")]
    Kubeconfig(PathBuf, KubeconfigError),
    #[error(
        "no kubeconfig and no service account say where the API server is: name one with --kubeconfig, or serve files \
         with --manifests ({0})"
    )]
    Nowhere(kube::config::InferConfigError),
    #[error("cannot use the settings of the API server: {0}")]
    Settings(kube::Error),
}

/// Finds the server, without asking it anything yet: by a kubeconfig; where none is given, as `kubectl` does, or a pod.
///
/// # Errors
///
/// Where nothing says how to reach it, or what says so is wrong.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, NoServer> {
    let mut config = match kubeconfig {
        Some(path) => {
            let unreadable = |error| NoServer::Kubeconfig(path.to_owned(), error);
            let read = Kubeconfig::read_from(path).map_err(unreadable)?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(unreadable)?
        }
        None => kube::Config::infer().await.map_err(NoServer::Nowhere)?,
    };
    config.connect_timeout = Some(CONNECT);
    // A watch ends before that, so a connection that says nothing for so long is dead.
    config.read_timeout = Some(watching::TIMEOUT + Duration::from_secs(10));
    // What is tried again, and when, is decided here.
    config.default_retry = false;
    Client::try_from(config).map_err(NoServer::Settings)
}

/// Watches, and hands on what changes, until nobody takes it any more. `wanted` is what the pipeline says. The process is
/// unready until all kinds were listed once.
pub async fn follow(
    client: Client,
    config: Config,
    meters: Meters,
    readiness: Readiness,
    wanted: watch::Receiver<Wanted>,
    batches: mpsc::Sender<Batch>,
) {
    let (events, received) = mpsc::channel(EVENTS);
    let watches = Watches::new(client, config.clone(), events, Arc::new(Reach::new(&meters)));
    Collector::new(config).blocking(&readiness).run(watches, received, wanted, batches).await;
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        let class = ("nginx".into(), "k8s.io/ingress-nginx".into());
        Self { namespaces: Namespaces::default(), secrets: SecretAccess::default(), class }
    }
}
