//! Routes: which rule does a request meet?
//!
//! A VirtualService compiles to a [`VirtualHost`] with [`RouteRule`]s in order; the first that matches wins, whatever comes after
//! (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRoute>).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{ClusterName, HostPattern, Hostname, Port, ResourceRef};
use crate::split::Split;
use crate::text::{Pattern, StringMatch};

mod body;
mod cors;
mod find;
pub use body::Body;
pub use cors::CorsDecision;
pub use find::{Mismatch, RequestHead, canonical_host, explain_match, query_value};

/// All routes of one port (or one gateway server).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RouteTable {
    /// The virtual hosts. An exact domain beats a wildcard, a longer wildcard a shorter one.
    pub hosts: Vec<VirtualHost>,
}

/// The routes of one host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualHost {
    /// For people and metrics: `user-service.theater-msa.svc.cluster.local:8081`.
    pub name: String,
    /// The names that lead here, without port: the full name and its short forms.
    pub domains: Vec<HostPattern>,
    /// The Service that the host is, when it is one: the metrics' `destination_service`.
    pub service: Option<Hostname>,
    /// The rules, in order.
    pub rules: Vec<RouteRule>,
}

/// One entry of a VirtualService's `http:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RouteRule {
    /// Where it was written.
    pub origin: Origin,
    /// Alternatives, ORed; empty = every request.
    pub matches: Vec<RouteMatch>,
    /// What is done with the request.
    pub action: RouteAction,
    /// How it is done.
    pub policy: RoutePolicy,
}

/// Where a rule came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The resource; a Service for the default route of a host without VirtualService.
    pub resource: ResourceRef,
    /// Path in the resource: `spec.http[1]`; empty for a default route.
    pub path: String,
    /// The rule's own `name`; empty when it has none.
    pub name: String,
}

/// Conditions on a request, ANDed. What depends on the proxy alone (gateways, source labels, port) was decided in compile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteMatch {
    /// On the path without query.
    pub uri: Option<StringMatch>,
    /// Does `uri` ignore case (exact and prefix only)?
    pub ignore_uri_case: bool,
    /// On `http` or `https`.
    pub scheme: Option<StringMatch>,
    /// On the method, case-sensitive.
    pub method: Option<StringMatch>,
    /// On Host as sent, with its port, case-sensitive.
    pub authority: Option<StringMatch>,
    /// On headers: lower-case name and condition.
    pub headers: Vec<(String, ValueMatch)>,
    /// On headers that must not match.
    pub without_headers: Vec<(String, ValueMatch)>,
    /// On query parameters: name (case-sensitive), condition on the raw value of the first occurrence.
    pub query: Vec<(String, ValueMatch)>,
}

/// A condition on a header's or parameter's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ValueMatch {
    /// It is there, whatever its value.
    Present,
    /// Its value matches.
    Value(StringMatch),
}

/// What a rule does with a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteAction {
    /// Send it to one of these destinations.
    Forward(Split<Destination>),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer at once.
    DirectResponse(DirectResponse),
}

/// Where an arm of a split leads, with what is special to that arm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// The cluster. It may be missing from the snapshot: then requests get 503 `NC`.
    pub cluster: ClusterName,
    /// Header operations of this arm.
    pub headers: HeaderOperations,
}

/// `redirect:` of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub code: u16,
    /// New whole path.
    pub uri: Option<String>,
    /// New host.
    pub authority: Option<String>,
    /// New scheme.
    pub scheme: Option<String>,
    /// New port.
    pub port: Option<RedirectPort>,
    /// In place of the matched prefix; not together with `uri`.
    pub prefix_rewrite: Option<String>,
}

/// `port:` or `derivePort:` of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPort {
    /// This one.
    Fixed(Port),
    /// 80 or 443, as the scheme has it (`FROM_PROTOCOL_DEFAULT`).
    OfScheme,
    /// The port on which the request came in (`FROM_REQUEST_PORT`).
    OfListener,
}

/// `directResponse:` of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DirectResponse {
    /// The status.
    pub status: u16,
    /// The body, maybe empty.
    pub body: Body,
}

/// How a rule treats the requests that it takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutePolicy {
    /// Over all attempts and back-offs from the end of the request on, without injected delay; `None` = no timeout.
    pub timeout: Option<Duration>,
    /// `None` = no retries.
    pub retry: Option<RetryPolicy>,
    /// Injected trouble.
    pub fault: Option<Fault>,
    /// Changes of path and host.
    pub rewrite: Option<Rewrite>,
    /// Header operations of the route.
    pub headers: HeaderOperations,
    /// Where copies go.
    pub mirrors: Vec<Mirror>,
    /// Cross-origin requests.
    pub cors: Option<CorsPolicy>,
    /// What of a request says which endpoint it sticks to; the destinations' `consistentHash`, in their order. Empty = nothing.
    pub hash: Vec<HashKey>,
}

/// A copy of a request, sent and forgotten (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMirrorPolicy>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mirror {
    /// Where to.
    pub cluster: ClusterName,
    /// Of this share of the requests.
    pub share: Percent,
}

/// `corsPolicy:` of a rule (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#CorsPolicy>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CorsPolicy {
    /// Origins that are welcome.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`; empty = the header is not sent.
    pub allow_methods: String,
    /// `access-control-allow-headers`.
    pub allow_headers: String,
    /// `access-control-expose-headers`.
    pub expose_headers: String,
    /// `access-control-max-age`, in whole seconds.
    pub max_age: Option<u64>,
    /// `access-control-allow-credentials: true`.
    pub allow_credentials: bool,
    /// Are preflights of unknown origins sent on to the upstream? Istio's default; `IGNORE` answers them with 200 and no CORS header.
    pub forward_unmatched_preflights: bool,
}

/// One key of consistent hashing
/// (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#LoadBalancerSettings-ConsistentHashLB>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HashKey {
    /// The value of this header (lower-case name).
    Header(String),
    /// The value of this cookie.
    Cookie {
        /// Its name.
        name: String,
        /// `Path` of a cookie that the proxy issues.
        path: String,
        /// With a time to live, the proxy issues the cookie when the request has none; zero = a session cookie.
        ttl: Option<Duration>,
    },
    /// The caller's address.
    SourceIp,
    /// The value of this query parameter.
    Query(String),
}

/// Retries (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPRetry>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Retries after the first try; over 0.
    pub attempts: u32,
    /// Limit of one try.
    pub per_try_timeout: Option<Duration>,
    /// What is retried.
    pub on: RetryOn,
    /// Base of the back-off; default 25 ms.
    pub backoff: Duration,
    /// Avoid endpoints already tried? Default true.
    pub ignore_previous_hosts: bool,
}

impl Default for RetryPolicy {
    /// Istio's default policy: 2 retries on connect-failure, refused-stream, unavailable, cancelled.
    fn default() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            on: RetryOn { connect_failure: true, refused_stream: true, unavailable: true, cancelled: true, ..RetryOn::default() },
            backoff: Duration::from_millis(25),
            ignore_previous_hosts: true,
        }
    }
}

/// The conditions of `retryOn` (<https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryOn {
    /// Any 5xx, and no answer at all.
    pub any_5xx: bool,
    /// 502, 503, 504, resets and per-try timeouts.
    pub gateway_error: bool,
    /// No answer: disconnect, reset, per-try timeout.
    pub reset: bool,
    /// No answer and the request was not sent.
    pub reset_before_request: bool,
    /// The TCP connect failed.
    pub connect_failure: bool,
    /// The upstream refused the stream (HTTP/2).
    pub refused_stream: bool,
    /// 409.
    pub retriable_4xx: bool,
    /// gRPC `cancelled`.
    pub cancelled: bool,
    /// gRPC `unavailable`.
    pub unavailable: bool,
    /// These codes.
    pub status_codes: Vec<u16>,
}

impl RetryOn {
    /// The words of `retryOn` that are on, without the codes.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        let words = [
            (self.any_5xx, "5xx"),
            (self.gateway_error, "gateway-error"),
            (self.reset, "reset"),
            (self.reset_before_request, "reset-before-request"),
            (self.connect_failure, "connect-failure"),
            (self.refused_stream, "refused-stream"),
            (self.retriable_4xx, "retriable-4xx"),
            (self.unavailable, "unavailable"),
            (self.cancelled, "cancelled"),
        ];
        words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word)
    }
}

/// Injected trouble (<https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPFaultInjection>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    /// Delay this share of the requests, by this long.
    pub delay: Option<(Percent, Duration)>,
    /// Abort this share of the requests, with this status.
    pub abort: Option<(Percent, AbortStatus)>,
}

/// What an injected abort answers. Which form it takes is decided by the request: gRPC gets a gRPC status in a 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AbortStatus {
    /// `httpStatus`.
    Http(u16),
    /// `grpcStatus`, by number.
    Grpc(u8),
}

/// A share in millionths, as Envoy draws it: 1,000,000 = 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(u32);

impl Percent {
    /// From millionths; more than 100 % is 100 %.
    pub fn from_millionths(millionths: u32) -> Self {
        Self(millionths.min(1_000_000))
    }

    /// From percent, `None` when it is not 0 to 100.
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then(|| Self((percent * 10_000.0).round() as u32))
    }

    /// Does this roll fall inside the share? The roll is taken modulo one million.
    pub fn hit(self, roll: u64) -> bool {
        roll % 1_000_000 < u64::from(self.0)
    }

    /// In millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }
}

/// `rewrite:` of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Rewrite {
    /// With a prefix match: replaces the matched prefix; with exact or regex: the whole path; without `uri` match: the leading `/`.
    pub uri: Option<String>,
    /// Regex and replacement (`\1` groups) over the path.
    pub uri_regex: Option<(Pattern, String)>,
    /// New Host.
    pub authority: Option<String>,
}

/// `headers:` of a rule or destination; removes run before sets and adds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderOperations {
    /// On the request.
    pub request: HeaderChange,
    /// On the response.
    pub response: HeaderChange,
}

/// One direction of [`HeaderOperations`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderChange {
    /// Overwrite: lower-case name, value.
    pub set: Vec<(String, String)>,
    /// Append one more value.
    pub add: Vec<(String, String)>,
    /// Take away.
    pub remove: Vec<String>,
}

impl HeaderChange {
    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}
