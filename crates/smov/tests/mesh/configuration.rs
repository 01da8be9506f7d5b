//! The rules through the page's API, by both doors: checked before they are stored, refused when stale, kept in a history that knows every writer and
//! survives a crash, and taken back.

use std::time::Duration;

use serde_json::{Value, json};
use smov_testkit::{http as client, tools};

use crate::change::{patch, weights};
use crate::theatre::{Theatre, within};

const REF: &str = "VirtualService/theater-msa/user-service-vs";
const SOON: Duration = Duration::from_secs(60);

/// Both doors.
fn doors(theatre: &Theatre) -> [String; 2] {
    [theatre.page("/api/v1"), theatre.operator("/api/v1")]
}

async fn read(url: &str) -> anyhow::Result<Value> {
    let answer = client::get(url).await?;
    anyhow::ensure!(answer.status == 200, "{url}: {} {}", answer.status, answer.text());
    Ok(answer.json())
}

async fn send(url: &str, body: &Value) -> anyhow::Result<Value> {
    let answer = client::post(url, &[], body).await?;
    anyhow::ensure!(answer.status == 200, "{url}: {} {}", answer.status, answer.text());
    Ok(answer.json())
}

/// The copy of the user-service's rule in a cluster.
async fn copy(door: &str, cluster: &str) -> anyhow::Result<Value> {
    let all = read(&format!("{door}/resources")).await?;
    let found = all["resources"].as_array().into_iter().flatten().find(|one| one["cluster"] == cluster && one["name"] == "user-service-vs");
    found.cloned().ok_or_else(|| anyhow::anyhow!("no copy in {cluster}: {all:#}"))
}

/// The rule's text with other weights in its second rule.
fn with_weights(text: &str, ctx1: u32, ctx2: u32) -> String {
    let mut new = [ctx1, ctx2].into_iter();
    let line = |line: &str| match line.trim_start().strip_prefix("weight: ") {
        Some(old) => line.replace(old, &new.next().map(|weight| weight.to_string()).unwrap_or_default()),
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// A change of one copy, begun with what is stored now.
fn change(copy: &Value, text: &str) -> Value {
    json!({ "cluster": copy["cluster"], "yaml": text, "resource_version": copy["resource_version"] })
}

/// What the history says of the rule: origin, writer and summaries, newest first.
async fn history(door: &str) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let told = read(&format!("{door}/history?ref={REF}")).await?;
    let changes = told["changes"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = |change: &Value| {
        let items = change["items"].as_array().into_iter().flatten();
        items.map(|item| format!("{} {}", text(&item["cluster"]), text(&item["summary_en"]))).collect()
    };
    Ok(changes.map(|change| (text(&change["origin"]), items(change))).collect())
}

/// Waits until the history says so; otherwise says what it says.
async fn becomes(door: &str, wanted: &[(String, Vec<String>)]) -> anyhow::Result<()> {
    let waited = within(SOON, "the history", async || Ok((history(door).await.ok().as_deref() == Some(wanted)).then_some(()))).await;
    anyhow::ensure!(waited.is_ok(), "{door}: {:#?}, wanted {wanted:#?}", history(door).await);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_checked_applied_and_taken_back_and_nobodys_change_is_lost() -> anyhow::Result<()> {
    let mut theatre = Theatre::start("sqlite", &["--seed", "7"])?;
    let [gateway, operator] = doors(&theatre);

    // A typing mistake stands at its place, with what was meant, and is not stored.
    let own = within(SOON, "both clusters are read", async || Ok(copy(&gateway, "ctx1").await.ok())).await?;
    let stored = own["yaml"].as_str().unwrap_or_default().to_owned();
    let wrong = stored.replacen("weight: 70", "weigth: 70", 1);
    let line = wrong.lines().position(|line| line.contains("weigth")).map(|index| index + 1);
    for door in [&gateway, &operator] {
        let checked = send(&format!("{door}/resources/check"), &json!({ "changes": [change(&own, &wrong)] })).await?;
        let result = &checked["results"][0];
        assert_eq!((&checked["applicable"], &result["outcome"]), (&json!(false), &json!("invalid")), "{checked:#}");
        let finding = &result["findings"][0];
        assert_eq!(
            (&finding["line"], &finding["column"], &finding["code"]),
            (&json!(line), &json!(7), &json!("unknown-field")),
            "{checked:#}"
        );
        assert!(finding["text_en"].as_str().is_some_and(|text| text.contains("did you mean `weight`?")), "{finding:#}");
        let applied = send(&format!("{door}/resources/apply"), &json!({ "changes": [change(&own, &wrong)] })).await?;
        assert_eq!((&applied["results"][0]["outcome"], &applied["change"]), (&json!("refused"), &json!("")), "{applied:#}");
    }
    assert_eq!(copy(&operator, "ctx1").await?["resource_version"], own["resource_version"], "nothing was stored");

    // Both copies through the mesh; the operator door says the same.
    let copies = [own.clone(), copy(&gateway, "ctx2").await?];
    let changes: Vec<Value> = copies.iter().map(|copy| change(copy, &with_weights(&stored, 50, 50))).collect();
    let checked = send(&format!("{gateway}/resources/check"), &json!({ "changes": changes })).await?;
    let signs: String = checked["results"][0]["diff"].as_array().into_iter().flatten().filter_map(|line| line["op"].as_str()).collect();
    assert_eq!((&checked["applicable"], signs.replace([' ', '@'], "").as_str()), (&json!(true), "-+-+"), "{checked:#}");
    let applied = send(&format!("{gateway}/resources/apply"), &json!({ "changes": changes, "note": "half", "by": "trainer" })).await?;
    assert!(applied["results"].as_array().is_some_and(|all| all.iter().all(|one| one["outcome"] == "configured")), "{applied:#}");
    let first = applied["change"].as_str().unwrap_or_default().to_owned();
    let half = vec![("page".to_owned(), vec!["ctx1 70:30 → 50:50".to_owned(), "ctx2 70:30 → 50:50".to_owned()])];
    for door in [&gateway, &operator] {
        assert_eq!(history(door).await?, half, "{door}");
        assert_eq!(copy(door, "ctx1").await?["baseline"], "changed");
    }

    // Begun before that: a conflict with what is stored, and in neither cluster anything of it.
    let stale: Vec<Value> = copies.iter().map(|copy| change(copy, &with_weights(&stored, 10, 90))).collect();
    let refused = send(&format!("{operator}/resources/apply"), &json!({ "changes": stale })).await?;
    for result in refused["results"].as_array().into_iter().flatten() {
        assert_eq!(result["outcome"], "conflict", "{refused:#}");
        assert!(result["live_yaml"].as_str().is_some_and(|text| text.contains("weight: 50")), "{refused:#}");
    }
    assert_eq!(history(&operator).await?, half);

    // What kubectl changes is in the history of both doors, once and with its writer.
    patch(&theatre, &weights(20, 80)).await?;
    let writer = if tools::found("kubectl") { "kubectl" } else { "unknown" };
    let both = [vec![(writer.to_owned(), vec!["ctx1 50:50 → 20:80".to_owned()])], half.clone()].concat();
    for door in [&gateway, &operator] {
        becomes(door, &both).await?;
    }

    // The change before it cannot be rolled back past it, unless that is wanted.
    let rollback = format!("{operator}/history/{first}/rollback");
    let conflict = send(&rollback, &json!({})).await?;
    assert_eq!((&conflict["results"][0]["outcome"], &conflict["change"]), (&json!("conflict"), &json!("")), "{conflict:#}");

    // The history is there after a crash, and undo goes back step by step, and no further.
    theatre.crash().await?;
    theatre.begin()?;
    let [gateway, operator] = doors(&theatre);
    for door in [&gateway, &operator] {
        becomes(door, &both).await?;
    }
    send(&format!("{gateway}/undo"), &json!({})).await?;
    assert!(copy(&operator, "ctx1").await?["yaml"].as_str().is_some_and(|text| text.contains("weight: 50")));
    let undone = send(&format!("{operator}/undo"), &json!({})).await?;
    assert_eq!(undone["results"].as_array().map(Vec::len), Some(2), "{undone:#}");
    for cluster in ["ctx1", "ctx2"] {
        let now = copy(&gateway, cluster).await?;
        assert_eq!((now["yaml"].as_str(), &now["baseline"]), (Some(stored.as_str()), &json!("same")), "{cluster}");
    }
    let nothing = client::post(&format!("{operator}/undo"), &[], &json!({})).await?;
    assert_eq!((nothing.status, &nothing.json()["code"]), (409, &json!("NothingToUndo")));
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_says_what_it_breaks_and_comes_back_and_a_reset_is_one_change() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let [gateway, operator] = doors(&theatre);
    within(SOON, "the worlds are read", async || Ok(copy(&operator, "ctx2").await.ok())).await?;
    let all = read(&format!("{operator}/resources")).await?;
    let rule = all["resources"].as_array().into_iter().flatten().find(|one| one["cluster"] == "ctx1" && one["name"] == "user-service-dr");
    let delete = json!({ "changes": [{
        "cluster": "ctx1", "delete": true, "ref": "DestinationRule/theater-msa/user-service-dr", "resource_version": rule.unwrap()["resource_version"],
    }] });
    let checked = send(&format!("{operator}/resources/check"), &delete).await?;
    let broken: Vec<&str> =
        checked["results"][0]["findings"].as_array().into_iter().flatten().filter_map(|one| one["ref"].as_str()).collect();
    assert!(!broken.is_empty() && broken.iter().all(|one| *one == REF), "{checked:#}");
    assert_eq!(
        checked["commands"][0],
        "kubectl --context ctx1 --namespace theater-msa delete destinationrules.networking.istio.io/user-service-dr"
    );

    let deleted = send(&format!("{gateway}/resources/apply"), &delete).await?;
    assert_eq!(deleted["results"][0]["outcome"], "deleted", "{deleted:#}");
    let missing = read(&format!("{operator}/resources")).await?["missing"].clone();
    assert_eq!((missing.as_array().map(Vec::len), &missing[0]["name"]), (Some(1), &json!("user-service-dr")), "{missing:#}");
    let restored = send(&format!("{gateway}/undo"), &json!({})).await?;
    assert_eq!(restored["results"][0]["outcome"], "created", "{restored:#}");
    assert_eq!(read(&format!("{operator}/resources")).await?["missing"], json!([]));

    // A reset is one change of the history, and can be taken back too.
    patch(&theatre, &weights(0, 100)).await?;
    within(SOON, "kubectl's change is in the history", async || Ok((history(&operator).await?.len() == 1).then_some(()))).await?;
    let reset = client::post(&format!("{operator}/reset"), &[], &json!({})).await?;
    assert_eq!(reset.status, 200, "{}", reset.text());
    let newest = history(&gateway).await?.into_iter().next();
    assert_eq!(newest, Some(("reset".to_owned(), vec!["ctx1 0:100 → 70:30".to_owned()])));
    send(&format!("{operator}/undo"), &json!({})).await?;
    assert!(copy(&gateway, "ctx1").await?["yaml"].as_str().is_some_and(|text| text.contains("weight: 100")));
    theatre.end()
}
