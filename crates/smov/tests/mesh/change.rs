//! One change of configuration: what it reaches, what it leaves alone, and what is refused.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use smov_testkit::{http as client, tools};

use crate::theatre::{Theatre, within};
use crate::traffic::{clusters, gets};

const RULE: &str = "user-service-vs";

/// The patch that `smov up` prints.
pub(crate) fn weights(ctx1: i64, ctx2: i64) -> Value {
    json!([
        {"op": "replace", "path": "/spec/http/1/route/0/weight", "value": ctx1},
        {"op": "replace", "path": "/spec/http/1/route/1/weight", "value": ctx2},
    ])
}

/// Weights of the user-service as `/traffic-weights` has them, from one of the doors.
async fn weights_at(url: &str) -> anyhow::Result<(Value, Value)> {
    let answer = client::get(url).await?.json();
    Ok((answer["UserServiceCtx1Weight"].clone(), answer["UserServiceCtx2Weight"].clone()))
}

/// The page and its numbers say so within a second, through both doors.
async fn screens_say(theatre: &Theatre, ctx1: u32, ctx2: u32, differ: bool) -> anyhow::Result<()> {
    for door in [theatre.page(""), theatre.operator("")] {
        within(Duration::from_secs(1), "the screens tell the change", async || {
            let told = weights_at(&format!("{door}/traffic-weights")).await? == (json!(ctx1), json!(ctx2));
            let user = &client::get(&format!("{door}/api/v1/state")).await?.json()["services"]["user"];
            let shares = &user["configured"];
            Ok((told && shares["ctx1"] == ctx1 && shares["ctx2"] == ctx2 && user["copies_differ"] == differ).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Changes the rule on ctx1: by kubectl where it is, else by the API.
pub(crate) async fn patch(theatre: &Theatre, patch: &Value) -> anyhow::Result<()> {
    if tools::found("kubectl") {
        let arguments = ["-n", "theater-msa", "patch", "virtualservice", RULE, "--type=json", "-p", &patch.to_string()];
        let output = theatre.mesh().kubectl("ctx1", &arguments)?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return Ok(());
    }
    theatre.api("ctx1").await?.patch_virtual_service(RULE, patch).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_weight_moves_the_next_requests_and_leaves_the_running_one_alone() -> anyhow::Result<()> {
    const CHUNKS: usize = 30;
    let theatre = Theatre::start("sqlite", &[])?;
    screens_say(&theatre, 70, 30, false).await?;
    // Which cluster gets a stream is drawn; ask until ctx1 has one.
    let stream = within(Duration::from_secs(30), "a stream from ctx1", async || {
        let url = theatre.page(&format!("/stream/user?chunks={CHUNKS}&interval_ms=100"));
        let answer = client::open(Method::GET, &url, &[], Bytes::new()).await?;
        Ok((answer.headers()["x-service-cluster"] == "ctx1").then_some(answer))
    })
    .await?;
    let pod = stream.headers()["x-pod-name"].to_str()?.to_owned();

    patch(&theatre, &weights(0, 100)).await?;
    screens_say(&theatre, 0, 100, true).await?;
    within(Duration::from_secs(2), "the first request obeys", async || {
        Ok((client::get(&theatre.page("/users/")).await?.header("x-service-cluster") == "ctx2").then_some(()))
    })
    .await?;
    within(Duration::from_secs(2), "all requests obey", async || {
        let answers = gets(&theatre, "/users/", &[], 40).await?;
        assert!(answers.iter().all(|answer| answer.status == 200));
        Ok((clusters(&answers).get("ctx2") == Some(&40)).then_some(()))
    })
    .await?;
    let answers = gets(&theatre, "/users/", &[], 200).await?;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(clusters(&answers), [("ctx2", 200)].into());

    let body = stream.into_body().collect().await?.to_bytes();
    let text = String::from_utf8(body.to_vec())?;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), CHUNKS, "{text}");
    for (index, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("{}/{CHUNKS} ", index + 1)) && line.ends_with(&pod), "{line}");
    }

    patch(&theatre, &weights(70, 30)).await?;
    screens_say(&theatre, 70, 30, false).await?;
    within(Duration::from_secs(2), "ctx1 gets requests again", async || {
        Ok((client::get(&theatre.page("/users/")).await?.header("x-service-cluster") == "ctx1").then_some(()))
    })
    .await?;
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_change_is_refused_with_its_place_and_changes_nothing() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let api = theatre.api("ctx1").await?;
    let before = api.virtual_service(RULE).await?;
    let replace = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    let broken = [
        (weights(-1, 101), "spec.http[1].route[0].weight"),
        (replace("/spec/http/1/route/0/destination/subset", json!(5)), "spec.http[1].route[0].destination.subset"),
        (replace("/spec/http/1/wieght", json!(5)), "spec.http[1].wieght"),
        (replace("/spec/http/1/route/0/destination/host", json!("user service")), "spec.http[1].route[0].destination.host"),
    ];
    for (patch, place) in &broken {
        let error = api.patch_virtual_service(RULE, patch).await.expect_err("a broken rule is refused").to_string();
        assert!(error.contains(place), "{place} is not in: {error}");
        if tools::found("kubectl") {
            let arguments = ["-n", "theater-msa", "patch", "virtualservice", RULE, "--type=json", "-p", &patch.to_string()];
            let output = theatre.mesh().kubectl("ctx1", &arguments)?;
            let error = String::from_utf8_lossy(&output.stderr);
            // kubectl's patch has no --validate: an unknown field is pruned with a warning.
            let told = error.contains(place) && (error.contains("Warning") || !output.status.success());
            assert!(told, "{error}");
        }
    }
    assert_eq!(api.virtual_service(RULE).await?["spec"], before["spec"]);
    assert_eq!(weights_at(&theatre.page("/traffic-weights")).await?, (json!(70), json!(30)));
    theatre.end()
}
