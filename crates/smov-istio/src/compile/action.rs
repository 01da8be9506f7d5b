//! What a rule does and how: destinations, redirects, answers; timeouts, retries, faults, rewrites, headers.

use std::time::Duration;

use smov_model::names::{ClusterName, Port};
use smov_model::route::{
    AbortStatus, Body, Destination, DirectResponse, Fault, HeaderChange, HeaderOperations, Percent, Redirect, RedirectPort, RetryOn,
    RetryPolicy, Rewrite, RouteAction, RoutePolicy,
};
use smov_model::split::{Split, Weight};
use smov_model::text::Pattern;

use super::Services;
use crate::duration::parse_duration;
use crate::hosts::hostname;
use crate::resource::{
    DestinationSpec, HeaderOperationsSpec, Headers, HttpFaultInjection, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute, PercentSpec,
};

/// `None` for a rule whose action is not executed (`delegate`), which validate says.
pub(super) fn action(services: &Services, route: &HttpRoute, namespace: &str, dialled: Port) -> Option<RouteAction> {
    if let Some(spec) = &route.redirect {
        return Some(RouteAction::Redirect(redirect(spec)));
    }
    if let Some(spec) = &route.direct_response {
        let body = spec.body.as_ref().and_then(|body| body.string.as_deref()).map(Body::from).unwrap_or_default();
        return Some(RouteAction::DirectResponse(DirectResponse { status: u16::try_from(spec.status).ok()?, body }));
    }
    let arms = route.route.iter().map(|arm| {
        let cluster = cluster_name(services, arm.destination.as_ref()?, namespace, dialled)?;
        Some((Weight(u32::try_from(arm.weight).ok()?), Destination { cluster, headers: headers(arm.headers.as_ref()) }))
    });
    Split::new(arms.collect::<Option<Vec<_>>>()?).ok().map(RouteAction::Forward)
}

/// The cluster of a destination. Without `port`: the service's only port, else the port that the client dialled.
pub(crate) fn cluster_name(services: &Services, destination: &DestinationSpec, namespace: &str, dialled: Port) -> Option<ClusterName> {
    let host = hostname(&destination.host, namespace).ok()?;
    let port = match (&destination.port, services.get(&host)) {
        (Some(selector), _) => selector.number.try_into().ok()?,
        (None, Some(service)) if service.ports.len() == 1 => service.ports[0].port,
        (None, _) => dialled,
    };
    let subset = destination.subset.as_deref().filter(|name| !name.is_empty()).map(str::parse).transpose().ok()?;
    Some(ClusterName { port, subset, host })
}

fn redirect(spec: &HttpRedirect) -> Redirect {
    let text = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    Redirect {
        code: spec.redirect_code.and_then(|code| u16::try_from(code).ok()).filter(|code| *code > 0).unwrap_or(301),
        uri: text(&spec.uri),
        authority: text(&spec.authority),
        scheme: text(&spec.scheme),
        port: spec.port.and_then(|port| port.try_into().ok()).map(RedirectPort::Fixed),
        prefix_rewrite: None,
    }
}

/// How the rule treats what it takes.
pub(super) fn policy(route: &HttpRoute) -> RoutePolicy {
    RoutePolicy {
        timeout: duration(route.timeout.as_deref()),
        retry: match &route.retries {
            None => Some(RetryPolicy::default()),
            Some(spec) => retry(spec),
        },
        fault: route.fault.as_ref().and_then(fault),
        rewrite: route.rewrite.as_ref().and_then(rewrite),
        headers: headers(route.headers.as_ref()),
        ..RoutePolicy::default()
    }
}

fn retry(spec: &HttpRetry) -> Option<RetryPolicy> {
    let default = RetryPolicy::default();
    let attempts = u32::try_from(spec.attempts).ok().filter(|attempts| *attempts > 0)?;
    Some(RetryPolicy {
        attempts,
        per_try_timeout: duration(spec.per_try_timeout.as_deref()),
        on: spec.retry_on.as_deref().filter(|text| !text.is_empty()).map_or(default.on, retry_on),
        backoff: duration(spec.backoff.as_deref()).unwrap_or(default.backoff),
        ignore_previous_hosts: spec.retry_ignore_previous_hosts.unwrap_or(default.ignore_previous_hosts),
    })
}

/// The conditions of a `retryOn` list. Words that only gRPC or HTTP/3 know have no effect on HTTP/1.1.
fn retry_on(text: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for word in text.split(',') {
        match word {
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
        let percent = percentage.map(|percentage| percentage.value).or(whole.map(|whole| whole as f64)).unwrap_or(0.0);
        Percent::new(percent).filter(|percent| percent.millionths() > 0)
    };
    let delay = spec.delay.as_ref().and_then(|delay| {
        let length = duration(delay.fixed_delay.as_deref()).filter(|length| !length.is_zero())?;
        Some((share(delay.percentage, delay.percent)?, length))
    });
    let abort = spec.abort.as_ref().and_then(|abort| {
        let status = abort.http_status.and_then(|status| u16::try_from(status).ok())?;
        Some((share(abort.percentage, None)?, AbortStatus::Http(status)))
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn rewrite(spec: &HttpRewrite) -> Option<Rewrite> {
    let text = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
    let uri_regex = spec
        .uri_regex_rewrite
        .as_ref()
        .and_then(|regex| Some((Pattern::new(regex.pattern.as_deref()?).ok()?, regex.rewrite.clone().unwrap_or_default())));
    Some(Rewrite { uri: text(&spec.uri), uri_regex, authority: text(&spec.authority) }).filter(|rewrite| *rewrite != Rewrite::default())
}

fn headers(spec: Option<&Headers>) -> HeaderOperations {
    let change = |direction: fn(&Headers) -> Option<&HeaderOperationsSpec>| spec.and_then(direction).map(header_change).unwrap_or_default();
    HeaderOperations { request: change(|headers| headers.request.as_ref()), response: change(|headers| headers.response.as_ref()) }
}

fn header_change(spec: &HeaderOperationsSpec) -> HeaderChange {
    let pairs = |values: &std::collections::BTreeMap<String, String>| {
        values.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
    };
    HeaderChange {
        set: pairs(&spec.set),
        add: pairs(&spec.add),
        remove: spec.remove.iter().map(|name| name.to_ascii_lowercase()).collect(),
    }
}

fn duration(text: Option<&str>) -> Option<Duration> {
    parse_duration(text?).ok()
}
