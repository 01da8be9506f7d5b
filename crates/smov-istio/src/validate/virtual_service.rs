//! The webhook on VirtualService as a whole.

use super::names::{Exporter, check_export_to, check_host};
use super::{Findings, http_route};
use crate::hosts::specificity;
use crate::resource::{L4Match, RouteDestination, VirtualServiceSpec};

pub(super) fn check(spec: &VirtualServiceSpec, findings: &mut Findings) {
    let in_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    check_gateways(&spec.gateways, findings);
    if spec.hosts.is_empty() {
        check_delegate(spec, findings);
    } else {
        check_hosts(&spec.hosts, in_mesh, findings);
    }
    if spec.http.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() {
        let message = "http, tcp or tls must be provided in virtual service";
        findings.error("no-rules", "spec", message, "http, tcp, tls 가운데 하나는 있어야 합니다");
    }
    for (index, route) in spec.http.iter().enumerate() {
        http_route::check(route, &format!("spec.http[{index}]"), spec.hosts.is_empty(), findings);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        check_l4(&route.matches, &route.route, &format!("spec.tcp[{index}]"), findings);
    }
    for (index, route) in spec.tls.iter().enumerate() {
        let path = format!("spec.tls[{index}]");
        if route.matches.is_empty() {
            findings.error("no-match", &path, "TLS route must have at least one match condition", "TLS 규칙에는 match가 있어야 합니다");
        }
        check_l4(&route.matches, &route.route, &path, findings);
    }
    check_export_to(&spec.export_to, Exporter::Rule, findings);
    http_route::check_reachable(&spec.http, findings);
}

fn check_gateways(gateways: &[String], findings: &mut Findings) {
    for (index, gateway) in gateways.iter().enumerate() {
        let path = format!("spec.gateways[{index}]");
        if gateway.contains('.') && !gateway.contains('/') {
            let message = format!("using legacy gatewayName format {gateway:?}; prefer the <namespace>/<name> format");
            findings.warning(
                "legacy-gateway",
                &path,
                message,
                format!("게이트웨이 `{gateway}`은(는) 옛 표기입니다. <네임스페이스>/<이름>으로 쓰세요"),
            );
        }
        let parts: Vec<&str> = gateway.split('/').collect();
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
            let message = format!("invalid gateway name {gateway:?}: must be <name> or <namespace>/<name>");
            findings.error("invalid-gateway", &path, message, format!("게이트웨이 이름 `{gateway}`이(가) 올바르지 않습니다"));
        }
    }
}

fn check_delegate(spec: &VirtualServiceSpec, findings: &mut Findings) {
    if spec.gateways.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() && !spec.http.is_empty() {
        return;
    }
    let message = "virtual service must have at least one host, or be a delegate with http rules and no gateways, tcp or tls";
    findings.error("no-hosts", "spec.hosts", message, "hosts가 없습니다. 위임용이라면 http 규칙만 있어야 합니다");
}

fn check_hosts(hosts: &[String], in_mesh: bool, findings: &mut Findings) {
    for (index, host) in hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if host == "*" && in_mesh {
            let message = "wildcard host * is not allowed for virtual services bound to the mesh gateway";
            findings.error("wildcard-on-mesh", &path, message, "`mesh`에 걸린 VirtualService에는 호스트 `*`을(를) 쓸 수 없습니다");
            continue;
        }
        check_host(host, &path, true, findings);
        if hosts[..index].contains(host) {
            let message = format!("duplicate hosts in virtual service: {host}");
            findings.error("duplicate-host", &path, message, format!("호스트 `{host}`이(가) 두 번 있습니다"));
        } else if let Some(other) = hosts[..index].iter().find(|other| overlap(other, host)) {
            let message = format!("overlapping hosts in virtual service: {other} and {host}");
            findings.error("duplicate-host", &path, message, format!("호스트 `{other}`와(과) `{host}`이(가) 겹칩니다"));
        }
    }
}

/// Two wildcards overlap when one covers the other; an exact name beside a wildcard does not.
fn overlap(left: &str, right: &str) -> bool {
    let (Ok(left), Ok(right)) = (left.parse(), right.parse()) else { return false };
    let wild = specificity(&left).0 < 2 && specificity(&right).0 < 2;
    wild && crate::hosts::intersect(&left, &right).is_some()
}

fn check_l4(matches: &[L4Match], route: &[RouteDestination], path: &str, findings: &mut Findings) {
    for (index, entry) in matches.iter().enumerate() {
        if let Some(port) = entry.port.filter(|port| *port > 65535) {
            super::names::check_port(port, &format!("{path}.match[{index}].port"), findings);
        }
    }
    if route.is_empty() {
        findings.error("no-route", &format!("{path}.route"), "TCP route is required", "route가 있어야 합니다");
    }
    let destinations = route.iter().map(|arm| (arm.destination.as_ref(), arm.weight));
    http_route::check_weighted(&destinations.collect::<Vec<_>>(), &format!("{path}.route"), findings);
}
