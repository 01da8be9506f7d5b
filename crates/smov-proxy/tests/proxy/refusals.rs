//! Requests that get no upstream's answer: status, flag, body, as Envoy has them.

use std::time::Duration;

use smov_model::route::{AbortStatus, Fault, Percent, RouteMatch};
use smov_model::snapshot::UnknownHosts;
use smov_model::text::StringMatch;

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

/// Status, flags as recorded, body.
async fn outcome(caller: &Running, uri: &str) -> (u16, String, String) {
    let reply = get(caller.outbound.unwrap(), uri, &[("x-request-id", "probe")]).await;
    let record = caller.handle.records("probe").pop().unwrap();
    assert_eq!(record.status, reply.status);
    (reply.status, record.flags.to_string(), reply.body)
}

fn told(status: u16, flags: &str, body: &str) -> (u16, String, String) {
    (status, flags.to_owned(), body.to_owned())
}

#[test]
fn each_dead_end_has_its_status_flag_and_body() {
    run(async {
        let missing = caller(caller_snapshot(vec![rule(to(&[(1, Some("ctx1"))]))], vec![]));
        assert_eq!(outcome(&missing, URI).await, told(503, "NC", ""));
        let empty = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &[])]));
        assert_eq!(outcome(&empty, URI).await, told(503, "UH", "no healthy upstream"));
        let mut narrow = rule(to(&[(1, None)]));
        narrow.matches = vec![RouteMatch { uri: Some(StringMatch::Exact("/only".into())), ..RouteMatch::default() }];
        let narrow = caller(caller_snapshot(vec![narrow], vec![]));
        assert_eq!(outcome(&narrow, URI).await, told(404, "NR", ""));
        let dead = [(nobody().await, workload("dead", "user-service-ctx1", "ctx1"))];
        let dead = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &dead)]));
        let body =
            "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: remote connection failure";
        assert_eq!(outcome(&dead, URI).await, told(503, "URX,UF", body));
        assert_eq!(dead.handle.records("probe")[0].attempts.len(), 3);
    });
}

#[test]
fn without_a_snapshot_the_answer_says_so() {
    run(async {
        let running = start(config(smov_model::wire::ProxyRole::Sidecar, CALLER, "api-gateway-1", "ctx1"), dice());
        let reply = get(running.outbound.unwrap(), URI, &[]).await;
        assert_eq!((reply.status, reply.body.as_str()), (503, "no configuration has arrived from the control plane yet"));
        assert_eq!(get(running.ready, "/healthz/ready", &[]).await.status, 503);
        running.handle.publish(caller_snapshot(vec![], vec![]));
        assert_eq!(get(running.ready, "/healthz/ready", &[]).await.status, 200);
    });
}

#[test]
fn an_upstream_that_hangs_up_is_uc_and_one_that_babbles_is_upe() {
    run(async {
        for (babble, expected) in [("", (503, "UC", "connection termination")), ("nonsense\r\n\r\n", (502, "UPE", "protocol error"))] {
            let listener = tokio::net::TcpListener::bind("127.70.3.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::task::spawn_local(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await;
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, babble.as_bytes()).await;
            });
            let endpoints = [(address, workload("odd", "user-service-ctx1", "ctx1"))];
            let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &endpoints)]));
            let (status, flags, reason) = expected;
            let body = format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
            assert_eq!(outcome(&caller, URI).await, told(status, flags, &body));
        }
    });
}

#[test]
fn an_injected_abort_never_leaves_the_proxy() {
    run(async {
        let mut aborting = rule(to(&[(1, None)]));
        let always = Percent::new(100.0).unwrap();
        aborting.policy.fault =
            Some(Fault { delay: Some((always, Duration::from_millis(5))), abort: Some((always, AbortStatus::Http(418))) });
        let caller = caller(caller_snapshot(vec![aborting], vec![]));
        assert_eq!(outcome(&caller, URI).await, told(418, "DI,FI", "fault filter abort"));
        let record = caller.handle.records("probe").pop().unwrap();
        assert_eq!((record.injected_delay, record.attempts.len()), (5000, 0));
        assert_eq!(record.draws.iter().map(|draw| draw.outcome.as_str()).collect::<Vec<_>>(), ["delay", "abort"]);
    });
}

#[test]
fn unknown_hosts_are_forwarded_by_name_but_never_into_the_mesh_itself() {
    run(async {
        let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = outside.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            loop {
                let (mut stream, _) = outside.accept().await.unwrap();
                let mut head = [0; 1024];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\noutside";
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
            }
        });
        let mut snapshot = caller_snapshot(vec![], vec![]);
        let caller = caller(snapshot.clone());
        let uri = format!("http://localhost:{}/", address.port());
        assert_eq!(outcome(&caller, &uri).await, told(200, "-", "outside"));
        snapshot.protected = vec![address];
        caller.handle.publish(snapshot.clone());
        assert_eq!(outcome(&caller, &uri).await.0, 502);
        snapshot.unknown_hosts = UnknownHosts::RegistryOnly;
        caller.handle.publish(snapshot);
        assert_eq!(outcome(&caller, &uri).await, told(502, "-", ""));
        let metrics = caller.handle.metrics();
        assert!(metrics.contains("destination_service_name=\"PassthroughCluster\"") && metrics.contains("\"BlackHoleCluster\""));
    });
}

#[test]
fn what_this_proxy_does_not_speak_is_refused_clearly() {
    run(async {
        let caller = caller(caller_snapshot(vec![], vec![]));
        let door = caller.outbound.unwrap();
        assert!(raw(door, "CONNECT user-service:8081 HTTP/1.1\r\nhost: user-service:8081\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        let upgrade = "GET http://user-service:8081/ HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        let answer = raw(door, upgrade).await;
        assert!(answer.starts_with("HTTP/1.1 501") && answer.contains("`websocket`"), "{answer}");
        let preface = raw(door, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(preface.starts_with("HTTP/1.1 505"), "{preface}");
        assert!(
            raw(door, "GET http://a/ HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.1 426")
                || raw(door, "GET http://a/ HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 426")
        );
        assert!(raw(door, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    });
}
