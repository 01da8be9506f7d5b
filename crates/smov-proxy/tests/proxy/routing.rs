//! Which pod gets a request, and in which form.

use std::collections::BTreeMap;

use smov_model::cluster::Cluster;
use smov_model::route::{DirectResponse, HeaderChange, Redirect, Rewrite, RouteAction, RouteMatch};
use smov_model::snapshot::SnapshotVersion;
use smov_model::text::StringMatch;

use crate::support::*;

fn two_pods() -> (Vec<Pod>, Vec<Cluster>) {
    let pods = vec![user_pod("127.70.2.1", "ctx1", App::saying("ctx1")), user_pod("127.70.2.2", "ctx2", App::saying("ctx2"))];
    let clusters = ["ctx1", "ctx2"].iter().zip(&pods).map(|(subset, pod)| cluster(Some(subset), &[(pod.address, pod.workload.clone())]));
    let clusters = clusters.collect();
    (pods, clusters)
}

const SPLIT: [(u32, Option<&str>); 2] = [(70, Some("ctx1")), (30, Some("ctx2"))];

async fn shares(door: std::net::SocketAddr) -> BTreeMap<String, usize> {
    let mut client = Client::connect(door).await;
    let mut counts = BTreeMap::new();
    for number in 0..1000 {
        let id = format!("request-{number}");
        let reply = client.get("http://user-service:8081/users/", &[("x-request-id", &id)]).await;
        assert_eq!(reply.status, 200);
        *counts.entry(reply.body).or_insert(0) += 1;
    }
    counts
}

#[test]
fn a_seeded_split_gives_the_same_counts_each_time() {
    run(async {
        let (_pods, clusters) = two_pods();
        let caller = caller(caller_snapshot(vec![rule(to(&SPLIT))], clusters));
        let first = shares(caller.outbound.unwrap()).await;
        assert_eq!(shares(caller.outbound.unwrap()).await, first);
        // 99.99 % of a fair 70 % over 1,000.
        assert!((642..=756).contains(&first["ctx1"]), "{first:?}");
        assert_eq!(first.values().sum::<usize>(), 1000);
    });
}

#[test]
fn the_canary_header_goes_to_ctx2_whatever_the_split() {
    run(async {
        let (pods, clusters) = two_pods();
        let rules = vec![canary_rule(to(&[(1, Some("ctx2"))])), rule(to(&[(1, Some("ctx1"))]))];
        let caller = caller(caller_snapshot(rules, clusters));
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for _ in 0..20 {
            assert_eq!(client.get("http://user-service:8081/users/", &[("x-canary", "true")]).await.body, "ctx2");
            assert_eq!(client.get("http://user-service:8081/users/", &[("x-canary", "no")]).await.body, "ctx1");
        }
        assert_eq!(pods[0].app.log.borrow().len(), 20);
    });
}

#[test]
fn the_app_sees_the_mesh_headers_but_not_the_peers_name() {
    run(async {
        let (pods, clusters) = two_pods();
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, Some("ctx1"))]))], clusters));
        let headers =
            [("host", "elsewhere:9"), ("x-envoy-retry-on", "5xx"), ("traceparent", "00-1-2-01"), ("connection", "x-hop"), ("x-hop", "1")];
        let reply = get(caller.outbound.unwrap(), "http://user-service:8081/a/../users/?x=%2e", &headers).await;
        assert_eq!((reply.status, reply.header("server")), (200, "envoy"));
        assert!(reply.headers.contains_key("x-envoy-upstream-service-time"));
        let seen = pods[0].app.log.borrow()[0].clone();
        assert_eq!((seen.uri.as_str(), &seen.headers["host"]), ("/users/?x=%2e", &"user-service:8081".parse().unwrap()));
        assert_eq!(
            (&seen.headers["x-envoy-attempt-count"], &seen.headers["x-forwarded-proto"]),
            (&"1".parse().unwrap(), &"http".parse().unwrap())
        );
        assert_eq!(seen.headers["x-request-id"].len(), 36);
        assert_eq!(seen.headers["traceparent"], "00-1-2-01");
        for gone in ["x-envoy-peer-metadata-id", "x-envoy-retry-on", "x-hop", "connection"] {
            assert!(!seen.headers.contains_key(gone), "{gone}");
        }
    });
}

#[test]
fn origin_form_with_a_host_works_as_well() {
    run(async {
        let (_pods, clusters) = two_pods();
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, Some("ctx1"))]))], clusters));
        assert_eq!(get(caller.outbound.unwrap(), "/users/", &[("host", "USER-service.t:8081")]).await.body, "ctx1");
    });
}

#[test]
fn rewrites_and_header_operations_take_their_order() {
    run(async {
        let (pods, clusters) = two_pods();
        let mut route = rule(to(&[(1, Some("ctx1"))]));
        route.matches = vec![RouteMatch { uri: Some(StringMatch::Prefix("/v1/".into())), ..RouteMatch::default() }];
        route.policy.rewrite = Some(Rewrite { uri: Some("/".into()), authority: Some("other.example".into()), ..Rewrite::default() });
        let set = |value: &str| HeaderChange { set: vec![("x-level".into(), value.into())], ..HeaderChange::default() };
        route.policy.headers.request = set("route");
        route.policy.headers.response = HeaderChange { add: vec![("x-more".into(), "1".into())], ..HeaderChange::default() };
        if let RouteAction::Forward(split) = &route.action {
            let mut destination = split.arms().next().unwrap().1.clone();
            destination.headers.request = set("destination");
            route.action = RouteAction::Forward(smov_model::split::Split::new(vec![(smov_model::split::Weight(1), destination)]).unwrap());
        }
        let caller = caller(caller_snapshot(vec![route], clusters));
        let reply = get(caller.outbound.unwrap(), "http://user-service:8081/v1/users?a=1", &[]).await;
        assert_eq!(reply.header("x-more"), "1");
        let seen = pods[0].app.log.borrow()[0].clone();
        assert_eq!(seen.uri, "/users?a=1");
        assert_eq!((&seen.headers["host"], &seen.headers["x-level"]), (&"other.example".parse().unwrap(), &"destination".parse().unwrap()));
        assert_eq!(seen.headers["x-envoy-original-path"], "/v1/users?a=1");
    });
}

#[test]
fn redirects_and_direct_responses_need_no_upstream() {
    run(async {
        let redirect = Redirect { code: 302, uri: Some("/new".into()), authority: None, scheme: None, port: None, prefix_rewrite: None };
        let mut first = rule(RouteAction::Redirect(redirect));
        first.matches = vec![RouteMatch { uri: Some(StringMatch::Exact("/old".into())), ..RouteMatch::default() }];
        let second = rule(RouteAction::DirectResponse(DirectResponse { status: 418, body: "teapot".into() }));
        let caller = caller(caller_snapshot(vec![first, second], vec![]));
        let reply = get(caller.outbound.unwrap(), "http://user-service:8081/old?a=1", &[]).await;
        assert_eq!((reply.status, reply.header("location")), (302, "http://user-service:8081/new?a=1"));
        let reply = get(caller.outbound.unwrap(), "http://user-service:8081/x", &[]).await;
        assert_eq!((reply.status, reply.body.as_str()), (418, "teapot"));
    });
}

#[test]
fn a_gateway_takes_strangers_in() {
    run(async {
        let (pods, clusters) = two_pods();
        let mut snapshot = caller_snapshot(vec![rule(to(&[(1, Some("ctx1"))]))], clusters);
        snapshot.ingress = BTreeMap::from([(port(80), snapshot.outbound.remove(&port(8081)).unwrap())]);
        let gateway = ingress(snapshot);
        let door = gateway.ingress.unwrap();
        let headers = [("host", "user-service"), ("x-forwarded-for", "9.9.9.9"), ("x-envoy-max-retries", "9")];
        let reply = get(door, "/users/", &headers).await;
        assert_eq!((reply.status, reply.header("server")), (200, "istio-envoy"));
        let seen = pods[0].app.log.borrow()[0].clone();
        assert_eq!(seen.headers["x-forwarded-for"], "9.9.9.9,127.0.0.1");
        assert!(!seen.headers.contains_key("x-envoy-max-retries"));
        assert_eq!(get(door, "/", &[("host", "nobody.example")]).await.status, 404);
    });
}

#[test]
fn a_change_of_weights_holds_from_the_next_request_on() {
    run(async {
        let (_pods, clusters) = two_pods();
        let before = caller_snapshot(vec![rule(to(&[(1, Some("ctx1"))]))], clusters.clone());
        let caller = caller(before);
        let mut client = Client::connect(caller.outbound.unwrap()).await;
        for number in 1..200_u64 {
            let subset = if number % 2 == 0 { "ctx1" } else { "ctx2" };
            let mut next = caller_snapshot(vec![rule(to(&[(1, Some(subset))]))], clusters.clone());
            next.version = SnapshotVersion { epoch: 1, number };
            caller.handle.publish(next);
            let reply = client.get("http://user-service:8081/users/", &[]).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, subset));
        }
    });
}
