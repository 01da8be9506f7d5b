//! Records, rows, edges, metrics.

use smov_model::record::{Direction, Phase};
use smov_model::route::Mismatch;

use crate::support::*;

#[test]
fn a_record_tells_rule_draw_endpoint_and_why_others_were_skipped() {
    run(async {
        let pod = user_pod("127.70.7.1", "ctx1", App::saying("ok"));
        let rules = vec![canary_rule(to(&[(1, Some("ctx2"))])), rule(to(&[(70, Some("ctx1")), (30, Some("ctx1b"))]))];
        let endpoints = [(pod.address, pod.workload.clone())];
        let caller = caller(caller_snapshot(rules, vec![cluster(Some("ctx1"), &endpoints), cluster(Some("ctx1b"), &endpoints)]));
        get(caller.outbound.unwrap(), "http://user-service:8081/users/?q=1", &[("x-request-id", "told"), ("x-canary", "false")]).await;
        let record = caller.handle.records("told").pop().unwrap();
        assert_eq!((record.direction, record.status, record.path.as_str()), (Direction::Outbound, 200, "/users/"));
        assert_eq!(record.rule.as_ref().map(|rule| rule.index), Some(1));
        let mismatch = Mismatch::Header { name: "x-canary".into(), wanted: "= true".into(), found: Some("false".into()) };
        assert_eq!(record.skipped[0].mismatches, [mismatch]);
        assert_eq!((record.draws[0].total, record.draws[0].outcome.starts_with("ctx1")), (100, true));
        assert_eq!(record.attempts[0].pod.as_deref(), Some("user-service-ctx1-1"));
        let phases: Vec<Phase> = record.phases.iter().map(|(phase, _)| *phase).collect();
        assert!(phases.starts_with(&[Phase::Accept, Phase::Pin, Phase::Route, Phase::Split]), "{phases:?}");
        // The callee's side of the same request.
        let inbound = pod.sidecar.handle.records("told").pop().unwrap();
        assert_eq!((inbound.direction, inbound.peer.map(|peer| peer.workload)), (Direction::Inbound, Some("api-gateway".into())));
        let by_admin = get(caller.admin, "/requests/told", &[]).await;
        assert!(by_admin.body.contains("\"requestId\"") || by_admin.body.contains("\"request_id\": \"told\""), "{}", by_admin.body);
        assert!(get(caller.admin, "/config_dump", &[]).await.body.contains("user-service-vs"));

        let (edges, rows, seen) = caller.handle.report();
        assert_eq!((seen, rows[0].rule.as_str(), rows[0].service.as_str()), (1, "user-service-vs spec.http[0]", "user-service"));
        assert_eq!((edges.len(), edges[0].source.as_str(), edges[0].requests), (1, "api-gateway", 1));
        // The callee leaves the edge to its caller's proxy.
        assert_eq!(pod.sidecar.handle.report().0, []);
    });
}

#[test]
fn metrics_carry_istios_labels_on_both_sides() {
    run(async {
        let pod = user_pod("127.70.7.2", "ctx2", App::saying("ok"));
        let endpoints = [(pod.address, pod.workload.clone())];
        let caller = caller(caller_snapshot(vec![rule(to(&[(1, None)]))], vec![cluster(None, &endpoints)]));
        get(caller.outbound.unwrap(), "http://user-service:8081/users/", &[]).await;
        let page = get(caller.metrics, "/stats/prometheus", &[]).await.body;
        let line = page.lines().find(|line| line.starts_with("istio_requests_total{")).unwrap();
        assert_eq!(
            line,
            "istio_requests_total{reporter=\"source\",source_workload=\"api-gateway\",source_canonical_service=\"api-gateway\",\
             source_canonical_revision=\"v1\",source_workload_namespace=\"t\",source_principal=\"unknown\",source_app=\"api-gateway\",\
             source_version=\"v1\",source_cluster=\"ctx1\",destination_workload=\"user-service-ctx2\",destination_workload_namespace=\"t\",\
             destination_principal=\"unknown\",destination_app=\"user-service\",destination_version=\"v1\",\
             destination_service=\"user-service.t.svc.cluster.local\",destination_canonical_service=\"user-service\",\
             destination_canonical_revision=\"v1\",destination_service_name=\"user-service\",destination_service_namespace=\"t\",\
             destination_cluster=\"ctx2\",request_protocol=\"http\",response_flags=\"-\",connection_security_policy=\"unknown\",\
             response_code=\"200\",grpc_response_status=\"\"} 1"
        );
        assert!(page.contains("istio_request_duration_milliseconds_bucket{") && page.contains("le=\"+Inf\"} 1"));
        assert!(page.contains("istio_build{component=\"proxy\",tag=\"smov-"));
        let theirs = pod.sidecar.handle.metrics();
        assert!(theirs.contains("istio_requests_total{reporter=\"destination\",source_workload=\"api-gateway\""), "{theirs}");
        assert!(theirs.contains("connection_security_policy=\"none\""));
    });
}
