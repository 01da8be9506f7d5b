//! What Envoy is told when it starts: who it is, where the agent is, and the runtime switches that Istio sets.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use smov_proxy::ProxyConfig;

use super::{Resources, from_agent, socket_address, tls, typed};

/// The cluster that leads to the agent.
pub(super) const AGENT: &str = "xds-agent";

/// Sockets between Envoy and its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sockets {
    /// Where Envoy asks for its configuration.
    pub xds: PathBuf,
    /// Envoy's admin pages.
    pub admin: SocketAddr,
}

/// The bootstrap of an Envoy that asks its agent for everything else.
pub fn bootstrap(settings: &ProxyConfig, sockets: &Sockets) -> Value {
    let agent = json!({
        "name": AGENT,
        "type": "STATIC",
        "connect_timeout": "5s",
        // All questions wait at the agent, as streams of one connection.
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
                typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", json!({"explicit_http_config": {"http2_protocol_options": {}}})),
        },
        "circuit_breakers": {"thresholds": [{"max_requests": u32::MAX, "max_pending_requests": u32::MAX, "max_connections": u32::MAX}]},
        "load_assignment": {
            "cluster_name": AGENT,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": sockets.xds}}}}]}],
        },
    });
    let mut bootstrap = base(settings, sockets.admin);
    bootstrap["dynamic_resources"] = json!({"cds_config": from_agent(), "lds_config": from_agent()});
    bootstrap["static_resources"] = json!({"clusters": [agent]});
    bootstrap
}

/// The same proxy with everything in one file and no agent: for `envoy --mode validate`, and for benchmarks of Envoy alone.
/// Without the workload's own certificate among the secrets it speaks plaintext.
pub fn static_bootstrap(settings: &ProxyConfig, resources: &Resources, admin: SocketAddr) -> Value {
    let mut clusters = resources.clusters.clone();
    for cluster in &mut clusters {
        let endpoints = cluster["name"].as_str().and_then(|name| resources.endpoints.get(name));
        if let (Some(endpoints), "EDS") = (endpoints, cluster["type"].as_str().unwrap_or_default()) {
            cluster["load_assignment"] = endpoints.clone();
            if let Some(fields) = cluster.as_object_mut() {
                fields.remove("eds_cluster_config");
                fields.insert("type".to_owned(), json!("STATIC"));
            }
        }
    }
    let mut listeners = resources.listeners.clone();
    for listener in &mut listeners {
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let routes = manager["rds"]["route_config_name"].as_str().and_then(|name| resources.routes.get(name));
        if let (Some(routes), Some(manager)) = (routes, manager.as_object_mut()) {
            manager.remove("rds");
            manager.insert("route_config".to_owned(), routes.clone());
        }
    }
    if !resources.secrets.contains_key(tls::OWN) {
        listeners.iter_mut().chain(&mut clusters).for_each(without_own_certificate);
    }
    clusters.iter_mut().chain(&mut listeners).for_each(with_static_secrets);
    let secrets: Vec<&Value> = resources.secrets.values().collect();
    let mut bootstrap = base(settings, admin);
    bootstrap["static_resources"] = json!({"clusters": clusters, "listeners": listeners, "secrets": secrets});
    bootstrap
}

/// Whoever has no certificate ends no TLS, and calls in plaintext.
fn without_own_certificate(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    let has_socket = |one: &Value| one.to_string().contains(tls::ROOTS);
    if let Some(chains) = fields.get_mut("filter_chains").and_then(Value::as_array_mut)
        && !chains.iter().all(has_socket)
    {
        chains.retain(|chain| !has_socket(chain));
    }
    for name in ["transport_socket", "transport_socket_matches"] {
        if fields.get(name).is_some_and(has_socket) {
            fields.remove(name);
        }
    }
}

/// Secrets come from the same file.
fn with_static_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("sds_config");
            fields.values_mut().for_each(with_static_secrets);
        }
        Value::Array(items) => items.iter_mut().for_each(with_static_secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn base(settings: &ProxyConfig, admin: SocketAddr) -> Value {
    let pod = &settings.pod;
    json!({
        "node": {
            "id": format!("sidecar~{}~{}.{}~{}.svc.cluster.local", pod.address, pod.name, pod.namespace, pod.namespace),
            "cluster": format!("{}.{}", pod.name, pod.namespace),
        },
        "admin": {"address": socket_address(admin), "profile_path": "/dev/null"},
        "overload_manager": {"resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": typed(
                "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                json!({"max_active_downstream_connections": i32::MAX}),
            ),
        }]},
        "layered_runtime": {"layers": [{"name": "istio", "static_layer": {
            "re2.max_program_size.error_level": "32768",
            // `#fragment` is cut off before policies look at the path; plain Envoy would answer 400.
            "envoy.reloadable_features.http_reject_path_with_fragment": false,
        }}]},
    })
}
