//! VirtualService (<https://istio.io/latest/docs/reference/config/networking/virtual-service/>).

use std::collections::BTreeMap;

use serde::Deserialize;

/// `spec` of a VirtualService.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualServiceSpec {
    /// Host names that the rules are for; short ones are of the rule's namespace.
    pub hosts: Vec<String>,
    /// Gateways and `mesh` (= sidecars); empty means `mesh`.
    pub gateways: Vec<String>,
    /// HTTP rules, in order.
    pub http: Vec<HttpRoute>,
    /// TLS rules by SNI.
    pub tls: Vec<TlsRoute>,
    /// TCP rules, in order.
    pub tcp: Vec<TcpRouteSpec>,
    /// Namespaces that see the rule: `.`, `*` or names; empty means all.
    pub export_to: Vec<String>,
}

/// One entry of `http:`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// For people; no effect on traffic.
    pub name: Option<String>,
    /// Alternatives, ORed; empty = every request.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// Weighted destinations.
    pub route: Vec<HttpRouteDestination>,
    /// Answer with a redirect.
    pub redirect: Option<HttpRedirect>,
    /// Answer at once.
    pub direct_response: Option<HttpDirectResponse>,
    /// Rules of another VirtualService.
    pub delegate: Option<Delegate>,
    /// Changes of path and host.
    pub rewrite: Option<HttpRewrite>,
    /// Limit over all attempts; a duration.
    pub timeout: Option<String>,
    /// Retries.
    pub retries: Option<HttpRetry>,
    /// Injected trouble.
    pub fault: Option<HttpFaultInjection>,
    /// Copies of requests.
    pub mirror: Option<DestinationSpec>,
    /// Share of `mirror`, deprecated.
    #[serde(alias = "mirror_percent")]
    pub mirror_percent: Option<u32>,
    /// Share of `mirror`; absent = all.
    pub mirror_percentage: Option<PercentSpec>,
    /// Copies to several places.
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// Cross-origin rules.
    pub cors_policy: Option<CorsPolicy>,
    /// Header operations of the route.
    pub headers: Option<Headers>,
}

/// One entry of `match:`; its fields are ANDed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatchRequest {
    /// For people; no effect on traffic.
    pub name: Option<String>,
    /// Path without query.
    pub uri: Option<StringMatchSpec>,
    /// `http` or `https`.
    pub scheme: Option<StringMatchSpec>,
    /// Method.
    pub method: Option<StringMatchSpec>,
    /// Host as sent.
    pub authority: Option<StringMatchSpec>,
    /// Headers by name.
    pub headers: BTreeMap<String, StringMatchSpec>,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, StringMatchSpec>,
    /// Query parameters by name.
    pub query_params: BTreeMap<String, StringMatchSpec>,
    /// Does `uri` ignore case (exact and prefix only)?
    pub ignore_uri_case: bool,
    /// Port that the client dialled; 0 = any.
    pub port: Option<u32>,
    /// Labels that the client's pod must have.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the client.
    pub source_namespace: Option<String>,
    /// Gateways in place of those of the resource.
    pub gateways: Vec<String>,
    /// Prefix of statistics; no effect on traffic.
    pub stat_prefix: Option<String>,
}

/// `StringMatch`: at most one of three; `{}` asks for presence.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatchSpec {
    /// The whole text.
    pub exact: Option<String>,
    /// Its start.
    pub prefix: Option<String>,
    /// RE2, the whole text.
    pub regex: Option<String>,
}

/// A weighted destination of `route:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteDestination {
    /// Where to.
    pub destination: Option<DestinationSpec>,
    /// Relative share.
    pub weight: i64,
    /// Header operations of this arm.
    pub headers: Option<Headers>,
}

/// `Destination`: host, subset, port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationSpec {
    /// A Service; a short name is of the rule's namespace.
    pub host: String,
    /// A subset of the host's DestinationRule.
    pub subset: Option<String>,
    /// A port of the host.
    pub port: Option<PortSelector>,
}

/// `PortSelector`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct PortSelector {
    /// The number.
    pub number: u32,
}

/// `redirect:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// New whole path.
    pub uri: Option<String>,
    /// New prefix in place of the matched one.
    pub prefix_rewrite: Option<String>,
    /// New host.
    pub authority: Option<String>,
    /// New port.
    pub port: Option<u32>,
    /// Where the port comes from.
    pub derive_port: Option<String>,
    /// New scheme.
    pub scheme: Option<String>,
    /// 301 unless said otherwise.
    pub redirect_code: Option<u32>,
}

/// `directResponse:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct HttpDirectResponse {
    /// The status.
    pub status: u32,
    /// The body.
    pub body: Option<HttpBody>,
}

/// Body of a `directResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct HttpBody {
    /// As text.
    pub string: Option<String>,
    /// As base64.
    pub bytes: Option<String>,
}

/// `delegate:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Delegate {
    /// The VirtualService.
    pub name: Option<String>,
    /// Its namespace; absent = the rule's own.
    pub namespace: Option<String>,
}

/// `rewrite:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRewrite {
    /// New prefix or path.
    pub uri: Option<String>,
    /// New host.
    pub authority: Option<String>,
    /// Pattern and replacement over the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// `uriRegexRewrite:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RegexRewrite {
    /// RE2.
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    /// Replacement with `\1` groups.
    pub rewrite: Option<String>,
}

/// `retries:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// Retries after the first try; 0 switches them off.
    pub attempts: i64,
    /// Limit of one try; a duration.
    pub per_try_timeout: Option<String>,
    /// Comma list of conditions and status codes.
    pub retry_on: Option<String>,
    /// May retries go to other localities?
    pub retry_remote_localities: Option<bool>,
    /// Avoid endpoints already tried? Default true.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Base of the back-off; a duration.
    pub backoff: Option<String>,
}

/// `fault:`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct HttpFaultInjection {
    /// Injected delay.
    pub delay: Option<DelayFault>,
    /// Injected answer.
    pub abort: Option<AbortFault>,
}

/// `fault.delay`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelayFault {
    /// How long; a duration.
    pub fixed_delay: Option<String>,
    /// Refused by Istio: never implemented.
    pub exponential_delay: Option<String>,
    /// Share; absent = 0 %.
    pub percentage: Option<PercentSpec>,
    /// Share in whole percent, deprecated.
    pub percent: Option<i64>,
}

/// `fault.abort`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AbortFault {
    /// The status.
    pub http_status: Option<i64>,
    /// gRPC status by name.
    pub grpc_status: Option<String>,
    /// Refused by Istio: never implemented.
    pub http2_error: Option<String>,
    /// Share; absent = 0 %.
    pub percentage: Option<PercentSpec>,
}

/// `Percent`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct PercentSpec {
    /// 0 to 100.
    pub value: f64,
}

/// One entry of `mirrors:`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct HttpMirrorPolicy {
    /// Where to.
    pub destination: Option<DestinationSpec>,
    /// Share; absent = all.
    pub percentage: Option<PercentSpec>,
}

/// `corsPolicy:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Origins that may call.
    pub allow_origins: Vec<StringMatchSpec>,
    /// The same, deprecated.
    pub allow_origin: Vec<String>,
    /// Methods.
    pub allow_methods: Vec<String>,
    /// Request headers.
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long a preflight may be kept; a duration.
    pub max_age: Option<String>,
    /// May cookies be sent?
    pub allow_credentials: Option<bool>,
    /// What happens with preflights of other origins.
    pub unmatched_preflights: Option<String>,
}

/// `headers:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Headers {
    /// On the request.
    pub request: Option<HeaderOperationsSpec>,
    /// On the response.
    pub response: Option<HeaderOperationsSpec>,
}

/// One direction of `headers:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct HeaderOperationsSpec {
    /// Overwrite.
    pub set: BTreeMap<String, String>,
    /// Append.
    pub add: BTreeMap<String, String>,
    /// Take away.
    pub remove: Vec<String>,
}

/// One entry of `tcp:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TcpRouteSpec {
    /// Alternatives, ORed; empty = every connection.
    #[serde(rename = "match")]
    pub matches: Vec<L4Match>,
    /// Weighted destinations.
    pub route: Vec<RouteDestination>,
}

/// One entry of `tls:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TlsRoute {
    /// Alternatives, ORed; at least one.
    #[serde(rename = "match")]
    pub matches: Vec<L4Match>,
    /// Weighted destinations.
    pub route: Vec<RouteDestination>,
}

/// Conditions on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Match {
    /// Addresses dialled.
    pub destination_subnets: Vec<String>,
    /// Port dialled; 0 = any.
    pub port: Option<u32>,
    /// Labels that the client's pod must have.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the client.
    pub source_namespace: Option<String>,
    /// Addresses of clients; deprecated.
    pub source_subnet: Option<String>,
    /// Gateways in place of those of the resource.
    pub gateways: Vec<String>,
    /// Server names (TLS rules).
    pub sni_hosts: Vec<String>,
}

/// A weighted destination of a TCP or TLS rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RouteDestination {
    /// Where to.
    pub destination: Option<DestinationSpec>,
    /// Relative share.
    pub weight: i64,
}
