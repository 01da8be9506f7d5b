//! What single words of the model become; whether Envoy understands the whole is asked of a real one (`tests/envoy/validate.rs`).

use std::time::Duration;

use serde_json::{Value, json};
use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, LoadBalancer, OutlierDetection, Protocol};
use smov_model::names::{ClusterName, Port, ResourceRef};
use smov_model::route::{
    Destination, HeaderChange, HeaderOperations, Origin, RetryPolicy, Rewrite, RouteAction, RouteMatch, RoutePolicy, RouteRule, RouteTable,
    ValueMatch, VirtualHost,
};
use smov_model::snapshot::{PathNormalization, Snapshot, SnapshotVersion, UnknownHosts};
use smov_model::split::{Split, Weight};
use smov_model::text::StringMatch;
use smov_model::tls::{ClusterTls, DEFAULT_TRUST_DOMAIN};
use smov_model::wire::ProxyRole;
use smov_model::workload::Workload;
use smov_proxy::ProxyConfig;
use smov_proxy::config::PodIdentity;

use super::*;

const HOST: &str = "user-service.t.svc.cluster.local";

fn settings() -> ProxyConfig {
    let pod = PodIdentity {
        name: "caller-1".into(),
        address: "127.9.1.5".parse().unwrap(),
        namespace: "t".parse().unwrap(),
        service_account: "default".parse().unwrap(),
        cluster: "ctx1".parse().unwrap(),
    };
    ProxyConfig::new(ProxyRole::Sidecar, pod)
}

fn port(number: u32) -> Port {
    number.try_into().unwrap()
}

fn name(subset: &str) -> ClusterName {
    ClusterName { port: port(8081), subset: Some(subset.parse().unwrap()), host: HOST.parse().unwrap() }
}

fn cluster(subset: &str) -> Cluster {
    Cluster {
        name: name(subset),
        protocol: Protocol::Http,
        endpoints: Vec::new(),
        load_balancer: LoadBalancer::default(),
        limits: ConnectionLimits::default(),
        outlier: None,
        discovery: Discovery::Listed,
        locality_weights: Vec::new(),
        tls: ClusterTls::Disable,
    }
}

fn operations(value: &str) -> HeaderOperations {
    let change = HeaderChange { set: vec![("x-level".into(), value.into())], ..HeaderChange::default() };
    HeaderOperations { request: change, response: HeaderChange::default() }
}

fn forward(arms: &[(u32, &str)]) -> RouteAction {
    let arm = |(weight, subset): &(u32, &str)| (Weight(*weight), Destination { cluster: name(subset), headers: operations(subset) });
    RouteAction::Forward(Split::new(arms.iter().map(arm).collect()).unwrap())
}

fn rule(matches: Vec<RouteMatch>, action: RouteAction, policy: RoutePolicy) -> RouteRule {
    let resource = ResourceRef { kind: "VirtualService".into(), namespace: "t".into(), name: "vs".into(), resource_version: "1".into() };
    RouteRule { origin: Origin { resource, path: "spec.http[0]".into(), name: "named".into() }, matches, action, policy }
}

fn snapshot(at: u32, rules: Vec<RouteRule>, clusters: Vec<Cluster>) -> Snapshot {
    let domains = [HOST, "user-service"].iter().map(|domain| domain.parse().unwrap()).collect();
    let host = VirtualHost { name: format!("{HOST}:{at}"), domains, service: None, rules };
    Snapshot {
        version: SnapshotVersion { epoch: 1, number: 1 },
        proxy: std::sync::Arc::new(Workload {
            pod: "caller-1".into(),
            name: "caller".into(),
            namespace: "t".parse().unwrap(),
            cluster: "ctx1".parse().unwrap(),
            service_account: "default".parse().unwrap(),
            labels: BTreeMap::new(),
            region: String::new(),
            zone: String::new(),
            has_sidecar: true,
        }),
        outbound: BTreeMap::from([(port(at), RouteTable { hosts: vec![host] })]),
        tcp: Vec::new(),
        unknown_hosts: UnknownHosts::RegistryOnly,
        ingress: BTreeMap::new(),
        inbound: Vec::new(),
        clusters: clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect(),
        peers: BTreeMap::new(),
        path_normalization: PathNormalization::Base,
        authorization: Default::default(),
        mutual_tls: smov_model::tls::MutualTlsMode::default(),
        protected: Vec::new(),
        trust_domain: DEFAULT_TRUST_DOMAIN.into(),
        telemetry: smov_model::telemetry::Telemetry::default(),
    }
}

/// The first route of the outbound door.
fn route(rule: RouteRule) -> Value {
    let routes = translate(&settings(), &snapshot(8081, vec![rule], Vec::new())).routes;
    routes[OUTBOUND]["virtual_hosts"][0]["routes"][0].clone()
}

#[test]
fn domains_carry_the_port_and_port_80_is_a_name_alone_as_well() {
    let hosts = |at| translate(&settings(), &snapshot(at, Vec::new(), Vec::new())).routes[OUTBOUND]["virtual_hosts"].clone();
    assert_eq!(hosts(8081)[0]["domains"], json!([format!("{HOST}:8081"), "user-service:8081"]));
    assert_eq!(hosts(80)[0]["domains"], json!([format!("{HOST}:80"), HOST, "user-service:80", "user-service"]));
    let unknown = &hosts(8081)[1];
    assert_eq!((&unknown["name"], &unknown["routes"][0]["direct_response"]), (&json!("block_all"), &json!({"status": 502})));
}

#[test]
fn one_destination_takes_the_routes_level_and_several_have_their_own() {
    let policy = || RoutePolicy { headers: operations("route"), ..RoutePolicy::default() };
    let values = |list: &Value| list.as_array().unwrap().iter().map(|option| option["header"]["value"].clone()).collect::<Vec<_>>();
    let single = route(rule(Vec::new(), forward(&[(0, "ctx1")]), policy()));
    assert_eq!(single["route"]["cluster"], format!("outbound|8081|ctx1|{HOST}"));
    // The destination's `set` comes last and wins; then the sidecar names itself.
    assert_eq!(values(&single["request_headers_to_add"])[..2], [json!("route"), json!("ctx1")]);
    let several = route(rule(Vec::new(), forward(&[(70, "ctx1"), (30, "ctx2")]), policy()));
    let arms = several["route"]["weighted_clusters"]["clusters"].as_array().unwrap();
    assert_eq!(arms.iter().map(|arm| arm["weight"].clone()).collect::<Vec<_>>(), [json!(70), json!(30)]);
    assert_eq!(values(&arms[1]["request_headers_to_add"]), [json!("ctx2")]);
    assert_eq!(values(&several["request_headers_to_add"])[0], "route");
}

#[test]
fn the_default_policy_is_istios_and_no_timeout_is_none() {
    let route =
        route(rule(Vec::new(), forward(&[(1, "ctx1")]), RoutePolicy { retry: Some(RetryPolicy::default()), ..RoutePolicy::default() }));
    assert_eq!(route["name"], "named");
    assert_eq!(route["route"]["timeout"], "0s");
    let retry = &route["route"]["retry_policy"];
    assert_eq!(retry["retry_on"], "connect-failure,refused-stream,unavailable,cancelled");
    assert_eq!((&retry["num_retries"], &retry["host_selection_retry_max_attempts"]), (&json!(2), &json!("5")));
    assert_eq!(retry["retry_host_predicate"][0]["name"], "envoy.retry_host_predicates.previous_hosts");
    assert_eq!(retry["retry_back_off"], json!({"base_interval": "0.025s", "max_interval": "0.25s"}));
}

#[test]
fn host_set_by_a_header_operation_is_a_rewrite() {
    let change = HeaderChange { set: vec![("Host".into(), "other".into())], ..HeaderChange::default() };
    let headers = HeaderOperations { request: change, response: HeaderChange::default() };
    let rewrite = Some(Rewrite { authority: Some("first".into()), uri: Some("/v2".into()), uri_regex: None });
    let route = route(rule(Vec::new(), forward(&[(1, "ctx1"), (1, "ctx2")]), RoutePolicy { headers, rewrite, ..RoutePolicy::default() }));
    assert_eq!((&route["route"]["host_rewrite_literal"], &route["route"]["prefix_rewrite"]), (&json!("other"), &json!("/v2")));
    assert_eq!(route["request_headers_to_add"].as_array().unwrap().len(), 1, "only the sidecar's own name");
}

#[test]
fn an_excluded_header_that_is_missing_counts_as_empty_unless_presence_is_asked_for() {
    let gold = ValueMatch::Value(StringMatch::Exact("gold".into()));
    let entry = RouteMatch {
        uri: Some(StringMatch::Exact("/A".into())),
        ignore_uri_case: true,
        without_headers: vec![("x-old".into(), ValueMatch::Present), ("x-tier".into(), gold)],
        ..RouteMatch::default()
    };
    let route = route(rule(vec![entry], forward(&[(1, "ctx1")]), RoutePolicy::default()));
    let expected = json!({
        "path": "/A",
        "case_sensitive": false,
        "headers": [
            {"name": "x-old", "present_match": true, "invert_match": true},
            {"name": "x-tier", "string_match": {"exact": "gold"}, "invert_match": true, "treat_missing_header_as_empty": true},
        ],
    });
    assert_eq!(route["match"], expected);
}

#[test]
fn outlier_detection_never_looks_at_success_rates_and_panic_is_off() {
    let mut ejecting = cluster("ctx1");
    ejecting.outlier = Some(OutlierDetection { consecutive_5xx: 0, consecutive_gateway_errors: 3, ..OutlierDetection::default() });
    let resources = translate(&settings(), &snapshot(8081, Vec::new(), vec![ejecting, cluster("ctx2")]));
    let of = |subset: &str| resources.clusters.iter().find(|cluster| cluster["name"] == name(subset).to_string()).unwrap();
    let expected = json!({
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 100,
        "enforcing_success_rate": 0,
        "interval": "10s",
        "base_ejection_time": "30s",
        "max_ejection_percent": 10,
        "consecutive_gateway_failure": 3,
    });
    assert_eq!(of("ctx1")["outlier_detection"], expected);
    assert_eq!(of("ctx1")["common_lb_config"], json!({"healthy_panic_threshold": {"value": 0}}));
    // Without outlier detection Envoy's own threshold of 50 % stays.
    assert_eq!(of("ctx2").get("common_lb_config"), None);
    assert_eq!(of("ctx2")["circuit_breakers"]["thresholds"][0]["max_requests"], u32::MAX);
    assert_eq!(of("ctx2")["upstream_bind_config"]["source_address"]["address"], "127.9.1.5");
}

#[test]
fn durations_are_written_as_protobuf_reads_them() {
    let written = [0, 1, 25, 1500, 10_000].map(|milliseconds| seconds(Duration::from_millis(milliseconds)));
    assert_eq!(written, ["0s", "0.001s", "0.025s", "1.5s", "10s"]);
}

#[test]
fn a_change_of_weights_changes_nothing_but_the_routes() {
    let with = |first, second| {
        let rules = vec![rule(Vec::new(), forward(&[(first, "ctx1"), (second, "ctx2")]), RoutePolicy::default())];
        translate(&settings(), &snapshot(8081, rules, vec![cluster("ctx1"), cluster("ctx2")]))
    };
    let (before, after) = (with(70, 30), with(30, 70));
    assert_eq!((&before.clusters, &before.endpoints, &before.listeners), (&after.clusters, &after.endpoints, &after.listeners));
    assert_ne!(before.routes, after.routes);
}
