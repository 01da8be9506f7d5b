//! How a rule treats what it takes: timeout, retries, fault, rewrite, headers, mirrors, CORS.

use std::collections::BTreeMap;
use std::time::Duration;

use smov_model::route::{
    AbortStatus, CorsPolicy, Fault, HeaderChange, HeaderOperations, Mirror, Percent, RetryOn, RetryPolicy, Rewrite, RoutePolicy, ValueMatch,
};
use smov_model::text::{Pattern, StringMatch};

use super::Prepared;
use super::action::cluster_name;
use super::rules::{RuleScope, string_match};
use super::virtual_services::ResolvedRoute;
use crate::duration::parse_duration;
use crate::grpc::grpc_status;
use crate::resource::{
    CorsPolicy as CorsSpec, HeaderOperationsSpec, Headers, HttpFaultInjection, HttpRetry, HttpRewrite, HttpRoute, PercentSpec,
};

impl Prepared<'_> {
    /// How the rule treats what it takes.
    pub(super) fn route_policy(&self, one: &ResolvedRoute<'_>, scope: &RuleScope<'_>) -> RoutePolicy {
        let route = &*one.route;
        let hash = self.hash_keys(one, scope);
        let own = HeaderOperationsSpecs::of(route.headers.as_ref());
        let authority = route.rewrite.as_ref().and_then(|rewrite| text(&rewrite.authority)).or(own.authority);
        RoutePolicy {
            timeout: duration(route.timeout.as_deref()),
            retry: self.retry(route.retries.as_ref(), route.route.len() == 1 && !hash.is_empty()),
            fault: route.fault.as_ref().and_then(fault),
            rewrite: rewrite(route.rewrite.as_ref(), authority),
            headers: own.operations,
            mirrors: self.mirrors(one, scope),
            cors: route.cors_policy.as_ref().map(cors),
            hash,
        }
    }

    /// The retries of a rule; one that says nothing has the mesh's, which are Istio's unless MeshConfig has others. Sticky requests do not
    /// avoid endpoints already tried.
    pub(super) fn retry(&self, spec: Option<&HttpRetry>, sticky: bool) -> Option<RetryPolicy> {
        let default = RetryPolicy { ignore_previous_hosts: !sticky, ..RetryPolicy::default() };
        let Some(spec) = spec.or(self.world.mesh.default_retries.as_ref()) else { return Some(default) };
        let attempts = u32::try_from(spec.attempts).ok().filter(|attempts| *attempts > 0)?;
        Some(RetryPolicy {
            attempts,
            per_try_timeout: duration(spec.per_try_timeout.as_deref()),
            on: spec.retry_on.as_deref().filter(|text| !text.is_empty()).map_or(default.on, retry_on),
            backoff: duration(spec.backoff.as_deref()).unwrap_or(default.backoff),
            ignore_previous_hosts: spec.retry_ignore_previous_hosts.unwrap_or(default.ignore_previous_hosts),
        })
    }

    fn mirrors(&self, one: &ResolvedRoute<'_>, scope: &RuleScope<'_>) -> Vec<Mirror> {
        let route = &*one.route;
        let share = |percentage: Option<PercentSpec>| {
            let value = percentage.map_or(100.0, |percentage| percentage.value);
            Percent::new(value).filter(|share| value > 0.0 && share.millionths() > 0)
        };
        let deprecated = route.mirror_percent.map(|percent| PercentSpec { value: f64::from(percent.min(100)) });
        let single = route.mirror.iter().map(|destination| (destination, route.mirror_percentage.or(deprecated)));
        let several = route.mirrors.iter().filter_map(|mirror| Some((mirror.destination.as_ref()?, mirror.percentage)));
        let mirror = |(destination, percentage)| {
            let cluster = cluster_name(&self.services, destination, one.namespace, scope.client, scope.port)?;
            Some(Mirror { cluster, share: share(percentage)? })
        };
        single.chain(several).filter_map(mirror).collect()
    }
}

/// The conditions of a `retryOn` list. Words that only gRPC or HTTP/3 know have no effect on HTTP/1.1.
fn retry_on(text: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for word in text.split(',') {
        match word.trim() {
            "5xx" => on.any_5xx = true,
            "gateway-error" => on.gateway_error = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "connect-failure" => on.connect_failure = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.retriable_4xx = true,
            "cancelled" => on.cancelled = true,
            "unavailable" => on.unavailable = true,
            code => on.status_codes.extend(code.parse::<u16>().ok()),
        }
    }
    on
}

fn fault(spec: &HttpFaultInjection) -> Option<Fault> {
    let share = |percentage: Option<PercentSpec>, whole: Option<i64>| {
        let percent = percentage.map(|percentage| percentage.value).or(whole.map(|whole| whole.clamp(0, 100) as f64)).unwrap_or(0.0);
        Percent::new(percent).filter(|percent| percent.millionths() > 0)
    };
    let delay = spec.delay.as_ref().and_then(|delay| {
        let length = duration(delay.fixed_delay.as_deref()).filter(|length| !length.is_zero())?;
        Some((share(delay.percentage, delay.percent)?, length))
    });
    let abort = spec.abort.as_ref().and_then(|abort| {
        let http = || abort.http_status.and_then(|status| u16::try_from(status).ok()).map(AbortStatus::Http);
        let status = abort.grpc_status.as_deref().and_then(grpc_status).map(AbortStatus::Grpc).or_else(http)?;
        Some((share(abort.percentage, None)?, status))
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn rewrite(spec: Option<&HttpRewrite>, authority: Option<String>) -> Option<Rewrite> {
    let uri_regex = spec
        .and_then(|spec| spec.uri_regex_rewrite.as_ref())
        .and_then(|regex| Some((Pattern::new(regex.pattern.as_deref()?).ok()?, regex.rewrite.clone().unwrap_or_default())));
    let uri = spec.and_then(|spec| text(&spec.uri)).filter(|_| uri_regex.is_none());
    Some(Rewrite { uri, uri_regex, authority }).filter(|rewrite| *rewrite != Rewrite::default())
}

fn cors(spec: &CorsSpec) -> CorsPolicy {
    let modern = spec.allow_origins.iter().filter_map(|origin| match string_match(origin)? {
        ValueMatch::Value(value) => Some(value),
        ValueMatch::Present => None,
    });
    let mut allow_origins: Vec<StringMatch> = modern.collect();
    if spec.allow_origins.is_empty() {
        allow_origins = spec.allow_origin.iter().cloned().map(StringMatch::Exact).collect();
    }
    CorsPolicy {
        allow_origins,
        allow_methods: spec.allow_methods.join(","),
        allow_headers: spec.allow_headers.join(","),
        expose_headers: spec.expose_headers.join(","),
        max_age: duration(spec.max_age.as_deref()).map(|age| age.as_secs()),
        allow_credentials: spec.allow_credentials == Some(true),
        forward_unmatched_preflights: spec.unmatched_preflights.as_deref() != Some("IGNORE"),
    }
}

/// Header operations as the snapshot has them, with a change of Host apart: it is a rewrite.
#[derive(Default)]
pub(super) struct HeaderOperationsSpecs {
    pub(super) operations: HeaderOperations,
    pub(super) authority: Option<String>,
}

impl HeaderOperationsSpecs {
    pub(super) fn of(spec: Option<&Headers>) -> Self {
        let change =
            |direction: fn(&Headers) -> Option<&HeaderOperationsSpec>| spec.and_then(direction).map(header_change).unwrap_or_default();
        let request = spec.and_then(|headers| headers.request.as_ref());
        let host = |values: &BTreeMap<String, String>| values.iter().find(|(name, _)| is_host(name)).map(|(_, value)| value.clone());
        Self {
            operations: HeaderOperations {
                request: change(|headers| headers.request.as_ref()),
                response: change(|headers| headers.response.as_ref()),
            },
            authority: request.and_then(|request| host(&request.set).or_else(|| host(&request.add))),
        }
    }
}

/// What Envoy must not touch (Host, `:`-headers) is left out.
fn header_change(spec: &HeaderOperationsSpec) -> HeaderChange {
    let open = |name: &&String| !name.starts_with(':') && !is_host(name);
    let pairs = |values: &BTreeMap<String, String>| {
        values.iter().filter(|(name, _)| open(name)).map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
    };
    HeaderChange {
        set: pairs(&spec.set),
        add: pairs(&spec.add),
        remove: spec.remove.iter().filter(open).map(|name| name.to_ascii_lowercase()).collect(),
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// The host operations of one arm, for a route that does not rewrite Host itself: the route's rewrite wins over the arm's.
pub(super) fn arm_headers(spec: Option<&Headers>, route: &HttpRoute) -> HeaderOperations {
    let HeaderOperationsSpecs { mut operations, authority } = HeaderOperationsSpecs::of(spec);
    let rewritten = route.rewrite.as_ref().is_some_and(|rewrite| text(&rewrite.authority).is_some());
    if let Some(authority) = authority.filter(|_| !rewritten && HeaderOperationsSpecs::of(route.headers.as_ref()).authority.is_none()) {
        operations.request.set.push(("host".to_owned(), authority));
    }
    operations
}

pub(super) fn text(value: &Option<String>) -> Option<String> {
    value.clone().filter(|text| !text.is_empty())
}

pub(super) fn duration(text: Option<&str>) -> Option<Duration> {
    parse_duration(text?).ok()
}
