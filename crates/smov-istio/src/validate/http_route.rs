//! The webhook on one `http:` rule: what it does, and whether it can be reached.

use super::names::{check_host, check_port, check_subset};
use super::{Findings, headers, http_match, http_policy};
use crate::resource::{DestinationSpec, HttpRoute};

pub(super) fn check(route: &HttpRoute, path: &str, in_delegate: bool, findings: &mut Findings) {
    check_action(route, path, in_delegate, findings);
    for (index, entry) in route.matches.iter().enumerate() {
        http_match::check(entry, &format!("{path}.match[{index}]"), findings);
    }
    let destinations: Vec<_> = route.route.iter().map(|arm| (arm.destination.as_ref(), arm.weight)).collect();
    check_weighted(&destinations, &format!("{path}.route"), findings);
    for (index, arm) in route.route.iter().enumerate() {
        headers::check(arm.headers.as_ref(), &format!("{path}.route[{index}].headers"), findings);
    }
    http_policy::check(route, path, findings);
}

/// Exactly one of route, redirect, directResponse; of a rule that delegates, none.
fn check_action(route: &HttpRoute, path: &str, in_delegate: bool, findings: &mut Findings) {
    let mut two = |message: &str, left: &str, right: &str| {
        findings.error("two-actions", path, message, format!("{left}와(과) {right}은(는) 함께 쓸 수 없습니다"));
    };
    if route.delegate.is_some() && !in_delegate {
        let name = route.name.as_deref().unwrap_or_default();
        for (action, set) in [("redirect", route.redirect.is_some()), ("route", !route.route.is_empty())] {
            if set {
                two(&format!("root HTTP route {name} must not specify {action}"), "delegate", action);
            }
        }
        return;
    }
    let has_route = !route.route.is_empty();
    if route.redirect.is_some() {
        for (set, message, other) in [
            (has_route, "HTTP route cannot contain both route and redirect", "route"),
            (route.fault.is_some(), "HTTP route cannot contain both fault and redirect", "fault"),
            (route.rewrite.is_some(), "HTTP route rule cannot contain both rewrite and redirect", "rewrite"),
            (route.direct_response.is_some(), "HTTP route rule cannot contain both direct_response and redirect", "directResponse"),
        ] {
            if set {
                two(message, other, "redirect");
            }
        }
    } else if route.direct_response.is_some() {
        for (set, message, other) in [
            (has_route, "HTTP route cannot contain both route and direct_response", "route"),
            (route.fault.is_some(), "HTTP route cannot contain both fault and direct_response", "fault"),
            (route.rewrite.is_some(), "HTTP route rule cannot contain both rewrite and direct_response", "rewrite"),
        ] {
            if set {
                two(message, other, "directResponse");
            }
        }
    }
    if route.mirror.is_some() && !route.mirrors.is_empty() {
        two("HTTP route cannot contain both mirror and mirrors", "mirror", "mirrors");
    }
    if !has_route && route.redirect.is_none() && route.direct_response.is_none() {
        let message = "HTTP route, redirect or direct_response is required";
        findings.error("no-action", path, message, "route, redirect, directResponse 가운데 하나가 있어야 합니다");
    }
    if in_delegate && route.delegate.is_some() {
        let message = "delegate HTTP route cannot contain delegate";
        findings.error("nested-delegate", &format!("{path}.delegate"), message, "위임받은 규칙은 다시 위임할 수 없습니다");
    }
}

/// Destinations and their weights.
pub(super) fn check_weighted(arms: &[(Option<&DestinationSpec>, i64)], path: &str, findings: &mut Findings) {
    let mut total: i64 = 0;
    for (index, (destination, weight)) in arms.iter().enumerate() {
        let arm = format!("{path}[{index}]");
        match destination {
            None => findings.error("no-destination", &arm, "destination is required", "destination이 있어야 합니다"),
            Some(destination) => check_destination(destination, &format!("{arm}.destination"), findings),
        }
        if *weight < 0 {
            let message = format!("weight {weight} < 0");
            findings.error("invalid-weight", &format!("{arm}.weight"), message, format!("가중치 {weight}은(는) 0보다 작을 수 없습니다"));
        }
        total = total.saturating_add(*weight);
    }
    if arms.len() > 1 && total == 0 {
        findings.error("invalid-weight", path, "total destination weight = 0", "가중치의 합이 0입니다");
        findings.help("give at least one destination a weight above 0", "적어도 한 목적지의 가중치는 0보다 커야 합니다");
    }
    if total > i64::from(u32::MAX) {
        findings.error("invalid-weight", path, "total destination weight exceeds 4294967295", "가중치의 합이 너무 큽니다");
    }
}

pub(super) fn check_destination(destination: &DestinationSpec, path: &str, findings: &mut Findings) {
    let host = &destination.host;
    let host_path = format!("{path}.host");
    if host == "*" {
        findings.error("invalid-host", &host_path, "invalid destination host *", "목적지 호스트로 `*`은(는) 쓸 수 없습니다");
    } else {
        check_host(host, &host_path, true, findings);
    }
    if let Some(subset) = destination.subset.as_deref().filter(|subset| !subset.is_empty()) {
        check_subset(subset, &format!("{path}.subset"), findings);
    }
    if let Some(port) = &destination.port {
        check_port(port.number, &format!("{path}.port.number"), findings);
    }
}
