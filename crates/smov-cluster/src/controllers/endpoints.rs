//! EndpointSlices: which pods of a Service can be called, where, and in which state.
//!
//! Pods whose ports resolve to the same numbers share one slice (`<service>-xxxxx`). Where pods have no address of their own (see
//! [`crate::kubelet::network`]) their ports differ, and each gets a slice. Services without selector keep the slices that somebody wrote by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::driver::{Again, Key, Source, drive};
use super::fields::{
    controller_reference, is_deleting, is_finished, is_ready, items, label, labels, name, namespace, random_suffix, text, uid,
};
use super::writer;
use crate::error::ApiError;
use crate::kinds::{ENDPOINT_SLICE, POD, SERVICE};
use crate::kubelet::network::mapped_port;
use crate::registry::{DeleteOptions, Object, Registry, Selector};

/// Label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let sources = vec![Source::itself(&SERVICE), pods(&registry), slices()];
    let reconciler = Endpoints { registry: registry.clone() };
    drive("endpointslice", registry, sources, move |key| reconciler.reconcile(key), shutdown).await;
}

/// A pod concerns the Services that select it, and those whose slices still name it (its labels may have changed).
fn pods(registry: &Registry) -> Source {
    let registry = registry.clone();
    Source::new(&POD, move |event| {
        let pod = &event.object;
        let services = registry.list(&SERVICE, Some(namespace(pod)), &Selector::default()).0;
        let mut keys: Vec<Key> = services.iter().filter(|service| selects(service, pod)).map(Key::of).collect();
        for slice in registry.list(&ENDPOINT_SLICE, Some(namespace(pod)), &Selector::default()).0 {
            let named = items(&slice, "/endpoints").iter().any(|endpoint| text(endpoint, "/targetRef/uid") == uid(pod));
            if let Some(service) = label(&slice, SERVICE_NAME).filter(|_| named) {
                keys.push(Key::new(namespace(pod), service));
            }
        }
        keys
    })
}

/// A slice of ours that somebody changed or deleted is put right.
fn slices() -> Source {
    Source::new(&ENDPOINT_SLICE, |event| {
        let slice = &event.object;
        let service = label(slice, SERVICE_NAME).filter(|_| is_ours(slice));
        service.map(|service| Key::new(namespace(slice), service)).into_iter().collect()
    })
}

fn is_ours(slice: &Value) -> bool {
    label(slice, MANAGED_BY) == Some(MANAGER)
}

fn selects(service: &Value, pod: &Value) -> bool {
    let labels = labels(pod);
    service
        .pointer("/spec/selector")
        .and_then(Value::as_object)
        .is_some_and(|selector| !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

struct Endpoints {
    registry: Registry,
}

impl Endpoints {
    fn reconcile(&self, key: &Key) -> Result<Again, ApiError> {
        let Ok(service) = self.registry.get(&SERVICE, &key.namespace, &key.name) else { return Ok(None) };
        let has_selector = service.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
        if is_deleting(&service) || !has_selector || text(&service, "/spec/type") == "ExternalName" {
            return Ok(None);
        }
        let mut wanted = self.wanted(&service);
        for slice in self.registry.list(&ENDPOINT_SLICE, Some(&key.namespace), &Selector::default()).0 {
            if label(&slice, SERVICE_NAME) != Some(&key.name) || !is_ours(&slice) || is_deleting(&slice) {
                continue;
            }
            match wanted.iter().position(|(ports, _)| slice.get("ports").and_then(Value::as_array) == Some(ports)) {
                Some(index) => self.update(&slice, &wanted.remove(index).1)?,
                None => {
                    self.registry.delete(&ENDPOINT_SLICE, &key.namespace, name(&slice), &DeleteOptions::default())?;
                }
            }
        }
        for (ports, endpoints) in wanted {
            self.create(&service, &ports, &endpoints)?;
        }
        Ok(None)
    }

    /// Ports and endpoints of each slice that should exist; one empty slice where no pod has an address.
    fn wanted(&self, service: &Value) -> Vec<(Vec<Value>, Vec<Value>)> {
        let mut groups: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
        let unready = service.pointer("/spec/publishNotReadyAddresses").is_some_and(|publish| publish == true);
        let mut pods = self.registry.list(&POD, Some(namespace(service)), &Selector::default()).0;
        pods.sort_by(|one, other| name(one).cmp(name(other)));
        for pod in pods.iter().filter(|pod| selects(service, pod) && !is_finished(pod) && !text(pod, "/status/podIP").is_empty()) {
            let ports = resolve_ports(service, Some(pod));
            let group = groups.entry(Value::Array(ports.clone()).to_string()).or_insert_with(|| (ports, Vec::new()));
            group.1.push(endpoint(pod, unready));
        }
        if groups.is_empty() {
            return vec![(resolve_ports(service, None), Vec::new())];
        }
        groups.into_values().collect()
    }

    fn create(&self, service: &Value, ports: &[Value], endpoints: &[Value]) -> Result<(), ApiError> {
        let mut slice_labels = labels(service);
        slice_labels.insert(SERVICE_NAME.to_owned(), json!(name(service)));
        slice_labels.insert(MANAGED_BY.to_owned(), json!(MANAGER));
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-{}", name(service), random_suffix(5)),
                "generateName": format!("{}-", name(service)),
                "namespace": namespace(service),
                "labels": slice_labels,
                "ownerReferences": [controller_reference(service)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        });
        self.registry.create(slice, &writer("endpointslice-controller")).map(drop)
    }

    fn update(&self, slice: &Object, endpoints: &[Value]) -> Result<(), ApiError> {
        if items(slice, "/endpoints") == endpoints {
            return Ok(());
        }
        self.registry
            .modify(&ENDPOINT_SLICE, namespace(slice), name(slice), &writer("endpointslice-controller"), |slice| {
                slice["endpoints"] = json!(endpoints);
                Ok(())
            })
            .map(drop)
    }
}

/// The Service's ports as numbers at this pod: `targetPort` may be a name. Without a pod only numbers are known.
fn resolve_ports(service: &Value, pod: Option<&Object>) -> Vec<Value> {
    let mut ports = Vec::new();
    for port in items(service, "/spec/ports") {
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        let number = match (target.as_str(), pod) {
            (None, _) => target.as_u64(),
            (Some(wanted), Some(pod)) => wanted.parse().ok().or_else(|| named_port(pod, wanted)),
            (Some(wanted), None) => wanted.parse().ok(),
        };
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
        let number = pod.map_or(number, |pod| mapped_port(pod, number));
        let mut resolved = json!({"name": port["name"].as_str().unwrap_or_default(), "port": number, "protocol": port["protocol"].as_str().unwrap_or("TCP")});
        if let Some(protocol) = port.get("appProtocol").filter(|protocol| protocol.is_string()) {
            resolved["appProtocol"] = protocol.clone();
        }
        ports.push(resolved);
    }
    ports
}

fn named_port(pod: &Value, wanted: &str) -> Option<u64> {
    items(pod, "/spec/containers")
        .iter()
        .flat_map(|container| items(container, "/ports"))
        .find(|port| port["name"] == wanted)
        .and_then(|port| port["containerPort"].as_u64())
}

/// One pod in a slice. A terminating pod is never `ready`, but may still be `serving`.
fn endpoint(pod: &Value, publish_unready: bool) -> Value {
    let (serving, terminating) = (is_ready(pod), is_deleting(pod));
    json!({
        "addresses": [text(pod, "/status/podIP")],
        "conditions": {"ready": publish_unready || (serving && !terminating), "serving": serving, "terminating": terminating},
        "nodeName": text(pod, "/spec/nodeName"),
        "targetRef": {"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_named_target_port_is_looked_up_in_the_pod() {
        let service = json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": "web", "appProtocol": "http"}]}});
        let pod: Object = Arc::new(json!({"spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8081}]}]}}));
        assert_eq!(resolve_ports(&service, Some(&pod)), [json!({"name": "http", "port": 8081, "protocol": "TCP", "appProtocol": "http"})]);
        assert!(resolve_ports(&service, None).is_empty());
    }

    #[test]
    fn a_terminating_pod_may_serve_but_is_not_ready() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"podIP": "127.1.1.1", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert_eq!(endpoint(&pod, false)["conditions"], json!({"ready": false, "serving": true, "terminating": true}));
    }

    #[test]
    fn a_service_without_selector_selects_nothing() {
        assert!(!selects(&json!({"spec": {}}), &json!({"metadata": {"labels": {"app": "x"}}})));
        assert!(selects(&json!({"spec": {"selector": {"app": "x"}}}), &json!({"metadata": {"labels": {"app": "x", "version": "v1"}}})));
    }
}
