//! The webhook on `connectionPool:`.

use serde_json::Value;

use super::Findings;
use super::values::{check_duration, check_duration_or_off};
use crate::resource::{ConnectionPoolSettings, HttpSettings, TcpSettings};

pub(super) fn check(pool: &ConnectionPoolSettings, path: &str, findings: &mut Findings) {
    if pool.tcp.is_none() && pool.http.is_none() {
        return findings.error("empty-policy", path, "connection pool must have at least one field", "connectionPool이 비어 있습니다");
    }
    if let Some(http) = &pool.http {
        check_http(http, &format!("{path}.http"), findings);
    }
    if let Some(tcp) = &pool.tcp {
        check_tcp(tcp, &format!("{path}.tcp"), findings);
    }
}

fn check_limit(name: &str, words: &str, limit: Option<i64>, path: &str, findings: &mut Findings) {
    if limit.is_some_and(|limit| limit < 0) {
        let korean = format!("{name}은(는) 0보다 작을 수 없습니다");
        findings.error("invalid-limit", &format!("{path}.{name}"), format!("{words} must be non-negative"), korean);
    }
}

fn check_http(http: &HttpSettings, path: &str, findings: &mut Findings) {
    check_limit("http1MaxPendingRequests", "http1 max pending requests", http.http1_max_pending_requests, path, findings);
    check_limit("http2MaxRequests", "http2 max requests", http.http2_max_requests, path, findings);
    check_limit("maxRequestsPerConnection", "max requests per connection", http.max_requests_per_connection, path, findings);
    check_limit("maxRetries", "max retries", http.max_retries, path, findings);
    check_duration(http.idle_timeout.as_deref(), &format!("{path}.idleTimeout"), findings);
    if http.h2_upgrade_policy.as_deref() == Some("UPGRADE") && http.use_client_protocol == Some(true) {
        let message = "use client protocol must not be true when H2UpgradePolicy is UPGRADE";
        findings.error("two-settings", path, message, "h2UpgradePolicy UPGRADE와 useClientProtocol은 함께 쓸 수 없습니다");
    }
    check_limit("maxConcurrentStreams", "max concurrent streams", http.max_concurrent_streams, path, findings);
    let Some(keep_alive) = &http.http2_keep_alive else { return };
    for name in ["interval", "timeout"] {
        let at = format!("{path}.http2KeepAlive.{name}");
        match keep_alive.get(name).and_then(Value::as_str) {
            None => {
                findings.error("two-settings", &at, format!("http2 keepalive {name} is required"), format!("{name}이(가) 있어야 합니다"));
            }
            Some(text) => check_duration(Some(text), &at, findings),
        }
    }
}

fn check_tcp(tcp: &TcpSettings, path: &str, findings: &mut Findings) {
    check_limit("maxConnections", "max connections", tcp.max_connections, path, findings);
    check_duration(tcp.connect_timeout.as_deref(), &format!("{path}.connectTimeout"), findings);
    check_duration(tcp.max_connection_duration.as_deref(), &format!("{path}.maxConnectionDuration"), findings);
    check_duration_or_off(tcp.idle_timeout.as_deref(), &format!("{path}.idleTimeout"), findings);
    let keep_alive = tcp.tcp_keepalive.as_ref();
    for name in ["time", "interval"] {
        let text = keep_alive.and_then(|keep_alive| keep_alive.get(name)).and_then(Value::as_str);
        check_duration(text, &format!("{path}.tcpKeepalive.{name}"), findings);
    }
}
