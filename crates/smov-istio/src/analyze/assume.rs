//! What rules alone imply: a Service for every host they name, a pod for every subset. For explaining files that have only rules.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use smov_model::names::Port;

use super::input::Input;
use super::templates::{templates, texts, word};
use crate::hosts::{SERVICE_SUFFIX, resolve_host};

/// What had to be assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Assumed {
    /// Services, on the ports asked for and those that destinations name.
    pub services: bool,
    /// Pods: one per subset, or one per Service without subsets.
    pub pods: bool,
}

/// The label by which assumed Services find assumed pods.
const LABEL: &str = "smov.io/assumed-for";

impl Input {
    /// Adds Services where the input has none (on the ports that rules name; on these where they name none, and for the host that is asked
    /// about), and pods where it has none. Inputs that are compared with this one imply theirs as well. Says what was added.
    pub fn assume(&mut self, ports: &[Port], asked: Option<&str>, others: &[&Self]) -> Assumed {
        let mut assumed = Assumed::default();
        let objects: Vec<Value> = self.sources().iter().map(|source| source.document.value.clone()).collect();
        let borrowed: Vec<&Value> = objects.iter().collect();
        let beside = others.iter().flat_map(|other| other.sources()).map(|source| source.document.value.clone());
        let implied: Vec<Value> = objects.iter().cloned().chain(beside).collect();
        let has = |kind: &str| objects.iter().any(|object| word(object, "/kind") == kind);
        let no_pods = templates(&borrowed).is_empty() && !has("EndpointSlice");
        let subsets = subsets(&implied);
        let mut services: Vec<(String, String, BTreeMap<String, String>)> = Vec::new();
        if has("Service") || has("ServiceEntry") {
            for service in objects.iter().filter(|object| word(object, "/kind") == "Service") {
                let selector = texts(service.pointer("/spec/selector"));
                let name = |pointer| word(service, pointer).to_owned();
                services.push((name("/metadata/name"), name("/metadata/namespace"), selector));
            }
        } else {
            let numbers: BTreeSet<u16> = ports.iter().map(|port| port.number()).collect();
            for (host, named) in hosts(&implied) {
                let Some((name, namespace)) = service_of(&host) else { continue };
                let selector = BTreeMap::from([(LABEL.to_owned(), name.clone())]);
                let is_asked = asked.is_some_and(|asked| asked.split(['.', ':']).next() == Some(name.as_str()));
                let further = if named.is_empty() || is_asked { numbers.clone() } else { BTreeSet::new() };
                let all: Vec<Value> = named.union(&further).map(|port| json!({"name": format!("http-{port}"), "port": port})).collect();
                self.add_object("", json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": {"selector": selector, "ports": all}}));
                services.push((name, namespace, selector));
                assumed.services = true;
            }
        }
        for (name, namespace, selector) in services.iter().filter(|(_, _, selector)| no_pods && !selector.is_empty()) {
            let none = vec![(String::new(), BTreeMap::new())];
            for (subset, labels) in subsets.get(&format!("{name}.{namespace}.{SERVICE_SUFFIX}")).unwrap_or(&none) {
                let pod_labels: BTreeMap<_, _> = selector.iter().chain(labels).collect();
                let pod = if subset.is_empty() { name.clone() } else { format!("{name}-{subset}") };
                let template = json!({"metadata": {"labels": pod_labels}, "spec": {"containers": []}});
                self.add_object("", json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": pod, "namespace": namespace}, "spec": {"replicas": 1, "template": template}}));
                assumed.pods = true;
            }
        }
        assumed
    }
}

/// Hosts that rules of the mesh name, with the ports that destinations ask for.
fn hosts(objects: &[Value]) -> BTreeMap<String, BTreeSet<u16>> {
    let mut found: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for object in objects {
        let namespace = word(object, "/metadata/namespace");
        match word(object, "/kind") {
            "DestinationRule" => {
                found.entry(resolve_host(word(object, "/spec/host"), namespace)).or_default();
            }
            "VirtualService" => {
                let mesh = |list: &Vec<Value>| list.is_empty() || list.iter().any(|name| name == "mesh");
                if object.pointer("/spec/gateways").and_then(Value::as_array).is_none_or(mesh) {
                    for host in object.pointer("/spec/hosts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
                        found.entry(resolve_host(host, namespace)).or_default();
                    }
                }
                destinations(object, &mut |destination| {
                    let ports = found.entry(resolve_host(word(destination, "/host"), namespace)).or_default();
                    ports.extend(destination.pointer("/port/number").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()));
                });
            }
            _ => {}
        }
    }
    found
}

/// Every object that has a `host`, wherever it stands in a rule.
fn destinations(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            if fields.get("host").is_some_and(Value::is_string) {
                visit(value);
            }
            fields.values().for_each(|inner| destinations(inner, visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| destinations(inner, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Name and labels of a subset.
type Labelled = (String, BTreeMap<String, String>);

/// Labels of the subsets by host.
fn subsets(objects: &[Value]) -> BTreeMap<String, Vec<Labelled>> {
    let mut found: BTreeMap<String, Vec<Labelled>> = BTreeMap::new();
    for rule in objects.iter().filter(|object| word(object, "/kind") == "DestinationRule") {
        let host = resolve_host(word(rule, "/spec/host"), word(rule, "/metadata/namespace"));
        let known = found.entry(host).or_default();
        for subset in rule.pointer("/spec/subsets").and_then(Value::as_array).into_iter().flatten() {
            let name = word(subset, "/name");
            if !known.iter().any(|(other, _)| other == name) {
                known.push((name.to_owned(), texts(subset.get("labels"))));
            }
        }
    }
    found.retain(|_, subsets| !subsets.is_empty());
    found
}

fn service_of(host: &str) -> Option<(String, String)> {
    let (name, namespace) = host.strip_suffix(SERVICE_SUFFIX)?.strip_suffix('.')?.split_once('.')?;
    (!name.contains('*') && !namespace.contains('.')).then(|| (name.to_owned(), namespace.to_owned()))
}
