//! One watch: lists what there is, follows what changes, and takes up where it was when it breaks.

use std::{
    collections::hash_map::RandomState,
    error::Error,
    fmt,
    hash::{BuildHasher, Hasher},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Api, Client, Resource,
    api::{ListParams, WatchEvent, WatchParams},
    core::Status,
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{OnceCell, mpsc},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt};
use tracing::{debug, warn};

use super::{collector::Event, reach::Reach, watches::Watch};
use crate::{api::Object, key::Kind};

/// How long the server lets a watch stand. A connection that died unseen is noticed after so long and [`MARGIN`].
pub(super) const TIMEOUT: Duration = Duration::from_secs(45);
const MARGIN: Duration = Duration::from_secs(5);

/// A watch that ends sooner than this ended too soon.
const SHORT: Duration = Duration::from_secs(1);

/// Where the server was away for longer, it may have come back with older objects, and all is listed again.
const AWAY: Duration = Duration::from_secs(5);

/// How many objects are asked for at once where they are listed in pages.
const PAGE: u32 = 500;

/// The first version of Kubernetes that knows of streaming lists: one that does not, ignores that one is asked for.
const STREAMS: (u32, u32) = (1, 27);

/// The annotation of the event that ends a streaming list.
const LIST_END: &str = "k8s.io/initial-events-end";

/// What of a kind is watched.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) fields: Option<String>,
    pub(super) labels: Option<String>,
}

/// What a watch needs to run.
pub(super) struct Watching<K> {
    pub(super) watch: Watch,
    pub(super) client: Client,
    pub(super) api: Api<K>,
    pub(super) selection: Selection,
    /// Whether the server lists by streaming, once that is known.
    pub(super) streams: Arc<OnceCell<bool>>,
    pub(super) events: mpsc::Sender<(Watch, Event)>,
    pub(super) reach: Arc<Reach>,
}

/// How far a watch is.
#[derive(Debug, Default)]
struct Progress {
    /// Up to where the objects are known; nothing where all must be listed.
    version: Option<String>,
    /// Since when the watch does not stand.
    broken: Option<Instant>,
    /// How often it failed in the same way.
    failures: u32,
    /// Whether the server says no.
    refused: bool,
}

/// Why a watch ended.
#[derive(Debug)]
enum Failure {
    /// Nobody wants to know any more.
    Unwanted,
    /// The server no longer knows the place where the watch was.
    Gone,
    /// The server does not stream lists.
    NoStreaming,
    /// It could not be asked, or broke off.
    Broke(String),
    /// It said no.
    Refused(String),
}

// === impl Watching ===

impl<K> Watching<K>
where
    K: Resource<DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned + Into<Object> + Send + 'static,
{
    /// Watches until nobody wants to know any more.
    pub(super) async fn run(self) {
        let mut progress = Progress::default();
        let mut lists_in_pages = false;
        loop {
            let began = Instant::now();
            let ended = self.turn(&mut progress, lists_in_pages).await;
            if began.elapsed() >= SHORT {
                progress.failures = 0;
            }
            let ended = match ended {
                Ok(()) if began.elapsed() >= SHORT => continue,
                Ok(()) => Failure::Broke("the API server ends watches at once".to_owned()),
                Err(ended) => ended,
            };
            let (fault, refused) = match ended {
                Failure::Unwanted => return,
                Failure::NoStreaming => {
                    debug!(watch = %self.watch, "the API server streams no lists: listing in pages");
                    lists_in_pages = true;
                    continue;
                }
                Failure::Gone => {
                    progress.version = None;
                    ("the API server no longer knows where the watch was: all is listed again".to_owned(), false)
                }
                Failure::Broke(fault) => (fault, false),
                Failure::Refused(fault) => (fault, true),
            };
            self.reach.broke(&self.watch, &fault);
            if refused && self.tell(Event::Refused(fault)).await.is_err() {
                return;
            }
            self.reach.returned(progress.fail(refused)).await;
        }
    }

    /// Watches for as long as the server lets one request stand.
    async fn turn(&self, progress: &mut Progress, lists_in_pages: bool) -> Result<(), Failure> {
        if progress.version.is_none() && (lists_in_pages || !self.streams().await) {
            self.list(progress).await?;
        }
        let seconds = u32::try_from(TIMEOUT.as_secs()).unwrap_or_default();
        let params = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: progress.version.is_none(),
        };
        // Without a version, the list is to be as new as now.
        let version = progress.version.clone().unwrap_or_default();
        let stream = timeout(TIMEOUT, self.api.watch(&params, &version)).await.map_err(|_| silent())?;
        let stream = stream.map_err(|error| self.failure(&error, params.send_initial_events))?;
        self.stands(progress).await?;
        if params.send_initial_events {
            self.tell(Event::Listing).await?;
        }
        self.follow(stream, params.send_initial_events, progress).await
    }

    /// Takes what a request gives, until it ends.
    async fn follow(
        &self,
        stream: impl Stream<Item = kube::Result<WatchEvent<K>>>,
        mut listing: bool,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        let mut stream = pin!(stream);
        loop {
            let event = match timeout(TIMEOUT + MARGIN, stream.next()).await.map_err(|_| silent())? {
                None => return Ok(()),
                Some(Err(kube::Error::SerdeError(error))) => {
                    self.skip(&error);
                    continue;
                }
                Some(Err(error)) => return Err(self.failure(&error, false)),
                Some(Ok(event)) => event,
            };
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let object: Object = object.into();
                    let version = object.resource_version().map(str::to_owned);
                    self.tell(Event::Applied(object)).await?;
                    if !listing {
                        progress.version = version;
                    }
                }
                WatchEvent::Deleted(object) => {
                    let object: Object = object.into();
                    self.tell(Event::Deleted(object.key())).await?;
                    if !listing {
                        progress.version = object.resource_version().map(str::to_owned);
                    }
                }
                WatchEvent::Bookmark(bookmark) => {
                    if listing && !bookmark.metadata.annotations.contains_key(LIST_END) {
                        continue;
                    }
                    if listing {
                        self.tell(Event::Listed).await?;
                        listing = false;
                    }
                    progress.version = Some(bookmark.metadata.resource_version);
                }
                WatchEvent::Error(status) => return Err(self.refusal(&status, false)),
            }
        }
    }

    /// Lists all in pages.
    async fn list(&self, progress: &mut Progress) -> Result<(), Failure> {
        let mut params = ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut begun = false;
        loop {
            let page = timeout(TIMEOUT, self.api.list(&params)).await.map_err(|_| silent())?;
            let page = page.map_err(|error| self.failure(&error, false))?;
            if !begun {
                self.stands(progress).await?;
                self.tell(Event::Listing).await?;
                begun = true;
            }
            for object in page.items {
                self.tell(Event::Applied(object.into())).await?;
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.tell(Event::Listed).await?;
                progress.version = page.metadata.resource_version;
                return Ok(());
            }
        }
    }

    /// Whether the server lists by streaming, as far as its version tells.
    async fn streams(&self) -> bool {
        let streams = self.streams.get_or_try_init(async || {
            let version = self.client.apiserver_version().await?;
            let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
            Ok::<_, kube::Error>((number(&version.major), number(&version.minor)) >= STREAMS)
        });
        streams.await.is_ok_and(|streams| *streams)
    }

    /// Notes that the server has answered.
    async fn stands(&self, progress: &mut Progress) -> Result<(), Failure> {
        self.reach.stands(&self.watch);
        progress.broken = None;
        if std::mem::take(&mut progress.refused) {
            self.tell(Event::Stands).await?;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) -> Result<(), Failure> {
        self.events.send((self.watch.clone(), event)).await.map_err(|_| Failure::Unwanted)
    }

    /// Leaves out an object that cannot be read. What cannot be read may be a part of a Secret, and is not shown.
    fn skip(&self, error: &serde_json::Error) {
        let (watch, column) = (&self.watch, error.column());
        warn!(%watch, column, "an object of the API server is not of the form of its kind, and is left out");
    }

    fn failure(&self, error: &kube::Error, streaming: bool) -> Failure {
        match error {
            kube::Error::Api(status) => self.refusal(status, streaming),
            kube::Error::SerdeError(_) => {
                Failure::Broke("the API server's answer is not of the form of its kind".to_owned())
            }
            error => Failure::Broke(root(error)),
        }
    }

    fn refusal(&self, status: &Status, streaming: bool) -> Failure {
        let too_large = |status: &Status| {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
        };
        match status.code {
            410 => Failure::Gone,
            504 if too_large(status) => Failure::Gone,
            400 | 422 if streaming => Failure::NoStreaming,
            403 if self.watch == Watch::All(Kind::Secret) => {
                Failure::Refused(format!("{}; grant it, or start with --secrets named", status.message))
            }
            429 | 500.. => Failure::Broke(format!("the API server answers {}: {}", status.code, status.message)),
            _ => Failure::Refused(status.message.clone()),
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Notes a failure. Returns how long to wait before the next try: little, so that the state after an outage is soon
    /// that of the server; more where the server says no.
    fn fail(&mut self, refused: bool) -> Duration {
        let now = Instant::now();
        let since = *self.broken.get_or_insert(now);
        if now.duration_since(since) >= AWAY {
            self.version = None;
        }
        if self.refused != refused {
            (self.refused, self.failures) = (refused, 0);
        }
        let most = Duration::from_millis(if refused { 10_000 } else { 500 });
        let wait = Duration::from_millis(50) * 2_u32.pow(self.failures.min(10));
        self.failures += 1;
        // A part is left to chance, so that the watches of many replicas do not come all at once.
        let chance = RandomState::new().build_hasher().finish() % 256;
        let part = u32::try_from(chance).unwrap_or_default();
        wait.min(most) * (768 + part) / 1024
    }
}

/// That nothing was heard for longer than a server is silent.
fn silent() -> Failure {
    Failure::Broke("the API server is silent".to_owned())
}

/// What lies under an error.
fn root(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    format!("the API server cannot be reached: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_longer_where_the_server_says_no() {
        let mut progress = Progress::default();
        let waits: Vec<_> = (0..12).map(|_| progress.fail(false)).collect();
        assert!(waits[0] <= Duration::from_millis(50), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(500)), "{waits:?}");
        assert!(waits[11] >= Duration::from_millis(375), "{waits:?}");
        let refused: Vec<_> = (0..12).map(|_| progress.fail(true)).collect();
        assert!(refused[0] <= Duration::from_millis(50), "another kind of failure begins anew: {refused:?}");
        assert!(refused[11] >= Duration::from_millis(7_500), "{refused:?}");
    }

    #[test]
    fn after_a_long_time_away_all_is_listed_again() {
        let mut progress = Progress { version: Some("7".to_owned()), ..Progress::default() };
        progress.fail(false);
        assert_eq!(progress.version.as_deref(), Some("7"));
        progress.broken = Instant::now().checked_sub(AWAY);
        progress.fail(false);
        assert_eq!(progress.version, None);
    }
}
