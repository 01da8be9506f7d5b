//! Good and bad requests, answered as a real API server answers them.
//!
//! `answers.json` holds one request per line with what kube-apiserver 1.34 answered, without what is different at every call (uids,
//! times, versions, addresses). Where we differ, the line says why; the day we no longer do, the test says so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use support::Server;

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    media: String,
    body: Option<String>,
    code: u16,
    #[serde(default)]
    warnings: Vec<String>,
    /// Why our answer is another one.
    differs: Option<String>,
    answer: Value,
}

/// What is left of an answer when everything is taken out that differs from call to call.
fn settled(mut body: Value) -> Value {
    if body["kind"] == "Status" {
        let mut kept = json!({});
        for field in ["message", "reason", "details"] {
            if let Some(value) = body.get(field) {
                kept[field] = value.clone();
            }
        }
        return kept;
    }
    let mut forget = |pointer: &str, fields: &[&str]| {
        if let Some(map) = body.pointer_mut(pointer).and_then(Value::as_object_mut) {
            fields.iter().for_each(|field| drop(map.shift_remove(*field)));
        }
    };
    forget("/metadata", &["uid", "creationTimestamp", "resourceVersion"]);
    forget("/spec", &["clusterIP", "clusterIPs"]);
    for place in 0..8 {
        forget(&format!("/metadata/managedFields/{place}"), &["time"]);
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_a_real_server_or_say_why_not() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("answers.json")).unwrap();
    assert!(cases.len() > 150);
    let server = Server::start().await;
    let client = server.client().await;
    let mut wrong = Vec::new();
    for case in cases {
        let request = http::Request::builder()
            .method(case.method.as_str())
            .uri(&case.path)
            .header("content-type", &case.media)
            .header("accept", "application/json")
            .header("user-agent", "cases/1.0")
            .body(kube::client::Body::from(case.body.unwrap_or_default().into_bytes()))
            .unwrap();
        let response = client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let warnings: Vec<String> = response.headers().get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let answer = settled(serde_json::from_slice(&bytes).unwrap());
        let same = (code, &warnings, &answer) == (case.code, &case.warnings, &case.answer);
        match case.differs {
            None if !same => {
                wrong.push(format!(
                    "{}: {code} {warnings:?} {answer}\n  instead of {} {:?} {}",
                    case.name, case.code, case.warnings, case.answer
                ));
            }
            Some(why) if same => wrong.push(format!("{}: no longer differs ({why})", case.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(server.stop().await);
}
