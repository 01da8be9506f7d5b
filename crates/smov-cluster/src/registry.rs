//! One cluster's objects: versioned, persisted, watchable. The one door for everybody: the HTTP
//! API, controllers, scheduler, kubelet and `smov up` itself.
//!
//! All objects live in memory; SQLite is written behind. A write is visible to readers at once
//! and is on disk when the call returns (status writes: within 50 ms), so `kill -9` loses no
//! accepted object. Versions are never used twice, also not after a crash.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::watch as wake;

use crate::{
    admission::Admission,
    error::{ApiError, OpenError},
    kinds::{self, Kind},
    network::ServiceNetwork,
    schema::{self, CustomTypes, ObjectType},
};

mod defaults;
mod delete;
mod events;
mod fields;
mod managed;
mod object;
mod options;
mod pod_update;
mod selector;
pub(crate) mod storage;
mod validate;
mod watch;
mod write;

pub use fields::undeclared;
pub use options::{DeleteOptions, Deleted, FieldValidation, Propagation, WriteOptions, Written};
pub use selector::{FieldSelector, LabelSelector, Selector};
pub use watch::{EventKind, Watch, WatchEvent};

use storage::{Change, Storage};

/// An object as stored; shared, never changed in place.
pub type Object = Arc<Value>;

/// Namespace and name; the namespace is empty for kinds without one.
type Key = (String, String);

/// How many changes of one kind are kept for watchers that come back.
const HISTORY: usize = 4096;

/// What happened to one object; what watches are fed from.
#[derive(Clone)]
struct Entry {
    version: u64,
    key: Key,
    /// What was stored before; not what watchers see of a deletion.
    before: Option<Object>,
    old: Option<Object>,
    new: Option<Object>,
}

/// All objects of one kind.
struct Store {
    objects: BTreeMap<Key, Object>,
    history: VecDeque<Entry>,
    /// Changes up to and including this version are no longer in `history`.
    forgotten: u64,
    wake: wake::Sender<u64>,
}

impl Store {
    fn remember(&mut self, entry: Entry) {
        if self.history.len() == HISTORY
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.version;
        }
        let version = entry.version;
        self.history.push_back(entry);
        self.wake.send_replace(version);
    }
}

/// Guarded by `Inner::state`: short sections only, never across an await or admission.
struct State {
    version: u64,
    stores: Vec<Store>,
    /// Events by what they repeat, so that they are counted instead of multiplied.
    series: HashMap<String, String>,
}

struct Inner {
    cluster: String,
    admission: Arc<dyn Admission>,
    services: ServiceNetwork,
    /// Types of custom kinds, in the order of all kinds, as admission gave them.
    custom: Vec<OnceLock<Arc<ObjectType>>>,
    state: Mutex<State>,
    storage: Storage,
    /// What clients check the API server against, once it is known.
    root_certificate: OnceLock<String>,
}

/// A cluster's objects. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

impl Registry {
    /// Opens the objects stored in the file `path`, or starts anew with the default namespaces.
    ///
    /// # Errors
    /// The file cannot be used, is in use, or was written by another version.
    pub fn open(path: &Path, cluster: &str, admission: Arc<dyn Admission>) -> Result<Self, OpenError> {
        Self::open_with(path, cluster, admission, ServiceNetwork::default())
    }

    /// The same, with the range that `clusterIP`s come from.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn open_with(path: &Path, cluster: &str, admission: Arc<dyn Admission>, services: ServiceNetwork) -> Result<Self, OpenError> {
        let (storage, stored) = Storage::open(path)?;
        let version = stored.version;
        let mut stores: Vec<Store> = kinds::kinds()
            .iter()
            .map(|_| Store { objects: BTreeMap::new(), history: VecDeque::new(), forgotten: version, wake: wake::Sender::new(version) })
            .collect();
        for (kind, namespace, name, body) in stored.objects {
            if let Some(kind) = kinds::by_kind(&kind) {
                stores[kind.index()].objects.insert((namespace, name), Arc::new(body));
            }
        }
        let registry = Self {
            inner: Arc::new(Inner {
                cluster: cluster.to_owned(),
                admission,
                services,
                custom: kinds::kinds().iter().map(|_| OnceLock::new()).collect(),
                state: Mutex::new(State { version, stores, series: HashMap::new() }),
                storage,
                root_certificate: OnceLock::new(),
            }),
        };
        registry.index_events();
        registry.ensure_namespaces(path)?;
        crate::rbac::ensure_defaults(&registry)
            .and_then(|()| crate::definitions::ensure(&registry))
            .map_err(|error| OpenError::File { path: path.to_owned(), source: std::io::Error::other(error.message) })?;
        Ok(registry)
    }

    fn ensure_namespaces(&self, path: &Path) -> Result<(), OpenError> {
        for name in delete::KEPT_NAMESPACES.iter().chain(&["kube-node-lease"]) {
            let namespace = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
            });
            match self.create(namespace, &WriteOptions::default()) {
                Ok(_) => {}
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    return Err(OpenError::File { path: path.to_owned(), source: std::io::Error::other(error.message) });
                }
            }
        }
        Ok(())
    }

    /// Name of the cluster, as `ctx1`.
    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    /// The certificate that clients check the API server against, where there is one.
    pub(crate) fn root_certificate(&self) -> Option<&str> {
        self.inner.root_certificate.get().map(String::as_str)
    }

    /// Tells that certificate; the first one stays.
    pub(crate) fn tell_root_certificate(&self, pem: &str) {
        self.inner.root_certificate.get_or_init(|| pem.to_owned());
    }

    /// Version of the newest change.
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// One object.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Result<Object, ApiError> {
        self.find(kind, namespace, name).ok_or_else(|| ApiError::not_found(kind, name))
    }

    /// One object, where its absence is no error.
    pub fn find(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Object> {
        let namespace = if kind.namespaced { namespace } else { "" };
        self.state().stores[kind.index()].objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All objects of a kind that match, in order of namespace and name, and the version the
    /// list is true at: a watch from there misses nothing.
    pub fn list(&self, kind: &'static Kind, namespace: Option<&str>, selector: &Selector) -> (Vec<Object>, u64) {
        let state = self.state();
        let objects = matching(&state.stores[kind.index()].objects, kind, namespace, selector);
        (objects, state.version)
    }

    /// The same as it was at `version`: what has happened since is undone from the history.
    ///
    /// # Errors
    /// `Expired` when that is no longer known, `Timeout` when the version is yet to come.
    pub(crate) fn list_at(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        selector: &Selector,
        version: u64,
    ) -> Result<Vec<Object>, ApiError> {
        let state = self.state();
        let store = &state.stores[kind.index()];
        if version > state.version {
            return Err(ApiError::too_new(version, state.version));
        }
        if version < store.forgotten {
            return Err(ApiError::gone("The resourceVersion for the provided list is too old."));
        }
        let start = store.history.partition_point(|entry| entry.version <= version);
        if start == store.history.len() {
            return Ok(matching(&store.objects, kind, namespace, selector));
        }
        let mut objects = store.objects.clone();
        for entry in store.history.range(start..).rev() {
            match &entry.before {
                Some(before) => objects.insert(entry.key.clone(), Arc::clone(before)),
                None => objects.remove(&entry.key),
            };
        }
        Ok(matching(&objects, kind, namespace, selector))
    }

    /// Follows the changes after version `since`; without it, the present objects come first,
    /// as `Added`.
    ///
    /// # Errors
    /// `Expired` when changes after `since` have been forgotten already.
    pub fn watch(&self, kind: &'static Kind, namespace: Option<&str>, selector: Selector, since: Option<u64>) -> Result<Watch, ApiError> {
        Watch::start(self, kind, namespace, selector, since)
    }

    /// Waits until everything written so far is on disk.
    pub fn flush(&self) {
        self.inner.storage.commit_or_log();
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.inner.storage
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves whole objects behind: every change is one insert.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CustomTypes for Registry {
    fn custom_type(&self, kind: &'static Kind) -> Arc<ObjectType> {
        let known = self.inner.custom[kind.index()].get_or_init(|| schema::of_custom(kind, self.inner.admission.schema(kind).as_ref()));
        Arc::clone(known)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Registry").field("cluster", &self.inner.cluster).finish_non_exhaustive()
    }
}

impl State {
    /// Puts (or removes) an object under a new version and tells watchers; `new` gets the version.
    fn put(&mut self, kind: &'static Kind, key: &Key, mut new: Option<Value>, removed: Option<Value>) -> (Option<Object>, Change) {
        self.version += 1;
        let version = self.version;
        if let Some(object) = &mut new {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
        }
        let new = new.map(Arc::new);
        let store = &mut self.stores[kind.index()];
        let old = match &new {
            Some(object) => store.objects.insert(key.clone(), Arc::clone(object)),
            None => store.objects.remove(key),
        };
        let before = old.clone();
        // A deletion carries its own version in the object that watchers see.
        let old = match removed {
            Some(mut object) => {
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                Some(Arc::new(object))
            }
            None => old,
        };
        store.remember(Entry { version, key: key.clone(), before, old: old.clone(), new: new.clone() });
        let change = Change { kind: kind.kind, namespace: key.0.clone(), name: key.1.clone(), version, object: new.clone() };
        (new.or(old), change)
    }
}

/// The objects of one kind that match, in order.
fn matching(objects: &BTreeMap<Key, Object>, kind: &Kind, namespace: Option<&str>, selector: &Selector) -> Vec<Object> {
    let namespace = namespace.filter(|_| kind.namespaced);
    let matches = |object: &&Object| selector.matches(object);
    match namespace {
        Some(namespace) => objects
            .range((namespace.to_owned(), String::new())..)
            .take_while(|((found, _), _)| found == namespace)
            .map(|(_, object)| object)
            .filter(matches)
            .cloned()
            .collect(),
        None => objects.values().filter(matches).cloned().collect(),
    }
}

#[cfg(test)]
mod tests;
