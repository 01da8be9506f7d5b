//! Listeners: the outbound HTTP door, TCP doors, the pod's own ports, a gateway.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};
use smov_model::cluster::Protocol;
use smov_model::snapshot::{PathNormalization, Snapshot, TcpRoute};
use smov_model::tls::MutualTlsMode;
use smov_proxy::ProxyConfig;
use smov_proxy::config::{InboundListen, TcpDoor};

use super::access_log::{Side, access_log};
use super::{BLACK_HOLE, OUTBOUND, cluster, filters, from_agent, rbac, route, socket_address, tls, typed};

/// LDS.
pub(super) fn translate(settings: &ProxyConfig, snapshot: &Snapshot) -> Vec<Value> {
    let pod = |port: u16| SocketAddr::new(settings.pod.address, port);
    let mut listeners = Vec::new();
    if let Some(ingress) = &settings.ingress {
        let name = route::ingress_name(ingress.server_port);
        let mut manager = manager(snapshot, &format!("ingress_{name}"), Side::Ingress);
        manager.insert("rds".into(), json!({"route_config_name": name, "config_source": from_agent()}));
        manager.insert("http_filters".into(), filters::client_side(snapshot, true));
        manager.insert("server_name".into(), json!("istio-envoy"));
        // Whoever calls a gateway is a stranger: its address goes to X-Forwarded-For, its x-envoy-* controls go nowhere.
        manager.insert("use_remote_address".into(), json!(true));
        manager.insert("forward_client_cert_details".into(), json!("SANITIZE_SET"));
        manager.insert("preserve_external_request_id".into(), json!(true));
        listeners.push(listener(&name, ingress.address, http(manager)));
    } else {
        let mut manager = manager(snapshot, &format!("outbound_{OUTBOUND}"), Side::Outbound);
        manager.insert("rds".into(), json!({"route_config_name": OUTBOUND, "config_source": from_agent()}));
        manager.insert("http_filters".into(), filters::client_side(snapshot, false));
        listeners.push(listener(OUTBOUND, pod(settings.ports.outbound), http(manager)));
    }
    listeners.extend(settings.inbound.iter().map(|inbound| {
        let name = format!("inbound_{}", inbound.port);
        inbound_listener(snapshot, listener_of(&name, pod(inbound.port), own_port(snapshot, inbound)), inbound)
    }));
    listeners.extend(settings.tcp_doors.iter().map(|door| {
        let route = snapshot.tcp.iter().find(|route| route.host == door.host && route.port == door.port);
        listener(&format!("tcp_{}", door.door), pod(door.door), tcp_door(door, route))
    }));
    listeners
}

fn listener(name: &str, address: SocketAddr, filter: Value) -> Value {
    listener_of(name, address, vec![filter])
}

fn listener_of(name: &str, address: SocketAddr, filters: Vec<Value>) -> Value {
    json!({
        "name": name,
        "address": socket_address(address),
        "filter_chains": [{"filters": filters}],
        // One worker: the kernel need not spread connections.
        "enable_reuse_port": false,
    })
}

/// A pod's own port with the filter chains of its mode, Istio's `getFilterChainMatchOptions`: what fits none of them is closed.
fn inbound_listener(snapshot: &Snapshot, mut listener: Value, inbound: &InboundListen) -> Value {
    let known = snapshot.inbound.iter().find(|known| known.port.number() == inbound.port);
    // Ports to which no Service leads take what the workload takes, as Istio's pass-through chains.
    let (mode, protocol) = known.map_or((snapshot.mutual_tls, Protocol::Http), |known| (known.mutual_tls, known.protocol));
    if mode == MutualTlsMode::Disable {
        return listener;
    }
    let filters = listener["filter_chains"][0]["filters"].take();
    let chain = |name: &str, matching: Value, secured: bool| {
        let mut chain = json!({"name": name, "filter_chain_match": matching, "filters": filters});
        if secured {
            chain["transport_socket"] = tls::downstream(protocol, &snapshot.trust_domain);
        }
        chain
    };
    let chains = match (mode, protocol) {
        (MutualTlsMode::Strict, _) => vec![chain("mutual_tls", json!({"transport_protocol": "tls"}), true)],
        (MutualTlsMode::Permissive | MutualTlsMode::Disable, protocol) => {
            let of_the_mesh = json!({"transport_protocol": "tls", "application_protocols": tls::OF_THE_MESH});
            let mut chains =
                vec![chain("mutual_tls", of_the_mesh, true), chain("plaintext", json!({"transport_protocol": "raw_buffer"}), false)];
            if protocol == Protocol::Tcp {
                // Somebody else's TLS goes to the app as it comes.
                chains.push(chain("other_tls", json!({"transport_protocol": "tls"}), false));
            }
            chains
        }
    };
    listener["filter_chains"] = chains.into();
    let inspector = typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", json!({}));
    listener["listener_filters"] = json!([{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}]);
    // Istio's `protocolDetectionTimeout`.
    listener["listener_filters_timeout"] = json!("0s");
    listener["access_log"] = access_log(Side::Connection);
    listener
}

fn http(manager: Map<String, Value>) -> Value {
    let name = "envoy.filters.network.http_connection_manager";
    json!({"name": name, "typed_config": typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", manager.into())})
}

/// What all HTTP doors have in common, as Istio sets it.
fn manager(snapshot: &Snapshot, prefix: &str, side: Side) -> Map<String, Value> {
    let mut manager = Map::new();
    manager.insert("stat_prefix".into(), json!(prefix));
    manager.insert("stream_idle_timeout".into(), json!("0s"));
    manager.insert("upgrade_configs".into(), json!([{"upgrade_type": "websocket"}]));
    manager.insert("use_remote_address".into(), json!(false));
    manager.insert("access_log".into(), access_log(side));
    let normalization = snapshot.path_normalization;
    manager.insert("normalize_path".into(), json!(normalization != PathNormalization::None));
    if matches!(normalization, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes) {
        manager.insert("merge_slashes".into(), json!(true));
    }
    let escaped = if normalization == PathNormalization::DecodeAndMergeSlashes { "UNESCAPE_AND_FORWARD" } else { "KEEP_UNCHANGED" };
    manager.insert("path_with_escaped_slashes_action".into(), json!(escaped));
    manager
}

/// One port of the pod, towards its app: the network filters.
fn own_port(snapshot: &Snapshot, inbound: &InboundListen) -> Vec<Value> {
    let port = inbound.port;
    let known = snapshot.inbound.iter().find(|known| known.port.number() == port);
    let target = cluster::inbound_name(port);
    if known.is_some_and(|known| known.protocol == Protocol::Tcp) {
        let proxy = tcp_proxy(&target, json!({"cluster": target}), Side::InboundTcp);
        return rbac::network(&snapshot.authorization.tcp).into_iter().chain([proxy]).collect();
    }
    let mut manager = manager(snapshot, &format!("inbound_{port}"), Side::Inbound);
    manager.insert("server_name".into(), json!("istio-envoy"));
    manager.insert("http_filters".into(), filters::server_side(snapshot));
    manager.insert("forward_client_cert_details".into(), json!("APPEND_FORWARD"));
    manager.insert("set_current_client_cert_details".into(), json!({"subject": true, "dns": true, "uri": true}));
    let host = json!({
        "name": format!("inbound|http|{port}"),
        "domains": ["*"],
        "include_request_attempt_count": false,
        "routes": [{
            "name": "default",
            "match": {"prefix": "/"},
            "route": {
                "cluster": target,
                "timeout": "0s",
                "retry_policy": {"retry_on": "reset-before-request", "num_retries": 2},
            },
        }],
    });
    manager.insert("route_config".into(), json!({"name": target, "validate_clusters": false, "virtual_hosts": [host]}));
    vec![http(manager)]
}

fn tcp_door(door: &TcpDoor, route: Option<&TcpRoute>) -> Value {
    let prefix = format!("outbound|{}||{}", door.port, door.host);
    let target = match route {
        None => json!({"cluster": BLACK_HOLE}),
        Some(route) if route.split.is_single() => {
            json!({"cluster": route.split.arms().next().map_or_else(|| BLACK_HOLE.to_owned(), |(_, cluster)| cluster.to_string())})
        }
        Some(route) => {
            let arms: Vec<Value> =
                route.split.arms().map(|(weight, cluster)| json!({"name": cluster.to_string(), "weight": weight.0})).collect();
            json!({"weighted_clusters": {"clusters": arms}})
        }
    };
    tcp_proxy(&prefix, target, Side::OutboundTcp)
}

fn tcp_proxy(prefix: &str, target: Value, side: Side) -> Value {
    let mut fields = json!({"stat_prefix": prefix, "access_log": access_log(side)});
    if let (Some(fields), Value::Object(target)) = (fields.as_object_mut(), target) {
        fields.extend(target);
    }
    json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", fields)})
}
