//! Host names, labels and ports as the webhook wants them.

use super::Findings;

/// RFC 1123 label, upper case allowed as in Istio.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A host name, short or full, maybe with a leading `*.`, or an address.
pub(super) fn check_host(host: &str, path: &str, wildcard: bool, findings: &mut Findings) {
    if host.is_empty() {
        findings.error("invalid-host", path, "domain name \"\" invalid: empty domain name not allowed", "호스트 이름이 비어 있습니다");
        return;
    }
    if wildcard && host == "*" || host.parse::<std::net::IpAddr>().is_ok() {
        return;
    }
    let name = host.strip_prefix("*.").filter(|_| wildcard).unwrap_or(host);
    if host.len() > 255 {
        findings.error("invalid-host", path, format!("domain name {host:?} too long (max 255)"), "호스트 이름이 255자를 넘습니다");
    } else if let Some(bad) = name.strip_suffix('.').unwrap_or(name).split('.').find(|label| !is_label(label)) {
        let message = format!("domain name {host:?} invalid (label {bad:?} invalid)");
        findings.error("invalid-host", path, message, format!("`{host}`은(는) DNS 이름이 아닙니다 (`{bad}` 부분)"));
        if host.contains("PLACEHOLDER") {
            findings.help("put your own domain in place of the placeholder", "자리표시자를 실제 도메인으로 바꾸세요");
        } else if host.contains('*') {
            findings.help("only a leading `*.` is allowed as wildcard", "와일드카드는 맨 앞의 `*.`만 쓸 수 있습니다");
        }
    } else if name.contains('.') && name.rsplit('.').next().is_some_and(|top| top.bytes().all(|byte| byte.is_ascii_digit())) {
        let message = format!("domain name {host:?} invalid (top level domain cannot be all-numeric)");
        findings.error("invalid-host", path, message, format!("`{host}`의 마지막 부분은 숫자만일 수 없습니다"));
    }
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
    if !is_label(name) {
        let message = format!("subset name is invalid: {name:?} is not a valid DNS label");
        findings.error("invalid-subset", path, message, format!("서브셋 이름 `{name}`이(가) 올바르지 않습니다"));
    }
}

/// `exportTo`: `.`, `*` or namespaces, each once, `*` alone.
pub(super) fn check_export_to(entries: &[String], findings: &mut Findings) {
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("spec.exportTo[{index}]");
        if entries[..index].contains(entry) {
            let message = format!("duplicate entries in exportTo: {entry}");
            findings.error("export-to", &path, message, format!("exportTo에 `{entry}`이(가) 두 번 있습니다"));
        }
        if !matches!(entry.as_str(), "." | "*" | "~") && !is_label(entry) {
            let message = format!("{entry:?} is neither `.`, `*` nor a valid namespace");
            findings.error("export-to", &path, message, format!("`{entry}`은(는) `.`, `*`도 네임스페이스도 아닙니다"));
        }
    }
    if entries.len() > 1 && entries.iter().any(|entry| entry == "*") {
        let message = "exportTo should have only `*` when it is present";
        findings.error("export-to", "spec.exportTo", message, "exportTo의 `*`은(는) 혼자 있어야 합니다");
    }
}
