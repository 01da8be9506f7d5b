//! A Deployment's status: counts over its ReplicaSets, and the conditions `Available` and `Progressing` that `kubectl rollout status` waits for.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::fields::{condition, items, name, namespace, now_text, number, parse_time, set_condition, text};
use super::super::rollout;
use super::super::writer;
use crate::error::ApiError;
use crate::registry::{Object, Registry};

/// What the status says to the controller.
pub(super) struct Done {
    /// The new template serves everywhere.
    pub(super) complete: bool,
    /// Seconds until the progress deadline, where a rollout is under way.
    pub(super) again: Option<u64>,
}

struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

/// Computes and, where it changed, writes the status.
pub(super) fn write(registry: &Registry, deployment: &Object, new: Option<&Object>, old: &[Object]) -> Result<Done, ApiError> {
    let sum = |pointer: &str| old.iter().chain(new).map(|set| number(set, pointer).unwrap_or(0)).sum::<i64>();
    let counts = Counts {
        replicas: sum("/status/replicas"),
        updated: new.map_or(0, |set| number(set, "/status/replicas").unwrap_or(0)),
        ready: sum("/status/readyReplicas"),
        available: sum("/status/availableReplicas"),
    };
    let wish = rollout::replicas(deployment);
    let complete = counts.updated == wish && counts.replicas == wish && counts.available == wish;
    let mut conditions = items(deployment, "/status/conditions").to_vec();
    set_condition(&mut conditions, available(deployment, &counts));
    let mut again = None;
    if let Some(progress) = progressing(deployment, new, &counts, complete, &mut again) {
        set_condition(&mut conditions, progress);
    }
    replica_failure(&mut conditions, new, old);
    let mut status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": counts.replicas,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": (counts.replicas.max(wish) - counts.available).max(0),
        "conditions": conditions,
    });
    if let Some(status) = status.as_object_mut() {
        // As Kubernetes' `omitempty`: kubectl prints absent counts as 0.
        status.retain(|_, value| value != &json!(0));
        if let Some(collisions) = deployment.pointer("/status/collisionCount") {
            status.insert("collisionCount".to_owned(), collisions.clone());
        }
    }
    if deployment.get("status") != Some(&status) {
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name(deployment), "namespace": namespace(deployment), "uid": deployment["metadata"]["uid"]},
            "status": status,
        });
        registry.update_status(object, &writer("deployment-controller"))?;
    }
    Ok(Done { complete, again })
}

fn available(deployment: &Value, counts: &Counts) -> Value {
    let wish = rollout::replicas(deployment);
    let (_, unavailable) = if rollout::is_recreate(deployment) { (0, 0) } else { rollout::bounds(deployment, wish) };
    let (status, reason, message) = if counts.available >= wish - unavailable {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let now = now_text();
    let before = condition(deployment, "Available").filter(|before| before["status"] == status && before["reason"] == reason);
    let updated = before.map_or_else(|| json!(now), |before| before["lastUpdateTime"].clone());
    json!({"type": "Available", "status": status, "reason": reason, "message": message, "lastTransitionTime": now, "lastUpdateTime": updated})
}

/// `Progressing`: complete, progressed since the last look, or past the deadline.
fn progressing(deployment: &Value, new: Option<&Object>, counts: &Counts, complete: bool, again: &mut Option<u64>) -> Option<Value> {
    let deadline = number(deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
    let before = condition(deployment, "Progressing");
    let set = new.map_or("", |set| name(set));
    let now = Timestamp::now();
    let make = |status: &str, reason: &str, message: String, keep: Option<&Value>| {
        let updated = keep.map_or_else(|| json!(now_text()), |before| before["lastUpdateTime"].clone());
        json!({"type": "Progressing", "status": status, "reason": reason, "message": message, "lastTransitionTime": now_text(), "lastUpdateTime": updated})
    };
    // A pause is neither progress nor its lack; the clock starts again when it ends.
    let paused = deployment["spec"]["paused"] == true;
    let was_paused = before.is_some_and(|before| before["reason"] == "DeploymentPaused");
    let timed_out = before.is_some_and(|before| before["reason"] == "ProgressDeadlineExceeded");
    if paused && !was_paused && !timed_out {
        return Some(make("Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), None));
    }
    if paused {
        return None;
    }
    if was_paused && !complete {
        *again = u64::try_from(deadline + 1).ok();
        return Some(make("Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), None));
    }
    if complete && new.is_some() {
        let reason = "NewReplicaSetAvailable";
        let keep = before.filter(|before| before["reason"] == reason && text(before, "/message").contains(&format!("\"{set}\"")));
        return Some(make("True", reason, format!("ReplicaSet \"{set}\" has successfully progressed."), keep));
    }
    let was = |pointer: &str| number(deployment, pointer).unwrap_or(0);
    let moved = counts.updated > was("/status/updatedReplicas")
        || counts.replicas - counts.updated < was("/status/replicas") - was("/status/updatedReplicas")
        || counts.ready > was("/status/readyReplicas")
        || counts.available > was("/status/availableReplicas")
        || before.is_none()
        || before.is_some_and(|before| new.is_some() && !text(before, "/message").contains(&format!("\"{set}\"")));
    if moved {
        *again = u64::try_from(deadline + 1).ok();
        return Some(make("True", "ReplicaSetUpdated", format!("ReplicaSet \"{set}\" is progressing."), None));
    }
    let before = before?;
    if matches!(text(before, "/reason"), "NewReplicaSetAvailable" | "ProgressDeadlineExceeded") {
        return None;
    }
    let since = parse_time(&before["lastUpdateTime"]).map_or(0, |updated| now.as_second() - updated.as_second());
    if since > deadline {
        return Some(make("False", "ProgressDeadlineExceeded", format!("ReplicaSet \"{set}\" has timed out progressing."), None));
    }
    *again = u64::try_from(deadline - since + 1).ok();
    None
}

/// Pods that could not even be created are told at the Deployment too.
fn replica_failure(conditions: &mut Vec<Value>, new: Option<&Object>, old: &[Object]) {
    let failure = new.into_iter().chain(old).find_map(|set| condition(set, "ReplicaFailure"));
    match failure {
        Some(failure) => {
            let mut failure = failure.clone();
            failure["lastUpdateTime"] = failure["lastTransitionTime"].clone();
            set_condition(conditions, failure);
        }
        None => conditions.retain(|condition| condition["type"] != "ReplicaFailure"),
    }
}
