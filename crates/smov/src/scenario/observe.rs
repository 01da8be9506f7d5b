//! What there is now of everything that scenarios can change.

use std::collections::BTreeMap;

use serde_json::Value;
use smov_cluster::kinds::{CONFIG_MAP, DEPLOYMENT, POD};
use smov_link::State;

use super::items::{Item, NAMESPACE, SWITCHES, Thing, Want};
use super::{RESET, manager_of};
use crate::kube_api::{CallError, Cluster, kind_named};
use crate::mesh::link::{self, ChangeError};

/// The kinds of rules that scenarios write.
pub(crate) const RULES: [&str; 2] = ["VirtualService", "DestinationRule"];

/// One look at all clusters.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// By cluster; an error where it could not be read.
    pub(crate) clusters: BTreeMap<String, Result<SeenCluster, String>>,
}

/// What one cluster has.
#[derive(Debug, Default)]
pub(crate) struct SeenCluster {
    /// By kind and name.
    pub(crate) rules: BTreeMap<(String, String), Value>,
    /// The ConfigMap with the switches.
    pub(crate) switches: Option<Value>,
    /// Whether it may be read here.
    pub(crate) switches_known: bool,
    /// By name.
    pub(crate) deployments: BTreeMap<String, Value>,
    /// Pods that are not ending, oldest first.
    pub(crate) pods: Vec<Value>,
    /// `None` = this cluster keeps no link.
    pub(crate) link: Option<State>,
}

/// Looks at all clusters at the same time. One that does not answer is part of what is seen.
pub(crate) async fn observe(clusters: &[Cluster]) -> Seen {
    let looks = clusters.iter().map(|cluster| async {
        let seen = tokio::time::timeout(PATIENCE, look(cluster)).await;
        let seen = seen.map_or_else(|_| Err("no answer in time".to_owned()), |seen| seen.map_err(|error| error.to_string()));
        (cluster.name.clone(), seen)
    });
    Seen { clusters: futures_util::future::join_all(looks).await.into_iter().collect() }
}

/// An API server that takes longer counts as not reached.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

async fn look(cluster: &Cluster) -> Result<SeenCluster, CallError> {
    let mut seen = SeenCluster::default();
    let name_of = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    for word in RULES {
        let kind = kind_named(word).expect("Istio's kinds are known");
        for object in cluster.list(kind, Some(NAMESPACE)).await? {
            seen.rules.insert((word.to_owned(), name_of(&object)), object);
        }
    }
    match cluster.get(&CONFIG_MAP, NAMESPACE, SWITCHES).await {
        Ok(switches) => (seen.switches, seen.switches_known) = (switches, true),
        // A page that only reads need not be allowed to.
        Err(CallError::Refused { code: 403, .. }) => {}
        Err(error) => return Err(error),
    }
    for object in cluster.list(&DEPLOYMENT, Some(NAMESPACE)).await? {
        seen.deployments.insert(name_of(&object), object);
    }
    seen.pods = cluster.list(&POD, Some(NAMESPACE)).await?;
    seen.pods.retain(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
    let created = |pod: &Value| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    seen.pods.sort_by_key(created);
    if cluster.name == link::CLUSTER {
        seen.link = match link::in_force(cluster).await {
            Ok(line) => link::described(&line).map(|settings| settings.state),
            // No link of smov's, or not for this client to read.
            Err(ChangeError::Call(error @ CallError::Unreachable { .. })) => return Err(error),
            Err(_) => None,
        };
    }
    Ok(seen)
}

impl Seen {
    /// What could not be read, and why.
    pub(crate) fn unreachable(&self) -> Vec<(&str, &str)> {
        self.clusters.iter().filter_map(|(name, seen)| seen.as_ref().err().map(|why| (name.as_str(), why.as_str()))).collect()
    }

    fn of(&self, item: &Item) -> Option<&SeenCluster> {
        self.clusters.get(&item.cluster)?.as_ref().ok()
    }

    /// Is the item as wanted? `None` = cannot be known.
    pub(crate) fn meets(&self, item: &Item, want: &Want) -> Option<bool> {
        let seen = self.of(item)?;
        if matches!(item.thing, Thing::Switch(_) | Thing::PodSwitch(_)) && !seen.switches_known {
            return None;
        }
        Some(match (&item.thing, want) {
            (Thing::Rule(kind, name), want) => {
                let live = seen.rules.get(&(kind.clone(), name.clone()));
                match (want, live) {
                    (Want::Absent, live) => live.is_none(),
                    (Want::Object(wanted), Some(live)) => same(&wanted["spec"], &live["spec"]),
                    _ => false,
                }
            }
            (Thing::Switch(key), want) => {
                let says = seen.switch(key);
                match want {
                    Want::Says(wanted) => says == Some(wanted.as_str()),
                    _ => says.is_none_or(|says| says == "off"),
                }
            }
            (Thing::PodSwitch(deployment), want) => {
                let mut keys = seen.pod_switches(deployment);
                match want {
                    Want::Says(wanted) => keys.any(|(pod, says)| says == wanted && seen.has_pod(pod)),
                    _ => keys.all(|(_, says)| says == "off"),
                }
            }
            (Thing::Replicas(deployment), Want::Count(wanted)) => {
                seen.deployments.get(deployment).is_some_and(|live| live["spec"]["replicas"].as_u64() == Some(*wanted))
            }
            // Where there is no link, there is none that is cut.
            (Thing::Link, Want::Link(State::Up)) => seen.link.is_none_or(|state| state == State::Up),
            (Thing::Link, Want::Link(state)) => seen.link == Some(*state),
            _ => false,
        })
    }

    /// Whether a scenario wrote the item as it is now.
    pub(crate) fn written_by_a_scenario(&self, item: &Item) -> bool {
        let Some(seen) = self.of(item) else { return false };
        let object = match &item.thing {
            Thing::Rule(kind, name) => seen.rules.get(&(kind.clone(), name.clone())),
            Thing::Replicas(deployment) => seen.deployments.get(deployment),
            Thing::Switch(_) | Thing::PodSwitch(_) | Thing::Link => None,
        };
        let managers = object.and_then(|object| object["metadata"]["managedFields"].as_array());
        managers
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["manager"].as_str())
            .any(|manager| manager.starts_with(&manager_of("")) && manager != manager_of(RESET))
    }
}

impl SeenCluster {
    pub(crate) fn switch(&self, key: &str) -> Option<&str> {
        self.switches.as_ref()?["data"][key].as_str().map(str::trim)
    }

    /// Switches of single pods of a Deployment.
    pub(crate) fn pod_switches(&self, deployment: &str) -> impl Iterator<Item = (&str, &str)> {
        let start = format!("{deployment}-");
        let data = self.switches.as_ref().and_then(|object| object["data"].as_object()).into_iter().flatten();
        data.filter(move |(key, _)| key.starts_with(&start)).map(|(key, says)| (key.as_str(), says.as_str().unwrap_or_default().trim()))
    }

    fn has_pod(&self, name: &str) -> bool {
        self.pods.iter().any(|pod| pod["metadata"]["name"] == name)
    }
}

/// Equal, with 30 and 30.0 the same number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|found| same(value, found)))
        }
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other)),
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (one, other) => one == other,
    }
}
