//! PeerAuthentication (<https://istio.io/latest/docs/reference/config/security/peer_authentication/>).

use std::collections::BTreeMap;

use serde::Deserialize;
use smov_model::tls::MutualTlsMode;

/// `spec` of a PeerAuthentication.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthenticationSpec {
    /// Pods that it is for; absent or empty = all of the namespace, or of the mesh in the root namespace.
    pub selector: Option<PolicySelector>,
    /// Of all ports.
    pub mtls: Option<MutualTlsSetting>,
    /// Of single ports of the pods (not of the Service), by number.
    pub port_level_mtls: Option<BTreeMap<String, MutualTlsSetting>>,
}

/// `selector:` of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySelector {
    /// Labels that a pod must have.
    pub match_labels: BTreeMap<String, String>,
}

/// `mtls:`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct MutualTlsSetting {
    /// `UNSET` (default), `DISABLE`, `PERMISSIVE`, `STRICT`.
    pub mode: Option<String>,
}

impl MutualTlsSetting {
    /// What it says; `None` = inherited.
    pub fn mode(&self) -> Option<MutualTlsMode> {
        match self.mode.as_deref() {
            Some("DISABLE") => Some(MutualTlsMode::Disable),
            Some("PERMISSIVE") => Some(MutualTlsMode::Permissive),
            Some("STRICT") => Some(MutualTlsMode::Strict),
            _ => None,
        }
    }
}

impl PeerAuthenticationSpec {
    /// The labels of the pods that it is for; empty = all.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.selector.as_ref().map_or(&NONE, |selector| &selector.match_labels)
    }
}
