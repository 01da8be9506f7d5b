//! PodDisruptionBudget: how many of the selected pods are healthy, how many must be, and how many may go now. The eviction API spends what is allowed.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{
    controller, is_deleting, is_finished, is_ready, items, label_selector_matches, labels, name, namespace, now_text, parse_time,
    set_condition, text, uid,
};
use super::rollout::replicas;
use super::writer;
use crate::error::ApiError;
use crate::kinds::{POD, POD_DISRUPTION_BUDGET, REPLICA_SET};
use crate::registry::{Object, Registry, Selector};

/// How long an eviction that was allowed, but after which the pod is still there, counts against the budget.
const EVICTION_COUNTS_FOR: i64 = 120;

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let sources = vec![Source::itself(&POD_DISRUPTION_BUDGET), pods(&registry)];
    let reconciler = Disruption { registry: registry.clone() };
    drive("disruption", registry, sources, move |key| reconciler.reconcile(key), shutdown).await;
}

fn pods(registry: &Registry) -> Source {
    let registry = registry.clone();
    Source::new(&POD, move |event| {
        let pod = &event.object;
        let budgets = registry.list(&POD_DISRUPTION_BUDGET, Some(namespace(pod)), &Selector::default()).0;
        budgets.iter().filter(|budget| selects(budget, pod)).map(Key::of).collect()
    })
}

fn selects(budget: &Value, pod: &Value) -> bool {
    label_selector_matches(&budget["spec"]["selector"], &labels(pod))
}

struct Disruption {
    registry: Registry,
}

impl Disruption {
    fn reconcile(&self, key: &Key) -> Result<Again, ApiError> {
        let Ok(budget) = self.registry.get(&POD_DISRUPTION_BUDGET, &key.namespace, &key.name) else { return Ok(None) };
        if is_deleting(&budget) {
            return Ok(None);
        }
        let pods: Vec<Object> = self.registry.list(&POD, Some(&key.namespace), &Selector::default()).0;
        let pods: Vec<&Object> = pods.iter().filter(|pod| selects(&budget, pod) && !is_finished(pod)).collect();
        let (disrupted, again) = still_disrupted(&budget, &pods, Timestamp::now());
        let healthy = pods.iter().filter(|pod| is_ready(pod) && !is_deleting(pod) && !disrupted.contains_key(name(pod))).count();
        let healthy = i64::try_from(healthy).unwrap_or(i64::MAX);
        let (expected, desired) = wanted(&budget, self.expected(&pods));
        let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
        self.write(
            &budget,
            &[("currentHealthy", healthy), ("desiredHealthy", desired), ("expectedPods", expected), ("disruptionsAllowed", allowed)],
            disrupted,
        )?;
        Ok(again)
    }

    /// How many pods there should be: the sum over the sets that control them, as Kubernetes counts for percentages and `maxUnavailable`.
    fn expected(&self, pods: &[&Object]) -> i64 {
        let mut owners: Vec<&str> = Vec::new();
        let mut total = 0;
        for pod in pods {
            let owner = controller(pod, "ReplicaSet").map(|owner| text(owner, "/name"));
            match owner {
                Some(owner) if owners.contains(&owner) => {}
                Some(owner) => {
                    owners.push(owner);
                    total += self.registry.find(&REPLICA_SET, namespace(pod), owner).map_or(0, |set| replicas(&set));
                }
                None => total += 1,
            }
        }
        total
    }

    fn write(&self, budget: &Object, counts: &[(&str, i64); 4], disrupted: Map<String, Value>) -> Result<(), ApiError> {
        let allowed = counts[3].1;
        let mut conditions = items(budget, "/status/conditions").to_vec();
        let (status, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        set_condition(
            &mut conditions,
            json!({
                "type": "DisruptionAllowed", "status": status, "reason": reason, "message": "",
                "lastTransitionTime": now_text(), "observedGeneration": budget["metadata"]["generation"],
            }),
        );
        let mut fresh = json!({"observedGeneration": budget["metadata"]["generation"], "conditions": conditions});
        for (field, count) in counts {
            fresh[*field] = json!(count);
        }
        if !disrupted.is_empty() {
            fresh["disruptedPods"] = Value::Object(disrupted);
        }
        if budget.get("status") == Some(&fresh) {
            return Ok(());
        }
        let object = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            // An eviction in between must not be forgotten: with the version, this write is refused and computed again.
            "metadata": {"name": name(budget), "namespace": namespace(budget), "uid": uid(budget),
                "resourceVersion": budget["metadata"]["resourceVersion"]},
            "status": fresh,
        });
        self.registry.update_status(object, &writer("disruption-controller")).map(drop)
    }
}

/// How many pods are expected, and how many of them must stay healthy.
fn wanted(budget: &Value, expected: i64) -> (i64, i64) {
    let spec = &budget["spec"];
    if let Some(unavailable) = spec.get("maxUnavailable").filter(|value| !value.is_null()) {
        return (expected, (expected - amount(unavailable, expected)).max(0));
    }
    (expected, amount(&spec["minAvailable"], expected))
}

/// A number, or a percentage of the expected pods, rounded up.
fn amount(value: &Value, expected: i64) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|text| text.parse::<i64>().ok());
    percent.map_or_else(|| value.as_i64().unwrap_or(0), |percent| (percent * expected + 99) / 100)
}

/// Evictions that were allowed and whose pods are still on their way out.
fn still_disrupted(budget: &Value, pods: &[&Object], now: Timestamp) -> (Map<String, Value>, Again) {
    let mut left = Map::new();
    let mut soonest: Option<i64> = None;
    for (pod, since) in budget.pointer("/status/disruptedPods").and_then(Value::as_object).into_iter().flatten() {
        let present = pods.iter().any(|present| name(present) == pod && !is_deleting(present));
        let remaining = parse_time(since).map_or(0, |since| since.as_second() + EVICTION_COUNTS_FOR - now.as_second());
        if present && remaining > 0 {
            left.insert(pod.clone(), since.clone());
            soonest = Some(soonest.map_or(remaining, |soonest| soonest.min(remaining)));
        }
    }
    (left, soonest.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_numbers_or_percentages_rounded_up() {
        let of = |spec: Value| wanted(&json!({"spec": spec}), 7);
        assert_eq!(of(json!({"minAvailable": 2})), (7, 2));
        assert_eq!(of(json!({"minAvailable": "50%"})), (7, 4));
        assert_eq!(of(json!({"maxUnavailable": 1})), (7, 6));
        assert_eq!(of(json!({"maxUnavailable": "30%"})), (7, 4));
    }

    #[test]
    fn an_eviction_counts_until_its_pod_is_on_its_way_out_or_two_minutes_have_passed() {
        let now: Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        let pod = |name: &str, deleting: bool| {
            let mut pod = json!({"metadata": {"name": name}});
            if deleting {
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:01:00Z");
            }
            Object::new(pod)
        };
        let pods = [pod("stays", false), pod("goes", true), pod("old", false)];
        let budget = json!({"status": {"disruptedPods": {
            "stays": "2026-01-01T00:01:00Z", "goes": "2026-01-01T00:01:00Z", "old": "2026-01-01T00:00:00Z", "gone": "2026-01-01T00:01:00Z"}}});
        let (left, again) = still_disrupted(&budget, &pods.iter().collect::<Vec<_>>(), now);
        assert_eq!(left.keys().collect::<Vec<_>>(), ["stays"]);
        assert_eq!(again, Some(Duration::from_secs(60)));
    }
}
