//! Which scenario is there, over worlds that are made up.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use smov_link::State as LinkState;

use super::super::observe::{RULES, SeenCluster};
use super::*;
use crate::mesh::store::Store;
use crate::scenario::named;

fn baseline() -> Baseline {
    Baseline::build(None, &Store::Sqlite).unwrap()
}

fn clusters() -> Vec<String> {
    vec!["ctx1".to_owned(), "ctx2".to_owned()]
}

/// Both clusters as the baseline has them.
fn at_first_seen() -> Seen {
    let mut seen = Seen::default();
    for cluster in clusters() {
        let mut own = SeenCluster { switches_known: true, ..SeenCluster::default() };
        for object in baseline().of(&cluster) {
            let kind = object["kind"].as_str().unwrap();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            if RULES.contains(&kind) && object["metadata"]["namespace"] == "theater-msa" {
                own.rules.insert((kind.to_owned(), name), object.clone());
            } else if kind == "Deployment" {
                own.deployments.insert(name, object.clone());
            }
        }
        own.link = (cluster == "ctx1").then_some(LinkState::Up);
        seen.clusters.insert(cluster, Ok(own));
    }
    seen
}

/// Makes everything as the scenario wants it.
fn with(mut seen: Seen, name: &str) -> Seen {
    for (item, want) in wants(named(name).unwrap(), &clusters()) {
        let Ok(own) = seen.clusters.get_mut(&item.cluster).unwrap() else { continue };
        let mut switch = |key: String, says: &str| {
            let object = own.switches.get_or_insert_with(|| json!({ "data": {} }));
            object["data"][key] = Value::from(says);
        };
        match (item.thing, want) {
            (Thing::Rule(kind, name), Want::Object(object)) => drop(own.rules.insert((kind, name), object)),
            (Thing::Switch(key), Want::Says(says)) => switch(key, &says),
            (Thing::PodSwitch(deployment), Want::Says(says)) => {
                let pod = format!("{deployment}-abc-x");
                switch(pod.clone(), &says);
                own.pods.push(json!({ "metadata": { "name": pod } }));
            }
            (Thing::Replicas(name), Want::Count(count)) => own.deployments.get_mut(&name).unwrap()["spec"]["replicas"] = json!(count),
            (Thing::Link, Want::Link(state)) => own.link = Some(state),
            (thing, want) => panic!("{thing:?} {want:?}"),
        }
    }
    seen
}

fn cluster<'a>(seen: &'a mut Seen, name: &str) -> &'a mut SeenCluster {
    seen.clusters.get_mut(name).unwrap().as_mut().unwrap()
}

fn states(seen: &Seen) -> BTreeMap<&'static str, State> {
    let found = statuses(seen, &baseline(), &clusters());
    found.iter().filter(|status| status.state != State::Inactive).map(|status| (status.scenario.name.as_str(), status.state)).collect()
}

#[test]
fn the_baseline_is_reset() {
    assert_eq!(states(&at_first_seen()), BTreeMap::from([("reset", State::Active)]));
    assert!(to_put_back(&at_first_seen(), &baseline(), &clusters()).0.is_empty());
}

#[test]
fn each_scenario_is_told_from_all_others() {
    for scenario in all().iter().filter(|scenario| scenario.name != RESET) {
        let seen = with(at_first_seen(), &scenario.name);
        assert_eq!(states(&seen), BTreeMap::from([(scenario.name.as_str(), State::Active)]), "{}", scenario.name);
    }
}

#[test]
fn what_somebody_changed_by_hand_makes_it_partly() {
    let mut seen = with(at_first_seen(), "chaos");
    let key = ("VirtualService".to_owned(), "booking-service-vs".to_owned());
    cluster(&mut seen, "ctx2").rules.get_mut(&key).unwrap()["spec"]["http"] = json!([]);
    assert_eq!(states(&seen), BTreeMap::from([("chaos", State::Partly)]));
    let found = statuses(&seen, &baseline(), &clusters());
    let chaos = found.iter().find(|status| status.scenario.name == "chaos").unwrap();
    assert_eq!(chaos.differs.len(), 1);
    let (back, left) = to_put_back(&seen, &baseline(), &clusters());
    assert_eq!((back.len(), left.len()), (6, 0), "the object that was changed is the scenario's still");
    assert_eq!(
        (chaos.differs[0].cluster.as_str(), chaos.differs[0].reference().as_str()),
        ("ctx2", "VirtualService/theater-msa/booking-service-vs")
    );
}

#[test]
fn people_s_own_changes_are_no_scenario_and_stay() {
    let mut seen = at_first_seen();
    let key = ("VirtualService".to_owned(), "user-service-vs".to_owned());
    cluster(&mut seen, "ctx1").rules.get_mut(&key).unwrap()["spec"]["http"][1]["route"][0]["weight"] = json!(50);
    cluster(&mut seen, "ctx1").deployments.get_mut("user-service-ctx1").unwrap()["spec"]["replicas"] = json!(2);
    cluster(&mut seen, "ctx2").switches = Some(json!({ "data": { "booking-service": "fail 1% 500" } }));
    assert_eq!(states(&seen), BTreeMap::from([("reset", State::Partly)]));
    let (back, left) = to_put_back(&seen, &baseline(), &clusters());
    assert!(back.is_empty(), "{back:?}");
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_switch_for_a_pod_that_is_gone_is_no_whole_scenario() {
    let mut seen = with(at_first_seen(), "slow-pod");
    cluster(&mut seen, "ctx1").pods.clear();
    assert_ne!(states(&seen).get("slow-pod"), Some(&State::Active));
    let back = to_put_back(&seen, &baseline(), &clusters()).0;
    assert!(back.iter().any(|(item, _)| matches!(item.thing, Thing::PodSwitch(_))), "{back:?}");
}

#[test]
fn a_cluster_that_cannot_be_read_is_not_guessed() {
    let mut seen = with(at_first_seen(), "delay");
    seen.clusters.insert("ctx2".to_owned(), Err("cut".to_owned()));
    assert_eq!(states(&seen)["delay"], State::Unknown);
    // The link itself is kept by ctx1.
    cluster(&mut seen, "ctx1").link = Some(LinkState::Cut);
    assert_eq!(states(&seen)["cluster-cut"], State::Active);
}

#[test]
fn whole_numbers_and_fractions_are_the_same_number() {
    let mut seen = with(at_first_seen(), "delay");
    let key = ("VirtualService".to_owned(), "movie-service-vs".to_owned());
    cluster(&mut seen, "ctx1").rules.get_mut(&key).unwrap()["spec"]["http"][1]["fault"]["delay"]["percentage"]["value"] = json!(30.0);
    assert_eq!(states(&seen)["delay"], State::Active);
}
