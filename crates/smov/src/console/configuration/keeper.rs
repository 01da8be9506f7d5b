//! Keeps the history: a ConfigMap of each cluster, so that it survives every process and every console reads the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use smov_cluster::kinds::CONFIG_MAP;
use smov_console::view::configuration::ReachView;

use super::book::{Book, Change, Entry, Item, merged};
use crate::kube_api::{Act, CallError, Cluster};

/// The ConfigMap.
pub(crate) const NAME: &str = "smov-history";
/// Its namespace.
pub(crate) const NAMESPACE: &str = "istio-system";
const MANAGER: &str = "smov-history";
/// How often a write is tried again after another console was faster.
const TRIES: u32 = 10;
/// How long an API server may take for one answer: the link to it may be cut or stalled.
const PATIENCE: Duration = Duration::from_secs(4);

/// The history of all clusters.
#[derive(Clone)]
pub(crate) struct Keeper {
    clusters: Arc<[Cluster]>,
    /// Of clusters whose ConfigMap this console may not write; locked for one look or one change.
    memory: Arc<Mutex<BTreeMap<String, Book>>>,
}

/// Everything that was found, and where it is kept.
pub(crate) struct Told {
    pub(crate) changes: Vec<Change>,
    pub(crate) stores: Vec<ReachView>,
}

/// A call with an end.
pub(crate) async fn patient<T>(cluster: &Cluster, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    let unanswered = |_| CallError::Unreachable { cluster: cluster.name.clone(), reason: format!("no answer within {PATIENCE:?}") };
    tokio::time::timeout(PATIENCE, call).await.map_err(unanswered)?
}

fn forbidden(error: &CallError) -> bool {
    matches!(error, CallError::Refused { code: 403, .. })
}

impl Keeper {
    pub(crate) fn new(clusters: &[Cluster]) -> Self {
        Self { clusters: clusters.into(), memory: Arc::default() }
    }

    /// All changes.
    pub(crate) async fn told(&self) -> Told {
        let read = self.clusters.iter().map(|cluster| async move { (cluster, self.book(cluster).await) });
        let (mut books, mut stores) = (Vec::new(), Vec::new());
        for (cluster, book) in join_all(read).await {
            let mut store = ReachView { name: cluster.name.clone(), ..ReachView::default() };
            match book {
                Ok((book, kept)) => {
                    store.reachable = kept;
                    if !kept {
                        store.reason_ko = Some("기록을 저장할 권한이 없어 이 페이지가 켜진 동안만 기억합니다".to_owned());
                        store.reason_en =
                            Some("not allowed to store the history here, so it is remembered only while this console runs".to_owned());
                    }
                    books.push((cluster.name.clone(), book));
                }
                Err(error) => {
                    store.reason_ko = Some(format!("기록을 읽을 수 없습니다: {error}"));
                    store.reason_en = Some(format!("the history cannot be read: {error}"));
                }
            }
            stores.push(store);
        }
        Told { changes: merged(books), stores }
    }

    /// One cluster's part, and whether it is kept there.
    pub(crate) async fn book(&self, cluster: &Cluster) -> Result<(Book, bool), CallError> {
        match patient(cluster, cluster.get(&CONFIG_MAP, NAMESPACE, NAME)).await {
            Ok(None) => {
                let remembered = self.remembered(&cluster.name);
                let kept = remembered.is_none();
                Ok((remembered.unwrap_or_default(), kept))
            }
            Ok(Some(object)) => Book::read(&object).map(|book| (book, true)).map_err(|reason| broken(cluster, &reason)),
            Err(error) if forbidden(&error) => Ok((self.remembered(&cluster.name).unwrap_or_default(), false)),
            Err(error) => Err(error),
        }
    }

    fn remembered(&self, cluster: &str) -> Option<Book> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(cluster).cloned()
    }

    /// Writes a change down, each cluster's items in that cluster. Gives whether anything was new, and what could not be written.
    pub(crate) async fn record(&self, entry: &Entry, items: &[(String, Item)]) -> (bool, Vec<CallError>) {
        let parts = self.clusters.iter().filter_map(|cluster| {
            let own: Vec<Item> = items.iter().filter(|(name, _)| *name == cluster.name).map(|(_, item)| item.clone()).collect();
            (!own.is_empty()).then(|| self.add(cluster, Entry { items: own, ..entry.clone() }))
        });
        let (mut new, mut errors) = (false, Vec::new());
        for written in join_all(parts).await {
            match written {
                Ok(added) => new |= added,
                Err(error) => errors.push(error),
            }
        }
        (new, errors)
    }

    async fn add(&self, cluster: &Cluster, entry: Entry) -> Result<bool, CallError> {
        let mut tries = 0;
        loop {
            let object = match patient(cluster, cluster.get(&CONFIG_MAP, NAMESPACE, NAME)).await {
                Ok(object) => object,
                Err(error) if forbidden(&error) => return Ok(self.remember(&cluster.name, entry)),
                Err(error) => return Err(error),
            };
            let mut book = match &object {
                Some(object) => Book::read(object).map_err(|reason| broken(cluster, &reason))?,
                None => Book::default(),
            };
            if !book.add(entry.clone()) {
                return Ok(false);
            }
            let wanted = with_data(object.as_ref(), book.data());
            let act = if object.is_some() { Act::Replace(&wanted) } else { Act::Create(&wanted) };
            match patient(cluster, cluster.write(&CONFIG_MAP, act, MANAGER, false)).await {
                Ok(_) => return Ok(true),
                // Another console wrote meanwhile.
                Err(CallError::Refused { code: 409, .. }) if tries < TRIES => tries += 1,
                Err(error) if forbidden(&error) => return Ok(self.remember(&cluster.name, entry)),
                Err(error) => return Err(error),
            }
        }
    }

    fn remember(&self, cluster: &str, entry: Entry) -> bool {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).entry(cluster.to_owned()).or_default().add(entry)
    }
}

fn broken(cluster: &Cluster, reason: &str) -> CallError {
    CallError::Unreachable { cluster: cluster.name.clone(), reason: format!("ConfigMap {NAMESPACE}/{NAME}: {reason}") }
}

fn with_data(object: Option<&Value>, data: Value) -> Value {
    let mut object = object.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { "smov.dev/history": "of-rules" } },
        })
    });
    object["data"] = data;
    object
}
