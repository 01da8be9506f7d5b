//! The webhook on how a rule treats requests: timeout, retries, fault, mirror, rewrite, redirect, answer, headers, CORS.

use super::http_match::is_token;
use super::http_route::check_destination;
use super::values::{check_duration, check_regex};
use super::{Findings, http_fault};
use crate::duration::parse_duration;
use crate::resource::{CorsPolicy, HeaderOperationsSpec, Headers, HttpDirectResponse, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute};
use crate::schema::join;

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
    check_headers(route.headers.as_ref(), &format!("{path}.headers"), findings);
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

fn check_retries(retries: &HttpRetry, path: &str, findings: &mut Findings) {
    if retries.attempts < 0 {
        findings.error("invalid-retries", &format!("{path}.attempts"), "attempts cannot be negative", "attempts는 0보다 작을 수 없습니다");
    }
    let more = retries.retry_on.as_deref().is_some_and(|text| !text.is_empty())
        || retries.per_try_timeout.is_some()
        || retries.retry_remote_localities == Some(true);
    if retries.attempts == 0 && more {
        let message = "http retry policy configured when attempts are set to 0 (disabled)";
        findings.error("invalid-retries", path, message, "attempts가 0(끔)인데 다른 재시도 설정이 있습니다");
        findings.help("set attempts to 1 or more", "attempts를 1 이상으로 두세요");
    }
    check_duration(retries.per_try_timeout.as_deref(), &format!("{path}.perTryTimeout"), findings);
    check_duration(retries.backoff.as_deref(), &format!("{path}.backoff"), findings);
    for word in retries.retry_on.as_deref().filter(|text| !text.is_empty()).into_iter().flat_map(|text| text.split(',')) {
        let is_code = word.parse::<u16>().is_ok_and(|code| (100..600).contains(&code));
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
            findings.error("invalid-percentage", &at, "mirror_percent must have a max value of 100", "100을 넘을 수 없습니다");
        }
    }
    let check_share = |share: Option<crate::resource::PercentSpec>, at: &str, findings: &mut Findings| {
        if share.is_some_and(|share| !(0.0..=100.0).contains(&share.value)) {
            findings.error("invalid-percentage", at, "mirror percentage must be in range 0..100", "0~100이어야 합니다");
        }
    };
    check_share(route.mirror_percentage, &format!("{path}.mirrorPercentage.value"), findings);
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let at = format!("{path}.mirrors[{index}]");
        match &mirror.destination {
            None => findings.error("no-destination", &at, "destination is required", "destination이 있어야 합니다"),
            Some(destination) => check_destination(destination, &format!("{at}.destination"), findings),
        }
        check_share(mirror.percentage, &format!("{at}.percentage.value"), findings);
    }
}

fn check_rewrite(rewrite: &HttpRewrite, path: &str, findings: &mut Findings) {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let regex = rewrite.uri_regex_rewrite.as_ref();
    if !set(&rewrite.uri) && !set(&rewrite.authority) && regex.is_none() {
        findings.error(
            "invalid-rewrite",
            path,
            "rewrite must specify at least one of uri, authority, uriRegexRewrite",
            "uri, authority, uriRegexRewrite 가운데 하나가 있어야 합니다",
        );
    }
    let Some(regex) = regex else { return };
    let at = format!("{path}.uriRegexRewrite");
    if set(&rewrite.uri) {
        findings.error(
            "invalid-rewrite",
            &at,
            "rewrite may only contain one of uri or uriRegexRewrite",
            "uri와 uriRegexRewrite는 함께 쓸 수 없습니다",
        );
    }
    if !set(&regex.pattern) || !set(&regex.rewrite) {
        findings.error(
            "invalid-rewrite",
            &at,
            "uriRegexRewrite requires both match and rewrite fields to be set",
            "match와 rewrite가 모두 있어야 합니다",
        );
    } else {
        check_regex(regex.pattern.as_deref().unwrap_or_default(), &format!("{at}.match"), "uriRegexRewrite", findings);
    }
}

fn check_redirect(redirect: &HttpRedirect, route: &HttpRoute, path: &str, findings: &mut Findings) {
    let set = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let code = redirect.redirect_code.unwrap_or_default();
    if !set(&redirect.uri)
        && !set(&redirect.prefix_rewrite)
        && !set(&redirect.authority)
        && !set(&redirect.scheme)
        && redirect.port.is_none()
        && redirect.derive_port.is_none()
        && code == 0
    {
        findings.error(
            "invalid-redirect",
            path,
            "redirect must specify uri, authority, scheme, or redirect_code",
            "redirect가 비어 있습니다",
        );
    }
    if set(&redirect.uri) && set(&redirect.prefix_rewrite) {
        findings.error(
            "invalid-redirect",
            path,
            "redirect cannot contain both uri and prefixRewrite",
            "uri와 prefixRewrite는 함께 쓸 수 없습니다",
        );
    }
    let not_prefix = route.matches.iter().any(|entry| entry.uri.as_ref().is_some_and(|uri| uri.prefix.is_none()));
    if set(&redirect.prefix_rewrite) && not_prefix {
        findings.error(
            "invalid-redirect",
            &format!("{path}.prefixRewrite"),
            "prefixRewrite needs a prefix match",
            "prefixRewrite에는 prefix 조건이 필요합니다",
        );
    }
    if code != 0 && !(300..400).contains(&code) {
        findings.error(
            "invalid-redirect",
            &format!("{path}.redirectCode"),
            format!("redirect_code {code} must be 3xx"),
            format!("{code}은(는) 3xx여야 합니다"),
        );
    } else if code != 0 && !matches!(code, 301 | 302 | 303 | 307 | 308) {
        findings.error(
            "invalid-redirect",
            &format!("{path}.redirectCode"),
            format!("redirect code {code} is not supported: use 301, 302, 303, 307 or 308"),
            "301, 302, 303, 307, 308만 쓸 수 있습니다",
        );
    }
    if redirect.scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "" | "http" | "https")) {
        findings.error(
            "invalid-redirect",
            &format!("{path}.scheme"),
            "invalid redirect scheme, must be \"http\" or \"https\"",
            "scheme은 http나 https여야 합니다",
        );
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
    let length = body.string.as_ref().or(body.bytes.as_ref()).map_or(0, String::len);
    let at = format!("{path}.body");
    if body.string.is_some() && body.bytes.is_some() {
        findings.error("invalid-response", &at, "body can only have one of string and bytes", "string과 bytes는 함께 쓸 수 없습니다");
    }
    if length > 1 << 20 {
        findings.error("invalid-response", &at, "response body size exceeds 1MB", "본문이 1 MB를 넘습니다");
    } else if length > 100 << 10 {
        findings.warning(
            "large-body",
            &at,
            "large body: it may increase the memory of the proxies",
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
        let empty = [&origin.exact, &origin.prefix, &origin.regex].into_iter().flatten().next().is_none_or(String::is_empty);
        if empty {
            findings.error(
                "invalid-cors",
                &format!("{path}.allowOrigins[{index}]"),
                "invalid origin: it must not be empty",
                "origin이 비어 있습니다",
            );
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
    let is_host = |name: &String| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
    let operations = route.headers.as_ref().and_then(|headers| headers.request.as_ref());
    let by_header = operations.map_or(0, |change| change.set.keys().chain(change.add.keys()).filter(|name| is_host(name)).count());
    let by_rewrite =
        usize::from(route.rewrite.as_ref().is_some_and(|rewrite| rewrite.authority.as_deref().is_some_and(|text| !text.is_empty())));
    if by_header + by_rewrite > 1 {
        findings.error(
            "two-authorities",
            path,
            "authority is set more than once (rewrite and header operations)",
            "Host를 두 번 바꾸고 있습니다",
        );
    }
}

pub(super) fn check_headers(headers: Option<&Headers>, path: &str, findings: &mut Findings) {
    let Some(headers) = headers else { return };
    for (direction, change) in [("request", &headers.request), ("response", &headers.response)] {
        if let Some(change) = change {
            check_header_change(change, &format!("{path}.{direction}"), direction == "request", findings);
        }
    }
}

fn check_header_change(change: &HeaderOperationsSpec, path: &str, host_allowed: bool, findings: &mut Findings) {
    for (operation, pairs) in [("set", &change.set), ("add", &change.add)] {
        for (name, value) in pairs {
            let at = join(&format!("{path}.{operation}"), name);
            let lower = name.to_ascii_lowercase();
            let is_host = matches!(lower.as_str(), "host" | ":authority");
            if is_host && !host_allowed || !is_host && !is_token(name) {
                findings.error(
                    "invalid-header",
                    &at,
                    format!("header name {name:?} cannot be changed here"),
                    format!("헤더 `{name}`은(는) 여기서 바꿀 수 없습니다"),
                );
            }
            if has_bad_formatter(value) {
                findings.error(
                    "invalid-header",
                    &at,
                    format!("header value configuration {value:?} is invalid: unbalanced % (write %% for a percent sign)"),
                    "값의 %가 짝이 맞지 않습니다. % 자체는 %%로 쓰세요",
                );
            } else if value.contains('%') {
                findings.warning(
                    "not-executed",
                    &at,
                    "Envoy formatters (%...%) are not executed here yet: the value is sent as written",
                    "%…% 형식은 아직 실행하지 않고 그대로 보냅니다",
                );
            }
        }
    }
    for (index, name) in change.remove.iter().enumerate() {
        if name.eq_ignore_ascii_case("host") || !is_token(name) {
            findings.error(
                "invalid-header",
                &format!("{path}.remove[{index}]"),
                format!("header name {name:?} cannot be removed"),
                format!("헤더 `{name}`은(는) 지울 수 없습니다"),
            );
        }
    }
}

/// `%` must be doubled or enclose a command.
fn has_bad_formatter(value: &str) -> bool {
    value.matches('%').count() % 2 == 1
}
