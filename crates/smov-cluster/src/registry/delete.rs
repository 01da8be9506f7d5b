//! Deletions: preconditions, finalizers, a pod's grace period, and what becomes of dependents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    DeleteOptions, Deleted, Object, Propagation, Registry, Selector,
    defaults::{self, now},
    object::{key, uid_conflict},
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
            let first = old["metadata"]["deletionTimestamp"].is_null();
            // The garbage collector takes these away once the dependents are released, or gone.
            let finalizer = match options.propagation {
                Propagation::Orphan => Some("orphan"),
                Propagation::Foreground if first => Some("foregroundDeletion"),
                Propagation::Foreground | Propagation::Background => None,
            };
            let finalizer = finalizer.filter(|_| !self.dependents(&old).is_empty());
            mark_deleted(kind, &mut marked, options, finalizer);
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

    /// The objects that name this one as an owner, with their kinds.
    pub(crate) fn dependents(&self, owner: &Value) -> Vec<(&'static Kind, Object)> {
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
}

fn mark_deleted(kind: &Kind, object: &mut Value, options: &DeleteOptions, finalizer: Option<&str>) {
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
    if let Some(finalizer) = finalizer {
        let finalizers = &mut object["metadata"]["finalizers"];
        match finalizers.as_array_mut() {
            Some(finalizers) if finalizers.iter().any(|present| present == finalizer) => {}
            Some(finalizers) => finalizers.push(json!(finalizer)),
            None => *finalizers = json!([finalizer]),
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
