//! The Request inspector's addresses: the list, the same request again, a decision worked out.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use smov_console::assets::Assets;
use smov_console::guard::AllowedHosts;
use smov_console::load::{LoadLimits, LoadRunner, SeededIds};
use smov_console::{Console, Live, Relayed, ServiceId, Why, router};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::fakes::{FakeBaseline, FakeConfiguration, FakeExplain, FakeIngress, FakeLink, FakeRecords, hub, relayed};

/// A door with the ingress behind it; the runner runs until the token is cancelled.
struct Door {
    app: Router,
    live: Live,
    ingress: FakeIngress,
    runner: LoadRunner,
}

fn door() -> Door {
    let (live, ingress) = (hub("e"), FakeIngress::new());
    let runner = LoadRunner::new(live.clone(), Arc::new(ingress.clone()), Arc::new(SeededIds::new(1)), LoadLimits::default());
    let app = router(Console {
        live: live.clone(),
        traffic: Arc::new(runner.clone()),
        baseline: Arc::new(FakeBaseline(Ok(Vec::new()))),
        link: Arc::new(FakeLink(live.clone())),
        records: Arc::new(FakeRecords),
        explain: Arc::new(FakeExplain),
        configuration: Arc::new(FakeConfiguration::default()),
        workloads: Arc::new(crate::fakes::FakeWorkloads::default()),
        scenarios: Arc::new(crate::fakes::FakeScenarios),
        series: smov_console::series::Series::default(),
        allowed_hosts: AllowedHosts::loopback_and([]),
        assets: Assets::embedded(),
    });
    Door { app, live, ingress, runner }
}

impl Door {
    async fn call(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        let request = request.header("content-type", "application/json").header("origin", "http://localhost:8080");
        let answer: Response<Body> = self.app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap())
    }

    async fn list(&self, query: &str) -> Vec<String> {
        let (status, answer) = self.call(Method::GET, &format!("/api/v1/requests{query}"), "").await;
        assert_eq!(status, StatusCode::OK, "{query}: {answer}");
        answer["requests"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

fn seen(live: &Live) {
    let one = |id, service, cluster| relayed(live, id, service, cluster);
    live.relayed(one("a-quick", ServiceId::User, Some("ctx1")));
    live.relayed(Relayed { duration: Duration::from_secs(3), ..one("b-slow", ServiceId::Movie, Some("ctx2")) });
    live.relayed(one("c-missed", ServiceId::Movie, None));
    live.relayed(Relayed { client: Some("tab.again1".into()), ..one("d-mine", ServiceId::User, Some("ctx2")) });
    live.why(vec![Why {
        request_id: "c-missed".into(),
        flags: "UF,URX".into(),
        delay: Duration::ZERO,
        rule: String::new(),
        subset: String::new(),
        attempts: 3,
    }]);
}

#[tokio::test]
async fn recent_requests_are_listed_newest_first_and_filtered() {
    let door = door();
    seen(&door.live);
    for (query, ids) in [
        ("", vec!["d-mine", "c-missed", "b-slow", "a-quick"]),
        ("?limit=1", vec!["d-mine"]),
        ("?service=movie", vec!["c-missed", "b-slow"]),
        ("?cluster=ctx2", vec!["d-mine", "b-slow"]),
        ("?cluster=none", vec!["c-missed"]),
        ("?status=5xx", vec!["c-missed"]),
        ("?status=200&cluster=ctx1", vec!["a-quick"]),
        ("?flag=URX", vec!["c-missed"]),
        ("?flag=UR", vec![]),
        ("?flag=any", vec!["c-missed"]),
        ("?client=tab", vec!["d-mine"]),
        ("?client=ta", vec![]),
        ("?id=slo", vec!["b-slow"]),
        ("?sort=slow&limit=1", vec!["b-slow"]),
        ("?cluster=&status=&flag=&id=", vec!["d-mine", "c-missed", "b-slow", "a-quick"]),
    ] {
        assert_eq!(door.list(query).await, ids, "{query}");
    }
    let (status, problem) = door.call(Method::GET, "/api/v1/requests?service=redis", "").await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("BadRequest")));
}

#[tokio::test]
async fn traces_of_all_clusters_are_put_together_and_who_was_not_asked_is_said() {
    let door = door();
    let (status, answer) = door.call(Method::GET, "/api/v1/traces", "").await;
    assert_eq!(status, StatusCode::OK);
    let ids = |answer: &Value| {
        let traces = answer["traces"].as_array().unwrap().iter();
        traces.map(|trace| trace["trace_id"].as_str().unwrap().trim_start_matches('0').to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&answer), &answer["unasked"]),
        (vec!["2".to_owned(), "1".to_owned()], &json!([{ "cluster": "ctx3", "reason": "away" }]))
    );
    // The earlier part has no root: name and service are those of the part that has it; times are of both.
    let merged = &answer["traces"][1];
    assert_eq!(
        (&merged["service"], &merged["start"], &merged["duration"], &merged["spans"]),
        (&json!("a"), &json!(90), &json!(80), &json!(4))
    );
    assert_eq!((&merged["clusters"], &merged["told_by"]), (&json!(["ctx1", "ctx2"]), &json!(["ctx1", "ctx2"])));
    // A request that ended after the oldest trace of every cluster was heard of would still be there.
    assert_eq!(answer["kept_since"], json!({ "ctx1": 150, "ctx2": 170 }));
    for (query, expected) in [
        ("?request=r-b", vec!["1"]),
        ("?request=r-a", vec!["2", "1"]),
        ("?service=b", vec!["1"]),
        ("?limit=1", vec!["2"]),
        ("?request=nobody", vec![]),
    ] {
        assert_eq!(ids(&door.call(Method::GET, &format!("/api/v1/traces{query}"), "").await.1), expected, "{query}");
    }
    assert_eq!(door.call(Method::GET, "/api/v1/traces?limit=x", "").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_trace_is_told_by_start_and_one_that_nobody_keeps_is_gone() {
    let door = door();
    let (status, answer) = door.call(Method::GET, "/api/v1/traces/00000000000000000000000000000001", "").await;
    let spans: Vec<_> = answer["spans"].as_array().unwrap().iter().map(|span| (&span["id"], &span["told_by"])).collect();
    assert_eq!((status, spans), (StatusCode::OK, vec![(&json!("a"), &json!("ctx2")), (&json!("b"), &json!("ctx1"))]));
    assert_eq!(answer["unasked"][0]["cluster"], "ctx3");
    let (status, problem) = door.call(Method::GET, "/api/v1/traces/00000000000000000000000000000009", "").await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("TraceNotKept")));
    let (status, problem) = door.call(Method::GET, "/api/v1/traces/nonsense", "").await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("BadRequest")));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_again_with_its_path_and_the_headers_that_may_be_repeated() {
    let door = door();
    let shutdown = CancellationToken::new();
    let (runner, token) = (door.runner.clone(), shutdown.clone());
    let task = tokio::spawn(async move { runner.run(token).await });
    // The records of one that no row is kept of, and the row of one that no records are kept of.
    let (status, told) = door.call(Method::POST, "/api/v1/requests/kept-1/again", r#"{"count":3,"client":"tab.again"}"#).await;
    assert_eq!((status, &told["headers"]), (StatusCode::OK, &json!([["x-canary", "true"]])));
    door.live.relayed(Relayed { canary: true, ..relayed(&door.live, "row-1", ServiceId::Booking, Some("ctx1")) });
    let (_, row) = door.call(Method::POST, "/api/v1/requests/row-1/again", r#"{"count":1}"#).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let sent = door.ingress.requests();
    let ids = |told: &Value| told["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(sent.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), [ids(&told), ids(&row)].concat());
    assert_eq!((sent[0].path.as_ref(), &sent[0].client), ("/users/7", &Some("tab.again".to_owned())));
    assert_eq!(sent[0].headers, [("x-canary".to_owned(), "true".to_owned())], "no secret, no header that was not there");
    assert_eq!((sent[3].path.as_ref(), sent[3].headers[0].0.as_str()), ("/bookings/", "x-canary"));
    assert_eq!(door.live.load().sent, 4);
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_refused_with_a_reason() {
    let door = door();
    door.live.relayed(Relayed { method: "POST".into(), ..relayed(&door.live, "row-post", ServiceId::Booking, Some("ctx1")) });
    for (path, body, status, code) in [
        ("/api/v1/requests/gone/again", r#"{"count":1}"#, StatusCode::NOT_FOUND, "RequestGone"),
        ("/api/v1/requests/row-post/again", r#"{"count":1}"#, StatusCode::UNPROCESSABLE_ENTITY, "NotAGet"),
        ("/api/v1/requests/kept-1/again", r#"{"count":0}"#, StatusCode::UNPROCESSABLE_ENTITY, "OutOfRange"),
        ("/api/v1/requests/kept-1/again", r#"{"count":101}"#, StatusCode::UNPROCESSABLE_ENTITY, "OutOfRange"),
        ("/api/v1/requests/kept-1/again", r#"{"times":1}"#, StatusCode::BAD_REQUEST, "BadRequest"),
        ("/api/v1/load/again", r#"{"count":1,"service":"user","path":"elsewhere","headers":[]}"#, StatusCode::BAD_REQUEST, "BadRequest"),
        ("/api/v1/load/again", r#"{"count":500,"service":"user","path":"/","headers":[]}"#, StatusCode::UNPROCESSABLE_ENTITY, "OutOfRange"),
    ] {
        let (got, problem) = door.call(Method::POST, path, body).await;
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{path} {body}");
        assert!(problem["text_ko"].is_string() && problem["text_en"].is_string());
    }
    assert_eq!(door.ingress.requests(), []);
}

#[tokio::test]
async fn a_decision_is_worked_out_and_marked_or_refused_with_its_place() {
    let door = door();
    let asked = r#"{"path":"/users/","overrides":[{"cluster":"ctx1","yaml":"a: 1"}]}"#;
    let (_, told) = door.call(Method::POST, "/api/v1/explain", asked).await;
    assert_eq!(told, json!({ "computed": true, "asked": ["GET", "/users/"], "overrides": 1 }));
    let (status, problem) = door.call(Method::POST, "/api/v1/explain", r#"{"path":"/bad"}"#).await;
    assert_eq!((status, &problem["line"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(3)));
    assert_eq!(door.call(Method::POST, "/api/v1/explain", r#"{"url":"/users/"}"#).await.0, StatusCode::BAD_REQUEST);
}
