//! The pods of an input: its Pods, or where it has none, what its Deployments and the like would make.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Value, json};
use smov_model::names::KubeCluster;

/// More pods of one Deployment than this change no finding.
const MOST_REPLICAS: u64 = 100;

/// A pod, or a number of equal ones.
#[derive(Debug, Clone)]
pub(super) struct Template<'a> {
    /// What the pods come from: `Deployment`, …, or `Pod`.
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) replicas: u64,
    /// Pod spec.
    pub(super) spec: &'a Value,
    /// Annotations of the pods.
    annotations: &'a Value,
    /// The Kubernetes cluster that its labels or its node selector name.
    cluster: Option<KubeCluster>,
}

/// The pods of some objects. Pods where there are any, else templates.
pub(super) fn templates<'a>(objects: &[&'a Value]) -> Vec<Template<'a>> {
    let of_kind = |kinds: &[&str]| objects.iter().copied().filter(|object| kinds.contains(&word(object, "/kind"))).collect::<Vec<_>>();
    let ended = |pod: &&Value| matches!(word(pod, "/status/phase"), "Succeeded" | "Failed");
    let pods: Vec<Template<'a>> =
        of_kind(&["Pod"]).into_iter().filter(|pod| !ended(pod)).filter_map(|pod| Template::new(pod, pod, 1)).collect();
    if !pods.is_empty() {
        return pods;
    }
    let mut found = Vec::new();
    for object in of_kind(&["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"]) {
        let owned = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_some_and(|owners| !owners.is_empty());
        let Some(template) = object.pointer("/spec/template").filter(|_| !owned) else { continue };
        let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1).min(MOST_REPLICAS);
        found.extend(Template::new(object, template, replicas));
    }
    found
}

impl<'a> Template<'a> {
    fn new(object: &'a Value, template: &'a Value, replicas: u64) -> Option<Self> {
        let labels = texts(template.pointer("/metadata/labels"));
        let spec = template.get("spec")?;
        Some(Self {
            kind: word(object, "/kind"),
            name: word(object, "/metadata/name"),
            namespace: word(object, "/metadata/namespace"),
            cluster: cluster_of(&labels, spec),
            labels,
            replicas,
            spec,
            annotations: template.pointer("/metadata/annotations").unwrap_or(&Value::Null),
        })
    }

    /// Do its pods have these labels? An empty selector selects nothing.
    pub(super) fn is_selected_by(&self, selector: &BTreeMap<String, String>) -> bool {
        !selector.is_empty() && selector.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }

    /// Labels that its node must have, by name: what beginners confuse with the pod's own.
    pub(super) fn node_labels(&self) -> Vec<&'a str> {
        let selector = self.spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str());
        selector.chain(node_terms(self.spec).map(|(key, _)| key)).collect()
    }

    /// The number of a container port by its name.
    pub(super) fn named_port(&self, name: &str) -> Option<u16> {
        let containers = self.spec.get("containers").and_then(Value::as_array).into_iter().flatten();
        let mut ports = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
        let number = ports.find(|port| word(port, "/name") == name)?.get("containerPort")?.as_u64()?;
        u16::try_from(number).ok()
    }

    pub(super) fn cluster(&self, own: &KubeCluster) -> KubeCluster {
        self.cluster.clone().unwrap_or_else(|| own.clone())
    }

    /// What the pod itself says about injection (label over annotation).
    pub(super) fn inject(&self) -> Option<&str> {
        let annotation = || self.annotations.get("sidecar.istio.io/inject").and_then(Value::as_str);
        self.labels.get("sidecar.istio.io/inject").map(String::as_str).or_else(annotation)
    }

    pub(super) fn has_proxy(&self) -> bool {
        ["containers", "initContainers"].into_iter().any(|list| {
            let containers = self.spec.get(list).and_then(Value::as_array).into_iter().flatten();
            containers.into_iter().any(|container| word(container, "/name") == "istio-proxy")
        })
    }

    /// Its pods as objects of the world. Those that do not exist yet get addresses of the range for documentation.
    pub(super) fn pods(&self, injected: bool, next: &mut u64) -> Vec<Value> {
        let mut containers = self.spec.get("containers").and_then(Value::as_array).cloned().unwrap_or_default();
        if injected && !self.has_proxy() {
            containers.push(json!({"name": "istio-proxy"}));
        }
        let pod = |index: u64| {
            *next += 1;
            let name = if self.replicas == 1 { self.name.to_owned() } else { format!("{}-{}", self.name, index + 1) };
            json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": self.namespace, "labels": self.labels,
                    "ownerReferences": [{"kind": self.kind, "name": self.name, "controller": true}]},
                "spec": {"containers": containers, "serviceAccountName": word(self.spec, "/serviceAccountName")},
                "status": {"phase": "Running", "podIP": documentation_address(*next).to_string()}})
        };
        (0..self.replicas).map(pod).collect()
    }
}

/// An address that no pod can have (RFC 3849).
fn documentation_address(number: u64) -> IpAddr {
    let [.., third, fourth] = [(number >> 16) as u16, number as u16];
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, third, fourth))
}

/// Is it one of those?
pub fn is_documentation(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.segments()[..2] == [0x2001, 0xdb8])
}

/// The cluster that a pod says it belongs to: by Istio's label, by `cluster`, by the node that it asks for.
fn cluster_of(labels: &BTreeMap<String, String>, spec: &Value) -> Option<KubeCluster> {
    let label = ["topology.istio.io/cluster", "cluster"].into_iter().find_map(|key| labels.get(key).map(String::as_str));
    let node = || spec.pointer("/nodeSelector/cluster-name").and_then(Value::as_str);
    let term = || node_terms(spec).find(|(key, _)| *key == "cluster-name").and_then(|(_, value)| value);
    label.or_else(node).or_else(term)?.parse().ok()
}

/// `key in [value]` of the node affinity that is required; a value only where there is exactly one.
fn node_terms(spec: &Value) -> impl Iterator<Item = (&str, Option<&str>)> {
    let required = spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    let terms = required.and_then(Value::as_array).into_iter().flatten();
    terms.filter_map(|term| term.get("matchExpressions")?.as_array()).flatten().map(|one| {
        let values = one.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let only = if let [only] = values { only.as_str().filter(|_| word(one, "/operator") == "In") } else { None };
        (word(one, "/key"), only)
    })
}

/// A text of an object; empty when it has none there.
pub(super) fn word<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A map of texts.
pub(super) fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
