//! The scheduler: gives each pod without a node the best node that may have it, or says why there is none.
//!
//! Filters are node readiness, `unschedulable`, taints, `nodeSelector` and required node affinity; the score spreads pods of one owner. Resource requests
//! do not count: the pods of a cluster are processes that share one machine, whatever their manifests ask for.

mod filter;

use std::cmp::Reverse;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::controllers::driver::{Again, Key, Source, drive};
use crate::controllers::fields::{condition, is_deleting, is_finished, name, namespace, now_text, set_condition, text};
use crate::controllers::writer;
use crate::error::ApiError;
use crate::kinds::{NODE, POD};
use crate::registry::{EventKind, Object, Registry, Selector};

/// Schedules pods until shutdown.
pub async fn run(registry: Registry, shutdown: CancellationToken) {
    let waiting = |registry: Registry| {
        move || -> Vec<Key> {
            let pods = registry.list(&POD, None, &Selector::default()).0;
            pods.iter().filter(|pod| is_waiting(pod)).map(Key::of).collect()
        }
    };
    let (of_nodes, of_pods) = (waiting(registry.clone()), waiting(registry.clone()));
    let pods = Source::new(&POD, move |event| match event.kind {
        EventKind::Deleted => of_pods(),
        _ if is_waiting(&event.object) => vec![Key::of(&event.object)],
        // Its place may be what another one waits for.
        _ if is_finished(&event.object) => of_pods(),
        _ => Vec::new(),
    });
    // A node that came or changed may take what waits.
    let nodes = Source::new(&NODE, move |_| of_nodes());
    let scheduler = Scheduler { registry: registry.clone() };
    drive("scheduler", registry, vec![pods, nodes], move |key| scheduler.schedule(key), shutdown).await;
}

fn is_waiting(pod: &Value) -> bool {
    text(pod, "/spec/nodeName").is_empty() && !is_deleting(pod) && !is_finished(pod)
}

struct Scheduler {
    registry: Registry,
}

impl Scheduler {
    fn schedule(&self, key: &Key) -> Result<Again, ApiError> {
        let Ok(pod) = self.registry.get(&POD, &key.namespace, &key.name) else { return Ok(None) };
        if !is_waiting(&pod) {
            return Ok(None);
        }
        let nodes = self.registry.list(&NODE, None, &Selector::default()).0;
        let pods = self.registry.list(&POD, None, &Selector::default()).0;
        let on = |node: &str| pods.iter().filter(|other| text(other, "/spec/nodeName") == node && !is_finished(other)).count();
        match filter::feasible(&pod, &nodes, on) {
            Ok(feasible) => self.bind(&pod, choose(&pod, &feasible, &pods)),
            Err(message) => self.refuse(&pod, &message),
        }
        .map(|()| None)
    }

    fn bind(&self, pod: &Object, node: &str) -> Result<(), ApiError> {
        self.registry.modify(&POD, namespace(pod), name(pod), &writer("kube-scheduler"), |current| {
            if current["metadata"]["uid"] != pod["metadata"]["uid"] || !is_waiting(current) {
                return Ok(());
            }
            current["spec"]["nodeName"] = json!(node);
            scheduled(current, json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now_text()}));
            Ok(())
        })?;
        let message = format!("Successfully assigned {}/{} to {node}", namespace(pod), name(pod));
        self.registry.event(pod, "Normal", "Scheduled", &message, "default-scheduler");
        Ok(())
    }

    fn refuse(&self, pod: &Object, message: &str) -> Result<(), ApiError> {
        let known = condition(pod, "PodScheduled").is_some_and(|known| known["status"] == "False" && known["message"] == message);
        if known {
            return Ok(());
        }
        self.registry.modify(&POD, namespace(pod), name(pod), &writer("kube-scheduler"), |current| {
            if is_waiting(current) {
                scheduled(
                    current,
                    json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastProbeTime": null, "lastTransitionTime": now_text()}),
                );
            }
            Ok(())
        })?;
        self.registry.event(pod, "Warning", "FailedScheduling", message, "default-scheduler");
        Ok(())
    }
}

/// The node with the fewest pods of the same owner, then the fewest pods, then by name.
fn choose<'a>(pod: &Value, nodes: &[&'a Object], pods: &[Object]) -> &'a str {
    let owner = pod.pointer("/metadata/ownerReferences/0/uid");
    let load = |node: &str| {
        let mine = pods.iter().filter(|other| text(other, "/spec/nodeName") == node && !is_finished(other));
        let (mut siblings, mut all) = (0_usize, 0_usize);
        for other in mine {
            all += 1;
            siblings += usize::from(owner.is_some() && other.pointer("/metadata/ownerReferences/0/uid") == owner);
        }
        (siblings, all)
    };
    let best = nodes.iter().max_by_key(|node| (Reverse(load(name(node))), Reverse(name(node).to_owned())));
    best.map_or("", |node| name(node))
}

fn scheduled(pod: &mut Value, condition: Value) {
    if pod["status"]["phase"].is_null() {
        pod["status"]["phase"] = json!("Pending");
    }
    let mut conditions = pod.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    set_condition(&mut conditions, condition);
    pod["status"]["conditions"] = Value::Array(conditions);
}
