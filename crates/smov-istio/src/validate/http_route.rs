//! The webhook on one `http:` rule: what it does, and whether it can be reached.

use super::names::{check_host, check_port, check_subset};
use super::{Findings, http_match, http_policy};
use crate::resource::{DestinationSpec, HttpMatchRequest, HttpRoute, StringMatchSpec};

pub(super) fn check(route: &HttpRoute, path: &str, in_delegate: bool, findings: &mut Findings) {
    check_action(route, path, in_delegate, findings);
    for (index, entry) in route.matches.iter().enumerate() {
        http_match::check(entry, &format!("{path}.match[{index}]"), findings);
    }
    let destinations: Vec<_> = route.route.iter().map(|arm| (arm.destination.as_ref(), arm.weight)).collect();
    check_weighted(&destinations, &format!("{path}.route"), findings);
    for (index, arm) in route.route.iter().enumerate() {
        http_policy::check_headers(arm.headers.as_ref(), &format!("{path}.route[{index}].headers"), findings);
    }
    http_policy::check(route, path, findings);
}

/// Exactly one of route, redirect, directResponse, delegate.
fn check_action(route: &HttpRoute, path: &str, in_delegate: bool, findings: &mut Findings) {
    let mut both = |left: (bool, &str), right: (bool, &str)| {
        if left.0 && right.0 {
            let message = format!("HTTP route cannot contain both {} and {}", left.1, right.1);
            findings.error("two-actions", path, message, format!("{}와(과) {}은(는) 함께 쓸 수 없습니다", left.1, right.1));
        }
    };
    let has_route = (!route.route.is_empty(), "route");
    let redirect = (route.redirect.is_some(), "redirect");
    let direct = (route.direct_response.is_some(), "direct_response");
    let delegate = (route.delegate.is_some(), "delegate");
    both(has_route, redirect);
    both(has_route, direct);
    both(has_route, delegate);
    both(redirect, direct);
    both(redirect, delegate);
    both(direct, delegate);
    for exclusive in [redirect, direct] {
        both((route.fault.is_some(), "fault"), exclusive);
        both((route.rewrite.is_some(), "rewrite"), exclusive);
    }
    both((route.mirror.is_some(), "mirror"), (!route.mirrors.is_empty(), "mirrors"));
    if !(has_route.0 || redirect.0 || direct.0 || delegate.0) {
        let message = "HTTP route, redirect or direct_response is required";
        findings.error("no-action", path, message, "route, redirect, directResponse 가운데 하나가 있어야 합니다");
    }
    if in_delegate && delegate.0 {
        let message = "delegate virtual service cannot delegate further";
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
    if host.starts_with('*') {
        let message = format!("invalid destination host {host}: wildcards are not allowed");
        findings.error("invalid-host", &host_path, message, format!("목적지 호스트 `{host}`에는 와일드카드를 쓸 수 없습니다"));
    } else {
        check_host(host, &host_path, false, findings);
    }
    if let Some(subset) = destination.subset.as_deref().filter(|subset| !subset.is_empty()) {
        check_subset(subset, &format!("{path}.subset"), findings);
    }
    if let Some(port) = &destination.port {
        check_port(port.number, &format!("{path}.port.number"), findings);
    }
}

/// IST0130 and IST0131: rules and matches that nothing can reach.
pub(super) fn check_reachable(routes: &[HttpRoute], findings: &mut Findings) {
    let mut closed_by: Option<usize> = None;
    let mut seen: Vec<(usize, &HttpMatchRequest)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let path = format!("spec.http[{index}]");
        if let Some(first) = closed_by {
            let message = format!("VirtualService rule #{index} not used (rule #{first} before it takes every request).");
            let korean = format!("앞의 http[{first}]이(가) 모든 요청을 받으므로 이 규칙은 쓰이지 않습니다");
            findings.warning("IST0130", &path, message, korean);
            findings.help("move the rule without `match` to the end", "`match`가 없는 규칙을 맨 끝으로 옮기세요");
            continue;
        }
        let mut hidden = 0;
        for (entry_index, entry) in route.matches.iter().enumerate() {
            if let Some((earlier, _)) = seen.iter().find(|(_, known)| same_conditions(known, entry)) {
                let message = format!(
                    "VirtualService rule #{index} match #{entry_index} is not used (duplicate/overlapping match in rule #{earlier})."
                );
                let korean = format!("http[{earlier}]에 같은 조건이 있어 이 match는 쓰이지 않습니다");
                findings.info("IST0131", &format!("{path}.match[{entry_index}]"), message, korean);
                hidden += 1;
            }
            seen.push((index, entry));
        }
        if hidden > 0 && hidden == route.matches.len() {
            let message = format!("VirtualService rule #{index} not used (duplicate of the matches of earlier rules).");
            findings.warning("IST0130", &path, message, "앞 규칙들과 조건이 같아 이 규칙은 쓰이지 않습니다");
        }
        if route.matches.is_empty() || route.matches.iter().any(is_unconditional) {
            closed_by = Some(index);
        }
    }
}

fn same_conditions(left: &HttpMatchRequest, right: &HttpMatchRequest) -> bool {
    let conditions = |entry: &HttpMatchRequest| HttpMatchRequest { name: None, stat_prefix: None, ..entry.clone() };
    conditions(left) == conditions(right)
}

/// Does the entry take every request of every client?
fn is_unconditional(entry: &HttpMatchRequest) -> bool {
    let any_path = match &entry.uri {
        None => true,
        Some(StringMatchSpec { prefix: Some(prefix), exact: None, regex: None }) => prefix == "/",
        Some(StringMatchSpec { regex: Some(regex), exact: None, prefix: None }) => regex == ".*",
        Some(_) => false,
    };
    any_path
        && HttpMatchRequest { name: None, stat_prefix: None, uri: None, ignore_uri_case: false, ..entry.clone() }
            == HttpMatchRequest::default()
}
