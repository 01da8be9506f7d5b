//! The loop under every controller: watches say *which* objects may need work, a queue merges and delays the keys, `reconcile` looks at the registry
//! and does what is missing. A reconciler reads the registry itself, never the event, so a lost or doubled event does no harm.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::registry::{Object, Registry, Selector, WatchEvent};

/// First wait after a failed reconcile; doubles up to [`RETRY_CAP`].
const RETRY_BASE: Duration = Duration::from_millis(5);
const RETRY_CAP: Duration = Duration::from_secs(5);
/// Watch events that may wait for the reconciler; when full, the watch's own buffer fills.
const EVENTS: usize = 1024;

/// Which object to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of(object: &Object) -> Self {
        Self::new(super::fields::namespace(object), super::fields::name(object))
    }
}

/// From a watch event of one kind to the keys of the reconciled kind.
pub(crate) type Keys = Box<dyn Fn(&WatchEvent) -> Vec<Key> + Send>;

/// A watched kind.
pub(crate) struct Source {
    kind: &'static Kind,
    keys: Keys,
}

impl Source {
    pub(crate) fn new(kind: &'static Kind, keys: impl Fn(&WatchEvent) -> Vec<Key> + Send + 'static) -> Self {
        Self { kind, keys: Box::new(keys) }
    }

    /// Events of the reconciled kind itself.
    pub(crate) fn itself(kind: &'static Kind) -> Self {
        Self::new(kind, |event| vec![Key::of(&event.object)])
    }

    /// Events of things that a controller of `owner` controls.
    pub(crate) fn owned_by(kind: &'static Kind, owner: &'static str) -> Self {
        Self::new(kind, move |event| {
            super::fields::controller(&event.object, owner)
                .map(|reference| Key::new(super::fields::namespace(&event.object), super::fields::text(reference, "/name")))
                .into_iter()
                .collect()
        })
    }
}

/// When to look at the key again although nothing was reported.
pub(crate) type Again = Option<Duration>;

/// Runs one controller until shutdown.
pub(crate) async fn drive(
    name: &'static str,
    registry: Registry,
    sources: Vec<Source>,
    mut reconcile: impl FnMut(&Key) -> Result<Again, ApiError> + Send,
    shutdown: CancellationToken,
) {
    let (sender, mut keys) = mpsc::channel(EVENTS);
    let mut watches = JoinSet::new();
    for source in sources {
        watches.spawn(forward(registry.clone(), source, sender.clone()));
    }
    drop(sender);
    let mut queue = Queue::default();
    loop {
        while let Ok(key) = keys.try_recv() {
            queue.add(key);
        }
        queue.wake(Instant::now());
        if let Some(key) = queue.pop() {
            match reconcile(&key) {
                Ok(again) => queue.done(&key, again, Instant::now()),
                Err(error) => {
                    debug!(
                        controller = name,
                        namespace = key.namespace,
                        name = key.name,
                        error = error.message,
                        "reconcile failed; will retry"
                    );
                    queue.failed(key, Instant::now());
                }
            }
            tokio::task::yield_now().await;
            if shutdown.is_cancelled() {
                break;
            }
            continue;
        }
        let wake = queue.next_wake();
        tokio::select! {
            key = keys.recv() => match key {
                Some(key) => queue.add(key),
                None => break,
            },
            () = sleep_until(wake) => {}
            () = shutdown.cancelled() => break,
        }
    }
    watches.shutdown().await;
}

/// Sleeps until the instant, or for ever.
pub(crate) async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Follows one kind; when the watch ends (too old), starts again from the present.
async fn forward(registry: Registry, source: Source, sender: mpsc::Sender<Key>) {
    loop {
        let mut watch = match registry.watch(source.kind, None, Selector::default(), None) {
            Ok(watch) => watch,
            Err(error) => {
                warn!(kind = source.kind.kind, error = error.message, "cannot watch");
                return;
            }
        };
        while let Some(event) = watch.next().await {
            for key in (source.keys)(&event) {
                if sender.send(key).await.is_err() {
                    return;
                }
            }
        }
        if sender.is_closed() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Keys waiting for work: each at most once, failed ones with back-off.
#[derive(Default)]
struct Queue {
    ready: VecDeque<Key>,
    waiting: HashSet<Key>,
    delayed: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

impl Queue {
    fn add(&mut self, key: Key) {
        if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn pop(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.delayed.remove(&key);
        Some(key)
    }

    fn done(&mut self, key: &Key, again: Again, now: Instant) {
        self.failures.remove(key);
        if let Some(again) = again {
            self.delayed.insert(key.clone(), now + again);
        }
    }

    fn failed(&mut self, key: Key, now: Instant) {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = RETRY_BASE.saturating_mul(1 << (*failures).min(16)).min(RETRY_CAP);
        *failures += 1;
        self.delayed.insert(key, now + delay);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.delayed.values().min().copied()
    }

    fn wake(&mut self, now: Instant) {
        let due: Vec<Key> = self.delayed.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.delayed.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_once_however_often_it_is_reported() {
        let mut queue = Queue::default();
        queue.add(Key::new("a", "b"));
        queue.add(Key::new("a", "b"));
        assert!(queue.pop().is_some());
        assert!(queue.pop().is_none());
    }

    #[test]
    fn failures_are_retried_with_growing_delay_and_success_forgets_them() {
        let mut queue = Queue::default();
        let (key, start) = (Key::new("a", "b"), Instant::now());
        queue.failed(key.clone(), start);
        assert_eq!(queue.next_wake(), Some(start + RETRY_BASE));
        queue.failed(key.clone(), start);
        assert_eq!(queue.next_wake(), Some(start + RETRY_BASE * 2));
        queue.wake(start + RETRY_CAP);
        assert_eq!(queue.pop(), Some(key.clone()));
        queue.done(&key, None, start);
        queue.failed(key, start);
        assert_eq!(queue.next_wake(), Some(start + RETRY_BASE));
    }
}
