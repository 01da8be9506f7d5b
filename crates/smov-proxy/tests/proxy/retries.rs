//! Retries word by word, what is sent again, and what a retry costs.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt;
use smov_model::route::{RetryOn, RetryPolicy, RouteRule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

/// An upstream that does this with every connection once a request has come.
async fn upstream<F: Future<Output = ()> + 'static>(act: impl Fn(TcpStream) -> F + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.70.14.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0_u8; 4096];
            let _ = stream.read(&mut head).await;
            tokio::task::spawn_local(act(stream));
        }
    });
    address
}

async fn answering(status: &'static str) -> SocketAddr {
    upstream(move |mut stream| async move {
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await;
    })
    .await
}

fn retrying(on: RetryOn) -> RouteRule {
    let mut rule = rule(to(&[(1, None)]));
    let per_try_timeout = Some(Duration::from_millis(40));
    rule.policy.retry =
        Some(RetryPolicy { attempts: 1, per_try_timeout, on, backoff: Duration::from_micros(10), ..RetryPolicy::default() });
    rule
}

#[test]
fn every_word_of_retry_on_retries_its_own_and_nothing_else() {
    run(async {
        let reset = upstream(|stream| async move { drop(stream) }).await;
        let hang = upstream(|stream| async move {
            std::future::pending::<()>().await;
            drop(stream);
        })
        .await;
        let upstreams = [
            ("500", answering("500 Internal Server Error").await),
            ("503", answering("503 Service Unavailable").await),
            ("409", answering("409 Conflict").await),
            ("418", answering("418 I'm a teapot").await),
            ("404", answering("404 Not Found").await),
            ("grpc", answering("200 OK\r\ngrpc-status: 14").await),
            ("cancelled", answering("200 OK\r\ngrpc-status: 1").await),
            ("reset", reset),
            ("hang", hang),
            ("refused", nobody().await),
        ];
        let on = RetryOn::default;
        let words: [(&str, RetryOn, &[&str]); 10] = [
            ("5xx", RetryOn { any_5xx: true, ..on() }, &["500", "503", "reset", "hang", "refused"]),
            ("gateway-error", RetryOn { gateway_error: true, ..on() }, &["503", "reset", "hang", "refused"]),
            ("reset", RetryOn { reset: true, ..on() }, &["reset", "hang", "refused"]),
            ("reset-before-request", RetryOn { reset_before_request: true, ..on() }, &["refused"]),
            ("connect-failure", RetryOn { connect_failure: true, ..on() }, &["refused"]),
            ("refused-stream", RetryOn { refused_stream: true, ..on() }, &[]),
            ("retriable-4xx", RetryOn { retriable_4xx: true, ..on() }, &["409"]),
            ("retriable-status-codes", RetryOn { status_codes: vec![418], ..on() }, &["418"]),
            ("unavailable", RetryOn { unavailable: true, ..on() }, &["grpc"]),
            ("cancelled", RetryOn { cancelled: true, ..on() }, &["cancelled"]),
        ];
        let caller = caller(caller_snapshot(vec![], vec![]));
        for (word, on, retried) in words {
            for (name, address) in &upstreams {
                let endpoint = (*address, workload("odd", "user-service-ctx1", "ctx1"));
                caller.handle.publish(caller_snapshot(vec![retrying(on.clone())], vec![cluster(None, &[endpoint])]));
                let id = format!("{word}-{name}");
                get(caller.outbound.unwrap(), URI, &[("x-request-id", &id), ("content-type", "application/grpc")]).await;
                let record = caller.handle.records(&id).pop().unwrap();
                let expected = if retried.contains(name) { 2 } else { 1 };
                assert_eq!(record.attempts.len(), expected, "{word} on {name}: {:?}", record.attempts);
                assert_eq!(record.flags.to_string().starts_with("URX"), expected == 2, "{word} on {name}: {}", record.flags);
            }
        }
    });
}

#[test]
fn a_body_is_sent_again_up_to_one_mebibyte() {
    run(async {
        let failures = Rc::new(Cell::new(0_u32));
        let left = failures.clone();
        let app = App::start(move |request| {
            let left = left.clone();
            async move {
                let length = request.into_body().collect().await.unwrap().to_bytes().len();
                if left.get() > 0 {
                    left.set(left.get() - 1);
                    return text(503, "not yet");
                }
                text(200, length.to_string())
            }
        });
        let pod = user_pod("127.70.14.2", "ctx1", app);
        let mut rule = retrying(RetryOn { gateway_error: true, ..RetryOn::default() });
        rule.policy.retry.as_mut().unwrap().per_try_timeout = None;
        let caller = caller(caller_snapshot(vec![rule], vec![cluster(None, &[(pod.address, pod.workload.clone())])]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for (size, expected) in [(1 << 20, (200, "1048576")), ((1 << 20) + 1, (503, "not yet"))] {
            failures.set(1);
            let reply = client.call(request("POST", URI, &[], &"x".repeat(size))).await;
            assert_eq!((reply.status, reply.body.as_str()), expected, "{size} bytes");
            failures.set(0);
        }
    });
}

#[test]
fn a_retry_too_many_is_an_overflow() {
    run(async {
        let address = answering("503 Service Unavailable").await;
        let mut limited = cluster(None, &[(address, workload("odd", "user-service-ctx1", "ctx1"))]);
        limited.limits.max_retries = 0;
        let rule = retrying(RetryOn { any_5xx: true, ..RetryOn::default() });
        let caller = caller(caller_snapshot(vec![rule.clone()], vec![limited.clone()]));
        let status = get(caller.outbound.unwrap(), URI, &[("x-request-id", "o")]).await.status;
        let record = caller.handle.records("o").pop().unwrap();
        assert_eq!((status, record.attempts.len(), record.flags.to_string()), (503, 1, "UO".to_owned()));
        limited.endpoints[0].address = nobody().await;
        caller.handle.publish(caller_snapshot(vec![rule], vec![limited]));
        get(caller.outbound.unwrap(), URI, &[("x-request-id", "f")]).await;
        assert_eq!(caller.handle.records("f")[0].flags.to_string(), "UO,UF");
    });
}

/// Envoy gives the permit of the retry before back, and then asks for the next.
#[test]
fn a_request_that_retries_twice_holds_one_permit_for_it() {
    run(async {
        for address in [answering("503 Service Unavailable").await, nobody().await] {
            let mut limited = cluster(None, &[(address, workload("odd", "user-service-ctx1", "ctx1"))]);
            limited.limits.max_retries = 1;
            let mut rule = retrying(RetryOn { any_5xx: true, ..RetryOn::default() });
            rule.policy.retry.as_mut().unwrap().attempts = 2;
            let caller = caller(caller_snapshot(vec![rule], vec![limited]));
            get(caller.outbound.unwrap(), URI, &[("x-request-id", "two")]).await;
            let record = caller.handle.records("two").pop().unwrap();
            assert_eq!(record.attempts.len(), 3, "{record:?}");
            assert!(record.flags.to_string().starts_with("URX"), "{}", record.flags);
        }
    });
}

#[test]
fn a_timeout_strikes_in_the_middle_of_a_body() {
    run(async {
        let address = upstream(|mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf-").await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut impatient = rule(to(&[(1, None)]));
        impatient.policy.timeout = Some(Duration::from_millis(50));
        let endpoint = (address, workload("odd", "user-service-ctx1", "ctx1"));
        let caller = caller(caller_snapshot(vec![impatient], vec![cluster(None, &[endpoint])]));
        let answer = raw(caller.outbound.unwrap(), &format!("GET {URI} HTTP/1.1\r\nhost: x\r\nx-request-id: t\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("half-"), "cut off, not completed: {answer}");
        let record = caller.handle.records("t").pop().unwrap();
        assert_eq!((record.status, record.flags.to_string()), (200, "UT".to_owned()));
    });
}

/// As in Envoy, whose timers start when the whole request is there.
#[test]
fn a_slow_upload_is_no_timeout_and_the_wait_after_it_is_one() {
    run(async {
        let app = App::start(|request| async move {
            let whole = request.into_body().collect().await.unwrap().to_bytes();
            if whole == "hang" {
                std::future::pending::<()>().await;
            }
            text(200, whole)
        });
        let pod = user_pod("127.70.14.6", "ctx1", app);
        let limit = Some(Duration::from_millis(60));
        let (mut overall, mut each) = (rule(to(&[(1, None)])), rule(to(&[(1, None)])));
        overall.policy.timeout = limit;
        each.policy.retry.as_mut().unwrap().per_try_timeout = limit;
        let caller = caller(caller_snapshot(vec![], vec![]));
        for rule in [overall, each] {
            caller.handle.publish(caller_snapshot(vec![rule], vec![cluster(None, &[(pod.address, pod.workload.clone())])]));
            for framing in ["content-length: 4\r\n\r\n{}{}", "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n2\r\n{}\r\n0\r\n\r\n"] {
                for (start, end, expected) in [("sl", "ow", "HTTP/1.1 200"), ("ha", "ng", "HTTP/1.1 504")] {
                    let mut stream = TcpStream::connect(caller.outbound.unwrap()).await.unwrap();
                    let head = format!("POST {URI} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{framing}");
                    let (before, after) = head.split_once("{}").unwrap();
                    stream.write_all(format!("{before}{start}").as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    stream.write_all(after.replace("{}", end).as_bytes()).await.unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).await.unwrap();
                    assert!(answer.starts_with(expected), "{start}{end}: {answer}");
                }
            }
        }
    });
}

/// Nobody reads the upload while the request waits for a connection: that is not the client's slowness.
#[test]
fn a_request_with_a_body_that_waits_for_a_connection_is_timed_out() {
    run(async {
        let pod = user_pod("127.70.14.7", "ctx1", App::start(|_| async { std::future::pending().await }));
        let mut narrow = cluster(None, &[(pod.address, pod.workload.clone())]);
        narrow.limits.max_connections = 1;
        let mut impatient = rule(to(&[(1, None)]));
        impatient.policy.timeout = Some(Duration::from_millis(60));
        let caller = caller(caller_snapshot(vec![canary_rule(to(&[(1, None)])), impatient], vec![narrow]));
        let door = caller.outbound.unwrap();
        let first = tokio::task::spawn_local(get(door, URI, &[("x-canary", "true")]));
        while pod.app.log.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut client = Client::connect(door).await;
        let asked = client.call(request("POST", URI, &[], "body"));
        let reply = tokio::time::timeout(Duration::from_secs(5), asked).await.expect("the timeout strikes");
        assert_eq!((reply.status, reply.body.as_str()), (504, "upstream request timeout"));
        first.abort();
    });
}

#[test]
fn a_connection_for_each_request_where_the_rule_wants_that() {
    run(async {
        let pod = user_pod("127.70.14.3", "ctx1", App::saying("ok"));
        let mut one_each = cluster(None, &[(pod.address, pod.workload.clone())]);
        one_each.limits.max_requests_per_connection = 1;
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![one_each]));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for _ in 0..5 {
            assert_eq!(client.get(URI, &[]).await.status, 200);
        }
        let metrics = caller.handle.metrics();
        let connects = metrics.lines().find(|line| line.starts_with("envoy_cluster_upstream_cx_total{")).unwrap();
        assert!(connects.ends_with(" 5"), "{connects}");
    });
}

#[test]
fn requests_over_the_limit_overflow_at_once_and_are_not_retried() {
    run(async {
        let pod = user_pod("127.70.14.5", "ctx1", App::start(|_| async { std::future::pending().await }));
        let mut narrow = cluster(None, &[(pod.address, pod.workload.clone())]);
        narrow.limits.max_requests = 1;
        let on = RetryOn { any_5xx: true, gateway_error: true, reset: true, ..RetryOn::default() };
        let mut rule = retrying(on);
        rule.policy.retry.as_mut().unwrap().per_try_timeout = None;
        let caller = caller(caller_snapshot(vec![rule], vec![narrow]));
        let door = caller.outbound.unwrap();
        let first = tokio::task::spawn_local(get(door, URI, &[]));
        while pod.app.log.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        let reply = get(door, URI, &[("x-request-id", "over")]).await;
        let body = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
        assert_eq!((reply.status, reply.body.as_str(), reply.header("x-envoy-overloaded")), (503, body, "true"));
        let record = caller.handle.records("over").pop().unwrap();
        assert_eq!((record.attempts.len(), record.flags.to_string()), (1, "UO".to_owned()));
        first.abort();
    });
}

#[test]
fn several_workers_share_the_load_and_the_books() {
    run(async {
        let pod = user_pod("127.70.14.4", "ctx1", App::saying("ok"));
        let mut config = config(smov_model::wire::ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1");
        config.concurrency = 3;
        let caller = start(config, dice());
        let mut small = cluster(None, &[(pod.address, pod.workload.clone())]);
        small.limits.max_requests = 1000;
        caller.handle.publish(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![small]));
        let door = caller.outbound.unwrap();
        let calls: Vec<_> = (0..60)
            .map(|number| tokio::task::spawn_local(async move { get(door, URI, &[("x-request-id", &format!("w-{number}"))]).await.status }))
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), 200);
        }
        let (edges, rows, seen) = caller.handle.report();
        assert_eq!((edges[0].requests, rows.len(), seen), (60, 60, 60));
        assert!((0..60).all(|number| caller.handle.records(&format!("w-{number}")).len() == 1));
        caller.shutdown.cancel();
        caller.task.await.unwrap().unwrap();
        assert!(TcpStream::connect(door).await.is_err(), "every worker has let go of the door");
    });
}
