//! Which endpoint of a cluster: consistent hashing, priorities, localities.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use smov_model::cluster::{Cluster, LoadBalancer, OutlierDetection};
use smov_model::hash::{HashRing, xxh64};
use smov_model::route::{HashKey, RouteRule};
use smov_model::workload::Workload;

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

/// Pods that say their number, from 1.
fn pods(net: u8, count: u8) -> Vec<Pod> {
    (1..=count)
        .map(|number| {
            let app = App::start(move |_| async move { text(200, number.to_string()) });
            user_pod(&format!("127.70.{net}.{number}"), "ctx1", app)
        })
        .collect()
}

fn endpoints(pods: &[Pod]) -> Vec<(std::net::SocketAddr, Arc<Workload>)> {
    pods.iter().map(|pod| (pod.address, pod.workload.clone())).collect()
}

fn hashing(pods: &[Pod], balancer: LoadBalancer, keys: Vec<HashKey>) -> (RouteRule, Cluster) {
    let mut rule = rule(to(&[(1, None)]));
    rule.policy.hash = keys;
    (rule, Cluster { load_balancer: balancer, ..cluster(None, &endpoints(pods)) })
}

const RING: LoadBalancer = LoadBalancer::RingHash { minimum_size: 1024 };

#[test]
fn a_key_sticks_to_the_endpoint_that_envoys_ring_gives_it() {
    run(async {
        let pods = pods(20, 3);
        let (rule, cluster) = hashing(&pods, RING, vec![HashKey::Header("x-user".into())]);
        let caller = caller(caller_snapshot(vec![rule], vec![cluster]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let named: Vec<(String, f64)> = pods.iter().map(|pod| (pod.address.to_string(), 1.0 / 3.0)).collect();
        let ring = HashRing::new(&named, 1024);
        for number in 0..30 {
            let user = format!("user-{number}");
            let expected = (ring.pick(xxh64(user.as_bytes(), 0)).unwrap() + 1).to_string();
            assert_eq!(client.get(URI, &[("x-user", &user), ("x-request-id", &user)]).await.body, expected, "{user}");
            let record = caller.handle.records(&user).pop().unwrap();
            assert_eq!(record.attempts[0].hash, Some(format!("{:016x}", xxh64(user.as_bytes(), 0))));
        }
        // Without the key, any.
        let mut seen = BTreeSet::new();
        for number in 0..60 {
            seen.insert(client.get(URI, &[("x-request-id", &format!("none-{number}"))]).await.body);
        }
        assert_eq!(seen.len(), 3);
    });
}

#[test]
fn a_cookie_with_a_time_to_live_is_issued_and_honoured() {
    run(async {
        let pods = pods(21, 3);
        let key = |ttl: Option<u64>| HashKey::Cookie { name: "seat".into(), path: "/".into(), ttl: ttl.map(Duration::from_secs) };
        let (rule, cluster) = hashing(&pods, LoadBalancer::Maglev { table_size: 251 }, vec![key(Some(60))]);
        let caller = caller(caller_snapshot(vec![rule.clone()], vec![cluster.clone()]));
        let first = get(caller.outbound.unwrap(), URI, &[]).await;
        let issued = first.header("set-cookie").to_owned();
        let (cookie, attributes) = issued.split_once(';').unwrap();
        assert_eq!(attributes, " Max-Age=60; Path=/; HttpOnly");
        assert!(cookie.starts_with("seat=\"") && cookie.len() == "seat=\"\"".len() + 16, "{cookie}");
        for _ in 0..10 {
            let again = get(caller.outbound.unwrap(), URI, &[("cookie", &format!("a=1; {cookie}"))]).await;
            assert_eq!((again.body.as_str(), again.header("set-cookie")), (first.body.as_str(), ""));
        }
        // Without a time to live the proxy never issues one.
        let mut without = rule;
        without.policy.hash = vec![key(None)];
        caller.handle.publish(caller_snapshot(vec![without], vec![cluster]));
        assert_eq!(get(caller.outbound.unwrap(), URI, &[]).await.header("set-cookie"), "");
    });
}

#[test]
fn an_ejected_endpoint_leaves_the_ring_to_the_others() {
    run(async {
        let mut pods = pods(22, 2);
        let sick = user_pod("127.70.22.3", "ctx1", App::start(|_| async { text(500, "sick") }));
        pods.push(sick);
        let (rule, mut cluster) = hashing(&pods, RING, vec![HashKey::Query("user".into())]);
        cluster.outlier = Some(OutlierDetection { consecutive_5xx: 1, max_ejection_percent: 50, ..OutlierDetection::default() });
        let caller = caller(caller_snapshot(vec![rule], vec![cluster]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let mut failures = 0;
        for _ in 0..2 {
            for number in 0..30 {
                failures += usize::from(client.get(&format!("{URI}?user={number}"), &[]).await.status == 500);
            }
        }
        assert_eq!(failures, 1, "after its first failure nobody is led to it");
    });
}

async fn shares(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for number in 0..count {
        *shares.entry(client.get(URI, &[("x-request-id", &format!("r-{number}"))]).await.body).or_insert(0) += 1;
    }
    shares
}

#[test]
fn the_second_priority_takes_what_the_first_cannot() {
    run(async {
        let mut pods = pods(23, 2);
        pods.push(user_pod("127.70.23.3", "ctx1", App::start(|_| async { text(500, "sick") })));
        let mut guarded = cluster(None, &endpoints(&pods));
        // 1 and the sick one first, 2 behind them.
        guarded.endpoints[1].priority = 1;
        guarded.outlier = Some(OutlierDetection { consecutive_5xx: 1, max_ejection_percent: 50, ..OutlierDetection::default() });
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        while client.get(URI, &[]).await.status == 200 {}
        let shares = shares(&mut client, 1000).await;
        // Half of the first priority is left: 70 % of the load. 99.99 % of a fair 70 % over 1,000.
        assert!((642..=756).contains(&shares["1"]) && shares["1"] + shares["2"] == 1000, "{shares:?}");
        let record = caller.handle.records("r-0").pop().unwrap();
        let draw = &record.draws[0];
        assert_eq!((draw.total, record.attempts[0].priority == u32::from(draw.position >= Some(70))), (100, true));
    });
}

#[test]
fn localities_take_their_weight_whatever_they_have() {
    run(async {
        let pods = pods(24, 4);
        let placed = |number: usize, region: &str| {
            let mut workload = (*pods[number].workload).clone();
            workload.region = region.into();
            workload.zone = "z".into();
            (pods[number].address, Arc::new(workload))
        };
        let placed = [placed(0, "east"), placed(1, "west"), placed(2, "west"), placed(3, "west")];
        let mut weighted = cluster(None, &placed);
        weighted.locality_weights = vec![("east/z/".into(), 80), ("west/z/".into(), 20)];
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![weighted]));
        let shares = shares(&mut Client::connect(caller.outbound.unwrap()).await, 1000).await;
        // 99.99 % of a fair 80 % over 1,000.
        assert!((749..=848).contains(&shares["1"]) && shares.len() == 4, "{shares:?}");
    });
}
