//! Which nodes may have a pod, and in Kubernetes' words why the others may not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::controllers::fields::{condition, expression_matches, is_deleting, items, labels, name};
use crate::registry::Object;

/// The nodes that may have the pod, or the message of the `FailedScheduling` event.
pub(super) fn feasible<'a>(pod: &Value, nodes: &'a [Object], running: impl Fn(&str) -> usize) -> Result<Vec<&'a Object>, String> {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut fit = Vec::new();
    for node in nodes {
        match refusal(pod, node).or_else(|| is_full(node, &running).then(|| "Too many pods".to_owned())) {
            Some(reason) => *reasons.entry(reason).or_default() += 1,
            None => fit.push(node),
        }
    }
    if !fit.is_empty() {
        return Ok(fit);
    }
    let total = nodes.len();
    if total == 0 {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let listed: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    Err(format!(
        "0/{total} nodes are available: {}. preemption: 0/{total} nodes are available: {total} Preemption is not helpful for scheduling.",
        listed.join(", ")
    ))
}

/// Has the node all the pods that it says it can take?
fn is_full(node: &Value, running: impl Fn(&str) -> usize) -> bool {
    let most = node.pointer("/status/allocatable/pods").and_then(|most| most.as_str()?.parse::<usize>().ok());
    most.is_some_and(|most| running(name(node)) >= most)
}

/// Why this node may not have the pod.
fn refusal(pod: &Value, node: &Value) -> Option<String> {
    if is_deleting(node)
        || (node["spec"]["unschedulable"] == true
            && !tolerates(pod, &json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})))
    {
        return Some("node(s) were unschedulable".to_owned());
    }
    if condition(node, "Ready").is_none_or(|ready| ready["status"] != "True") {
        return Some("node(s) had untolerated taint {node.kubernetes.io/not-ready: }".to_owned());
    }
    let taint = items(node, "/spec/taints").iter().find(|taint| taint["effect"] != "PreferNoSchedule" && !tolerates(pod, taint));
    if let Some(taint) = taint {
        let (key, value) = (taint["key"].as_str().unwrap_or_default(), taint["value"].as_str().unwrap_or_default());
        return Some(format!("node(s) had untolerated taint {{{key}: {value}}}"));
    }
    (!selected(pod, node)).then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

fn tolerates(pod: &Value, taint: &Value) -> bool {
    items(pod, "/spec/tolerations").iter().any(|toleration| {
        let key = toleration["key"].as_str().unwrap_or_default();
        let effect = toleration["effect"].as_str().unwrap_or_default();
        let exists = toleration["operator"] == "Exists";
        let key_matches = if key.is_empty() { exists } else { taint["key"] == key };
        let value_matches = exists || toleration["value"].as_str().unwrap_or_default() == taint["value"].as_str().unwrap_or_default();
        key_matches && value_matches && (effect.is_empty() || taint["effect"] == effect)
    })
}

/// `nodeSelector` and `requiredDuringSchedulingIgnoredDuringExecution`: one of the terms must hold with all its expressions.
fn selected(pod: &Value, node: &Value) -> bool {
    let labels = labels(node);
    let selector = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    if selector.is_some_and(|selector| selector.iter().any(|(key, value)| labels.get(key) != Some(value))) {
        return false;
    }
    let Some(required) =
        pod.pointer("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution").filter(|required| !required.is_null())
    else {
        return true;
    };
    let mut fields = serde_json::Map::new();
    fields.insert("metadata.name".to_owned(), json!(name(node)));
    items(required, "/nodeSelectorTerms").iter().any(|term| {
        let (expressions, field_expressions) = (items(term, "/matchExpressions"), items(term, "/matchFields"));
        // A term without any expression matches no node.
        !(expressions.is_empty() && field_expressions.is_empty())
            && expressions.iter().all(|expression| expression_matches(expression, &labels))
            && field_expressions.iter().all(|expression| expression_matches(expression, &fields))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(_: &str) -> usize {
        0
    }
    use std::sync::Arc;

    fn node(name: &str, cluster: &str) -> Object {
        Arc::new(json!({
            "metadata": {"name": name, "labels": {"cluster-name": cluster}},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }))
    }

    fn pod_for(operator: &str, values: &[&str]) -> Value {
        json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "cluster-name", "operator": operator, "values": values}]}]}}}}})
    }

    #[test]
    fn required_affinity_keeps_only_matching_nodes() {
        let nodes = [node("a", "ctx1"), node("b", "ctx2")];
        let fit = feasible(&pod_for("In", &["ctx1"]), &nodes, empty).unwrap();
        assert_eq!(fit.iter().map(|node| name(node)).collect::<Vec<_>>(), ["a"]);
        let fit = feasible(&pod_for("NotIn", &["ctx1"]), &nodes, empty).unwrap();
        assert_eq!(fit.iter().map(|node| name(node)).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_refusal_counts_nodes_by_reason_as_kubernetes_words_it() {
        let mut cordoned = (*node("c", "ctx1")).clone();
        cordoned["spec"]["unschedulable"] = json!(true);
        let nodes = [node("b", "ctx2"), Arc::new(cordoned)];
        assert_eq!(
            feasible(&pod_for("In", &["ctx1"]), &nodes, empty).unwrap_err(),
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable. \
             preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        );
        assert_eq!(feasible(&pod_for("In", &["ctx1"]), &[], empty).unwrap_err(), "no nodes available to schedule pods");
    }

    #[test]
    fn a_node_selector_must_match_every_label() {
        let nodes = [node("a", "ctx1")];
        assert!(feasible(&json!({"spec": {"nodeSelector": {"cluster-name": "ctx1"}}}), &nodes, empty).is_ok());
        assert!(feasible(&json!({"spec": {"nodeSelector": {"cluster-name": "ctx1", "disk": "ssd"}}}), &nodes, empty).is_err());
    }

    #[test]
    fn a_taint_needs_a_toleration() {
        let mut tainted = (*node("a", "ctx1")).clone();
        tainted["spec"]["taints"] = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
        let nodes = [Arc::new(tainted)];
        assert!(feasible(&json!({"spec": {}}), &nodes, empty).unwrap_err().contains("node(s) had untolerated taint {gpu: yes}"));
        let tolerant = json!({"spec": {"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]}});
        assert!(feasible(&tolerant, &nodes, empty).is_ok());
    }

    #[test]
    fn a_full_node_takes_no_more() {
        let node = json!({
            "metadata": { "name": "n" },
            "status": { "allocatable": { "pods": "2" }, "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let nodes = [std::sync::Arc::new(node)];
        let pod = json!({"spec": {}});
        assert!(feasible(&pod, &nodes, |_| 1).is_ok());
        assert!(feasible(&pod, &nodes, |_| 2).unwrap_err().starts_with("0/1 nodes are available: 1 Too many pods."));
    }
}
