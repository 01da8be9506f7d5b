//! The webhook on one entry of `match:`.

use super::Findings;
use super::names::check_port;
use super::values::check_regex;
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
            check_text(condition, &path, name, false, findings);
        }
    }
    for (name, condition) in &entry.query_params {
        check_text(condition, &join(&format!("{path}.queryParams"), name), name, false, findings);
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
        let message = format!("{what}: prefix string match should not be empty");
        findings.error("empty-prefix", &format!("{path}.prefix"), message, "prefix가 비어 있습니다");
    }
    // `*` stands for presence.
    if let Some(regex) = regex.as_deref().filter(|regex| *regex != "*") {
        check_regex(regex, &format!("{path}.regex"), what, findings);
    }
}

/// An HTTP header's name; JWT claims need a gateway and are not executed.
fn check_header_name(name: &str, path: &str, findings: &mut Findings) {
    if name.starts_with("@request.auth.claims") {
        let message = "routing by JWT claims is valid in Istio (gateways only) but not executed here yet: the rule never matches";
        findings.warning("not-executed", path, message, "JWT 클레임 라우팅은 아직 실행하지 않습니다. 이 조건은 맞는 요청이 없습니다");
    } else if !is_token(name) {
        let message = format!("header name {name:?} is not a valid header name");
        findings.error("invalid-header", path, message, format!("`{name}`은(는) 헤더 이름이 아닙니다"));
    }
}

/// RFC 9110 token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
