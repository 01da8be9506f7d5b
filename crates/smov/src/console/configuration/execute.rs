//! Trying changes out, carrying them out, and writing them into the history.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::Value;
use smov_cluster::kinds::Kind;
use smov_console::problem::Problem;
use smov_console::view::configuration::{AppliedResult, AppliedView, CheckView, CheckedView, Outcome};
use smov_istio::diagnostic::Diagnostic;
use smov_istio::world::World;
use smov_model::names::KubeCluster;

use super::MeshConfiguration;
use super::book::{Entry, Item};
use super::commands::command;
use super::findings::{Written, across, add, is_about};
use super::job::{Job, Tried, Wish, said};
use super::keeper::patient;
use super::lines::diff;
use super::object::{Reference, cleaned, version_of, yaml};
use crate::kube_api::CallError;

/// Under whose name a change is made.
pub(super) struct How {
    pub(super) manager: String,
    pub(super) origin: String,
    pub(super) by: String,
    pub(super) note: String,
    /// The change that it takes back.
    pub(super) undoes: Option<String>,
}

/// Findings over a cluster's world before and after the jobs.
struct Across {
    before: Vec<Diagnostic>,
    after: Vec<Diagnostic>,
}

impl MeshConfiguration {
    /// What changes would do.
    pub(super) async fn checked(&self, jobs: Vec<Job>) -> Result<CheckView, Problem> {
        let tried = join_all(jobs.iter().map(Job::try_out)).await;
        let across = self.across(&jobs);
        let mut told_others = BTreeSet::new();
        let mut view = CheckView::default();
        for (job, tried) in jobs.iter().zip(&tried) {
            let mut result = described(job, tried);
            if let Some(across) = across.get(&job.cluster.name) {
                if let Some(written) = &job.written {
                    add(&mut result.findings, written.among(&job.cluster.name, &across.after));
                }
                if told_others.insert(job.cluster.name.clone()) {
                    for finding in self.broken_elsewhere(job, &jobs, across).await {
                        result.findings.push(finding);
                    }
                }
            }
            view.commands.extend(command(job, tried));
            view.results.push(result);
        }
        let stands_against = |outcome| matches!(outcome, Outcome::Invalid | Outcome::Conflict | Outcome::Refused);
        view.applicable = view.results.iter().any(|result| result.outcome.is_change())
            && !view.results.iter().any(|result| stands_against(result.outcome));
        Ok(view)
    }

    /// The findings over each cluster's world, as it is and as it would be.
    fn across(&self, jobs: &[Job]) -> BTreeMap<String, Across> {
        let mut found = BTreeMap::new();
        let names: BTreeSet<&str> = jobs.iter().map(|job| job.cluster.name.as_str()).collect();
        for name in names {
            let (Some(known), Ok(cluster)) = (self.0.worlds.of(name), name.parse::<KubeCluster>()) else { continue };
            let mut world: World = known.world.clone();
            for job in jobs.iter().filter(|job| job.cluster.name == name && !job.is_wrong()) {
                match &job.wish {
                    Wish::Put(object) => drop(world.apply(&cluster, object)),
                    Wish::Gone => {
                        world.remove(&cluster, &job.reference.kind, &job.reference.namespace, &job.reference.name);
                    }
                }
            }
            let after = across(&world, known.complete);
            found.insert(name.to_owned(), Across { before: across(&known.world, known.complete), after });
        }
        found
    }

    /// What the change would break in other objects of the cluster, at its place in theirs.
    async fn broken_elsewhere(&self, job: &Job, jobs: &[Job], across: &Across) -> Vec<smov_console::view::configuration::FindingView> {
        let same = |one: &Diagnostic, other: &Diagnostic| {
            (&one.code, &one.path, &one.resource.kind, &one.resource.namespace, &one.resource.name)
                == (&other.code, &other.path, &other.resource.kind, &other.resource.namespace, &other.resource.name)
        };
        let changed =
            |finding: &Diagnostic| jobs.iter().any(|other| other.cluster.name == job.cluster.name && is_about(finding, &other.reference));
        let new = across.after.iter().filter(|finding| !across.before.iter().any(|known| same(known, finding)) && !changed(finding));
        let mut by_object: BTreeMap<Reference, Vec<Diagnostic>> = BTreeMap::new();
        for finding in new {
            let resource = &finding.resource;
            let reference = Reference { kind: resource.kind.clone(), namespace: resource.namespace.clone(), name: resource.name.clone() };
            by_object.entry(reference).or_default().push(finding.clone());
        }
        let mut found = Vec::new();
        for (reference, findings) in by_object {
            let Some(kind) = reference.kind() else { continue };
            let live = patient(&job.cluster, job.cluster.get(kind, &reference.namespace, &reference.name)).await;
            let Ok(Some(live)) = live else { continue };
            if let Ok(written) = Written::read(&job.cluster.name, &yaml(&cleaned(&live, kind))) {
                found.extend(written.among(&job.cluster.name, &findings));
            }
        }
        found
    }

    /// Carries changes out, all that can be, unless something stands against one of them: then none.
    pub(super) async fn execute(&self, jobs: Vec<Job>, how: How) -> Result<AppliedView, Problem> {
        let writing = self.0.writing.lock().await;
        let tried = join_all(jobs.iter().map(Job::try_out)).await;
        let read_only = |tried: &Tried| matches!(&tried.error, Some(CallError::Refused { code: 403, .. }));
        if let Some(refused) = tried.iter().find(|tried| read_only(tried))
            && tried.iter().all(|tried| read_only(tried) || tried.outcome == Outcome::Unchanged)
        {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "ReadOnly",
                "이 페이지는 읽기 전용입니다. kubectl로 적용하거나 k8s/components/console-write를 함께 배포하세요",
                "This page may only read; apply with kubectl, or deploy k8s/components/console-write",
            )
            .with_detail(refused.error.as_ref().map(ToString::to_string).unwrap_or_default()));
        }
        if tried.iter().any(|tried| matches!(tried.outcome, Outcome::Invalid | Outcome::Conflict | Outcome::Refused)) {
            let results = jobs.iter().zip(&tried).map(|(job, tried)| not_done(job, tried)).collect();
            return Ok(AppliedView { change: String::new(), results });
        }
        let written = join_all(jobs.iter().zip(&tried).map(|(job, tried)| carry_out(job, tried, &how.manager))).await;
        let whole = written.iter().all(|(result, _)| result.outcome.is_change() || result.outcome == Outcome::Unchanged);
        let (results, items): (Vec<AppliedResult>, Vec<Option<(String, Item)>>) = written.into_iter().unzip();
        let items: Vec<(String, Item)> = items.into_iter().flatten().collect();
        let change = self.remember(how, whole, &items).await;
        drop(writing);
        Ok(AppliedView { change, results })
    }

    /// Writes a change into the history and tells it; gives its number, or nothing when nothing changed.
    async fn remember(&self, how: How, whole: bool, items: &[(String, Item)]) -> String {
        if items.is_empty() && (how.undoes.is_none() || !whole) {
            return String::new();
        }
        let at = self.0.live.now();
        let entry = Entry {
            id: new_id(at),
            at,
            by: how.by,
            note: how.note,
            origin: how.origin,
            undoes: how.undoes,
            whole,
            seen: false,
            items: Vec::new(),
        };
        let (_, errors) = self.0.keeper.record(&entry, items).await;
        for error in errors {
            // The watch sees the change as well and goes on trying.
            tracing::warn!(%error, change = entry.id, "a change could not be written into the history");
        }
        let mut refs: Vec<String> = items.iter().map(|(_, item)| item.r#ref.clone()).collect();
        refs.sort();
        refs.dedup();
        self.0.live.tell_rules(&refs, Some(&entry.id));
        entry.id
    }

    /// Runs something that changes rules in its own way, and writes what it changed into the history as one change of this origin.
    pub(crate) async fn recorded<T>(&self, origin: &str, note: &str, action: impl Future<Output = T>) -> (T, String) {
        let writing = self.0.writing.lock().await;
        let before = self.raw().await;
        let done = action.await;
        let after = self.raw().await;
        let mut items = Vec::new();
        for (cluster, now) in &after {
            let Some(then) = before.get(cluster) else { continue };
            let references: BTreeSet<&Reference> = then.keys().chain(now.keys()).collect();
            for reference in references {
                let Some(kind) = reference.kind() else { continue };
                items.extend(item(reference, kind, then.get(reference), now.get(reference)).map(|item| (cluster.clone(), item)));
            }
        }
        let how = How { manager: String::new(), origin: origin.to_owned(), by: String::new(), note: note.to_owned(), undoes: None };
        let change = self.remember(how, true, &items).await;
        drop(writing);
        (done, change)
    }
}

/// A number that sorts as the time does.
pub(super) fn new_id(at: u64) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{at:014x}-{}", &random[..6])
}

/// What one object went through; `None` = nothing.
pub(super) fn item(reference: &Reference, kind: &Kind, before: Option<&Value>, after: Option<&Value>) -> Option<Item> {
    let clean = |object: Option<&Value>| object.map(|object| cleaned(object, kind));
    let version = |object: Option<&Value>| object.map(|object| version_of(object).to_owned());
    let (old, new) = (clean(before), clean(after));
    (old != new).then(|| Item {
        r#ref: reference.to_string(),
        uid: after.or(before).and_then(|object| object["metadata"]["uid"].as_str()).unwrap_or_default().to_owned(),
        before_version: version(before),
        after_version: version(after),
        before: old,
        after: new,
    })
}

async fn carry_out(job: &Job, tried: &Tried, manager: &str) -> (AppliedResult, Option<(String, Item)>) {
    let mut result = AppliedResult {
        cluster: job.cluster.name.clone(),
        r#ref: job.reference.to_string(),
        outcome: tried.outcome,
        resource_version: tried.live.as_ref().map(|live| version_of(live).to_owned()),
        ..AppliedResult::default()
    };
    let Some(kind) = job.kind.filter(|_| tried.outcome.is_change()) else {
        (result.message_ko, result.message_en) = tried.message.clone().unzip();
        return (result, None);
    };
    match job.write(kind, tried.live.as_ref(), manager, false).await {
        Ok((stored, outcome)) => {
            result.outcome = outcome;
            result.resource_version = stored.as_ref().map(|stored| version_of(stored).to_owned());
            let item = item(&job.reference, kind, tried.live.as_ref(), stored.as_ref());
            (result, item.map(|item| (job.cluster.name.clone(), item)))
        }
        Err(error) => {
            result.outcome = match &error {
                CallError::Refused { code: 409, .. } => Outcome::Conflict,
                CallError::Refused { .. } => Outcome::Refused,
                CallError::Unreachable { .. } => Outcome::Unreachable,
            };
            let (ko, en) = said(&error);
            (result.message_ko, result.message_en) = (Some(ko), Some(en));
            if result.outcome == Outcome::Conflict {
                let live = patient(&job.cluster, job.cluster.get(kind, &job.reference.namespace, &job.reference.name)).await.ok().flatten();
                result.resource_version = live.as_ref().map(|live| version_of(live).to_owned());
                result.live_yaml = live.map(|live| yaml(&cleaned(&live, kind)));
            }
            (result, None)
        }
    }
}

/// One of several changes of which none was made.
fn not_done(job: &Job, tried: &Tried) -> AppliedResult {
    let outcome = match tried.outcome {
        Outcome::Invalid => Outcome::Refused,
        Outcome::Created | Outcome::Configured | Outcome::Deleted => Outcome::Unchanged,
        other => other,
    };
    let texts: (Vec<&str>, Vec<&str>) = job.findings.iter().map(|finding| (finding.text_ko.as_str(), finding.text_en.as_str())).unzip();
    let (ko, en) = match (&tried.message, outcome) {
        (Some((ko, en)), _) => (ko.clone(), en.clone()),
        (None, Outcome::Refused) => (texts.0.join("; "), texts.1.join("; ")),
        _ => (
            "함께 보낸 다른 변경을 적용할 수 없어 이것도 적용하지 않았습니다".to_owned(),
            "not applied, because another change that was sent with it cannot be".to_owned(),
        ),
    };
    AppliedResult {
        cluster: job.cluster.name.clone(),
        r#ref: job.reference.to_string(),
        outcome,
        resource_version: tried.live.as_ref().map(|live| version_of(live).to_owned()),
        live_yaml: live_yaml(job, tried),
        message_ko: Some(ko),
        message_en: Some(en),
    }
}

/// On a conflict: what is stored.
fn live_yaml(job: &Job, tried: &Tried) -> Option<String> {
    let kind = job.kind.filter(|_| tried.outcome == Outcome::Conflict)?;
    tried.live.as_ref().map(|live| yaml(&cleaned(live, kind)))
}

fn described(job: &Job, tried: &Tried) -> CheckedView {
    let printed = |object: &Value| job.kind.map(|kind| yaml(&cleaned(object, kind))).unwrap_or_default();
    let before = tried.live.as_ref().map(printed).unwrap_or_default();
    let after = tried.after.as_ref().map(printed).unwrap_or_default();
    let mut findings = job.findings.clone();
    if let (Some(written), Some(error)) = (&job.written, &tried.error)
        && tried.outcome == Outcome::Invalid
    {
        add(&mut findings, written.refused(&job.cluster.name, error));
    }
    let conflict = tried.outcome == Outcome::Conflict;
    let (message_ko, message_en) = tried.message.clone().unzip();
    CheckedView {
        cluster: job.cluster.name.clone(),
        r#ref: job.reference.to_string(),
        outcome: tried.outcome,
        findings,
        diff: if job.kind.is_some() { diff(&before, &after) } else { Vec::new() },
        yaml: after,
        live_yaml: live_yaml(job, tried),
        live_version: tried.live.as_ref().filter(|_| conflict).map(|live| version_of(live).to_owned()),
        message_ko,
        message_en,
    }
}
