//! AuthorizationPolicies over the whole system: what is cut off, who says why, and the way back.

use std::process::Command;

use http::Method;
use serde_json::{Value, json};
use smov_testkit::http as client;

use crate::api::Api;
use crate::theatre::{Theatre, eventually, program};
use crate::traffic::gets;

const POLICIES: &str = "/apis/security.istio.io/v1/namespaces/theater-msa/authorizationpolicies";

async fn apply(api: &Api, name: &str, spec: Value) -> anyhow::Result<Value> {
    let policy = json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name}, "spec": spec});
    api.call(Method::POST, POLICIES, Some(("application/json", &policy))).await
}

async fn page_says(theatre: &Theatre, path: &str, status: u16) -> anyhow::Result<String> {
    let url = theatre.page(path);
    eventually(&format!("{path} says {status}"), async || {
        let answer = client::get(&url).await?;
        Ok((answer.status == status).then(|| answer.text()))
    })
    .await
}

fn explain(theatre: &Theatre, arguments: &[&str]) -> Value {
    let mut command = Command::new(program());
    command.arg("--state-dir").arg(theatre.state()).args(["--lang", "en", "explain", "-o", "json"]).args(arguments);
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn deny_all_cuts_the_page_and_the_operators_door_brings_it_back() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let (first, second) = (theatre.api("ctx1").await?, theatre.api("ctx2").await?);
    page_says(&theatre, "/", 200).await?;
    for api in [&first, &second] {
        apply(api, "deny-all", json!({})).await?;
    }
    assert_eq!(page_says(&theatre, "/", 403).await?, "RBAC: access denied");

    // Who refused, and why, is for operators.
    let refused = gets(&theatre, "/users/", &[("x-request-id", "refused-1")], 1).await?.remove(0);
    assert_eq!((refused.status, refused.text().as_str()), (403, "RBAC: access denied"));
    assert!(!format!("{refused:?}").contains("deny-all"), "{refused:?}");
    let told = explain(&theatre, &["--request", "refused-1"]);
    let records = told["records"].as_array().unwrap();
    let decisions: Vec<&Value> = records.iter().map(|record| &record["authorization"]["decision"]).filter(|told| !told.is_null()).collect();
    assert_eq!(decisions.len(), 1, "the gateway has no policy, its callee has: {records:#?}");
    assert_eq!((&decisions[0]["verdict"], &decisions[0]["policies"][0]["name"]), (&json!("notAllowed"), &json!("deny-all")));
    let asked = explain(&theatre, &["http://user-service:8081/users/", "--from", "api-gateway"]);
    let ends = json!([{"percent": 100.0, "end": {"kind": "status", "status": 403, "flag": null}}]);
    assert_eq!(asked["chances"], ends, "{:#}", asked["chances"]);
    assert!(asked["authorization"].as_array().unwrap().iter().all(|one| one["said"]["decision"]["verdict"] == "notAllowed"), "{asked:#}");

    // The door that goes through no proxy.
    assert_eq!(client::get(&theatre.operator("/")).await?.status, 200);
    assert_eq!(client::post(&theatre.operator("/api/v1/reset"), &[], &json!({})).await?.status, 200);
    page_says(&theatre, "/", 200).await?;
    page_says(&theatre, "/users/", 200).await?;
    for api in [&first, &second] {
        assert_eq!(api.call(Method::GET, POLICIES, None).await?["items"], json!([]));
    }

    // Locked down to the gateway's own identity: the page goes on, everybody else is refused by the pod.
    let front = json!({
        "selector": {"matchLabels": {"app": "api-gateway"}},
        "rules": [{"from": [{"source": {"namespaces": ["istio-system"]}}]}],
    });
    apply(&first, "front-only", front).await?;
    let pod = first.pods("api-gateway").await?.remove(0);
    eventually("plaintext is refused", async || {
        Ok((client::get(&format!("http://{}:8080/", pod.address)).await?.status == 403).then_some(()))
    })
    .await?;
    page_says(&theatre, "/", 200).await?;
    theatre.end()
}
