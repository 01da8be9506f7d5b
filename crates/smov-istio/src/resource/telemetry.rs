//! Telemetry (<https://istio.io/latest/docs/reference/config/telemetry/>).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::PolicySelector;

/// `spec` of a Telemetry, as far as it is executed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetrySpec {
    /// Pods that it is for; absent or empty = all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<PolicySelector>,
    /// How many requests are traced.
    pub tracing: Vec<TracingRule>,
    /// What is logged of requests.
    pub access_logging: Vec<AccessLoggingRule>,
}

impl TelemetrySpec {
    /// The labels of the pods that it is for; empty = all.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.selector.as_ref().map_or(&NONE, |selector| &selector.match_labels)
    }
}

/// One of `tracing`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TracingRule {
    /// Which side.
    pub r#match: Option<TelemetrySelector>,
    /// Who gets the spans. Here they go to the control plane, and on to the collectors of `smov up`.
    pub providers: Vec<ProviderReference>,
    /// Of the requests without a trace, 0 to 100.
    pub random_sampling_percentage: Option<f64>,
    /// No spans; contexts are still passed on.
    pub disable_span_reporting: Option<bool>,
}

/// One of `accessLogging`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLoggingRule {
    /// Which side.
    pub r#match: Option<TelemetrySelector>,
    /// Where and how it is logged: names of MeshConfig's `extensionProviders`, or `envoy`.
    pub providers: Vec<ProviderReference>,
    /// No log.
    pub disabled: Option<bool>,
    /// Which requests.
    pub filter: Option<AccessLogFilter>,
}

/// `match:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TelemetrySelector {
    /// `CLIENT_AND_SERVER` (default), `CLIENT`, `SERVER`.
    pub mode: Option<String>,
}

/// `providers[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ProviderReference {
    /// Its name.
    pub name: String,
}

/// `filter:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct AccessLogFilter {
    /// A condition in CEL.
    pub expression: String,
}
