//! One worker per pod: who gets one, and how it hears of changes.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Shared;
use super::pod::{Ears, PodWorker, Update};
use crate::controllers::fields::{name, namespace, uid};
use crate::kinds::{CONFIG_MAP, Kind, PERSISTENT_VOLUME_CLAIM, POD, SECRET};
use crate::registry::{EventKind, Object, Registry, Selector, WatchEvent};

/// The workers, and how to reach each.
pub(super) struct Pods {
    shared: Arc<Shared>,
    /// Each gives back the uid of its pod.
    running: JoinSet<String>,
    handles: HashMap<String, Handle>,
    shutdown: CancellationToken,
}

struct Handle {
    namespace: String,
    updates: watch::Sender<Update>,
    sources: Arc<Notify>,
}

impl Pods {
    pub(super) fn new(shared: Arc<Shared>, workers: Vec<PodWorker>, shutdown: CancellationToken) -> Self {
        let mut pods = Self { shared, running: JoinSet::new(), handles: HashMap::new(), shutdown };
        for worker in workers {
            pods.spawn(worker);
        }
        pods
    }

    /// Follows the pods of our nodes until shutdown; returns when the last worker has ended.
    pub(super) async fn run(mut self) {
        self.follow().await;
        while self.running.join_next().await.is_some() {}
    }

    async fn follow(&mut self) {
        let mut sources = JoinSet::new();
        let (changed, mut changes) = mpsc::channel::<String>(64);
        for kind in [&CONFIG_MAP, &SECRET, &PERSISTENT_VOLUME_CLAIM] {
            sources.spawn(tell_changes(self.shared.registry.clone(), kind, changed.clone()));
        }
        let shutdown = self.shutdown.clone();
        loop {
            let mut watch = match self.shared.registry.watch(&POD, None, Selector::default(), None) {
                Ok(watch) => watch,
                Err(error) => {
                    warn!(error = error.message, "cannot watch pods");
                    break;
                }
            };
            self.forget_missing();
            loop {
                tokio::select! {
                    event = watch.next() => match event {
                        Some(event) => self.hear(event),
                        // Fell behind: look at everything again.
                        None => break,
                    },
                    namespace = changes.recv() => if let Some(namespace) = namespace {
                        self.handles.values().filter(|handle| handle.namespace == namespace).for_each(|handle| handle.sources.notify_one());
                    },
                    Some(ended) = self.running.join_next() => self.forget(ended),
                    () = shutdown.cancelled() => {
                        sources.shutdown().await;
                        return;
                    }
                }
            }
        }
    }

    fn forget(&mut self, ended: Result<String, tokio::task::JoinError>) {
        match ended {
            Ok(uid) => drop(self.handles.remove(&uid)),
            Err(error) => warn!(%error, "the worker of a pod has failed"),
        }
    }

    /// After a gap in the watch: pods whose end was not heard are told now.
    fn forget_missing(&mut self) {
        let present: Vec<Object> = self.shared.registry.list(&POD, None, &Selector::default()).0;
        for (known, handle) in &self.handles {
            if !present.iter().any(|pod| uid(pod) == known) {
                handle.updates.send_replace(Update::Gone);
            }
        }
    }

    fn hear(&mut self, event: WatchEvent) {
        let pod = event.object;
        if !self.shared.is_ours(&pod) {
            return;
        }
        let gone = event.kind == EventKind::Deleted;
        match self.handles.get(uid(&pod)) {
            Some(handle) => drop(handle.updates.send_replace(if gone { Update::Gone } else { Update::Changed(pod) })),
            None if gone => {}
            None => {
                let worker = PodWorker::new(Arc::clone(&self.shared), pod);
                self.spawn(worker);
            }
        }
    }

    fn spawn(&mut self, worker: PodWorker) {
        let pod = worker.object();
        let (pod_uid, place) = (uid(&pod).to_owned(), namespace(&pod).to_owned());
        let (updates, heard) = watch::channel(Update::Changed(pod));
        let sources = Arc::new(Notify::new());
        let ears = Ears { updates: heard, sources: Arc::clone(&sources), shutdown: self.shutdown.clone() };
        self.handles.insert(pod_uid.clone(), Handle { namespace: place, updates, sources });
        self.running.spawn(async move {
            worker.run(ears).await;
            pod_uid
        });
    }
}

/// Tells the namespace of every change of a kind that pods may have mounted.
async fn tell_changes(registry: Registry, kind: &'static Kind, changed: mpsc::Sender<String>) {
    loop {
        let since = registry.version();
        let Ok(mut watch) = registry.watch(kind, None, Selector::default(), Some(since)) else { return };
        while let Some(event) = watch.next().await {
            if changed.send(namespace(&event.object).to_owned()).await.is_err() {
                return;
            }
        }
        // Fell behind: everybody looks again.
        for namespace in registry.list(&crate::kinds::NAMESPACE, None, &Selector::default()).0 {
            if changed.send(name(&namespace).to_owned()).await.is_err() {
                return;
            }
        }
    }
}
