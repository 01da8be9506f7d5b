use std::sync::Arc;

use smov_model::names::Namespace;

use super::*;
use crate::compile::workloads::unknown_pod;
use crate::world::ObjectKey;

fn workload(locality: &str) -> Workload {
    let namespace: Namespace = "n".parse().unwrap();
    let key = ObjectKey { namespace: "n".into(), name: locality.replace('/', "-"), cluster: "ctx1".parse().unwrap() };
    let mut workload = unknown_pod(&key, &namespace);
    let mut parts = locality.split('/').map(str::to_owned);
    workload.region = parts.next().unwrap();
    workload.zone = parts.next().unwrap_or_default();
    workload.labels.extend(parts.next().map(|subzone| ("topology.istio.io/subzone".to_owned(), subzone)));
    workload
}

fn endpoints(localities: &[&str]) -> Vec<Endpoint> {
    let endpoint = |(index, locality): (usize, &&str)| Endpoint {
        address: format!("127.0.0.1:{}", 8000 + index).parse().unwrap(),
        workload: Arc::new(workload(locality)),
        weight: 1,
        priority: 0,
        mutual_tls: false,
        via: None,
    };
    localities.iter().enumerate().map(endpoint).collect()
}

fn priorities(setting: &LocalityLbSetting, client: &Workload, localities: &[&str]) -> Vec<u32> {
    let mut endpoints = endpoints(localities);
    assert!(arrange(&mut endpoints, setting, client, true).is_empty());
    endpoints.iter().map(|endpoint| endpoint.priority).collect()
}

#[test]
fn the_nearest_come_first_and_no_priority_is_left_out() {
    let client = workload("kr/a/1");
    let all = ["kr/a/1", "kr/a/2", "kr/b", "jp", "us"];
    assert_eq!(priorities(&LocalityLbSetting::default(), &client, &all), [0, 1, 2, 3, 3]);
    assert_eq!(priorities(&LocalityLbSetting::default(), &client, &["jp", "kr/b"]), [1, 0]);
    assert_eq!(priorities(&LocalityLbSetting::default(), &workload(""), &["jp", "kr/b"]), [0, 0]);
    let failover = vec![LocalityFailover { from: "kr".into(), to: "us".into() }];
    let setting = LocalityLbSetting { failover, ..LocalityLbSetting::default() };
    assert_eq!(priorities(&setting, &client, &["kr/a/1", "jp", "us"]), [0, 2, 1]);
}

#[test]
fn without_outlier_detection_there_is_no_preference() {
    let mut endpoints = endpoints(&["kr", "jp"]);
    arrange(&mut endpoints, &LocalityLbSetting::default(), &workload("kr"), false);
    assert!(endpoints.iter().all(|endpoint| endpoint.priority == 0));
}

#[test]
fn labels_count_from_the_first_on_and_may_name_a_value() {
    let priority = |labels: &[&str]| LocalityLbSetting {
        failover_priority: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..LocalityLbSetting::default()
    };
    let (region, zone) = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone");
    let all = ["kr/a", "kr/b", "jp/a"];
    assert_eq!(priorities(&priority(&[region, zone]), &workload("kr/a"), &all), [0, 1, 2]);
    assert_eq!(priorities(&priority(&["topology.kubernetes.io/region=jp"]), &workload("kr/a"), &all), [1, 1, 0]);
}

#[test]
fn distribute_leaves_what_it_names_and_shares_a_place_by_size() {
    let to = std::collections::BTreeMap::from([("kr/*".to_owned(), 80), ("jp".to_owned(), 20)]);
    let distribute = vec![LocalityDistribute { from: "kr/*".into(), to }];
    let setting = LocalityLbSetting { distribute, ..LocalityLbSetting::default() };
    let mut endpoints = endpoints(&["kr/a", "kr/a", "kr/b", "jp/c", "us"]);
    let weights = arrange(&mut endpoints, &setting, &workload("kr/a"), false);
    assert_eq!(weights, [("jp/c/".to_owned(), 20), ("kr/a/".to_owned(), 54), ("kr/b/".to_owned(), 27)]);
    assert_eq!(endpoints.len(), 4);
    assert!(arrange(&mut endpoints, &setting, &workload("us"), false).is_empty());
    assert_eq!(endpoints.len(), 4);
}
