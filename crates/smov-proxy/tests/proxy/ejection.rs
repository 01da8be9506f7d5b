//! Ejection through sockets: who is counted, when the balancer hears of it, what happens when nobody is left.

use std::time::{Duration, Instant};

use smov_model::cluster::{Cluster, OutlierDetection};
use smov_model::route::{RetryOn, RetryPolicy};

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

fn answering(address: &str, status: u16) -> Pod {
    user_pod(address, "ctx1", App::start(move |_| async move { text(status, status.to_string()) }))
}

fn guarded(pods: &[&Pod], outlier: OutlierDetection) -> Cluster {
    let endpoints: Vec<_> = pods.iter().map(|pod| (pod.address, pod.workload.clone())).collect();
    Cluster { outlier: Some(outlier), ..cluster(None, &endpoints) }
}

fn at_once(max_ejection_percent: u8) -> OutlierDetection {
    OutlierDetection { consecutive_5xx: 1, max_ejection_percent, ..OutlierDetection::default() }
}

#[test]
fn a_second_ejection_reaches_the_balancer_up_to_a_second_later() {
    run(async {
        let pods = [answering("127.70.15.1", 500), answering("127.70.15.2", 500), answering("127.70.15.3", 200)];
        let all: Vec<&Pod> = pods.iter().collect();
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded(&all, at_once(100))]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let ejected = async || get(caller.admin, "/clusters", &[]).await.body.matches("\"ejected\": true").count();
        while ejected().await == 0 {
            client.get(URI, &[]).await;
        }
        let first = Instant::now();
        while ejected().await == 1 {
            client.get(URI, &[]).await;
        }
        // Both are ejected; the balancer was told of one, and goes on asking the other.
        let passed_over = |id: &str| caller.handle.records(id).pop().unwrap().attempts[0].ejected.len();
        client.get(URI, &[("x-request-id", "soon")]).await;
        let known = passed_over("soon");
        assert!(known == 1 || first.elapsed() >= Duration::from_secs(1), "{known}");
        while client.get(URI, &[("x-request-id", "later")]).await.status != 200 || passed_over("later") == 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(passed_over("later"), 2);
        assert!(first.elapsed() >= Duration::from_secs(1), "told after {:?}", first.elapsed());
        for _ in 0..6 {
            assert_eq!(client.get(URI, &[]).await.status, 200);
        }
    });
}

#[test]
fn with_nobody_left_the_answer_is_uh_unless_panic_is_on() {
    run(async {
        let sick = answering("127.70.15.4", 500);
        let only = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded(&[&sick], at_once(100))]));
        let mut client = Client::connect(only.outbound.unwrap()).await;
        assert_eq!(client.get(URI, &[]).await.status, 500);
        let reply = client.get(URI, &[("x-request-id", "n")]).await;
        assert_eq!((reply.status, reply.body.as_str()), (503, "no healthy upstream"));
        assert_eq!(only.handle.records("n")[0].flags.to_string(), "UH");
        // Another policy starts afresh; and one of one is more than 99 %.
        only.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded(&[&sick], at_once(99))]));
        for _ in 0..5 {
            assert_eq!(client.get(URI, &[]).await.status, 500);
        }
        let panicking = OutlierDetection { min_health_percent: 50, ..at_once(100) };
        let other = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded(&[&sick], panicking)]));
        let mut client = Client::connect(other.outbound.unwrap()).await;
        for _ in 0..5 {
            assert_eq!(client.get(URI, &[]).await.status, 500);
        }
    });
}

#[test]
fn timeouts_count_as_gateway_errors_and_a_404_counts_as_well() {
    run(async {
        let hangs = user_pod("127.70.15.5", "ctx1", App::start(|_| async { std::future::pending().await }));
        let well = answering("127.70.15.6", 404);
        let outlier =
            OutlierDetection { consecutive_5xx: 0, consecutive_gateway_errors: 1, max_ejection_percent: 50, ..OutlierDetection::default() };
        let mut impatient = rule(to(&[(1, None)]));
        impatient.policy.retry = Some(RetryPolicy {
            attempts: 1,
            per_try_timeout: Some(Duration::from_millis(30)),
            on: RetryOn { gateway_error: true, ..RetryOn::default() },
            backoff: Duration::from_micros(10),
            ..RetryPolicy::default()
        });
        let caller = caller(caller_snapshot(vec![impatient], vec![guarded(&[&hangs, &well], outlier)]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let mut tries = Vec::new();
        for number in 0..6 {
            let id = format!("t-{number}");
            assert_eq!(client.get(URI, &[("x-request-id", &id)]).await.status, 404);
            tries.push(caller.handle.records(&id)[0].attempts.len());
        }
        assert_eq!(tries.iter().filter(|count| **count == 2).count(), 1, "one timeout and it is out: {tries:?}");
    });
}

#[test]
fn a_timeout_between_two_tries_is_nobodys_failure() {
    run(async {
        let busy = answering("127.70.15.7", 503);
        let mut waiting = rule(to(&[(1, None)]));
        waiting.policy.timeout = Some(Duration::from_millis(60));
        let on = RetryOn { any_5xx: true, ..RetryOn::default() };
        waiting.policy.retry = Some(RetryPolicy { attempts: 50, on, backoff: Duration::from_secs(5), ..RetryPolicy::default() });
        let caller = caller(caller_snapshot(vec![waiting], vec![cluster(None, &[(busy.address, busy.workload.clone())])]));
        let reply = get(caller.outbound.unwrap(), URI, &[("x-request-id", "b")]).await;
        let record = caller.handle.records("b").pop().unwrap();
        assert_eq!((reply.status, reply.body.as_str(), record.flags.to_string()), (504, "upstream request timeout", "UT".to_owned()));
        assert!(record.attempts.iter().all(|attempt| attempt.status == 503 && attempt.reason.is_none()), "{:?}", record.attempts);
    });
}
