//! MeshConfig: settings of the whole mesh, from the ConfigMap `istio` of the root namespace, key `mesh`
//! (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/>).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use smov_model::names::Namespace;
use smov_model::route::Percent;
use smov_model::snapshot::{PathNormalization, UnknownHosts};
use smov_model::telemetry::{Encoding, Side};
use smov_model::tls::DEFAULT_TRUST_DOMAIN;

use crate::diagnostic::{Diagnostic, Severity};
use crate::resource::{HttpRetry, LocalityLbSetting, reference_of};

/// The settings that the mesh executes; others are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfig {
    /// First part of every identity.
    pub trust_domain: String,
    /// `enableAutoMtls`: mutual TLS between sidecars where no DestinationRule says otherwise. On by default.
    pub auto_mutual_tls: bool,
    /// What happens with hosts that nobody knows.
    pub unknown_hosts: UnknownHosts,
    /// How paths are brought into their normal form.
    pub path_normalization: PathNormalization,
    /// `localityLbSetting`: how clients prefer endpoints near them, where the DestinationRule does not say. On by default.
    pub locality: LocalityLbSetting,
    /// Retries of rules that say nothing about them; `None` = Istio's default policy.
    pub default_retries: Option<HttpRetry>,
    /// Where rules for the whole mesh live.
    pub root_namespace: Namespace,
    /// `defaultConfig.tracing.sampling`: share of the requests without a trace for which one begins. Default 1 %.
    pub sampling: Percent,
    /// `enableTracing`. On by default.
    pub tracing: bool,
    /// `accessLogFile` and `accessLogEncoding`; `None` = no log unless a Telemetry asks for one. Istio's demo profile has a log as text, and so
    /// have we.
    pub access_log: Option<Encoding>,
    /// `extensionProviders` that write a log, by name: how.
    pub log_providers: BTreeMap<String, Encoding>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: DEFAULT_TRUST_DOMAIN.to_owned(),
            auto_mutual_tls: true,
            unknown_hosts: UnknownHosts::AllowAny,
            path_normalization: PathNormalization::Base,
            locality: LocalityLbSetting { enabled: Some(true), ..LocalityLbSetting::default() },
            default_retries: None,
            root_namespace: "istio-system".parse().expect("a DNS label"),
            sampling: Side::default().sampling,
            tracing: true,
            access_log: Some(Encoding::Text),
            log_providers: BTreeMap::new(),
        }
    }
}

/// As the YAML has it; proto's JSON.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    trust_domain: Option<String>,
    enable_auto_mtls: Option<bool>,
    root_namespace: Option<Namespace>,
    outbound_traffic_policy: OutboundTrafficPolicy,
    path_normalization: Normalization,
    locality_lb_setting: Option<LocalityLbSetting>,
    default_http_retry_policy: Option<HttpRetry>,
    default_config: DefaultConfig,
    enable_tracing: Option<bool>,
    access_log_file: Option<String>,
    access_log_encoding: Option<Encoding>,
    extension_providers: Vec<ExtensionProvider>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DefaultConfig {
    tracing: DefaultTracing,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DefaultTracing {
    sampling: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ExtensionProvider {
    name: String,
    envoy_file_access_log: Option<FileAccessLog>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct FileAccessLog {
    log_format: Option<LogFormat>,
}

/// Formats of one's own are not executed: `labels` means Istio's own fields as JSON.
#[derive(Deserialize, Default)]
#[serde(default)]
struct LogFormat {
    labels: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutboundTrafficPolicy {
    mode: Option<UnknownHosts>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Normalization {
    normalization: Option<NormalizationType>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum NormalizationType {
    Default,
    None,
    Base,
    MergeSlashes,
    DecodeAndMergeSlashes,
}

impl MeshConfig {
    /// These settings with what a ConfigMap says in their place.
    pub(super) fn overlaid(&self, config_map: &Value) -> Result<Self, Box<Diagnostic>> {
        let text = config_map.pointer("/data/mesh").and_then(Value::as_str).unwrap_or_default();
        let broken = |reason: String| {
            let korean = format!("MeshConfig를 읽을 수 없습니다: {reason}");
            let message = format!("invalid mesh config: {reason}");
            Box::new(Diagnostic::new("mesh-config", Severity::Error, &reference_of(config_map), "data.mesh", message, korean))
        };
        let documents = crate::yaml::parse(text).map_err(|error| broken(error.to_string()))?;
        let Some(document) = documents.first().filter(|document| !document.value.is_null()) else { return Ok(self.clone()) };
        let written: Written = serde_path_to_error::deserialize(&document.value).map_err(|error| broken(error.to_string()))?;
        let path_normalization = match written.path_normalization.normalization {
            None => self.path_normalization,
            Some(NormalizationType::Default | NormalizationType::Base) => PathNormalization::Base,
            Some(NormalizationType::None) => PathNormalization::None,
            Some(NormalizationType::MergeSlashes) => PathNormalization::MergeSlashes,
            Some(NormalizationType::DecodeAndMergeSlashes) => PathNormalization::DecodeAndMergeSlashes,
        };
        let encoding = written.access_log_encoding;
        let log_providers = written.extension_providers.into_iter().filter_map(|provider| {
            let format = provider.envoy_file_access_log?.log_format;
            let encoding = if format.is_some_and(|format| format.labels.is_some()) { Encoding::Json } else { Encoding::Text };
            Some((provider.name, encoding))
        });
        let log_providers = log_providers.collect();
        Ok(Self {
            trust_domain: written.trust_domain.filter(|domain| !domain.is_empty()).unwrap_or_else(|| self.trust_domain.clone()),
            auto_mutual_tls: written.enable_auto_mtls.unwrap_or(self.auto_mutual_tls),
            unknown_hosts: written.outbound_traffic_policy.mode.unwrap_or(self.unknown_hosts),
            path_normalization,
            locality: written.locality_lb_setting.unwrap_or_else(|| self.locality.clone()),
            default_retries: written.default_http_retry_policy.or_else(|| self.default_retries.clone()),
            root_namespace: written.root_namespace.unwrap_or_else(|| self.root_namespace.clone()),
            sampling: written.default_config.tracing.sampling.and_then(Percent::new).unwrap_or(self.sampling),
            tracing: written.enable_tracing.unwrap_or(self.tracing),
            access_log: match written.access_log_file.as_deref() {
                Some("") => None,
                Some(_) => Some(encoding.unwrap_or_default()),
                None => self.access_log.map(|own| encoding.unwrap_or(own)),
            },
            log_providers,
        })
    }
}
