//! The webhook on how a rule treats requests: timeout, retries, fault, mirror, rewrite, redirect, answer, headers, CORS.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::http_match::is_token;
use super::http_route::check_destination;
use super::names::check_port;
use super::values::{check_duration, check_regex};
use super::{Findings, headers, http_fault};
use crate::duration::parse_duration;
use crate::resource::{CorsPolicy, HttpDirectResponse, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute, PercentSpec};

pub(super) fn check(route: &HttpRoute, path: &str, findings: &mut Findings) {
    check_duration(route.timeout.as_deref(), &format!("{path}.timeout"), findings);
    if let Some(retries) = &route.retries {
        check_retries(retries, &format!("{path}.retries"), findings);
    }
    if let Some(fault) = &route.fault {
        http_fault::check(fault, &format!("{path}.fault"), findings);
    }
    check_mirror(route, path, findings);
    if let Some(rewrite) = &route.rewrite {
        check_rewrite(rewrite, &format!("{path}.rewrite"), findings);
    }
    if let Some(redirect) = &route.redirect {
        check_redirect(redirect, route, &format!("{path}.redirect"), findings);
    }
    if let Some(response) = &route.direct_response {
        check_direct_response(response, &format!("{path}.directResponse"), findings);
    }
    if let Some(cors) = &route.cors_policy {
        check_cors(cors, &format!("{path}.corsPolicy"), findings);
    }
    headers::check(route.headers.as_ref(), &format!("{path}.headers"), findings);
    check_authority(route, path, findings);
}

const RETRY_ON: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// Does HTTP have a name for this status?
fn has_name(code: u16) -> bool {
    matches!(code, 100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511)
}

fn check_retries(retries: &HttpRetry, path: &str, findings: &mut Findings) {
    if retries.attempts < 0 {
        findings.error("invalid-retries", &format!("{path}.attempts"), "attempts cannot be negative", "attempts는 0보다 작을 수 없습니다");
    }
    let more = retries.retry_on.as_deref().is_some_and(|text| !text.is_empty())
        || retries.per_try_timeout.is_some()
        || retries.retry_remote_localities.is_some();
    if retries.attempts == 0 && more {
        let message = "http retry policy configured when attempts are set to 0 (disabled)";
        findings.error("invalid-retries", path, message, "attempts가 0(끔)인데 다른 재시도 설정이 있습니다");
        findings.help("set attempts to 1 or more", "attempts를 1 이상으로 두세요");
    }
    check_duration(retries.per_try_timeout.as_deref(), &format!("{path}.perTryTimeout"), findings);
    check_duration(retries.backoff.as_deref(), &format!("{path}.backoff"), findings);
    for word in retries.retry_on.as_deref().filter(|text| !text.is_empty()).into_iter().flat_map(|text| text.split(',')) {
        let is_code = word.parse().is_ok_and(has_name);
        if is_code || RETRY_ON.contains(&word) {
            continue;
        }
        findings.error(
            "invalid-retries",
            &format!("{path}.retryOn"),
            format!("{word:?} is not a valid retryOn policy"),
            format!("`{word}`은(는) retryOn에 쓸 수 없는 값입니다"),
        );
        if word.trim() != word && RETRY_ON.contains(&word.trim()) {
            findings.help("no spaces are allowed between the words", "쉼표 뒤에 빈칸을 넣을 수 없습니다");
        }
    }
}

fn check_mirror(route: &HttpRoute, path: &str, findings: &mut Findings) {
    if let Some(mirror) = &route.mirror {
        check_destination(mirror, &format!("{path}.mirror"), findings);
    }
    if let Some(percent) = route.mirror_percent {
        let at = format!("{path}.mirrorPercent");
        findings.warning(
            "deprecated",
            &at,
            "using deprecated setting \"mirrorPercent\", use \"mirrorPercentage\" instead",
            "mirrorPercent는 폐기되었습니다. mirrorPercentage를 쓰세요",
        );
        if percent > 100 {
            let message = format!("mirror_percent must have a max value of 100 (it has {percent})");
            findings.error("invalid-percentage", &at, message, "100을 넘을 수 없습니다");
        }
    }
    let check_share = |share: Option<PercentSpec>, what: &str, at: &str, findings: &mut Findings| {
        let Some(PercentSpec { value }) = share.filter(|share| !(0.0..=100.0).contains(&share.value)) else { return };
        let bound = if value > 100.0 { "max value of 100" } else { "min value of 0" };
        findings.error("invalid-percentage", at, format!("{what} must have a {bound} (it has {value:.6})"), "0~100이어야 합니다");
    };
    check_share(route.mirror_percentage, "mirror_percentage", &format!("{path}.mirrorPercentage.value"), findings);
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let at = format!("{path}.mirrors[{index}]");
        match &mirror.destination {
            None => findings.error("no-destination", &at, "destination is required for mirrors", "destination이 있어야 합니다"),
            Some(destination) => check_destination(destination, &format!("{at}.destination"), findings),
        }
        check_share(mirror.percentage, "mirror percentage", &format!("{at}.percentage.value"), findings);
    }
}

fn check_rewrite(rewrite: &HttpRewrite, path: &str, findings: &mut Findings) {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let regex = rewrite.uri_regex_rewrite.as_ref();
    if !set(&rewrite.uri) && !set(&rewrite.authority) && regex.is_none() {
        findings.error(
            "invalid-rewrite",
            path,
            "rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified",
            "uri, authority, uriRegexRewrite 가운데 하나가 있어야 합니다",
        );
    }
    let Some(regex) = regex else { return };
    let at = format!("{path}.uriRegexRewrite");
    if set(&rewrite.uri) {
        findings.error(
            "invalid-rewrite",
            &at,
            "rewrite may only contain one of URI or UriRegexRewrite",
            "uri와 uriRegexRewrite는 함께 쓸 수 없습니다",
        );
    }
    if !set(&regex.pattern) || !set(&regex.rewrite) {
        findings.error(
            "invalid-rewrite",
            &at,
            "UriRegexRewrite requires both Rewrite and Match fields to be specified",
            "match와 rewrite가 모두 있어야 합니다",
        );
    } else {
        check_regex(regex.pattern.as_deref().unwrap_or_default(), &format!("{at}.match"), "HTTPRewrite.UriRegexRewrite.Match", findings);
    }
}

fn check_redirect(redirect: &HttpRedirect, route: &HttpRoute, path: &str, findings: &mut Findings) {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    if set(&redirect.uri) && set(&redirect.prefix_rewrite) {
        let message = "redirect may only specify one of uri or prefix_rewrite";
        findings.error("invalid-redirect", path, message, "uri와 prefixRewrite는 함께 쓸 수 없습니다");
    }
    let not_prefix = route.matches.iter().any(|entry| entry.uri.as_ref().is_some_and(|uri| uri.prefix.is_none()));
    if set(&redirect.prefix_rewrite) && not_prefix {
        let message = "redirect prefix_rewrite requires all URI matches to use prefix match type";
        findings.error("invalid-redirect", &format!("{path}.prefixRewrite"), message, "prefixRewrite에는 prefix 조건이 필요합니다");
    }
    let texts = [&redirect.uri, &redirect.prefix_rewrite, &redirect.authority, &redirect.scheme];
    if !texts.into_iter().any(set) && redirect.port.is_none() && redirect.derive_port.is_none() {
        let message = "redirect must specify URI, authority, scheme, or port";
        findings.error("invalid-redirect", path, message, "redirect에는 uri, authority, scheme, port 가운데 하나가 있어야 합니다");
    }
    if redirect.port.is_some() && redirect.derive_port.is_some() {
        let message = "at most one of [port derivePort] should be set";
        findings.error("two-settings", path, message, "port와 derivePort는 함께 쓸 수 없습니다");
    }
    let at = format!("{path}.redirectCode");
    match redirect.redirect_code.unwrap_or_default() {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        code @ 300..400 => {
            let message = format!("redirect code {code} is not executed: Envoy knows 301, 302, 303, 307 and 308, and the rule is not used");
            findings.warning("invalid-redirect", &at, message, "301, 302, 303, 307, 308만 동작합니다. 이 규칙은 쓰이지 않습니다");
        }
        code => {
            let message = format!("{code} is not a valid redirect code, must be 3xx");
            findings.error("invalid-redirect", &at, message, format!("{code}은(는) 3xx여야 합니다"));
        }
    }
    if redirect.scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "" | "http" | "https")) {
        let message = "invalid redirect scheme, must be \"http\" or \"https\"";
        findings.error("invalid-redirect", &format!("{path}.scheme"), message, "scheme은 http나 https여야 합니다");
    }
    if let Some(port) = redirect.port.filter(|port| *port > 0) {
        check_port(port, &format!("{path}.port"), findings);
    }
}

fn check_direct_response(response: &HttpDirectResponse, path: &str, findings: &mut Findings) {
    if !(200..=600).contains(&response.status) {
        let message = format!("HTTP status {} is not in range 200-599", response.status);
        findings.error(
            "invalid-response",
            &format!("{path}.status"),
            message,
            format!("상태 코드 {}은(는) 200~599여야 합니다", response.status),
        );
    }
    let Some(body) = &response.body else { return };
    let bytes = body.bytes.as_deref().map(|text| STANDARD.decode(text));
    if let Some(Err(error)) = &bytes {
        let message = format!("Invalid value: must be base64: {error}");
        findings.error("invalid-response", &format!("{path}.body.bytes"), message, "bytes는 base64여야 합니다");
    }
    let length = body.string.as_ref().map(String::len).or(bytes.and_then(Result::ok).map(|bytes| bytes.len())).unwrap_or_default();
    let at = format!("{path}.body");
    if body.string.is_some() && body.bytes.is_some() {
        findings.error("invalid-response", &at, "body can only have one of string and bytes", "string과 bytes는 함께 쓸 수 없습니다");
    }
    if length > 1 << 20 {
        findings.error(
            "invalid-response",
            &at,
            "large direct_responses may impact control plane performance, must be less than 1MB",
            "본문이 1 MB를 넘습니다",
        );
    } else if length > 100 << 10 {
        findings.warning(
            "large-body",
            &at,
            "large direct_responses may impact control plane performance",
            "본문이 큽니다. 프록시 메모리를 많이 씁니다",
        );
    }
}

fn check_cors(cors: &CorsPolicy, path: &str, findings: &mut Findings) {
    const METHODS: [&str; 10] = ["*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];
    for (index, method) in cors.allow_methods.iter().enumerate().filter(|(_, method)| !METHODS.contains(&method.as_str())) {
        findings.error(
            "invalid-cors",
            &format!("{path}.allowMethods[{index}]"),
            format!("{method:?} is not a supported HTTP method"),
            format!("`{method}`은(는) HTTP 메서드가 아닙니다"),
        );
    }
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        let at = format!("{path}.allowOrigins[{index}]");
        if [&origin.exact, &origin.prefix, &origin.regex].into_iter().flatten().next().is_none_or(String::is_empty) {
            let message = "'' is not a valid match type for CORS allow origins";
            findings.error("invalid-cors", &at, message, "origin이 비어 있습니다");
        } else if let Some(regex) = &origin.regex {
            check_regex(regex, &format!("{at}.regex"), "corsPolicy.allowOrigins", findings);
        }
    }
    for (field, names) in [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)] {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "*" && !is_token(name)) {
            let message = if name.is_empty() {
                "header name cannot be empty".to_owned()
            } else {
                format!("header name {name} is not a valid header name")
            };
            findings.error("invalid-cors", &format!("{path}.{field}[{index}]"), message, format!("`{name}`은(는) 헤더 이름이 아닙니다"));
        }
    }
    if let Some(age) = &cors.max_age {
        let at = format!("{path}.maxAge");
        check_duration(Some(age), &at, findings);
        if parse_duration(age).is_ok_and(|age| age.subsec_nanos() > 0) {
            findings.error("invalid-cors", &at, "max_age duration is accurate only to seconds precision", "maxAge는 초 단위여야 합니다");
        }
    }
}

/// Host may be set once: by rewrite or by one header operation.
fn check_authority(route: &HttpRoute, path: &str, findings: &mut Findings) {
    let is_host = |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    let operations = route.headers.as_ref().and_then(|headers| headers.request.as_ref());
    let changes = operations.into_iter().flat_map(|change| change.set.iter().chain(&change.add));
    let by_header = changes.filter(|(name, _)| is_host(name)).map(|(_, value)| value);
    let by_rewrite = route.rewrite.as_ref().and_then(|rewrite| rewrite.authority.as_ref()).filter(|text| !text.is_empty());
    let mut hosts = by_rewrite.into_iter().chain(by_header);
    if let (Some(first), Some(second)) = (hosts.next(), hosts.next()) {
        let message = format!("authority header cannot be set multiple times: have {first:?}, attempting to set {second:?}");
        findings.error("two-authorities", path, message, "Host를 두 번 바꾸고 있습니다");
    }
}
