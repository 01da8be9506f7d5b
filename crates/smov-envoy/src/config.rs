//! A snapshot as Envoy's configuration: pure functions from what the control plane says to what Envoy's v3 API wants, field by field as
//! Istio's control plane writes it. Nothing here opens a file or a socket.
//!
//! ```text
//!              ┌─► clusters (CDS)      one per cluster of the snapshot, plus the pod's own app ports and the unknown hosts
//!  Snapshot ───┼─► endpoints (EDS)     one list per cluster
//!  + settings  ├─► listeners (LDS)     the outbound HTTP door, TCP doors, inbound ports, the gateway
//!              ├─► routes (RDS)        all virtual hosts of a door
//!              └─► secrets (SDS)       certificates
//! ```

#![allow(clippy::needless_pass_by_value, reason = "a value is built to become part of another one")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use smov_model::snapshot::Snapshot;
use smov_proxy::ProxyConfig;

pub mod access_log;
mod bootstrap;
mod cluster;
mod filters;
mod listener;
mod matching;
mod policy;
mod rbac;
mod route;
mod tls;

pub use bootstrap::{Sockets, bootstrap, static_bootstrap};
pub use tls::own_secrets;

/// The name of the outbound HTTP door's listener and routes.
pub const OUTBOUND: &str = "15001";
/// Requests to hosts that nobody knows go here.
pub const PASSTHROUGH: &str = "PassthroughCluster";
/// What must lead nowhere leads here.
pub const BLACK_HOLE: &str = "BlackHoleCluster";

/// A snapshot in Envoy's words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// CDS.
    pub clusters: Vec<Value>,
    /// EDS, by cluster.
    pub endpoints: BTreeMap<String, Value>,
    /// LDS.
    pub listeners: Vec<Value>,
    /// RDS, by route configuration.
    pub routes: BTreeMap<String, Value>,
    /// SDS: certificates of rules, by name. The workload's own are beside it ([`own_secrets`]).
    pub secrets: BTreeMap<String, Value>,
}

/// Says what a proxy of these settings does on this snapshot, in Envoy's words.
pub fn translate(settings: &ProxyConfig, snapshot: &Snapshot) -> Resources {
    let (clusters, endpoints) = cluster::translate(settings, snapshot);
    Resources {
        clusters,
        endpoints,
        listeners: listener::translate(settings, snapshot),
        routes: route::translate(settings, snapshot),
        secrets: tls::secrets(snapshot),
    }
}

/// An extension's settings: `@type` first, then its fields.
fn typed(name: &str, fields: Value) -> Value {
    let mut typed = json!({"@type": format!("type.googleapis.com/{name}")});
    if let (Some(typed), Value::Object(fields)) = (typed.as_object_mut(), fields) {
        typed.extend(fields);
    }
    typed
}

/// An object of these fields. (`json!` copies what is put into it; large lists are moved.)
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A duration as protobuf writes it in JSON: `0.025s`.
fn seconds(duration: std::time::Duration) -> String {
    if duration.subsec_nanos() == 0 {
        return format!("{}s", duration.as_secs());
    }
    let fraction = format!("{:09}", duration.subsec_nanos());
    format!("{}.{}s", duration.as_secs(), fraction.trim_end_matches('0'))
}

/// Where a resource's updates come from: the agent, asked over HTTP, which answers when there is something new.
fn from_agent() -> Value {
    json!({
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
        "api_config_source": {
            "api_type": "REST",
            "transport_api_version": "V3",
            "cluster_names": [bootstrap::AGENT],
            "refresh_delay": "0.001s",
            "request_timeout": "86400s",
        },
    })
}

fn socket_address(address: std::net::SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

#[cfg(test)]
mod tests;
