//! Pods as workloads: who is behind an address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use smov_model::names::{Namespace, ServiceAccount};
use smov_model::workload::Workload;

use crate::core::{Node, Pod};
use crate::world::{ObjectKey, World};

/// Every pod of every cluster.
pub(crate) fn of_pods(world: &World) -> BTreeMap<&ObjectKey, Arc<Workload>> {
    let read = |(key, pod): (&'_ ObjectKey, &Arc<Pod>)| workload(world, key, pod).map(Arc::new);
    world.pods.iter().filter_map(|(key, pod)| Some((key, read((key, pod))?))).collect()
}

/// Who is behind which address. Two pods with one address cannot both run; the later name wins, whatever came first.
pub(crate) fn by_address(world: &World, pods: &BTreeMap<&ObjectKey, Arc<Workload>>) -> BTreeMap<IpAddr, Arc<Workload>> {
    pods.iter().filter_map(|(key, workload)| Some((world.pods.get(*key)?.address?, workload.clone()))).collect()
}

/// A pod that the world does not know.
pub(crate) fn unknown_pod(key: &ObjectKey, namespace: &Namespace) -> Workload {
    Workload {
        pod: key.name.clone(),
        name: key.name.clone(),
        namespace: namespace.clone(),
        cluster: key.cluster.clone(),
        service_account: default_account(),
        labels: BTreeMap::new(),
        region: String::new(),
        zone: String::new(),
        has_sidecar: false,
    }
}

fn workload(world: &World, key: &ObjectKey, pod: &Pod) -> Option<Workload> {
    let node = ObjectKey { namespace: String::new(), name: pod.node.clone(), cluster: key.cluster.clone() };
    let Node { region, zone, subzone } = world.nodes.get(&node).map(|node| Node::clone(node)).unwrap_or_default();
    let mut labels = pod.labels.clone();
    if !subzone.is_empty() {
        labels.entry("topology.istio.io/subzone".to_owned()).or_insert(subzone);
    }
    Some(Workload {
        pod: key.name.clone(),
        name: owner_name(world, key, pod),
        namespace: key.namespace.parse().ok()?,
        cluster: key.cluster.clone(),
        service_account: pod.service_account.parse().unwrap_or_else(|_| default_account()),
        labels,
        region,
        zone,
        has_sidecar: pod.has_sidecar,
    })
}

/// The Deployment's name where a ReplicaSet owns the pod: from the ReplicaSet's own owner, else by taking the template's hash off.
fn owner_name(world: &World, key: &ObjectKey, pod: &Pod) -> String {
    let Some((kind, owner)) = &pod.owner else { return key.name.clone() };
    if kind != "ReplicaSet" {
        return owner.clone();
    }
    let replica_set = ObjectKey { namespace: key.namespace.clone(), name: owner.clone(), cluster: key.cluster.clone() };
    if let Some(deployment) = world.replica_sets.get(&replica_set).and_then(|set| set.deployment.clone()) {
        return deployment;
    }
    let hash = pod.labels.get("pod-template-hash").map(String::as_str).unwrap_or_default();
    match owner.strip_suffix(hash).and_then(|rest| rest.strip_suffix('-')) {
        Some(name) if !hash.is_empty() => name.to_owned(),
        _ => owner.clone(),
    }
}

fn default_account() -> ServiceAccount {
    "default".parse().expect("not empty")
}
