//! The webhook on DestinationRule.

use serde_json::Value;

use super::Findings;
use super::names::{Exporter, check_export_to, check_host, check_labels, check_selector, check_subset, domain};
use super::values::check_duration;
use super::{connection_pool, load_balancer};
use crate::resource::{ClientTlsSettings, DestinationRuleSpec, OutlierDetectionSpec, PolicyBlocks, TrafficPolicy};

pub(super) fn check(spec: &DestinationRuleSpec, findings: &mut Findings) {
    check_host(&spec.host, "spec.host", true, findings);
    if let Some(policy) = &spec.traffic_policy {
        check_policy(policy, "spec.trafficPolicy", findings);
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{index}]");
        check_subset(&subset.name, &format!("{path}.name"), findings);
        check_labels(&subset.labels, &format!("{path}.labels"), findings);
        if spec.subsets[..index].iter().any(|earlier| earlier.name == subset.name) {
            let message = format!("duplicate subset names: {}", subset.name);
            findings.error("duplicate-subset", &format!("{path}.name"), message, format!("서브셋 `{}`이(가) 두 번 있습니다", subset.name));
        }
        if let Some(policy) = &subset.traffic_policy {
            check_policy(policy, &format!("{path}.trafficPolicy"), findings);
        }
    }
    let exporter = if spec.workload_selector.is_some() { Exporter::RuleWithSelector } else { Exporter::Rule };
    check_export_to(&spec.export_to, exporter, findings);
    if let Some(selector) = &spec.workload_selector {
        let empty = ("workload selector specified without labels", "workloadSelector에 레이블이 없습니다. 모든 파드에 적용됩니다");
        check_selector(&selector.match_labels, "spec.workloadSelector", empty, findings);
    }
}

fn check_policy(policy: &TrafficPolicy, path: &str, findings: &mut Findings) {
    if *policy == TrafficPolicy::default() {
        return findings.error("empty-policy", path, "traffic policy must have at least one field", "trafficPolicy가 비어 있습니다");
    }
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        let message = "tunnel and proxyProtocol must not be set together";
        return findings.error("two-settings", path, message, "tunnel과 proxyProtocol은 함께 쓸 수 없습니다");
    }
    check_blocks(&policy.blocks, path, findings);
    for (index, entry) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        if entry.port.is_none() {
            findings.error("invalid-port", &path, "portTrafficPolicy must have valid port", "port가 있어야 합니다");
        }
        if entry.blocks == PolicyBlocks::default() {
            findings.error("empty-policy", &path, "port traffic policy must have at least one field", "포트 설정이 비어 있습니다");
        }
        check_blocks(&entry.blocks, &path, findings);
    }
    if let Some(tunnel) = &policy.tunnel {
        check_tunnel(tunnel, &format!("{path}.tunnel"), findings);
    }
}

fn check_blocks(blocks: &PolicyBlocks, path: &str, findings: &mut Findings) {
    if let Some(outlier) = &blocks.outlier_detection {
        check_outlier(outlier, &format!("{path}.outlierDetection"), findings);
    }
    if let Some(pool) = &blocks.connection_pool {
        connection_pool::check(pool, &format!("{path}.connectionPool"), findings);
    }
    if let Some(balancer) = &blocks.load_balancer {
        load_balancer::check(balancer, blocks.outlier_detection.is_some(), &format!("{path}.loadBalancer"), findings);
    }
    if let Some(tls) = &blocks.tls {
        check_tls(tls, &format!("{path}.tls"), findings);
    }
}

fn check_tunnel(tunnel: &Value, path: &str, findings: &mut Findings) {
    let text = |name: &str| tunnel.get(name).and_then(Value::as_str).unwrap_or_default();
    if !matches!(text("protocol"), "" | "CONNECT" | "POST") {
        let message = "tunnel protocol must be \"CONNECT\" or \"POST\"";
        findings.error("invalid-tunnel", &format!("{path}.protocol"), message, "protocol은 CONNECT나 POST여야 합니다");
    }
    let host = text("targetHost");
    if let Err((reason, _)) = domain(host, false)
        && host.parse::<std::net::IpAddr>().is_err()
    {
        let message = format!("tunnel target host must be valid FQDN or IP address: {reason}; {host} is not a valid IP");
        findings.error("invalid-tunnel", &format!("{path}.targetHost"), message, "targetHost는 이름이나 IP 주소여야 합니다");
    }
    let port = tunnel.get("targetPort").and_then(Value::as_u64).unwrap_or_default();
    if !(1..=65535).contains(&port) {
        let message = format!("tunnel target port is invalid: port number {port} must be in the range 1..65535");
        findings.error("invalid-tunnel", &format!("{path}.targetPort"), message, format!("포트 {port}은(는) 1~65535여야 합니다"));
    }
}

fn check_outlier(outlier: &OutlierDetectionSpec, path: &str, findings: &mut Findings) {
    check_duration(outlier.base_ejection_time.as_deref(), &format!("{path}.baseEjectionTime"), findings);
    if outlier.consecutive_errors.is_some_and(|count| count != 0) {
        let message = "outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors instead";
        let korean = "consecutiveErrors는 폐기되었습니다. consecutive5xxErrors를 쓰세요";
        findings.warning("deprecated", &format!("{path}.consecutiveErrors"), message, korean);
    }
    let split = outlier.split_external_local_origin_errors == Some(true);
    if !split && outlier.consecutive_local_origin_failures.is_some_and(|count| count > 0) {
        let message =
            "outlier detection consecutive local origin failures is specified, but split external local origin errors is set to false";
        let korean = "splitExternalLocalOriginErrors를 켜야 합니다";
        findings.error("outlier-local", &format!("{path}.consecutiveLocalOriginFailures"), message, korean);
    }
    check_duration(outlier.interval.as_deref(), &format!("{path}.interval"), findings);
    for (name, value) in [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)] {
        if let Some(percent) = value.filter(|percent| !(0..=100).contains(percent)) {
            let message = format!("percentage {percent} is not in range 0..100");
            findings.error("invalid-percentage", &format!("{path}.{name}"), message, format!("{percent}은(는) 0~100이어야 합니다"));
        }
    }
}

fn check_tls(tls: &ClientTlsSettings, path: &str, findings: &mut Findings) {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let mut refuse = |message: &str, korean: &str| findings.error("invalid-tls", path, message, korean);
    let mode = tls.mode.as_deref().unwrap_or("DISABLE");
    if tls.insecure_skip_verify == Some(true) {
        let names = !tls.subject_alt_names.is_empty();
        if mode == "SIMPLE" && (set(&tls.ca_certificates) || set(&tls.credential_name) || names) {
            refuse(
                "cannot specify CaCertificates or CredentialName or SubjectAltNames when InsecureSkipVerify is set true",
                "insecureSkipVerify와 CA, credentialName, subjectAltNames는 함께 쓸 수 없습니다",
            );
        } else if mode == "MUTUAL" && (set(&tls.ca_certificates) || names) {
            refuse(
                "cannot specify CaCertificates or SubjectAltNames when InsecureSkipVerify is set true",
                "insecureSkipVerify와 CA, subjectAltNames는 함께 쓸 수 없습니다",
            );
        }
    }
    if matches!(mode, "SIMPLE" | "MUTUAL") && set(&tls.credential_name) {
        if [&tls.client_certificate, &tls.ca_certificates, &tls.private_key, &tls.ca_crl].into_iter().any(set) {
            let message = "cannot specify client certificates or CA certificate or CA CRL If credentialName is set";
            refuse(message, "credentialName이 있으면 인증서 파일을 쓸 수 없습니다");
        }
    } else if mode == "MUTUAL" {
        for (file, message, korean) in [
            (&tls.client_certificate, "client certificate required for mutual tls", "MUTUAL에는 clientCertificate가 필요합니다"),
            (&tls.private_key, "private key required for mutual tls", "MUTUAL에는 privateKey가 필요합니다"),
        ] {
            if !set(file) {
                refuse(message, korean);
            }
        }
    }
}
