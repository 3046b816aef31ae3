//! The other objects in the cluster: applications with an Ingress, a Service and a slice each.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time,
};

use crate::{Result, control_plane::ControlPlane, manifests, tls::Trust};

/// How many objects are made at once.
const AT_ONCE: usize = 32;

const NAMESPACE: &str = "default";

/// What was made.
pub struct Population<'a> {
    control_plane: &'a ControlPlane,
    trust: &'a Trust,
    applications: usize,
    secrets: usize,
    /// How many changes there were, so that none is like the one before.
    changes: Arc<AtomicUsize>,
}

/// Applications that change for as long as this lives.
pub struct Churn {
    began: Instant,
    done: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

// === impl Population ===

impl<'a> Population<'a> {
    pub fn new(control_plane: &'a ControlPlane, trust: &'a Trust) -> Self {
        Self { control_plane, trust, applications: 0, secrets: 0, changes: Arc::default() }
    }

    /// Makes applications until there are so many.
    pub async fn grow_to(&mut self, applications: usize) -> Result<()> {
        let new = self.applications..applications.max(self.applications);
        self.applications = new.end;
        self.make(new.clone(), |at| manifests::slice(&service(at), 0, address(at))).await?;
        self.make(new.clone(), service).await?;
        self.make(new, ingress).await
    }

    /// Gives certificates of their own to the first applications, until there are so many.
    pub async fn grow_secrets_to(&mut self, secrets: usize) -> Result<()> {
        let new = self.secrets..secrets.max(self.secrets);
        self.secrets = new.end;
        self.make(new.clone(), |at| self.trust.secret(NAMESPACE, &name(at), &[&host(at)])).await?;
        self.make(new, |at| tls(ingress(at), &host(at), &name(at))).await
    }

    /// Changes one application after the other at times that are left to chance, on average so many a second.
    pub fn churn(&self, rate: u32) -> Churn {
        let done = Arc::<AtomicUsize>::default();
        let api = self.control_plane.api_of(&ingress(0));
        let (applications, begun, finished) = (self.applications, self.changes.clone(), done.clone());
        let task = tokio::spawn(async move {
            if rate == 0 {
                return;
            }
            let mut changes = JoinSet::new();
            let mut next = time::Instant::now();
            loop {
                time::sleep_until(next).await;
                // By chance, as others change them: several at once now and then, and none for a while.
                next += Duration::from_secs(1).mul_f64(-(1.0 - fastrand::f64()).ln() / f64::from(rate));
                let (api, done) = (api.clone(), finished.clone());
                let at = begun.fetch_add(1, Ordering::Relaxed);
                changes.spawn(async move {
                    let object = changed(at % applications, at);
                    let name = name(at % applications);
                    if api.patch(&name, &PatchParams::default(), &Patch::Merge(&object)).await.is_ok() {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
                while changes.try_join_next().is_some() {}
            }
        });
        Churn { began: Instant::now(), done, task }
    }

    /// Makes objects, or makes them what they are here.
    async fn make(&self, range: Range<usize>, object: impl Fn(usize) -> Value) -> Result<()> {
        let mut making = JoinSet::new();
        for at in range {
            if making.len() >= AT_ONCE {
                making.join_next().await.ok_or("something is being made")???;
            }
            let object = object(at);
            let api = self.control_plane.api_of(&object);
            let made: DynamicObject = serde_json::from_value(object)?;
            making.spawn(async move {
                match api.create(&PostParams::default(), &made).await {
                    Err(kube::Error::Api(status)) if status.code == 409 => {
                        let name = made.metadata.name.as_deref().unwrap_or_default();
                        api.patch(name, &PatchParams::default(), &Patch::Merge(&made)).await.map(drop)
                    }
                    created => created.map(drop),
                }
            });
        }
        while let Some(made) = making.join_next().await {
            made??;
        }
        Ok(())
    }
}

// === impl Churn ===

impl Churn {
    /// Ends it. How many changes a second there were.
    pub fn rate(self) -> f64 {
        self.done.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An Ingress that has a certificate for its host.
pub fn tls(mut ingress: Value, host: &str, secret: &str) -> Value {
    ingress["spec"]["tls"] = json!([{ "hosts": [host], "secretName": secret }]);
    ingress
}

fn name(at: usize) -> String {
    format!("application-{at}")
}

fn host(at: usize) -> String {
    format!("{at}.applications.example")
}

/// An application's Ingress.
fn ingress(at: usize) -> Value {
    let mut ingress = manifests::host(&host(at), &name(at));
    ingress["metadata"]["name"] = json!(name(at));
    ingress
}

/// The same with another path.
fn changed(at: usize, path: usize) -> Value {
    let mut ingress = ingress(at);
    ingress["spec"]["rules"][0]["http"]["paths"][0]["path"] = json!(format!("/{path}"));
    ingress
}

/// Its Service, without an address of its own, which would cost an object more.
fn service(at: usize) -> Value {
    let mut service = manifests::service(NAMESPACE, &name(at));
    service["spec"]["clusterIP"] = json!("None");
    service
}

/// Where its endpoint would be. Nobody asks for it.
fn address(at: usize) -> std::net::SocketAddr {
    let [.., high, low] = u32::try_from(at % 50_000).unwrap_or_default().to_be_bytes();
    ([10, 244, high.max(2), low.max(1)], 8000).into()
}
