//! What Envoy writes about each request and connection: one line of JSON, which the agent reads (`crate::log`).

use serde_json::{Value, json};

use super::{filters, typed};

/// Which door a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// Requests of the pod's own app.
    Outbound,
    /// Requests of peers.
    Inbound,
    /// Requests from outside the mesh.
    Ingress,
    /// Connections of the pod's own app through a TCP door.
    OutboundTcp,
    /// Connections of peers to an opaque port.
    InboundTcp,
    /// Connections of peers to any port, for those that were not served.
    Connection,
}

/// The log of one door, on Envoy's standard output.
pub(super) fn access_log(side: Side) -> Value {
    let config = json!({"log_format": {"json_format": format_of(side)}});
    json!([{"name": "envoy.access_loggers.stdout", "typed_config": typed("envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", config)}])
}

fn format_of(side: Side) -> Value {
    let mut format = json!({
        "side": side,
        "started": "%START_TIME(%s%6f)%",
        "time": "%START_TIME%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "termination": "%CONNECTION_TERMINATION_DETAILS%",
        "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
        "upstreamHost": "%UPSTREAM_HOST%",
        "upstreamCluster": "%UPSTREAM_CLUSTER_RAW%",
        "upstreamLocal": "%UPSTREAM_LOCAL_ADDRESS%",
        "downstreamLocal": "%DOWNSTREAM_LOCAL_ADDRESS%",
        "downstreamRemote": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "tried": "%UPSTREAM_HOSTS_ATTEMPTED%",
        "upstreamTls": "%UPSTREAM_TLS_VERSION%",
        "upstreamPeer": "%UPSTREAM_PEER_URI_SAN%",
        "downstreamTls": "%DOWNSTREAM_TLS_VERSION%",
        "downstreamPeer": "%DOWNSTREAM_PEER_URI_SAN%",
        "downstreamFailure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
        "serverName": "%REQUESTED_SERVER_NAME%",
    });
    let http = json!({
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "authority": "%REQ(X-ENVOY-ORIGINAL-HOST?:AUTHORITY)%",
        "protocol": "%PROTOCOL%",
        "requestId": "%REQ(X-REQUEST-ID)%",
        "userAgent": "%REQ(USER-AGENT)%",
        "forwardedFor": "%REQ(X-FORWARDED-FOR)%",
        "serviceTime": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
        "requestHead": "%REQUEST_HEADERS_BYTES%",
        "responseHead": "%RESPONSE_HEADERS_BYTES%",
        "route": "%ROUTE_NAME%",
        "taken": "%METADATA(ROUTE:smov)%",
        "notes": format!("%DYNAMIC_METADATA({})%", filters::NOTES),
        // Microseconds from the request's first byte: sent upstream, answered upstream, answered, done.
        "upstreamSent": "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
        "upstreamAnswered": "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
        "answered": "%COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:us)%",
        "done": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    });
    if let (Side::Outbound | Side::Inbound | Side::Ingress, Some(format), Value::Object(http)) = (side, format.as_object_mut(), http) {
        format.extend(http);
    }
    format
}
