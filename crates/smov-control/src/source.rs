//! Sources: one reconnecting list-and-watch per kind and cluster. What was read stays until the API server says otherwise.
//!
//! A source keeps no objects, it sends events to the one task that owns the world. List once, watch from there on; after a broken
//! stream watch on from the last version (bookmarks keep it fresh), after `410 Gone` list again; back off while the server is away.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;
use smov_model::names::{KubeCluster, Namespace};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::api_server::ApiServer;

mod kind;

pub use kind::{SourceKind, StoredKind};

/// First pause after a failure; doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// How often a kind that the server does not serve is asked for again: its definition may be installed later.
const ABSENT_PAUSE: Duration = Duration::from_secs(10);
/// Objects per page of a list.
const PAGE: u32 = 500;

/// Which source an event is from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId {
    /// The cluster.
    pub cluster: KubeCluster,
    /// The kind.
    pub kind: SourceKind,
}

/// What a source tells the world.
#[derive(Debug)]
pub struct SourceEvent {
    /// From where.
    pub source: SourceId,
    /// What.
    pub news: News,
}

/// What happened at a source.
#[derive(Debug)]
pub enum News {
    /// These are all objects; what is not among them is gone.
    Listed(Vec<Value>),
    /// An object is new or changed.
    Applied(Value),
    /// An object is gone.
    Deleted(Value),
    /// The server answers, nothing changed.
    Alive,
    /// The server cannot be read just now; what was read before stays true as far as anyone knows.
    Failed(String),
}

/// Runs one source until `shutdown`, or until nobody listens.
pub async fn run<E: From<SourceEvent>>(
    source: SourceId,
    root_namespace: Namespace,
    server: ApiServer,
    events: mpsc::Sender<E>,
    shutdown: CancellationToken,
) {
    let reflector = Reflector { path: source.kind.path(root_namespace.as_str()), source, server, events };
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = reflector.follow() => {}
    }
}

struct Reflector<E> {
    path: String,
    source: SourceId,
    server: ApiServer,
    events: mpsc::Sender<E>,
}

/// Nobody listens any more.
struct Unheard;

enum WatchEnd {
    /// The server ended the stream, as it does every few minutes.
    Ended,
    /// The version is too old: list again.
    Expired,
    /// The stream broke.
    Broken(String),
}

impl<E: From<SourceEvent>> Reflector<E> {
    async fn follow(&self) -> Result<(), Unheard> {
        let mut version: Option<String> = None;
        let mut failures = 0;
        let mut failing = false;
        loop {
            let from = match version.take() {
                Some(version) => version,
                None => match self.list().await {
                    Ok((objects, version)) => {
                        failures = 0;
                        failing = false;
                        self.tell(News::Listed(objects)).await?;
                        version
                    }
                    Err(kube::Error::Api(status)) if status.code == 404 => {
                        self.tell(News::Listed(Vec::new())).await?;
                        self.tell(News::Failed("the API server does not serve this kind".to_owned())).await?;
                        tokio::time::sleep(ABSENT_PAUSE).await;
                        continue;
                    }
                    Err(error) => {
                        self.fail(describe_api(&error), &mut failures).await?;
                        continue;
                    }
                },
            };
            let mut last = from;
            let end = self.watch(&mut last, &mut failing, &mut failures).await?;
            match end {
                WatchEnd::Ended => version = Some(last),
                WatchEnd::Expired => debug!(cluster = %self.source.cluster, kind = self.source.kind.as_str(), "watch expired"),
                WatchEnd::Broken(error) => {
                    version = Some(last);
                    failing = true;
                    self.fail(error, &mut failures).await?;
                }
            }
        }
    }

    /// Reads all pages of the list.
    async fn list(&self) -> Result<(Vec<Value>, String), kube::Error> {
        self.server.warm_up().await?;
        let kind = self.source.kind;
        let mut objects = Vec::new();
        let mut parameters = ListParams { label_selector: kind.labels().map(str::to_owned), limit: Some(PAGE), ..ListParams::default() };
        loop {
            let request = Request::new(self.path.as_str()).list(&parameters).map_err(kube::Error::BuildRequest)?;
            let page: Page = self.server.client().request(request).await?;
            objects.extend(page.items);
            match page.metadata.r#continue.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok((objects, page.metadata.resource_version)),
            }
        }
    }

    async fn watch(&self, version: &mut String, failing: &mut bool, failures: &mut u32) -> Result<WatchEnd, Unheard> {
        let kind = self.source.kind;
        let parameters = WatchParams { label_selector: kind.labels().map(str::to_owned), ..WatchParams::default() };
        let request = match Request::new(self.path.as_str()).watch(&parameters, version) {
            Ok(request) => request,
            Err(error) => return Ok(WatchEnd::Broken(error.to_string())),
        };
        let stream = match self.server.client().request_events::<Value>(request).await {
            Ok(stream) => stream,
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(WatchEnd::Expired),
            Err(error) => return Ok(WatchEnd::Broken(describe_api(&error))),
        };
        if std::mem::take(failing) {
            self.tell(News::Alive).await?;
        }
        let opened = Instant::now();
        let mut heard = false;
        pin_mut!(stream);
        loop {
            let news = match stream.next().await {
                // A server that always ends at once must not be asked in a hot loop.
                None if !heard && opened.elapsed() < Duration::from_secs(1) => {
                    return Ok(WatchEnd::Broken("the watch ended at once".to_owned()));
                }
                None => return Ok(WatchEnd::Ended),
                Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                    remember(version, &object);
                    News::Applied(object)
                }
                Some(Ok(WatchEvent::Deleted(object))) => {
                    remember(version, &object);
                    News::Deleted(object)
                }
                Some(Ok(WatchEvent::Bookmark(bookmark))) => {
                    *version = bookmark.metadata.resource_version;
                    News::Alive
                }
                Some(Ok(WatchEvent::Error(status))) if status.code == 410 => return Ok(WatchEnd::Expired),
                Some(Ok(WatchEvent::Error(status))) => return Ok(WatchEnd::Broken(status.message)),
                Some(Err(kube::Error::Api(status))) if status.code == 410 => return Ok(WatchEnd::Expired),
                Some(Err(error)) => return Ok(WatchEnd::Broken(describe_api(&error))),
            };
            *failures = 0;
            heard = true;
            self.tell(news).await?;
        }
    }

    /// Says that the source fails, and waits.
    async fn fail(&self, error: String, failures: &mut u32) -> Result<(), Unheard> {
        if *failures == 0 {
            warn!(cluster = %self.source.cluster, kind = self.source.kind.as_str(), error, "source failed, what was read is kept");
        }
        self.tell(News::Failed(error)).await?;
        tokio::time::sleep(self.pause(*failures)).await;
        *failures = failures.saturating_add(1);
        Ok(())
    }

    /// Doubles with each failure; up to a quarter more, different for each source, so that they do not all come back at once.
    fn pause(&self, failures: u32) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LAST_PAUSE);
        let mut hasher = DefaultHasher::new();
        self.source.hash(&mut hasher);
        pause + pause / 4 * u32::try_from(hasher.finish() % 100).unwrap_or(0) / 100
    }

    async fn tell(&self, news: News) -> Result<(), Unheard> {
        self.events.send(SourceEvent { source: self.source.clone(), news }.into()).await.map_err(|_| Unheard)
    }
}

fn remember(version: &mut String, object: &Value) {
    if let Some(seen) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
        seen.clone_into(version);
    }
}

/// What an API server's failure says in one line: its own words where it answered, else the whole chain of causes.
pub(crate) fn describe_api(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.message),
        other => describe(other),
    }
}

/// The error with its causes in one line: connection errors say what happened only at the end of the chain.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<Value>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PageMetadata {
    resource_version: String,
    r#continue: Option<String>,
}
