//! The HTTP filters of each door, in the order in which Envoy runs them, and what routes say to single filters.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use smov_model::route::{HashKey, RouteTable};
use smov_model::snapshot::Snapshot;
use smov_proxy::ProxyConfig;

use super::{cluster, rbac, typed};

pub(super) const FAULT: &str = "envoy.filters.http.fault";
pub(super) const CORS: &str = "envoy.filters.http.cors";
const BY_NAME: &str = "envoy.filters.http.dynamic_forward_proxy";
const PROTECT: &str = "smov.filters.http.protect";
const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";
const NOTE_HEADERS: &str = "envoy.filters.http.header_to_metadata";

/// Dynamic metadata with what the log wants to know of a request's headers before routes change them.
pub(super) const NOTES: &str = "smov";
/// The note with the peer's own words.
pub(super) const PEER_NOTE: &str = "x-envoy-peer-metadata-id";

/// Headers that are noted whether or not a rule reads them, so that few changes of rules change a listener.
const OFTEN_READ: [&str; 8] =
    ["access-control-request-method", "cookie", "end-user", "origin", "user-agent", "x-canary", "x-user-id", "x-version"];

fn filter(name: &str, config: Value) -> Value {
    json!({"name": name, "typed_config": config})
}

/// Filters of the outbound door and of gateways: note → (RBAC, at a gateway) → (by name → protect, on routes that want them) → fault → CORS →
/// router.
pub(super) fn client_side(snapshot: &Snapshot, is_gateway: bool) -> Value {
    let note = |name: &String| {
        let note = |value: &str| json!({"metadata_namespace": NOTES, "key": name, "type": value});
        json!({"header": name, "on_header_present": note("STRING"), "remove": false})
    };
    let notes: Vec<Value> = headers_read(snapshot).iter().map(note).collect();
    let notes = typed("envoy.extensions.filters.http.header_to_metadata.v3.Config", json!({"request_rules": notes}));
    let mut by_name = filter(
        BY_NAME,
        typed(
            "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
            json!({"dns_cache_config": cluster::dns_cache(), "save_upstream_address": true}),
        ),
    );
    by_name["disabled"] = json!(true);
    let mut protect = filter(PROTECT, typed(RBAC, json!({})));
    protect["disabled"] = json!(true);
    let mut filters = vec![filter(NOTE_HEADERS, notes)];
    // Policies of a sidecar are for those who call its pod, not for the pod's own app.
    if is_gateway {
        filters.extend(rbac::http(&snapshot.authorization.http));
    }
    filters.extend([
        by_name,
        protect,
        filter(FAULT, typed("envoy.extensions.filters.http.fault.v3.HTTPFault", json!({}))),
        filter(CORS, typed("envoy.extensions.filters.http.cors.v3.Cors", json!({}))),
        router(),
    ]);
    filters.into()
}

/// Filters of the pod's own ports. What peers say about themselves is noted, and the app does not see it.
pub(super) fn server_side(snapshot: &Snapshot) -> Value {
    let take = |header: &str| {
        json!({
            "header": header,
            "on_header_present": {"metadata_namespace": NOTES, "key": header, "type": "STRING"},
            "remove": true,
        })
    };
    let notes = typed(
        "envoy.extensions.filters.http.header_to_metadata.v3.Config",
        json!({"request_rules": [take(PEER_NOTE), take("x-envoy-peer-metadata")]}),
    );
    let rbac = rbac::http(&snapshot.authorization.http);
    [filter(NOTE_HEADERS, notes)].into_iter().chain(rbac).chain([router()]).collect::<Vec<_>>().into()
}

fn router() -> Value {
    filter("envoy.filters.http.router", typed("envoy.extensions.filters.http.router.v3.Router", json!({})))
}

/// What a route says that goes out by name: look the name up, then keep away from what belongs to the mesh itself.
pub(super) fn route_by_name(settings: &ProxyConfig, snapshot: &Snapshot) -> Value {
    let on = |config: Value| typed("envoy.config.route.v3.FilterConfig", json!({"config": config}));
    json!({
        BY_NAME: on(typed("envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig", json!({}))),
        PROTECT: on(typed("envoy.extensions.filters.http.rbac.v3.RBACPerRoute", json!({"rbac": protect(settings, snapshot)}))),
    })
}

/// The headers that rules read, to match or to hash, in lower case.
fn headers_read(snapshot: &Snapshot) -> BTreeSet<String> {
    let tables = snapshot.outbound.values().chain(snapshot.ingress.values());
    let of_table = |table: &RouteTable| -> Vec<String> {
        let rules = || table.hosts.iter().flat_map(|host| &host.rules);
        let matched = rules().flat_map(|rule| &rule.matches).flat_map(|entry| entry.headers.iter().chain(&entry.without_headers));
        let hashed = rules().flat_map(|rule| &rule.policy.hash).filter_map(|key| match key {
            HashKey::Header(name) => Some(name),
            HashKey::Cookie { .. } | HashKey::SourceIp | HashKey::Query(_) => None,
        });
        matched.map(|(name, _)| name).chain(hashed).map(|name| name.to_ascii_lowercase()).collect()
    };
    let often = OFTEN_READ.into_iter().map(str::to_owned);
    // Pseudo headers are in the log anyway.
    tables.flat_map(of_table).chain(often).filter(|name| !name.starts_with(':')).collect()
}

/// Refuses API servers, control doors and proxies' doors, whatever name leads there.
fn protect(settings: &ProxyConfig, snapshot: &Snapshot) -> Value {
    let address = |ip: IpAddr, ports: (u16, u16)| {
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        upstream(&ip.to_string(), prefix, ports)
    };
    let mut refused: Vec<Value> =
        snapshot.protected.iter().map(|protected: &SocketAddr| address(protected.ip(), (protected.port(), protected.port()))).collect();
    let ports = &settings.ports;
    for (from, to) in [(ports.outbound, ports.outbound), (ports.admin, ports.admin), (16000, 16999)] {
        // Doors of any pod would be a loop.
        match settings.pod.address {
            IpAddr::V4(own) if own.is_loopback() => {
                let [first, second, ..] = own.octets();
                refused.push(upstream(&format!("{first}.{second}.0.0"), 16, (from, to)));
            }
            own => refused.extend(snapshot.peers.keys().copied().chain([own]).map(|ip| address(ip, (from, to)))),
        }
    }
    let policy = json!({"permissions": [{"or_rules": {"rules": refused}}], "principals": [{"any": true}]});
    json!({"rules": {"action": "DENY", "policies": {"of the mesh itself": policy}}})
}

fn upstream(ip: &str, prefix: u8, ports: (u16, u16)) -> Value {
    let matcher = json!({
        "upstream_ip": {"address_prefix": ip, "prefix_len": prefix},
        "upstream_port_range": {"start": ports.0, "end": u32::from(ports.1) + 1},
    });
    json!({"matcher": {
        "name": "envoy.rbac.matchers.upstream_ip_port",
        "typed_config": typed("envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher", matcher),
    }})
}
