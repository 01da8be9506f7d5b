//! CORS between fault and router, with the answers that Envoy 1.40 gives.

use std::time::Duration;

use smov_model::route::{AbortStatus, CorsDecision, CorsPolicy, Fault, HeaderChange, Percent, Redirect, RouteAction, RouteRule};
use smov_model::text::StringMatch;

use crate::support::*;

const URI: &str = "http://user-service:8081/users/";

fn open_to_a(forward_unmatched_preflights: bool) -> CorsPolicy {
    CorsPolicy {
        allow_origins: vec![StringMatch::Exact("http://a".into())],
        allow_methods: "GET,POST".into(),
        allow_headers: "x-a,x-b".into(),
        expose_headers: "x-e".into(),
        max_age: Some(600),
        allow_credentials: true,
        forward_unmatched_preflights,
    }
}

fn with_cors(action: RouteAction, forward: bool) -> RouteRule {
    let mut rule = rule(action);
    rule.policy.cors = Some(open_to_a(forward));
    rule.policy.headers.response = HeaderChange { set: vec![("x-route".into(), "r".into())], ..HeaderChange::default() };
    rule
}

/// What an answer says about CORS, and whether the route's own header is on it.
fn told(reply: &Reply) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("access-control-") || name.as_str() == "x-route")
        .map(|(name, value)| (name.as_str().trim_start_matches("access-control-").to_owned(), value.to_str().unwrap().to_owned()))
        .collect();
    told.sort();
    told
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn ask(caller: &Running, method: &str, headers: &[(&str, &str)]) -> Reply {
    Client::connect(caller.outbound.unwrap()).await.call(request(method, URI, headers, "")).await
}

const PREFLIGHT: (&str, &str) = ("access-control-request-method", "PUT");
const WELCOME: [(&str, &str); 3] = [("allow-credentials", "true"), ("allow-origin", "http://a"), ("expose-headers", "x-e")];

#[test]
fn preflights_are_answered_and_simple_requests_told() {
    run(async {
        let pod = user_pod("127.70.11.1", "ctx1", App::saying("ok"));
        let clusters = vec![cluster(None, &[(pod.address, pod.workload.clone())])];
        let caller = caller(caller_snapshot(vec![with_cors(to(&[(1, None)]), true)], clusters.clone()));
        let welcome = pairs(&[WELCOME[0], WELCOME[1], WELCOME[2], ("x-route", "r")]);

        let reply = ask(&caller, "OPTIONS", &[("origin", "http://a"), PREFLIGHT, ("x-request-id", "p")]).await;
        let all = [WELCOME[0], ("allow-headers", "x-a,x-b"), ("allow-methods", "GET,POST"), WELCOME[1], WELCOME[2], ("max-age", "600")];
        assert_eq!((reply.status, told(&reply), reply.header("content-length")), (200, pairs(&all), "0"));
        assert_eq!(pod.app.log.borrow().len(), 0, "the proxy answers by itself");
        let record = caller.handle.records("p").pop().unwrap();
        assert_eq!((record.cors, record.attempts.len(), record.status), (Some(CorsDecision::Preflight), 0, 200));

        let reply = ask(&caller, "GET", &[("origin", "http://a"), ("x-request-id", "s")]).await;
        assert_eq!((reply.body.as_str(), told(&reply)), ("ok", welcome.clone()));
        assert_eq!(caller.handle.records("s")[0].cors, Some(CorsDecision::Welcome));
        // OPTIONS alone is no preflight.
        assert_eq!(told(&ask(&caller, "OPTIONS", &[("origin", "http://a")]).await), welcome);
        for (method, headers) in
            [("GET", vec![("origin", "http://b")]), ("GET", vec![]), ("OPTIONS", vec![("origin", "http://b"), PREFLIGHT])]
        {
            let reply = ask(&caller, method, &headers).await;
            assert_eq!((reply.body.as_str(), told(&reply)), ("ok", pairs(&[("x-route", "r")])), "{method} {headers:?}");
        }
        // An ignored preflight learns everything but the origin, as from Envoy.
        caller.handle.publish(caller_snapshot(vec![with_cors(to(&[(1, None)]), false)], clusters));
        let reply = ask(&caller, "OPTIONS", &[("origin", "http://b"), PREFLIGHT]).await;
        let ignored = [WELCOME[0], ("allow-headers", "x-a,x-b"), ("allow-methods", "GET,POST"), ("max-age", "600")];
        assert_eq!((reply.status, told(&reply)), (200, pairs(&ignored)));
        assert_eq!(pod.app.log.borrow().len(), 5);
    });
}

#[test]
fn cors_comes_after_fault_and_before_the_router() {
    run(async {
        let origin = ("origin", "http://a");
        let empty = caller(caller_snapshot(vec![with_cors(to(&[(1, None)]), true)], vec![cluster(None, &[])]));
        let reply = ask(&empty, "GET", &[origin]).await;
        assert_eq!((reply.status, told(&reply)), (503, pairs(&[WELCOME[0], WELCOME[1], WELCOME[2], ("x-route", "r")])));

        let mut aborting = with_cors(to(&[(1, None)]), true);
        let always = Percent::new(100.0).unwrap();
        aborting.policy.fault =
            Some(Fault { delay: Some((always, Duration::from_millis(1))), abort: Some((always, AbortStatus::Http(503))) });
        let aborting = caller(caller_snapshot(vec![aborting], vec![cluster(None, &[])]));
        for headers in [vec![origin], vec![origin, PREFLIGHT]] {
            let reply = ask(&aborting, "OPTIONS", &headers).await;
            assert_eq!((reply.status, reply.body.as_str(), told(&reply)), (503, "fault filter abort", pairs(&[("x-route", "r")])));
        }
        // Envoy's filter looks at forwarding routes only.
        let redirect = Redirect { code: 301, uri: Some("/new".into()), authority: None, scheme: None, port: None, prefix_rewrite: None };
        let redirect = caller(caller_snapshot(vec![with_cors(RouteAction::Redirect(redirect), true)], vec![]));
        let reply = ask(&redirect, "OPTIONS", &[origin, PREFLIGHT]).await;
        assert_eq!((reply.status, told(&reply)), (301, pairs(&[("x-route", "r")])));
    });
}
