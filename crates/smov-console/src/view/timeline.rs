//! The timeline: what happened in both clusters, in one list.

use serde::{Deserialize, Serialize};

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MomentKind {
    /// A rule of the mesh changed.
    Change,
    /// Something does not work.
    Fault,
    /// A proxy stopped sending to an endpoint.
    Ejection,
    /// It sends to it again.
    Uneject,
    /// A pod or a process was ended.
    Kill,
    /// A container or a Deployment started anew.
    Restart,
    /// Something works again.
    Ready,
    /// A Deployment wants another number of pods.
    Scale,
    /// The link between the clusters.
    Link,
    /// A scenario began or ended.
    Scenario,
}

/// What a disturbance did, measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Does it go on?
    pub open: bool,
    /// Requests that failed meanwhile.
    pub failed: u64,
    /// Some requests came without a row, so `failed` is a lower bound.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// From the beginning until as many pods were ready as are wanted, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// From the beginning until the first request was answered by what came back, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_ms: Option<u64>,
    /// One of the failed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// One entry of the timeline. Told again under the same id it replaces what was told before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Names it.
    pub id: String,
    /// When, Unix microseconds.
    pub at: u64,
    /// What kind.
    pub kind: MomentKind,
    /// `ctx1`; `None` = of no single cluster.
    pub cluster: Option<String>,
    /// What it is about: `Pod/theater-msa/user-service-ctx1-x`.
    #[serde(rename = "ref")]
    pub about: Option<String>,
    /// What happened.
    pub text_ko: String,
    /// The same in English.
    pub text_en: String,
    /// How long it took or was so, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

impl Moment {
    /// Something about one object, or about nothing in particular.
    pub fn new(id: String, at: u64, kind: MomentKind, cluster: Option<&str>, about: Option<String>, [ko, en]: [String; 2]) -> Self {
        Self { id, at, kind, cluster: cluster.map(str::to_owned), about, text_ko: ko, text_en: en, duration_ms: None, effect: None }
    }
}
