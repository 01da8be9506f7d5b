//! The world as events feed it.

use std::net::SocketAddr;

use serde_json::json;
use smov_istio::compile::compile;
use smov_istio::world::{WatchedKind, World};
use smov_model::cluster::LoadBalancer;
use smov_model::names::ClusterName;
use smov_model::snapshot::UnknownHosts;

use crate::theatre::{VERSION, api_gateway, case, cluster, cp_gateway, objects, pod_object, sidecar, slice, world, world_with};

fn endpoints(world: &World, name: &str) -> Vec<SocketAddr> {
    let snapshot = compile(world, &api_gateway(), VERSION).snapshot;
    snapshot.clusters[&name.parse::<ClusterName>().unwrap()].endpoints.iter().map(|endpoint| endpoint.address).collect()
}

const USERS: &str = "outbound|8081||user-service.theater-msa.svc.cluster.local";

#[test]
fn a_service_of_both_clusters_is_one_host_with_the_endpoints_of_both() {
    assert_eq!(endpoints(&world(), USERS), ["127.77.1.11:8081".parse().unwrap(), "127.77.2.11:8081".parse().unwrap()]);
}

#[test]
fn endpoints_that_are_not_ready_or_terminate_are_left_out() {
    let mut world = world();
    let mut terminating =
        slice("user-service", "http", 8081, &[("a", "127.77.1.11", true), ("b", "127.77.1.12", false), ("c", "127.77.1.13", true)]);
    terminating["endpoints"][0]["conditions"]["terminating"] = json!(true);
    assert!(world.apply(&cluster("ctx1"), &terminating).changed);
    assert_eq!(endpoints(&world, USERS), ["127.77.1.13:8081".parse().unwrap(), "127.77.2.11:8081".parse().unwrap()]);
}

#[test]
fn forgetting_a_cluster_takes_its_endpoints_away() {
    let mut world = world();
    assert!(world.forget_cluster(&cluster("ctx2")));
    assert!(!world.forget_cluster(&cluster("ctx2")));
    assert_eq!(endpoints(&world, USERS), ["127.77.1.11:8081".parse().unwrap()]);
}

#[test]
fn rules_of_the_other_cluster_do_not_count() {
    let mut world = world();
    for document in smov_istio::yaml::parse(&case("01-baseline")).unwrap() {
        assert!(!world.apply(&cluster("ctx2"), &document.value).changed);
    }
    assert_eq!(compile(&world, &api_gateway(), VERSION), compile(&self::world(), &api_gateway(), VERSION));
}

#[test]
fn a_malformed_object_is_reported_and_its_last_good_version_stays() {
    let mut world = world_with(&case("01-baseline"));
    let before = compile(&world, &api_gateway(), VERSION);
    let broken = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "user-service-vs", "namespace": "theater-msa"},
        "spec": {"hosts": ["user-service"], "http": [{"route": [{"destination": {"host": "user-service"}, "weight": "ninety"}]}]}});
    let applied = world.apply(&cluster("ctx1"), &broken);
    assert!(!applied.changed);
    assert_eq!(applied.diagnostics[0].path, "spec.http[0].route[0].weight");
    assert_eq!(world.diagnostics().count(), 1);
    assert_eq!(compile(&world, &api_gateway(), VERSION), before);
    assert!(world.remove(&cluster("ctx1"), "VirtualService", "theater-msa", "user-service-vs"));
    assert_eq!(world.diagnostics().count(), 0);
}

#[test]
fn a_status_update_that_changes_nothing_for_the_mesh_is_no_change() {
    let mut world = world();
    let mut pod = pod_object("user-service-ctx1-754bc8dd6f-k10", "user-service", "ctx1", "127.77.1.11", 8081);
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert!(!world.apply(&cluster("ctx1"), &pod).changed);
}

#[test]
fn a_list_replaces_what_was_known_and_its_items_need_not_say_their_kind() {
    let mut world = world();
    let mut items: Vec<_> = objects()
        .into_iter()
        .filter(|(from, object)| from.as_str() == "ctx2" && object["kind"] == "EndpointSlice")
        .map(|(_, object)| object)
        .collect();
    items.retain(|slice| slice["metadata"]["name"] != "user-service-abcde");
    for item in &mut items {
        item.as_object_mut().unwrap().remove("kind");
    }
    assert!(world.replace(&cluster("ctx2"), WatchedKind::EndpointSlice, &items).changed);
    assert_eq!(endpoints(&world, USERS), ["127.77.1.11:8081".parse().unwrap()]);
    assert!(!world.replace(&cluster("ctx2"), WatchedKind::EndpointSlice, &items).changed);
}

#[test]
fn pods_become_workloads_with_owner_region_and_sidecar() {
    let snapshot = compile(&world(), &cp_gateway(), VERSION).snapshot;
    assert_eq!((snapshot.proxy.name.as_str(), snapshot.proxy.has_sidecar), ("cp-gateway", false));
    let peer = &snapshot.peers[&"127.77.2.12".parse().unwrap()];
    assert_eq!(
        (peer.name.as_str(), peer.region.as_str(), peer.service_account.as_str()),
        ("movie-service-ctx2", "kr-east", "movie-service")
    );
}

#[test]
fn a_proxy_whose_pod_is_not_known_yet_gets_a_snapshot_and_a_diagnostic() {
    let compiled = compile(&world(), &sidecar("not-there-yet"), VERSION);
    assert_eq!(compiled.diagnostics[0].code, "unknown-pod");
    assert!(!compiled.snapshot.outbound.is_empty() && compiled.snapshot.inbound.is_empty());
}

#[test]
fn a_port_that_says_nothing_is_reached_through_both_doors() {
    let mut world = world();
    let mut service = crate::theatre::service_object("user-service", "", 8081, "127.77.201.11");
    service["spec"]["ports"][0].as_object_mut().unwrap().remove("name");
    world.apply(&cluster("ctx1"), &service);
    let snapshot = compile(&world, &api_gateway(), VERSION).snapshot;
    assert!(snapshot.outbound.contains_key(&8081.try_into().unwrap()));
    assert!(snapshot.tcp.iter().any(|route| route.port.number() == 8081));
}

#[test]
fn a_node_says_where_its_pods_are_to_the_subzone() {
    let mut world = world();
    let labels =
        json!({"topology.kubernetes.io/region": "kr", "topology.kubernetes.io/zone": "kr-a", "topology.istio.io/subzone": "rack-1"});
    world.apply(&cluster("ctx1"), &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "ctx1-node", "labels": labels}}));
    assert_eq!(compile(&world, &api_gateway(), VERSION).snapshot.proxy.locality(), "kr/kr-a/rack-1");
}

#[test]
fn mesh_config_comes_and_goes_with_its_config_map() {
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": text}});
    let unknown = |world: &World| compile(world, &api_gateway(), VERSION).snapshot.unknown_hosts;
    let mut world = world();
    assert!(world.apply(&cluster("ctx1"), &map("outboundTrafficPolicy: {mode: REGISTRY_ONLY}")).changed);
    assert_eq!(unknown(&world), UnknownHosts::RegistryOnly);
    let broken = world.apply(&cluster("ctx1"), &map("outboundTrafficPolicy: {mode: SOMETIMES}"));
    assert_eq!((broken.changed, broken.diagnostics[0].path.as_str()), (false, "data.mesh"));
    assert_eq!(unknown(&world), UnknownHosts::RegistryOnly);
    assert!(!world.apply(&cluster("ctx2"), &map("outboundTrafficPolicy: {mode: ALLOW_ANY}")).changed);
    assert!(world.replace(&cluster("ctx1"), WatchedKind::ConfigMap, []).changed);
    assert_eq!((unknown(&world), world.diagnostics().count()), (UnknownHosts::AllowAny, 0));
}

#[test]
fn a_rule_that_stays_in_the_root_namespace_is_for_the_proxies_there_first() {
    let rule = |namespace: &str, name: &str, export: &str, balancer: &str| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": name, "namespace": namespace},
            "spec": {"host": "user-service.theater-msa.svc.cluster.local", "exportTo": [export],
                "trafficPolicy": {"loadBalancer": {"simple": balancer}}}})
    };
    let mut world = world();
    let balancer =
        |world: &World, proxy| compile(world, &proxy, VERSION).snapshot.clusters[&USERS.parse::<ClusterName>().unwrap()].load_balancer;
    world.apply(&cluster("ctx1"), &rule("istio-system", "for-all", "*", "RANDOM"));
    world.apply(&cluster("ctx1"), &rule("theater-msa", "own", "*", "ROUND_ROBIN"));
    assert_eq!(balancer(&world, cp_gateway()), LoadBalancer::RoundRobin);
    world.apply(&cluster("ctx1"), &rule("istio-system", "here-only", ".", "LEAST_REQUEST"));
    assert_eq!((balancer(&world, cp_gateway()), balancer(&world, api_gateway())), (LoadBalancer::LeastRequest, LoadBalancer::RoundRobin));
}
