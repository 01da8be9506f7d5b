//! The theatre in two clusters, as the API servers would show it: Services, pods, endpoints, nodes. No rules.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use smov_istio::world::{ProxyIdentity, Role, World};
use smov_istio::yaml;
use smov_model::names::KubeCluster;
use smov_model::snapshot::SnapshotVersion;

pub(crate) const VERSION: SnapshotVersion = SnapshotVersion { epoch: 1, number: 1 };

pub(crate) fn cluster(name: &str) -> KubeCluster {
    name.parse().unwrap()
}

pub(crate) fn sidecar(pod: &str) -> ProxyIdentity {
    ProxyIdentity { cluster: cluster("ctx1"), namespace: "theater-msa".parse().unwrap(), pod: pod.to_owned(), role: Role::Sidecar }
}

pub(crate) fn api_gateway() -> ProxyIdentity {
    sidecar("api-gateway-ctx1-6d5f7c9b8-gate1")
}

pub(crate) fn cp_gateway() -> ProxyIdentity {
    let namespace = "istio-system".parse().unwrap();
    ProxyIdentity { cluster: cluster("ctx1"), namespace, pod: "cp-gateway-7f9c6d4b5-front".to_owned(), role: Role::Gateway }
}

/// The theatre without rules.
pub(crate) fn world() -> World {
    let mut world = World::builder(cluster("ctx1")).build();
    for (cluster, object) in objects() {
        let applied = world.apply(&cluster, &object);
        assert!(applied.changed && applied.diagnostics.is_empty(), "{object}: {applied:?}");
    }
    world
}

/// The theatre with the rules of a YAML text, which must all be accepted.
pub(crate) fn world_with(text: &str) -> World {
    let mut world = world();
    for document in yaml::parse(text).unwrap() {
        let applied = world.apply(&cluster("ctx1"), &document.value);
        let refused: Vec<String> = applied.diagnostics.iter().filter(|finding| finding.is_error()).map(ToString::to_string).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
    world
}

/// The text of a golden case.
pub(crate) fn case(name: &str) -> String {
    std::fs::read_to_string(cases().join(name).join("input.yaml")).unwrap()
}

pub(crate) fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile")
}

/// Everything that the two API servers have, without rules.
pub(crate) fn objects() -> Vec<(KubeCluster, Value)> {
    let mut objects = Vec::new();
    for (number, name) in [(1, "ctx1"), (2, "ctx2")] {
        let here = cluster(name);
        let mut add = |object: Value| objects.push((here.clone(), object));
        add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("{name}-node"),
            "labels": {"topology.kubernetes.io/region": if number == 1 { "kr-central" } else { "kr-east" }}}}));
        for (index, (service, port)) in [("user-service", 8081), ("movie-service", 8082), ("booking-service", 8083)].into_iter().enumerate()
        {
            let address = format!("127.77.{number}.{}", 11 + index);
            let pod = format!("{service}-{name}-754bc8dd6f-k{number}{index}");
            add(service_object(service, "http", port, &format!("127.77.{}.{}", 200 + number, 11 + index)));
            add(pod_object(&pod, service, name, &address, port));
            add(slice(service, "http", port, &[(&pod, &address, true)]));
        }
        add(service_object("api-gateway", "http", 8080, &format!("127.77.{}.10", 200 + number)));
        add(service_object("redis", "tcp-redis", 6379, &format!("127.77.{}.20", 200 + number)));
        if number == 1 {
            let pod = "api-gateway-ctx1-6d5f7c9b8-gate1";
            add(pod_object(pod, "api-gateway", name, "127.77.1.10", 8080));
            add(slice("api-gateway", "http", 8080, &[(pod, "127.77.1.10", true)]));
            add(gateway_pod());
        } else {
            let pod = "redis-5c9d8f7b6-r2";
            add(pod_object(pod, "redis", name, "127.77.2.20", 6379));
            add(slice("redis", "tcp-redis", 6379, &[(pod, "127.77.2.20", true)]));
        }
    }
    objects
}

pub(crate) fn service_object(name: &str, port_name: &str, port: u16, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "theater-msa", "resourceVersion": "7", "creationTimestamp": "2026-11-22T00:00:00Z"},
        "spec": {"clusterIP": address, "clusterIPs": [address], "selector": {"app": name},
            "ports": [{"name": port_name, "port": port, "targetPort": port, "protocol": "TCP"}]}})
}

pub(crate) fn pod_object(pod: &str, app: &str, cluster: &str, address: &str, port: u16) -> Value {
    let (replica_set, hash) = pod.rsplit_once('-').map(|(set, _)| (set, set.rsplit('-').next().unwrap())).unwrap();
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod, "namespace": "theater-msa", "resourceVersion": "9",
            "labels": {"app": app, "cluster": cluster, "version": "v1", "pod-template-hash": hash},
            "ownerReferences": [{"kind": "ReplicaSet", "name": replica_set, "controller": true}]},
        "spec": {"nodeName": format!("{cluster}-node"), "serviceAccountName": app,
            "containers": [{"name": app, "ports": [{"containerPort": port}]}, {"name": "istio-proxy"}]},
        "status": {"phase": "Running", "podIP": address}})
}

pub(crate) fn slice(service: &str, port_name: &str, port: u16, endpoints: &[(&str, &str, bool)]) -> Value {
    let endpoint = |(pod, address, ready): &(&str, &str, bool)| {
        json!({"addresses": [address], "conditions": {"ready": ready, "serving": ready, "terminating": false},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": "theater-msa"}})
    };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-abcde"), "namespace": "theater-msa", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>()})
}

fn gateway_pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "cp-gateway-7f9c6d4b5-front", "namespace": "istio-system",
            "labels": {"app": "cp-gateway", "istio": "ingressgateway", "pod-template-hash": "7f9c6d4b5"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cp-gateway-7f9c6d4b5", "controller": true}]},
        "spec": {"nodeName": "ctx1-node", "containers": [{"name": "istio-proxy"}]},
        "status": {"phase": "Running", "podIP": "127.77.1.5"}})
}
