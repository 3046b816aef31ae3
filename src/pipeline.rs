//! The one writer: batches of objects in, tables out.
//!
//! Whatever changes what the proxy does comes this way, whether from files, a cluster, a rollout or a test. The pipeline
//! keeps the [`Store`], has the hosts that a batch can reach translated again, and publishes what is different: clusters
//! and credentials first, then certificates, then the table, then it drops what nothing names any more. A request
//! therefore never meets a route whose cluster is not there.
//!
//! A change of endpoints goes to its cluster, one of a Secret to its credentials, and neither touches the table. What a
//! Secret held last that could be used stays for as long as a host names it, whatever becomes of the Secret. A table that
//! equals the last one is not published. Each that is has a number, which logs, metrics and `/debug` show.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rpds::RedBlackTreeMapSync;
use tokio::{
    sync::{mpsc::Receiver, watch},
    time::{Instant, timeout_at},
};
use tracing::{debug, info};

use crate::{
    key::{ClusterKey, ObjectKey},
    lifecycle::Guard,
    live::Live,
    metrics::{Metrics, RouteState},
    problem::Problem,
    route::{Pattern, Table},
    source::Batch,
    store::{Change, Store},
    tls::{Certificate, Certificates, CredentialsMap},
    translate::{self, Options},
    upstream::{Cluster, Resolver},
};

mod credentials;
mod problems;
mod publish;
mod translated;

#[cfg(test)]
mod tests;

use self::{publish::Publisher, translated::Translated};

pub use self::problems::ProblemBook;

/// The table as the proxy has it.
pub type LiveTable = Table<Arc<Cluster>, Arc<RouteState>>;

/// The clusters that the table names, by their keys. A copy costs nothing.
pub type Clusters = RedBlackTreeMapSync<ClusterKey, Arc<Cluster>>;

/// How long batches are collected before they are published.
///
/// Nothing is waited for when the last publication is longer ago than `quiet`. Under churn, a publication waits until
/// no batch has come for `quiet`, but no longer than `most`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HoldOff {
    pub quiet: Duration,
    pub most: Duration,
}

/// What the pipeline shows to the world.
#[derive(Debug, Default)]
pub struct Published {
    /// What the proxy serves by.
    pub table: Arc<Live<LiveTable>>,
    /// What it serves TLS with.
    pub certificates: Arc<Live<Certificates>>,
    pub clusters: Live<Clusters>,
    /// What is known of the Secrets that the table names for TLS to endpoints.
    pub credentials: Arc<Live<CredentialsMap>>,
    /// What is wrong with the objects.
    pub problems: Live<ProblemBook>,
}

/// The one writer.
#[derive(Debug)]
pub struct Pipeline {
    store: Store,
    options: Options,
    translated: Translated,
    /// Problems that the source found.
    problems: Vec<Problem>,
    /// The files that it cannot read.
    unreadable: BTreeSet<Arc<str>>,
    book: ProblemBook,
    publisher: Publisher,
    /// Who wants to know which Secrets and ConfigMaps objects name.
    named: watch::Sender<Option<BTreeSet<ObjectKey>>>,
}

// === impl Pipeline ===

impl Pipeline {
    /// A pipeline that has published nothing but what is wrong with the options. Where there is only a reason why there is
    /// no resolver, names have no endpoints, and their clusters say why.
    #[must_use]
    pub fn new(
        options: Options,
        published: Arc<Published>,
        metrics: Metrics,
        resolver: Result<Resolver, Arc<str>>,
    ) -> Self {
        // Patterns are matched where no metrics are known; who brings them in shows what they count.
        metrics.meters().regex_exhausted.read_from(Pattern::exhausted);
        let publisher = Publisher::new(published, metrics, resolver);
        let mut book = ProblemBook::default();
        // The options do not change, and neither does what is wrong with them.
        if book.replace(&[], &translate::trust_problems(&options.trust)) {
            publisher.show_problems(&book);
        }
        Self {
            store: Store::new(translate::index(&options)),
            options,
            translated: Translated::default(),
            problems: Vec::new(),
            unreadable: BTreeSet::new(),
            book,
            publisher,
            named: watch::Sender::default(),
        }
    }

    /// Serves with this certificate where there is no other.
    #[must_use]
    pub fn with_fallback(mut self, certificate: Arc<Certificate>) -> Self {
        self.publisher.set_fallback(certificate);
        self
    }

    /// The Secrets and ConfigMaps that objects name, there or not: none until the first batch was taken in. A source that
    /// does not observe all of them follows this.
    #[must_use]
    pub fn named(&self) -> watch::Receiver<Option<BTreeSet<ObjectKey>>> {
        self.named.subscribe()
    }

    /// Publishes what the batches say, until there are no more. Once the first that is not partial is published, all is
    /// known that there is, and `synced` is dropped. Where none comes, `synced` blocks for good: nothing is known of what to serve.
    pub async fn run(mut self, mut batches: Receiver<Batch>, hold_off: HoldOff, synced: Guard) {
        let mut synced = Some(synced);
        let mut last = None::<Instant>;
        while let Some(batch) = batches.recv().await {
            let mut collected = vec![batch];
            let now = Instant::now();
            if last.is_some_and(|last| now < last + hold_off.quiet) {
                hold_off.collect(&mut batches, now, &mut collected).await;
            }
            collected.extend(std::iter::from_fn(|| batches.try_recv().ok()));
            let complete = collected.iter().any(|batch| !batch.partial);
            self.apply(collected);
            last = Some(Instant::now());
            if complete {
                drop(synced.take());
            }
        }
        debug!("no more batches");
        if let Some(synced) = synced {
            synced.keep();
        }
    }

    /// Takes batches in, the oldest first, and publishes at once what they change all together.
    pub fn apply(&mut self, batches: impl IntoIterator<Item = Batch>) {
        let began = Instant::now();
        let mut changes = Vec::new();
        let mut problems = false;
        for batch in batches {
            problems |= self.take(batch, &mut changes);
        }
        let snapshot = self.store.snapshot();
        self.publisher.count_objects(&snapshot);

        let update = self.translated.update(&snapshot, &self.options, &changes, &mut self.book);
        if problems || update.problems {
            self.publisher.show_problems(&self.book);
        }
        let number = self.publisher.publish(&update, &self.translated);
        let first = self.named.borrow().is_none();
        if let Some(named) = self.translated.named(&self.options, first) {
            self.named.send_replace(Some(named));
        }
        if let Some(number) = number {
            info!(
                number,
                changes = changes.len(),
                translated = update.translated,
                hosts = update.hosts.len(),
                clusters = update.clusters.len(),
                problems = self.book.len(),
                took = ?began.elapsed(),
                "table published"
            );
        } else if !update.clusters.is_empty() {
            debug!(changes = changes.len(), clusters = update.clusters.len(), "endpoints published");
        }
        if !update.credentials.is_empty() {
            debug!(changes = changes.len(), secrets = update.credentials.len(), "credentials published");
        }
    }

    /// Puts a batch into the store, and what that changes to `changes`. Says whether the source's problems are others.
    fn take(&mut self, batch: Batch, changes: &mut Vec<Change>) -> bool {
        let applied = batch.applied.into_iter().map(|(object, age)| self.store.apply(object, age));
        changes.extend(applied.filter(|change| !change.is_none()));
        let deleted = batch.deleted.iter().map(|key| self.store.delete(key));
        changes.extend(deleted.filter(|change| !change.is_none()));
        self.publisher.count_ignored(&batch.ignored);
        self.publisher.count_unreadable(batch.unreadable.difference(&self.unreadable).count());
        self.unreadable = batch.unreadable;
        let changed = self.book.replace(&self.problems, &batch.problems);
        self.problems = batch.problems;
        changed
    }
}

// === impl HoldOff ===

impl HoldOff {
    /// Collects batches until none has come for a while; the first came at `since`.
    async fn collect(self, batches: &mut Receiver<Batch>, since: Instant, collected: &mut Vec<Batch>) {
        let most = since + self.most;
        while let Ok(Some(batch)) = timeout_at(most.min(Instant::now() + self.quiet), batches.recv()).await {
            collected.push(batch);
        }
    }
}

impl Default for HoldOff {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(5), most: Duration::from_millis(25) }
    }
}
