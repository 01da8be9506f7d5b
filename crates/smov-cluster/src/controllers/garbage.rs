//! Garbage collection by `ownerReferences`: what all owners have left is deleted (background), freed (orphan), or deleted before its owner (foreground).
//!
//! The collector keeps an index of all owned objects, fed by one watch per kind, so that the end of an owner costs a look-up, not a scan.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{is_deleting, items, name, namespace, text, uid};
use super::writer;
use crate::error::ApiError;
use crate::kinds::{Kind, by_kind, kinds};
use crate::registry::{DeleteOptions, EventKind, Object, Registry};
use std::sync::{Arc, Mutex, PoisonError};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// Runs the collector until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let index = Arc::new(Mutex::new(Index::default()));
    let sources = kinds().iter().map(|kind| source(kind, Arc::clone(&index))).collect();
    let collector = Collector { registry: registry.clone() };
    drive("garbage", registry, sources, move |key| collector.reconcile(key), shutdown).await;
}

/// An object of any kind: where it lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// Who is owned by whom. Guarded by a std mutex that is never held over a registry call.
#[derive(Default)]
struct Index {
    dependents: HashMap<String, HashSet<Place>>,
    owners: HashMap<Place, Vec<String>>,
}

impl Index {
    fn record(&mut self, place: &Place, owners: Vec<String>) {
        for before in self.owners.remove(place).unwrap_or_default() {
            if let Some(set) = self.dependents.get_mut(&before) {
                set.remove(place);
                if set.is_empty() {
                    self.dependents.remove(&before);
                }
            }
        }
        if owners.is_empty() {
            return;
        }
        for owner in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(place.clone());
        }
        self.owners.insert(place.clone(), owners);
    }
}

/// Keys of the queue: the kind goes in front of the name, since one queue serves all kinds.
fn key_of(place: &Place) -> Key {
    Key::new(&place.namespace, &format!("{}/{}", place.kind, place.name))
}

fn source(kind: &'static Kind, index: Arc<Mutex<Index>>) -> Source {
    Source::new(kind, move |event| {
        let object = &event.object;
        let place = Place { kind: kind.kind, namespace: namespace(object).to_owned(), name: name(object).to_owned() };
        let gone = matches!(event.kind, EventKind::Deleted);
        let owners: Vec<String> = items(object, "/metadata/ownerReferences").iter().map(|owner| text(owner, "/uid").to_owned()).collect();
        let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Vec::new();
        if gone {
            index.record(&place, Vec::new());
            keys.extend(index.dependents.get(uid(object)).into_iter().flatten().map(key_of));
            // An owner in foreground deletion waits for this one.
            for owner in items(object, "/metadata/ownerReferences") {
                if let Some(owner_kind) = by_kind(text(owner, "/kind")) {
                    let namespace = if owner_kind.namespaced { place.namespace.clone() } else { String::new() };
                    keys.push(key_of(&Place { kind: owner_kind.kind, namespace, name: text(owner, "/name").to_owned() }));
                }
            }
        } else {
            let owned = !owners.is_empty();
            index.record(&place, owners);
            if owned || has_finalizer(object) {
                keys.push(key_of(&place));
            }
        }
        keys
    })
}

fn has_finalizer(object: &Value) -> bool {
    is_deleting(object) && items(object, "/metadata/finalizers").iter().any(|finalizer| finalizer == ORPHAN || finalizer == FOREGROUND)
}

struct Collector {
    registry: Registry,
}

impl Collector {
    fn reconcile(&self, key: &Key) -> Result<Again, ApiError> {
        let Some((kind, name)) = key.name.split_once('/') else { return Ok(None) };
        let Some(kind) = by_kind(kind) else { return Ok(None) };
        let Ok(object) = self.registry.get(kind, &key.namespace, name) else { return Ok(None) };
        if has_finalizer(&object) {
            return self.finalize(kind, &object);
        }
        self.collect(kind, &object)
    }

    /// Deletes the object when none of its owners is left; drops the references to owners that are gone.
    fn collect(&self, kind: &'static Kind, object: &Object) -> Result<Again, ApiError> {
        let references = items(object, "/metadata/ownerReferences");
        if references.is_empty() || is_deleting(object) {
            return Ok(None);
        }
        let (alive, gone): (Vec<&Value>, Vec<&Value>) =
            references.iter().partition(|reference| self.owner_lives(reference, namespace(object)));
        if gone.is_empty() {
            return Ok(None);
        }
        if alive.is_empty() {
            return ignore_missing(self.registry.delete(kind, namespace(object), name(object), &DeleteOptions::default()).map(drop));
        }
        let alive = json!(alive);
        ignore_missing(self.modify(kind, object, |object| {
            object["metadata"]["ownerReferences"] = alive.clone();
        }))
    }

    /// Kinds that this cluster does not know are taken as alive: deleting by ignorance would lose data.
    fn owner_lives(&self, reference: &Value, namespace: &str) -> bool {
        let Some(kind) = by_kind(text(reference, "/kind")) else { return true };
        let namespace = if kind.namespaced { namespace } else { "" };
        self.registry.get(kind, namespace, text(reference, "/name")).is_ok_and(|owner| uid(&owner) == text(reference, "/uid"))
    }

    fn finalize(&self, kind: &'static Kind, owner: &Object) -> Result<Again, ApiError> {
        let orphan = items(owner, "/metadata/finalizers").iter().any(|finalizer| finalizer == ORPHAN);
        let mut waiting = false;
        // From the objects themselves: each kind has a watch of its own, so the index may not know the newest dependents yet.
        for (dependent_kind, dependent) in self.registry.dependents(owner) {
            if orphan {
                ignore_missing(self.modify(dependent_kind, &dependent, |dependent| {
                    if let Some(owners) = dependent["metadata"]["ownerReferences"].as_array_mut() {
                        owners.retain(|reference| text(reference, "/uid") != uid(owner));
                        if owners.is_empty()
                            && let Some(metadata) = dependent["metadata"].as_object_mut()
                        {
                            metadata.shift_remove("ownerReferences");
                        }
                    }
                }))?;
                continue;
            }
            waiting = true;
            if !is_deleting(&dependent) {
                let (namespace, name) = (namespace(&dependent), name(&dependent));
                ignore_missing(self.registry.delete(dependent_kind, namespace, name, &DeleteOptions::default()).map(drop))?;
            }
        }
        if waiting {
            return Ok(None);
        }
        ignore_missing(self.modify(kind, owner, |owner| {
            if let Some(finalizers) = owner["metadata"]["finalizers"].as_array_mut() {
                finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
            }
        }))
    }

    fn modify(&self, kind: &'static Kind, object: &Value, mut change: impl FnMut(&mut Value)) -> Result<(), ApiError> {
        let change = |object: &mut Value| {
            change(object);
            Ok(())
        };
        self.registry.modify(kind, namespace(object), name(object), &writer("generic-garbage-collector"), change).map(drop)
    }
}

fn ignore_missing(result: Result<(), ApiError>) -> Result<Again, ApiError> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.reason == "NotFound" => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_forgets_an_object_that_changed_owner() {
        let mut index = Index::default();
        let place = Place { kind: "Pod", namespace: "n".to_owned(), name: "p".to_owned() };
        index.record(&place, vec!["one".to_owned()]);
        index.record(&place, vec!["two".to_owned()]);
        assert!(!index.dependents.contains_key("one"));
        assert!(index.dependents["two"].contains(&place));
        index.record(&place, Vec::new());
        assert!(index.dependents.is_empty() && index.owners.is_empty());
    }
}
