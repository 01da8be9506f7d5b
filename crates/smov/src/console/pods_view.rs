//! Pods, Deployments and nodes of one cluster as the page shows them, from the objects of its API server.

use std::collections::BTreeMap;

use serde_json::Value;
use smov_console::view::cluster::{DeploymentView, NodeView, PodView, PodsView, Sight, StoreKind, StoreView};

/// The objects of one cluster that the page shows.
#[derive(Debug, Default)]
pub(crate) struct PodsState {
    objects: BTreeMap<(&'static str, String), Value>,
    /// Why the API server cannot be read; `None` = it answers.
    error: Option<String>,
    as_of: u64,
}

/// Kinds that are shown.
const SHOWN: [&str; 3] = ["Pod", "Deployment", "Node"];

fn shown(kind: &str) -> Option<&'static str> {
    SHOWN.into_iter().find(|shown| *shown == kind)
}

fn key(object: &Value) -> String {
    format!("{}/{}", object["metadata"]["namespace"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default())
}

impl PodsState {
    /// An object is new or changed.
    pub(crate) fn apply(&mut self, kind: &str, object: &Value) {
        if let Some(kind) = shown(kind) {
            self.objects.insert((kind, key(object)), object.clone());
        }
    }

    /// An object is gone.
    pub(crate) fn remove(&mut self, kind: &str, object: &Value) {
        if let Some(kind) = shown(kind) {
            self.objects.remove(&(kind, key(object)));
        }
    }

    /// These are all objects of a kind.
    pub(crate) fn replace(&mut self, kind: &str, objects: &[Value]) {
        if let Some(kind) = shown(kind) {
            self.objects.retain(|(known, _), _| *known != kind);
            self.objects.extend(objects.iter().map(|object| ((kind, key(object)), object.clone())));
        }
    }

    /// The API server answered, or not.
    pub(crate) fn seen(&mut self, now: u64, error: Option<String>) {
        if error.is_none() {
            self.as_of = now;
        }
        self.error = error;
    }

    fn of<'a>(&'a self, kind: &'static str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |((known, _), _)| *known == kind).map(|(_, object)| object)
    }

    /// What the page shows of the cluster.
    pub(crate) fn view(&self) -> PodsView {
        PodsView {
            state: if self.error.is_none() && self.as_of > 0 { Sight::Ok } else { Sight::Unknown },
            as_of: self.as_of,
            error: self.error.clone(),
            nodes: self.of("Node").map(node).collect(),
            deployments: self.of("Deployment").map(deployment).collect(),
            pods: self.of("Pod").map(pod).collect(),
        }
    }

    /// The theatre's store as this cluster's objects tell it; `None` = they do not.
    pub(crate) fn store(&self, cluster: &str) -> Option<StoreView> {
        let redis = self
            .of("Deployment")
            .find(|deployment| deployment["metadata"]["name"] == "redis" && deployment["metadata"]["namespace"] == "theater-msa")?;
        if redis["spec"]["replicas"].as_u64() == Some(0) {
            return self.configured_store();
        }
        let pod = self.of("Pod").map(pod).find(|pod| pod.app == "redis");
        let ready = pod.as_ref().map(|pod| pod.all_ready() && pod.status == "Running");
        Some(StoreView {
            kind: StoreKind::Redis,
            cluster: Some(cluster.to_owned()),
            pod: pod.map(|pod| pod.name),
            ready: Some(ready.unwrap_or(false)),
        })
    }

    /// Where the services of this cluster are told to look, when redis has no pod.
    fn configured_store(&self) -> Option<StoreView> {
        let url = self.of("Pod").find_map(|pod| {
            let containers = pod["spec"]["containers"].as_array()?;
            containers
                .iter()
                .flat_map(|container| container["env"].as_array().into_iter().flatten())
                .find(|variable| variable["name"] == "STORE_URL")?["value"]
                .as_str()
        })?;
        let ready = self.of("Pod").map(pod).filter(|pod| pod.app == "user-service").any(|pod| pod.all_ready());
        let kind = if url.starts_with("sqlite:") { StoreKind::Sqlite } else { StoreKind::Redis };
        Some(StoreView { kind, cluster: None, pod: None, ready: Some(ready) })
    }
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn optional(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn number(object: &Value, pointer: &str) -> u32 {
    object.pointer(pointer).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

fn node(object: &Value) -> NodeView {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    NodeView {
        name: text(object, "/metadata/name"),
        ready: conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
    }
}

fn deployment(object: &Value) -> DeploymentView {
    DeploymentView {
        namespace: text(object, "/metadata/namespace"),
        name: text(object, "/metadata/name"),
        app: text(object, "/metadata/labels/app"),
        ready: number(object, "/status/readyReplicas"),
        wanted: number(object, "/spec/replicas"),
        restore: super::restore::of_deployment(object),
    }
}

fn pod(object: &Value) -> PodView {
    let statuses = object["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
    let wanted = object["spec"]["containers"].as_array().map_or(0, Vec::len);
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    let restarts = statuses.iter().map(|status| number(status, "/restartCount")).sum();
    PodView {
        namespace: text(object, "/metadata/namespace"),
        name: text(object, "/metadata/name"),
        app: text(object, "/metadata/labels/app"),
        version: optional(object, "/metadata/labels/version"),
        node: optional(object, "/spec/nodeName"),
        phase: text(object, "/status/phase"),
        ready: format!("{ready}/{wanted}"),
        status: status_word(object, statuses),
        restarts,
        started: optional(object, "/status/startTime").and_then(|time| micros(&time)),
        ip: optional(object, "/status/podIP"),
        containers: containers(object),
    }
}

/// Names of the containers, sidecars that are written as init containers among them.
fn containers(object: &Value) -> Vec<String> {
    let of = |list: &str| object["spec"][list].as_array().map_or(&[][..], Vec::as_slice);
    let sidecars = of("initContainers").iter().filter(|container| container["restartPolicy"] == "Always");
    of("containers").iter().chain(sidecars).filter_map(|container| Some(container["name"].as_str()?.to_owned())).collect()
}

/// The STATUS column of `kubectl get pods`.
fn status_word(object: &Value, statuses: &[Value]) -> String {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".to_owned();
    }
    let waiting = statuses.iter().find_map(|status| optional(status, "/state/waiting/reason"));
    let ended = || {
        statuses.iter().find_map(|status| {
            status["state"]["terminated"]
                .is_object()
                .then(|| optional(status, "/state/terminated/reason").unwrap_or_else(|| "Error".to_owned()))
        })
    };
    waiting.or_else(ended).unwrap_or_else(|| text(object, "/status/phase"))
}

pub(super) fn micros(time: &str) -> Option<u64> {
    let timestamp: jiff::Timestamp = time.parse().ok()?;
    u64::try_from(timestamp.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn a_pod(state: &Value, ready: bool) -> Value {
        json!({"metadata": {"name": "redis-1", "namespace": "theater-msa", "labels": {"app": "redis"}}, "spec": {"containers": [{"name": "redis"}]},
               "status": {"phase": "Running", "startTime": "2026-11-22T10:00:00Z", "containerStatuses": [{"ready": ready, "restartCount": 2, "state": state}]}})
    }

    #[test]
    fn a_pod_reads_as_kubectl_prints_it() {
        let view = pod(&a_pod(&json!({"running": {}}), true));
        assert_eq!((view.ready.as_str(), view.status.as_str(), view.restarts), ("1/1", "Running", 2));
        assert_eq!(view.started, Some(1_795_341_600_000_000));
        assert_eq!(pod(&a_pod(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), false)).status, "CrashLoopBackOff");
        let mut ending = a_pod(&json!({"running": {}}), true);
        ending["metadata"]["deletionTimestamp"] = json!("2026-11-22T10:00:01Z");
        assert_eq!(pod(&ending).status, "Terminating");
    }

    #[test]
    fn a_cluster_that_was_never_read_is_unknown() {
        let mut state = PodsState::default();
        assert_eq!(state.view().state, Sight::Unknown);
        state.seen(5, None);
        assert_eq!(state.view().state, Sight::Ok);
        state.seen(9, Some("away".to_owned()));
        assert_eq!((state.view().state, state.view().as_of), (Sight::Unknown, 5));
    }

    #[test]
    fn the_store_is_what_the_objects_say() {
        let mut state = PodsState::default();
        assert_eq!(state.store("ctx2"), None);
        state.apply("Deployment", &json!({"metadata": {"name": "redis", "namespace": "theater-msa"}, "spec": {"replicas": 1}}));
        assert_eq!(state.store("ctx2").map(|store| (store.kind, store.ready)), Some((StoreKind::Redis, Some(false))));
        state.apply("Pod", &a_pod(&json!({"running": {}}), true));
        assert_eq!(state.store("ctx2").and_then(|store| store.ready), Some(true));
    }
}
