//! The webhook on AuthorizationPolicy.

use smov_model::authorization::IpBlock;

use super::Findings;
use super::names::check_selector;
use crate::resource::{AuthorizationAction, AuthorizationPolicySpec, AuthorizationRule, RuleCondition, RuleOperation, RuleSource};

pub(super) fn check(spec: &AuthorizationPolicySpec, findings: &mut Findings) {
    check_scope(spec, findings);
    let action = spec.action();
    let word = spec.action.as_deref().unwrap_or("ALLOW");
    if matches!(action, AuthorizationAction::Deny | AuthorizationAction::Custom) && spec.rules.is_empty() {
        let message = format!(
            "{word} action without `rules` is meaningless as it will never be triggered, add an empty rule `{{}}` if you want it be triggered for every request"
        );
        let korean =
            format!("rules가 없는 {word} 정책은 아무 요청에도 해당하지 않습니다. 모든 요청에 적용하려면 빈 규칙 `{{}}`을 넣으십시오");
        findings.error("policy-without-rules", "spec.rules", message, korean);
    }
    let has_provider = spec.provider.as_ref().is_some_and(|provider| !provider.name.is_empty());
    match action {
        AuthorizationAction::Custom => {
            if !has_provider && !spec.rules.is_empty() {
                findings.error("missing-provider", "spec.provider.name", "`provider.name` must not be empty", "provider.name이 없습니다");
            }
            spec.rules.iter().enumerate().for_each(|(index, rule)| check_custom(rule, index, findings));
            let message = "CUSTOM is valid in Istio but not executed here: requests are neither asked about nor refused";
            let korean = "CUSTOM은 Istio에서는 유효하지만 여기서는 실행하지 않습니다. 외부에 묻지도, 거부하지도 않습니다";
            findings.warning(crate::schema::NOT_EXECUTED, "spec.action", message, korean);
        }
        AuthorizationAction::Allow | AuthorizationAction::Deny | AuthorizationAction::Audit => {
            if spec.provider.is_some() {
                let message = format!("`provider` must not be with non CUSTOM action, found {word}");
                findings.error(
                    "unexpected-provider",
                    "spec.provider",
                    message,
                    format!("provider는 CUSTOM에서만 씁니다. 지금 action은 {word}입니다"),
                );
            }
        }
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        check_rule(rule, index, findings);
        warn_of_tokens(rule, index, findings);
        if action == AuthorizationAction::Deny && asks_only_http(rule) {
            let message = "configured AuthorizationPolicy will deny all traffic to TCP ports under its scope due to the use of only HTTP attributes in a DENY rule; it is recommended to explicitly specify the port";
            let korean = "HTTP에만 있는 조건으로 된 DENY 규칙은 TCP 포트의 모든 연결을 거부합니다. 포트를 함께 지정하는 것이 좋습니다";
            findings.warning("http-only-deny", &format!("spec.rules[{index}]"), message, korean);
        }
    }
}

/// `selector`, `targetRef`, `targetRefs`: one of them.
fn check_scope(spec: &AuthorizationPolicySpec, findings: &mut Findings) {
    let written = [spec.selector.is_some(), spec.target_ref.is_some(), !spec.target_refs.is_empty()];
    if written.iter().filter(|written| **written).count() > 1 {
        let message = "only one of targetRefs or workloadSelector can be set";
        findings.error("selector-and-target", "spec.selector", message, "selector, targetRef, targetRefs 가운데 하나만 쓸 수 있습니다");
    }
    if let Some(selector) = &spec.selector {
        let empty = ("workload selector specified without labels", "selector에 레이블이 없습니다. 모든 파드에 적용됩니다");
        check_selector(&selector.match_labels, "spec.selector", empty, findings);
    }
    let namespace = findings.namespace().to_owned();
    for (index, target) in spec.targets().enumerate() {
        let path = if spec.target_ref.is_some() { "spec.targetRef".to_owned() } else { format!("spec.targetRefs[{index}]") };
        for (field, text) in [("kind", &target.kind), ("name", &target.name)] {
            if text.is_empty() {
                let message = format!("targetRef {field} must be set");
                findings.error("invalid-target", &format!("{path}.{field}"), message, format!("targetRef에 {field}이(가) 없습니다"));
            }
        }
        if !target.namespace.is_empty() && target.namespace != namespace {
            let message = format!(
                "targetRef namespace must be empty or match the policy's namespace; cross namespace referencing is not supported, found {}",
                target.namespace
            );
            findings.error("invalid-target", &format!("{path}.namespace"), message, "다른 네임스페이스의 대상은 가리킬 수 없습니다");
        }
    }
}

/// Conditions on tokens: nobody verifies any.
fn warn_of_tokens(rule: &AuthorizationRule, index: usize, findings: &mut Findings) {
    let mut warn = |path: String| {
        let message = "RequestAuthentication is not executed here yet: no request has a verified token, so that this never matches and its negation always does";
        let korean = "RequestAuthentication은 아직 실행하지 않습니다. 검증된 토큰이 있는 요청이 없어, 이 조건은 맞는 일이 없고 그 부정은 항상 맞습니다";
        findings.warning(crate::schema::NOT_EXECUTED, &path, message, korean);
    };
    for (place, source) in rule.from.iter().flatten().enumerate().filter_map(|(place, from)| Some((place, from.source.as_ref()?))) {
        for (name, values) in [("requestPrincipals", &source.request_principals), ("notRequestPrincipals", &source.not_request_principals)]
        {
            if !values.is_empty() {
                warn(format!("spec.rules[{index}].from[{place}].source.{name}"));
            }
        }
    }
    for place in (0..rule.when.len()).filter(|place| rule.when[*place].key.starts_with("request.auth.")) {
        warn(format!("spec.rules[{index}].when[{place}].key"));
    }
}

/// CUSTOM knows no identities: it is asked before they are looked at.
fn check_custom(rule: &AuthorizationRule, index: usize, findings: &mut Findings) {
    let mut refuse = |path: String, name: &str| {
        let message = format!("{name} is currently not supported with CUSTOM action");
        findings.error("custom-with-identity", &path, message, format!("CUSTOM에서는 {name}을(를) 쓸 수 없습니다"));
    };
    for (place, source) in rule.from.iter().flatten().enumerate().filter_map(|(place, from)| Some((place, from.source.as_ref()?))) {
        // All but addresses.
        for (field, not_field, values, not_values) in &source.fields()[..5] {
            for (field, values) in [(field, values), (not_field, not_values)] {
                if !values.is_empty() {
                    refuse(
                        format!("spec.rules[{index}].from[{place}].source.{field}"),
                        &format!("From.{}{}", field[..1].to_ascii_uppercase(), &field[1..]),
                    );
                }
            }
        }
    }
    for (place, when) in rule.when.iter().enumerate() {
        let identities = ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"];
        if identities.contains(&when.key.as_str()) || when.key.starts_with("request.auth.") {
            refuse(format!("spec.rules[{index}].when[{place}].key"), &when.key);
        }
    }
}

fn check_rule(rule: &AuthorizationRule, index: usize, findings: &mut Findings) {
    let mut empty = |path: String, what: &str| {
        let message = format!("`{what}` must not be empty, found at rule {index}");
        findings.error("empty-rule", &path, message, format!("{what}이(가) 비어 있습니다"));
    };
    let rule_path = format!("spec.rules[{index}]");
    if rule.from.as_ref().is_some_and(Vec::is_empty) {
        empty(format!("{rule_path}.from"), "from");
    }
    if rule.to.as_ref().is_some_and(Vec::is_empty) {
        empty(format!("{rule_path}.to"), "to");
    }
    for (place, from) in rule.from.iter().flatten().enumerate() {
        let path = format!("{rule_path}.from[{place}].source");
        match &from.source {
            Some(source) if source.fields().iter().any(|(_, _, values, not_values)| !values.is_empty() || !not_values.is_empty()) => {
                check_source(source, index, &path, findings);
            }
            source => {
                let word = if source.is_some() { "empty" } else { "nil" };
                findings.error(
                    "empty-rule",
                    &path,
                    format!("`from.source` must not be {word}, found at rule {index}"),
                    "from.source가 비어 있습니다",
                );
            }
        }
    }
    for (place, to) in rule.to.iter().flatten().enumerate() {
        let path = format!("{rule_path}.to[{place}].operation");
        match &to.operation {
            Some(operation) if operation.fields().iter().any(|(_, _, values, not_values)| !values.is_empty() || !not_values.is_empty()) => {
                check_operation(operation, &path, findings);
            }
            operation => {
                let word = if operation.is_some() { "empty" } else { "nil" };
                findings.error(
                    "empty-rule",
                    &path,
                    format!("`to.operation` must not be {word}, found at rule {index}"),
                    "to.operation이 비어 있습니다",
                );
            }
        }
    }
    for (place, when) in rule.when.iter().enumerate() {
        check_condition(when, &format!("{rule_path}.when[{place}]"), findings);
    }
}

fn check_source(source: &RuleSource, index: usize, path: &str, findings: &mut Findings) {
    let any = |lists: &[&Vec<String>]| lists.iter().any(|list| !list.is_empty());
    let identities = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    if any(&identities) && any(&[&source.service_accounts, &source.not_service_accounts]) {
        let message = format!("cannot set serviceAccounts with namespaces or principals, found at rule {index}");
        findings.error(
            "service-account-with-principal",
            &format!("{path}.serviceAccounts"),
            message,
            "serviceAccounts는 namespaces나 principals와 함께 쓸 수 없습니다",
        );
    }
    for (field, not_field, values, not_values) in source.fields() {
        for (name, values) in [(field, values), (not_field, not_values)] {
            let check = match field {
                "ipBlocks" | "remoteIpBlocks" => check_address,
                "serviceAccounts" => check_service_account,
                "trustDomains" => check_trust_domain,
                _ => check_text,
            };
            each(values, name, &format!("{path}.{name}"), check, findings);
            if field == "serviceAccounts" && values.len() > 16 {
                findings.error("too-many-values", &format!("{path}.{name}"), "may not have more than 16 values", "값은 16개까지입니다");
            }
        }
    }
}

fn check_operation(operation: &RuleOperation, path: &str, findings: &mut Findings) {
    for (field, not_field, values, not_values) in operation.fields() {
        for (name, values) in [(field, values), (not_field, not_values)] {
            let check = match field {
                "ports" => check_port,
                "paths" => check_path,
                _ => check_text,
            };
            each(values, name, &format!("{path}.{name}"), check, findings);
        }
    }
}

fn check_condition(when: &RuleCondition, path: &str, findings: &mut Findings) {
    let key = when.key.as_str();
    if key.is_empty() {
        return findings.error("empty-rule", &format!("{path}.key"), "`key` must not be empty", "key가 비어 있습니다");
    }
    if when.values.is_empty() && when.not_values.is_empty() {
        let message = format!("at least one of `values` or `notValues` must be set for key {key}");
        return findings.error("empty-rule", &format!("{path}.values"), message, "values와 notValues 가운데 하나는 있어야 합니다");
    }
    let check = match key {
        "source.ip" | "remote.ip" | "destination.ip" => check_address,
        "source.serviceAccount" => check_service_account,
        "source.trustDomain" => check_wildcard,
        "destination.port" => check_port,
        "source.namespace"
        | "source.principal"
        | "request.auth.principal"
        | "request.auth.audiences"
        | "request.auth.presenter"
        | "connection.sni" => check_text,
        _ => match wrong_key(key) {
            None => check_text,
            Some((message, korean)) => return findings.error("invalid-key", &format!("{path}.key"), message, korean),
        },
    };
    each(&when.values, key, &format!("{path}.values"), check, findings);
    each(&when.not_values, key, &format!("{path}.notValues"), check, findings);
}

/// What is wrong with a key that is none of the plain ones.
fn wrong_key(key: &str) -> Option<(String, String)> {
    let mapped = ["request.headers", "request.auth.claims", "experimental.envoy.filters."].iter().any(|prefix| key.starts_with(prefix));
    if mapped {
        // a[b]
        let open = key.find('[').unwrap_or_default();
        let formed = key.ends_with(']') && open > 0 && open < key.len() - 2;
        return (!formed).then(|| (format!("bad key ({key}): should have format a[b]"), format!("key `{key}`은(는) a[b] 꼴이어야 합니다")));
    }
    let message = match key {
        "destination.namespace" => format!("attribute {key} is replaced by the metadata.namespace"),
        "destination.name" | "destination.user" => format!("deprecated attribute {key}: only supported in v1alpha1"),
        _ if key.starts_with("destination.labels") => format!("attribute {key} is replaced by the workload selector"),
        _ => format!("unknown attribute: {key}"),
    };
    Some((message, format!("key `{key}`은(는) 쓸 수 없습니다")))
}

/// What is wrong with a value, in both languages; `name` is the field or the key.
type Wrong = Option<(&'static str, String, String)>;

fn each(values: &[String], name: &str, path: &str, check: fn(&str, &str) -> Wrong, findings: &mut Findings) {
    for (place, value) in values.iter().enumerate() {
        let wrong = if value.is_empty() { empty_value(name) } else { check(name, value) };
        if let Some((code, message, korean)) = wrong {
            findings.error(code, &format!("{path}[{place}]"), message, korean);
        }
    }
}

fn empty_value(name: &str) -> Wrong {
    Some(("empty-value", format!("empty value not allowed, found in {name}"), format!("{name}에 빈 값은 쓸 수 없습니다")))
}

fn check_text(_: &str, _: &str) -> Wrong {
    None
}

fn check_address(_: &str, value: &str) -> Wrong {
    if value.parse::<IpBlock>().is_ok() {
        return None;
    }
    let message = if value.contains('/') { format!("bad CIDR range ({value})") } else { format!("bad IP address ({value})") };
    Some(("invalid-address", message, format!("`{value}`은(는) 주소나 네트워크가 아닙니다")))
}

fn check_port(_: &str, value: &str) -> Wrong {
    let number = value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok();
    (!number).then(|| ("invalid-port", format!("bad port ({value})"), format!("포트 {value}은(는) 0~65535여야 합니다")))
}

fn check_service_account(name: &str, value: &str) -> Wrong {
    let parts: Vec<&str> = value.split('/').collect();
    let message = if value.contains('*') {
        format!("wildcard not allowed, found in {name}")
    } else if value.len() > 320 {
        format!("value cannot exceed 320 characters, found {value:?} in {name}")
    } else if parts.len() > 2 {
        format!("expected format 'serviceAccount' or 'namespace/serviceAccount', found {value:?} in {name}")
    } else if let Some(place) = parts.iter().position(|part| part.is_empty()) {
        let what = if place == 0 { "namespace" } else { "serviceAccount" };
        format!("expected format 'serviceAccount' or 'namespace/serviceAccount', found empty {what} {value:?} in {name}")
    } else {
        return None;
    };
    Some(("invalid-service-account", message, format!("`{value}`은(는) 이름 또는 네임스페이스/이름 꼴이어야 합니다")))
}

fn check_wildcard(name: &str, value: &str) -> Wrong {
    let message = match value.matches('*').count() {
        0 => return None,
        1 if value.starts_with('*') || value.ends_with('*') => return None,
        1 => format!("wildcard is only allowed at the start or end, found in {name}: {value:?}"),
        _ => format!("at most one wildcard is allowed, found in {name}: {value:?}"),
    };
    Some(("invalid-wildcard", message, format!("`{value}`: *는 앞이나 뒤에 하나만 쓸 수 있습니다")))
}

fn check_trust_domain(name: &str, value: &str) -> Wrong {
    if value.contains('/') {
        let message = format!("trust domain must not contain '/', found in {name}: {value:?}");
        return Some(("invalid-trust-domain", message, format!("신뢰 도메인 `{value}`에는 /를 쓸 수 없습니다")));
    }
    check_wildcard(name, value)
}

/// Templates: `{*}` and `{**}` are whole segments, nothing but texts comes after `{**}`.
fn check_path(name: &str, value: &str) -> Wrong {
    let is_template = value.contains("{*}") || value.contains("{**}");
    let path = value.trim_matches('/');
    let mut ended = false;
    for segment in path.split('/') {
        let reason = match segment {
            "{*}" | "{**}" if ended => "{**} is not the last operator".to_owned(),
            "{*}" => continue,
            "{**}" => {
                ended = true;
                continue;
            }
            _ if segment.contains(['{', '}']) => "Contains '{' or '}' beyond a supported path template".to_owned(),
            _ if is_template && !is_literal(segment) => format!("Contains segment {segment} with invalid string literal"),
            _ => continue,
        };
        let message = format!("invalid or unsupported path {path}, found in {name}. {reason}");
        return Some((
            "invalid-path",
            message,
            format!("경로 `{value}`은(는) 쓸 수 없습니다. {{*}}와 {{**}}는 한 조각 전체여야 하고 {{**}} 뒤에는 다른 틀이 올 수 없습니다"),
        ));
    }
    None
}

/// RFC 3986's `pchar` without the star.
fn is_literal(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte))
}

/// Has the rule only conditions that opaque connections do not have?
fn asks_only_http(rule: &AuthorizationRule) -> bool {
    let sources: Vec<&RuleSource> = rule.from.iter().flatten().filter_map(|from| from.source.as_ref()).collect();
    let operations: Vec<&RuleOperation> = rule.to.iter().flatten().filter_map(|to| to.operation.as_ref()).collect();
    let of_tcp = |source: &&RuleSource| {
        let fields = source.fields();
        // As in Istio, which does not count trust domains.
        fields.iter().any(|(field, _, values, not_values)| {
            !matches!(*field, "requestPrincipals" | "trustDomains") && (!values.is_empty() || !not_values.is_empty())
        })
    };
    let has_port = operations.iter().any(|operation| !operation.ports.is_empty() || !operation.not_ports.is_empty());
    (!sources.is_empty() && operations.is_empty() && !sources.iter().any(of_tcp)) || (!operations.is_empty() && !has_port)
}
