//! The router by oneshot: what each address answers, and what is refused.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use smov_console::assets::Assets;
use smov_console::guard::AllowedHosts;
use smov_console::load::{LoadLimits, LoadRunner, SeededIds};
use smov_console::ports::Changed;
use smov_console::problem::Problem;
use smov_console::view::cluster::{NodeView, PodView, PodsView, Sight};
use smov_console::view::split::{Configured, Reason, ServiceConfig};
use smov_console::{Console, Live, ServiceId, router};
use tower::ServiceExt;

use crate::fakes::{
    BEGIN, FakeBaseline, FakeConfiguration, FakeExplain, FakeIngress, FakeLink, FakeRecords, FakeScenarios, FakeWorkloads, events, hub,
    relayed, running, split,
};

fn console(live: &Live, baseline: Result<Vec<Changed>, Problem>, assets: Assets) -> Router {
    console_with(live, baseline, assets, FakeConfiguration::default())
}

pub(crate) fn console_with(
    live: &Live,
    baseline: Result<Vec<Changed>, Problem>,
    assets: Assets,
    configuration: FakeConfiguration,
) -> Router {
    let runner = LoadRunner::new(live.clone(), Arc::new(FakeIngress::new()), Arc::new(SeededIds::new(1)), LoadLimits::default());
    router(Console {
        live: live.clone(),
        traffic: Arc::new(runner),
        baseline: Arc::new(FakeBaseline(baseline)),
        link: Arc::new(FakeLink(live.clone())),
        scenarios: Arc::new(FakeScenarios),
        configuration: Arc::new(configuration),
        workloads: Arc::new(FakeWorkloads::default()),
        records: Arc::new(FakeRecords),
        series: smov_console::series::Series::default(),
        explain: Arc::new(FakeExplain),
        allowed_hosts: AllowedHosts::loopback_and([]),
        assets,
    })
}

fn plain(live: &Live) -> Router {
    console(live, Ok(Vec::new()), Assets::embedded())
}

pub(crate) async fn call(app: &Router, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "localhost:8080");
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
}

pub(crate) async fn get(app: &Router, path: &str) -> Response<Body> {
    call(app, Method::GET, path, &[], "").await
}

pub(crate) async fn post(app: &Router, path: &str, body: &str) -> Response<Body> {
    call(app, Method::POST, path, &[("content-type", "application/json"), ("origin", "http://localhost:8080")], body).await
}

pub(crate) async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A folder with a page in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "<!doctype html><title>페이지</title>").unwrap();
    std::fs::create_dir(folder.path().join("css")).unwrap();
    std::fs::write(folder.path().join("css/tokens.css"), ":root{}").unwrap();
    std::fs::write(folder.path().join(".hidden.js"), "secret").unwrap();
    folder
}

#[tokio::test]
async fn the_page_comes_with_policy_tag_and_type() {
    let folder = folder();
    let app = console(&hub("e"), Ok(Vec::new()), Assets::folder(folder.path()));
    let page = get(&app, "/").await;
    assert_eq!(
        (page.status(), header(&page, "content-type"), header(&page, "cache-control")),
        (StatusCode::OK, "text/html; charset=utf-8", "no-cache")
    );
    let policy = header(&page, "content-security-policy");
    for part in ["default-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!((header(&page, "x-content-type-options"), header(&page, "referrer-policy")), ("nosniff", "no-referrer"));
    let tag = header(&page, "etag").to_owned();
    let again = call(&app, Method::GET, "/", &[("if-none-match", &tag)], "").await;
    assert_eq!((again.status(), header(&again, "etag")), (StatusCode::NOT_MODIFIED, tag.as_str()));
    std::fs::write(folder.path().join("index.html"), "changed").unwrap();
    assert_eq!(call(&app, Method::GET, "/", &[("if-none-match", &tag)], "").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn files_are_immutable_only_under_their_own_hash() {
    let folder = folder();
    let app = console(&hub("e"), Ok(Vec::new()), Assets::folder(folder.path()));
    let style = get(&app, "/ui/css/tokens.css").await;
    assert_eq!((header(&style, "content-type"), header(&style, "cache-control")), ("text/css; charset=utf-8", "no-cache"));
    let hash = header(&style, "etag").trim_matches('"')[..12].to_owned();
    let named = get(&app, &format!("/ui/css/tokens.css?v={hash}")).await;
    assert_eq!(header(&named, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header(&get(&app, "/ui/css/tokens.css?v=00000000").await, "cache-control"), "no-cache");
    let head = call(&app, Method::HEAD, "/ui/css/tokens.css", &[], "").await;
    assert_eq!((head.status(), header(&head, "content-length")), (StatusCode::OK, "7"));
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let folder = folder();
    let app = console(&hub("e"), Ok(Vec::new()), Assets::folder(folder.path().join("css")));
    assert_eq!(get(&app, "/ui/tokens.css").await.status(), StatusCode::OK);
    for path in [
        "/ui/../index.html",
        "/ui/%2e%2e/index.html",
        "/ui/..%2findex.html",
        "/ui/%2fetc%2fpasswd",
        "/ui/.hidden.js",
        "/ui/missing.js",
        "/elsewhere",
    ] {
        let answer = get(&app, path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn page_and_api_answer_only_under_allowed_hosts() {
    let app = plain(&hub("e"));
    for path in ["/", "/ui/boot.js", "/api/v1/state", "/api/v1/events", "/api/v1/requests/x", "/topology", "/traffic-weights"] {
        let answer = call(&app, Method::GET, path, &[("host", "rebound.example:8080")], "").await;
        assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::FORBIDDEN, "application/problem+json"), "{path}");
        let problem = json_of(answer).await;
        assert_eq!((&problem["code"], &problem["status"]), (&json!("HostNotAllowed"), &json!(403)));
        assert!(problem["text_ko"].as_str().is_some() && problem["text_en"].as_str().is_some());
    }
}

#[tokio::test]
async fn writes_from_elsewhere_change_nothing() {
    let live = hub("e");
    let app = plain(&live);
    let json = ("content-type", "application/json");
    for path in ["/api/v1/load", "/api/v1/load/burst", "/api/v1/reset"] {
        for headers in [
            vec![json, ("origin", "http://evil.example")],
            vec![json, ("origin", "null")],
            vec![json, ("sec-fetch-site", "cross-site")],
            vec![json, ("host", "evil.example"), ("origin", "http://evil.example")],
            vec![("content-type", "text/plain")],
            vec![],
        ] {
            let answer = call(&app, Method::POST, path, &headers, r#"{"running":true,"count":1}"#).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {headers:?}");
        }
    }
    assert!(!live.load().running);
}

#[tokio::test]
async fn load_is_changed_in_parts_and_told() {
    let live = hub("e");
    let app = plain(&live);
    let answer = json_of(post(&app, "/api/v1/load", r#"{"running":true,"rate":30,"target":"movie"}"#).await).await;
    assert_eq!((&answer["running"], &answer["rate"], &answer["target"]), (&json!(true), &json!(30), &json!("movie")));
    let answer = json_of(post(&app, "/api/v1/load", r#"{"canary":true}"#).await).await;
    assert_eq!((&answer["running"], &answer["rate"], &answer["canary"]), (&json!(true), &json!(30), &json!(true)));
    assert_eq!(post(&app, "/api/v1/load", r#"{"rate":1000}"#).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    for body in ["", "{", r#"{"rate":-1}"#, r#"{"speed":1}"#, r#"{"target":"redis"}"#] {
        let answer = post(&app, "/api/v1/load", body).await;
        assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::BAD_REQUEST, "application/problem+json"), "{body}");
    }
    let answer = json_of(post(&app, "/api/v1/load/burst", r#"{"count":10,"target":"user","client":"tab"}"#).await).await;
    assert_eq!(answer["burst"], 10);
    assert_eq!(live.state().load.burst, 10);
}

#[tokio::test]
async fn reset_tells_what_changed_or_why_not() {
    let changed =
        Changed { cluster: "ctx1".into(), kind: "VirtualService".into(), namespace: "theater-msa".into(), name: "user-service-vs".into() };
    let app = console(&hub("e"), Ok(vec![changed]), Assets::embedded());
    let answer = json_of(post(&app, "/api/v1/reset", "{}").await).await;
    assert_eq!(
        answer,
        json!({ "changed": [{ "cluster": "ctx1", "kind": "VirtualService", "namespace": "theater-msa", "name": "user-service-vs" }] })
    );
    let away = Problem::new(StatusCode::BAD_GATEWAY, "ApiServerAway", "ctx2에 연결할 수 없습니다", "ctx2 cannot be reached")
        .with_detail("refused");
    let answer = post(&console(&hub("e"), Err(away), Assets::embedded()), "/api/v1/reset", "{}").await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    let problem = json_of(answer).await;
    assert_eq!((&problem["code"], &problem["detail"]), (&json!("ApiServerAway"), &json!("refused")));
}

#[tokio::test]
async fn a_request_is_told_with_its_records_or_the_reason_for_none() {
    let live = hub("e");
    live.relayed(relayed(&live, "kept-1", ServiceId::User, Some("ctx2")));
    let app = plain(&live);
    let answer = json_of(get(&app, "/api/v1/requests/kept-1").await).await;
    assert_eq!(
        (&answer["observed"]["cluster"], &answer["records"][0]["proxy"], &answer["reason"]),
        (&json!("ctx2"), &json!("api-gateway-ctx1-1"), &Value::Null)
    );
    let answer = json_of(get(&app, "/api/v1/requests/gone").await).await;
    assert_eq!((&answer["observed"], &answer["records"], &answer["reason"]), (&Value::Null, &Value::Null, &json!("NotKept")));
    let answer = json_of(get(&app, "/api/v1/requests/blind").await).await;
    assert_eq!(
        (&answer["records"], &answer["reason"], &answer["text_en"]),
        (&Value::Null, &json!("IstiodAway"), &json!("istiod does not answer"))
    );
}

#[tokio::test]
async fn weights_are_the_live_ones_zero_included_or_a_reason() {
    let live = hub("e");
    let app = plain(&live);
    live.set_configured(ServiceId::User, split([0, 100], "1"));
    live.set_configured(ServiceId::Movie, split([1, 2], "1"));
    let answer = get(&app, "/traffic-weights").await;
    assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::SERVICE_UNAVAILABLE, "application/problem+json"));
    let problem = json_of(answer).await;
    assert_eq!(
        (&problem["services"]["booking-service"]["code"], &problem["known"]["UserServiceCtx1Weight"]),
        (&json!("NotReadYet"), &json!(0))
    );
    let complex = Configured::Complex(Reason::new("RuleNotSimple", "규칙이 단순한 분배가 아닙니다", "The rule is no simple split"));
    live.set_configured(ServiceId::Booking, ServiceConfig { configured: complex, ..ServiceConfig::not_read_yet("booking-service") });
    let problem = json_of(get(&app, "/traffic-weights").await).await;
    assert_eq!(problem["detail"], "booking-service: The rule is no simple split");
    live.set_configured(ServiceId::Booking, split([50, 0], "2"));
    assert_eq!(
        json_of(get(&app, "/traffic-weights").await).await,
        json!({
            "UserServiceCtx1Weight": 0, "UserServiceCtx2Weight": 100, "MovieServiceCtx1Weight": 33, "MovieServiceCtx2Weight": 67,
            "BookingServiceCtx1Weight": 100, "BookingServiceCtx2Weight": 0,
        })
    );
}

fn pod(app: &str, cluster: &str, ready: &str) -> PodView {
    PodView {
        namespace: "theater-msa".into(),
        name: format!("{app}-{cluster}-1"),
        app: app.into(),
        version: Some("v1".into()),
        node: Some("node-0".into()),
        phase: "Running".into(),
        ready: ready.into(),
        status: "Running".into(),
        restarts: 2,
        started: None,
        ip: None,
        containers: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn deployment_status_and_topology_say_unknown_where_a_cluster_cannot_be_seen() {
    let live = hub("e");
    let app = plain(&live);
    let seen = |pods| PodsView {
        state: Sight::Ok,
        as_of: BEGIN,
        nodes: vec![NodeView { name: "node-0".into(), ready: true }],
        pods,
        ..PodsView::never_seen()
    };
    live.set_pods(
        "ctx1",
        seen(vec![pod("user-service", "ctx1", "2/2"), pod("movie-service", "ctx1", "1/2"), pod("something", "ctx1", "1/1")]),
    );
    live.set_pods("ctx2", PodsView { state: Sight::Unknown, ..seen(vec![pod("redis", "ctx2", "2/2")]) });
    let infos = json_of(get(&app, "/deployment-status").await).await;
    let short: Vec<_> =
        infos.as_array().unwrap().iter().map(|info| (info["podName"].as_str().unwrap(), info["status"].as_str().unwrap())).collect();
    assert_eq!(short, [("user-service-ctx1-1", "Running"), ("movie-service-ctx1-1", "Not Ready"), ("redis-ctx2-1", "Unknown")]);
    assert_eq!(
        (&infos[0]["service"], &infos[0]["port"], &infos[0]["lastChecked"]),
        (&json!("User Service"), &json!("8081"), &json!("2023-11-15 07:13:20"))
    );
    live.set_configured(ServiceId::User, split([70, 30], "1"));
    let topology = json_of(get(&app, "/topology").await).await;
    assert_eq!(topology["clusters"][0], json!({ "name": "ctx1", "provider": "NaverCloud", "status": "Active", "nodeCount": 1 }));
    assert_eq!(topology["clusters"][1], json!({ "name": "ctx2", "provider": "NHN Cloud", "status": "Unknown", "nodeCount": null }));
    assert_eq!(
        topology["trafficFlow"][2],
        json!({ "from": "api-gateway-ctx1", "to": "user-service-ctx2", "weight": 30, "isActive": true, "flowType": "cross-cluster" })
    );
    assert_eq!(topology["trafficFlow"][3]["weight"], Value::Null);
    assert_eq!(topology["services"][1]["deployments"], json!({ "ctx1": "user-service-ctx1-1" }));
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    assert_eq!(json_of(get(&app, "/deployment-status").await).await[0]["status"], "Unknown");
}

#[tokio::test(start_paused = true)]
async fn traffic_history_tells_where_requests_ended() {
    let hub = running("e");
    for (id, cluster) in [("a", Some("ctx1")), ("b", None), ("c", Some("ctx2"))] {
        hub.live.relayed(relayed(&hub.live, id, ServiceId::Movie, cluster));
    }
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    let app = plain(&hub.live);
    let history = json_of(get(&app, "/traffic-history").await).await;
    assert_eq!((&history["movieServiceHistory"], &history["userServiceHistory"]), (&json!(["ctx1", "unreached", "ctx2"]), &json!([])));
    assert_eq!(json_of(get(&app, "/traffic-history?limit=1").await).await["movieServiceHistory"], json!(["ctx2"]));
}

#[tokio::test(start_paused = true)]
async fn events_are_a_stream_that_begins_with_the_state_and_resumes() {
    let hub = running("e");
    let app = plain(&hub.live);
    let answer = get(&app, "/api/v1/events").await;
    assert_eq!((header(&answer, "content-type"), header(&answer, "cache-control")), ("text/event-stream", "no-store, no-transform"));
    let first = answer.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"retry: 2000\n\n"));
    let hello = events(&first).remove(0);
    assert_eq!((hello.kind.as_str(), &hello.data["services"]["user"]["stat"]["verdict"]), ("hello", &json!("held")));
    let state = json_of(get(&app, "/api/v1/state").await).await;
    assert_eq!(state.as_object().unwrap().keys().collect::<Vec<_>>(), hello.data.as_object().unwrap().keys().collect::<Vec<_>>());
    hub.live.set_configured(ServiceId::User, split([70, 30], "1"));
    for (path, headers) in
        [("/api/v1/events", vec![("last-event-id", hello.id.as_str())]), (&format!("/api/v1/events?last={}", hello.id), vec![])]
    {
        let mut body = call(&app, Method::GET, path, &headers, "").await.into_body();
        let mut seen = Vec::new();
        while !seen.contains(&"cfg".to_owned()) {
            let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
            seen.extend(events(&bytes).into_iter().map(|event| event.kind));
        }
        assert!(!seen.contains(&"hello".to_owned()), "{seen:?}");
    }
}

#[tokio::test]
async fn the_link_is_shown_and_changed_where_there_is_one() {
    let live = hub("e");
    let app = plain(&live);
    assert_eq!(json_of(get(&app, "/api/v1/state").await).await["link"], Value::Null);
    let answer = post(&app, "/api/v1/link", r#"{"state":"cut"}"#).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let shown = json_of(get(&app, "/api/v1/state").await).await;
    assert_eq!(shown["link"]["state"], "cut");
    let wrong = post(&app, "/api/v1/link", r#"{"colour":"red"}"#).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let foreign =
        call(&app, Method::POST, "/api/v1/link", &[("content-type", "application/json"), ("origin", "http://evil.example")], "{}").await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn scenarios_are_listed_applied_and_put_back() {
    let app = plain(&hub("e"));
    let listed = json_of(get(&app, "/api/v1/scenarios").await).await;
    assert_eq!(listed["scenarios"][1]["name"], "delay");
    let done = json_of(post(&app, "/api/v1/scenarios/delay/apply", "{}").await).await;
    assert_eq!(done["changed"][0], "ctx1 VirtualService/theater-msa/movie-service-vs configured");
    let unknown = post(&app, "/api/v1/scenarios/earthquake/apply", "{}").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(unknown).await["code"], "NoSuchScenario");
    assert_eq!(json_of(post(&app, "/api/v1/scenarios/reset", "{}").await).await["was"][0], "delay");
    // Changing something is for the page itself only.
    let foreign = [("origin", "http://evil.example"), ("content-type", "application/json")];
    assert_eq!(call(&app, Method::POST, "/api/v1/scenarios/delay/apply", &foreign, "{}").await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_glossary_is_served_whole() {
    let terms = json_of(get(&plain(&hub("e")), "/api/v1/glossary").await).await;
    let terms = terms["terms"].as_array().unwrap();
    assert_eq!(terms.len(), smov_console::glossary::terms().len());
    let flag = terms.iter().find(|term| term["key"] == "flag.UH").unwrap();
    assert!(flag["text_en"].as_str().unwrap().contains("healthy"), "{flag}");
}
