//! The webhook on DestinationRule.

use super::Findings;
use super::names::{Exporter, check_export_to, check_host, check_labels, check_port, check_selector, check_subset};
use super::values::check_duration;
use crate::resource::{
    ClientTlsSettings, ConnectionPoolSettings, ConsistentHash, DestinationRuleSpec, LoadBalancerSettings, LocalityLbSetting,
    OutlierDetectionSpec, PolicyBlocks, TrafficPolicy,
};

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
        findings.error("empty-policy", path, "traffic policy must have at least one field", "trafficPolicy가 비어 있습니다");
    }
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        findings.error(
            "two-settings",
            path,
            "tunnel and proxyProtocol must not be set together",
            "tunnel과 proxyProtocol은 함께 쓸 수 없습니다",
        );
    }
    check_blocks(&policy.blocks, path, findings);
    for (index, entry) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        match &entry.port {
            None => findings.error("invalid-port", &path, "portLevelSettings must have a port", "port가 있어야 합니다"),
            Some(port) => check_port(port.number, &format!("{path}.port.number"), findings),
        }
        if entry.blocks == PolicyBlocks::default() {
            findings.error("empty-policy", &path, "port level settings must have at least one field", "포트 설정이 비어 있습니다");
        }
        check_blocks(&entry.blocks, &path, findings);
    }
}

fn check_blocks(blocks: &PolicyBlocks, path: &str, findings: &mut Findings) {
    if let Some(pool) = &blocks.connection_pool {
        check_pool(pool, &format!("{path}.connectionPool"), findings);
    }
    if let Some(outlier) = &blocks.outlier_detection {
        check_outlier(outlier, &format!("{path}.outlierDetection"), findings);
    }
    if let Some(balancer) = &blocks.load_balancer {
        check_balancer(balancer, blocks.outlier_detection.is_some(), &format!("{path}.loadBalancer"), findings);
    }
    if let Some(tls) = &blocks.tls {
        check_tls(tls, &format!("{path}.tls"), findings);
    }
}

fn check_pool(pool: &ConnectionPoolSettings, path: &str, findings: &mut Findings) {
    if pool.tcp.is_none() && pool.http.is_none() {
        findings.error("empty-policy", path, "connection pool must have at least one field", "connectionPool이 비어 있습니다");
    }
    let mut limits = Vec::new();
    if let Some(tcp) = &pool.tcp {
        limits.push(("tcp.maxConnections", tcp.max_connections));
        for (name, text) in [
            ("connectTimeout", &tcp.connect_timeout),
            ("idleTimeout", &tcp.idle_timeout),
            ("maxConnectionDuration", &tcp.max_connection_duration),
        ] {
            check_duration(text.as_deref(), &format!("{path}.tcp.{name}"), findings);
        }
    }
    if let Some(http) = &pool.http {
        limits.extend([
            ("http.http1MaxPendingRequests", http.http1_max_pending_requests),
            ("http.http2MaxRequests", http.http2_max_requests),
            ("http.maxRequestsPerConnection", http.max_requests_per_connection),
            ("http.maxRetries", http.max_retries),
            ("http.maxConcurrentStreams", http.max_concurrent_streams),
        ]);
        check_duration(http.idle_timeout.as_deref(), &format!("{path}.http.idleTimeout"), findings);
        if http.h2_upgrade_policy.as_deref() == Some("UPGRADE") && http.use_client_protocol == Some(true) {
            findings.error(
                "two-settings",
                &format!("{path}.http"),
                "use client protocol must not be true when H2UpgradePolicy is UPGRADE",
                "h2UpgradePolicy UPGRADE와 useClientProtocol은 함께 쓸 수 없습니다",
            );
        }
        if http.http2_keep_alive.as_ref().is_some_and(|keep| keep.get("interval").is_none() || keep.get("timeout").is_none()) {
            findings.error(
                "two-settings",
                &format!("{path}.http.http2KeepAlive"),
                "http2KeepAlive needs interval and timeout",
                "interval과 timeout이 모두 있어야 합니다",
            );
        }
    }
    for (name, _) in limits.into_iter().filter(|(_, limit)| limit.is_some_and(|limit| limit < 0)) {
        findings.error(
            "invalid-limit",
            &format!("{path}.{name}"),
            format!("{name} must be non-negative"),
            format!("{name}은(는) 0보다 작을 수 없습니다"),
        );
    }
}

fn check_outlier(outlier: &OutlierDetectionSpec, path: &str, findings: &mut Findings) {
    check_duration(outlier.interval.as_deref(), &format!("{path}.interval"), findings);
    check_duration(outlier.base_ejection_time.as_deref(), &format!("{path}.baseEjectionTime"), findings);
    for (name, value) in [("maxEjectionPercent", outlier.max_ejection_percent), ("minHealthPercent", outlier.min_health_percent)] {
        if let Some(percent) = value.filter(|percent| !(0..=100).contains(percent)) {
            findings.error(
                "invalid-percentage",
                &format!("{path}.{name}"),
                format!("percentage {percent} is not in range 0..100"),
                format!("{percent}은(는) 0~100이어야 합니다"),
            );
        }
    }
    if outlier.consecutive_local_origin_failures.is_some_and(|count| count > 0) && outlier.split_external_local_origin_errors != Some(true)
    {
        findings.error(
            "outlier-local",
            &format!("{path}.consecutiveLocalOriginFailures"),
            "consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors",
            "splitExternalLocalOriginErrors를 켜야 합니다",
        );
    }
    if outlier.consecutive_errors.is_some() {
        findings.warning(
            "deprecated",
            &format!("{path}.consecutiveErrors"),
            "outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors instead",
            "consecutiveErrors는 폐기되었습니다. consecutive5xxErrors를 쓰세요",
        );
    }
}

fn check_balancer(balancer: &LoadBalancerSettings, has_outlier: bool, path: &str, findings: &mut Findings) {
    if balancer.simple.as_deref() == Some("LEAST_CONN") {
        findings.warning(
            "deprecated",
            &format!("{path}.simple"),
            "LEAST_CONN is deprecated, use LEAST_REQUEST instead",
            "LEAST_CONN은 폐기되었습니다. LEAST_REQUEST를 쓰세요",
        );
    }
    if balancer.simple.is_some() && balancer.consistent_hash.is_some() {
        findings.error(
            "two-settings",
            path,
            "load balancer must have only one of simple and consistentHash",
            "simple과 consistentHash는 함께 쓸 수 없습니다",
        );
    }
    if let Some(hash) = &balancer.consistent_hash {
        check_hash(hash, &format!("{path}.consistentHash"), findings);
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        check_locality(locality, has_outlier, &format!("{path}.localityLbSetting"), findings);
    }
}

fn check_hash(hash: &ConsistentHash, path: &str, findings: &mut Findings) {
    if hash.http_cookie.as_ref().is_some_and(|cookie| cookie.name.as_deref().is_none_or(str::is_empty)) {
        findings.error("invalid-hash", &format!("{path}.httpCookie.name"), "name required for HttpCookie", "쿠키 이름이 있어야 합니다");
    }
    if let Some(cookie) = &hash.http_cookie
        && cookie.ttl.as_deref() != Some("0s")
    {
        check_duration(cookie.ttl.as_deref(), &format!("{path}.httpCookie.ttl"), findings);
    }
    if hash.minimum_ring_size.is_some() {
        let at = format!("{path}.minimumRingSize");
        findings.warning(
            "deprecated",
            &at,
            "consistent hash MinimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead",
            "minimumRingSize는 폐기되었습니다. ringHash를 쓰세요",
        );
        if hash.ring_hash.is_some() || hash.maglev.is_some() {
            findings.error(
                "invalid-hash",
                &at,
                "only one of MinimumRingSize and Maglev/RingHash can be specified",
                "minimumRingSize와 ringHash/maglev는 함께 쓸 수 없습니다",
            );
        }
    }
    if let Some(size) = hash.maglev.as_ref().and_then(|maglev| maglev.table_size)
        && (size >= 5_000_011 || !is_prime(size))
    {
        let message = format!("tableSize {size} must be a prime number below 5000011");
        findings.error(
            "invalid-hash",
            &format!("{path}.maglev.tableSize"),
            message,
            format!("{size}은(는) 5000011보다 작은 소수여야 합니다"),
        );
    }
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

fn check_locality(locality: &LocalityLbSetting, has_outlier: bool, path: &str, findings: &mut Findings) {
    if !locality.distribute.is_empty() && !locality.failover.is_empty() {
        findings.error(
            "two-settings",
            path,
            "can not simultaneously specify 'distribute' and 'failover'",
            "distribute와 failover는 함께 쓸 수 없습니다",
        );
    }
    for (index, entry) in locality.distribute.iter().enumerate() {
        let at = format!("{path}.distribute[{index}].to");
        if entry.to.values().any(|weight| !(1..=100).contains(weight)) {
            findings.error("invalid-weight", &at, "locality weight must be in range [1, 100]", "지역 가중치는 1~100이어야 합니다");
        }
        let total: u64 = entry.to.values().map(|weight| u64::from(*weight)).sum();
        if total != 100 {
            findings.error(
                "invalid-weight",
                &at,
                format!("total locality weight {total} != 100"),
                format!("지역 가중치의 합이 {total}입니다. 100이어야 합니다"),
            );
        }
    }
    for (index, entry) in locality.failover.iter().enumerate() {
        let at = format!("{path}.failover[{index}]");
        if entry.from == entry.to {
            let message = format!("locality lb failover settings must specify different regions: {}", entry.from);
            findings.error("invalid-locality", &at, message, "from과 to가 같습니다");
        }
        if entry.to.contains(['/', '*']) {
            findings.error(
                "invalid-locality",
                &format!("{at}.to"),
                "locality lb failover `to` must be a region",
                "to는 리전 이름이어야 합니다",
            );
        }
    }
    let failover = !locality.failover.is_empty() || !locality.failover_priority.is_empty();
    if failover && !has_outlier {
        findings.warning(
            "failover-without-outlier",
            path,
            "outlier detection policy must be provided for failover",
            "failover는 outlierDetection이 있어야 동작합니다",
        );
    }
}

fn check_tls(tls: &ClientTlsSettings, path: &str, findings: &mut Findings) {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    if tls.mode.as_deref() == Some("MUTUAL") && !set(&tls.credential_name) && (!set(&tls.client_certificate) || !set(&tls.private_key)) {
        findings.error(
            "invalid-tls",
            path,
            "client certificate and private key required for mutual tls",
            "MUTUAL에는 인증서와 키가 필요합니다",
        );
    }
    if tls.insecure_skip_verify == Some(true) && (set(&tls.ca_certificates) || !tls.subject_alt_names.is_empty()) {
        findings.error(
            "invalid-tls",
            path,
            "cannot specify CA certificates or subjectAltNames when insecureSkipVerify is set",
            "insecureSkipVerify와 CA, subjectAltNames는 함께 쓸 수 없습니다",
        );
    }
}
