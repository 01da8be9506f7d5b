//! Pods that come and go under load: no request fails where a subset keeps a ready pod; where it does not, the answer says so.
//!
//! Short and gentle by default, for machines that build and test at the same time. The full size: `SMOV_ROLLOUT_RATE=200 SMOV_ROLLOUT_SECONDS=30
//! cargo test --release -p smov --test mesh rollout`; `SMOV_ROLLOUT_PLANE=envoy` puts the real Envoy in place of our proxy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use smov_testkit::http;

use crate::api::{Api, Pod};
use crate::theatre::{Theatre, eventually, ready_pods};
use crate::traffic::{Figures, Load, gets};

const APPS: [&str; 3] = ["user-service", "movie-service", "booking-service"];
const MIX: &str = "user=1,movie=1,booking=1";

/// How much traffic, and for how long at least.
struct Size {
    rate: u32,
    least: Duration,
    plane: String,
}

impl Size {
    fn wanted() -> Self {
        let number = |name: &str, otherwise: u32| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise);
        Self {
            rate: number("SMOV_ROLLOUT_RATE", 40),
            least: Duration::from_secs(number("SMOV_ROLLOUT_SECONDS", 6).into()),
            plane: std::env::var("SMOV_ROLLOUT_PLANE").unwrap_or_else(|_| "smov".to_owned()),
        }
    }

    fn theatre(&self) -> anyhow::Result<Theatre> {
        Theatre::start("sqlite", &["--data-plane", &self.plane])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_every_deployment_fails_no_request() -> anyhow::Result<()> {
    let size = Size::wanted();
    let theatre = size.theatre()?;
    let clusters = both(&theatre).await?;
    let load = Load::start(&theatre, size.rate, MIX)?;
    let before = uids(&clusters).await?;
    for api in &clusters {
        for deployment in api.deployments().await? {
            api.restart(&deployment, "2026-01-01T00:00:00Z").await?;
        }
    }
    for api in &clusters {
        for deployment in api.deployments().await? {
            rolled_out(api, &deployment).await?;
        }
    }
    settled(&clusters, 1).await?;
    let after = uids(&clusters).await?;
    assert!(before.is_disjoint(&after), "every pod is a new one");
    nothing_failed(&clusters, &load.finish_after(size.least).await?).await?;
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_of_random_pods_fail_no_request_where_a_subset_has_two() -> anyhow::Result<()> {
    let size = Size::wanted();
    let theatre = size.theatre()?;
    let clusters = both(&theatre).await?;
    scale(&clusters, 2).await?;
    settled(&clusters, 2).await?;
    let load = Load::start(&theatre, size.rate, MIX)?;
    let begun = Instant::now();
    let mut dice = Dice(42);
    let mut deleted = 0;
    while begun.elapsed() < size.least || deleted < 3 {
        let (api, app) = (&clusters[dice.roll(2)], APPS[dice.roll(3)]);
        let pods = ready_pods(api, app, 2).await?;
        let pod = &pods[dice.roll(2)];
        api.delete_pod(pod).await?;
        deleted += 1;
        gone(api, app, pod).await?;
        ready_pods(api, app, 2).await?;
    }
    nothing_failed(&clusters, &load.finish_after(size.least).await?).await?;
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_from_one_to_five_and_back_fails_no_request() -> anyhow::Result<()> {
    let size = Size::wanted();
    let theatre = size.theatre()?;
    let clusters = both(&theatre).await?;
    let load = Load::start(&theatre, size.rate, MIX)?;
    let api = &clusters[0];
    for replicas in [5, 1] {
        for app in APPS {
            api.scale(&format!("{app}-ctx1"), replicas).await?;
        }
        for app in APPS {
            ready_pods(api, app, replicas as usize).await?;
        }
        let names = ready_pods(api, "user-service", replicas as usize).await?.into_iter().map(|pod| pod.name).collect();
        exactly_these_answer(&theatre, &names).await?;
    }
    nothing_failed(&clusters, &load.finish_after(size.least).await?).await?;
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_only_pod_of_a_subset_goes_the_answer_is_503_and_says_uh() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let api = theatre.api("ctx1").await?;
    // Its successor must find no node, so that the gap lasts until it has been seen.
    cordon(&api, true).await?;
    let pod = ready_pods(&api, "user-service", 1).await?.remove(0);
    api.delete_pod(&pod).await?;
    let id = eventually("an answer of 503", async || {
        let answers = gets(&theatre, "/users/", &[], 10).await?;
        Ok(answers.iter().find(|answer| answer.status == 503).map(|answer| answer.header("x-request-id").to_owned()))
    })
    .await?;
    let told = eventually("the record of the request", async || {
        let explained = theatre.mesh().json(&["explain", "--request", &id]);
        Ok(explained.ok().map(|explained| explained.to_string()).filter(|text| text.contains("\"UH\"")))
    })
    .await?;
    assert!(told.contains("user-service"), "{told}");
    cordon(&api, false).await?;
    ready_pods(&api, "user-service", 1).await?;
    let figures = Load::start(&theatre, 100, "user=1")?.finish_after(Duration::from_secs(1)).await?;
    nothing_failed(&[api], &figures).await?;
    theatre.end()
}

/// Both clusters, ctx1 first.
async fn both(theatre: &Theatre) -> anyhow::Result<Vec<Api>> {
    Ok(vec![theatre.api("ctx1").await?, theatre.api("ctx2").await?])
}

async fn scale(clusters: &[Api], replicas: u32) -> anyhow::Result<()> {
    for (api, cluster) in clusters.iter().zip(["ctx1", "ctx2"]) {
        for app in APPS {
            api.scale(&format!("{app}-{cluster}"), replicas).await?;
        }
    }
    Ok(())
}

/// Each app has so many ready pods in each cluster, and none on its way out.
async fn settled(clusters: &[Api], replicas: usize) -> anyhow::Result<()> {
    for api in clusters {
        for app in APPS {
            ready_pods(api, app, replicas).await?;
        }
    }
    Ok(())
}

async fn uids(clusters: &[Api]) -> anyhow::Result<BTreeSet<String>> {
    let mut uids = BTreeSet::new();
    for api in clusters {
        for app in APPS.into_iter().chain(["api-gateway"]) {
            // An old one may still be on its way out.
            uids.extend(api.pods(app).await?.into_iter().filter(|pod| !pod.deleting).map(|pod| pod.uid));
        }
    }
    Ok(uids)
}

async fn gone(api: &Api, app: &str, pod: &Pod) -> anyhow::Result<()> {
    eventually("the deleted pod is gone", async || Ok((!api.pods(app).await?.iter().any(|other| other.uid == pod.uid)).then_some(()))).await
}

async fn cordon(api: &Api, on: bool) -> anyhow::Result<()> {
    let patch = serde_json::json!({"spec": {"unschedulable": on}});
    api.call(::http::Method::PATCH, "/api/v1/nodes/ctx1-node-1", Some(("application/merge-patch+json", &patch))).await.map(drop)
}

/// Every one of these pods of ctx1 answers, and no other does.
async fn exactly_these_answer(theatre: &Theatre, names: &BTreeSet<String>) -> anyhow::Result<()> {
    eventually(&format!("answers from exactly {names:?}"), async || {
        let answers = gets(theatre, "/users/", &[], 60).await?;
        let answered: BTreeSet<String> = answers
            .iter()
            .filter(|answer| answer.header("x-service-cluster") == "ctx1")
            .map(|answer| answer.header("x-pod-name").to_owned())
            .collect();
        Ok((answered == *names).then_some(()))
    })
    .await
}

/// Waits as `kubectl rollout status` does.
async fn rolled_out(api: &Api, deployment: &str) -> anyhow::Result<()> {
    eventually(&format!("the rollout of {deployment} is complete"), async || {
        let deployment = api.deployment(deployment).await?;
        let (status, wanted) = (&deployment["status"], &deployment["spec"]["replicas"]);
        let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
        let all: [&Value; 3] = [&status["updatedReplicas"], &status["replicas"], &status["availableReplicas"]];
        // No replicas at all are told by absence, as Kubernetes does it.
        Ok((seen && (*wanted == 0 || all.iter().all(|count| *count == wanted))).then_some(()))
    })
    .await
}

/// Every request was sent, and answered with 200; where not, the proxies say what they met.
async fn nothing_failed(clusters: &[Api], figures: &Figures) -> anyhow::Result<()> {
    let well =
        figures.requests > 50 && (figures.unanswered, figures.not_sent) == (0, 0) && figures.statuses.keys().collect::<Vec<_>>() == [&200];
    if well {
        return Ok(());
    }
    let mut met = String::new();
    for api in clusters {
        for app in APPS.into_iter().chain(["api-gateway", "cp-gateway"]) {
            for pod in api.pods(app).await?.iter().filter(|pod| !pod.address.is_empty()) {
                let metrics = http::get(&format!("http://{}:15090/stats/prometheus", pod.address)).await;
                let text = metrics.map(|answer| answer.text()).unwrap_or_default();
                let failed =
                    text.lines().filter(|line| line.starts_with("istio_requests_total") && !line.contains("response_code=\"200\""));
                met.extend(failed.map(|line| format!("\n{}: {line}", pod.name)));
            }
        }
    }
    anyhow::bail!("{figures:?}{met}")
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides).unwrap_or(0)
    }
}
