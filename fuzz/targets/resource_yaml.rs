//! Any text as resources: parsed, judged, taken into a world, compiled and explained, without a panic; and what one sidecar is given holds together.
#![no_main]

use std::sync::OnceLock;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use smov_istio::compile::compile;
use smov_istio::explain::explain_snapshot;
use smov_istio::validate::validate_strictly;
use smov_istio::world::{ProxyIdentity, Role, World};
use smov_istio::yaml;
use smov_model::names::KubeCluster;
use smov_model::route::RequestHead;
use smov_model::snapshot::SnapshotVersion;

/// A Service with two ready pods, for rules to lead to.
fn basis() -> &'static [Value] {
    static BASIS: OnceLock<Vec<Value>> = OnceLock::new();
    BASIS.get_or_init(|| {
        let pod = |name: &str, ip: &str, version: &str| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "theater-msa", "labels": {"app": "user-service", "version": version}},
                "spec": {"serviceAccountName": "user-service"}, "status": {"phase": "Running", "podIP": ip}})
        };
        let endpoint = |ip: &str, pod: &str| json!({"addresses": [ip], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod}});
        vec![
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "user-service", "namespace": "theater-msa"},
                "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 8081, "targetPort": 8081}]}}),
            pod("one", "127.9.1.1", "v1"),
            pod("two", "127.9.1.2", "v2"),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "user-service-1", "namespace": "theater-msa", "labels": {"kubernetes.io/service-name": "user-service"}},
                "ports": [{"name": "http", "port": 8081, "protocol": "TCP"}],
                "endpoints": [endpoint("127.9.1.1", "one"), endpoint("127.9.1.2", "two")]}),
        ]
    })
}

fuzz_target!(|text: &str| {
    let Ok(documents) = yaml::parse(text) else { return };
    let own: KubeCluster = "ctx1".parse().expect("a name");
    let mut world = World::builder(own.clone()).build();
    for object in basis() {
        world.apply(&own, object);
    }
    for document in &documents {
        let findings = validate_strictly(&document.value);
        document.place(findings);
        world.apply(&own, &document.value);
    }
    for role in [Role::Sidecar, Role::Gateway] {
        let proxy = ProxyIdentity { pod: "one".into(), namespace: "theater-msa".parse().expect("a name"), cluster: own.clone(), role };
        let snapshot = compile(&world, &proxy, SnapshotVersion { epoch: 1, number: 1 }).snapshot;
        for (name, cluster) in &snapshot.clusters {
            assert_eq!(*name, cluster.name, "a cluster is found under its own name");
        }
        let headers = HeaderMap::new();
        for port in snapshot.outbound.keys().chain(snapshot.ingress.keys()) {
            let head = RequestHead { method: "GET", scheme: "http", authority: "user-service:8081", path: "/users/", query: None, headers: &headers };
            explain_snapshot(&snapshot, role, *port, &head);
        }
    }
});
