//! The webhook on Gateway.

use std::collections::BTreeSet;

use super::Findings;
use super::names::{check_host, check_port};
use crate::resource::{GatewaySpec, Server};

const PROTOCOLS: [&str; 8] = ["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "TCP", "TLS"];

pub(super) fn check(spec: &GatewaySpec, findings: &mut Findings) {
    if spec.servers.is_empty() {
        findings.error("no-servers", "spec.servers", "gateway must have at least one server", "servers가 있어야 합니다");
    }
    let mut names = BTreeSet::new();
    for (index, server) in spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{index}]");
        check_server(server, &path, findings);
        let name = server.port.as_ref().map(|port| port.name.as_str()).unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            let message = format!("port names in servers must be unique: duplicate name {name}");
            findings.error("duplicate-port", &format!("{path}.port.name"), message, format!("포트 이름 `{name}`이(가) 두 번 있습니다"));
        }
    }
}

fn check_server(server: &Server, path: &str, findings: &mut Findings) {
    if server.hosts.is_empty() {
        findings.error("no-hosts", &format!("{path}.hosts"), "server config must contain at least one host", "hosts가 있어야 합니다");
    }
    for (index, host) in server.hosts.iter().enumerate() {
        let name = host.split_once('/').map_or(host.as_str(), |(_, name)| name);
        check_host(name, &format!("{path}.hosts[{index}]"), true, findings);
    }
    let Some(port) = &server.port else {
        return findings.error("invalid-port", &format!("{path}.port"), "port is required", "port가 있어야 합니다");
    };
    check_port(port.number, &format!("{path}.port.number"), findings);
    if port.name.is_empty() {
        findings.error("invalid-port", &format!("{path}.port.name"), "port name must be set", "포트 이름이 있어야 합니다");
    }
    let protocol = port.protocol.to_ascii_uppercase();
    let at = format!("{path}.port.protocol");
    if !PROTOCOLS.contains(&protocol.as_str()) {
        let message = format!("invalid protocol {:?}, supported protocols are {}", port.protocol, PROTOCOLS.join(", "));
        findings.error("invalid-port", &at, message, format!("프로토콜 `{}`을(를) 모릅니다", port.protocol));
        return;
    }
    let is_tls = matches!(protocol.as_str(), "HTTPS" | "TLS");
    if is_tls || matches!(protocol.as_str(), "TCP" | "MONGO") {
        let message = format!("`{protocol}` servers are valid in Istio but not executed here yet: the port does not listen");
        findings.warning("not-executed", &at, message, format!("{protocol} 서버는 아직 실행하지 않습니다"));
    }
    check_tls(server, is_tls, path, findings);
}

fn check_tls(server: &Server, is_tls: bool, path: &str, findings: &mut Findings) {
    let at = format!("{path}.tls");
    let Some(tls) = &server.tls else {
        if is_tls {
            findings.error(
                "invalid-tls",
                path,
                "server must have TLS settings for HTTPS/TLS protocols",
                "HTTPS/TLS 서버에는 tls가 있어야 합니다",
            );
        }
        return;
    };
    if !is_tls {
        let redirect_only =
            tls.https_redirect == Some(true) && tls.mode.is_none() && tls.credential_name.is_none() && tls.server_certificate.is_none();
        if !redirect_only {
            findings.error(
                "invalid-tls",
                &at,
                "server cannot have TLS settings for non HTTPS/TLS ports, only httpsRedirect",
                "평문 HTTP에는 httpsRedirect만 쓸 수 있습니다",
            );
        }
        return;
    }
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let secret = set(&tls.credential_name) || !tls.credential_names.is_empty();
    match tls.mode.as_deref().unwrap_or("PASSTHROUGH") {
        mode @ ("SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL") if !secret => {
            if !set(&tls.server_certificate) || !set(&tls.private_key) {
                findings.error(
                    "invalid-tls",
                    &at,
                    format!("{mode} TLS requires a server certificate and a private key, or credentialName"),
                    format!("{mode}에는 인증서와 키, 또는 credentialName이 필요합니다"),
                );
            }
            if mode != "SIMPLE" && !set(&tls.ca_certificates) {
                findings.error(
                    "invalid-tls",
                    &at,
                    format!("{mode} TLS requires a client CA bundle"),
                    format!("{mode}에는 CA 인증서가 필요합니다"),
                );
            }
        }
        "ISTIO_MUTUAL" if secret || set(&tls.server_certificate) || set(&tls.private_key) => {
            findings.error(
                "invalid-tls",
                &at,
                "ISTIO_MUTUAL TLS cannot have certificates of its own",
                "ISTIO_MUTUAL에는 따로 인증서를 줄 수 없습니다",
            );
        }
        _ => {}
    }
}
