//! `metrics.k8s.io`: what `kubectl top` shows, measured when it is asked for. Nothing is stored.

use std::collections::BTreeMap;

use axum::{
    http::{Method, StatusCode},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    Api, Call,
    kubelet::{Measured, Usage},
    negotiate,
};
use crate::{
    controllers::fields::{name, namespace, time_text},
    error::ApiError,
    kinds::{NODE, POD},
    registry::{Object, Selector},
};

/// Group and version.
pub(super) const GROUP: &str = "metrics.k8s.io";
pub(super) const VERSION: &str = "v1beta1";

/// What it serves: plural, kind, in namespaces?
pub(super) const KINDS: [(&str, &str, bool); 2] = [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// What a path below the group names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All nodes, or one.
    Nodes(Option<String>),
    /// Pods of all namespaces or of one; there, one pod.
    Pods { namespace: Option<String>, name: Option<String> },
}

impl Asked {
    pub(super) fn parse(rest: &[&str]) -> Option<Self> {
        let owned = |text: &str| Some(text.to_owned());
        Some(match rest {
            ["nodes"] => Self::Nodes(None),
            ["nodes", name] => Self::Nodes(owned(name)),
            ["pods"] => Self::Pods { namespace: None, name: None },
            ["namespaces", namespace, "pods"] => Self::Pods { namespace: owned(namespace), name: None },
            ["namespaces", namespace, "pods", name] => Self::Pods { namespace: owned(namespace), name: owned(name) },
            _ => return None,
        })
    }
}

pub(super) async fn handle(api: &Api, call: &Call, asked: &Asked) -> Result<Response, ApiError> {
    if call.method != Method::GET {
        return Err(ApiError::method_not_allowed());
    }
    let measured = api.pods()?.measure().await;
    let answer = match asked {
        Asked::Pods { namespace, name } => {
            let selector = call.query.selector(&POD)?;
            let pods = api.registry().list(&POD, namespace.as_deref(), &selector).0;
            one_or_all(&POD, "PodMetricsList", name.as_deref(), pods.iter().filter_map(|pod| of_pod(pod, &measured)).collect())?
        }
        Asked::Nodes(name) => {
            let selector = call.query.selector(&NODE)?;
            let nodes = api.registry().list(&NODE, None, &selector).0;
            let pods = api.registry().list(&POD, None, &Selector::default()).0;
            let all = nodes.iter().map(|node| of_node(node, &pods, &measured)).collect();
            one_or_all(&NODE, "NodeMetricsList", name.as_deref(), all)?
        }
    };
    negotiate::json(StatusCode::OK, &answer)
}

fn one_or_all(kind: &'static crate::kinds::Kind, list: &str, wanted: Option<&str>, all: Vec<Value>) -> Result<Value, ApiError> {
    match wanted {
        Some(wanted) => all.into_iter().find(|item| name(item) == wanted).ok_or_else(|| {
            let mut missing = ApiError::not_found(kind, wanted);
            missing.message = format!("{}.{GROUP} \"{wanted}\" not found", kind.plural);
            missing
        }),
        None => Ok(json!({"kind": list, "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": {}, "items": all})),
    }
}

/// None where nothing of the pod runs, as a real metrics server has no figures of it.
fn of_pod(pod: &Object, measured: &Measured) -> Option<Value> {
    let mine = measured.usage.iter().filter(|usage| usage.pod == name(pod) && usage.namespace == namespace(pod));
    let containers: Vec<Value> = mine.map(|usage| json!({"name": usage.container, "usage": amounts([usage])})).collect();
    if containers.is_empty() {
        return None;
    }
    let mut metrics = about("PodMetrics", pod, measured);
    metrics["metadata"]["namespace"] = json!(namespace(pod));
    metrics["containers"] = Value::Array(containers);
    Some(metrics)
}

/// A node uses what its pods use: the machine below is shared by both clusters and by everything else on it.
fn of_node(node: &Object, pods: &[Object], measured: &Measured) -> Value {
    let of: BTreeMap<(&str, &str), &str> =
        pods.iter().map(|pod| ((namespace(pod), name(pod)), pod["spec"]["nodeName"].as_str().unwrap_or_default())).collect();
    let mine = measured.usage.iter().filter(|usage| of.get(&(usage.namespace.as_str(), usage.pod.as_str())) == Some(&name(node)));
    let mut metrics = about("NodeMetrics", node, measured);
    metrics["usage"] = amounts(mine);
    metrics
}

fn about(kind: &str, object: &Object, measured: &Measured) -> Value {
    json!({
        "kind": kind,
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {"name": name(object), "labels": object["metadata"]["labels"], "creationTimestamp": time_text(measured.at)},
        "timestamp": time_text(measured.at),
        "window": format!("{:.3}s", measured.window),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares of a processor, never negative")]
fn amounts<'a>(usage: impl IntoIterator<Item = &'a Usage>) -> Value {
    let (mut processors, mut memory) = (0.0, 0);
    for one in usage {
        processors += one.processors;
        memory += one.memory;
    }
    json!({"cpu": format!("{}n", (processors * 1e9).round() as u64), "memory": format!("{}Ki", memory / 1024)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let usage = |pod: &str, container: &str, processors: f64| Usage {
            namespace: "n".to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            processors,
            memory: 2048,
        };
        Measured {
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            window: 0.5,
            usage: vec![usage("p", "app", 0.25), usage("p", "istio-proxy", 0.5), usage("q", "app", 1.0)],
        }
    }

    fn pod(name: &str, node: &str) -> Object {
        Object::new(json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"nodeName": node}}))
    }

    #[test]
    fn a_pod_tells_its_containers_and_a_node_the_sum_of_its_pods() {
        let pods = [pod("p", "node-1"), pod("q", "node-2"), pod("idle", "node-1")];
        let of_p = of_pod(&pods[0], &measured()).unwrap();
        assert_eq!(of_p["containers"][0], json!({"name": "app", "usage": {"cpu": "250000000n", "memory": "2Ki"}}));
        assert_eq!(of_p["window"], "0.500s");
        assert!(of_pod(&pods[2], &measured()).is_none());
        let node = Object::new(json!({"metadata": {"name": "node-1"}}));
        assert_eq!(of_node(&node, &pods, &measured())["usage"], json!({"cpu": "750000000n", "memory": "4Ki"}));
    }

    #[test]
    fn paths_name_pods_and_nodes() {
        assert_eq!(Asked::parse(&["nodes"]), Some(Asked::Nodes(None)));
        let pods = Asked::parse(&["namespaces", "n", "pods", "p"]);
        assert_eq!(pods, Some(Asked::Pods { namespace: Some("n".to_owned()), name: Some("p".to_owned()) }));
        assert_eq!(Asked::parse(&["namespaces", "n", "nodes"]), None);
    }
}
