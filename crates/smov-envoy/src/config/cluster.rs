//! Clusters and their endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};
use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, Endpoint, LoadBalancer, NamedEndpoint, OutlierDetection, Protocol};
use smov_model::snapshot::Snapshot;
use smov_proxy::ProxyConfig;
use smov_proxy::config::AppAddress;

use super::{BLACK_HOLE, PASSTHROUGH, from_agent, object, seconds, socket_address, tls, typed};

/// Istio's name of the cluster behind a pod's own port.
pub(super) fn inbound_name(port: u16) -> String {
    format!("inbound|{port}||")
}

/// Is this cluster one whose addresses the dynamic forward proxy finds?
pub(super) fn by_name(cluster: &Cluster) -> bool {
    cluster.discovery == Discovery::OriginalDestination
}

/// CDS and EDS.
pub(super) fn translate(settings: &ProxyConfig, snapshot: &Snapshot) -> (Vec<Value>, BTreeMap<String, Value>) {
    let mut clusters = vec![
        json!({"name": BLACK_HOLE, "type": "STATIC", "connect_timeout": "10s"}),
        forward_by_name(PASSTHROUGH, &ConnectionLimits::default()),
    ];
    let mut endpoints = BTreeMap::new();
    clusters.extend(settings.inbound.iter().map(|inbound| app(inbound.port, &inbound.app)));
    for cluster in snapshot.clusters.values() {
        let name = cluster.name.to_string();
        clusters.push(translate_one(settings, &name, cluster, &snapshot.trust_domain));
        if cluster.discovery == Discovery::Listed {
            endpoints.insert(name.clone(), assignment(&name, cluster));
        }
    }
    (clusters, endpoints)
}

fn translate_one(settings: &ProxyConfig, name: &str, cluster: &Cluster, trust_domain: &str) -> Value {
    if by_name(cluster) {
        let mut value = forward_by_name(name, &cluster.limits);
        if let Some(value) = value.as_object_mut() {
            tls::secure(value, cluster, trust_domain);
        }
        return value;
    }
    let mut value = base(name, &cluster.limits);
    match &cluster.discovery {
        Discovery::Listed | Discovery::OriginalDestination => {
            value.insert("type".into(), json!("EDS"));
            value.insert("eds_cluster_config".into(), json!({"service_name": name, "eds_config": from_agent()}));
            // The caller's address tells the callee who calls. A loopback source reaches loopback addresses only.
            let source = settings.pod.address;
            if !source.is_loopback() || cluster.endpoints.iter().all(|endpoint| endpoint.address.ip().is_loopback()) {
                let source = socket_address(SocketAddr::new(source, 0));
                value.insert("upstream_bind_config".into(), json!({"source_address": source["socket_address"]}));
            }
        }
        Discovery::Dns(names) => {
            let config = json!({
                "dns_lookup_family": "V4_PREFERRED",
                "dns_refresh_rate": "60s",
                "respect_dns_ttl": true,
                "typed_dns_resolver_config": system_resolver(),
            });
            let config = typed("envoy.extensions.clusters.dns.v3.DnsCluster", config);
            value.insert("cluster_type".into(), json!({"name": "envoy.clusters.dns", "typed_config": config}));
            let endpoint = |named: &NamedEndpoint| {
                let mut value = json!({
                    "endpoint": {"address": {"socket_address": {"address": named.host.as_str(), "port_value": named.port.number()}}},
                    "load_balancing_weight": named.weight.max(1),
                });
                if named.mutual_tls {
                    value["metadata"] = json!({"filter_metadata": {"envoy.transport_socket_match": tls::endpoint_mark()}});
                }
                value
            };
            let all: Vec<Value> = names.iter().map(endpoint).collect();
            value.insert("load_assignment".into(), json!({"cluster_name": name, "endpoints": [{"lb_endpoints": all}]}));
        }
    }
    balance(&mut value, cluster);
    if let Some(outlier) = &cluster.outlier {
        value.insert("outlier_detection".into(), outlier_detection(outlier));
    }
    let mut common = Map::new();
    if let Some(outlier) = &cluster.outlier {
        common.insert("healthy_panic_threshold".into(), json!({"value": outlier.min_health_percent}));
    }
    if !cluster.locality_weights.is_empty() {
        common.insert("locality_weighted_lb_config".into(), json!({}));
    }
    if !common.is_empty() {
        value.insert("common_lb_config".into(), common.into());
    }
    tls::secure(&mut value, cluster, trust_domain);
    if cluster.protocol == Protocol::Http {
        value.insert("typed_extension_protocol_options".into(), http_options(&cluster.limits));
    } else if cluster.limits.max_requests_per_connection == 1 {
        // Opaque bytes know no requests.
        tracing::debug!(cluster = name, "maxRequestsPerConnection means nothing for TCP");
    }
    value.into()
}

fn base(name: &str, limits: &ConnectionLimits) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("name".into(), json!(name));
    value.insert("connect_timeout".into(), json!(seconds(limits.connect_timeout)));
    let mut thresholds = json!({
        "max_connections": limits.max_connections,
        "max_pending_requests": limits.max_pending_requests,
        "max_requests": limits.max_requests,
        "max_retries": limits.max_retries,
    });
    thresholds["track_remaining"] = json!(true);
    value.insert("circuit_breakers".into(), json!({"thresholds": [thresholds]}));
    value
}

fn http_options(limits: &ConnectionLimits) -> Value {
    let mut common = json!({"idle_timeout": seconds(limits.idle_timeout)});
    if limits.max_requests_per_connection != u32::MAX {
        common["max_requests_per_connection"] = json!(limits.max_requests_per_connection);
    }
    let options = json!({"explicit_http_config": {"http_protocol_options": {}}, "common_http_protocol_options": common});
    json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", options),
    })
}

fn balance(value: &mut Map<String, Value>, cluster: &Cluster) {
    let policy = match cluster.load_balancer {
        LoadBalancer::LeastRequest => "LEAST_REQUEST",
        LoadBalancer::RoundRobin => "ROUND_ROBIN",
        LoadBalancer::Random => "RANDOM",
        LoadBalancer::RingHash { minimum_size } => {
            value.insert("ring_hash_lb_config".into(), json!({"minimum_ring_size": minimum_size}));
            "RING_HASH"
        }
        LoadBalancer::Maglev { table_size } => {
            value.insert("maglev_lb_config".into(), json!({"table_size": table_size}));
            "MAGLEV"
        }
    };
    value.insert("lb_policy".into(), json!(policy));
}

/// Envoy ejects by success rate unless told not to; Istio tells it.
fn outlier_detection(outlier: &OutlierDetection) -> Value {
    let on = |count: u32| if count > 0 { 100 } else { 0 };
    let mut value = json!({
        "enforcing_consecutive_5xx": on(outlier.consecutive_5xx),
        "enforcing_consecutive_gateway_failure": on(outlier.consecutive_gateway_errors),
        "enforcing_success_rate": 0,
        "interval": seconds(outlier.interval),
        "base_ejection_time": seconds(outlier.base_ejection_time),
        "max_ejection_percent": outlier.max_ejection_percent,
    });
    if outlier.consecutive_5xx > 0 {
        value["consecutive_5xx"] = json!(outlier.consecutive_5xx);
    }
    if outlier.consecutive_gateway_errors > 0 {
        value["consecutive_gateway_failure"] = json!(outlier.consecutive_gateway_errors);
    }
    value
}

/// A cluster without a list: each request goes to the name that it asks for.
fn forward_by_name(name: &str, limits: &ConnectionLimits) -> Value {
    let mut value = base(name, limits);
    value.insert("lb_policy".into(), json!("CLUSTER_PROVIDED"));
    let config = typed(
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
        json!({"dns_cache_config": dns_cache(), "allow_insecure_cluster_options": true}),
    );
    value.insert("cluster_type".into(), json!({"name": "envoy.clusters.dynamic_forward_proxy", "typed_config": config}));
    value.insert("typed_extension_protocol_options".into(), http_options(limits));
    value.into()
}

/// One cache of names for all that goes out by name; the filter and the cluster must name the same one.
pub(super) fn dns_cache() -> Value {
    json!({"name": "names", "dns_lookup_family": "V4_PREFERRED", "typed_dns_resolver_config": system_resolver()})
}

/// Names are looked up as every program of this machine does.
fn system_resolver() -> Value {
    json!({
        "name": "envoy.network.dns_resolver.getaddrinfo",
        "typed_config": typed("envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig", json!({})),
    })
}

/// The pod's own app.
fn app(port: u16, address: &AppAddress) -> Value {
    let name = inbound_name(port);
    let mut value = base(&name, &ConnectionLimits::default());
    let address = match address {
        AppAddress::Unix(path) => json!({"pipe": {"path": path}}),
        AppAddress::Tcp(address) => socket_address(*address),
    };
    value.insert("type".into(), json!("STATIC"));
    value.insert(
        "load_assignment".into(),
        json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}),
    );
    value.into()
}

/// EDS: endpoints by priority and locality.
fn assignment(name: &str, cluster: &Cluster) -> Value {
    let mut priorities: Vec<u32> = cluster.endpoints.iter().map(|endpoint| endpoint.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let mut groups: BTreeMap<(usize, &str, &str, &str), Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in &cluster.endpoints {
        // Envoy wants priorities without gaps.
        let rank = priorities.binary_search(&endpoint.priority).unwrap_or_default();
        let workload = &endpoint.workload;
        groups.entry((rank, &workload.region, &workload.zone, workload.subzone())).or_default().push(endpoint);
    }
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|((priority, region, zone, subzone), endpoints)| {
            let locality = endpoints.first().map(|endpoint| endpoint.workload.locality());
            let endpoints: Vec<Value> = endpoints.into_iter().map(lb_endpoint).collect();
            let locality_words = json!({"region": region, "zone": zone, "sub_zone": subzone});
            let mut group = object([("locality", locality_words), ("lb_endpoints", Value::Array(endpoints))]);
            if priority > 0 {
                group["priority"] = json!(priority);
            }
            if let Some((_, weight)) = cluster.locality_weights.iter().find(|(known, _)| Some(known) == locality.as_ref()) {
                group["load_balancing_weight"] = json!(weight);
            }
            group
        })
        .collect();
    object([("cluster_name", json!(name)), ("endpoints", Value::Array(groups))])
}

fn lb_endpoint(endpoint: &Endpoint) -> Value {
    let workload = &endpoint.workload;
    let known = format!("{};{};{}", workload.name, workload.namespace, workload.canonical_service());
    let mut metadata = json!({"istio": {"workload": known}});
    if endpoint.mutual_tls {
        metadata["envoy.transport_socket_match"] = tls::endpoint_mark();
    }
    if endpoint.via.is_some() {
        // Rings and tables go by who it is, not by the relay on the way.
        metadata["envoy.lb"] = json!({"hash_key": endpoint.address.to_string()});
    }
    json!({
        "endpoint": {"address": socket_address(endpoint.dial())},
        "load_balancing_weight": endpoint.weight.max(1),
        "metadata": {"filter_metadata": metadata},
    })
}
