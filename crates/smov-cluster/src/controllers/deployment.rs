//! Deployment → ReplicaSets: one per pod template, the newest grows while the older shrink.
//!
//! A port of the rules of Kubernetes' deployment controller (rolling update, Recreate, pause, proportional scaling, revision history, conditions);
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/>.

mod status;
mod template;

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::template::{same_template, template_hash};
use super::driver::{Again, Key, Source, drive};
use super::fields::{
    annotation, controller_reference, has_controller, is_controlled_by, is_deleting, is_finished, label_selector_matches, labels, name,
    namespace, number, text,
};
use super::rollout::{self, Old, Rolling};
use super::writer;
use crate::error::ApiError;
use crate::kinds::{DEPLOYMENT, POD, REPLICA_SET};
use crate::registry::{DeleteOptions, Object, Registry, Selector};

/// Label that tells the pods of one template from those of another.
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of the Deployment that its ReplicaSets do not take over.
const NOT_COPIED: [&str; 4] = ["kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAXIMUM];

/// Runs the controller until shutdown.
pub(super) async fn run(registry: Registry, shutdown: CancellationToken) {
    let sources = vec![Source::itself(&DEPLOYMENT), Source::owned_by(&REPLICA_SET, "Deployment"), pods()];
    let reconciler = Deployments { registry: registry.clone() };
    drive("deployment", registry, sources, move |key| reconciler.reconcile(key), shutdown).await;
}

/// A pod that is gone matters to Recreate; its Deployment is the name of its ReplicaSet without the hash.
fn pods() -> Source {
    Source::new(&POD, |event| {
        let pod = &event.object;
        let hash = super::fields::label(pod, TEMPLATE_HASH);
        let owner = super::fields::controller(pod, "ReplicaSet").map(|owner| text(owner, "/name"));
        let deployment = owner.zip(hash).and_then(|(owner, hash)| owner.strip_suffix(hash)?.strip_suffix('-'));
        deployment.map(|deployment| Key::new(namespace(pod), deployment)).into_iter().collect()
    })
}

struct Deployments {
    registry: Registry,
}

/// A Deployment's ReplicaSets: the one of the present template, and the others, oldest first.
struct Sets {
    new: Option<Object>,
    old: Vec<Object>,
}

impl Sets {
    fn all(&self) -> impl Iterator<Item = &Object> {
        self.old.iter().chain(self.new.as_ref())
    }
}

impl Deployments {
    fn reconcile(&self, key: &Key) -> Result<Again, ApiError> {
        let Ok(deployment) = self.registry.get(&DEPLOYMENT, &key.namespace, &key.name) else { return Ok(None) };
        if is_deleting(&deployment) {
            return Ok(None);
        }
        let mut sets = self.find_sets(&deployment)?;
        let paused = deployment["spec"]["paused"] == true;
        if self.is_scaling(&deployment, &sets) || paused {
            self.scale_in_proportion(&deployment, &mut sets)?;
        } else if rollout::is_recreate(&deployment) {
            self.recreate(&deployment, &mut sets)?;
        } else {
            self.roll(&deployment, &mut sets)?;
        }
        let done = status::write(&self.registry, &deployment, sets.new.as_ref(), &sets.old)?;
        if done.complete && !paused {
            self.forget_history(&deployment, &sets.old)?;
        }
        Ok(done.again.map(Duration::from_secs))
    }

    /// The sets that this Deployment controls; those that match and belong to nobody are adopted.
    fn find_sets(&self, deployment: &Object) -> Result<Sets, ApiError> {
        let mut sets = Vec::new();
        for set in self.registry.list(&REPLICA_SET, Some(namespace(deployment)), &Selector::default()).0 {
            if is_controlled_by(&set, deployment) {
                sets.push(set);
            } else if !has_controller(&set) && !is_deleting(&set) && label_selector_matches(&deployment["spec"]["selector"], &labels(&set))
            {
                let reference = controller_reference(deployment);
                sets.push(self.modify(&set, |set| add_owner(set, &reference))?);
            }
        }
        sets.sort_by_key(|set| (text(set, "/metadata/creationTimestamp").to_owned(), revision(set), name(set).to_owned()));
        let wanted = &deployment["spec"]["template"];
        let new = sets.iter().position(|set| same_template(&set["spec"]["template"], wanted)).map(|index| sets.remove(index));
        Ok(Sets { new, old: sets })
    }

    /// True when `spec.replicas` changed since the sets were last sized.
    fn is_scaling(&self, deployment: &Value, sets: &Sets) -> bool {
        let wish = rollout::replicas(deployment);
        sets.all()
            .filter(|set| rollout::replicas(set) > 0)
            .any(|set| annotation(set, DESIRED).and_then(|desired| desired.parse::<i64>().ok()).is_some_and(|desired| desired != wish))
    }

    fn scale_in_proportion(&self, deployment: &Object, sets: &mut Sets) -> Result<(), ApiError> {
        let wish = rollout::replicas(deployment);
        let mut active: Vec<Object> = sets.all().filter(|set| rollout::replicas(set) > 0).cloned().collect();
        if active.is_empty() {
            active.extend(sets.new.clone().or_else(|| sets.old.last().cloned()));
        }
        let sizes: Vec<i64> = match active.as_slice() {
            [_] => vec![wish],
            _ if rollout::is_recreate(deployment) => active.iter().map(rollout_size).collect(),
            _ => {
                let (surge, _) = rollout::bounds(deployment, wish);
                let sizes: Vec<i64> = active.iter().map(rollout_size).collect();
                rollout::proportional(&sizes, if wish == 0 { 0 } else { wish + surge })
            }
        };
        for (set, size) in active.iter().zip(sizes) {
            let resized = self.resize(deployment, set, size)?;
            replace(sets, resized);
        }
        Ok(())
    }

    fn recreate(&self, deployment: &Object, sets: &mut Sets) -> Result<(), ApiError> {
        for set in sets.old.clone() {
            if rollout::replicas(&set) > 0 {
                let resized = self.resize(deployment, &set, 0)?;
                replace(sets, resized);
            }
        }
        if self.old_pods_run(deployment, sets) {
            return Ok(());
        }
        let new = self.ensure_new(deployment, sets, rollout::replicas(deployment))?;
        let resized = self.resize(deployment, &new, rollout::replicas(deployment))?;
        replace(sets, resized);
        Ok(())
    }

    /// True while a pod of an old template is still there.
    fn old_pods_run(&self, deployment: &Value, sets: &Sets) -> bool {
        let pods = self.registry.list(&POD, Some(namespace(deployment)), &Selector::default()).0;
        pods.iter().any(|pod| !is_finished(pod) && sets.old.iter().any(|set| is_controlled_by(pod, set)))
    }

    fn roll(&self, deployment: &Object, sets: &mut Sets) -> Result<(), ApiError> {
        let wish = rollout::replicas(deployment);
        let (surge, unavailable) = rollout::bounds(deployment, wish);
        let old_total: i64 = sets.old.iter().map(rollout_size).sum();
        let new = self.ensure_new(deployment, sets, rollout::new_replicas(wish, surge, 0, old_total))?;
        let size = rollout_size(&new);
        let wanted = if size > wish { wish } else { rollout::new_replicas(wish, surge, size, old_total + size) };
        let new = self.resize(deployment, &new, wanted)?;
        replace(sets, new.clone());
        let old: Vec<Old> = sets.old.iter().map(|set| Old { replicas: rollout_size(set), available: available(set) }).collect();
        // Sizes of a set that its own controller has not seen yet say nothing about availability.
        let new_available = if is_observed(&new) { available(&new).min(rollout_size(&new)) } else { 0 };
        let rolling = Rolling { wish, unavailable, new_replicas: rollout_size(&new), new_available };
        for (set, size) in sets.old.clone().iter().zip(rollout::shrink_old(rolling, &old)) {
            let resized = self.resize(deployment, set, size)?;
            replace(sets, resized);
        }
        Ok(())
    }

    /// The ReplicaSet of the present template with the newest revision; made where there is none.
    fn ensure_new(&self, deployment: &Object, sets: &mut Sets, size: i64) -> Result<Object, ApiError> {
        let newest_old = sets.old.iter().map(|set| revision(set)).max().unwrap_or(0);
        let new = match sets.new.clone() {
            Some(new) => self.keep_up(deployment, &new, newest_old)?,
            None => self.create_set(deployment, newest_old + 1, size)?,
        };
        let current = revision(&new).to_string();
        if annotation(deployment, REVISION) != Some(&current) {
            self.registry.modify(&DEPLOYMENT, namespace(deployment), name(deployment), &writer("deployment-controller"), |deployment| {
                deployment["metadata"]["annotations"][REVISION] = json!(current);
                Ok(())
            })?;
        }
        sets.new = Some(new.clone());
        Ok(new)
    }

    /// What the set of the present template has of its Deployment: the newest revision, its annotations (`kubernetes.io/change-cause`), its patience.
    fn keep_up(&self, deployment: &Object, new: &Object, newest_old: i64) -> Result<Object, ApiError> {
        let mut wanted = copied_annotations(deployment);
        if revision(new) <= newest_old {
            wanted.insert(REVISION.to_owned(), json!((newest_old + 1).to_string()));
        }
        let seconds = number(deployment, "/spec/minReadySeconds").unwrap_or(0);
        let same = wanted.iter().all(|(key, value)| new["metadata"]["annotations"].get(key) == Some(value))
            && number(new, "/spec/minReadySeconds").unwrap_or(0) == seconds;
        if same {
            return Ok(new.clone());
        }
        self.modify(new, |set| {
            for (key, value) in &wanted {
                set["metadata"]["annotations"][key.as_str()] = value.clone();
            }
            if number(set, "/spec/minReadySeconds").unwrap_or(0) != seconds {
                set["spec"]["minReadySeconds"] = json!(seconds);
            }
            Ok(())
        })
    }

    fn create_set(&self, deployment: &Object, revision: i64, size: i64) -> Result<Object, ApiError> {
        let mut collisions = number(deployment, "/status/collisionCount").unwrap_or(0);
        loop {
            let hash = template_hash(&deployment["spec"]["template"], collisions);
            let object = new_set(deployment, &hash, revision, size);
            match self.registry.create(object, &writer("deployment-controller")) {
                Ok(written) => {
                    let message = format!("Scaled up replica set {} from 0 to {size}", name(&written.object));
                    self.event(deployment, "Normal", "ScalingReplicaSet", &message);
                    return Ok(written.object);
                }
                Err(error) if error.reason == "AlreadyExists" => collisions += 1,
                Err(error) => {
                    self.event(
                        deployment,
                        "Warning",
                        "ReplicaSetCreateError",
                        &format!("Failed to create new replica set: {}", error.message),
                    );
                    return Err(error);
                }
            }
        }
    }

    fn resize(&self, deployment: &Object, set: &Object, size: i64) -> Result<Object, ApiError> {
        let wish = rollout::replicas(deployment);
        let (surge, _) = rollout::bounds(deployment, wish);
        let (desired, maximum) = (wish.to_string(), (wish + surge).to_string());
        let before = rollout_size(set);
        let annotated = annotation(set, DESIRED) == Some(&desired) && annotation(set, MAXIMUM) == Some(&maximum);
        if before == size && annotated {
            return Ok(set.clone());
        }
        let resized = self.modify(set, |set| {
            set["spec"]["replicas"] = json!(size);
            set["metadata"]["annotations"][DESIRED] = json!(desired);
            set["metadata"]["annotations"][MAXIMUM] = json!(maximum);
            Ok(())
        })?;
        if before != size {
            let direction = if size > before { "up" } else { "down" };
            self.event(
                deployment,
                "Normal",
                "ScalingReplicaSet",
                &format!("Scaled {direction} replica set {} from {before} to {size}", name(set)),
            );
        }
        Ok(resized)
    }

    /// Deletes empty old sets beyond `revisionHistoryLimit`.
    fn forget_history(&self, deployment: &Value, old: &[Object]) -> Result<(), ApiError> {
        let limit = number(deployment, "/spec/revisionHistoryLimit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10);
        let mut idle: Vec<&Object> = old
            .iter()
            .filter(|set| {
                rollout_size(set) == 0 && number(set, "/status/replicas").unwrap_or(0) == 0 && is_observed(set) && !is_deleting(set)
            })
            .collect();
        idle.sort_by_key(|set| revision(set));
        for set in idle.iter().take(idle.len().saturating_sub(limit)) {
            self.registry.delete(&REPLICA_SET, namespace(set), name(set), &DeleteOptions::default())?;
        }
        Ok(())
    }

    fn modify(&self, set: &Value, change: impl FnMut(&mut Value) -> Result<(), ApiError>) -> Result<Object, ApiError> {
        Ok(self.registry.modify(&REPLICA_SET, namespace(set), name(set), &writer("deployment-controller"), change)?.object)
    }

    fn event(&self, deployment: &Value, severity: &str, reason: &str, message: &str) {
        self.registry.event(deployment, severity, reason, message, "deployment-controller");
    }
}

fn rollout_size(set: &Object) -> i64 {
    rollout::replicas(set)
}

fn available(set: &Value) -> i64 {
    number(set, "/status/availableReplicas").unwrap_or(0)
}

fn is_observed(set: &Value) -> bool {
    number(set, "/status/observedGeneration").unwrap_or(0) >= number(set, "/metadata/generation").unwrap_or(0)
}

fn revision(set: &Value) -> i64 {
    annotation(set, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

fn replace(sets: &mut Sets, changed: Object) {
    let place = sets.old.iter_mut().chain(sets.new.as_mut()).find(|set| set["metadata"]["uid"] == changed["metadata"]["uid"]);
    if let Some(place) = place {
        *place = changed;
    }
}

fn add_owner(object: &mut Value, reference: &Value) -> Result<(), ApiError> {
    let owners = &mut object["metadata"]["ownerReferences"];
    match owners.as_array_mut() {
        Some(owners) => owners.push(reference.clone()),
        None => *owners = json!([reference]),
    }
    Ok(())
}

/// Annotations of a Deployment that its sets have, too.
fn copied_annotations(deployment: &Value) -> serde_json::Map<String, Value> {
    let mut annotations = deployment["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    annotations
}

fn new_set(deployment: &Value, hash: &str, revision: i64, size: i64) -> Value {
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][TEMPLATE_HASH] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][TEMPLATE_HASH] = json!(hash);
    let wish = rollout::replicas(deployment);
    let (surge, _) = rollout::bounds(deployment, wish);
    let mut annotations = copied_annotations(deployment);
    annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
    annotations.insert(DESIRED.to_owned(), json!(wish.to_string()));
    annotations.insert(MAXIMUM.to_owned(), json!((wish + surge).to_string()));
    let mut spec = json!({"replicas": size, "selector": selector, "template": template});
    if let Some(seconds) = number(deployment, "/spec/minReadySeconds") {
        spec["minReadySeconds"] = json!(seconds);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", name(deployment)),
            "namespace": namespace(deployment),
            "labels": spec["template"]["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [controller_reference(deployment)],
        },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_equals_that_of_its_set_but_for_the_hash_label() {
        let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}});
        let deployment = json!({"metadata": {"name": "x", "namespace": "n"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "x"}}, "template": template}});
        let set = new_set(&deployment, "754bc8dd6f", 1, 2);
        assert_eq!(set["metadata"]["name"], "x-754bc8dd6f");
        assert!(same_template(&set["spec"]["template"], &template));
        assert!(!same_template(&set["spec"]["template"], &json!({"metadata": {}})));
    }
}
