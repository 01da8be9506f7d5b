//! Mirrors: copies that change nothing for the request itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt;
use smov_model::cluster::Cluster;
use smov_model::route::{HeaderChange, Mirror, Percent, RetryOn, RetryPolicy, Rewrite, RouteRule};

use crate::support::*;

const URI: &str = "http://user-service:8081/users/1?a=1";

fn mirrored(rule: RouteRule, subset: &str, percent: f64) -> RouteRule {
    let mut rule = rule;
    rule.policy.mirrors.push(Mirror { cluster: cluster_name(Some(subset)), share: Percent::new(percent).unwrap() });
    rule
}

fn of(subset: &str, pod: &Pod) -> Cluster {
    cluster(Some(subset), &[(pod.address, pod.workload.clone())])
}

/// Waits until something is true; the test's own time limit ends it otherwise.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An app that keeps the bodies that it got.
fn keeping(bodies: &Rc<RefCell<Vec<String>>>) -> App {
    let bodies = bodies.clone();
    App::start(move |request| {
        let bodies = bodies.clone();
        async move {
            let body = request.into_body().collect().await.map(|body| body.to_bytes());
            bodies.borrow_mut().push(body.map_or_else(|_| "broken".into(), |body| String::from_utf8(body.to_vec()).unwrap()));
            text(500, "the mirror fails")
        }
    })
}

#[test]
fn a_mirror_gets_the_request_as_the_upstream_gets_it_and_nobody_hears_of_its_answer() {
    run(async {
        let bodies = Rc::default();
        let live = user_pod(
            "127.70.10.1",
            "ctx1",
            App::start(|request| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                text(200, body)
            }),
        );
        let shadow = user_pod("127.70.10.2", "ctx2", keeping(&bodies));
        let mut rule = mirrored(rule(to(&[(1, Some("ctx1"))])), "ctx2", 100.0);
        rule.policy.rewrite = Some(Rewrite { uri: Some("/v2/".into()), ..Rewrite::default() });
        rule.policy.headers.request = HeaderChange { set: vec![("x-set".into(), "made".into())], ..HeaderChange::default() };
        let caller = caller(caller_snapshot(vec![rule], vec![of("ctx1", &live), of("ctx2", &shadow)]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let reply = client.call(request("POST", URI, &[("x-request-id", "m")], "hello")).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
        until(|| !bodies.borrow().is_empty()).await;
        assert_eq!(bodies.borrow().as_slice(), ["hello"]);
        let (original, copy) = (live.app.log.borrow()[0].clone(), shadow.app.log.borrow()[0].clone());
        assert_eq!((copy.method.as_str(), copy.uri.as_str()), ("POST", "/v2/users/1?a=1"));
        for name in ["host", "x-set", "x-request-id", "content-length", "x-envoy-original-path", "x-envoy-attempt-count"] {
            assert_eq!(copy.headers[name], original.headers[name], "{name}");
        }
        assert_eq!(
            (&copy.headers["x-envoy-internal"], &copy.headers["x-forwarded-for"]),
            (&"true".parse().unwrap(), &CALLER.parse().unwrap())
        );
        let record = caller.handle.records("m").pop().unwrap();
        assert_eq!((record.mirrors, record.status), (vec![cluster_name(Some("ctx2"))], 200));
        // The mirror's proxy counts it, the caller's does not.
        until(|| shadow.sidecar.handle.metrics().contains("istio_requests_total{")).await;
        let ours = caller.handle.metrics();
        assert_eq!(ours.lines().filter(|line| line.starts_with("istio_requests_total{")).count(), 1, "{ours}");
    });
}

#[test]
fn a_share_of_the_requests_is_mirrored_and_retries_are_not() {
    run(async {
        let live = user_pod("127.70.10.3", "ctx1", App::start(|_| async { text(503, "no") }));
        let shadow = user_pod("127.70.10.4", "ctx2", App::saying("shadow"));
        let mut rule = mirrored(mirrored(rule(to(&[(1, Some("ctx1"))])), "ctx2", 30.0), "gone", 100.0);
        let on = RetryOn { any_5xx: true, ..RetryOn::default() };
        rule.policy.retry = Some(RetryPolicy { attempts: 1, on, backoff: Duration::from_micros(10), ..RetryPolicy::default() });
        let caller = caller(caller_snapshot(vec![rule], vec![of("ctx1", &live), of("ctx2", &shadow)]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        let mut copies = 0;
        for number in 0..300 {
            let id = format!("m-{number}");
            assert_eq!(client.get(URI, &[("x-request-id", &id)]).await.status, 503);
            let record = caller.handle.records(&id).pop().unwrap();
            assert_eq!(record.attempts.len(), 2);
            let drawn = record.draws.iter().find(|draw| draw.outcome == "mirror").is_some();
            assert_eq!(record.mirrors.len(), usize::from(drawn), "a mirror without cluster gets nothing");
            copies += usize::from(drawn);
        }
        // 99.99 % of a fair 30 % over 300.
        assert!((59..=122).contains(&copies), "{copies}");
        until(|| shadow.app.log.borrow().len() >= copies).await;
        assert_eq!((shadow.app.log.borrow().len(), live.app.log.borrow().len()), (copies, 600));
    });
}

#[test]
fn a_mirror_that_hangs_delays_nothing_and_falls_behind_alone() {
    run(async {
        let taken = Rc::new(Cell::new(0));
        let count = taken.clone();
        let live = user_pod(
            "127.70.10.5",
            "ctx1",
            App::start(move |request| {
                let count = count.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    count.set(body.len());
                    text(200, "done")
                }
            }),
        );
        // Never reads: its copy may wait with so much and no more.
        let hanging = tokio::net::TcpListener::bind("127.70.10.6:0").await.unwrap();
        let endpoint = (hanging.local_addr().unwrap(), workload("stuck", "user-service-ctx2", "ctx2"));
        let rule = mirrored(rule(to(&[(1, Some("ctx1"))])), "ctx2", 100.0);
        let caller = caller(caller_snapshot(vec![rule], vec![of("ctx1", &live), cluster(Some("ctx2"), &[endpoint])]));
        let body = "x".repeat(16 << 20);
        let reply = Client::connect(caller.outbound.unwrap()).await.call(request("POST", URI, &[], &body)).await;
        assert_eq!((reply.status, taken.get()), (200, 16 << 20));
        // Given up: the connection to the mirror is closed before its body is whole.
        let (mut stream, _) = hanging.accept().await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
        assert!(rest.len() < 16 << 20, "{}", rest.len());
    });
}
