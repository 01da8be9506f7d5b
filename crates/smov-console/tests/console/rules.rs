//! The addresses of the rules: what is passed on, what is refused before anyone is asked, and what the stream tells.

use axum::Router;
use http::StatusCode;
use serde_json::json;
use smov_console::assets::Assets;

use crate::fakes::{BEGIN, Browser, FakeConfiguration, hub, running};
use crate::router::{console_with, get, json_of, post};

fn app() -> (Router, FakeConfiguration) {
    let rules = FakeConfiguration::default();
    (console_with(&hub("e"), Ok(Vec::new()), Assets::embedded(), rules.clone()), rules)
}

#[tokio::test]
async fn resources_come_with_their_states_in_words() {
    let (app, _) = app();
    let answer = json_of(get(&app, "/api/v1/resources").await).await;
    assert_eq!(answer["resources"][0]["kind"], "VirtualService");
    assert_eq!((&answer["resources"][0]["baseline"], &answer["resources"][0]["twin"]), (&json!("unknown"), &json!("unknown")));
}

#[tokio::test]
async fn a_change_is_checked_and_applied_with_its_version() {
    let (app, rules) = app();
    let set = json!({ "changes": [{ "cluster": "ctx1", "yaml": "kind: X\n", "resource_version": "7" }], "note": "half" }).to_string();
    let checked = json_of(post(&app, "/api/v1/resources/check", &set).await).await;
    assert_eq!((&checked["applicable"], &checked["results"][0]["outcome"]), (&json!(true), &json!("configured")));
    let applied = json_of(post(&app, "/api/v1/resources/apply", &set).await).await;
    assert_eq!((&applied["results"][0]["outcome"], &applied["results"][0]["live_yaml"]), (&json!("conflict"), &json!("kind: X\n")));
    assert_eq!(rules.asked(), ["check 1", "apply half 7"]);
}

#[tokio::test]
async fn changes_that_do_not_say_what_they_want_are_refused_unasked() {
    let (app, rules) = app();
    for (changes, words) in [
        (json!([]), "1 to 100"),
        (json!([{ "cluster": "ctx1" }]), "exactly one of"),
        (json!([{ "yaml": "a: 1" }]), "`cluster` is missing"),
        (json!([{ "cluster": "ctx1", "yaml": "a: 1", "object": {} }]), "exactly one of"),
        (json!([{ "cluster": "ctx1", "delete": true }]), "`delete` needs"),
        (json!([{ "cluster": "ctx1", "delete": true, "ref": "nonsense" }]), "`delete` needs"),
        (json!([{ "cluster": "ctx1", "yml": "a: 1" }]), "unknown field"),
    ] {
        for path in ["/api/v1/resources/check", "/api/v1/resources/apply"] {
            let answer = post(&app, path, &json!({ "changes": changes }).to_string()).await;
            let status = answer.status();
            let problem = json_of(answer).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{words}: {problem}");
        }
    }
    let long = json!({ "changes": [{ "cluster": "ctx1", "yaml": "a: 1" }], "note": "가".repeat(201) });
    assert_eq!(post(&app, "/api/v1/resources/apply", &long.to_string()).await.status(), StatusCode::BAD_REQUEST);
    let gone = json!({ "changes": [{ "cluster": "ctx1", "delete": true, "kind": "Gateway", "namespace": "n", "name": "g" }] });
    assert_eq!(post(&app, "/api/v1/resources/check", &gone.to_string()).await.status(), StatusCode::OK);
    assert_eq!(rules.asked(), ["check 1"]);
}

#[tokio::test]
async fn the_history_is_read_and_a_change_taken_back() {
    let (app, rules) = app();
    let told = json_of(get(&app, "/api/v1/history").await).await;
    assert_eq!((&told["changes"][0]["origin"], &told["undo"]), (&json!("kubectl"), &json!("c1")));
    get(&app, "/api/v1/history?ref=Gateway/n/g&limit=3").await;
    post(&app, "/api/v1/history/c1/rollback", "{}").await;
    post(&app, "/api/v1/history/c1/rollback", r#"{"force":true}"#).await;
    let nothing = post(&app, "/api/v1/undo", "{}").await;
    assert_eq!(nothing.status(), StatusCode::CONFLICT);
    assert_eq!(json_of(nothing).await["code"], "NothingToUndo");
    assert_eq!(rules.asked(), ["history  50", "history Gateway/n/g 3", "rollback c1 false", "rollback c1 true", "undo"]);
}

#[tokio::test(start_paused = true)]
async fn the_stream_tells_which_rules_changed() {
    let hub = running("e");
    let mut browser = Browser::open(&hub.live, None);
    hub.live.tell_rules(&["Gateway/n/g".to_owned()], None);
    hub.live.tell_rules(&["Gateway/n/g".to_owned()], Some("c1"));
    let seen = browser.next_of("rules").await.data;
    assert_eq!(seen["refs"], json!(["Gateway/n/g"]));
    assert!(seen.get("change").is_none() && seen["at"].as_u64().is_some_and(|at| at >= BEGIN));
    assert_eq!(browser.next_of("rules").await.data["change"], "c1");
    hub.shutdown.cancel();
    hub.task.await.unwrap();
}
