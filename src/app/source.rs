//! Where a gateway has its objects from.

use std::{path::PathBuf, pin::Pin};

use anyhow::{Context, Result, bail};
use tokio::sync::{mpsc, watch};

use crate::{
    config::RunFlags,
    lifecycle::Readiness,
    metrics::Metrics,
    source::{
        Batch,
        api_server::{self, Wanted},
        files,
    },
};

/// Where a gateway has its objects from.
pub(super) enum Source {
    Files(PathBuf),
    ApiServer(kube::Client),
}

// === impl Source ===

impl Source {
    /// Finds out where the objects are, before anything is started.
    pub(super) async fn find(flags: &RunFlags) -> Result<Self> {
        if let Some(path) = &flags.manifests {
            if !path.exists() {
                bail!("there is nothing at {}; name a directory of manifests, or a file", path.display());
            }
            if !path.is_dir() && !path.is_file() {
                bail!(
                    "{} is neither a directory nor a file, and cannot be followed; write it to a file",
                    path.display()
                );
            }
            return Ok(Self::Files(path.clone()));
        }
        if !flags.objects.endpoint.is_empty() {
            bail!("--endpoint stands in for EndpointSlices of files: use it with --manifests");
        }
        Ok(Self::ApiServer(api_server::connect(flags.cluster.kubeconfig.as_deref()).await?))
    }

    pub(super) fn is_files(&self) -> bool {
        matches!(self, Self::Files(_))
    }

    /// Follows the objects, and hands on what changes.
    pub(super) fn follow(
        self,
        flags: &RunFlags,
        metrics: &Metrics,
        readiness: &Readiness,
        named: watch::Receiver<Wanted>,
        batches: mpsc::Sender<Batch>,
    ) -> Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
        Ok(match self {
            Self::Files(path) => {
                let config = files::Config { path: path.clone(), endpoints: flags.objects.endpoint.clone() };
                let mut files = files::follow(config).with_context(|| format!("cannot watch {}", path.display()))?;
                Box::pin(async move {
                    while let Some(batch) = files.next().await {
                        if batches.send(batch).await.is_err() {
                            return;
                        }
                    }
                })
            }
            Self::ApiServer(client) => {
                let config = flags.cluster.source(&flags.objects);
                Box::pin(api_server::follow(
                    client,
                    config,
                    metrics.meters().clone(),
                    readiness.clone(),
                    named,
                    batches,
                ))
            }
        })
    }
}
