//! The webhook on VirtualService as a whole.

use super::http_match::is_claim;
use super::names::{Exporter, check_export_to, check_host, check_labels, check_port, check_subnet, domain, is_label};
use super::{Findings, http_route, reachable};
use crate::resource::{L4Match, RouteDestination, VirtualServiceSpec};

pub(super) fn check(spec: &VirtualServiceSpec, findings: &mut Findings) {
    let in_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|gateway| gateway == "mesh");
    check_gateways(&spec.gateways, "spec", findings);
    if spec.hosts.is_empty() {
        check_delegate(spec, findings);
    } else {
        check_hosts(&spec.hosts, in_mesh, findings);
    }
    if spec.http.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() {
        let message = "http, tcp or tls must be provided in virtual service";
        findings.error("no-rules", "spec", message, "http, tcp, tls 가운데 하나는 있어야 합니다");
    }
    if in_mesh {
        check_claims(spec, findings);
    }
    for (index, route) in spec.http.iter().enumerate() {
        http_route::check(route, &format!("spec.http[{index}]"), spec.hosts.is_empty(), findings);
    }
    for (index, route) in spec.tcp.iter().enumerate() {
        check_l4("TCP", &route.matches, &route.route, &format!("spec.tcp[{index}]"), findings);
    }
    for (index, route) in spec.tls.iter().enumerate() {
        let path = format!("spec.tls[{index}]");
        check_sni(&route.matches, &spec.hosts, &path, findings);
        check_l4("TLS", &route.matches, &route.route, &path, findings);
    }
    check_export_to(&spec.export_to, Exporter::Rule, findings);
    reachable::check_http(&spec.http, findings);
    reachable::check_l4("tcp", spec.tcp.iter().map(|route| route.matches.as_slice()), findings);
    reachable::check_l4("tls", spec.tls.iter().map(|route| route.matches.as_slice()), findings);
}

/// Names of gateways at `{path}.gateways`.
pub(super) fn check_gateways(gateways: &[String], path: &str, findings: &mut Findings) {
    for (index, gateway) in gateways.iter().enumerate() {
        let path = format!("{path}.gateways[{index}]");
        let mut bad = |message: String| {
            findings.error("invalid-gateway", &path, message, format!("게이트웨이 이름 `{gateway}`이(가) 올바르지 않습니다"))
        };
        let Some((namespace, name)) = gateway.split_once('/') else {
            let legacy: Vec<&str> = gateway.split('.').collect();
            if let Err((message, _)) = domain(gateway, false) {
                bad(message);
            } else if let [name, namespace, ..] = legacy.as_slice() {
                let better = format!("{namespace}/{name}");
                let message = format!("using legacy gatewayName format {gateway:?}; prefer the <namespace>/<name> format: {better:?}");
                let korean = format!("게이트웨이 `{gateway}`은(는) 옛 표기입니다. `{better}`로 쓰세요");
                findings.warning("legacy-gateway", &path, message, korean);
            }
            continue;
        };
        if namespace.is_empty() || name.is_empty() {
            bad("config namespace and gateway name cannot be empty".to_owned());
        } else if !is_label(namespace) {
            bad(format!("invalid value for namespace: {namespace:?}"));
        } else if !is_label(name) {
            bad(format!("invalid value for gateway name: {name:?}"));
        }
    }
}

fn check_delegate(spec: &VirtualServiceSpec, findings: &mut Findings) {
    let parts = [
        ("gateways", "gateways", spec.gateways.is_empty()),
        ("tls", "tls route", spec.tls.is_empty()),
        ("tcp", "tcp route", spec.tcp.is_empty()),
    ];
    for (field, what, _) in parts.into_iter().filter(|(_, _, empty)| !empty) {
        let message = format!("delegate virtual service must have no {what} specified");
        let korean = format!("hosts가 없으면 위임용 규칙이고, {field}을(를) 쓸 수 없습니다");
        findings.error("no-hosts", &format!("spec.{field}"), message, korean);
    }
}

/// Claims of tokens are known at gateways only.
fn check_claims(spec: &VirtualServiceSpec, findings: &mut Findings) {
    for (index, route) in spec.http.iter().enumerate() {
        for (position, entry) in route.matches.iter().enumerate() {
            for (field, names) in [("headers", &entry.headers), ("withoutHeaders", &entry.without_headers)] {
                for name in names.keys().filter(|name| is_claim(name)) {
                    let at = crate::schema::join(&format!("spec.http[{index}].match[{position}].{field}"), name);
                    let gateways = spec.gateways.join(" ");
                    let message =
                        format!("JWT claim based routing (key: {name}) is only supported for gateway, found no gateways: [{gateways}]");
                    findings.error("claims-on-mesh", &at, message, "JWT 클레임 조건은 게이트웨이에서만 쓸 수 있습니다");
                }
            }
        }
    }
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
        if let Some(other) = hosts[..index].iter().find(|other| overlap(other, host)) {
            let message = format!("duplicate hosts in virtual service: {other} & {host}");
            findings.error("duplicate-host", &path, message, format!("호스트 `{other}`와(과) `{host}`이(가) 겹칩니다"));
        }
    }
}

/// Is there a name that both mean?
fn overlap(left: &str, right: &str) -> bool {
    match (left.strip_prefix('*'), right.strip_prefix('*')) {
        (Some(left), Some(right)) => left.ends_with(right) || right.ends_with(left),
        (Some(left), None) => right.ends_with(left),
        (None, Some(right)) => left.ends_with(right),
        (None, None) => left == right,
    }
}

/// Server names must be of the hosts that the resource is for.
fn check_sni(matches: &[L4Match], hosts: &[String], path: &str, findings: &mut Findings) {
    if matches.is_empty() {
        findings.error("no-match", path, "TLS route must have at least one match condition", "TLS 규칙에는 match가 있어야 합니다");
    }
    for (index, entry) in matches.iter().enumerate() {
        let path = format!("{path}.match[{index}].sniHosts");
        if entry.sni_hosts.is_empty() {
            findings.error("no-match", &path, "TLS match must have at least one SNI host", "sniHosts가 있어야 합니다");
        }
        for (position, sni) in entry.sni_hosts.iter().enumerate() {
            let path = format!("{path}[{position}]");
            if sni.parse::<std::net::IpAddr>().is_ok() {
                let message = format!("using an IP address ({sni:?}) goes against SNI spec and most clients do not support this");
                findings.warning("invalid-host", &path, message, "SNI에는 IP 주소를 쓰지 않습니다");
                continue;
            }
            if let Err((message, korean)) = domain(sni, true) {
                findings.error("invalid-host", &path, message, korean);
            } else if !hosts.iter().any(|host| is_part_of(sni, host)) {
                let all = hosts.join(", ");
                let message = format!("SNI host {sni:?} is not a compatible subset of any of the virtual service hosts: [{all}]");
                findings.error("invalid-host", &path, message, format!("SNI `{sni}`은(는) hosts에 들지 않습니다"));
            }
        }
    }
}

fn is_part_of(narrow: &str, wide: &str) -> bool {
    match (narrow.strip_prefix('*'), wide.strip_prefix('*')) {
        (Some(narrow), Some(wide)) => narrow.ends_with(wide),
        (None, Some(wide)) => narrow.ends_with(wide),
        (_, None) => narrow == wide,
    }
}

fn check_l4(kind: &str, matches: &[L4Match], route: &[RouteDestination], path: &str, findings: &mut Findings) {
    for (index, entry) in matches.iter().enumerate() {
        let path = format!("{path}.match[{index}]");
        if let Some(port) = entry.port.filter(|port| *port > 0) {
            check_port(port, &format!("{path}.port"), findings);
        }
        for (position, subnet) in entry.destination_subnets.iter().enumerate() {
            check_subnet(subnet, &format!("{path}.destinationSubnets[{position}]"), findings);
        }
        check_labels(&entry.source_labels, &format!("{path}.sourceLabels"), findings);
        check_gateways(&entry.gateways, &path, findings);
    }
    if route.is_empty() {
        findings.error("no-route", &format!("{path}.route"), format!("{kind} route is required"), "route가 있어야 합니다");
    }
    let destinations = route.iter().map(|arm| (arm.destination.as_ref(), arm.weight));
    http_route::check_weighted(&destinations.collect::<Vec<_>>(), &format!("{path}.route"), findings);
}
