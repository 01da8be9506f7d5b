//! The built-in scenarios: readable, valid for the analyzers in the world they are applied to, and each different from the baseline.

use smov_istio::analyze::input::Input;
use smov_istio::diagnostic::Severity;

use super::items::{at_first, wants};
use super::*;
use crate::mesh::baseline::{Baseline, CLUSTERS};
use crate::mesh::store::Store;

fn clusters() -> Vec<String> {
    CLUSTERS.iter().map(|cluster| cluster.name.to_owned()).collect()
}

fn hangul(text: &str) -> bool {
    text.chars().any(|character| ('가'..='힣').contains(&character))
}

#[test]
fn every_scenario_is_readable_and_speaks_both_languages() {
    let all = load().unwrap();
    let names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
    for name in [
        "reset",
        "circuit-breaker",
        "delay",
        "error",
        "block",
        "chaos",
        "app-failure-ejection",
        "retry-storm",
        "cluster-cut",
        "slow-pod",
        "canary-header",
        "mirror",
        "timeout-vs-delay",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(names[0], RESET);
    for scenario in &all {
        assert!(scenario.watch.len() >= 2, "{}", scenario.name);
        for both in [&scenario.title, &scenario.text].into_iter().chain(&scenario.watch) {
            assert!(hangul(&both.ko) && !hangul(&both.en) && !both.en.is_empty(), "{}: {both:?}", scenario.name);
        }
        assert_eq!(scenario.name == RESET, scenario.files.is_empty() && scenario.steps.is_empty(), "{}", scenario.name);
    }
}

#[test]
fn each_item_of_a_scenario_differs_from_the_baseline() {
    let baseline = Baseline::build(None, &Store::Sqlite).unwrap();
    for scenario in all() {
        for (item, want) in wants(scenario, &clusters()) {
            let first = at_first(&item, &baseline);
            let spec = |want: &items::Want| match want {
                items::Want::Object(object) => object["spec"].clone(),
                other => Value::from(format!("{other:?}")),
            };
            assert_ne!(spec(&want), spec(&first), "{} {item:?}", scenario.name);
        }
    }
}

#[test]
fn the_analyzers_find_no_error_in_the_world_as_a_scenario_makes_it() {
    let baseline = Baseline::build(None, &Store::Sqlite).unwrap();
    for scenario in all() {
        for cluster in clusters() {
            let mut input = Input::new(None);
            let own: Vec<&Value> = scenario.files.iter().filter(|file| file.is_for(&cluster)).flat_map(|file| &file.objects).collect();
            let same = |one: &Value, other: &Value| one["kind"] == other["kind"] && one["metadata"]["name"] == other["metadata"]["name"];
            for object in baseline.of(&cluster).iter().filter(|object| !own.iter().any(|own| same(own, object))) {
                input.add_object("k8s", object.clone());
            }
            for file in scenario.files.iter().filter(|file| file.is_for(&cluster)) {
                input.add(&file.path, &file.yaml).unwrap();
            }
            let report = input.report(false);
            assert_eq!(report.count(Severity::Error), 0, "{} {cluster}: {:?}", scenario.name, report.findings);
            for object in own {
                let unknown = smov_cluster::registry::undeclared(object);
                assert!(matches!(&unknown, None | Some(Ok(_))) && !matches!(&unknown, Some(Ok(paths)) if !paths.is_empty()), "{unknown:?}");
            }
        }
    }
}

#[test]
fn what_a_person_would_type_is_said() {
    let lines = named("app-failure-ejection").unwrap().commands(&clusters());
    assert!(lines.contains(&"kubectl --context ctx1 apply -f scenarios/app-failure-ejection/both/".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("scale deployment user-service-ctx2 --replicas=2")), "{lines:?}");
    assert_eq!(named("cluster-cut").unwrap().commands(&clusters()), ["smov link --cut"]);
}
