//! The webhook on ServiceEntry and WorkloadEntry.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Findings;
use super::names::{
    Exporter, check_export_to, check_labels, check_port, check_port_name, check_selector, check_subnet, domain, is_partial_wildcard,
};
use crate::resource::{ServiceEntryPort, ServiceEntrySpec, WorkloadEntrySpec};

const PROTOCOLS: [&str; 12] = ["TCP", "UDP", "GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2", "HTTPS", "TLS", "MONGO", "REDIS", "MYSQL"];

pub(super) fn check(spec: &ServiceEntrySpec, findings: &mut Findings) {
    let resolution = spec.resolution.as_deref().unwrap_or("NONE");
    if let Some(selector) = &spec.workload_selector {
        let empty = (
            "service entry: workload selector specified without labels, will be applied to all services in namespace",
            "workloadSelector에 레이블이 없습니다. 네임스페이스의 모든 파드에 적용됩니다",
        );
        check_selector(&selector.labels, "spec.workloadSelector", empty, findings);
        if !spec.endpoints.is_empty() {
            let message = "only one of WorkloadSelector or Endpoints is allowed in Service Entry";
            findings.error("two-settings", "spec", message, "workloadSelector와 endpoints는 함께 쓸 수 없습니다");
        }
    }
    check_hosts(spec, resolution, findings);
    for (index, address) in spec.addresses.iter().enumerate() {
        check_subnet(address, &format!("spec.addresses[{index}]"), findings);
    }
    if spec.addresses.iter().any(|address| address.contains('/')) && !matches!(resolution, "NONE" | "STATIC") {
        let message = "CIDR addresses are allowed only for NONE/STATIC resolution types";
        findings.error("invalid-address", "spec.addresses", message, "네트워크 주소는 resolution이 NONE이나 STATIC일 때만 쓸 수 있습니다");
    }
    let names = check_ports(spec, findings);
    check_resolution(spec, resolution, &names, findings);
    if resolution != "NONE" && spec.hosts.len() > 1 && spec.ports.iter().any(|port| !is_http(port) && !is_tls(port)) {
        let message = "multiple hosts provided with non-HTTP, non-TLS ports";
        findings.error("several-hosts", "spec.hosts", message, "HTTP나 TLS가 아닌 포트에는 호스트를 하나만 쓸 수 있습니다");
    }
    check_export_to(&spec.export_to, Exporter::ServiceEntry, findings);
}

fn check_hosts(spec: &ServiceEntrySpec, resolution: &str, findings: &mut Findings) {
    if spec.hosts.is_empty() {
        findings.error("no-hosts", "spec.hosts", "service entry must have at least one host", "hosts가 있어야 합니다");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if host == "*" {
            findings.error("invalid-host", &path, "invalid host *", "호스트 `*`은(는) 쓸 수 없습니다");
        } else if let Err((message, korean)) = domain(host, true) {
            findings.error("invalid-host", &path, message, korean);
        } else if resolution != "DYNAMIC_DNS" && is_partial_wildcard(host) {
            let message = format!("partial wildcard {host:?} not allowed");
            findings.warning("invalid-host", &path, message, format!("`{host}`: 와일드카드는 `*.` 모양이어야 합니다"));
        }
    }
}

fn check_ports(spec: &ServiceEntrySpec, findings: &mut Findings) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        if !names.insert(port.name.clone()) {
            let message = format!("service entry port name {:?} already defined", port.name);
            findings.error("duplicate-port", &format!("{path}.name"), message, format!("포트 이름 `{}`이(가) 두 번 있습니다", port.name));
        }
        if !numbers.insert(port.number) {
            let message = format!("service entry port {} already defined", port.number);
            findings.error("duplicate-port", &format!("{path}.number"), message, format!("포트 {}이(가) 두 번 있습니다", port.number));
        }
        if let Some(target) = port.target_port.filter(|target| *target != 0) {
            check_port(target, &format!("{path}.targetPort"), findings);
        }
        let protocol = protocol(port);
        if spec.addresses.is_empty() && matches!(protocol.as_str(), "" | "TCP") {
            let message = "addresses are required for ports serving TCP (or unset) protocol when IP Autoallocation is not enabled";
            findings.warning("no-addresses", &path, message, "TCP 포트에는 addresses가 필요합니다");
        }
        check_port_name(&port.name, &format!("{path}.name"), findings);
        if !protocol.is_empty() && !PROTOCOLS.contains(&protocol.as_str()) {
            let word = port.protocol.as_deref().unwrap_or_default();
            let message = format!("unsupported protocol: {word}");
            findings.error("invalid-port", &format!("{path}.protocol"), message, format!("프로토콜 `{word}`을(를) 모릅니다"));
        }
        check_port(port.number, &format!("{path}.number"), findings);
    }
    names
}

fn protocol(port: &ServiceEntryPort) -> String {
    port.protocol.as_deref().unwrap_or_default().to_ascii_uppercase()
}

fn is_http(port: &ServiceEntryPort) -> bool {
    matches!(protocol(port).as_str(), "HTTP" | "HTTP2" | "HTTP_PROXY" | "GRPC" | "GRPC-WEB")
}

fn is_tls(port: &ServiceEntryPort) -> bool {
    matches!(protocol(port).as_str(), "HTTPS" | "TLS")
}

fn check_resolution(spec: &ServiceEntrySpec, resolution: &str, names: &BTreeSet<String>, findings: &mut Findings) {
    let each =
        |check: &mut dyn FnMut(usize, &WorkloadEntrySpec)| spec.endpoints.iter().enumerate().for_each(|(index, one)| check(index, one));
    match resolution {
        "NONE" => {
            if !spec.endpoints.is_empty() {
                let message = "no endpoints should be provided for resolution type none";
                findings.error("endpoints", "spec.endpoints", message, "resolution이 NONE이면 endpoints를 쓸 수 없습니다");
            }
            if spec.workload_selector.is_some() {
                let message = "workloadSelector should not be set when resolution mode is NONE";
                findings.warning("endpoints", "spec.workloadSelector", message, "resolution이 NONE이면 workloadSelector는 쓰이지 않습니다");
            }
        }
        "STATIC" => each(&mut |index, one| check_workload(one, &format!("spec.endpoints[{index}]"), Some(names), false, findings)),
        "DNS" | "DNS_ROUND_ROBIN" => check_dns(spec, resolution, names, findings),
        "DYNAMIC_DNS" => check_dynamic(spec, findings),
        // Other words are refused by the schema.
        _ => {}
    }
}

fn check_dns(spec: &ServiceEntrySpec, resolution: &str, names: &BTreeSet<String>, findings: &mut Findings) {
    if spec.endpoints.is_empty()
        && let Some((index, (reason, _))) =
            spec.hosts.iter().enumerate().find_map(|(index, host)| Some((index, domain(host, false).err()?)))
    {
        let message = format!(
            "hosts must be FQDN or contain only prefix wildcards if no endpoints are provided for resolution mode {resolution}, {reason}"
        );
        let korean = format!("resolution이 {resolution}이고 endpoints가 없으면 호스트는 완전한 이름이어야 합니다");
        findings.error("invalid-host", &format!("spec.hosts[{index}]"), message, korean);
    }
    if resolution == "DNS_ROUND_ROBIN" && spec.endpoints.len() > 1 {
        let message = format!("there must only be 0 or 1 endpoint for resolution mode {resolution}");
        findings.error("endpoints", "spec.endpoints", message, "DNS_ROUND_ROBIN에는 엔드포인트가 하나까지만 됩니다");
    }
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{index}]");
        let address = endpoint.address.as_deref().unwrap_or_default();
        if address.parse::<IpAddr>().is_err() && domain(address, false).is_err() {
            bad_name(address, &format!("{path}.address"), findings);
        }
        check_labels(&endpoint.labels, &format!("{path}.labels"), findings);
        check_endpoint_ports(endpoint, &path, Some(names), findings);
    }
    let opaque = spec.ports.iter().any(|port| matches!(protocol(port).as_str(), "TCP" | "MONGO" | "REDIS" | "MYSQL" | "HTTPS" | "TLS"));
    if !spec.addresses.is_empty() && opaque && spec.hosts.len() > 1 {
        let message = "service entry can not have more than one host specified simultaneously with address and tcp port";
        findings.warning("several-hosts", "spec.hosts", message, "주소와 TCP 포트가 있으면 호스트는 하나여야 합니다");
    }
}

fn check_dynamic(spec: &ServiceEntrySpec, findings: &mut Findings) {
    for (index, _) in spec.hosts.iter().enumerate().filter(|(_, host)| !host.starts_with('*')) {
        let message = "host must be wildcarded for resolution mode DYNAMIC_DNS";
        findings.error("invalid-host", &format!("spec.hosts[{index}]"), message, "DYNAMIC_DNS의 호스트는 와일드카드여야 합니다");
    }
    for (field, set) in [("addresses", !spec.addresses.is_empty()), ("endpoints", !spec.endpoints.is_empty())] {
        if set {
            let message = format!("{field} cannot be set for resolution type DYNAMIC_DNS");
            findings.error("endpoints", &format!("spec.{field}"), message, format!("DYNAMIC_DNS에는 {field}를 쓸 수 없습니다"));
        }
    }
    for (index, port) in spec.ports.iter().enumerate() {
        if !matches!(protocol(port).as_str(), "HTTP" | "TLS" | "GRPC" | "HTTP2") {
            let message = "only HTTP, TLS, GRPC, and HTTP2 protocols are supported for resolution type DYNAMIC_DNS";
            let path = format!("spec.ports[{index}].protocol");
            findings.error("invalid-port", &path, message, "DYNAMIC_DNS에는 HTTP, TLS, GRPC, HTTP2만 쓸 수 있습니다");
        }
    }
}

/// A WorkloadEntry, or an endpoint of a ServiceEntry with these port names.
pub(super) fn check_workload(
    spec: &WorkloadEntrySpec,
    path: &str,
    names: Option<&BTreeSet<String>>,
    host_names: bool,
    findings: &mut Findings,
) {
    let (address, at) = (spec.address.as_deref().unwrap_or_default(), format!("{path}.address"));
    let network = spec.network.as_deref().filter(|network| !network.is_empty());
    let unix = address.strip_prefix("unix://");
    match (address, network) {
        ("", None) => return findings.error("no-address", &at, "address is required", "address가 있어야 합니다"),
        ("", Some(network)) => {
            let message = format!("address is unset with network {network:?}");
            findings.warning("no-address", &at, message, "address가 없습니다");
        }
        _ if unix.is_some() => check_unix(spec, unix.unwrap_or_default(), path, names, findings),
        _ if address.parse::<IpAddr>().is_ok() => {}
        _ if !host_names => {
            let message = format!("endpoint address {address:?} is not a valid IP address");
            findings.error("invalid-address", &at, message, format!("`{address}`은(는) IP 주소가 아닙니다"));
        }
        _ if domain(address, false).is_err() => bad_name(address, &at, findings),
        _ => {}
    }
    check_endpoint_ports(spec, path, names, findings);
    check_labels(&spec.labels, &format!("{path}.labels"), findings);
}

fn bad_name(address: &str, path: &str, findings: &mut Findings) {
    let message = format!("endpoint address {address:?} is not a valid FQDN or an IP address");
    findings.error("invalid-address", path, message, format!("`{address}`은(는) 이름도 IP 주소도 아닙니다"));
}

fn check_unix(spec: &WorkloadEntrySpec, socket: &str, path: &str, names: Option<&BTreeSet<String>>, findings: &mut Findings) {
    let at = format!("{path}.address");
    if !socket.starts_with('@') && (!socket.starts_with('/') || socket.ends_with('/')) {
        let message = format!("{socket} is not an absolute path to a file");
        findings.error("invalid-address", &at, message, format!("`{socket}`은(는) 파일의 절대 경로가 아닙니다"));
    }
    if !spec.ports.is_empty() {
        let message = format!("unix endpoint unix://{socket} must not include ports");
        findings.error("invalid-port", &format!("{path}.ports"), message, "unix 엔드포인트에는 ports를 쓸 수 없습니다");
    }
    if names.is_some_and(|names| names.len() != 1) {
        let message = "exactly 1 service port required for unix endpoints";
        findings.error("invalid-port", &at, message, "unix 엔드포인트에는 서비스 포트가 하나여야 합니다");
    }
    let message = "unix addresses are valid in Istio but not executed here yet: the endpoint is left out";
    findings.warning("not-executed", &at, message, "unix 주소는 아직 실행하지 않습니다. 이 엔드포인트는 빠집니다");
}

fn check_endpoint_ports(spec: &WorkloadEntrySpec, path: &str, names: Option<&BTreeSet<String>>, findings: &mut Findings) {
    for (name, port) in &spec.ports {
        let at = format!("{path}.ports.{name}");
        if names.is_some_and(|names| !names.contains(name)) {
            let message = format!("endpoint port {port} is not defined by the service entry");
            findings.error("invalid-port", &at, message, format!("포트 `{name}`이(가) ServiceEntry에 없습니다"));
        }
        check_port_name(name, &at, findings);
        check_port(*port, &at, findings);
    }
}
