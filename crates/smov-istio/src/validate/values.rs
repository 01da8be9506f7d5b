//! Durations, percentages and patterns as the webhook wants them.

use std::time::Duration;

use smov_model::text::Pattern;

use super::Findings;
use crate::duration::parse_duration;
use crate::resource::PercentSpec;

/// A duration of at least 1 ms, in whole milliseconds.
pub(super) fn check_duration(text: Option<&str>, path: &str, findings: &mut Findings) {
    let Some(text) = text else { return };
    match parse_duration(text) {
        Err(_) => {
            let message = format!("invalid duration {text:?}");
            findings.error("invalid-duration", path, message, format!("`{text}`은(는) 시간이 아닙니다"));
            findings.help("write it like 3s, 500ms or 1m30s", "3s, 500ms, 1m30s처럼 쓰세요");
        }
        Ok(duration) if duration < Duration::from_millis(1) => {
            findings.error("invalid-duration", path, "duration must be greater than 1ms", "시간은 1ms 이상이어야 합니다");
        }
        Ok(duration) if duration.subsec_nanos() % 1_000_000 != 0 => {
            findings.error(
                "invalid-duration",
                path,
                "only durations to ms precision are supported",
                "밀리초보다 작은 단위는 쓸 수 없습니다",
            );
        }
        Ok(_) => {}
    }
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
        findings.error("invalid-regex", path, format!("{what}: regex string match should not be empty"), "정규식이 비어 있습니다");
    } else if text.len() > 1024 {
        findings.error(
            "invalid-regex",
            path,
            format!("{what}: regex is too large, max length allowed is 1024"),
            "정규식이 1024자를 넘습니다",
        );
    } else if let Err(error) = Pattern::new(text) {
        let message = format!("{what}: {} is not a valid RE2 regex: {}", error.source_text, error.reason);
        findings.error("invalid-regex", path, message, format!("정규식이 올바르지 않습니다: {}", error.reason));
    }
}
