//! The baseline: the objects of `k8s/` that each cluster starts with, and the way back to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::link::{self, ChangeError};
use crate::failure::{Exit, Failure};
use crate::kube_api::{CallError, Cluster, Write, kind_named};
use crate::kustomize::{self, BuildError, BuiltIn, Disk, Files};
use crate::mesh::store::Store;
use crate::scenario::items::{NAMESPACE, SWITCHES};
use crate::text;

/// The clusters of `smov up`, with what people call the clouds and a region as real nodes have one.
pub(crate) const CLUSTERS: [LocalCluster; 2] = [
    LocalCluster { name: "ctx1", cloud: "NaverCloud", region: "kr-navercloud-1", zone: "kr-navercloud-1a" },
    LocalCluster { name: "ctx2", cloud: "NHN Cloud", region: "kr-nhncloud-1", zone: "kr-nhncloud-1a" },
];

/// One local cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalCluster {
    pub(crate) name: &'static str,
    pub(crate) cloud: &'static str,
    pub(crate) region: &'static str,
    pub(crate) zone: &'static str,
}

/// File names of the choices that a state folder remembers.
pub(crate) const STORE_NOTE: &str = "store";
pub(crate) const MANIFESTS_NOTE: &str = "manifests";
/// Says that the folder's clusters began without a theatre.
pub(crate) const EMPTY_NOTE: &str = "empty";

/// What each cluster starts with.
#[derive(Debug, Clone)]
pub(crate) struct Baseline {
    objects: BTreeMap<String, Vec<Value>>,
}

/// An object that the way back changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) cluster: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `configured`, `created` or `deleted`.
    pub(crate) what: &'static str,
}

impl Baseline {
    /// Builds the objects of both clusters for a store, from the built-in `k8s/` or from a folder.
    ///
    /// A folder may be a copy of `k8s/` (it has `overlays/`), have a folder per cluster (`ctx1`, `ctx2`), or be one for both.
    pub(crate) fn build(manifests: Option<&Path>, store: &Store) -> Result<Self, BuildError> {
        let embedded = matches!(store, Store::Sqlite);
        let overlay = if embedded { "overlays/local-embedded" } else { "overlays/local-redis" };
        let (files, root): (&dyn Files, PathBuf) = match manifests {
            None => (&BuiltIn, PathBuf::new()),
            Some(folder) => (&Disk, folder.to_owned()),
        };
        let has = |path: &Path| !files.list(path).is_empty();
        let mut objects = BTreeMap::new();
        for cluster in CLUSTERS {
            let candidates = [root.join(overlay).join(cluster.name), root.join(cluster.name)];
            let folder = candidates.into_iter().find(|path| has(path)).unwrap_or_else(|| root.clone());
            let mut built = kustomize::build(files, &folder)?;
            if let Store::External(url) = store {
                point_at(&mut built, url);
            }
            built.sort_by_key(rank);
            objects.insert(cluster.name.to_owned(), built);
        }
        Ok(Self { objects })
    }

    /// Of clusters that are not local: what `k8s/overlays/two-clusters` brings.
    pub(crate) fn of_clouds() -> Result<Self, BuildError> {
        let mut objects = BTreeMap::new();
        for cluster in CLUSTERS {
            let built = kustomize::build(&BuiltIn, &Path::new("overlays/two-clusters").join(cluster.name))?;
            objects.insert(cluster.name.to_owned(), built);
        }
        Ok(Self { objects })
    }

    /// What a cluster begins with when the theatre comes later, by whoever deploys it: nothing.
    pub(crate) fn empty() -> Self {
        Self { objects: BTreeMap::new() }
    }

    /// The baseline that a state folder was started with.
    pub(crate) fn of_state(folder: &Path) -> Result<Self, Failure> {
        let note =
            |name: &str| std::fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        if note(EMPTY_NOTE).is_some() {
            return Err(
                Failure::new(Exit::Usage, text::EMPTY_HAS_NO_BASELINE, &[&folder.display()]).hint(text::EMPTY_HAS_NO_BASELINE_HINT, &[])
            );
        }
        let store = match note(STORE_NOTE).as_deref() {
            None | Some("sqlite") => Store::Sqlite,
            Some("redis") => Store::Redis(PathBuf::new()),
            Some(url) => Store::External(url.to_owned()),
        };
        let manifests = note(MANIFESTS_NOTE).map(PathBuf::from);
        Self::build(manifests.as_deref(), &store).map_err(|error| Failure::new(Exit::Usage, text::MANIFEST_BROKEN, &[&error]))
    }

    /// The objects of one cluster, in an order in which they can be created.
    pub(crate) fn of(&self, cluster: &str) -> &[Value] {
        self.objects.get(cluster).map_or(&[], Vec::as_slice)
    }
}

/// A text that is equal when the objects are.
pub(crate) fn fingerprint<'a>(objects: impl Iterator<Item = &'a Value>) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write as _;
    let mut digest = Sha256::new();
    objects.for_each(|object| digest.update(object.to_string()));
    digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Namespaces first, then what pods refer to, then rules, then what makes pods.
fn rank(object: &Value) -> u8 {
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" => 0,
        "ServiceAccount" | "ConfigMap" | "Secret" | "PersistentVolumeClaim" => 1,
        "Service" | "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => 2,
        "Deployment" | "Pod" | "ReplicaSet" => 4,
        _ => 3,
    }
}

/// The services use an external Redis; the pod is not needed.
fn point_at(objects: &mut [Value], url: &str) {
    for object in objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
        if object["metadata"]["name"] == "redis" {
            object["spec"]["replicas"] = json!(0);
        }
        for container in object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut).into_iter().flatten() {
            let variables = container["env"].as_array_mut().into_iter().flatten();
            for variable in variables.filter(|variable| variable["name"] == "STORE_URL") {
                variable["value"] = Value::from(url);
            }
        }
    }
}

/// Kinds that the way back puts right: traffic and security rules. Objects of these kinds that the baseline does not have go.
const RULE_KINDS: [&str; 9] = [
    "VirtualService",
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "Sidecar",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "Telemetry",
];

/// Puts rules (and the number of replicas) of all clusters back; gives what had to change.
pub(crate) async fn reset(baseline: &Baseline, clusters: &[Cluster]) -> Result<Vec<Change>, CallError> {
    let mut changes = Vec::new();
    // The link first: the other cluster is reached through it.
    for cluster in clusters.iter().filter(|cluster| cluster.name == link::CLUSTER) {
        reset_link(cluster, &mut changes).await?;
    }
    for cluster in clusters {
        let wanted = baseline.of(&cluster.name);
        for word in RULE_KINDS {
            let kind = kind_named(word).expect("Istio's kinds are known");
            let of_kind: Vec<&Value> = wanted.iter().filter(|object| object["kind"] == word).collect();
            for live in cluster.list(kind, None).await? {
                let known = of_kind.iter().find(|object| same_object(object, &live));
                let change = |what| change_of(cluster, &live, word, what);
                match known {
                    None => {
                        let change = change("deleted");
                        cluster.delete(kind, &change.namespace, &change.name).await?;
                        changes.push(change);
                    }
                    Some(object) => {
                        if let Some(patch) = exact_spec(object, &live) {
                            let change = change("configured");
                            cluster.patch(kind, &change.namespace, &change.name, &patch).await?;
                            changes.push(change);
                        }
                    }
                }
            }
            for object in of_kind {
                if cluster.apply(kind, object, Write::default()).await? == "created" {
                    changes.push(change_of(cluster, object, word, "created"));
                }
            }
        }
        reset_switches(cluster, wanted, &mut changes).await?;
        reset_replicas(cluster, wanted, &mut changes).await?;
    }
    Ok(changes)
}

/// A plain link again, where there is one.
async fn reset_link(cluster: &Cluster, changes: &mut Vec<Change>) -> Result<(), CallError> {
    match link::in_force(cluster).await {
        Ok(now) if link::described(&now) != Some(smov_link::Settings::default()) => {
            match link::change(cluster, link::Change::RESTORE).await {
                Ok(_) => changes.push(Change {
                    cluster: cluster.name.clone(),
                    kind: "ConfigMap".to_owned(),
                    namespace: link::NAMESPACE.to_owned(),
                    name: link::NAME.to_owned(),
                    what: "configured",
                }),
                Err(ChangeError::Call(error)) => return Err(error),
                Err(error) => tracing::warn!(%error, "the link was not restored"),
            }
        }
        Err(ChangeError::Call(error @ CallError::Unreachable { .. })) => return Err(error),
        // None there, not for this client to read, or plain already.
        Ok(_) | Err(_) => {}
    }
    Ok(())
}

/// No pod is to fail any more, unless the baseline itself has switches.
async fn reset_switches(cluster: &Cluster, wanted: &[Value], changes: &mut Vec<Change>) -> Result<(), CallError> {
    let kind = kind_named("ConfigMap").expect("ConfigMap is a known kind");
    if wanted.iter().any(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == SWITCHES) {
        return Ok(());
    }
    let live = match cluster.get(kind, NAMESPACE, SWITCHES).await {
        // Not for this client to read, so not for it to change either.
        Err(CallError::Refused { code: 403, .. }) => return Ok(()),
        other => other?,
    };
    if let Some(live) = live {
        cluster.delete(kind, NAMESPACE, SWITCHES).await?;
        changes.push(change_of(cluster, &live, "ConfigMap", "deleted"));
    }
    Ok(())
}

async fn reset_replicas(cluster: &Cluster, wanted: &[Value], changes: &mut Vec<Change>) -> Result<(), CallError> {
    let kind = kind_named("Deployment").expect("Deployment is a known kind");
    for object in wanted.iter().filter(|object| object["kind"] == "Deployment") {
        let (namespace, name) = (text_of(object, "namespace"), text_of(object, "name"));
        let Some(live) = cluster.get(kind, &namespace, &name).await? else { continue };
        if live["spec"]["replicas"] != object["spec"]["replicas"] {
            let patch = json!({"metadata": {"annotations": {link::RESTORE: null}}, "spec": {"replicas": object["spec"]["replicas"]}});
            cluster.patch(kind, &namespace, &name, &patch).await?;
            changes.push(change_of(cluster, object, "Deployment", "configured"));
        }
    }
    Ok(())
}

fn text_of(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

fn same_object(one: &Value, other: &Value) -> bool {
    one["metadata"]["name"] == other["metadata"]["name"] && one["metadata"]["namespace"] == other["metadata"]["namespace"]
}

fn change_of(cluster: &Cluster, object: &Value, kind: &str, what: &'static str) -> Change {
    Change {
        cluster: cluster.name.clone(),
        kind: kind.to_owned(),
        namespace: text_of(object, "namespace"),
        name: text_of(object, "name"),
        what,
    }
}

/// The merge patch that makes the live spec exactly the wanted one.
fn exact_spec(wanted: &Value, live: &Value) -> Option<Value> {
    if wanted["spec"] == live["spec"] {
        return None;
    }
    Some(json!({"spec": crate::three_way::exact(&wanted["spec"], &live["spec"])}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_url(baseline: &Baseline, cluster: &str) -> String {
        let deployment = baseline
            .of(cluster)
            .iter()
            .find(|object| object["kind"] == "Deployment" && object["metadata"]["labels"]["app"] == "user-service")
            .unwrap();
        let variables = deployment.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
        variables.iter().find(|variable| variable["name"] == "STORE_URL").unwrap()["value"].as_str().unwrap().to_owned()
    }

    fn redis_replicas(baseline: &Baseline) -> Value {
        baseline.of("ctx2").iter().find(|object| object["kind"] == "Deployment" && object["metadata"]["name"] == "redis").unwrap()["spec"]["replicas"].clone()
    }

    #[test]
    fn the_store_decides_where_the_services_look() {
        let redis = Baseline::build(None, &Store::Redis("x".into())).unwrap();
        assert_eq!(store_url(&redis, "ctx1"), "redis://$(REDIS_SERVICE_HOST):$(REDIS_SERVICE_PORT)");
        assert_eq!(redis_replicas(&redis), 1);
        let sqlite = Baseline::build(None, &Store::Sqlite).unwrap();
        assert_eq!(store_url(&sqlite, "ctx2"), "sqlite:/var/lib/theater/theater.db");
        assert_eq!(redis_replicas(&sqlite), 0);
        let external = Baseline::build(None, &Store::External("redis://db:6379".into())).unwrap();
        assert_eq!(store_url(&external, "ctx2"), "redis://db:6379");
        assert_eq!(redis_replicas(&external), 0);
    }

    #[test]
    fn namespaces_come_first_and_deployments_last() {
        let baseline = Baseline::build(None, &Store::Sqlite).unwrap();
        let kinds: Vec<_> = baseline.of("ctx1").iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.first(), Some(&"Namespace"));
        assert_eq!(kinds.last(), Some(&"Deployment"));
        assert_ne!(fingerprint(baseline.of("ctx1").iter()), fingerprint(baseline.of("ctx2").iter()));
    }

    #[test]
    fn the_way_back_takes_additions_out() {
        let wanted = json!({"spec": {"http": [1], "hosts": ["a"]}});
        let live = json!({"spec": {"http": [2], "hosts": ["a"], "exportTo": ["."]}});
        assert_eq!(exact_spec(&wanted, &live), Some(json!({"spec": {"http": [1], "exportTo": null}})));
        assert_eq!(exact_spec(&wanted, &wanted), None);
    }

    #[test]
    fn a_folder_for_both_clusters_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n").unwrap();
        let baseline = Baseline::build(Some(folder.path()), &Store::Sqlite).unwrap();
        assert_eq!(baseline.of("ctx1").len(), 1);
        assert_eq!(baseline.of("ctx2").len(), 1);
        std::fs::write(folder.path().join("a.yaml"), "kind: [broken").unwrap();
        let error = Baseline::build(Some(folder.path()), &Store::Sqlite).unwrap_err();
        assert!(error.to_string().contains("a.yaml"), "{error}");
    }
}
