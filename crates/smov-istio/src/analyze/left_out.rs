//! What of an input was not looked at, and what could not be judged.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Known;
use super::report::{NotConsidered, Unjudged};
use super::templates::word;
use crate::world::{MeshConfig, WatchedKind};

/// Kinds that would change the answer and were not looked at.
pub(super) fn not_considered(objects: &[&Value]) -> Vec<NotConsidered> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for object in objects {
        let group = word(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
        let kind = word(object, "/kind");
        let steers = group.ends_with(".istio.io") && WatchedKind::of(object).is_none()
            || group == "gateway.networking.k8s.io"
            || (group == "networking.k8s.io" && matches!(kind, "Ingress" | "NetworkPolicy"))
            || is_mesh_config(object);
        if steers {
            let kind = if is_mesh_config(object) { "ConfigMap (MeshConfig)" } else { kind };
            *counts.entry((group.to_owned(), kind.to_owned())).or_default() += 1;
        }
    }
    counts.into_iter().map(|((group, kind), count)| NotConsidered { kind, group, count }).collect()
}

/// MeshConfig of another revision or root namespace than the one that is read.
fn is_mesh_config(object: &Value) -> bool {
    let root = MeshConfig::default().root_namespace;
    let is_read = word(object, "/metadata/name") == "istio" && word(object, "/metadata/namespace") == root.as_str();
    word(object, "/kind") == "ConfigMap" && object.pointer("/data/mesh").is_some_and(Value::is_string) && !is_read
}

pub(super) fn unjudged(objects: &[&Value], known: Known) -> Vec<Unjudged> {
    let has = |kind: &str| objects.iter().any(|object| word(object, "/kind") == kind);
    let list = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let rules = || objects.iter().filter(|object| word(object, "/kind") == "VirtualService");
    let names_gateway = || rules().flat_map(|rule| list(rule, "/spec/gateways")).any(|name| name != "mesh");
    let subsets = objects.iter().any(|object| !list(object, "/spec/subsets").is_empty());
    let names_subset = || rules().any(|rule| rule.to_string().contains("\"subset\":"));
    let gateways = objects.iter().any(|object| is_gateway(object));
    let mut found = Vec::new();
    found.extend((!known.services && (has("VirtualService") || has("DestinationRule"))).then_some(Unjudged::Services));
    found.extend((!known.pods && subsets).then_some(Unjudged::Pods));
    found.extend((!known.gateways && names_gateway()).then_some(Unjudged::Gateways));
    found.extend((!known.gateway_pods && gateways).then_some(Unjudged::GatewayPods));
    found.extend((!known.subsets && names_subset()).then_some(Unjudged::Subsets));
    found
}

/// Istio's Gateway, not the Gateway API's.
pub(super) fn is_gateway(object: &Value) -> bool {
    word(object, "/kind") == "Gateway" && word(object, "/apiVersion").starts_with("networking.istio.io/")
}
