//! DestinationRule (<https://istio.io/latest/docs/reference/config/networking/destination-rule/>).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::PortSelector;

/// `spec` of a DestinationRule.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRuleSpec {
    /// The Service; a short name is of the rule's namespace.
    pub host: String,
    /// Policy of the whole host.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Version slices.
    pub subsets: Vec<Subset>,
    /// Namespaces that see the rule; empty means all.
    pub export_to: Vec<String>,
    /// Clients that the rule is for; absent = all.
    pub workload_selector: Option<WorkloadSelector>,
}

/// `workloadSelector:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels that the client's pod must have.
    pub match_labels: BTreeMap<String, String>,
}

/// One entry of `subsets:`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Labels that its endpoints have; empty = all.
    pub labels: BTreeMap<String, String>,
    /// Policy on top of the host's.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// `trafficPolicy:`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// The four blocks.
    #[serde(flatten)]
    pub blocks: PolicyBlocks,
    /// Policies of single ports.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnel through a proxy; kept as written, not executed.
    pub tunnel: Option<Value>,
    /// PROXY protocol; kept as written, not executed.
    pub proxy_protocol: Option<Value>,
    /// Retry budget; kept as written, not executed.
    pub retry_budget: Option<Value>,
}

/// The blocks of a policy; each is replaced as a whole when policies are laid on each other.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyBlocks {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// When endpoints are ejected.
    pub outlier_detection: Option<OutlierDetectionSpec>,
    /// TLS towards the endpoints.
    pub tls: Option<ClientTlsSettings>,
}

/// One entry of `portLevelSettings:`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// The port.
    pub port: Option<PortSelector>,
    /// The four blocks; an absent one is the default, not inherited.
    #[serde(flatten)]
    pub blocks: PolicyBlocks,
}

/// `loadBalancer:`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerSettings {
    /// A simple kind.
    pub simple: Option<String>,
    /// Stickiness.
    pub consistent_hash: Option<ConsistentHash>,
    /// Localities.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// Zones; kept as written, not executed.
    pub zone_aware_lb_setting: Option<Value>,
    /// Slow start; kept as written, not executed.
    pub warmup: Option<Value>,
}

/// `consistentHash:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHash {
    /// By header.
    pub http_header_name: Option<String>,
    /// By cookie.
    pub http_cookie: Option<HttpCookie>,
    /// By the caller's address.
    pub use_source_ip: Option<bool>,
    /// By query parameter.
    pub http_query_parameter_name: Option<String>,
    /// Ring.
    pub ring_hash: Option<RingHash>,
    /// Table.
    pub maglev: Option<Maglev>,
    /// Ring size, deprecated.
    pub minimum_ring_size: Option<u64>,
}

/// `httpCookie:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct HttpCookie {
    /// The cookie.
    pub name: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// How long it lives; absent = the proxy never issues it.
    pub ttl: Option<String>,
    /// More of the cookie that is issued; kept as written, not executed.
    pub attributes: Vec<CookieAttribute>,
}

/// One entry of `attributes:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct CookieAttribute {
    /// `SameSite`, …
    pub name: String,
    /// Its value.
    pub value: String,
}

/// `ringHash:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Points on the ring, at least.
    pub minimum_ring_size: Option<u64>,
}

/// `maglev:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Size of the table, a prime.
    pub table_size: Option<u64>,
}

/// `localityLbSetting:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLbSetting {
    /// Shares per locality.
    pub distribute: Vec<LocalityDistribute>,
    /// Where to when a region fails.
    pub failover: Vec<LocalityFailover>,
    /// Labels that order the localities.
    pub failover_priority: Vec<String>,
    /// On or off.
    pub enabled: Option<bool>,
}

/// One entry of `distribute:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct LocalityDistribute {
    /// Callers of this locality.
    pub from: String,
    /// Locality to percent.
    pub to: BTreeMap<String, u32>,
}

/// One entry of `failover:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct LocalityFailover {
    /// The region that fails.
    pub from: String,
    /// The region that takes over.
    pub to: String,
}

/// `connectionPool:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ConnectionPoolSettings {
    /// Of connections.
    pub tcp: Option<TcpSettings>,
    /// Of requests.
    pub http: Option<HttpSettings>,
}

/// `connectionPool.tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSettings {
    /// 0 means unset.
    pub max_connections: Option<i64>,
    /// A duration; default 10 s.
    pub connect_timeout: Option<String>,
    /// Of opaque connections; a duration.
    pub idle_timeout: Option<String>,
    /// A duration.
    pub max_connection_duration: Option<String>,
    /// Kept as written, not executed.
    pub tcp_keepalive: Option<Value>,
}

/// `connectionPool.http`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSettings {
    /// 0 means unset.
    pub http1_max_pending_requests: Option<i64>,
    /// Limits HTTP/1.1 as well; 0 means unset.
    pub http2_max_requests: Option<i64>,
    /// 1 = no keep-alive; 0 means unset.
    pub max_requests_per_connection: Option<i64>,
    /// 0 means unset.
    pub max_retries: Option<i64>,
    /// A duration; default 1 h.
    pub idle_timeout: Option<String>,
    /// HTTP/2.
    pub h2_upgrade_policy: Option<String>,
    /// HTTP/2.
    pub use_client_protocol: Option<bool>,
    /// HTTP/2.
    pub max_concurrent_streams: Option<i64>,
    /// Kept as written, not executed.
    pub http2_keep_alive: Option<Value>,
}

/// `outlierDetection:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetectionSpec {
    /// Deprecated name of `consecutive5xxErrors`' ancestor; ignored by Istio as well.
    pub consecutive_errors: Option<i64>,
    /// 0 switches it off; default 5.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// 0 and absent switch it off.
    pub consecutive_gateway_errors: Option<u32>,
    /// A duration; default 10 s.
    pub interval: Option<String>,
    /// A duration; default 30 s.
    pub base_ejection_time: Option<String>,
    /// Default 10.
    pub max_ejection_percent: Option<i64>,
    /// Default 0.
    pub min_health_percent: Option<i64>,
    /// Local errors apart.
    pub split_external_local_origin_errors: Option<bool>,
    /// Local errors in a row.
    pub consecutive_local_origin_failures: Option<u32>,
}

/// `tls:` of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSettings {
    /// `DISABLE`, `SIMPLE`, `MUTUAL`, `ISTIO_MUTUAL`.
    pub mode: Option<String>,
    /// File.
    pub client_certificate: Option<String>,
    /// File.
    pub private_key: Option<String>,
    /// File.
    pub ca_certificates: Option<String>,
    /// File.
    pub ca_crl: Option<String>,
    /// Secret.
    pub credential_name: Option<String>,
    /// Names that the server may have.
    pub subject_alt_names: Vec<String>,
    /// Server name sent.
    pub sni: Option<String>,
    /// Do not check the server.
    pub insecure_skip_verify: Option<bool>,
}
