//! Scenarios on a running mesh: each does what it says, is told by the live objects, and leaves every byte as it was.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use smov_testkit::http::{self as client, Answer};

use crate::change::weights;
use crate::theatre::{Theatre, all_at_once, eventually, ready_pods, within};

/// So many that what happens to three in ten is seen but once in a million runs.
const ENOUGH: usize = 40;

fn scenario(theatre: &Theatre, arguments: &[&str]) -> anyhow::Result<Value> {
    theatre.mesh().json(&[&["scenario"], arguments].concat())
}

/// What `smov scenario status` says: names with their state.
fn active(theatre: &Theatre) -> anyhow::Result<Vec<(String, String)>> {
    let found = scenario(theatre, &["status"])?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(found.as_array().into_iter().flatten().map(|one| (text(&one["name"]), text(&one["state"]))).collect())
}

fn only(name: &str, state: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), state.to_owned())]
}

/// All rules, Deployments and ConfigMaps of the theatre, without what every write changes.
async fn everything(theatre: &Theatre) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for context in ["ctx1", "ctx2"] {
        let api = theatre.api(context).await?;
        for (group, kind) in [
            ("apis/networking.istio.io/v1", "virtualservices"),
            ("apis/networking.istio.io/v1", "destinationrules"),
            ("apis/apps/v1", "deployments"),
            ("api/v1", "configmaps"),
        ] {
            let list = api.call(Method::GET, &format!("/{group}/namespaces/theater-msa/{kind}"), None).await?;
            for item in list["items"].as_array().into_iter().flatten() {
                let mut item = item.clone();
                for field in ["resourceVersion", "generation", "managedFields"] {
                    item["metadata"].as_object_mut().unwrap().remove(field);
                }
                item.as_object_mut().unwrap().remove("status");
                found.push(item);
            }
        }
    }
    Ok(found)
}

struct Seen {
    answer: Answer,
    took: Duration,
}

/// Requests at once, each with the time it took.
async fn many(theatre: &Theatre, path: &str, headers: &'static [(&'static str, &'static str)]) -> anyhow::Result<Vec<Seen>> {
    let one = |url: String| async move {
        let started = Instant::now();
        let answer = client::send(Method::GET, &url, headers, Bytes::new()).await?;
        Ok(Seen { answer, took: started.elapsed() })
    };
    all_at_once((0..ENOUGH).map(|_| one(theatre.page(path))).collect::<Vec<_>>()).await
}

fn statuses(seen: &[Seen], status: u16) -> usize {
    seen.iter().filter(|seen| seen.answer.status == status).count()
}

fn from(seen: &[Seen], cluster: &str) -> usize {
    seen.iter().filter(|seen| seen.answer.header("x-service-cluster") == cluster).count()
}

fn late(seen: &[Seen], milliseconds: u64) -> usize {
    seen.iter().filter(|seen| seen.took >= Duration::from_millis(milliseconds)).count()
}

/// A figure of a pod's own metrics.
fn figure(theatre: &Theatre, deployment: &str, port: u16, name: &str) -> anyhow::Result<u64> {
    let url = format!("http://{deployment}:{port}/metrics");
    let output = theatre.mesh().smov(&["request", "--from", "outside", &url])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| anyhow::anyhow!("no {name} in {text}"))?;
    Ok(line.trim().parse()?)
}

const BOTH: Duration = Duration::from_secs(60);

/// Asks until an effect is seen.
async fn shows(
    theatre: &Theatre,
    what: &str,
    path: &str,
    headers: &'static [(&'static str, &'static str)],
    effect: impl Fn(&[Seen]) -> bool,
) -> anyhow::Result<()> {
    within(BOTH, what, async || Ok(effect(&many(theatre, path, headers).await?).then_some(()))).await
}

fn calm(seen: &[Seen]) -> bool {
    statuses(seen, 200) == ENOUGH && late(seen, 2_000) == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn scenarios_of_the_mesh_do_what_they_say_and_leave_every_byte_as_it_was() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &["--seed", "7"])?;
    let before = everything(&theatre).await?;
    assert_eq!(active(&theatre)?, only("reset", "active"));
    let listed = scenario(&theatre, &["list"])?;
    assert!(listed.as_array().is_some_and(|all| all.len() >= 13), "{listed}");

    let apply = |name: &'static str| -> anyhow::Result<Value> {
        let done = scenario(&theatre, &["apply", name])?;
        assert_eq!(active(&theatre)?, only(name, "active"), "{done}");
        let again = scenario(&theatre, &["apply", name])?;
        assert_eq!(again["changed"], json!([]), "{name} a second time changes nothing");
        Ok(done)
    };
    apply("delay")?;
    shows(&theatre, "delay", "/movies/", &[], |seen| statuses(seen, 200) == ENOUGH && late(seen, 3_000) > 0).await?;
    eventually("the page calls it an intervention", async || {
        let state = theatre.console_state().await?;
        Ok(state.to_string().contains("\"delay\"").then_some(()))
    })
    .await?;

    let done = apply("error")?;
    assert_eq!(done["was"], json!(["delay"]));
    shows(&theatre, "error", "/users/", &[], |seen| statuses(seen, 500) > 0 && statuses(seen, 200) > 0).await?;
    shows(&theatre, "the one before is put back", "/movies/", &[], calm).await?;

    apply("block")?;
    shows(&theatre, "block", "/bookings/", &[], |seen| statuses(seen, 200) == ENOUGH && from(seen, "ctx1") == ENOUGH).await?;

    apply("chaos")?;
    shows(&theatre, "chaos", "/users/", &[], |seen| statuses(seen, 500) > 0 && statuses(seen, 200) > 0).await?;
    shows(&theatre, "chaos", "/movies/", &[], |seen| late(seen, 3_000) > 0).await?;

    apply("canary-header")?;
    shows(&theatre, "everybody", "/users/", &[], |seen| from(seen, "ctx1") == ENOUGH).await?;
    shows(&theatre, "the canary", "/users/", &[("x-canary", "true")], |seen| from(seen, "ctx2") == ENOUGH).await?;

    apply("mirror")?;
    shows(&theatre, "mirror", "/movies/", &[], |seen| from(seen, "ctx1") == ENOUGH).await?;
    let counted = figure(&theatre, "movie-service-ctx2", 8082, "theatre_http_responses_total{class=\"2xx\"}")?;
    many(&theatre, "/movies/", &[]).await?;
    eventually("ctx2 gets the copies", async || {
        let now = figure(&theatre, "movie-service-ctx2", 8082, "theatre_http_responses_total{class=\"2xx\"}")?;
        Ok((now >= counted + ENOUGH as u64).then_some(()))
    })
    .await?;

    apply("circuit-breaker")?;
    shows(&theatre, "circuit-breaker", "/stream/user?chunks=4&interval_ms=100", &[], |seen| {
        statuses(seen, 503) > 0 && statuses(seen, 200) > 0
    })
    .await?;

    let done = scenario(&theatre, &["reset"])?;
    assert_eq!(done["was"], json!(["circuit-breaker"]));
    assert_eq!(active(&theatre)?, only("reset", "active"));
    shows(&theatre, "as at first", "/users/", &[], |seen| calm(seen) && from(seen, "ctx2") > 0).await?;
    assert_eq!(everything(&theatre).await?, before);
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_really_fail_are_ejected_retried_and_timed_out() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &["--seed", "7"])?;
    let before = everything(&theatre).await?;

    // One of two pods of ctx2 fails; after a few errors only the other one answers.
    scenario(&theatre, &["apply", "app-failure-ejection"])?;
    assert_eq!(active(&theatre)?, only("app-failure-ejection", "active"));
    let api = theatre.api("ctx2").await?;
    let pods = ready_pods(&api, "user-service", 2).await?;
    within(BOTH, "the failing pod answers 500 itself", async || {
        let seen = many(&theatre, "/users/", &[]).await?;
        let own = seen.iter().find(|seen| seen.answer.header("x-app-switch") == "fail 100% 500");
        Ok(own.map(|seen| assert!(seen.answer.status == 500 && seen.answer.header("x-service-cluster") == "ctx2")))
    })
    .await?;
    shows(&theatre, "it is ejected", "/users/", &[], |seen| statuses(seen, 200) == ENOUGH && from(seen, "ctx2") > 0).await?;
    assert!(
        ready_pods(&api, "user-service", 2).await?.iter().all(|pod| pods.iter().any(|old| old.uid == pod.uid)),
        "Kubernetes noticed nothing"
    );
    // The switch off, the pod is back after its time.
    let map = "/api/v1/namespaces/theater-msa/configmaps/app-switches";
    api.call(Method::DELETE, map, None).await?;
    within(BOTH, "both pods of ctx2 answer", async || {
        let seen = many(&theatre, "/users/", &[]).await?;
        let answers = |name: &str| seen.iter().any(|seen| seen.answer.status == 200 && seen.answer.header("x-pod-name") == name);
        Ok(pods.iter().all(|pod| answers(&pod.name)).then_some(()))
    })
    .await?;
    assert_eq!(active(&theatre)?, only("app-failure-ejection", "partly"), "somebody took a part of it away");

    scenario(&theatre, &["apply", "slow-pod"])?;
    shows(&theatre, "one pod of ctx1 is slow", "/users/", &[], |seen| statuses(seen, 200) == ENOUGH && late(seen, 2_000) > 0).await?;

    scenario(&theatre, &["apply", "timeout-vs-delay"])?;
    shows(&theatre, "slow pods are cut off", "/users/", &[], |seen| statuses(seen, 504) > 0 && late(seen, 3_000) == 0).await?;
    shows(&theatre, "an injected delay is not", "/movies/", &[], |seen| statuses(seen, 200) == ENOUGH && late(seen, 3_000) > 0).await?;

    scenario(&theatre, &["apply", "retry-storm"])?;
    shows(&theatre, "seven in ten fail, people see fewer", "/movies/", &[], |seen| {
        let failed = statuses(seen, 503);
        failed > 0 && failed < ENOUGH * 6 / 10 && seen.iter().any(|seen| !seen.answer.header("x-app-switch").is_empty())
    })
    .await?;
    let counted = ["movie-service-ctx1", "movie-service-ctx2"];
    let asked = |name: &str| figure(&theatre, name, 8082, "theatre_app_switch_requests_total");
    let start: u64 = counted.iter().map(|name| asked(name)).sum::<anyhow::Result<u64>>()?;
    many(&theatre, "/movies/", &[]).await?;
    let more: u64 = counted.iter().map(|name| asked(name)).sum::<anyhow::Result<u64>>()? - start;
    assert!(more > ENOUGH as u64, "more failures ({more}) than requests ({ENOUGH})");

    let done = scenario(&theatre, &["reset"])?;
    assert_eq!(done["left"], json!([]));
    ready_pods(&theatre.api("ctx1").await?, "user-service", 1).await?;
    assert_eq!(everything(&theatre).await?, before);
    shows(&theatre, "as at first", "/movies/", &[], calm).await?;
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_applies_scenarios_through_both_doors_and_leaves_other_objects_alone() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let origin = |url: &str| [("origin".to_owned(), url.split("/api").next().unwrap_or_default().to_owned())];
    let post = async |url: String| -> anyhow::Result<Answer> {
        let headers = origin(&url);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        client::post(&url, &headers, &json!({})).await
    };
    // Somebody's own change of another service.
    theatre.api("ctx1").await?.patch_virtual_service("booking-service-vs", &weights(20, 80)).await?;
    for door in [theatre.page(""), theatre.operator("")] {
        let done = post(format!("{door}/api/v1/scenarios/delay/apply")).await?;
        assert_eq!(done.status, 200, "{}", done.text());
        let listed = client::get(&format!("{door}/api/v1/scenarios")).await?.json();
        let on: Vec<_> =
            listed["scenarios"].as_array().unwrap().iter().filter(|one| one["active"] == true).map(|one| one["name"].clone()).collect();
        assert_eq!(on, ["delay"]);
        let live = theatre.api("ctx1").await?.virtual_service("movie-service-vs").await?;
        let managers = live["metadata"]["managedFields"].to_string();
        assert!(managers.contains("smov-scenario-delay"), "{managers}");
        let done = post(format!("{door}/api/v1/scenarios/reset")).await?.json();
        assert_eq!(done["left"], json!(["ctx1 VirtualService/theater-msa/booking-service-vs"]));
    }
    let own = theatre.api("ctx1").await?.virtual_service("booking-service-vs").await?;
    assert_eq!(own["spec"]["http"][1]["route"][0]["weight"], 20);
    let terms = client::get(&theatre.page("/api/v1/glossary")).await?.json();
    assert!(terms["terms"].as_array().is_some_and(|terms| terms.len() > 100));
    assert_eq!(post(theatre.page("/api/v1/scenarios/earthquake/apply")).await?.status, 404);

    // The link is cut through the gateway, which then cannot see ctx2 and says so.
    assert_eq!(post(theatre.page("/api/v1/scenarios/cluster-cut/apply")).await?.status, 200);
    shows(&theatre, "what goes to ctx2 fails", "/users/", &[], |seen| statuses(seen, 503) > 0 && from(seen, "ctx1") > 0).await?;
    assert_eq!(active(&theatre)?.iter().filter(|(name, _)| name == "cluster-cut").count(), 1);
    let done = post(theatre.page("/api/v1/scenarios/reset")).await?;
    assert_eq!(done.status, 200, "{}", done.text());
    shows(&theatre, "whole again", "/users/", &[], |seen| calm(seen) && from(seen, "ctx2") > 0).await?;
    theatre.end()
}
