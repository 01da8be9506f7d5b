//! The webhook on Gateway.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Findings;
use super::names::{check_port, domain, is_label, is_partial_wildcard};
use crate::resource::{GatewaySpec, Server, ServerPort, ServerTlsSettings};

const PROTOCOLS: [&str; 12] = ["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "HTTP_PROXY", "MONGO", "REDIS", "MYSQL", "TCP", "TLS", "UDP"];

pub(super) fn check(spec: &GatewaySpec, findings: &mut Findings) {
    let name = findings.name().to_owned();
    if !is_label(&name) && !name.is_empty() {
        let message = format!("invalid gateway name: {name:?}");
        findings.error("invalid-gateway", "metadata.name", message, format!("게이트웨이 이름 `{name}`이(가) 올바르지 않습니다"));
    }
    if spec.servers.is_empty() {
        findings.error("no-servers", "spec.servers", "gateway must have at least one server", "servers가 있어야 합니다");
    }
    let mut names = BTreeSet::new();
    for (index, server) in spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{index}]");
        check_server(server, &path, findings);
        let Some(port) = &server.port else { continue };
        if !names.insert(port.name.as_str()) {
            let message = format!("port names in servers must be unique: duplicate name {}", port.name);
            let korean = format!("포트 이름 `{}`이(가) 두 번 있습니다", port.name);
            findings.error("duplicate-port", &format!("{path}.port.name"), message, korean);
        }
        if !is_http(&port.protocol) && server.tls.as_ref().is_some_and(|tls| tls.https_redirect == Some(true)) {
            let message = "tls.httpsRedirect should only be used with http servers";
            findings.warning("invalid-tls", &format!("{path}.tls.httpsRedirect"), message, "httpsRedirect는 HTTP 서버에만 씁니다");
        }
    }
}

fn is_http(protocol: &str) -> bool {
    matches!(protocol.to_ascii_uppercase().as_str(), "HTTP" | "HTTP2" | "HTTP_PROXY" | "GRPC" | "GRPC-WEB")
}

fn check_server(server: &Server, path: &str, findings: &mut Findings) {
    if server.hosts.is_empty() {
        findings.error("no-hosts", &format!("{path}.hosts"), "server config must contain at least one host", "hosts가 있어야 합니다");
    }
    for (index, host) in server.hosts.iter().enumerate() {
        check_host(host, &format!("{path}.hosts[{index}]"), findings);
    }
    let Some(port) = &server.port else {
        return findings.error("invalid-port", &format!("{path}.port"), "port is required", "port가 있어야 합니다");
    };
    let bind = server.bind.as_deref().unwrap_or_default();
    let known = check_server_port(port, bind, &format!("{path}.port"), findings);
    check_bind(port, bind, &format!("{path}.bind"), findings);
    let at = format!("{path}.tls");
    if let Some(tls) = &server.tls {
        check_tls(tls, &at, findings);
    }
    if !known {
        return;
    }
    let protocol = port.protocol.to_ascii_uppercase();
    let is_tls = matches!(protocol.as_str(), "HTTPS" | "TLS");
    if !is_http(&protocol) {
        let message = format!("`{protocol}` servers are valid in Istio but not executed here yet: the port does not listen");
        findings.warning("not-executed", &format!("{path}.port.protocol"), message, format!("{protocol} 서버는 아직 실행하지 않습니다"));
    }
    match &server.tls {
        None if is_tls => {
            let message = "server must have TLS settings for HTTPS/TLS protocols";
            findings.error("invalid-tls", path, message, "HTTPS/TLS 서버에는 tls가 있어야 합니다");
        }
        Some(tls) if !is_tls && is_http(&protocol) => {
            let passes = matches!(tls.mode.as_deref().unwrap_or("PASSTHROUGH"), "PASSTHROUGH" | "AUTO_PASSTHROUGH");
            if !passes || [&tls.ca_certificates, &tls.private_key, &tls.server_certificate].into_iter().any(set) {
                let message = "server cannot have TLS settings for plain text HTTP ports";
                findings.error("invalid-tls", &at, message, "평문 HTTP에는 httpsRedirect만 쓸 수 있습니다");
            }
        }
        Some(_) if !is_tls => {
            let message = "server cannot have TLS settings for non HTTPS/TLS ports";
            findings.error("invalid-tls", &at, message, "HTTPS/TLS가 아닌 포트에는 tls를 쓸 수 없습니다");
        }
        Some(_) | None => {}
    }
}

/// `host` or `namespace/host`.
fn check_host(text: &str, path: &str, findings: &mut Findings) {
    let mut refuse = |message: String, korean: &str| findings.error("invalid-host", path, message, korean);
    let host = match text.split_once('/') {
        None => text,
        Some((namespace, host)) => {
            if namespace.is_empty() || host.is_empty() {
                return refuse(
                    "config namespace and dnsName in host entry cannot be empty".to_owned(),
                    "네임스페이스와 호스트 이름이 모두 있어야 합니다",
                );
            }
            if !matches!(namespace, "*" | ".") && !is_label(namespace) {
                refuse(format!("invalid namespace value {namespace:?} in gateway"), "네임스페이스 이름이 올바르지 않습니다");
            }
            host
        }
    };
    if host != "*" && !host.contains('.') {
        refuse("short names (non FQDN) are not allowed".to_owned(), "짧은 이름은 쓸 수 없습니다. 점이 있는 완전한 이름을 쓰세요");
    }
    if let Err((message, korean)) = domain(host, true)
        && host.parse::<IpAddr>().is_err()
    {
        refuse(message, &korean);
    } else if is_partial_wildcard(host) {
        refuse(format!("partial wildcard {host:?} not allowed"), "와일드카드는 `*.` 모양이어야 합니다");
    }
}

/// Says whether everything about the port is in order.
fn check_server_port(port: &ServerPort, bind: &str, path: &str, findings: &mut Findings) -> bool {
    let known = PROTOCOLS.contains(&port.protocol.to_ascii_uppercase().as_str());
    if !known {
        let message =
            format!("invalid protocol {:?}, supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP", port.protocol);
        findings.error("invalid-port", &format!("{path}.protocol"), message, format!("프로토콜 `{}`을(를) 모릅니다", port.protocol));
    }
    let numbered = port.number > 0 || !bind.starts_with("unix://");
    if numbered {
        check_port(port.number, &format!("{path}.number"), findings);
    }
    let target = port.target_port.is_some_and(|target| target > 0);
    if target {
        let message = "targetPort has no impact on Gateways";
        findings.error("invalid-port", &format!("{path}.targetPort"), message, "targetPort는 게이트웨이에서 쓰이지 않습니다");
    }
    if port.name.is_empty() {
        let message = format!("port name must be set: number:{} protocol:{:?}", port.number, port.protocol);
        findings.error("invalid-port", &format!("{path}.name"), message, "포트 이름이 있어야 합니다");
    }
    known && !target && !port.name.is_empty() && (!numbered || (1..=65535).contains(&port.number))
}

fn check_bind(port: &ServerPort, bind: &str, path: &str, findings: &mut Findings) {
    let mut refuse = |message: String, korean: &str| findings.error("invalid-address", path, message, korean);
    if let Some(socket) = bind.strip_prefix("unix://") {
        if !socket.starts_with('@') && (!socket.starts_with('/') || socket.ends_with('/')) {
            refuse(format!("{socket} is not an absolute path to a file"), "파일의 절대 경로가 아닙니다");
        }
        if port.number != 0 {
            refuse(format!("port number must be 0 for unix domain socket: {}", port.number), "unix 소켓이면 포트는 0이어야 합니다");
        }
    } else if !bind.is_empty() && bind.parse::<IpAddr>().is_err() {
        refuse(format!("{bind} is not a valid IP"), "IP 주소가 아닙니다");
    }
}

fn set(text: &Option<String>) -> bool {
    text.as_deref().is_some_and(|text| !text.is_empty())
}

fn check_tls(tls: &ServerTlsSettings, path: &str, findings: &mut Findings) {
    let mode = tls.mode.as_deref().unwrap_or("PASSTHROUGH");
    let files = [
        (set(&tls.server_certificate), "server certificate"),
        (set(&tls.private_key), "private key"),
        (set(&tls.ca_certificates), "CA bundle"),
        (!tls.tls_certificates.is_empty(), "tlsCertificates"),
        (set(&tls.credential_name), "credentialName"),
        (!tls.credential_names.is_empty(), "credentialNames"),
    ];
    if mode == "ISTIO_MUTUAL" {
        for (_, what) in files.into_iter().filter(|(set, _)| *set) {
            let korean = format!("ISTIO_MUTUAL에는 {what}을(를) 줄 수 없습니다");
            findings.error("invalid-tls", path, format!("ISTIO_MUTUAL TLS cannot have associated {what}"), korean);
        }
        return;
    }
    if matches!(mode, "PASSTHROUGH" | "AUTO_PASSTHROUGH") && files.into_iter().any(|(set, _)| set) {
        let message = format!("{mode} mode does not use certificates, they will be ignored");
        findings.warning("invalid-tls", path, message, format!("{mode}는 인증서를 쓰지 않습니다"));
    }
    let sources = [
        set(&tls.server_certificate) && set(&tls.private_key),
        set(&tls.credential_name),
        !tls.credential_names.is_empty(),
        !tls.tls_certificates.is_empty(),
    ];
    if sources.into_iter().filter(|set| *set).count() > 1 {
        let message = "only one of credential_name, credential_names, server_certificate/private_key, tls_certificates should be specified";
        findings.error("two-settings", path, message, "인증서는 한 곳에서만 줄 수 있습니다");
    }
    let secret = set(&tls.credential_name) || !tls.credential_names.is_empty();
    if !secret && matches!(mode, "SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL") {
        check_certificates(tls, mode, path, findings);
    }
}

fn check_certificates(tls: &ServerTlsSettings, mode: &str, path: &str, findings: &mut Findings) {
    let prefix = if mode == "SIMPLE" { "SIMPLE TLS" } else { "MUTUAL TLS" };
    let mut needs = |what: &str, korean: &str| findings.error("invalid-tls", path, format!("{prefix} requires a {what}"), korean);
    if mode != "SIMPLE" && !set(&tls.ca_certificates) {
        needs("client CA bundle", "caCertificates가 필요합니다");
    }
    let own = [(&tls.server_certificate, &tls.private_key)];
    let listed: Vec<_> = tls.tls_certificates.iter().map(|one| (&one.server_certificate, &one.private_key)).collect();
    for (certificate, key) in if listed.is_empty() { own.as_slice() } else { listed.as_slice() } {
        if !set(certificate) {
            needs("server certificate", "serverCertificate나 credentialName이 필요합니다");
        }
        if !set(key) {
            needs("private key", "privateKey나 credentialName이 필요합니다");
        }
    }
}
