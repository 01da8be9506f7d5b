//! The Request inspector's API on a real mesh: the same answers through both doors, decisions worked out with rules as they would be, and the
//! same request thrown again.

use std::time::Duration;

use serde_json::{Value, json};
use smov_testkit::http as client;

use crate::theatre::{Theatre, eventually, within};
use crate::traffic::gets;

async fn post(door: &str, path: &str, body: &Value) -> anyhow::Result<client::Answer> {
    client::post(&format!("{door}{path}"), &[("origin", door)], body).await
}

/// Share in percent of each Kubernetes cluster, as `[ctx1, ctx2]`.
fn shares(told: &Value) -> [f64; 2] {
    let chances = told["chances"].as_array().cloned().unwrap_or_default();
    ["ctx1", "ctx2"].map(|cluster| {
        let mine = chances.iter().filter(|chance| chance["end"]["kubeClusters"] == json!([cluster]));
        mine.filter_map(|chance| chance["percent"].as_f64()).sum()
    })
}

fn rule(ctx1: u32, ctx2: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: user-service-vs}}\nspec:\n  hosts: [user-service]\n  http:\n  - route:\n    - {{destination: {{host: user-service, subset: ctx1}}, weight: {ctx1}}}\n    - {{destination: {{host: user-service, subset: ctx2}}, weight: {ctx2}}}\n"
    )
}

/// A canary request that both doors list, flags included. The doors, the proxies and the control planes start together, and whoever is late
/// misses what was before.
async fn canary(theatre: &Theatre, doors: &[String]) -> anyhow::Result<(String, client::Answer)> {
    let number = std::cell::Cell::new(0);
    eventually("a canary that both doors list with its flags", async || {
        number.set(number.get() + 1);
        let id = format!("inspect-{}", number.get());
        let Ok(mut answers) = gets(theatre, "/users/", &[("x-request-id", id.as_str()), ("x-canary", "true")], 1).await else {
            return Ok(None);
        };
        for door in doors {
            let listed = within(Duration::from_secs(3), "the row", async || {
                let rows = client::get(&format!("{door}/api/v1/requests?service=user&id={id}")).await?.json()["requests"].clone();
                Ok(rows.get(0).filter(|row| row["flags"] == "-" && row["canary"] == true && row["cluster"] == "ctx2").map(|_| ()))
            });
            if listed.await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some((id, answers.remove(0))))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_found_explained_and_thrown_again_through_both_doors() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let doors = [theatre.page(""), theatre.operator("")];
    let (id, answer) = canary(&theatre, &doors).await?;
    for door in &doors {
        let told = client::get(&format!("{door}/api/v1/requests/{id}")).await?.json();
        assert_eq!(told["observed"]["cluster"], answer.header("x-service-cluster"));
        let outbound = told["records"].as_array().unwrap().iter().find(|record| record["direction"] == "outbound").unwrap().clone();
        assert_eq!((&outbound["cluster_of_proxy"], &outbound["headers"]), (&json!("ctx1"), &json!([["x-canary", "true"]])));
    }

    // The live rule, the same with a header, and a rule that nobody applied: nothing of it is in force afterwards.
    for door in &doors {
        let now = post(door, "/api/v1/explain", &json!({ "path": "/users/" })).await?.json();
        assert_eq!((&now["computed"], shares(&now["now"]), &now["then"]), (&json!(true), [70.0, 30.0], &Value::Null));
        assert_eq!(
            now["now"]["explanation"]["outcome"]["odds"][0]["endpoints"][0]["ejected"], false,
            "the proxy says how its endpoints are"
        );
        let canary = post(door, "/api/v1/explain", &json!({ "path": "/users/", "headers": { "x-canary": "true" } })).await?.json();
        assert_eq!((shares(&canary["now"]), &canary["now"]["explanation"]["conditional"]), ([0.0, 100.0], &json!(true)));
        let asked = json!({ "path": "/users/", "overrides": [{ "cluster": "ctx1", "yaml": rule(10, 90) }] });
        let what_if = post(door, "/api/v1/explain", &asked).await?.json();
        assert_eq!(
            (shares(&what_if["now"]), shares(&what_if["then"]), &what_if["without_effect"]),
            ([70.0, 30.0], [10.0, 90.0], &json!([]))
        );
        let elsewhere = json!({ "path": "/users/", "overrides": [{ "cluster": "ctx2", "yaml": rule(10, 90) }] });
        let elsewhere = post(door, "/api/v1/explain", &elsewhere).await?.json();
        assert_eq!(
            (shares(&elsewhere["then"]), &elsewhere["without_effect"]),
            ([70.0, 30.0], &json!(["ctx2"])),
            "each cluster has its own rules"
        );
        let ingress = json!({ "path": "/users/", "host": "localhost:8080", "from": { "gateway": true } });
        let ingress = post(door, "/api/v1/explain", &ingress).await?.json();
        assert_eq!(ingress["now"]["explanation"]["rule"]["origin"]["resource"]["name"], "theater-msa");
    }
    let rules = theatre.api("ctx1").await?.virtual_service("user-service-vs").await?;
    assert_eq!(rules["spec"]["http"][1]["route"][0]["weight"], 70);

    for (bad, code, status) in [
        (json!({ "path": "/users/", "overrides": [{ "cluster": "ctx1", "yaml": "kind: [" }] }), "InvalidOverride", 422),
        (
            json!({ "path": "/users/", "overrides": [{ "cluster": "ctx1", "yaml": rule(10, 90).replace("weight: 90", "weigth: 90") }] }),
            "InvalidOverride",
            422,
        ),
        (json!({ "path": "/users/", "from": { "workload": "nobody" } }), "NoCaller", 404),
        (json!({ "path": "/nowhere" }), "InvalidRequest", 422),
    ] {
        let problem = post(&doors[0], "/api/v1/explain", &bad).await?;
        assert_eq!((problem.status, problem.json()["code"].as_str()), (status, Some(code)), "{bad}: {}", problem.text());
    }

    // Thrown again: all arrive, by the same rule, and can be inspected one by one. A canary stays one.
    for (door, client_name) in doors.iter().zip(["gateway.again", "operator.again"]) {
        let sent = post(door, &format!("/api/v1/requests/{id}/again"), &json!({ "count": 20, "client": client_name })).await?;
        assert_eq!(sent.status, 200, "{}", sent.text());
        let ids = sent.json()["ids"].as_array().cloned().unwrap_or_default();
        assert_eq!(ids.len(), 20);
        let rows = eventually("all of them arrived", async || {
            let rows = client::get(&format!("{door}/api/v1/requests?client={client_name}&limit=100")).await?.json()["requests"].clone();
            Ok(rows.as_array().filter(|rows| rows.len() == 20).cloned())
        })
        .await?;
        assert!(rows.iter().all(|row| ids.contains(&row["id"]) && row["cluster"] == "ctx2" && row["path"] == "/users/"), "{rows:?}");
        let one = client::get(&format!("{door}/api/v1/requests/{}", ids[0].as_str().unwrap())).await?.json();
        assert!(one["records"].as_array().is_some_and(|records| records.len() == 4), "{one:#}");
    }
    theatre.end()
}
