//! ReplicaSet → Pods: as many as wished for, surplus deleted in Kubernetes' order, status counted from what is there.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{
    annotation, condition, controller_reference, has_controller, is_available, is_controlled_by, is_deleting, is_finished, is_ready, items,
    label_selector_matches, labels, name, namespace, now_text, number, parse_time, random_suffix, set_condition, text, uid,
};
use super::rollout::replicas;
use super::writer;
use crate::error::ApiError;
use crate::kinds::{POD, REPLICA_SET};
use crate::registry::{DeleteOptions, Object, Registry, Selector};

/// Annotation by which a user says which pods to take first when scaling down; lower goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Pods that are created at once, at most.
const MAX_BURST: usize = 500;
/// Longest name before the five letters that are added, as in Kubernetes.
const MAX_BASE_NAME: usize = 58;

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let sources = vec![Source::itself(&REPLICA_SET), Source::owned_by(&POD, "ReplicaSet"), orphans(&registry)];
    let reconciler = ReplicaSets { registry: registry.clone() };
    drive("replicaset", registry, sources, move |key| reconciler.reconcile(key), shutdown).await;
}

/// A pod that nobody controls may be adopted by any set of its namespace that selects it.
fn orphans(registry: &Registry) -> Source {
    let registry = registry.clone();
    Source::new(&POD, move |event| {
        let pod = &event.object;
        if has_controller(pod) || is_deleting(pod) {
            return Vec::new();
        }
        let sets = registry.list(&REPLICA_SET, Some(namespace(pod)), &Selector::default()).0;
        sets.iter().filter(|set| selects(set, pod)).map(Key::of).collect()
    })
}

fn selects(set: &Value, pod: &Value) -> bool {
    label_selector_matches(&set["spec"]["selector"], &labels(pod))
}

/// Makes the set the controller of a pod that was seen without one, unless it has changed in that meanwhile.
fn adopt(set: &Value, seen: &Value, now: &mut Value) -> Result<(), ApiError> {
    if uid(now) != uid(seen) || has_controller(now) || is_deleting(now) || !selects(set, now) {
        return Err(ApiError::stale(&POD, name(now)));
    }
    let reference = controller_reference(set);
    match now["metadata"]["ownerReferences"].as_array_mut() {
        Some(owners) => owners.push(reference),
        None => now["metadata"]["ownerReferences"] = json!([reference]),
    }
    Ok(())
}

struct ReplicaSets {
    registry: Registry,
}

impl ReplicaSets {
    fn reconcile(&self, key: &Key) -> Result<Again, ApiError> {
        let Ok(set) = self.registry.get(&REPLICA_SET, &key.namespace, &key.name) else { return Ok(None) };
        if is_deleting(&set) {
            return Ok(None);
        }
        let mut pods = self.find_pods(&set)?;
        let failure = self.scale(&set, &mut pods);
        let again = self.write_status(&set, &pods, failure.as_ref().err())?;
        failure.map(|()| again)
    }

    /// Pods of this set that have not ended and are not being deleted; matching orphans are adopted.
    fn find_pods(&self, set: &Object) -> Result<Vec<Object>, ApiError> {
        let mut pods = Vec::new();
        for pod in self.registry.list(&POD, Some(namespace(set)), &Selector::default()).0 {
            if is_deleting(&pod) || is_finished(&pod) {
                continue;
            }
            if is_controlled_by(&pod, set) {
                pods.push(pod);
            } else if !has_controller(&pod) && selects(set, &pod) {
                let options = writer("replicaset-controller");
                match self.registry.modify(&POD, namespace(&pod), name(&pod), &options, |now| adopt(set, &pod, now)) {
                    Ok(adopted) => pods.push(adopted.object),
                    // Its next event says whose it is.
                    Err(error) if matches!(error.reason, "Conflict" | "NotFound") => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(pods)
    }

    fn scale(&self, set: &Object, pods: &mut Vec<Object>) -> Result<(), ApiError> {
        let wish = usize::try_from(replicas(set)).unwrap_or(0);
        // In portions, as Kubernetes creates them: what is asked for may have changed meanwhile. The set's next event goes on.
        let portion = wish.min(pods.len() + MAX_BURST);
        while pods.len() < portion {
            pods.push(self.create_pod(set)?);
        }
        if pods.len() > wish {
            pods.sort_by_key(|pod| rank(pod));
            for pod in pods.drain(..pods.len() - wish).collect::<Vec<_>>() {
                match self.registry.delete(&POD, namespace(&pod), name(&pod), &DeleteOptions::default()) {
                    Ok(_) => self.event(set, "Normal", "SuccessfulDelete", &format!("Deleted pod: {}", name(&pod))),
                    Err(error) if error.reason == "NotFound" => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn create_pod(&self, set: &Object) -> Result<Object, ApiError> {
        let base: String = name(set).chars().take(MAX_BASE_NAME - 1).collect();
        loop {
            match self.registry.create(new_pod(set, &format!("{base}-{}", random_suffix(5))), &writer("replicaset-controller")) {
                Ok(written) => {
                    self.event(set, "Normal", "SuccessfulCreate", &format!("Created pod: {}", name(&written.object)));
                    return Ok(written.object);
                }
                Err(error) if error.reason == "AlreadyExists" => {}
                Err(error) => {
                    self.event(set, "Warning", "FailedCreate", &format!("Error creating: {}", error.message));
                    return Err(error);
                }
            }
        }
    }

    fn write_status(&self, set: &Object, pods: &[Object], failure: Option<&ApiError>) -> Result<Again, ApiError> {
        let minimum = number(set, "/spec/minReadySeconds").unwrap_or(0);
        let now = Timestamp::now();
        let template = labels(&set["spec"]["template"]);
        let (mut available, mut again) = (0, None::<i64>);
        for pod in pods {
            match is_available(pod, minimum, now) {
                Ok(()) => available += 1,
                Err(Some(seconds)) => again = Some(again.map_or(seconds, |soonest| soonest.min(seconds))),
                Err(None) => {}
            }
        }
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let labelled = pods.iter().filter(|pod| {
            let labels = labels(pod);
            template.iter().all(|(key, value)| labels.get(key) == Some(value))
        });
        let mut status = json!({
            "replicas": pods.len(),
            "fullyLabeledReplicas": labelled.count(),
            "readyReplicas": ready,
            "availableReplicas": available,
            "observedGeneration": set["metadata"]["generation"],
        });
        let mut conditions = items(set, "/status/conditions").to_vec();
        match failure {
            Some(error) => set_condition(
                &mut conditions,
                json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": error.message, "lastTransitionTime": now_text()}),
            ),
            None => conditions.retain(|condition| condition["type"] != "ReplicaFailure"),
        }
        if let Some(status) = status.as_object_mut() {
            status.retain(|key, value| key == "replicas" || value != &json!(0));
            if !conditions.is_empty() {
                status.insert("conditions".to_owned(), Value::Array(conditions));
            }
        }
        if set.get("status") != Some(&status) {
            let object = json!({
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {"name": name(set), "namespace": namespace(set), "uid": set["metadata"]["uid"]},
                "status": status,
            });
            self.registry.update_status(object, &writer("replicaset-controller"))?;
        }
        Ok(again.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs))
    }

    fn event(&self, set: &Value, severity: &str, reason: &str, message: &str) {
        self.registry.event(set, severity, reason, message, "replicaset-controller");
    }
}

fn new_pod(set: &Value, pod_name: &str) -> Value {
    let template = &set["spec"]["template"];
    let mut metadata = json!({
        "name": pod_name,
        "generateName": format!("{}-", name(set)),
        "namespace": namespace(set),
        "labels": template["metadata"]["labels"],
        "ownerReferences": [controller_reference(set)],
    });
    if let Some(annotations) = template.pointer("/metadata/annotations") {
        metadata["annotations"] = annotations.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// Order of deletion, smallest first: unscheduled, not running, not ready, cheap, ready for the shortest time, often restarted, youngest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    scheduled: bool,
    phase: u8,
    ready: bool,
    cost: i64,
    ready_since: Reverse<Option<Timestamp>>,
    restarts: Reverse<i64>,
    created: Reverse<String>,
}

fn rank(pod: &Value) -> Rank {
    let restarts = items(pod, "/status/containerStatuses").iter().filter_map(|status| status["restartCount"].as_i64()).max();
    Rank {
        scheduled: !text(pod, "/spec/nodeName").is_empty(),
        phase: match text(pod, "/status/phase") {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        },
        ready: is_ready(pod),
        cost: annotation(pod, DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0),
        ready_since: Reverse(condition(pod, "Ready").and_then(|ready| parse_time(&ready["lastTransitionTime"]))),
        restarts: Reverse(restarts.unwrap_or(0)),
        created: Reverse(text(pod, "/metadata/creationTimestamp").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, ready: bool, created: &str) -> Value {
        json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        })
    }

    #[test]
    fn surplus_is_taken_from_unscheduled_then_unready_then_youngest() {
        let mut pods = [
            pod("old", "n", true, "2026-01-01T00:00:00Z"),
            pod("young", "n", true, "2026-01-01T00:00:09Z"),
            pod("unready", "n", false, "2026-01-01T00:00:00Z"),
            pod("unscheduled", "", true, "2026-01-01T00:00:00Z"),
        ];
        pods.sort_by_key(rank);
        assert_eq!(pods.each_ref().map(name), ["unscheduled", "unready", "young", "old"]);
    }
    #[test]
    fn a_pod_that_found_a_controller_meanwhile_or_was_replaced_is_not_adopted() {
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "uid": "s"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        let seen = json!({"metadata": {"name": "p", "uid": "1", "labels": {"app": "web"}}});
        let adopted = |change: &dyn Fn(&mut Value)| {
            let mut now = seen.clone();
            change(&mut now);
            adopt(&set, &seen, &mut now).map(|()| items(&now, "/metadata/ownerReferences").len()).map_err(|error| error.reason)
        };
        assert_eq!(adopted(&|_| ()), Ok(1));
        assert_eq!(
            adopted(&|now| now["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet", "controller": true}])),
            Err("Conflict")
        );
        assert_eq!(adopted(&|now| now["metadata"]["uid"] = json!("2")), Err("Conflict"));
        assert_eq!(adopted(&|now| now["metadata"]["labels"]["app"] = json!("other")), Err("Conflict"));
        assert_eq!(adopted(&|now| now["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")), Err("Conflict"));
    }
}
