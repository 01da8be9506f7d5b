//! Changes while requests flow, and changes that Envoy refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use smov_model::cluster::LoadBalancer;
use smov_model::flag::ResponseFlag;
use smov_model::route::{RouteMatch, RouteRule, ValueMatch};

use crate::mesh::{App, Client, callee, cluster, envoy, get, rule, settings, snapshot, start, to};

#[tokio::test]
async fn a_change_takes_effect_with_the_next_request_and_none_fails() {
    let Some(binary) = envoy() else { return };
    let (first, second) = (App::saying("ctx1"), App::saying("ctx2"));
    let (_one, one) = callee(binary.clone(), "user-ctx1-1", &first).await;
    let (_two, two) = callee(binary.clone(), "user-ctx2-1", &second).await;
    // Clusters come and go with the rules, so that each change needs the right order of its steps; now and then a header that no rule
    // looked at before changes the listener as well.
    let change = |number: u64| {
        let (subset, address) = if number.is_multiple_of(2) { ("ctx1", one) } else { ("ctx2", two) };
        let seen = RouteMatch { headers: vec![(format!("x-round-{}", number / 10), ValueMatch::Present)], ..RouteMatch::default() };
        let rules: Vec<RouteRule> =
            vec![rule("spec.http[0]", vec![seen], to(&[(1, "nowhere")])), rule("spec.http[1]", vec![], to(&[(1, subset)]))];
        snapshot(number, rules, vec![cluster(subset, &[(address, "user-1")])])
    };
    let caller = start(binary, settings("caller-1"), change(0)).await;
    let (door, process) = (caller.envoy.outbound_address().unwrap(), caller.envoy.id());
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (over, served) = (over.clone(), served.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let answer = get(door, "http://user-service:8081/", &[]).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut mine = Client::connect(door).await;
    for number in 1..40 {
        caller.envoy.publish(change(number)).await.unwrap();
        assert_eq!(caller.envoy.version().map(|version| version.number), Some(number));
        let answer = mine.get("http://user-service:8081/", &[]).await;
        assert_eq!(answer.body, if number.is_multiple_of(2) { "ctx1" } else { "ctx2" }, "change {number}");
        if answer.headers.get("connection").is_some_and(|value| value == "close") {
            mine = Client::connect(door).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    assert!(served.load(Ordering::Relaxed) > 0);
    assert_eq!(caller.envoy.id(), process, "the same process all the time");
}

#[tokio::test]
async fn what_envoy_refuses_comes_back_with_its_reason_and_the_last_good_one_serves() {
    let Some(binary) = envoy() else { return };
    let app = App::saying("here");
    let (_callee, address) = callee(binary.clone(), "user-1", &app).await;
    let rules = |subset: &str| vec![rule("spec.http[0]", vec![], to(&[(1, subset)]))];
    let good = cluster("ctx1", &[(address, "user-1")]);
    let caller = start(binary, settings("caller-1"), snapshot(1, rules("ctx1"), vec![good.clone()])).await;
    let door = caller.envoy.outbound_address().unwrap();

    let mut bad = cluster("bad", &[(address, "user-1")]);
    bad.load_balancer = LoadBalancer::Maglev { table_size: 12 };
    let rejected = caller.envoy.publish(snapshot(2, rules("bad"), vec![bad, cluster("new", &[])])).await.unwrap_err();
    assert!(rejected.reason.contains("maglev must be prime"), "{rejected}");
    assert_eq!(caller.envoy.version().map(|version| version.number), Some(1));
    assert_eq!(get(door, "http://user-service:8081/", &[]).await.body, "here");
    let (_, clusters) = caller.envoy.admin("/clusters").await.unwrap();
    assert!(!String::from_utf8_lossy(&clusters).contains("|new|"), "what came with it is gone again");

    // A route that Envoy cannot read.
    let mut broken = rules("ctx1");
    broken[0].policy.headers.request.set.push(("x-bad".into(), "%NO_SUCH_COMMAND%".into()));
    let rejected = caller.envoy.publish(snapshot(3, broken, vec![good.clone()])).await.unwrap_err();
    assert!(rejected.reason.contains("NO_SUCH_COMMAND"), "{rejected}");
    assert_eq!(get(door, "http://user-service:8081/", &[]).await.body, "here");

    caller.envoy.publish(snapshot(4, rules("nowhere"), vec![good])).await.unwrap();
    let answer = get(door, "http://user-service:8081/", &[("x-request-id", "nc-1")]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, ""));
    assert!(caller.envoy.records("nc-1").await[0].flags.has(ResponseFlag::Nc));
}

#[tokio::test]
async fn an_envoy_that_dies_is_told_of() {
    let Some(binary) = envoy() else { return };
    let caller = start(binary, settings("caller-1"), snapshot(1, Vec::new(), Vec::new())).await;
    let status = std::process::Command::new("kill").args(["-9", &caller.envoy.id().unwrap().to_string()]).status().unwrap();
    assert!(status.success());
    let end = caller.envoy.ended().await.unwrap();
    assert!(end.to_string().contains('9'), "{end}");
    let rejected = caller.envoy.publish(snapshot(2, vec![rule("spec.http[0]", vec![], to(&[(1, "x")]))], Vec::new())).await.unwrap_err();
    assert!(rejected.reason.contains("Envoy ended"), "{rejected}");
}
