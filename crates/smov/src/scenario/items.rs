//! What a scenario wants, item by item: a rule, a switch of the apps, a number of pods, the link. Every item also has what the baseline wants.

use std::collections::BTreeMap;

use serde_json::Value;
use smov_link::State;

use super::{LinkStep, Scenario, Step, all};
use crate::mesh::baseline::Baseline;
use crate::mesh::link;

/// The namespace of the theatre; scenarios act there, and on the link.
pub(crate) const NAMESPACE: &str = "theater-msa";
/// The ConfigMap that makes apps fail.
pub(crate) const SWITCHES: &str = "app-switches";

/// One thing of one cluster that a scenario can change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) cluster: String,
    pub(crate) thing: Thing,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// A rule, by kind and name.
    Rule(String, String),
    /// A key of the app switches.
    Switch(String),
    /// A key of the app switches that is a pod of this Deployment.
    PodSwitch(String),
    /// The pods of this Deployment.
    Replicas(String),
    /// The link between the clusters.
    Link,
}

impl Item {
    fn new(cluster: &str, thing: Thing) -> Self {
        Self { cluster: cluster.to_owned(), thing }
    }

    /// `VirtualService/theater-msa/movie-service-vs`.
    pub(crate) fn reference(&self) -> String {
        match &self.thing {
            Thing::Rule(kind, name) => format!("{kind}/{NAMESPACE}/{name}"),
            Thing::Switch(key) => format!("ConfigMap/{NAMESPACE}/{SWITCHES} {key}"),
            Thing::PodSwitch(deployment) => format!("ConfigMap/{NAMESPACE}/{SWITCHES} {deployment}-…"),
            Thing::Replicas(deployment) => format!("Deployment/{NAMESPACE}/{deployment}"),
            Thing::Link => format!("ConfigMap/{}/{}", link::NAMESPACE, link::NAME),
        }
    }
}

/// How it is to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Want {
    /// Not there.
    Absent,
    /// This object's spec.
    Object(Value),
    /// This text.
    Says(String),
    /// So many.
    Count(u64),
    /// The link in this state.
    Link(State),
}

/// What a scenario wants of these clusters.
pub(crate) fn wants(scenario: &Scenario, clusters: &[String]) -> BTreeMap<Item, Want> {
    let mut wants = BTreeMap::new();
    for cluster in clusters {
        for object in scenario.files.iter().filter(|file| file.is_for(cluster)).flat_map(|file| &file.objects) {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            if text("/kind") == "ConfigMap" {
                for (key, says) in object["data"].as_object().into_iter().flatten() {
                    let says = Want::Says(says.as_str().unwrap_or_default().to_owned());
                    wants.insert(Item::new(cluster, Thing::Switch(key.clone())), says);
                }
            } else {
                wants.insert(Item::new(cluster, Thing::Rule(text("/kind"), text("/metadata/name"))), Want::Object(object.clone()));
            }
        }
    }
    for step in &scenario.steps {
        let (item, want) = match step {
            Step::Scale { cluster, deployment, replicas } => {
                (Item::new(cluster, Thing::Replicas(deployment.clone())), Want::Count(*replicas))
            }
            Step::Switch { cluster, deployment, says } => {
                (Item::new(cluster, Thing::PodSwitch(deployment.clone())), Want::Says(says.clone()))
            }
            Step::Link(state) => {
                let state = match state {
                    LinkStep::Cut => State::Cut,
                    LinkStep::Stalled => State::Stalled,
                };
                (Item::new(link::CLUSTER, Thing::Link), Want::Link(state))
            }
        };
        if clusters.contains(&item.cluster) {
            wants.insert(item, want);
        }
    }
    wants
}

/// Everything that some scenario can change in these clusters.
pub(crate) fn governed(clusters: &[String]) -> std::collections::BTreeSet<Item> {
    all().iter().flat_map(|scenario| wants(scenario, clusters).into_keys()).collect()
}

/// What an item is without any scenario.
pub(crate) fn at_first(item: &Item, baseline: &Baseline) -> Want {
    let found = |kind: &str, name: &str| {
        let same =
            |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name && object["metadata"]["namespace"] == NAMESPACE;
        baseline.of(&item.cluster).iter().find(same)
    };
    match &item.thing {
        Thing::Rule(kind, name) => found(kind, name).map_or(Want::Absent, |object| Want::Object(object.clone())),
        Thing::Switch(_) | Thing::PodSwitch(_) => Want::Absent,
        Thing::Replicas(name) => Want::Count(found("Deployment", name).and_then(|object| object["spec"]["replicas"].as_u64()).unwrap_or(1)),
        Thing::Link => Want::Link(State::Up),
    }
}
