//! Following changes. A watch reads from the kind's shared history with a cursor of its own:
//! writers never wait for watchers, and one that falls behind the history is told so (410).

use std::{collections::VecDeque, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::watch as wake;

use super::{Entry, Object, Registry, Selector, matching};
use crate::{error::ApiError, kinds::Kind};

/// How many changes are taken from the history at once.
const BATCH: usize = 256;

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A new object, or one that matches from now on.
    Added,
    /// Another content.
    Modified,
    /// It is gone, or matches no longer.
    Deleted,
    /// Nothing happened up to this version.
    Bookmark,
}

impl EventKind {
    /// As in the watch stream.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
        }
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// The object; of a deletion its last content.
    pub object: Object,
    /// A watch from here misses nothing that comes after.
    pub resource_version: u64,
}

/// A running watch.
pub struct Watch {
    registry: Registry,
    kind: &'static Kind,
    namespace: Option<String>,
    selector: Selector,
    ready: VecDeque<WatchEvent>,
    cursor: u64,
    wake: wake::Receiver<u64>,
    failure: Option<ApiError>,
}

impl Watch {
    pub(super) fn start(
        registry: &Registry,
        kind: &'static Kind,
        namespace: Option<&str>,
        selector: Selector,
        since: Option<u64>,
    ) -> Result<Self, ApiError> {
        let state = registry.state();
        let store = &state.stores[kind.index()];
        let mut ready = VecDeque::new();
        let cursor = match since {
            Some(since) => {
                check(since, store.forgotten, state.version)?;
                since
            }
            None => {
                let objects = matching(&store.objects, kind, namespace, &selector);
                ready.extend(objects.into_iter().map(|object| WatchEvent {
                    kind: EventKind::Added,
                    resource_version: version_of(&object),
                    object,
                }));
                state.version
            }
        };
        let wake = store.wake.subscribe();
        drop(state);
        Ok(Self {
            registry: registry.clone(),
            kind,
            namespace: namespace.filter(|_| kind.namespaced).map(str::to_owned),
            selector,
            ready,
            cursor,
            wake,
            failure: None,
        })
    }

    /// The next change; none when the watch has fallen behind (see [`Watch::failure`]) — list
    /// again and start a new one. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.failure.is_some() {
                return None;
            }
            self.wake.borrow_and_update();
            if self.read() {
                continue;
            }
            // The sender lives in the registry that this watch holds.
            self.wake.changed().await.ok()?;
        }
    }

    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        if self.ready.is_empty() && self.failure.is_none() {
            self.read();
        }
        self.ready.pop_front()
    }

    /// How many events can be taken without asking the history again.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Why [`Watch::next`] ended.
    pub fn failure(&self) -> Option<&ApiError> {
        self.failure.as_ref()
    }

    /// A bookmark for everything delivered so far.
    pub fn bookmark(&self) -> WatchEvent {
        let version = match self.ready.front() {
            Some(next) => next.resource_version.saturating_sub(1),
            None => self.cursor,
        };
        WatchEvent {
            kind: EventKind::Bookmark,
            object: Arc::new(json!({
                "apiVersion": self.kind.api_version(),
                "kind": self.kind.kind,
                "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
            })),
            resource_version: version,
        }
    }

    /// Takes the next changes from the history; false when there are none.
    fn read(&mut self) -> bool {
        let state = self.registry.state();
        let store = &state.stores[self.kind.index()];
        if self.cursor < store.forgotten {
            self.failure = Some(too_old(self.cursor, store.forgotten));
            return true;
        }
        let start = store.history.partition_point(|entry| entry.version <= self.cursor);
        let mut found = false;
        let end = store.history.len().min(start + BATCH);
        for entry in store.history.range(start..end) {
            found = true;
            self.cursor = entry.version;
            if let Some(event) = seen(entry, self.namespace.as_deref(), &self.selector) {
                self.ready.push_back(event);
            }
        }
        if end == store.history.len() {
            // Changes of other kinds count as seen: bookmarks stay fresh.
            self.cursor = state.version;
        }
        found
    }
}

/// What a change means for somebody who sees only what matches.
fn seen(entry: &Entry, namespace: Option<&str>, selector: &Selector) -> Option<WatchEvent> {
    if namespace.is_some_and(|namespace| namespace != entry.key.0) {
        return None;
    }
    let old = entry.old.as_ref().filter(|object| selector.matches(object));
    let new = entry.new.as_ref().filter(|object| selector.matches(object));
    let (kind, object) = match (old, new) {
        (None, None) => return None,
        (None, Some(new)) => (EventKind::Added, Arc::clone(new)),
        (Some(_), Some(new)) => (EventKind::Modified, Arc::clone(new)),
        (Some(old), None) => (EventKind::Deleted, with_version(old, entry.version)),
    };
    Some(WatchEvent { kind, object, resource_version: entry.version })
}

/// The object under the version of the change that took it out of sight.
fn with_version(object: &Object, version: u64) -> Object {
    if version_of(object) == version {
        return Arc::clone(object);
    }
    let mut object = Value::clone(object);
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    Arc::new(object)
}

fn version_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn check(since: u64, forgotten: u64, newest: u64) -> Result<(), ApiError> {
    if since < forgotten || since > newest {
        return Err(too_old(since, forgotten));
    }
    Ok(())
}

fn too_old(since: u64, forgotten: u64) -> ApiError {
    ApiError::gone(format!("too old resource version: {since} ({forgotten})"))
}
