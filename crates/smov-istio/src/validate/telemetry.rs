//! The webhook on Telemetry.

use smov_model::telemetry::expression::Expression;

use super::Findings;
use super::names::check_selector;
use crate::resource::{ProviderReference, TelemetrySpec};

pub(super) fn check(spec: &TelemetrySpec, findings: &mut Findings) {
    for (index, rule) in spec.tracing.iter().enumerate() {
        let path = format!("spec.tracing[{index}]");
        if rule.random_sampling_percentage.is_some_and(|percentage| !(0.0..=100.0).contains(&percentage)) {
            let path = format!("{path}.randomSamplingPercentage");
            findings.error("invalid-percentage", &path, "randomSamplingPercentage must be in range [0.0, 100.0]", "0~100이어야 합니다");
        }
        if rule.providers.len() > 1 {
            let path = format!("{path}.providers");
            findings.warning("several-providers", &path, "multiple providers is not currently supported", "제공자는 하나만 쓰입니다");
        }
        check_providers(&rule.providers, &path, findings);
    }
    if spec.tracing.len() > 1 && spec.tracing.iter().all(|rule| rule.r#match.is_none()) {
        findings.warning("several-tracing", "spec.tracing", "multiple tracing is not currently supported", "tracing은 하나만 쓰입니다");
    }
    for (index, rule) in spec.access_logging.iter().enumerate() {
        let path = format!("spec.accessLogging[{index}]");
        check_providers(&rule.providers, &path, findings);
        let Some(filter) = &rule.filter else { continue };
        if let Err(error) = filter.expression.parse::<Expression>() {
            let path = format!("{path}.filter.expression");
            let korean = format!("필터 식을 읽을 수 없습니다: {error}");
            findings.error("invalid-filter", &path, format!("accessLogging filter expression is invalid: {error}"), korean);
        }
    }
    if let Some(selector) = &spec.selector {
        let empty = ("workload selector specified without labels", "selector에 레이블이 없습니다. 모든 파드에 적용됩니다");
        check_selector(&selector.match_labels, "spec.selector", empty, findings);
    }
}

fn check_providers(providers: &[ProviderReference], path: &str, findings: &mut Findings) {
    for (index, _) in providers.iter().enumerate().filter(|(_, provider)| provider.name.is_empty()) {
        let path = format!("{path}.providers[{index}].name");
        findings.error("empty-provider", &path, "providers.name must not be empty", "제공자 이름이 비어 있습니다");
    }
}
