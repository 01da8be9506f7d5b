//! The real Envoy, run by snapshots. Skipped, saying so, where there is none (SMOV_REQUIRE=envoy makes that a failure).

#[path = "support/mesh.rs"]
mod mesh;

use std::time::{Duration, Instant};

use mesh::{App, Client, USER, callee, cluster, cluster_name, envoy, get, rule, settings, snapshot, start, to};
use smov_model::cluster::LoadBalancer;
use smov_model::flag::ResponseFlag;
use smov_model::record::RecordSource;
use smov_model::route::{RouteMatch, ValueMatch};
use smov_model::text::StringMatch;

fn canary() -> RouteMatch {
    RouteMatch { headers: vec![("x-canary".into(), ValueMatch::Value(StringMatch::Exact("true".into())))], ..RouteMatch::default() }
}

#[tokio::test]
async fn requests_go_from_sidecar_to_sidecar_and_records_say_how() {
    let Some(binary) = envoy() else { return };
    let (first, second) = (App::saying("ctx1"), App::saying("ctx2"));
    let (_one, one) = callee(binary.clone(), "user-ctx1-1", &first).await;
    let (_two, two) = callee(binary.clone(), "user-ctx2-1", &second).await;
    let clusters = || vec![cluster("ctx1", &[(one, "user-ctx1-1")]), cluster("ctx2", &[(two, "user-ctx2-1")])];
    let rules = |first: u32, second: u32| {
        vec![
            rule("spec.http[0]", vec![canary()], to(&[(1, "ctx2")])),
            rule("spec.http[1]", vec![], to(&[(first, "ctx1"), (second, "ctx2")])),
        ]
    };
    let began = Instant::now();
    let caller = start(binary, settings("caller-1"), snapshot(1, rules(100, 0), clusters())).await;
    eprintln!("start to served: {:?}", began.elapsed());
    let door = caller.envoy.outbound_address().unwrap();
    let mut client = Client::connect(door).await;
    let answer = client.get("http://user-service:8081/users/?a=1", &[("x-request-id", "plain-1")]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ctx1"));
    assert_eq!(answer.headers["server"], "envoy");
    let answer = client.get(&format!("http://{USER}:8081/x"), &[("x-canary", "true"), ("x-request-id", "canary-1")]).await;
    assert_eq!(answer.body, "ctx2");

    let records = caller.envoy.records("plain-1").await;
    eprintln!("{records:#?}");
    let record = &records[0];
    assert_eq!((record.status, record.source, record.path.as_str()), (200, RecordSource::Computed, "/users/"));
    assert_eq!(record.rule.as_ref().map(|rule| rule.index), Some(1));
    assert_eq!((record.skipped.len(), record.skipped[0].mismatches.len()), (1, 1));
    assert_eq!(record.cluster, Some(cluster_name("ctx1")));
    assert_eq!(record.attempts[0].pod.as_deref(), Some("user-ctx1-1"));
    assert_eq!(record.peer.as_ref().map(|peer| peer.pod.as_str()), Some("user-ctx1-1"));
    assert_eq!(first.seen.lock().unwrap()[0].0, "/users/?a=1");
    let headers = first.seen.lock().unwrap()[0].1.clone();
    assert!(!headers.contains_key("x-envoy-peer-metadata-id"), "{headers:?}");
    assert_eq!((&headers["x-envoy-attempt-count"], &headers["x-forwarded-proto"]), (&"1".parse().unwrap(), &"http".parse().unwrap()));

    // A change takes effect with the next request, on the same connection.
    for number in 2..12 {
        let began = Instant::now();
        let (here, there) = if number % 2 == 0 { (0, 100) } else { (100, 0) };
        caller.envoy.publish(snapshot(number, rules(here, there), clusters())).await.unwrap();
        eprintln!("change: {:?}", began.elapsed());
        let answer = client.get("http://user-service:8081/", &[]).await;
        assert_eq!(answer.body, if number % 2 == 0 { "ctx2" } else { "ctx1" });
    }
    let missing = get(door, "http://user-service:8081/", &[("x-request-id", "x")]).await;
    assert_eq!(missing.status, 200);
    caller.envoy.stop().await;
}

#[tokio::test]
async fn what_envoy_refuses_comes_back_with_its_reason_and_the_last_good_one_serves() {
    let Some(binary) = envoy() else { return };
    let app = App::saying("here");
    let (_callee, address) = callee(binary.clone(), "user-1", &app).await;
    let rules = || vec![rule("spec.http[0]", vec![], to(&[(1, "ctx1")]))];
    let good = cluster("ctx1", &[(address, "user-1")]);
    let caller = start(binary, settings("caller-1"), snapshot(1, rules(), vec![good.clone()])).await;
    let door = caller.envoy.outbound_address().unwrap();
    let mut bad = good.clone();
    bad.load_balancer = LoadBalancer::Maglev { table_size: 12 };
    let rejected = caller.envoy.publish(snapshot(2, rules(), vec![bad])).await.unwrap_err();
    assert!(rejected.reason.contains("maglev must be prime"), "{rejected}");
    assert_eq!(caller.envoy.version().map(|version| version.number), Some(1));
    assert_eq!(get(door, "http://user-service:8081/", &[]).await.body, "here");
    let missing = vec![rule("spec.http[0]", vec![], to(&[(1, "nowhere")]))];
    caller.envoy.publish(snapshot(3, missing, vec![good])).await.unwrap();
    let answer = get(door, "http://user-service:8081/", &[("x-request-id", "nc-1")]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, ""));
    assert!(caller.envoy.records("nc-1").await[0].flags.has(ResponseFlag::Nc));
    let _ = Duration::ZERO;
}
