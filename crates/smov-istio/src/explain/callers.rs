//! Who asks: a workload of the world, or one that is assumed.

use std::collections::BTreeMap;

use serde_json::json;
use smov_model::names::{KubeCluster, Namespace};
use smov_model::workload::Workload;

use crate::compile::Prepared;
use crate::world::{ProxyIdentity, Role, World};

/// Whose proxy is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The proxy.
    pub proxy: ProxyIdentity,
    /// Is it in the world? Otherwise it was assumed: conditions on a caller's labels do not hold for it.
    pub known: bool,
}

/// A sidecar's caller by pod, workload or `app` label, in a namespace where one is given; assumed where nothing fits.
pub fn caller(world: &mut World, name: Option<&str>, namespace: &Namespace) -> Caller {
    let found = name.and_then(|name| find(world, name, namespace));
    if let Some(proxy) = found {
        return Caller { proxy, known: true };
    }
    let pod = name.unwrap_or("client");
    let cluster = world.own_cluster().clone();
    assume(world, &cluster, namespace, pod, &BTreeMap::new());
    Caller { proxy: ProxyIdentity { cluster, namespace: namespace.clone(), pod: pod.to_owned(), role: Role::Sidecar }, known: false }
}

fn find(world: &World, name: &str, namespace: &Namespace) -> Option<ProxyIdentity> {
    let prepared = Prepared::new(world);
    let by = |fits: &dyn Fn(&Workload) -> bool| {
        prepared.workloads().find(|one| one.namespace == *namespace && fits(one)).map(|one| ProxyIdentity {
            cluster: one.cluster.clone(),
            namespace: one.namespace.clone(),
            pod: one.pod.clone(),
            role: Role::Sidecar,
        })
    };
    by(&|one| one.pod == name).or_else(|| by(&|one| one.name == name)).or_else(|| by(&|one| one.app() == name))
}

/// The gateway that traffic from outside meets: a pod that a Gateway selects, else one that is assumed to run the first Gateway (the one
/// of this name, where one is given). `None` = there is no such Gateway.
pub fn gateway(world: &mut World, name: Option<&str>) -> Option<Caller> {
    let mut gateways: Vec<_> = world.gateways.values().map(|gateway| (**gateway).clone()).collect();
    gateways.sort_by(|left, right| left.seniority().cmp(&right.seniority()));
    let chosen = gateways.into_iter().find(|gateway| name.is_none_or(|name| gateway.metadata.name == name))?;
    let pods = Prepared::new(world);
    let selected = pods
        .workloads()
        .find(|pod| !chosen.spec.selector.is_empty() && chosen.spec.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value)));
    if let Some(pod) = selected {
        let (cluster, namespace) = (pod.cluster.clone(), pod.namespace.clone());
        return Some(Caller { proxy: ProxyIdentity { cluster, namespace, pod: pod.pod.clone(), role: Role::Gateway }, known: true });
    }
    let namespace: Namespace = chosen.metadata.namespace.parse().ok()?;
    let cluster = world.own_cluster().clone();
    assume(world, &cluster, &namespace, &chosen.metadata.name, &chosen.spec.selector);
    Some(Caller { proxy: ProxyIdentity { cluster, namespace, pod: chosen.metadata.name, role: Role::Gateway }, known: false })
}

/// Puts a pod into the world that nobody wrote.
fn assume(world: &mut World, cluster: &KubeCluster, namespace: &Namespace, pod: &str, labels: &BTreeMap<String, String>) {
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": namespace.as_str(), "labels": labels}, "spec": {}, "status": {}});
    world.apply(cluster, &object);
}
