//! Applying a scenario and putting everything back. Each change is a patch against what is live, under the scenario's own field manager;
//! what is right already is not touched, so doing it again does nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use smov_cluster::kinds::{CONFIG_MAP, DEPLOYMENT};
use smov_link::State;
use tokio::time::Instant;

use super::items::{Item, NAMESPACE, SWITCHES, Thing, Want, wants};
use super::observe::{Seen, SeenCluster, observe};
use super::status::{present, statuses, to_put_back};
use super::{RESET, Scenario, manager_of};
use crate::kube_api::{Act, CallError, Cluster, kind_named};
use crate::mesh::baseline::Baseline;
use crate::mesh::link::{self, ChangeError};
use crate::three_way;

/// How long a Deployment may take to have its pods ready.
const READY: Duration = Duration::from_secs(60);
/// How long a cluster may take to be seen again after the link is back.
const SEEN_AGAIN: Duration = Duration::from_secs(15);

/// What was done.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Done {
    /// The scenarios that were there before, wholly or partly.
    pub(crate) was: Vec<&'static str>,
    pub(crate) changed: Vec<Changed>,
    /// What is not as at first and was left alone, because no scenario made it so.
    pub(crate) left: Vec<Left>,
}

/// One change.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    pub(crate) cluster: String,
    pub(crate) item: String,
    /// `created`, `configured` or `deleted`.
    pub(crate) what: &'static str,
}

/// One item that stays as somebody made it.
#[derive(Debug, Serialize)]
pub(crate) struct Left {
    pub(crate) cluster: String,
    pub(crate) item: String,
}

/// Why a scenario could not be applied or put back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScenarioError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Link(#[from] ChangeError),
    /// These clusters have no link of smov's.
    #[error("there is no link of smov's between these clusters")]
    NoLink,
    /// Its pods are not there in time.
    #[error("{cluster}: {deployment} has not {wanted} ready pods after {} seconds", READY.as_secs())]
    NotReady { cluster: String, deployment: String, wanted: u64 },
    /// A cluster that is needed.
    #[error("{cluster} cannot be read: {why}")]
    Unreachable { cluster: String, why: String },
}

/// Puts other scenarios back, then applies this one.
pub(crate) async fn apply(scenario: &Scenario, baseline: &Baseline, clusters: &[Cluster]) -> Result<Done, ScenarioError> {
    if scenario.name == RESET {
        return reset(baseline, clusters).await;
    }
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let wanted = wants(scenario, &names);
    let writer = Writer { clusters, manager: scenario.manager() };
    let mut seen = observe(clusters).await;
    if let Some(Err(why)) = seen.clusters.get(link::CLUSTER) {
        return Err(ScenarioError::Unreachable { cluster: link::CLUSTER.to_owned(), why: why.clone() });
    }
    let has_link = seen.clusters.get(link::CLUSTER).and_then(|seen| seen.as_ref().ok()).is_some_and(|seen| seen.link.is_some());
    if scenario.needs_link() && !has_link {
        return Err(ScenarioError::NoLink);
    }
    let was: Vec<_> = present(&statuses(&seen, baseline, &names)).into_iter().filter(|name| *name != scenario.name).collect();
    let mut done = Done { was, ..Done::default() };
    // The link of another scenario first: it may be in the way of everything else.
    if !scenario.needs_link() {
        seen = see_past_the_link(clusters, &mut done).await?;
    }
    let back = to_put_back(&seen, baseline, &names).0;
    let reset = Writer { clusters, manager: manager_of(RESET) };
    for (item, want) in back.iter().filter(|(item, _)| !wanted.contains_key(item)) {
        reset.bring(item, want, &seen, &mut done).await?;
        if matches!(item.thing, Thing::Switch(_) | Thing::PodSwitch(_)) {
            // With its last key the ConfigMap itself is gone.
            seen = observe(clusters).await;
        }
    }
    // Numbers of pods before their switches, the link last.
    let mut ordered: Vec<_> = wanted.iter().collect();
    ordered.sort_by_key(|(item, _)| match item.thing {
        Thing::Rule(..) | Thing::Switch(_) => 0,
        Thing::Replicas(_) => 1,
        Thing::PodSwitch(_) => 2,
        Thing::Link => 3,
    });
    for (item, want) in ordered {
        writer.bring(item, want, &seen, &mut done).await?;
        if let (Thing::Replicas(deployment), Want::Count(count)) = (&item.thing, want) {
            writer.ready(item, deployment, *count).await?;
        }
        if matches!(item.thing, Thing::Replicas(_) | Thing::Switch(_)) {
            // The pods, or the ConfigMap, are others now.
            seen = observe(clusters).await;
        }
    }
    Ok(done)
}

/// Puts back what scenarios changed; everything else stays.
pub(crate) async fn reset(baseline: &Baseline, clusters: &[Cluster]) -> Result<Done, ScenarioError> {
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let before = observe(clusters).await;
    let mut done = Done { was: present(&statuses(&before, baseline, &names)), ..Done::default() };
    let seen = see_past_the_link(clusters, &mut done).await?;
    let (back, left) = to_put_back(&seen, baseline, &names);
    let writer = Writer { clusters, manager: manager_of(RESET) };
    let mut seen = seen;
    for (item, want) in back {
        writer.bring(&item, &want, &seen, &mut done).await?;
        if matches!(item.thing, Thing::Switch(_) | Thing::PodSwitch(_)) {
            seen = observe(clusters).await;
        }
    }
    done.left = left.into_iter().map(|item| Left { item: item.reference(), cluster: item.cluster }).collect();
    Ok(done)
}

/// Restores a link that is down, and sees both sides again.
async fn see_past_the_link(clusters: &[Cluster], done: &mut Done) -> Result<Seen, ScenarioError> {
    let mut seen = observe(clusters).await;
    let down = |seen: &Seen| {
        let own = seen.clusters.get(link::CLUSTER).and_then(|seen| seen.as_ref().ok());
        own.and_then(|seen| seen.link).is_some_and(|state| state != State::Up)
    };
    if down(&seen) {
        let writer = Writer { clusters, manager: manager_of(RESET) };
        let item = Item { cluster: link::CLUSTER.to_owned(), thing: Thing::Link };
        writer.bring(&item, &Want::Link(State::Up), &seen, done).await?;
    }
    let deadline = Instant::now() + SEEN_AGAIN;
    loop {
        let Some((cluster, why)) = seen.unreachable().first().map(|(cluster, why)| ((*cluster).to_owned(), (*why).to_owned())) else {
            if !down(&seen) {
                return Ok(seen);
            }
            seen = observe(clusters).await;
            continue;
        };
        if Instant::now() >= deadline {
            return Err(ScenarioError::Unreachable { cluster, why });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = observe(clusters).await;
    }
}

struct Writer<'a> {
    clusters: &'a [Cluster],
    manager: String,
}

impl Writer<'_> {
    fn cluster(&self, item: &Item) -> Result<&Cluster, ScenarioError> {
        let missing = || ScenarioError::Unreachable { cluster: item.cluster.clone(), why: "it is not among the contexts".to_owned() };
        self.clusters.iter().find(|cluster| cluster.name == item.cluster).ok_or_else(missing)
    }

    /// Makes an item as wanted, if it is not.
    async fn bring(&self, item: &Item, want: &Want, seen: &Seen, done: &mut Done) -> Result<(), ScenarioError> {
        if seen.meets(item, want) == Some(true) {
            return Ok(());
        }
        let cluster = self.cluster(item)?;
        let live = match seen.clusters.get(&item.cluster) {
            Some(Ok(live)) => live,
            Some(Err(why)) => return Err(ScenarioError::Unreachable { cluster: item.cluster.clone(), why: why.clone() }),
            None => return Ok(()),
        };
        let what = match (&item.thing, want) {
            (Thing::Rule(kind, name), want) => self.rule(cluster, live, kind, name, want).await?,
            (Thing::Switch(key), Want::Says(says)) => self.switches(cluster, live, &BTreeMap::from([(key.clone(), json!(says))])).await?,
            (Thing::Switch(key), _) => self.switches(cluster, live, &BTreeMap::from([(key.clone(), Value::Null)])).await?,
            (Thing::PodSwitch(deployment), want) => {
                let mut keys: BTreeMap<String, Value> =
                    live.pod_switches(deployment).map(|(key, _)| (key.to_owned(), Value::Null)).collect();
                if let Want::Says(says) = want {
                    keys.insert(newest_pod(live, item, deployment)?, json!(says));
                }
                self.switches(cluster, live, &keys).await?
            }
            (Thing::Replicas(deployment), Want::Count(count)) => {
                let patch = json!({ "spec": { "replicas": count } });
                cluster.patch_as(&self.manager, &DEPLOYMENT, NAMESPACE, deployment, &patch).await?;
                "configured"
            }
            (Thing::Link, Want::Link(state)) => {
                link::change(cluster, link::Change { state: Some(*state), ..link::Change::default() }).await?;
                "configured"
            }
            (Thing::Replicas(_) | Thing::Link, _) => return Ok(()),
        };
        done.changed.push(Changed { cluster: item.cluster.clone(), item: item.reference(), what });
        Ok(())
    }

    async fn rule(&self, cluster: &Cluster, seen: &SeenCluster, word: &str, name: &str, want: &Want) -> Result<&'static str, CallError> {
        let kind = kind_named(word).expect("Istio's kinds are known");
        match (want, seen.rules.get(&(word.to_owned(), name.to_owned()))) {
            (Want::Object(object), None) => {
                cluster.write(kind, Act::Create(&three_way::remembering(object)), &self.manager, false).await?;
                Ok("created")
            }
            (Want::Object(object), Some(live)) => {
                let mut patch = json!({ "spec": three_way::exact(&object["spec"], &live["spec"]) });
                // Whoever applied it by kubectl left a note of it; at first it was another.
                if self.manager == manager_of(RESET) {
                    let first = three_way::remembering(object);
                    let note = |object: &Value| object["metadata"]["annotations"][three_way::LAST_APPLIED].clone();
                    if !note(live).is_null() && note(live) != note(&first) {
                        patch["metadata"]["annotations"][three_way::LAST_APPLIED] = note(&first);
                    }
                }
                cluster.patch_as(&self.manager, kind, NAMESPACE, name, &patch).await?;
                Ok("configured")
            }
            (_, Some(_)) => cluster.delete(kind, NAMESPACE, name).await.map(|()| "deleted"),
            (_, None) => Ok("deleted"),
        }
    }

    /// Sets keys of the switches, or takes them out; an empty ConfigMap goes.
    async fn switches(&self, cluster: &Cluster, seen: &SeenCluster, keys: &BTreeMap<String, Value>) -> Result<&'static str, CallError> {
        let Some(live) = &seen.switches else {
            let data: BTreeMap<_, _> = keys.iter().filter(|(_, says)| !says.is_null()).collect();
            let object =
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": SWITCHES, "namespace": NAMESPACE }, "data": data });
            cluster.write(&CONFIG_MAP, Act::Create(&object), &self.manager, false).await?;
            return Ok("created");
        };
        let stays = live["data"].as_object().is_some_and(|data| data.keys().any(|key| !keys.contains_key(key)));
        if !stays && keys.values().all(Value::is_null) {
            cluster.delete(&CONFIG_MAP, NAMESPACE, SWITCHES).await?;
            return Ok("deleted");
        }
        cluster.patch_as(&self.manager, &CONFIG_MAP, NAMESPACE, SWITCHES, &json!({ "data": keys })).await?;
        Ok("configured")
    }

    /// Waits until a Deployment has its pods.
    async fn ready(&self, item: &Item, deployment: &str, wanted: u64) -> Result<(), ScenarioError> {
        let cluster = self.cluster(item)?;
        let deadline = Instant::now() + READY;
        loop {
            let live = cluster.get(&DEPLOYMENT, NAMESPACE, deployment).await?.unwrap_or_default();
            if live["status"]["readyReplicas"].as_u64().unwrap_or(0) >= wanted {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ScenarioError::NotReady { cluster: item.cluster.clone(), deployment: deployment.to_owned(), wanted });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The pod that a switch is meant for.
fn newest_pod(seen: &SeenCluster, item: &Item, deployment: &str) -> Result<String, ScenarioError> {
    let start = format!("{deployment}-");
    let mut names = seen.pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
    let missing = || ScenarioError::NotReady { cluster: item.cluster.clone(), deployment: deployment.to_owned(), wanted: 1 };
    names.rfind(|name| name.starts_with(&start)).map(str::to_owned).ok_or_else(missing)
}
