//! Answers that no upstream gives, and headers that are filled in: as Envoy 1.40 gave them.

use smov_model::route::{
    AbortStatus, DirectResponse, Fault, HeaderChange, Percent, Redirect, RedirectPort, RouteAction, RouteMatch, RouteRule,
};
use smov_model::snapshot::PathNormalization;
use smov_model::text::StringMatch;

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

fn at(prefix: &str, action: RouteAction) -> RouteRule {
    RouteRule { matches: vec![RouteMatch { uri: Some(StringMatch::Prefix(prefix.into())), ..RouteMatch::default() }], ..rule(action) }
}

fn direct(status: u16, body: &str) -> RouteAction {
    RouteAction::DirectResponse(DirectResponse { status, body: body.into() })
}

fn aborting(prefix: &str, abort: AbortStatus) -> RouteRule {
    let mut rule = at(prefix, to(&[(1, None)]));
    rule.policy.fault = Some(Fault { delay: None, abort: Some((Percent::new(100.0).unwrap(), abort)) });
    rule
}

async fn told(caller: &Running, path: &str, headers: &[(&str, &str)]) -> (u16, String, String, String) {
    let reply = get(caller.outbound.unwrap(), &format!("http://user-service:8081{path}"), headers).await;
    (reply.status, reply.body.clone(), reply.header("grpc-status").to_owned(), reply.header("grpc-message").to_owned())
}

fn text_of(status: u16, body: &str, grpc_status: &str, grpc_message: &str) -> (u16, String, String, String) {
    (status, body.to_owned(), grpc_status.to_owned(), grpc_message.to_owned())
}

#[test]
fn grpc_requests_are_answered_in_grpcs_words() {
    run(async {
        let rules = vec![
            aborting("/http", AbortStatus::Http(503)),
            aborting("/grpc", AbortStatus::Grpc(8)),
            at("/direct", direct(404, "none here")),
            at("/empty", to(&[(1, None)])),
        ];
        let caller = caller(caller_snapshot(rules, vec![cluster(None, &[])]));
        assert_eq!(told(&caller, "/http", &[GRPC]).await, text_of(200, "", "14", "fault filter abort"));
        assert_eq!(told(&caller, "/http", &[]).await, text_of(503, "fault filter abort", "", ""));
        assert_eq!(told(&caller, "/http", &[("content-type", "application/grpc-web")]).await.0, 503);
        assert_eq!(
            told(&caller, "/grpc", &[("content-type", "application/grpc+proto")]).await,
            text_of(200, "", "8", "fault filter abort")
        );
        assert_eq!(told(&caller, "/grpc", &[]).await, text_of(200, "fault filter abort", "", ""));
        assert_eq!(told(&caller, "/direct", &[GRPC]).await, text_of(200, "", "12", "none here"));
        assert_eq!(told(&caller, "/empty", &[GRPC]).await, text_of(200, "", "14", "no healthy upstream"));
        assert_eq!(told(&caller, "/nowhere", &[GRPC]).await, text_of(200, "", "12", ""));
        let reply = get(caller.outbound.unwrap(), "http://user-service:8081/empty", &[GRPC, ("x-request-id", "g")]).await;
        assert_eq!(reply.header("content-type"), "application/grpc");
        let record = caller.handle.records("g").pop().unwrap();
        assert_eq!((record.status, record.flags.to_string()), (200, "UH".to_owned()));
        let page = caller.handle.metrics();
        let counted =
            page.lines().find(|line| line.starts_with("istio_requests_total{") && line.contains("response_flags=\"UH\"")).unwrap();
        assert!(
            counted.contains("request_protocol=\"grpc\"") && counted.contains("response_code=\"200\",grpc_response_status=\"14\""),
            "{counted}"
        );
    });
}

#[test]
fn direct_responses_that_point_somewhere_say_where() {
    run(async {
        let rules = [201, 302, 200].map(|status| at(&format!("/{status}"), direct(status, "x")));
        let caller = caller(caller_snapshot(rules.to_vec(), vec![]));
        let door = caller.outbound.unwrap();
        for (status, location) in [(201, "http://user-service:8081/201/a?b=1"), (302, "http://user-service:8081/302/a?b=1"), (200, "")] {
            let reply = get(door, &format!("http://user-service:8081/{status}/a?b=1"), &[]).await;
            assert_eq!((reply.status, reply.header("location"), reply.body.as_str()), (status, location, "x"));
        }
    });
}

#[test]
fn redirects_rewrite_prefixes_and_derive_ports() {
    run(async {
        let redirect = Redirect {
            code: 308,
            uri: None,
            authority: None,
            scheme: None,
            port: Some(RedirectPort::OfListener),
            prefix_rewrite: Some("/v2".into()),
        };
        let caller = caller(caller_snapshot(vec![at("/v1", RouteAction::Redirect(redirect))], vec![]));
        let reply = get(caller.outbound.unwrap(), "http://user-service:8081/v1/users?a=1", &[]).await;
        assert_eq!((reply.status, reply.header("location")), (308, "http://user-service:8081/v2/users?a=1"));
    });
}

#[test]
fn header_values_are_filled_in() {
    run(async {
        let pod = user_pod(
            "127.70.12.1",
            "ctx1",
            App::start(|_| async {
                let mut response = text(200, "ok");
                response.headers_mut().insert("x-up", "u".parse().unwrap());
                response
            }),
        );
        let mut route = rule(to(&[(1, None)]));
        route.origin.name = "main".into();
        let set = |pairs: &[(&str, &str)]| HeaderChange {
            set: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..HeaderChange::default()
        };
        route.policy.headers.request = set(&[
            ("x-empty", ""),
            ("x-missing", "%REQ(nope)%"),
            ("x-around", "a%REQ(nope)%b"),
            ("x-alt", "%REQ(nope?X-J):3%"),
            ("x-from", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            ("x-at", "%DOWNSTREAM_LOCAL_ADDRESS%"),
            ("x-proto", "%PROTOCOL%"),
            ("x-year", "%START_TIME(%Y)%"),
            ("x-uh", "%UPSTREAM_HOST%"),
            ("x-cluster", "%UPSTREAM_CLUSTER%"),
            ("x-code", "%RESPONSE_CODE%"),
            ("x-host", "%HOSTNAME%"),
            ("x-route", "%ROUTE_NAME%"),
            ("x-path", "%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)%"),
            ("x-percent", "100%%"),
        ]);
        route.policy.headers.response = set(&[
            ("x-up", ""),
            ("x-q", "%REQ(x-j)%"),
            ("x-r", "%RESP(x-up)%|%RESP(:status)%"),
            ("x-uh", "%UPSTREAM_HOST%"),
            ("x-rc", "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"),
        ]);
        let caller = caller(caller_snapshot(vec![route], vec![cluster(None, &[(pod.address, pod.workload.clone())])]));
        let reply = get(caller.outbound.unwrap(), &format!("{URI}x?y=1"), &[("x-j", "jjjjj")]).await;
        let seen = pod.app.log.borrow()[0].clone();
        let of = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((of("x-empty"), of("x-missing"), of("x-uh")), (None, None, None));
        let door = caller.outbound.unwrap().to_string();
        for (name, expected) in [
            ("x-around", "ab"),
            ("x-alt", "jjj"),
            ("x-from", "127.0.0.1"),
            ("x-at", door.as_str()),
            ("x-proto", "HTTP/1.1"),
            ("x-cluster", "outbound|8081||user-service.t.svc.cluster.local"),
            ("x-code", "0"),
            ("x-host", "api-gateway-1"),
            ("x-route", "main"),
            ("x-path", "GET /users/x?y=1 user-service:8081"),
            ("x-percent", "100%"),
        ] {
            assert_eq!(of(name).as_deref(), Some(expected), "{name}");
        }
        assert!(of("x-year").is_some_and(|year| year.starts_with("20") && year.len() == 4));
        assert_eq!((reply.header("x-up"), reply.header("x-q"), reply.header("x-r")), ("u", "jjjjj", "u|200"));
        assert_eq!((reply.header("x-uh"), reply.header("x-rc")), (pod.address.to_string().as_str(), "200 - via_upstream"));
    });
}

#[test]
fn the_mesh_decides_how_paths_are_normalised() {
    run(async {
        let pod = user_pod("127.70.12.2", "ctx1", App::saying("ok"));
        let mut snapshot = caller_snapshot(
            vec![at("/admin", direct(403, "no")), rule(to(&[(1, None)]))],
            vec![cluster(None, &[(pod.address, pod.workload.clone())])],
        );
        let caller = caller(snapshot.clone());
        for (mode, denied) in [
            (PathNormalization::None, 0),
            (PathNormalization::Base, 1),
            (PathNormalization::MergeSlashes, 2),
            (PathNormalization::DecodeAndMergeSlashes, 3),
        ] {
            snapshot.path_normalization = mode;
            caller.handle.publish(snapshot.clone());
            let mut refused = 0;
            for path in ["/x/../admin", "//admin", "/%2fadmin"] {
                let head = format!("GET http://user-service:8081{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
                refused += usize::from(raw(caller.outbound.unwrap(), &head).await.starts_with("HTTP/1.1 403"));
            }
            assert_eq!(refused, denied, "{mode:?}");
            // A fragment is no part of the path, whatever the mode.
            let head = "GET http://user-service:8081/admin#x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            assert!(raw(caller.outbound.unwrap(), head).await.starts_with("HTTP/1.1 403"), "{mode:?}");
        }
        assert_eq!(pod.app.log.borrow()[0].uri, "/admin", "the callee's own mode is BASE");
    });
}
