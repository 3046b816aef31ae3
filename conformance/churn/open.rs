//! A gateway in this process that lies open: what it publishes can be spoiled, to see what the load makes of it.

use serin::{
    lifecycle::{Drainer, Readiness, drain},
    metrics::{Metrics, Settings},
    pipeline::{HoldOff, LiveTable, Pipeline, Published},
    proxy::{self, Proxy, log},
    source::files,
    translate::Options,
    upstream::Cluster,
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Instant,
};
use tokio::{sync::mpsc, task::JoinSet};

/// A gateway that follows a directory as the program does; ends on drop.
pub(super) struct OpenGateway {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) published: Arc<Published>,
    drainer: Drainer,
    _control: JoinSet<()>,
}

// === impl OpenGateway ===

impl OpenGateway {
    pub(super) async fn start(manifests: &Path) -> Self {
        let (metrics, meters) = Metrics::new(&Settings::default());
        let (drainer, drain) = drain();
        let published = Arc::new(Published::default());
        let mut control = JoinSet::new();

        let (batches, received) = mpsc::channel(16);
        let config = files::Config { path: manifests.to_owned(), ..files::Config::default() };
        let mut following = files::follow(config).expect("the directory can be followed");
        control.spawn(async move {
            while let Some(batch) = following.next().await {
                if batches.send(batch).await.is_err() {
                    return;
                }
            }
        });
        let pipeline = Pipeline::new(
            Options::default(),
            published.clone(),
            metrics.clone(),
            Err("there is none in this test".into()),
        );
        let readiness = Readiness::new();
        control.spawn(pipeline.run(received, HoldOff::default(), readiness.block("first table")));
        readiness.ready().await;

        let shared = proxy::Shared {
            table: published.table.clone(),
            certificates: published.certificates.clone(),
            credentials: published.credentials.clone(),
            drain,
            metrics,
            epoch: Instant::now(),
        };
        let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let config = proxy::Config { listen_tls: listen.clone(), listen, ..proxy::Config::default() };
        let (_, logs) = log::start(log::Format::Off, Box::new(io::sink()), 1, shared.metrics.meters())
            .expect("a thread can be started");
        let proxy = Proxy::start(config, &shared, meters, logs).expect("a loopback port is free");
        let (http, https) = (proxy.local_addrs()[0], proxy.local_tls_addrs()[0]);
        Self { http, https, published, drainer, _control: control }
    }

    /// The table of now, as it would be if it were published before its clusters: none has an endpoint.
    pub(super) fn table_before_its_clusters(&self) -> LiveTable {
        let table = self.published.table.get();
        let hosts = table.hosts().map(|(name, host)| {
            let host = host.map(|cluster| Cluster::new(cluster.key().clone()), |route| route.state.clone());
            (name, Some(Arc::new(host)))
        });
        table.with_hosts(hosts)
    }

    /// The cluster of a Service.
    pub(super) fn cluster(&self, service: &str) -> Arc<Cluster> {
        let clusters = self.published.clusters.get();
        let cluster = clusters.values().find(|cluster| &*cluster.key().service == service);
        cluster.expect("the Service has a cluster").clone()
    }
}

impl Drop for OpenGateway {
    fn drop(&mut self) {
        self.drainer.end_now();
    }
}
