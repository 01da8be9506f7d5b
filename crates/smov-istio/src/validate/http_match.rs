//! The webhook on one entry of `match:`.

use super::Findings;
use super::names::{check_labels, check_port, is_label};
use super::values::check_regex;
use super::virtual_service::check_gateways;
use crate::resource::{HttpMatchRequest, StringMatchSpec};
use crate::schema::join;

pub(super) fn check(entry: &HttpMatchRequest, path: &str, findings: &mut Findings) {
    let pseudo = [("scheme", &entry.scheme), ("method", &entry.method), ("authority", &entry.authority)];
    for (name, condition) in pseudo {
        if let Some(condition) = condition {
            check_text(condition, &format!("{path}.{name}"), name, false, findings);
        }
    }
    if let Some(uri) = &entry.uri {
        check_text(uri, &format!("{path}.uri"), "uri", true, findings);
    }
    for (field, conditions) in [("headers", &entry.headers), ("withoutHeaders", &entry.without_headers)] {
        for (name, condition) in conditions {
            let path = join(&format!("{path}.{field}"), name);
            check_header_name(name, &path, findings);
            // Among what must not be there, `*` stands for presence.
            if field == "headers" || condition.regex.as_deref() != Some("*") {
                check_text(condition, &path, field, false, findings);
            }
        }
    }
    for (name, condition) in &entry.query_params {
        check_text(condition, &join(&format!("{path}.queryParams"), name), "queryParams", false, findings);
    }
    check_labels(&entry.source_labels, &format!("{path}.sourceLabels"), findings);
    check_gateways(&entry.gateways, path, findings);
    if let Some(namespace) = entry.source_namespace.as_deref().filter(|name| !name.is_empty() && !is_label(name)) {
        let message = format!("sourceNamespace match {namespace} is invalid");
        let korean = format!("네임스페이스 이름 `{namespace}`이(가) 올바르지 않습니다");
        findings.error("invalid-namespace", &format!("{path}.sourceNamespace"), message, korean);
    }
    if let Some(port) = entry.port.filter(|port| *port > 0) {
        check_port(port, &format!("{path}.port"), findings);
    }
}

fn check_text(condition: &StringMatchSpec, path: &str, what: &str, empty_prefix: bool, findings: &mut Findings) {
    let StringMatchSpec { exact, prefix, regex } = condition;
    if [exact, prefix, regex].into_iter().flatten().count() > 1 {
        let message = "at most one of [exact prefix regex] should be set";
        findings.error("two-conditions", path, message, "exact, prefix, regex 가운데 하나만 쓸 수 있습니다");
    }
    if !empty_prefix && prefix.as_deref() == Some("") {
        let message = format!("{what:?}: prefix string match should not be empty");
        findings.error("empty-prefix", &format!("{path}.prefix"), message, "prefix가 비어 있습니다");
    }
    if let Some(regex) = regex.as_deref() {
        check_regex(regex, &format!("{path}.regex"), what, findings);
    }
}

/// An HTTP header's name, one of HTTP/2's pseudo headers, or a JWT claim.
fn check_header_name(name: &str, path: &str, findings: &mut Findings) {
    if is_claim(name) {
        let message = "routing by JWT claims is valid in Istio (gateways only) but not executed here yet: the rule never matches";
        findings.warning("not-executed", path, message, "JWT 클레임 라우팅은 아직 실행하지 않습니다. 이 조건은 맞는 요청이 없습니다");
    } else if name.is_empty() {
        findings.error("invalid-header", path, "header name cannot be empty", "헤더 이름이 비어 있습니다");
    } else if !is_token(name) && !matches!(name, ":method" | ":scheme" | ":authority" | ":path" | ":status") {
        let message = format!("header name {name} is not a valid header name");
        findings.error("invalid-header", path, message, format!("`{name}`은(는) 헤더 이름이 아닙니다"));
    }
}

/// `@request.auth.claims.x` or `@request.auth.claims[x]`.
pub(super) fn is_claim(name: &str) -> bool {
    name.to_ascii_lowercase().strip_prefix("@request.auth.claims").is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// RFC 9110 token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
