//! Rules as the page sees them: resources with findings, changes before and after they are made, and the history.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// All rules of all clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ResourcesView {
    /// The clusters, and whether they were read.
    pub clusters: Vec<ReachView>,
    /// What is stored.
    pub resources: Vec<ResourceView>,
    /// What the baseline has and its cluster has not.
    pub missing: Vec<MissingView>,
    /// Kinds that can be written, for skeletons: `[VirtualService, networking.istio.io/v1]`.
    pub kinds: Vec<(String, String)>,
}

/// A cluster, and whether it answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ReachView {
    /// `ctx1`.
    pub name: String,
    /// Was it read just now?
    pub reachable: bool,
    /// Why not, in Korean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_ko: Option<String>,
    /// Why not, in English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_en: Option<String>,
}

/// How a live object stands to the one of the baseline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaselineState {
    /// As the baseline has it.
    Same,
    /// Changed since.
    Changed,
    /// The baseline does not have it.
    Added,
    /// There is no baseline to compare with.
    #[default]
    Unknown,
}

/// How an object stands to the one of the same name in the other cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TwinState {
    /// Both say the same.
    Same,
    /// They differ.
    Differs,
    /// The other cluster has none.
    Absent,
    /// The other cluster was not read.
    #[default]
    Unknown,
}

/// One stored rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ResourceView {
    /// `ctx1`.
    pub cluster: String,
    /// `VirtualService`.
    pub kind: String,
    /// `networking.istio.io/v1`.
    pub api_version: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// To be sent back with a change.
    pub resource_version: String,
    /// Counts changes of `spec`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// RFC 3339.
    pub created: String,
    /// Without what the server keeps for itself.
    pub yaml: String,
    /// The same as JSON.
    pub object: Value,
    /// Against the baseline.
    pub baseline: BaselineState,
    /// The baseline's YAML, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_yaml: Option<String>,
    /// Against the other cluster.
    pub twin: TwinState,
    /// What it steers.
    pub affects: Vec<AffectedView>,
    /// What is wrong with it; places are those of `yaml`.
    pub findings: Vec<FindingView>,
}

/// An object of the baseline that its cluster has not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MissingView {
    /// `ctx1`.
    pub cluster: String,
    /// `VirtualService`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// What the baseline says.
    pub yaml: String,
}

/// Something that a rule steers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AffectedView {
    /// `Service`, `Gateway`, `Pods`, `Namespace`, `Host`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How, in Korean.
    pub text_ko: String,
    /// How, in English.
    pub text_en: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SeverityView {
    /// Refused, or cannot work.
    Error,
    /// Probably not what was meant.
    Warning,
    /// Good to know.
    #[default]
    Info,
}

/// One finding at its place.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FindingView {
    /// How bad.
    pub severity: SeverityView,
    /// `IST0101`, `unknown-field`, …
    pub code: String,
    /// `spec.http[0].route[1].weight`; may be empty.
    pub path: String,
    /// From 1; 0 = no place in the text.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// One past the last marked character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// Korean.
    pub text_ko: String,
    /// English.
    pub text_en: String,
    /// Where the object is.
    pub cluster: String,
    /// `Kind/namespace/name`.
    pub r#ref: String,
}

/// Changes that belong together.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeSet {
    /// One per object and cluster.
    pub changes: Vec<ChangeView>,
    /// For the history.
    pub note: Option<String>,
    /// Who, for the history.
    pub by: Option<String>,
}

/// One wished change.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeView {
    /// `ctx1`.
    pub cluster: String,
    /// The object as text; findings keep its places.
    pub yaml: Option<String>,
    /// Or as JSON.
    pub object: Option<Value>,
    /// Take it away: `ref`, or kind, namespace and name say which.
    pub delete: bool,
    /// `Kind/namespace/name`.
    pub r#ref: Option<String>,
    /// Instead of `ref`.
    pub kind: Option<String>,
    /// Instead of `ref`.
    pub namespace: Option<String>,
    /// Instead of `ref`.
    pub name: Option<String>,
    /// Of the object that the change began with; absent for a new one.
    pub resource_version: Option<String>,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Target<'a> {
    /// To be as this text says.
    Yaml(&'a str),
    /// To be as this object.
    Object(&'a Value),
    /// To be gone: `Kind/namespace/name`.
    Gone(String),
}

impl ChangeView {
    /// What is wished, or what the change lacks.
    pub fn target(&self) -> Result<Target<'_>, &'static str> {
        if self.cluster.is_empty() {
            return Err("`cluster` is missing");
        }
        match (&self.yaml, &self.object, self.delete) {
            (Some(yaml), None, false) => Ok(Target::Yaml(yaml)),
            (None, Some(object), false) => Ok(Target::Object(object)),
            (None, None, true) => match (&self.r#ref, &self.kind, &self.namespace, &self.name) {
                (Some(reference), None, None, None) if reference.split('/').count() == 3 => Ok(Target::Gone(reference.clone())),
                (None, Some(kind), Some(namespace), Some(name)) => Ok(Target::Gone(format!("{kind}/{namespace}/{name}"))),
                _ => Err("`delete` needs `ref` (Kind/namespace/name), or `kind`, `namespace` and `name`"),
            },
            _ => Err("exactly one of `yaml`, `object` and `delete` is needed"),
        }
    }
}

/// What became, or would become, of a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is new.
    Created,
    /// It is another.
    Configured,
    /// It is as it was.
    #[default]
    Unchanged,
    /// It is gone.
    Deleted,
    /// The API server would not take it.
    Invalid,
    /// The object is another than the one that the change began with.
    Conflict,
    /// The API server did not take it.
    Refused,
    /// The API server does not answer.
    Unreachable,
}

impl Outcome {
    /// Did something change?
    pub fn is_change(self) -> bool {
        matches!(self, Self::Created | Self::Configured | Self::Deleted)
    }
}

/// One line of a diff.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// ` `, `+`, `-`, or `@` where lines are left out.
    pub op: char,
    /// The line.
    pub text: String,
    /// Its number before, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<u32>,
    /// Its number after, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<u32>,
}

/// What changes would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckView {
    /// In the order of the changes.
    pub results: Vec<CheckedView>,
    /// Would an apply change something, and does nothing stand against it?
    pub applicable: bool,
    /// kubectl lines that do the same.
    pub commands: Vec<String>,
}

/// What one change would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CheckedView {
    /// `ctx1`.
    pub cluster: String,
    /// `Kind/namespace/name`.
    pub r#ref: String,
    /// What would become of it.
    pub outcome: Outcome,
    /// Of the object, placed in the text that was sent; and of others which the change would break, placed in theirs.
    pub findings: Vec<FindingView>,
    /// What is stored against what would be.
    pub diff: Vec<DiffLine>,
    /// What would be stored.
    pub yaml: String,
    /// On a conflict: what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_yaml: Option<String>,
    /// On a conflict: its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_version: Option<String>,
    /// More, in Korean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ko: Option<String>,
    /// More, in English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_en: Option<String>,
}

/// What became of changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AppliedView {
    /// The history's number; empty when nothing changed.
    pub change: String,
    /// In the order of the changes.
    pub results: Vec<AppliedResult>,
}

/// What became of one change.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AppliedResult {
    /// `ctx1`.
    pub cluster: String,
    /// `Kind/namespace/name`.
    pub r#ref: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The version that is stored now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// On a conflict: what is stored; absent when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_yaml: Option<String>,
    /// More, in Korean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ko: Option<String>,
    /// More, in English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_en: Option<String>,
}

/// The history.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HistoryView {
    /// Newest first.
    pub changes: Vec<HistoryChange>,
    /// Where it is kept.
    pub stores: Vec<ReachView>,
    /// The change that an undo would take back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// One change of the past.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HistoryChange {
    /// Its number.
    pub id: String,
    /// Unix microseconds.
    pub at: u64,
    /// Who, as far as it is known.
    pub by: String,
    /// What they said about it.
    pub note: String,
    /// `page`, `kubectl`, `smov`, `scenario:NAME`, `reset`, `unknown`.
    pub origin: String,
    /// The change that this one took back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// Was it taken back, and not put back again?
    pub undone: bool,
    /// What changed.
    pub items: Vec<HistoryItem>,
}

/// One object's change.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HistoryItem {
    /// `ctx1`.
    pub cluster: String,
    /// `Kind/namespace/name`.
    pub r#ref: String,
    /// `metadata.resourceVersion` before; absent when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_version: Option<String>,
    /// After; absent when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_version: Option<String>,
    /// In a few words, Korean.
    pub summary_ko: String,
    /// In a few words, English.
    pub summary_en: String,
    /// YAML before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// YAML after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
