//! What is changed in the cluster, and how long it takes until it is seen.

use std::{sync::Arc, time::Duration};

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{self, Instant};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    Result,
    client::Request,
    control_plane::ControlPlane,
    echo::Echo,
    gateway::Gateway,
    manifests,
    population::tls,
    sight::{Sight, Watcher},
    tls::Trust,
};

/// The port of the endpoints.
const PORT: u16 = 8000;

/// What is changed. Each has a host of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// An Ingress gets another path, which leads to another Service.
    Path,
    /// The weight of a canary is all or nothing.
    Weight,
    /// The only endpoint of a Service is another.
    Endpoint,
    /// A Secret has another certificate.
    Certificate,
}

/// The objects that are changed, and what is behind them.
pub struct Stage<'a> {
    control_plane: &'a ControlPlane,
    trust: Arc<Trust>,
    subjects: Vec<Subject>,
    ingresses: usize,
    /// Two Secrets of one name, and their certificates.
    secrets: [(Value, Vec<u8>); 2],
    endpoints: [Echo; 2],
}

/// What came of changing something again and again. All times are in milliseconds and in order.
pub struct Figures {
    /// From the API server's answer until the change was seen.
    pub delays: Vec<f64>,
    /// How many were seen before that answer.
    pub first: usize,
    /// From the write until the API server's answer.
    pub write: Vec<f64>,
    /// From one look to the next.
    pub look: f64,
}

// === impl Subject ===

impl Subject {
    const ALL: [Self; 4] = [Self::Path, Self::Weight, Self::Endpoint, Self::Certificate];

    pub fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Weight => "weight",
            Self::Endpoint => "endpoint",
            Self::Certificate => "certificate",
        }
    }

    fn host(self) -> &'static str {
        match self {
            Self::Path => "path.example",
            Self::Weight => "weight.example",
            Self::Endpoint => "endpoint.example",
            Self::Certificate => "certificate.example",
        }
    }
}

// === impl Stage ===

impl<'a> Stage<'a> {
    /// Makes the objects of the subjects that have `only` in their names.
    pub async fn set(control_plane: &'a ControlPlane, trust: Arc<Trust>, only: &str) -> Result<Self> {
        let endpoints =
            [Echo::start_at(([10, 244, 1, 1], PORT).into(), "a"), Echo::start_at(([10, 244, 1, 2], PORT).into(), "b")];
        let [a, b] = endpoints;
        let endpoints = [a.await, b.await];
        let secret = || -> Result<_> {
            let secret = trust.secret("default", "certificate", &[Subject::Certificate.host()]);
            let chain = secret["stringData"]["tls.crt"].as_str().ok_or("a Secret has a certificate")?;
            let certificate = CertificateDer::from_pem_slice(chain.as_bytes())?.to_vec();
            Ok((secret, certificate))
        };
        let secrets = [secret()?, secret()?];
        let subjects = Subject::ALL.into_iter().filter(|subject| subject.name().contains(only)).collect();
        let mut stage = Self { control_plane, trust, subjects, ingresses: 0, secrets, endpoints };
        let mut objects = vec![manifests::ingress_class()];
        for (name, endpoint) in ["a", "b"].iter().zip(&stage.endpoints) {
            let service = manifests::service("default", name);
            objects.extend(manifests::slices(&service, [endpoint]));
            objects.push(service);
        }
        objects.extend([stage.slice(0), stage.service()]);
        objects.push(stage.secrets[0].0.clone());
        let ingresses = stage.all_ingresses();
        stage.ingresses = ingresses.len();
        for object in objects.iter().chain(&ingresses) {
            control_plane.apply(object).await?;
        }
        Ok(stage)
    }

    pub fn subjects(&self) -> impl Iterator<Item = Subject> + use<> {
        self.subjects.clone().into_iter()
    }

    /// How many Ingresses it has.
    pub fn ingresses(&self) -> usize {
        self.ingresses
    }

    /// Changes a subject so many times, each time after a while of another length, and looks at each.
    pub async fn measure(&self, subject: Subject, gateway: &Gateway, changes: usize) -> Result<Figures> {
        let mut watcher = Watcher::new(gateway.http, gateway.https, self.trust.clone()).await?;
        let (mut delays, mut first, mut write) = (Vec::new(), 0, Vec::new());
        // The first one sets what was before, and does not count.
        for at in 0..=changes {
            let (object, sight) = self.change(subject, at);
            let api = self.control_plane.api_of(&object);
            let name = object["metadata"]["name"].as_str().ok_or("an object has a name")?;
            let looking = tokio::spawn(watcher.until(sight));
            // Longer than the gateway may wait for others, so that each change comes for itself.
            time::sleep(Duration::from_millis(60 + (at as u64 * 7) % 20)).await;
            let sent = Instant::now();
            api.patch(name, &PatchParams::default(), &Patch::Merge(&object)).await?;
            let written = Instant::now();
            let (again, seen) = looking.await??;
            watcher = again;
            if at > 0 {
                first += usize::from(seen <= written);
                delays.push(seen.saturating_duration_since(written).as_secs_f64() * 1e3);
                write.push((written - sent).as_secs_f64() * 1e3);
            }
        }
        let look = watcher.interval();
        watcher.end().await?;
        delays.sort_by(f64::total_cmp);
        write.sort_by(f64::total_cmp);
        Ok(Figures { delays, first, write, look })
    }

    /// The subject's object as its `at`th change makes it, and how that looks from outside.
    fn change(&self, subject: Subject, at: usize) -> (Value, Sight) {
        let name = |other: bool| if other { "b" } else { "a" };
        let backend = |path: &str, name| Sight::Backend(Request::get(subject.host(), path), name);
        match subject {
            Subject::Path => {
                let path = format!("/{at}");
                let mut object = manifests::host(subject.host(), "a");
                let paths = object["spec"]["rules"][0]["http"]["paths"].as_array_mut().expect("it has paths");
                let mut other = paths[0].clone();
                other["path"] = json!(path);
                other["backend"]["service"]["name"] = json!("b");
                paths.push(other);
                (object, backend(&path, "b"))
            }
            Subject::Weight => (canary(at % 2), backend("/", name(at % 2 == 1))),
            Subject::Endpoint => (self.slice(at % 2), backend("/", name(at % 2 == 1))),
            Subject::Certificate => {
                let (secret, certificate) = &self.secrets[at % 2];
                (secret.clone(), Sight::Certificate(subject.host(), certificate.clone()))
            }
        }
    }

    fn all_ingresses(&self) -> Vec<Value> {
        let mut ingresses = vec![
            manifests::host(Subject::Path.host(), "a"),
            manifests::host(Subject::Weight.host(), "a"),
            canary(0),
            manifests::host(Subject::Endpoint.host(), "c"),
        ];
        let certificate = manifests::host(Subject::Certificate.host(), "a");
        ingresses.push(tls(certificate, Subject::Certificate.host(), "certificate"));
        ingresses
    }

    /// The Service whose endpoint is changed.
    fn service(&self) -> Value {
        manifests::service("default", "c")
    }

    /// Its slice, with one of the endpoints.
    fn slice(&self, endpoint: usize) -> Value {
        manifests::slice(&self.service(), 0, self.endpoints[endpoint].address)
    }
}

/// A canary that gets nothing or all.
fn canary(all: usize) -> Value {
    let mut object = manifests::host(Subject::Weight.host(), "b");
    object["metadata"]["name"] = json!("canary");
    object["metadata"]["annotations"] = json!({
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": (100 * all).to_string(),
    });
    object
}
