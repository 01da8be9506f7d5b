//! AuthorizationPolicies where they act: at the pod's ports and at a gateway's.

use std::time::Duration;

use smov_model::authorization::{Among, Authorization, Chain, Condition, PathMatch, Rule, RuleSet, TextMatch, Verdict};
use smov_model::names::ResourceRef;
use smov_model::route::Origin;
use smov_model::snapshot::Snapshot;
use smov_model::tls::{ClusterTls, MutualTlsMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::tls::{CALLER_ACCOUNT, caller_with, metric, mutual, pod, secured};
use super::tls_tcp::{doors_draining, own};
use crate::authority::{Authority, identity};
use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

fn rule_of(name: &str, conditions: Vec<Condition>) -> Rule {
    let resource =
        ResourceRef { kind: "AuthorizationPolicy".into(), namespace: "t".into(), name: name.into(), resource_version: "1".into() };
    let origin = Origin { resource, path: "spec.rules[0]".into(), name: String::new() };
    Rule { id: Rule::id_of("t", name, 0), origin, from: Vec::new(), to: Vec::new(), when: conditions }
}

fn set(rules: Vec<Rule>) -> RuleSet {
    RuleSet { policies: rules.iter().map(|rule| rule.origin.resource.clone()).collect(), rules }
}

fn principal(name: &str) -> Condition {
    Condition::Principal(Among { values: vec![TextMatch::of(&format!("cluster.local/ns/t/sa/{name}"))], not_values: Vec::new() })
}

fn path(path: &str) -> Condition {
    Condition::Path(Among { values: vec![PathMatch::Text(TextMatch::of(path))], not_values: Vec::new() })
}

fn nothing() -> RuleSet {
    RuleSet { policies: set(vec![rule_of("allow-nothing", Vec::new())]).policies, rules: Vec::new() }
}

fn http(chain: Chain) -> Authorization {
    Authorization { http: chain, tcp: Chain::default() }
}

fn publish(pod: &Pod, authorization: Authorization) {
    let mut snapshot = pod_snapshot(pod);
    snapshot.peers.insert(ip(CALLER), account(&caller_workload(), CALLER_ACCOUNT));
    pod.sidecar.handle.publish(Snapshot { authorization, ..snapshot });
}

#[test]
fn a_request_that_is_refused_gets_a_word_and_the_record_gets_the_rule() {
    run(async {
        let pod = user_pod("127.70.80.1", "ctx1", App::saying("ok"));
        publish(&pod, http(Chain { deny: set(vec![rule_of("no-admin", vec![path("/admin*")])]), ..Chain::default() }));
        let mut client = Client::connect(pod.address).await;
        assert_eq!(client.get(URI, &[("x-request-id", "fine")]).await.status, 200);
        for path in ["/admin", "/public/../admin", "/%61dmin?x=1"] {
            let uri = format!("http://user-service:8081{path}");
            let reply = client.get(&uri, &[("x-request-id", "refused")]).await;
            assert_eq!((reply.status, reply.body.as_str(), reply.header("server")), (403, "RBAC: access denied", "istio-envoy"), "{path}");
            assert!(reply.headers.iter().all(|(_, value)| !value.to_str().unwrap_or_default().contains("no-admin")), "{:?}", reply.headers);
        }
        assert_eq!(pod.app.log.borrow().len(), 1, "the app saw only what was allowed");
        let records = pod.sidecar.handle.records("refused");
        let taken = records[0].authorization.as_ref().unwrap();
        let rule = taken.decision.rule.as_ref().unwrap();
        assert_eq!(
            (taken.decision.verdict, rule.resource.name.as_str(), rule.path.as_str()),
            (Verdict::Denied, "no-admin", "spec.rules[0]")
        );
        assert_eq!((records[0].status, records[0].flags.to_string()), (403, "-".to_owned()));
        assert_eq!(pod.sidecar.handle.records("fine")[0].authorization.as_ref().unwrap().decision.verdict, Verdict::Open);
        let page = pod.sidecar.handle.metrics();
        assert_eq!(metric(&page, &["istio_requests_total", "response_code=\"403\"", "response_flags=\"-\""]), 3, "{page}");
    });
}

#[test]
fn allow_nothing_refuses_all_and_its_end_lets_all_pass() {
    run(async {
        let pod = user_pod("127.70.80.2", "ctx1", App::saying("ok"));
        publish(&pod, http(Chain { allow: nothing(), ..Chain::default() }));
        let mut client = Client::connect(pod.address).await;
        assert_eq!(client.get(URI, &[("x-request-id", "none")]).await.status, 403);
        let taken = pod.sidecar.handle.records("none")[0].authorization.clone().unwrap();
        assert_eq!((taken.decision.verdict, taken.decision.policies[0].name.as_str()), (Verdict::NotAllowed, "allow-nothing"));
        publish(&pod, Authorization::default());
        assert_eq!(client.get(URI, &[("x-request-id", "after")]).await.status, 200, "the same connection");
        assert_eq!(pod.sidecar.handle.records("after")[0].authorization, None);
    });
}

#[test]
fn an_identity_is_what_mutual_tls_has_proved_and_nothing_else() {
    run(async {
        let authority = Authority::new();
        let pod = pod("127.70.80.3", App::saying("ok"), MutualTlsMode::Permissive, &authority);
        let caller = caller_with(&authority, secured(&pod, ClusterTls::Auto(mutual(&[&identity("user-service")]))));
        publish(&pod, http(Chain { allow: set(vec![rule_of("friends", vec![principal(CALLER_ACCOUNT)])]), ..Chain::default() }));
        assert_eq!(get(caller.outbound.unwrap(), URI, &[("x-request-id", "friend")]).await.status, 200);
        let told = pod.sidecar.handle.records("friend")[0].authorization.clone().unwrap().decision;
        assert_eq!((told.verdict, told.rule.unwrap().resource.name), (Verdict::Allowed, "friends".to_owned()));
        let forged = format!("By=x;URI={}", identity(CALLER_ACCOUNT));
        let reply = get(pod.address, URI, &[("x-forwarded-client-cert", &forged)]).await;
        assert_eq!((reply.status, reply.body.as_str()), (403, "RBAC: access denied"));
        publish(&pod, http(Chain { deny: set(vec![rule_of("foes", vec![principal(CALLER_ACCOUNT)])]), ..Chain::default() }));
        let reply = get(caller.outbound.unwrap(), URI, &[("x-request-id", "foe")]).await;
        assert_eq!((reply.status, reply.body.as_str()), (403, "RBAC: access denied"));
        assert_eq!(caller.handle.records("foe")[0].attempts.len(), 1, "not retried");
        assert_eq!(get(pod.address, URI, &[]).await.status, 200, "plaintext has no identity that a rule could name");
    });
}

#[test]
fn what_would_happen_is_noted_and_does_not() {
    run(async {
        let pod = user_pod("127.70.80.4", "ctx1", App::saying("ok"));
        let chain = Chain { audit: set(vec![rule_of("look", vec![])]), dry_run_allow: nothing(), ..Chain::default() };
        publish(&pod, http(chain));
        assert_eq!(get(pod.address, URI, &[("x-request-id", "dry")]).await.status, 200);
        let taken = pod.sidecar.handle.records("dry")[0].authorization.clone().unwrap();
        assert_eq!((taken.decision.verdict, taken.dry_run.unwrap().verdict), (Verdict::Open, Verdict::NotAllowed));
        assert_eq!(taken.audit.unwrap().resource.name, "look");
    });
}

#[test]
fn a_gateway_refuses_before_it_says_that_there_is_no_route() {
    run(async {
        let pod = user_pod("127.70.80.5", "ctx1", App::saying("ok"));
        let endpoints = [(pod.address, pod.workload.clone())];
        let mut snapshot = caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &endpoints)]);
        let mut table = snapshot.outbound.remove(&port(8081)).unwrap();
        table.hosts[0].domains = vec!["theater.example.com".parse().unwrap()];
        snapshot.ingress.insert(port(80), table);
        snapshot.authorization = http(Chain { deny: set(vec![rule_of("door", vec![path("/admin")])]), ..Chain::default() });
        let gateway = ingress(snapshot);
        let door = gateway.ingress.unwrap();
        assert_eq!(get(door, "/users/", &[("host", "theater.example.com")]).await.status, 200);
        for (host, expected) in [("theater.example.com", "RBAC: access denied"), ("nobody.example.com", "RBAC: access denied")] {
            let reply = get(door, "/admin", &[("host", host), ("x-request-id", host)]).await;
            assert_eq!((reply.status, reply.body.as_str()), (403, expected), "{host}");
            assert_eq!(gateway.handle.records(host)[0].authorization.as_ref().unwrap().decision.verdict, Verdict::Denied);
        }
        assert_eq!(get(door, "/", &[("host", "nobody.example.com")]).await.status, 404);
    });
}

#[test]
fn an_opaque_connection_is_closed_with_its_reason_noted() {
    run(async {
        let (authority, store) = (Authority::new(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = store.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            loop {
                let (mut stream, _) = store.accept().await.unwrap();
                tokio::task::spawn_local(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        let (sidecar, caller) = doors_draining("127.70.80.6", address, MutualTlsMode::Strict, &authority, Duration::from_millis(50));
        let mut kept = TcpStream::connect(caller.doors[0]).await.unwrap();
        let mut word = [0; 4];
        kept.write_all(b"PING").await.unwrap();
        kept.read_exact(&mut word).await.unwrap();

        let deny = Chain { deny: set(vec![rule_of("no-store", vec![principal(CALLER_ACCOUNT)])]), ..Chain::default() };
        let authorization = Authorization { http: Chain::default(), tcp: deny };
        sidecar.handle.publish(Snapshot { authorization, ..own(&sidecar, MutualTlsMode::Strict) });
        assert_eq!(kept.read(&mut word).await.unwrap_or(0), 0, "who was in before is drained");
        assert_eq!(raw(caller.doors[0], "PING").await, "");
        let reason = "rbac_access_denied_matched_policy[ns[t]-policy[no-store]-rule[0]]";
        assert!(sidecar.handle.refused().iter().any(|refused| refused.reason == reason), "{:?}", sidecar.handle.refused());

        sidecar.handle.publish(own(&sidecar, MutualTlsMode::Strict));
        let mut again = TcpStream::connect(caller.doors[0]).await.unwrap();
        again.write_all(b"PING").await.unwrap();
        again.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"PING");
    });
}
