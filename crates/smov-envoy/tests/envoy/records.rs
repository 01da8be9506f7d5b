//! Envoy's log as records.

use smov_model::cluster::LoadBalancer;
use smov_model::dice::Purpose;
use smov_model::flag::ResponseFlag;
use smov_model::record::RecordSource;
use smov_model::route::{AbortStatus, CorsPolicy, Fault, HashKey, Percent, RetryOn, RetryPolicy, RouteMatch, ValueMatch};
use smov_model::text::StringMatch;

use crate::mesh::{App, Client, USER, callee, cluster, cluster_name, envoy, get, rule, settings, snapshot, start, to};

fn canary() -> RouteMatch {
    RouteMatch { headers: vec![("x-canary".into(), ValueMatch::Value(StringMatch::Exact("true".into())))], ..RouteMatch::default() }
}

#[tokio::test]
async fn requests_go_from_sidecar_to_sidecar_and_records_say_how() {
    let Some(binary) = envoy() else { return };
    let (first, second) = (App::saying("ctx1"), App::saying("ctx2"));
    let (one_envoy, one) = callee(binary.clone(), "user-ctx1-1", &first).await;
    let (_two, two) = callee(binary.clone(), "user-ctx2-1", &second).await;
    let clusters = vec![cluster("ctx1", &[(one, "user-ctx1-1")]), cluster("ctx2", &[(two, "user-ctx2-1")])];
    // One arm of a hundred parts would be flaky; a split whose first arm takes all but one part in 2^31 is not.
    let rules = vec![
        rule("spec.http[0]", vec![canary()], to(&[(1, "ctx2")])),
        rule("spec.http[1]", vec![], to(&[(u32::MAX - 1, "ctx1"), (1, "ctx2")])),
    ];
    let caller = start(binary, settings("caller-1"), snapshot(1, rules, clusters)).await;
    let mut client = Client::connect(caller.envoy.outbound_address().unwrap()).await;

    let answer = client.get("http://user-service:8081/users/?a=1", &[("x-request-id", "plain-1")]).await;
    assert_eq!((answer.status, answer.body.as_str(), &answer.headers["server"]), (200, "ctx1", &"envoy".parse().unwrap()));
    let answer = client.get(&format!("http://{USER}:8081/x"), &[("x-canary", "true"), ("x-request-id", "canary-1")]).await;
    assert_eq!(answer.body, "ctx2");

    let record = caller.envoy.records("plain-1").await.remove(0);
    assert_eq!((record.status, record.source, record.path.as_str()), (200, RecordSource::Computed, "/users/"));
    assert_eq!(record.rule.as_ref().map(|rule| rule.index), Some(1));
    assert_eq!((record.skipped.len(), record.skipped[0].mismatches.len()), (1, 1));
    assert_eq!(record.cluster, Some(cluster_name("ctx1")));
    assert_eq!(record.draws[0].range, (0, u32::MAX - 1));
    assert_eq!(record.attempts[0].pod.as_deref(), Some("user-ctx1-1"));
    assert_eq!(record.peer.as_ref().map(|peer| peer.pod.as_str()), Some("user-ctx1-1"));
    assert!(record.duration > 0 && record.started > 0);
    assert!(caller.envoy.records("canary-1").await[0].skipped.is_empty());
    assert_eq!(one_envoy.envoy.records("plain-1").await[0].status, 200);

    // What the app saw: the mesh's headers, without what sidecars say to each other.
    let (uri, headers) = first.seen.lock().unwrap()[0].clone();
    assert_eq!(
        (uri.as_str(), &headers["x-envoy-attempt-count"], &headers["x-forwarded-proto"]),
        ("/users/?a=1", &"1".parse().unwrap(), &"http".parse().unwrap())
    );
    assert!(!headers.contains_key("x-envoy-peer-metadata-id") && !headers.contains_key("x-forwarded-for"), "{headers:?}");

    let (edges, rows, seen) = caller.envoy.report();
    assert_eq!((seen, rows.len(), rows[0].service.as_str(), rows[0].subset.as_str()), (2, 2, "user-service", "ctx1"));
    assert_eq!(edges.iter().map(|edge| edge.requests).sum::<u64>(), 2);
    let metrics = caller.envoy.metrics();
    assert!(metrics.contains("istio_requests_total{reporter=\"source\",source_workload=\"caller\""), "{metrics}");
    caller.envoy.stop().await;
}

/// Reads the table of records in the guide: field, and what it says of Envoy.
fn guide() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/modes.md")).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 7).map(cells);
    rows.map(|row| (row[0].trim_matches('`').to_owned(), row[4].clone())).collect()
}

#[tokio::test]
async fn the_guide_says_what_a_record_of_envoy_holds() {
    let Some(binary) = envoy() else { return };
    let app = App::saying("here");
    let (_callee, address) = callee(binary.clone(), "user-1", &app).await;
    let down = "127.0.0.1:1".parse().unwrap();
    // A rule passed over, a split, a delay, a first try that fails at one of two endpoints: something for every field.
    let mut taken = rule("spec.http[1]", vec![], to(&[(u32::MAX - 1, "ctx1"), (1, "ctx2")]));
    taken.policy.fault = Some(Fault { delay: Some((Percent::new(100.0).unwrap(), std::time::Duration::from_millis(5))), abort: None });
    taken.policy.retry =
        Some(RetryPolicy { attempts: 9, on: RetryOn { connect_failure: true, ..RetryOn::default() }, ..RetryPolicy::default() });
    taken.policy.cors = Some(CorsPolicy { allow_origins: vec![StringMatch::Exact("http://a".into())], ..CorsPolicy::default() });
    taken.policy.hash = vec![HashKey::Header("x-user".into())];
    let rules = vec![rule("spec.http[0]", vec![canary()], to(&[(1, "ctx2")])), taken];
    let mut both = cluster("ctx1", &[(down, "down-1"), (address, "user-1")]);
    both.load_balancer = LoadBalancer::RingHash { minimum_size: 1024 };
    let caller = start(binary, settings("caller-1"), snapshot(7, rules, vec![both, cluster("ctx2", &[])])).await;
    let door = caller.envoy.outbound_address().unwrap();
    let mut record = None;
    // Which of the two endpoints comes first is for the hash to say.
    for number in 0..200 {
        let id = format!("guide-{number}");
        assert_eq!(
            get(door, "http://user-service:8081/", &[("x-request-id", &id), ("x-user", &id), ("origin", "http://a")]).await.status,
            200
        );
        record = Some(caller.envoy.records(&id).await.remove(0)).filter(|record| record.attempts.len() > 1);
        if record.is_some() {
            break;
        }
    }
    let record = record.expect("one of 200 requests starts at the endpoint that is down");
    assert_eq!((record.source, record.snapshot.number), (RecordSource::Computed, 7));
    let json = serde_json::to_value(&record).unwrap();
    let table = guide();
    assert!(table.len() > 12, "{table:?}");
    for (field, said) in table {
        let value = json.pointer(&format!("/{field}")).unwrap_or_else(|| panic!("a record has no {field}"));
        let known = match field.as_str() {
            // No flag is an answer for the whole request, and none at all for a try that failed.
            "flags" => value.is_string(),
            "attempts/0/flags" => *value != "-",
            _ => !(value.is_null() || *value == 0 || *value == serde_json::json!([])),
        };
        assert_eq!(known, said != "not available", "{field} is said to be {said}: {value}");
    }
}

#[tokio::test]
async fn faults_and_retries_are_in_the_record() {
    let Some(binary) = envoy() else { return };
    let down = "127.0.0.1:1".parse().unwrap();
    let app = App::saying("here");
    let (_callee, address) = callee(binary.clone(), "user-1", &app).await;
    let clusters = || vec![cluster("ctx1", &[(address, "user-1")]), cluster("down", &[(down, "down-1")])];
    let mut aborted = rule("spec.http[0]", vec![canary()], to(&[(1, "ctx1")]));
    aborted.policy.fault = Some(Fault {
        delay: Some((Percent::new(100.0).unwrap(), std::time::Duration::from_millis(20))),
        abort: Some((Percent::new(100.0).unwrap(), AbortStatus::Http(503))),
    });
    let mut retried = rule("spec.http[1]", vec![], to(&[(1, "down")]));
    retried.policy.retry =
        Some(RetryPolicy { attempts: 2, on: RetryOn { connect_failure: true, ..RetryOn::default() }, ..RetryPolicy::default() });
    let caller = start(binary, settings("caller-1"), snapshot(1, vec![aborted, retried], clusters())).await;
    let door = caller.envoy.outbound_address().unwrap();

    let answer = get(door, "http://user-service:8081/", &[("x-canary", "true"), ("x-request-id", "fault-1")]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "fault filter abort"));
    let record = caller.envoy.records("fault-1").await.remove(0);
    assert!(record.flags.has(ResponseFlag::Fi) && record.flags.has(ResponseFlag::Di), "{record:?}");
    assert_eq!((record.injected_delay, record.attempts.len()), (20_000, 0));
    let purposes: Vec<Purpose> = record.draws.iter().map(|draw| draw.purpose).collect();
    assert_eq!(purposes, [Purpose::FaultDelay, Purpose::FaultAbort]);

    let answer = get(door, "http://user-service:8081/", &[("x-request-id", "retry-1")]).await;
    assert_eq!(answer.status, 503);
    let record = caller.envoy.records("retry-1").await.remove(0);
    assert!(record.flags.has(ResponseFlag::Urx) && record.flags.has(ResponseFlag::Uf), "{record:?}");
    assert_eq!(record.attempts.len(), 3, "{record:?}");
    assert!(record.attempts.iter().all(|attempt| attempt.pod.as_deref() == Some("down-1")), "{record:?}");
    assert!(record.peer.is_none(), "nobody answered");
}
