//! Deletions: preconditions, finalizers, a pod's grace period, and what becomes of dependents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    DeleteOptions, Deleted, Object, Propagation, Registry, Selector, WriteOptions,
    defaults::{self, now},
    write::{key, remove, uid_conflict},
};
use crate::{
    admission::{AdmissionRequest, Operation},
    error::ApiError,
    kinds::{self, CUSTOM_RESOURCE_DEFINITION, EVENT, Kind, NAMESPACE, POD},
};

/// Namespaces that nobody can delete.
pub(super) const KEPT_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Registry {
    /// Deletes an object, or marks it where finalizers or a pod's grace period keep it.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` (preconditions), or admission's answer.
    pub fn delete(&self, kind: &'static Kind, namespace: &str, name: &str, options: &DeleteOptions) -> Result<Deleted, ApiError> {
        let key = key(kind, namespace, name);
        if kind == &NAMESPACE && KEPT_NAMESPACES.contains(&name) {
            return Err(ApiError::forbidden(kind, name, "this namespace may not be deleted"));
        }
        if kind == &CUSTOM_RESOURCE_DEFINITION && crate::definitions::defined(name).is_some() {
            return Err(ApiError::forbidden(kind, name, "this kind is built in; delete its objects instead"));
        }
        if options.propagation == Propagation::Orphan && !options.dry_run {
            let owner = self.get(kind, &key.0, &key.1)?;
            self.release_dependents(&owner);
        }
        loop {
            let old = self.get(kind, &key.0, &key.1)?;
            check_delete_preconditions(kind, name, &old, options)?;
            let request = AdmissionRequest {
                operation: Operation::Delete,
                cluster: self.cluster(),
                kind,
                namespace: &key.0,
                name,
                user: &options.user,
                old: Some(&old),
                dry_run: options.dry_run,
                registry: self,
            };
            self.inner.admission.validate(&request, &old)?;
            let mut marked = Value::clone(&old);
            let foreground = options.propagation == Propagation::Foreground
                && old["metadata"]["deletionTimestamp"].is_null()
                && self.has_dependents(&old);
            mark_deleted(kind, &mut marked, options, foreground);
            let gone = may_go(kind, &marked);
            if options.dry_run || (!gone && marked == *old) {
                return Ok(Deleted { object: Arc::new(marked), gone });
            }
            let object = {
                let mut state = self.state();
                match state.stores[kind.index()].objects.get(&key) {
                    Some(current) if Arc::ptr_eq(current, &old) => {}
                    Some(_) => continue,
                    None => return Err(ApiError::not_found(kind, name)),
                }
                let (object, change) = if gone {
                    // What goes at once was never marked: watchers see its last content.
                    let unmarked = old["metadata"]["deletionTimestamp"].is_null();
                    let last = if unmarked { Value::clone(&old) } else { marked };
                    state.put(kind, &key, None, Some(last))
                } else {
                    state.put(kind, &key, Some(marked), None)
                };
                self.inner.storage.queue(change);
                object.expect("the object existed")
            };
            self.settle(kind == &EVENT)?;
            return Ok(Deleted { object, gone });
        }
    }

    fn dependents(&self, owner: &Value) -> Vec<(&'static Kind, Object)> {
        let uid = &owner["metadata"]["uid"];
        kinds::kinds()
            .iter()
            .flat_map(|kind| {
                let (objects, _) = self.list(kind, None, &Selector::default());
                objects.into_iter().map(|object| (*kind, object))
            })
            .filter(|(_, object)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.into_iter().flatten().any(|one| &one["uid"] == uid)
            })
            .collect()
    }

    fn has_dependents(&self, owner: &Value) -> bool {
        !self.dependents(owner).is_empty()
    }

    /// Takes an owner out of the objects that name it, so that they stay.
    fn release_dependents(&self, owner: &Value) {
        let uid = &owner["metadata"]["uid"];
        for (kind, object) in self.dependents(owner) {
            let metadata = &object["metadata"];
            let released = self.modify(
                kind,
                metadata["namespace"].as_str().unwrap_or_default(),
                metadata["name"].as_str().unwrap_or_default(),
                &WriteOptions::default(),
                |object| {
                    if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                        owners.retain(|one| &one["uid"] != uid);
                        if owners.is_empty() {
                            remove(&mut object["metadata"], "ownerReferences");
                        }
                    }
                    Ok(())
                },
            );
            if let Err(error) = released {
                tracing::debug!(%error, "dependent is gone already");
            }
        }
    }
}

fn mark_deleted(kind: &Kind, object: &mut Value, options: &DeleteOptions, foreground: bool) {
    let grace = grace_period(kind, object, options);
    let first = object["metadata"]["deletionTimestamp"].is_null();
    let present = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if first || present.is_some_and(|present| grace < present) {
        let now_is = jiff::Timestamp::now();
        let ends = now_is.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(jiff::Timestamp::MAX);
        let metadata = &mut object["metadata"];
        metadata["deletionTimestamp"] = json!(if grace == 0 { now() } else { defaults::timestamp(ends) });
        metadata["deletionGracePeriodSeconds"] = json!(grace);
        if first && let Some(generation) = metadata["generation"].as_i64() {
            metadata["generation"] = json!(generation + 1);
        }
    }
    if foreground {
        match object["metadata"]["finalizers"].as_array_mut() {
            Some(finalizers) => finalizers.push(json!("foregroundDeletion")),
            None => object["metadata"]["finalizers"] = json!(["foregroundDeletion"]),
        }
    }
    if kind == &NAMESPACE {
        object["status"]["phase"] = json!("Terminating");
    }
}

/// Seconds until the object may go: only a pod that runs somewhere needs any.
fn grace_period(kind: &Kind, object: &Value, options: &DeleteOptions) -> i64 {
    if kind != &POD || object["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        return 0;
    }
    if let Some("Succeeded" | "Failed") = object["status"]["phase"].as_str() {
        return 0;
    }
    options.grace_period_seconds.or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30).max(0)
}

/// Is it marked as deleted with nothing left that keeps it?
pub(super) fn may_go(kind: &Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    !metadata["deletionTimestamp"].is_null()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() == 0
        && none(&metadata["finalizers"])
        && (kind != &NAMESPACE || none(&object["spec"]["finalizers"]))
}

fn check_delete_preconditions(kind: &Kind, name: &str, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let metadata = &old["metadata"];
    if let Some(uid) = &options.uid
        && metadata["uid"].as_str() != Some(uid)
    {
        return Err(uid_conflict(kind, name, uid, &metadata["uid"]));
    }
    match &options.resource_version {
        Some(version) if metadata["resourceVersion"].as_str() != Some(version) => Err(ApiError::stale(kind, name)),
        _ => Ok(()),
    }
}
