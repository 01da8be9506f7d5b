//! Retries, timeouts, limits, ejection.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt;
use smov_model::cluster::OutlierDetection;
use smov_model::route::{RetryOn, RetryPolicy};

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

#[test]
fn a_dead_endpoint_beside_a_living_one_is_not_seen_by_the_client() {
    run(async {
        let pod = user_pod("127.70.5.1", "ctx1", App::saying("alive"));
        let endpoints = [(nobody().await, workload("dead", "user-service-ctx1", "ctx1")), (pod.address, pod.workload.clone())];
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &endpoints)]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for number in 0..10 {
            let id = number.to_string();
            let reply = client.call(request("POST", URI, &[("x-request-id", &id)], "body")).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "alive"));
        }
        let attempts: Vec<usize> = (0..10).map(|number| caller.handle.records(&number.to_string())[0].attempts.len()).collect();
        assert!(attempts.contains(&2) && attempts.iter().all(|count| *count <= 2), "{attempts:?}");
        assert_eq!(pod.app.log.borrow().len(), 10);
    });
}

#[test]
fn a_503_is_retried_only_where_the_rule_says_so_and_the_body_is_sent_again() {
    run(async {
        let failures = Rc::new(Cell::new(2_u32));
        let app = App::start(move |request| {
            let failures = failures.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let left = failures.replace(failures.get().saturating_sub(1));
                if left > 0 { text(503, "not yet") } else { text(200, body) }
            }
        });
        let pod = user_pod("127.70.5.2", "ctx1", app);
        let mut retrying = rule(to(&[(1, None)]));
        let on = RetryOn { gateway_error: true, ..RetryOn::default() };
        retrying.policy.retry = Some(RetryPolicy { attempts: 2, on, backoff: Duration::from_millis(1), ..RetryPolicy::default() });
        let clusters = vec![cluster(None, &[(pod.address, pod.workload.clone())])];
        let caller = caller(caller_snapshot(vec![retrying], clusters.clone()));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let reply = client.call(request("POST", URI, &[("x-request-id", "r")], "the body")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "the body"));
        let counts: Vec<String> =
            pod.app.log.borrow().iter().map(|seen| seen.headers["x-envoy-attempt-count"].to_str().unwrap().to_owned()).collect();
        assert_eq!(counts, ["1", "2", "3"]);
        let record = caller.handle.records("r").pop().unwrap();
        assert_eq!(record.attempts.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [503, 503, 200]);
    });
}

#[test]
fn retries_that_run_out_return_the_last_answer_with_urx() {
    run(async {
        let pod = user_pod("127.70.5.3", "ctx1", App::start(|_| async { text(503, "never") }));
        let mut retrying = rule(to(&[(1, None)]));
        let on = RetryOn { any_5xx: true, ..RetryOn::default() };
        retrying.policy.retry = Some(RetryPolicy { attempts: 1, on, backoff: Duration::from_millis(1), ..RetryPolicy::default() });
        let clusters = vec![cluster(None, &[(pod.address, pod.workload.clone())])];
        let with_retries = caller(caller_snapshot(vec![retrying], clusters.clone()));
        let reply = get(with_retries.outbound.unwrap(), URI, &[("x-request-id", "r")]).await;
        assert_eq!((reply.status, reply.body.as_str()), (503, "never"));
        assert_eq!(with_retries.handle.records("r")[0].flags.to_string(), "URX");
        // Istio's default policy leaves a 503 alone.
        let without = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], clusters));
        get(without.outbound.unwrap(), URI, &[("x-request-id", "d")]).await;
        assert_eq!((without.handle.records("d")[0].attempts.len(), pod.app.log.borrow().len()), (1, 3));
    });
}

#[test]
fn a_slow_upstream_meets_the_timeout() {
    run(async {
        let pod = user_pod("127.70.5.4", "ctx1", App::start(|_| async { std::future::pending().await }));
        let clusters = vec![cluster(None, &[(pod.address, pod.workload.clone())])];
        let mut impatient = rule(to(&[(1, None)]));
        impatient.policy.timeout = Some(Duration::from_millis(30));
        let caller = caller(caller_snapshot(vec![impatient.clone()], clusters.clone()));
        let reply = get(caller.outbound.unwrap(), URI, &[("x-request-id", "t")]).await;
        assert_eq!((reply.status, reply.body.as_str()), (504, "upstream request timeout"));
        assert_eq!(caller.handle.records("t")[0].flags.to_string(), "UT");
        assert_eq!(pod.app.log.borrow()[0].headers["x-envoy-expected-rq-timeout-ms"], "30");
        // The default conditions do not retry a per-try timeout: one try, then 504.
        impatient.policy.timeout = None;
        impatient.policy.retry = Some(RetryPolicy { per_try_timeout: Some(Duration::from_millis(20)), ..RetryPolicy::default() });
        caller.handle.publish(caller_snapshot(vec![impatient], clusters));
        let reply = get(caller.outbound.unwrap(), URI, &[("x-request-id", "p")]).await;
        let record = caller.handle.records("p").pop().unwrap();
        assert_eq!((reply.status, record.attempts.len(), record.flags.to_string()), (504, 1, "UT".to_owned()));
    });
}

#[test]
fn one_connection_and_one_waiting_let_two_of_five_through() {
    run(async {
        let (release, hold) = tokio::sync::watch::channel(false);
        let app = App::start(move |_| {
            let mut hold = hold.clone();
            async move {
                hold.wait_for(|free| *free).await.unwrap();
                text(200, "ok")
            }
        });
        let pod = user_pod("127.70.5.5", "ctx1", app);
        let mut small = cluster(None, &[(pod.address, pod.workload.clone())]);
        small.limits.max_connections = 1;
        small.limits.max_pending_requests = 1;
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![small]));
        let door = caller.outbound.unwrap();
        let first = tokio::task::spawn_local(get_at(door));
        while pod.app.log.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..4).map(|_| tokio::task::spawn_local(get_at(door))).collect();
        let mut overflowed = 0;
        while overflowed < 3 {
            tokio::task::yield_now().await;
            overflowed = others.iter().filter(|other| other.is_finished()).count();
        }
        release.send(true).unwrap();
        let mut statuses = vec![first.await.unwrap().status];
        for other in others {
            let reply = other.await.unwrap();
            if reply.status == 503 {
                assert_eq!(reply.header("x-envoy-overloaded"), "true");
                assert!(reply.body.ends_with("reset reason: overflow"), "{}", reply.body);
            }
            statuses.push(reply.status);
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 503, 503, 503]);
    });
}

async fn get_at(door: std::net::SocketAddr) -> Reply {
    get(door, URI, &[]).await
}

#[test]
fn a_failing_endpoint_is_ejected_and_comes_back() {
    run(async {
        let sick = Rc::new(Cell::new(true));
        let health = sick.clone();
        let bad = user_pod(
            "127.70.5.6",
            "ctx1",
            App::start(move |_| {
                let sick = health.get();
                async move { if sick { text(500, "sick") } else { text(200, "well") } }
            }),
        );
        let good = user_pod("127.70.5.7", "ctx1", App::saying("good"));
        let mut guarded = cluster(None, &[(bad.address, bad.workload.clone()), (good.address, good.workload.clone())]);
        guarded.outlier = Some(OutlierDetection {
            consecutive_5xx: 2,
            interval: Duration::from_millis(50),
            base_ejection_time: Duration::from_millis(700),
            max_ejection_percent: 50,
            ..OutlierDetection::default()
        });
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![guarded]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let mut failures = 0;
        while failures < 2 {
            failures += usize::from(client.get(URI, &[]).await.status == 500);
        }
        assert_eq!(client.get(URI, &[("x-request-id", "after")]).await.body, "good");
        assert_eq!(caller.handle.records("after")[0].attempts[0].ejected, [bad.address]);
        assert!(get(caller.admin, "/clusters", &[]).await.body.contains("\"ejected\": true"));
        sick.set(false);
        // It returns on a tick of the interval; requests go on meanwhile.
        while client.get(URI, &[]).await.body != "well" {}
    });
}

#[test]
fn one_connection_carries_many_requests() {
    run(async {
        let pod = user_pod("127.70.5.8", "ctx1", App::saying("ok"));
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[(pod.address, pod.workload.clone())])]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for _ in 0..10 {
            assert_eq!(client.get(URI, &[]).await.status, 200);
        }
        let connects = |metrics: String| {
            metrics
                .lines()
                .find(|line| line.starts_with("envoy_cluster_upstream_cx_total{"))
                .unwrap()
                .rsplit(' ')
                .next()
                .unwrap()
                .to_owned()
        };
        assert_eq!(connects(caller.handle.metrics()), "1");
    });
}
