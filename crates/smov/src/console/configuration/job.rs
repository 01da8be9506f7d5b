//! One wished change of one object in one cluster, and what would become of it.

use serde_json::Value;
use smov_cluster::kinds::Kind;
use smov_console::view::configuration::{ChangeView, FindingView, Outcome, SeverityView, Target};

use super::book::Item;
use super::findings::{Written, not_a_rule};
use super::keeper::patient;
use super::object::{Reference, cleaned, to_send, version_of, yaml};
use crate::kube_api::{Act, CallError, Cluster};

/// What the object is to become.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    /// This, cleaned.
    Put(Value),
    Gone,
}

/// What must be stored for the change to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expected {
    /// This version.
    Version(String),
    /// Nothing.
    Nothing,
    /// This content, cleaned; `None` = nothing.
    Content(Option<Value>),
    /// Whatever there is.
    Anything,
}

/// One wished change.
pub(super) struct Job {
    pub(super) cluster: Cluster,
    pub(super) reference: Reference,
    /// `None` = it is no rule, as a finding says.
    pub(super) kind: Option<&'static Kind>,
    pub(super) wish: Wish,
    pub(super) expected: Expected,
    /// The text in which findings have their places.
    pub(super) written: Option<Written>,
    /// What is wrong with it by itself.
    pub(super) findings: Vec<FindingView>,
}

/// What would become of a job.
pub(super) struct Tried {
    pub(super) live: Option<Value>,
    pub(super) outcome: Outcome,
    /// What would be stored, as the API server says, or as it was wished where nobody could be asked.
    pub(super) after: Option<Value>,
    pub(super) error: Option<CallError>,
    /// Korean and English.
    pub(super) message: Option<(String, String)>,
}

impl Job {
    /// From a change of the page. With `strictly`, a change of what is there must say which version it began with.
    pub(super) fn of(cluster: Cluster, change: &ChangeView, strictly: bool) -> Self {
        let unnamed = if strictly { Expected::Nothing } else { Expected::Anything };
        let version = change.resource_version.clone().filter(|version| !version.is_empty());
        let printed;
        let text = match change.target() {
            Ok(Target::Yaml(text)) => text,
            Ok(Target::Object(object)) => {
                printed = yaml(object);
                &printed
            }
            Ok(Target::Gone(reference)) => return Self::gone(cluster, &reference, version.map_or(unnamed, Expected::Version)),
            // The router has refused what has no target.
            Err(_) => "",
        };
        match Written::read(&cluster.name, text) {
            Ok(written) => {
                let version =
                    version.or_else(|| Some(version_of(&written.document.value).to_owned()).filter(|version| !version.is_empty()));
                Self::written(cluster, written, version.map_or(unnamed, Expected::Version))
            }
            Err(finding) => {
                let reference = Reference { kind: String::new(), namespace: String::new(), name: String::new() };
                Self { cluster, reference, kind: None, wish: Wish::Gone, expected: unnamed, written: None, findings: vec![*finding] }
            }
        }
    }

    fn gone(cluster: Cluster, text: &str, expected: Expected) -> Self {
        let parsed = Reference::parse(text);
        let kind = parsed.as_ref().and_then(Reference::kind);
        let findings = if kind.is_some() { Vec::new() } else { vec![unknown(&cluster.name, text)] };
        let reference = parsed.unwrap_or_else(|| Reference { kind: String::new(), namespace: String::new(), name: text.to_owned() });
        Self { cluster, reference, kind, wish: Wish::Gone, expected, written: None, findings }
    }

    fn written(cluster: Cluster, written: Written, expected: Expected) -> Self {
        let reference = written.reference();
        let mut findings = written.alone(&cluster.name);
        let wrong = findings.iter().any(|finding| finding.severity == SeverityView::Error);
        if !wrong {
            findings.extend(not_a_rule(&cluster.name, &written));
        }
        let addressable = reference.is_addressable() && smov_cluster::kinds::of_object(&written.document.value).is_some();
        let kind = reference.kind().filter(|_| addressable);
        let mut object = written.document.value.clone();
        if object["metadata"].is_object() {
            object["metadata"]["namespace"] = Value::from(reference.namespace.as_str());
        }
        let wish = kind.map_or(Wish::Gone, |kind| Wish::Put(cleaned(&object, kind)));
        Self { cluster, reference, kind, wish, expected, written: Some(written), findings }
    }

    /// The way back of a change of the history; `None` = what was before is not kept.
    pub(super) fn back(cluster: Cluster, item: &Item, force: bool) -> Option<Self> {
        let lost = |object: &Option<Value>, version: &Option<String>| object.is_none() && version.is_some();
        if lost(&item.before, &item.before_version) || (!force && lost(&item.after, &item.after_version)) {
            return None;
        }
        let expected = if force { Expected::Anything } else { Expected::Content(item.after.clone()) };
        let Some(before) = &item.before else { return Some(Self::gone(cluster, &item.r#ref, expected)) };
        let reference = Reference::of(before);
        // A history that somebody wrote by hand may hold anything.
        let kind = reference.kind().filter(|_| reference.is_addressable());
        Some(Self { cluster, kind, wish: Wish::Put(before.clone()), expected, written: None, findings: Vec::new(), reference })
    }

    /// Is it wrong by itself, so that no API server need be asked?
    pub(super) fn is_wrong(&self) -> bool {
        self.kind.is_none() || self.findings.iter().any(|finding| finding.severity == SeverityView::Error)
    }

    /// The wished object, where one is wished.
    pub(super) fn wished(&self) -> Option<&Value> {
        match &self.wish {
            Wish::Put(object) => Some(object),
            Wish::Gone => None,
        }
    }

    /// Asks the API server what would become of it; nothing is stored.
    pub(super) async fn try_out(&self) -> Tried {
        let wished = self.wished().cloned();
        let tried = |live, outcome, error: Option<CallError>, message| {
            let after = wished.clone();
            Tried { live, outcome, after, error, message }
        };
        let Some(kind) = self.kind else { return tried(None, Outcome::Invalid, None, None) };
        let live = match patient(&self.cluster, self.cluster.get(kind, &self.reference.namespace, &self.reference.name)).await {
            Ok(live) => live,
            Err(error) => {
                let outcome = if matches!(error, CallError::Unreachable { .. }) { Outcome::Unreachable } else { Outcome::Refused };
                let message = Some(said(&error));
                return tried(None, if self.is_wrong() { Outcome::Invalid } else { outcome }, Some(error), message);
            }
        };
        if self.is_wrong() {
            return tried(live, Outcome::Invalid, None, None);
        }
        let now = live.as_ref().map(|live| cleaned(live, kind));
        if now.as_ref() == self.wished() {
            return tried(live, Outcome::Unchanged, None, None);
        }
        if let Some(message) = self.conflict(live.as_ref(), now.as_ref()) {
            return tried(live, Outcome::Conflict, None, Some(message));
        }
        match self.write(kind, live.as_ref(), super::PAGE, true).await {
            Ok((after, outcome)) => {
                let same = after.as_ref().is_some_and(|after| Some(&cleaned(after, kind)) == now.as_ref());
                let outcome = if same { Outcome::Unchanged } else { outcome };
                Tried { live, outcome, after, error: None, message: None }
            }
            Err(error) => {
                let (outcome, message) = match &error {
                    CallError::Unreachable { .. } => (Outcome::Unreachable, said(&error)),
                    CallError::Refused { code: 409, .. } => (Outcome::Conflict, said(&error)),
                    CallError::Refused { code: 403, .. } => (Outcome::Refused, said(&error)),
                    CallError::Refused { .. } => (Outcome::Invalid, said(&error)),
                };
                tried(live, outcome, Some(error), Some(message))
            }
        }
    }

    /// Why what is stored is not what the change began with.
    fn conflict(&self, live: Option<&Value>, now: Option<&Value>) -> Option<(String, String)> {
        let both = |ko: &str, en: &str| Some((ko.to_owned(), en.to_owned()));
        match (&self.expected, live) {
            (Expected::Anything, _) | (Expected::Nothing, None) => None,
            (Expected::Nothing, Some(_)) => both(
                "같은 이름의 리소스가 이미 있습니다. 지금 내용을 읽은 뒤 고치세요",
                "There is one of this name already; read it first, then change it",
            ),
            (Expected::Version(_), None) => both("그 사이에 삭제되었습니다", "It was deleted meanwhile"),
            (Expected::Version(version), Some(live)) if version_of(live) != version => both(
                "그 사이에 다른 곳에서 바뀌었습니다. 지금 내용과 비교해 주세요",
                "It was changed elsewhere meanwhile; compare with what is stored now",
            ),
            (Expected::Version(_), Some(_)) => None,
            (Expected::Content(content), _) if content.as_ref() != now => both(
                "이 변경 뒤에 다시 바뀌었습니다. 되돌리면 뒤의 변경도 사라집니다",
                "It was changed again after this change; taking it back would take the later change with it",
            ),
            (Expected::Content(_), _) => None,
        }
    }

    /// Writes, or only tries to; gives what is stored then.
    pub(super) async fn write(
        &self,
        kind: &'static Kind,
        live: Option<&Value>,
        manager: &str,
        dry_run: bool,
    ) -> Result<(Option<Value>, Outcome), CallError> {
        let sent;
        let (act, outcome) = match (&self.wish, live) {
            (Wish::Put(object), None) => {
                sent = to_send(object, None);
                (Act::Create(&sent), Outcome::Created)
            }
            (Wish::Put(object), Some(live)) => {
                sent = to_send(object, Some(version_of(live)));
                (Act::Replace(&sent), Outcome::Configured)
            }
            (Wish::Gone, None) => return Ok((None, Outcome::Unchanged)),
            (Wish::Gone, Some(live)) => {
                let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
                let act = Act::Delete { namespace: &self.reference.namespace, name: &self.reference.name, uid, version: version_of(live) };
                (act, Outcome::Deleted)
            }
        };
        let stored = patient(&self.cluster, self.cluster.write(kind, act, manager, dry_run)).await?;
        Ok(((outcome != Outcome::Deleted).then_some(stored), outcome))
    }
}

/// An API server's words, with what they mean for the page.
pub(super) fn said(error: &CallError) -> (String, String) {
    match error {
        CallError::Unreachable { .. } => {
            (format!("클러스터에 연결할 수 없습니다: {error}"), format!("the cluster cannot be reached: {error}"))
        }
        CallError::Refused { code: 403, message, .. } => (
            format!("이 페이지에는 바꿀 권한이 없습니다(읽기 전용): {message}"),
            format!("this page may not change it (read-only): {message}"),
        ),
        CallError::Refused { message, .. } => (format!("API 서버가 거절했습니다: {message}"), format!("the API server refused: {message}")),
    }
}

fn unknown(cluster: &str, text: &str) -> FindingView {
    FindingView {
        severity: SeverityView::Error,
        code: "not-a-rule".to_owned(),
        text_ko: format!("{text}: 여기에서 고칠 수 있는 Istio 리소스가 아닙니다"),
        text_en: format!("{text} is not one of Istio's objects that are edited here"),
        cluster: cluster.to_owned(),
        r#ref: text.to_owned(),
        ..FindingView::default()
    }
}
