//! Durations, percentages and patterns as the webhook wants them.

use std::time::Duration;

use smov_model::text::Pattern;

use super::Findings;
use crate::duration::parse_duration;
use crate::resource::PercentSpec;

/// A duration of at least 1 ms, in whole milliseconds.
pub(super) fn check_duration(text: Option<&str>, path: &str, findings: &mut Findings) {
    match parsed(text, path, findings) {
        Some(duration) if duration < Duration::from_millis(1) => {
            findings.error("invalid-duration", path, "duration must be greater than 1ms", "시간은 1ms 이상이어야 합니다");
        }
        Some(duration) if duration.subsec_nanos() % 1_000_000 != 0 => {
            let message = "only durations to ms precision are supported";
            findings.error("invalid-duration", path, message, "밀리초보다 작은 단위는 쓸 수 없습니다");
        }
        Some(_) | None => {}
    }
}

/// The same, but 0 is allowed and means "off".
pub(super) fn check_duration_or_off(text: Option<&str>, path: &str, findings: &mut Findings) {
    if text.and_then(|text| parse_duration(text).ok()).is_none_or(|duration| duration.as_millis() != 0) {
        check_duration(text, path, findings);
    }
}

/// Any duration.
pub(super) fn check_duration_form(text: Option<&str>, path: &str, findings: &mut Findings) {
    parsed(text, path, findings);
}

fn parsed(text: Option<&str>, path: &str, findings: &mut Findings) -> Option<Duration> {
    let text = text?;
    let duration = parse_duration(text).ok();
    if duration.is_none() {
        findings.error("invalid-duration", path, format!("invalid duration {text:?}"), format!("`{text}`은(는) 시간이 아닙니다"));
        findings.help("write it like 3s, 500ms or 1m30s", "3s, 500ms, 1m30s처럼 쓰세요");
    }
    duration
}

/// 0, or 0.0001 to 100.
pub(super) fn check_percentage(percentage: Option<PercentSpec>, path: &str, findings: &mut Findings) {
    let Some(PercentSpec { value }) = percentage else { return };
    if !(0.0..=100.0).contains(&value) || value > 0.0 && value < 0.0001 {
        let message = format!("percentage {value} is neither 0.0, nor in range [0.0001, 100.0]");
        findings.error("invalid-percentage", &format!("{path}.value"), message, format!("{value}은(는) 0 또는 0.0001~100이어야 합니다"));
    }
}

/// RE2 of at most 1024 characters.
pub(super) fn check_regex(text: &str, path: &str, what: &str, findings: &mut Findings) {
    if text.is_empty() {
        findings.error("invalid-regex", path, format!("{what:?}: regex string match should not be empty"), "정규식이 비어 있습니다");
    } else if text.len() > 1024 {
        findings.error(
            "invalid-regex",
            path,
            format!("{what:?}: regex is too large, max length allowed is 1024"),
            "정규식이 1024자를 넘습니다",
        );
    } else if let Err(error) = Pattern::new(text) {
        let message = format!(
            "{what:?}: error parsing regexp: {}: `{}`; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)",
            error.reason, error.source_text
        );
        findings.error("invalid-regex", path, message, format!("정규식이 올바르지 않습니다: {}", error.reason));
    }
}
