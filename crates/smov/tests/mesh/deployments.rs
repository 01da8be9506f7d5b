//! What the Deployments view does, through both doors: usage, logs, a crash, a deletion, a restart, a number of pods for a while, and what the timeline
//! tells of it.

use serde_json::{Value, json};
use smov_testkit::http as client;

use crate::theatre::{Theatre, eventually, ready_pods};
use crate::traffic::gets;

async fn read(url: &str) -> anyhow::Result<Value> {
    Ok(client::get(url).await?.json())
}

/// Does it, and gives the name of its entry in the timeline.
async fn act(url: String, body: Value) -> anyhow::Result<String> {
    let answer = client::post(&url, &[], &body).await?;
    anyhow::ensure!(answer.status == 200, "{url}: {} {}", answer.status, answer.text());
    Ok(answer.json()["moment"].as_str().unwrap_or_default().to_owned())
}

/// The entry that says that it works again, once a request was answered by what came back.
async fn recovered(theatre: &Theatre, timeline: &str, moment: &str, path: &str) -> anyhow::Result<Value> {
    eventually(&format!("{moment} is over and served"), async || {
        gets(theatre, path, &[], 5).await?;
        let items = read(timeline).await?["items"].clone();
        let ready = items.as_array().into_iter().flatten().find(|item| item["id"] == format!("{moment}:ready")).cloned();
        Ok(ready.filter(|ready| ready["effect"]["served_ms"].is_u64()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_measured_read_crashed_deleted_and_scaled_through_both_doors() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &["--seed", "5"])?;
    let api = theatre.api("ctx1").await?;
    let doors = [theatre.page("/api/v1"), theatre.operator("/api/v1")];
    for door in &doors {
        eventually("abilities of every namespace", async || {
            let abilities = read(&format!("{door}/abilities")).await?;
            let all = abilities.as_array().cloned().unwrap_or_default();
            let may = |all: &[Value]| all.iter().all(|of| ["delete", "kill", "change", "logs"].iter().all(|what| of[*what] == true));
            Ok((all.len() >= 2 && may(&all)).then_some(()))
        })
        .await?;
        let usage = read(&format!("{door}/usage")).await?;
        assert!(
            usage["clusters"].as_array().is_some_and(|clusters| clusters.iter().all(|cluster| cluster["measured"] == true)),
            "{usage:#}"
        );
        let user = usage["pods"].as_array().unwrap().iter().find(|pod| pod["name"].as_str().unwrap().starts_with("user-service-ctx2"));
        assert!(user.is_some_and(|pod| pod["memory_bytes"].as_u64() > Some(1 << 20)), "{usage:#}");
    }

    // A crash, through the gateway: the same pod, one more restart, and what it did to requests.
    let pod = ready_pods(&api, "user-service", 1).await?.remove(0);
    let path = format!("/pods/ctx1/theater-msa/{}", pod.name);
    let killed = act(format!("{}{path}/kill", doors[0]), json!({ "container": "user-service" })).await?;
    let ready = recovered(&theatre, &format!("{}/timeline", doors[0]), &killed, "/users/").await?;
    assert_eq!(ready["kind"], "ready");
    assert!(ready["duration_ms"].as_u64().is_some_and(|ms| ms < 60_000), "{ready:#}");
    let back = ready_pods(&api, "user-service", 1).await?.remove(0);
    assert_eq!((&back.uid, back.restarts("user-service")), (&pod.uid, 1));
    // The other door saw it, too, and nobody asked it.
    eventually("the operator door tells of the restart", async || {
        let items = read(&format!("{}/timeline", doors[1])).await?["items"].clone();
        let told = items
            .as_array()
            .into_iter()
            .flatten()
            .any(|item| item["kind"] == "restart" && item["ref"] == format!("Pod/theater-msa/{}", pod.name));
        Ok(told.then_some(()))
    })
    .await?;
    let previous = client::get(&format!("{}{path}/logs?container=user-service&previous=1&tail=5", doors[1])).await?;
    assert_eq!((previous.status, previous.header("content-type")), (200, "text/plain; charset=utf-8"));
    let nobody = client::post(&format!("{}{path}/kill", doors[1]), &[], &json!({ "container": "nobody" })).await?;
    assert_eq!((nobody.status, nobody.json()["code"].clone()), (422, json!("Refused")), "{}", nobody.text());

    // A deletion, through the operator door: another pod.
    let deleted = act(format!("{}{path}/delete", doors[1]), json!({})).await?;
    recovered(&theatre, &format!("{}/timeline", doors[1]), &deleted, "/users/").await?;
    let next = ready_pods(&api, "user-service", 1).await?.remove(0);
    assert_ne!(next.uid, pod.uid);
    let gone = client::post(&format!("{}{path}/delete", doors[1]), &[], &json!({})).await?;
    assert_eq!((gone.status, gone.json()["code"].clone()), (404, json!("Gone")));

    // A restart, as kubectl's.
    let deployment = "/deployments/ctx1/theater-msa/user-service-ctx1";
    let restarted = act(format!("{}{deployment}/restart", doors[0]), json!({})).await?;
    recovered(&theatre, &format!("{}/timeline", doors[0]), &restarted, "/users/").await?;
    assert_ne!(ready_pods(&api, "user-service", 1).await?[0].uid, next.uid);

    // None for a while: the share of ctx1 fails, and after two seconds it goes back without anybody.
    let off = act(format!("{}{deployment}/scale", doors[0]), json!({ "replicas": 0, "restore_after_s": 2 })).await?;
    eventually("requests to nobody fail", async || {
        let answers = gets(&theatre, "/users/", &[], 10).await?;
        Ok(answers.iter().any(|answer| answer.status == 503).then_some(()))
    })
    .await?;
    let ready = recovered(&theatre, &format!("{}/timeline", doors[0]), &off, "/users/").await?;
    assert!(ready["effect"]["failed"].as_u64() > Some(0) && ready["duration_ms"].as_u64() >= Some(2_000), "{ready:#}");
    let object = read(&format!("{}/state", doors[1])).await?;
    let shown = object["pods"]["ctx1"]["deployments"].as_array().unwrap().iter().find(|item| item["name"] == "user-service-ctx1").cloned();
    assert_eq!(shown.map(|item| (item["wanted"].clone(), item["restore"].clone())), Some((json!(1), Value::Null)));

    // The link the same way.
    let cut = client::post(&format!("{}/link", doors[1]), &[], &json!({ "state": "cut", "restore_after_s": 1 })).await?;
    assert!(cut.json()["restore_at"].is_u64(), "{}", cut.text());
    eventually("the link is back by itself", async || {
        let link = read(&format!("{}/state", doors[1])).await?["link"].clone();
        Ok((link["state"] == "up" && link["restore_at"].is_null()).then_some(()))
    })
    .await?;
    theatre.end()
}
