//! Everything that is stored, with findings, against the baseline and against the other cluster.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::Value;
use smov_cluster::kinds::Kind;
use smov_console::view::configuration::{BaselineState, MissingView, ReachView, ResourceView, ResourcesView, TwinState};
use smov_istio::world::{WatchedKind, World};
use smov_model::names::KubeCluster;

use super::MeshConfiguration;
use super::affects::affects;
use super::findings::{Written, across, add};
use super::keeper::patient;
use super::object::{Reference, cleaned, rule_kinds, version_of, yaml};
use crate::kube_api::{CallError, Cluster};

/// One cluster's rules as they are stored.
type Raw = BTreeMap<Reference, Value>;

/// What was read of a cluster.
struct Read<'a> {
    cluster: &'a Cluster,
    objects: Raw,
    /// Why not everything was read.
    error: Option<CallError>,
}

impl MeshConfiguration {
    /// All rules of the clusters that answer.
    pub(super) async fn raw(&self) -> BTreeMap<String, Raw> {
        let read = join_all(self.0.clusters.iter().map(read)).await;
        read.into_iter().filter(|read| read.error.is_none()).map(|read| (read.cluster.name.clone(), read.objects)).collect()
    }

    pub(super) async fn read_all(&self) -> ResourcesView {
        let (read, baseline) = tokio::join!(join_all(self.0.clusters.iter().map(read)), self.baseline());
        let mut view = ResourcesView {
            kinds: rule_kinds().map(|kind| (kind.kind.to_owned(), kind.api_version())).collect(),
            clusters: read.iter().map(reach).collect(),
            ..ResourcesView::default()
        };
        for own in &read {
            let wanted: Option<Raw> = baseline.map(|baseline| rules_of(baseline.of(&own.cluster.name)));
            let known = self.0.worlds.of(&own.cluster.name);
            let world = known.as_ref().map(|known| with_rules(&known.world, own));
            let findings =
                world.as_ref().map(|world| across(world, known.as_ref().is_some_and(|known| known.complete))).unwrap_or_default();
            for (reference, object) in &own.objects {
                let Some(kind) = reference.kind() else { continue };
                let clean = cleaned(object, kind);
                let text = yaml(&clean);
                let mut shown = ResourceView {
                    cluster: own.cluster.name.clone(),
                    kind: reference.kind.clone(),
                    api_version: kind.api_version(),
                    namespace: reference.namespace.clone(),
                    name: reference.name.clone(),
                    resource_version: version_of(object).to_owned(),
                    generation: object["metadata"]["generation"].as_i64(),
                    created: object["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned(),
                    affects: affects(&clean, world.as_ref()),
                    twin: twin(reference, object, own.cluster, &read),
                    ..ResourceView::default()
                };
                if let Ok(written) = Written::read(&own.cluster.name, &text) {
                    add(&mut shown.findings, written.alone(&own.cluster.name));
                    add(&mut shown.findings, written.among(&own.cluster.name, &findings));
                }
                (shown.baseline, shown.baseline_yaml) = against(wanted.as_ref(), reference, &clean);
                shown.object = clean;
                shown.yaml = text;
                view.resources.push(shown);
            }
            if own.error.is_none() {
                let absent = wanted.into_iter().flatten().filter(|(reference, _)| !own.objects.contains_key(reference));
                view.missing.extend(absent.map(|(reference, object)| MissingView {
                    cluster: own.cluster.name.clone(),
                    kind: reference.kind,
                    namespace: reference.namespace,
                    name: reference.name,
                    yaml: yaml(&object),
                }));
            }
        }
        view
    }
}

async fn read(cluster: &Cluster) -> Read<'_> {
    let lists = rule_kinds().map(|kind| async move { (kind, patient(cluster, cluster.list(kind, None)).await) });
    let mut read = Read { cluster, objects: Raw::new(), error: None };
    for (kind, list) in join_all(lists).await {
        match list {
            Ok(objects) => read.objects.extend(objects.into_iter().map(|object| named(kind, object))),
            // A server without this kind has no objects of it.
            Err(CallError::Refused { code: 404, .. }) => {}
            Err(error) => read.error = read.error.or(Some(error)),
        }
    }
    read
}

/// The items of a list do not say their kind.
fn named(kind: &Kind, mut object: Value) -> (Reference, Value) {
    object["apiVersion"] = Value::from(kind.api_version());
    object["kind"] = Value::from(kind.kind);
    (Reference::of(&object), object)
}

fn reach(read: &Read<'_>) -> ReachView {
    let told = |ko: &str, en: &str, error: &CallError| (Some(format!("{ko}: {error}")), Some(format!("{en}: {error}")));
    let (reason_ko, reason_en) = match &read.error {
        None => (None, None),
        Some(error @ CallError::Unreachable { .. }) => told("연결할 수 없습니다", "it cannot be reached", error),
        Some(error) => told("일부를 읽지 못했습니다", "not everything could be read", error),
    };
    ReachView { name: read.cluster.name.clone(), reachable: read.error.is_none(), reason_ko, reason_en }
}

fn rules_of(objects: &[Value]) -> Raw {
    let rule = |object: &Value| {
        let reference = Reference::of(object);
        let kind = reference.kind()?;
        Some((reference, cleaned(object, kind)))
    };
    objects.iter().filter_map(rule).collect()
}

/// The world with the rules that were just read.
fn with_rules(world: &World, read: &Read<'_>) -> World {
    let mut world = world.clone();
    let Ok(cluster) = read.cluster.name.parse::<KubeCluster>() else { return world };
    let rules = WatchedKind::ALL.into_iter().filter(|kind| rule_kinds().any(|rule| rule.kind == kind.as_str()));
    for kind in rules.filter(|_| read.error.is_none()) {
        world.replace(&cluster, kind, read.objects.values().filter(|object| object["kind"] == kind.as_str()));
    }
    world
}

fn twin(reference: &Reference, object: &Value, own: &Cluster, all: &[Read<'_>]) -> TwinState {
    let mut state = if all.len() > 1 { TwinState::Same } else { TwinState::Unknown };
    for other in all.iter().filter(|other| other.cluster.name != own.name) {
        match other.objects.get(reference) {
            None if other.error.is_some() => return TwinState::Unknown,
            None => state = TwinState::Absent,
            Some(theirs) if theirs["spec"] != object["spec"] && state == TwinState::Same => state = TwinState::Differs,
            Some(_) => {}
        }
    }
    state
}

/// Only what a reset would put back counts as drift.
fn against(wanted: Option<&Raw>, reference: &Reference, clean: &Value) -> (BaselineState, Option<String>) {
    match wanted.map(|wanted| wanted.get(reference)) {
        None => (BaselineState::Unknown, None),
        Some(None) => (BaselineState::Added, None),
        Some(Some(wanted)) if wanted["spec"] == clean["spec"] => (BaselineState::Same, None),
        Some(Some(wanted)) => (BaselineState::Changed, Some(yaml(wanted))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn drift_is_what_a_reset_would_put_back() {
        let object = |weight: u32, label: &str| json!({ "kind": "VirtualService", "metadata": { "name": "a", "namespace": "n", "labels": { "x": label } }, "spec": { "weight": weight } });
        let wanted = rules_of(&[object(70, "a"), json!({ "kind": "Service", "metadata": { "name": "s" } })]);
        assert_eq!(wanted.len(), 1);
        let reference = Reference::of(&object(70, "a"));
        let state = |object: &Value, wanted: Option<&Raw>| against(wanted, &reference, object);
        assert_eq!(state(&object(70, "b"), Some(&wanted)), (BaselineState::Same, None));
        let (changed, text) = state(&object(50, "a"), Some(&wanted));
        assert_eq!((changed, text.is_some_and(|text| text.contains("weight: 70"))), (BaselineState::Changed, true));
        assert_eq!(state(&object(50, "a"), Some(&Raw::new())).0, BaselineState::Added);
        assert_eq!(state(&object(50, "a"), None).0, BaselineState::Unknown);
    }
}
