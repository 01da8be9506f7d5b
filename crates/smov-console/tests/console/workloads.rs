//! Pods and Deployments by oneshot: what each call does, what is refused, and what the timeline tells of it.

use std::sync::Arc;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use smov_console::assets::Assets;
use smov_console::guard::AllowedHosts;
use smov_console::load::{LoadLimits, LoadRunner, SeededIds};
use smov_console::ports::workloads::Action;
use smov_console::view::cluster::{DeploymentView, LinkState, LinkView, PodView, PodsView, Sight};
use smov_console::{Console, Live, ServiceId, router};

use crate::fakes::{
    BEGIN, Browser, FakeBaseline, FakeConfiguration, FakeExplain, FakeIngress, FakeLink, FakeRecords, FakeWorkloads, relayed, running,
};
use crate::router::{call, get, json_of, post};

fn app(live: &Live) -> (axum::Router, FakeWorkloads) {
    let workloads = FakeWorkloads::default();
    let runner = LoadRunner::new(live.clone(), Arc::new(FakeIngress::new()), Arc::new(SeededIds::new(1)), LoadLimits::default());
    let app = router(Console {
        live: live.clone(),
        traffic: Arc::new(runner),
        baseline: Arc::new(FakeBaseline(Ok(Vec::new()))),
        link: Arc::new(FakeLink(live.clone())),
        configuration: Arc::new(FakeConfiguration::default()),
        workloads: Arc::new(workloads.clone()),
        scenarios: Arc::new(crate::fakes::FakeScenarios),
        series: smov_console::series::Series::default(),
        explain: Arc::new(FakeExplain),
        records: Arc::new(FakeRecords),
        allowed_hosts: AllowedHosts::loopback_and([]),
        assets: Assets::embedded(),
    });
    (app, workloads)
}

fn pods(wanted: u32, names: &[(&str, bool)]) -> PodsView {
    let pod = |(name, ready): &(&str, bool)| PodView {
        namespace: "theater-msa".into(),
        name: (*name).into(),
        app: "user-service".into(),
        version: None,
        node: None,
        phase: "Running".into(),
        ready: if *ready { "2/2".into() } else { "1/2".into() },
        status: "Running".into(),
        restarts: 0,
        started: None,
        ip: None,
        containers: vec!["user-service".into(), "istio-proxy".into()],
    };
    let deployment = DeploymentView {
        namespace: "theater-msa".into(),
        name: "user-service-ctx1".into(),
        app: "user-service".into(),
        ready: 1,
        wanted,
        restore: None,
    };
    PodsView {
        state: Sight::Ok,
        as_of: BEGIN,
        deployments: vec![deployment],
        pods: names.iter().map(pod).collect(),
        ..PodsView::never_seen()
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_measured_until_its_successor_answers() {
    let hub = running("e");
    let live = &hub.live;
    let (app, workloads) = app(live);
    live.set_pods("ctx1", pods(1, &[("u-1", true)]));
    let mut browser = Browser::open(live, None);
    let answer = json_of(post(&app, "/api/v1/pods/ctx1/theater-msa/u-1/delete", "{}").await).await;
    let id = answer["moment"].as_str().unwrap().to_owned();
    assert_eq!(workloads.0.lock().unwrap()[0].1, Action::Delete { grace: None });
    live.relayed(relayed(live, "failed", ServiceId::User, None));
    live.set_pods("ctx1", pods(1, &[]));
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    live.set_pods("ctx1", pods(1, &[("u-2", true)]));
    let mut served = relayed(live, "first", ServiceId::User, Some("ctx1"));
    served.pod = Some("u-2".into());
    live.relayed(served);
    let told = loop {
        let items = browser.next_of("timeline").await.data["items"].clone();
        let ready = items.as_array().unwrap().iter().find(|item| item["kind"] == "ready" && item["effect"]["served_ms"].is_u64()).cloned();
        if let Some(ready) = ready {
            break ready;
        }
    };
    assert_eq!((&told["effect"]["failed"], &told["effect"]["request"]), (&json!(1), &json!("failed")), "{told:#}");
    assert!((2_000..2_200).contains(&told["duration_ms"].as_u64().unwrap()), "{told:#}");
    let listed = json_of(get(&app, "/api/v1/timeline").await).await;
    let kinds: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert_eq!(kinds, ["kill", "ready"]);
    assert_eq!(listed["items"][0]["id"], id.as_str());
    let later = json_of(get(&app, &format!("/api/v1/timeline?since={}", BEGIN + 1_000_000)).await).await;
    assert_eq!(later["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_call_does_what_it_says() {
    let hub = running("e");
    let (app, workloads) = app(&hub.live);
    hub.live.set_pods("ctx1", pods(1, &[("u-1", true)]));
    for (path, body) in [
        ("pods/ctx1/theater-msa/u-1/kill", r#"{"container":"user-service"}"#),
        ("deployments/ctx1/theater-msa/user-service-ctx1/restart", "{}"),
        ("deployments/ctx1/theater-msa/user-service-ctx1/scale", r#"{"replicas":0,"restore_after_s":30}"#),
    ] {
        assert_eq!(post(&app, &format!("/api/v1/{path}"), body).await.status(), StatusCode::OK, "{path}");
    }
    let done: Vec<Action> = workloads.0.lock().unwrap().iter().map(|(_, action)| action.clone()).collect();
    assert_eq!(
        done,
        [Action::Kill { container: "user-service".into() }, Action::Restart, Action::Scale { replicas: 0, restore_after_s: Some(30) }]
    );
    let logs = get(&app, "/api/v1/pods/ctx1/theater-msa/u-1/logs?container=user-service&follow=1").await;
    assert_eq!(logs.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(logs.into_body().collect().await.unwrap().to_bytes(), "u-1 Some(\"user-service\")\nsecond\n");
    let abilities = json_of(get(&app, "/api/v1/abilities").await).await;
    assert_eq!((&abilities[0]["namespace"], &abilities[0]["delete"]), (&json!("theater-msa"), &json!(true)));
    assert_eq!(json_of(get(&app, "/api/v1/usage").await).await["pods"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_leaves_no_trace_and_nonsense_is_not_tried() {
    let hub = running("e");
    let (app, workloads) = app(&hub.live);
    hub.live.set_pods("ctx1", pods(1, &[("forbidden-1", true)]));
    let refused = post(&app, "/api/v1/pods/ctx1/theater-msa/forbidden-1/delete", "{}").await;
    assert_eq!((refused.status(), json_of(refused).await["code"].clone()), (StatusCode::FORBIDDEN, json!("NotAllowed")));
    assert_eq!(json_of(get(&app, "/api/v1/timeline").await).await["items"], json!([]));
    for (path, body, status) in [
        ("deployments/ctx1/theater-msa/u/scale", r#"{"replicas":1000}"#, StatusCode::UNPROCESSABLE_ENTITY),
        ("deployments/ctx1/theater-msa/u/scale", r#"{"replicas":1,"restore_after_s":0}"#, StatusCode::UNPROCESSABLE_ENTITY),
        ("deployments/ctx1/theater-msa/u/scale", r#"{"replicas":-1}"#, StatusCode::BAD_REQUEST),
        ("pods/ctx1/theater-msa/u-1%2F..%2Fsecrets/delete", "{}", StatusCode::BAD_REQUEST),
        ("pods/ctx1/theater-msa/u-1%3Fx/kill", r#"{"container":"a"}"#, StatusCode::BAD_REQUEST),
        ("pods/ctx1/theater-msa/u-1/kill", "{}", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(post(&app, &format!("/api/v1/{path}"), body).await.status(), status, "{path} {body}");
    }
    // Another site's form cannot kill anything.
    let foreign = [("content-type", "application/json"), ("origin", "http://evil.example")];
    let answer = call(&app, Method::POST, "/api/v1/pods/ctx1/theater-msa/u-1/delete", &foreign, "{}").await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let form = [("content-type", "text/plain")];
    let answer = call(&app, Method::POST, "/api/v1/pods/ctx1/theater-msa/u-1/delete", &form, "{}").await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(workloads.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_link_and_a_cluster_out_of_sight_are_told() {
    let hub = running("e");
    let link = |state| Some(LinkView { state, latency_ms: 0.0, jitter_ms: 0.0, error: None, restore_at: None });
    hub.live.set_link(link(LinkState::Up));
    hub.live.set_link(link(LinkState::Cut));
    hub.live.set_pods("ctx2", pods(1, &[]));
    hub.live.set_pods("ctx2", PodsView { state: Sight::Unknown, ..pods(1, &[]) });
    let kinds: Vec<String> = hub.live.timeline(0).iter().map(|moment| format!("{:?} {}", moment.kind, moment.text_en)).collect();
    assert_eq!(kinds, ["Link Link between the clouds: cut", "Fault The API server of ctx2 does not answer"]);
}
