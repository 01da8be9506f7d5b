//! The webhook on header operations.

use smov_model::template::{InvalidTemplate, Template};

use super::Findings;
use crate::resource::{HeaderOperationsSpec, Headers};
use crate::schema::join;

pub(super) fn check(headers: Option<&Headers>, path: &str, findings: &mut Findings) {
    let Some(headers) = headers else { return };
    for (direction, change) in [("request", &headers.request), ("response", &headers.response)] {
        if let Some(change) = change {
            check_change(change, &format!("{path}.{direction}"), direction == "request", findings);
        }
    }
}

fn check_change(change: &HeaderOperationsSpec, path: &str, host_allowed: bool, findings: &mut Findings) {
    for (operation, pairs) in [("set", &change.set), ("add", &change.add)] {
        for (name, value) in pairs {
            let at = join(&format!("{path}.{operation}"), name);
            check_name(name, host_allowed, &at, findings);
            if let Err(reason) = check_value(value) {
                let korean = "헤더 값이 올바르지 않습니다. % 자체는 %%로 쓰세요";
                findings.error("invalid-header", &at, format!("header value configuration: {reason}"), korean);
            } else if let Err(InvalidTemplate::Unknown(operator)) = Template::parse(value) {
                // Istio does not look inside; Envoy refuses the whole route.
                let message = format!("`%{operator}%` is not a command operator of Envoy: the operation is left out");
                let korean = format!("`%{operator}%`은(는) Envoy에 없는 형식입니다. 이 동작은 빠집니다");
                findings.warning("unknown-operator", &at, message, korean);
            }
        }
    }
    for (index, name) in change.remove.iter().enumerate() {
        check_name(name, false, &format!("{path}.remove[{index}]"), findings);
    }
}

/// Host may be set and added on requests; nothing else that begins with `:` may be touched.
fn check_name(name: &str, host_allowed: bool, path: &str, findings: &mut Findings) {
    if name.is_empty() {
        findings.error("invalid-header", path, "header name cannot be empty", "헤더 이름이 비어 있습니다");
        return;
    }
    let is_host = name.eq_ignore_ascii_case("host");
    if host_allowed && (is_host || name.eq_ignore_ascii_case(":authority")) {
        return;
    }
    if is_host {
        let message = format!("invalid header {name:?}: cannot set Host header");
        findings.error("invalid-header", path, message, "여기서는 Host 헤더를 바꿀 수 없습니다");
    } else if name.starts_with(':') {
        let message = format!("invalid header {name:?}: header cannot have \":\" prefix");
        findings.error("invalid-header", path, message, format!("`:`로 시작하는 헤더 `{name}`은(는) 바꿀 수 없습니다"));
    }
}

/// What of a value is being read.
enum Reading {
    Literal,
    /// `%VAR`
    Name,
    /// `%VAR(`
    ArgumentStart,
    /// `%VAR([`
    QuoteStart,
    /// `%VAR(["text` or `%VAR(text`
    Text,
    /// `%VAR(["text"`
    Delimiter,
    /// `%VAR(["text"]`
    ArgumentsEnd,
    /// `%VAR(…)`
    End,
}

/// Envoy's formatters: `%VAR%`, `%VAR(text)%`, `%VAR(["text", …])%`; `%%` is a percent sign.
fn check_value(value: &str) -> Result<(), &'static str> {
    if value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f) {
        return Err("control characters are not allowed");
    }
    let mut reading = Reading::Literal;
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let space = byte == b' ';
        reading = match (reading, byte) {
            (Reading::Literal, b'%') => match bytes.peek() {
                None => return Err("invalid header configuration. Un-escaped %"),
                Some(b'%') => {
                    bytes.next();
                    Reading::Literal
                }
                Some(_) => Reading::Name,
            },
            (Reading::Name | Reading::End, b'%') => Reading::Literal,
            (Reading::Name, b'(') => Reading::ArgumentStart,
            (Reading::ArgumentStart, b'[') => Reading::QuoteStart,
            (Reading::ArgumentStart, _) if !space => Reading::Text,
            (Reading::QuoteStart, b'"') => Reading::Text,
            (Reading::QuoteStart, _) if !space => return Err("invalid header configuration. Expecting '\"'"),
            (Reading::Text, b'\\') => match bytes.next() {
                None => return Err("invalid header configuration. Un-terminated backslash in JSON string"),
                Some(_) => Reading::Text,
            },
            (Reading::Text | Reading::ArgumentsEnd, b')') => Reading::End,
            (Reading::Text, b'"') => Reading::Delimiter,
            (Reading::Delimiter, b',') => Reading::QuoteStart,
            (Reading::Delimiter, b']') => Reading::ArgumentsEnd,
            (Reading::Delimiter, _) if !space => return Err("invalid header configuration. Expecting ',', ']', or whitespace"),
            (Reading::ArgumentsEnd, _) if !space => return Err("invalid header configuration. Expecting ')' or whitespace"),
            (Reading::End, _) if !space => return Err("invalid header configuration. Expecting '%' or whitespace"),
            (state, _) => state,
        };
    }
    match reading {
        Reading::Literal => Ok(()),
        _ => Err("invalid header configuration. Un-terminated variable expression"),
    }
}

#[cfg(test)]
mod tests {
    use super::check_value;

    #[test]
    fn formatters_are_closed_and_percent_signs_doubled() {
        for good in ["", "foo", "%HOSTNAME%", "100%%", "a %REQ(x-a)% b", "%DYNAMIC_METADATA([\"a\", \"b\"])%", "%REQ(x?y)%%%"] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in ["50%", "abc%123", "%START_TIME%%", "%REQ(x", "%REQ(x)y%", "a\nb", "%A([x])%", "%A([\"x\" y])%"] {
            assert!(check_value(bad).is_err(), "{bad}");
        }
    }
}
