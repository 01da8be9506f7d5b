//! Host names, labels and ports as the webhook wants them.

use std::collections::BTreeMap;

use super::Findings;

/// RFC 1123 label, upper case allowed as in Istio.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The same, or one that begins with `*` or `*-`.
fn is_wildcard_label(text: &str) -> bool {
    let rest = text.strip_prefix("*-").or_else(|| text.strip_prefix('*')).unwrap_or(text);
    text.len() <= 63 && (text == "*" || is_label(rest))
}

/// A host name, short or full, maybe with a leading `*`, or an address.
pub(super) fn check_host(host: &str, path: &str, wildcard: bool, findings: &mut Findings) {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return;
    }
    if let Err((message, korean)) = domain(host, wildcard) {
        findings.error("invalid-host", path, message, korean);
        if host.contains("PLACEHOLDER") {
            findings.help("put your own domain in place of the placeholder", "자리표시자를 실제 도메인으로 바꾸세요");
        } else if host.contains('*') && wildcard {
            findings
                .help("a wildcard stands at the beginning only: `*.example.com`", "와일드카드는 맨 앞에만 쓸 수 있습니다: `*.example.com`");
        }
    }
}

/// What is wrong with a domain name, in English and Korean.
pub(super) fn domain(host: &str, wildcard: bool) -> Result<(), (String, String)> {
    if host.is_empty() {
        return Err(("empty domain name not allowed".to_owned(), "호스트 이름이 비어 있습니다".to_owned()));
    }
    if host.len() > 255 {
        return Err((format!("domain name {host:?} too long (max 255)"), "호스트 이름이 255자를 넘습니다".to_owned()));
    }
    let bad_label = |label: &str| {
        let korean = format!("`{host}`은(는) DNS 이름이 아닙니다 (`{label}` 부분)");
        (format!("domain name {host:?} invalid (label {label:?} invalid)"), korean)
    };
    let (first, rest) = host.split_once('.').map_or((host, None), |(first, rest)| (first, Some(rest)));
    let labels = if wildcard {
        if !is_wildcard_label(first) {
            return Err(bad_label(first));
        }
        rest
    } else {
        Some(host)
    };
    let Some(labels) = labels else { return Ok(()) };
    let top = labels.rsplit('.').next().unwrap_or_default();
    if !top.is_empty() && top.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("domain name {host:?} invalid (top level domain {top:?} cannot be all-numeric)");
        return Err((message, format!("`{host}`의 마지막 부분은 숫자만일 수 없습니다")));
    }
    match labels.strip_suffix('.').unwrap_or(labels).split('.').find(|label| !is_label(label)) {
        Some(label) => Err(bad_label(label)),
        None => Ok(()),
    }
}

/// A `*` that is not the whole first part of a name (`*-a.example.com`).
pub(super) fn is_partial_wildcard(host: &str) -> bool {
    host.contains('*') && host.len() > 1 && !host.starts_with("*.")
}

/// 1 to 65535.
pub(super) fn check_port(number: u32, path: &str, findings: &mut Findings) {
    if !(1..=65535).contains(&number) {
        let message = format!("port number {number} must be in the range 1..65535");
        findings.error("invalid-port", path, message, format!("포트 {number}은(는) 1~65535여야 합니다"));
    }
}

/// A subset's name.
pub(super) fn check_subset(name: &str, path: &str, findings: &mut Findings) {
    if name.is_empty() {
        findings.error("invalid-subset", path, "subset name cannot be empty", "서브셋 이름이 비어 있습니다");
    } else if !is_label(name) {
        let message = format!("subset name is invalid: {name}");
        findings.error("invalid-subset", path, message, format!("서브셋 이름 `{name}`이(가) 올바르지 않습니다"));
    }
}

/// A port's name.
pub(super) fn check_port_name(name: &str, path: &str, findings: &mut Findings) {
    if !is_label(name) {
        let message = format!("invalid port name: {name}");
        findings.error("invalid-port", path, message, format!("포트 이름 `{name}`이(가) 올바르지 않습니다"));
    }
}

/// Labels as Kubernetes wants them.
pub(super) fn check_labels(labels: &BTreeMap<String, String>, path: &str, findings: &mut Findings) {
    let edge = |text: &str| text.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric());
    let qualified = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        text.bytes().all(inner) && edge(text) && text.bytes().last().is_none_or(|byte| byte.is_ascii_alphanumeric())
    };
    for (key, value) in labels {
        let (prefix, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(prefix, name)| (Some(prefix), name));
        let named = (1..=63).contains(&name.len()) && qualified(name);
        if !named || prefix.is_some_and(|prefix| prefix.len() > 253 || !prefix.split('.').all(is_label)) {
            findings.error(
                "invalid-label",
                path,
                format!("invalid tag key: {key:?}"),
                format!("레이블 이름 `{key}`이(가) 올바르지 않습니다"),
            );
        }
        if !qualified(value) {
            findings.error(
                "invalid-label",
                path,
                format!("invalid tag value: {value:?}"),
                format!("레이블 값 `{value}`이(가) 올바르지 않습니다"),
            );
        }
    }
}

/// A selector of workloads: no wildcards, and best not empty.
pub(super) fn check_selector(labels: &BTreeMap<String, String>, path: &str, empty: (&str, &str), findings: &mut Findings) {
    for (key, value) in labels {
        if key.is_empty() {
            let message = format!("empty key is not supported in selector: {:?}", format!("{key}={value}"));
            findings.error("invalid-selector", path, message, "selector에 빈 이름은 쓸 수 없습니다");
        }
        if key.contains('*') || value.contains('*') {
            let message = format!("wildcard is not supported in selector: {:?}", format!("{key}={value}"));
            findings.error("invalid-selector", path, message, "selector에는 와일드카드를 쓸 수 없습니다");
        }
    }
    if labels.is_empty() {
        findings.warning("invalid-selector", path, empty.0, empty.1);
    }
}

/// An address or a network.
pub(super) fn check_subnet(text: &str, path: &str, findings: &mut Findings) {
    use std::net::IpAddr;
    let message = match text.split_once('/') {
        Some((address, bits)) => {
            let most = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
            let valid = address.parse().ok().zip(bits.parse::<u8>().ok()).is_some_and(|(address, bits)| bits <= most(address));
            (!valid).then(|| format!("{text} is not a valid CIDR block"))
        }
        None => text.parse::<IpAddr>().is_err().then(|| format!("{text} is not a valid IP")),
    };
    if let Some(message) = message {
        findings.error("invalid-address", path, message, format!("`{text}`은(는) 주소나 네트워크가 아닙니다"));
    }
}

/// Whose `exportTo` it is; the rules differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exporter {
    /// A rule.
    Rule,
    /// A DestinationRule for certain clients.
    RuleWithSelector,
    /// A ServiceEntry.
    ServiceEntry,
}

/// `exportTo`: `.`, `*` or namespaces, each once, `*` alone.
pub(super) fn check_export_to(entries: &[String], exporter: Exporter, findings: &mut Findings) {
    let own = findings.namespace().to_owned();
    let full = |entry: &str| if entry == "." { own.clone() } else { entry.to_owned() };
    let mut seen: Vec<String> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("spec.exportTo[{index}]");
        let key = full(entry);
        if seen.contains(&key) {
            let message = if key == *entry {
                format!("duplicate entries in exportTo for entry {entry}")
            } else {
                format!("duplicate entries in exportTo: . and current namespace {own}")
            };
            findings.error("export-to", &path, message, format!("exportTo에 `{entry}`이(가) 두 번 있습니다"));
            continue;
        }
        if entry == "~" && exporter != Exporter::ServiceEntry {
            let message = "exportTo ~ (none) is not allowed for Istio configuration objects";
            findings.error("export-to", &path, message, "`~`은(는) ServiceEntry에만 쓸 수 있습니다");
        } else if !matches!(entry.as_str(), "." | "*" | "~") && !is_label(entry) {
            let message = "only .,*, or a valid DNS 1123 label is allowed as exportTo entry";
            findings.error("export-to", &path, message, format!("`{entry}`은(는) `.`, `*`도 네임스페이스도 아닙니다"));
        }
        seen.push(key);
    }
    let path = "spec.exportTo";
    if exporter == Exporter::RuleWithSelector && !seen.is_empty() {
        if !seen.contains(&own) {
            let message = "destination rule with workload selector cannot have exportTo beyond current namespace";
            findings.error("export-to", path, message, "workloadSelector가 있으면 다른 네임스페이스로 내보낼 수 없습니다");
        } else if seen.len() > 1 {
            let message = "destination rule with workload selector cannot have multiple entries in exportTo";
            findings.error("export-to", path, message, "workloadSelector가 있으면 exportTo는 하나여야 합니다");
        }
    }
    if entries.len() > 1 && seen.iter().any(|entry| entry == "*") {
        let message = "cannot have both public (*) and non-public exportTo values for a resource";
        findings.error("export-to", path, message, "exportTo의 `*`은(는) 혼자 있어야 합니다");
    }
    if entries.len() > 1 && seen.iter().any(|entry| entry == "~") && exporter == Exporter::ServiceEntry {
        let message = "cannot export service entry to no one (~) and someone";
        findings.error("export-to", path, message, "exportTo의 `~`은(는) 혼자 있어야 합니다");
    }
}
