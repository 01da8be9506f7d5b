//! What must hold for every input: order does not matter, nothing panics, routes lead to clusters.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use smov_istio::analyze::analyze;
use smov_istio::compile::{Prepared, compile};
use smov_istio::validate::validate_strictly;
use smov_istio::world::{ProxyIdentity, World};
use smov_istio::yaml;
use smov_model::names::KubeCluster;
use smov_model::route::RouteAction;

use crate::theatre::{VERSION, api_gateway, case, cases, cluster, cp_gateway, objects, sidecar, world_with};

fn events(name: &str) -> Vec<(KubeCluster, Value)> {
    let rules = yaml::parse(&case(name)).unwrap().into_iter().map(|document| (cluster("ctx1"), document.value));
    objects().into_iter().chain(rules).collect()
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-z*./:0-9 -]{0,12}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("hosts"),
        Just("http"),
        Just("tcp"),
        Just("match"),
        Just("route"),
        Just("destination"),
        Just("host"),
        Just("weight"),
        Just("uri"),
        Just("prefix"),
        Just("regex"),
        Just("subsets"),
        Just("labels"),
        Just("name"),
        Just("trafficPolicy"),
        Just("servers"),
        Just("port"),
        Just("number"),
        Just("ports"),
        Just("endpoints"),
        Just("addresses"),
        Just("containers"),
        Just("status"),
        Just("fault"),
        Just("delay"),
        Just("mesh"),
        Just("data"),
        Just("corsPolicy"),
        Just("address"),
        Just("locality"),
        Just("workloadSelector"),
        Just("resolution"),
        Just("delegate"),
        Just("loadBalancer"),
        Just("outlierDetection"),
        Just("from"),
        Just("to"),
        Just("failoverPriority"),
        Just("failover"),
        Just("distribute"),
        Just("localityLbSetting"),
        Just("consistentHash"),
        Just("mirrors"),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())),
        ]
    })
}

/// All places of a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            places(field, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        _ => {}
    }
}

fn use_everything(world: &World) {
    let prepared = Prepared::new(world);
    for proxy in [api_gateway(), cp_gateway()] {
        let _ = prepared.snapshot_for(&proxy, VERSION);
        for host in ["user-service", "movie-service.theater-msa", "*", ""] {
            let _ = prepared.configured_split(&proxy, host);
        }
    }
    let _ = analyze(world);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_events_does_not_matter(name in prop_oneof![Just("01-baseline"), Just("10-two-rules-one-host"), Just("11-gateway-merge"), Just("12-policies"), Just("16-localities"), Just("17-delegates"), Just("18-service-entries"), Just("19-mesh-config"), Just("20-visibility")],
                                           shuffled in Just(()).prop_perturb(|(), mut random| { let mut order: Vec<u32> = (0..200).map(|_| random.random()).collect(); order.dedup(); order })) {
        let mut events = events(name);
        let expected = world_with(&case(name));
        let mut keyed: Vec<(u32, (KubeCluster, Value))> = events.drain(..).enumerate().map(|(index, event)| (shuffled[index % shuffled.len()], event)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        let mut world = World::builder(cluster("ctx1")).build();
        for (_, (from, object)) in &keyed {
            world.apply(from, object);
        }
        for proxy in [api_gateway(), cp_gateway()] {
            prop_assert_eq!(compile(&world, &proxy, VERSION), compile(&expected, &proxy, VERSION));
        }
        prop_assert_eq!(analyze(&world), analyze(&expected));
    }

    #[test]
    fn no_value_makes_anything_panic(kind in 0_usize..11, value in any_value()) {
        let (version, kind) = [
            ("networking.istio.io/v1", "VirtualService"), ("networking.istio.io/v1", "DestinationRule"), ("networking.istio.io/v1", "Gateway"),
            ("v1", "Service"), ("discovery.k8s.io/v1", "EndpointSlice"), ("v1", "Pod"), ("v1", "Node"), ("apps/v1", "ReplicaSet"),
            ("networking.istio.io/v1", "ServiceEntry"), ("networking.istio.io/v1", "WorkloadEntry"), ("v1", "ConfigMap"),
        ][kind];
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "theater-msa"}, "spec": value, "status": value, "endpoints": value, "ports": value});
        let _ = validate_strictly(&object);
        let mut world = world_with(&case("01-baseline"));
        world.apply(&cluster("ctx1"), &object);
        use_everything(&world);
    }

    #[test]
    fn no_broken_field_makes_anything_panic(name in prop_oneof![Just("09-every-action"), Just("14-beside-the-route"), Just("16-localities"), Just("17-delegates"), Just("18-service-entries")],
                                              index in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), value in any_value()) {
        let mut events = events(name);
        let chosen = index.index(events.len());
        let mut found = Vec::new();
        places(&events[chosen].1, "", &mut found);
        let pointer = place.get(&found).clone();
        *events[chosen].1.pointer_mut(&pointer).unwrap() = value;
        let _ = validate_strictly(&events[chosen].1);
        let mut world = World::builder(cluster("ctx1")).build();
        for (from, object) in &events {
            world.apply(from, object);
        }
        use_everything(&world);
    }
}

#[test]
fn every_route_leads_to_a_cluster_unless_the_case_names_what_does_not_exist() {
    for entry in std::fs::read_dir(cases()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let world = world_with(&case(&name));
        for proxy in [api_gateway(), cp_gateway()] {
            let snapshot = compile(&world, &proxy, VERSION).snapshot;
            let tables = snapshot.outbound.values().chain(snapshot.ingress.values());
            let rules = tables.flat_map(|table| &table.hosts).flat_map(|host| &host.rules);
            let mut named = BTreeSet::new();
            for rule in rules {
                if let RouteAction::Forward(split) = &rule.action {
                    named.extend(split.arms().map(|(_, arm)| &arm.cluster));
                }
                named.extend(rule.policy.mirrors.iter().map(|mirror| &mirror.cluster));
            }
            named.extend(snapshot.tcp.iter().flat_map(|route| route.split.arms().map(|(_, cluster)| cluster)));
            let missing: Vec<String> =
                named.into_iter().filter(|cluster| !snapshot.clusters.contains_key(cluster)).map(ToString::to_string).collect();
            let known: &[&str] = match name.as_str() {
                _ if proxy == cp_gateway() => &[],
                "09-every-action" => &["outbound|80||no-such-host.theater-msa.svc.cluster.local"],
                "14-beside-the-route" => &["outbound|8082|next|movie-service.theater-msa.svc.cluster.local"],
                "17-delegates" => &["outbound|8081||projector.studio.svc.cluster.local"],
                _ => &[],
            };
            assert_eq!(missing, known, "{name}");
        }
    }
}

#[test]
fn clients_that_share_a_preparation_get_what_they_would_get_alone() {
    let elsewhere = |pod: &str| ProxyIdentity { cluster: cluster("ctx2"), ..sidecar(pod) };
    for entry in std::fs::read_dir(cases()).unwrap() {
        let world = world_with(&case(&entry.unwrap().file_name().into_string().unwrap()));
        let prepared = Prepared::new(&world);
        let users = [sidecar("user-service-ctx1-754bc8dd6f-k10"), elsewhere("user-service-ctx2-754bc8dd6f-k20")];
        for proxy in [api_gateway(), cp_gateway()].into_iter().chain(users) {
            assert_eq!(prepared.snapshot_for(&proxy, VERSION), compile(&world, &proxy, VERSION));
        }
    }
}
