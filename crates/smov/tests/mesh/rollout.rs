//! Pods that come and go under load: no request fails where a subset keeps a ready pod.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::Api;
use crate::theatre::{Theatre, eventually, ready_pods};
use crate::traffic::{Load, gets};

const DEPLOYMENT: &str = "user-service-ctx1";

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_and_go_under_load_without_a_failed_request() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    let api = theatre.api("ctx1").await?;
    let load = Load::start(&theatre, 100, "user=1")?;

    api.scale(DEPLOYMENT, 2).await?;
    let pods = ready_pods(&api, "user-service", 2).await?;
    both_answer(&theatre, &pods.iter().map(|pod| pod.name.clone()).collect()).await?;

    api.delete_pod(&pods[0]).await?;
    eventually("the deleted pod is gone", async || {
        Ok((!api.pods("user-service").await?.iter().any(|pod| pod.uid == pods[0].uid)).then_some(()))
    })
    .await?;
    let pods = ready_pods(&api, "user-service", 2).await?;

    api.restart(DEPLOYMENT, "2026-01-01T00:00:00Z").await?;
    rolled_out(&api).await?;
    let after = ready_pods(&api, "user-service", 2).await?;
    assert!(after.iter().all(|new| !pods.iter().any(|old| old.uid == new.uid)), "every pod is a new one");

    api.scale(DEPLOYMENT, 1).await?;
    let last = ready_pods(&api, "user-service", 1).await?;
    both_answer(&theatre, &[last[0].name.clone()].into()).await?;

    // One pod: the new one is ready before the old one goes.
    api.restart(DEPLOYMENT, "2026-01-02T00:00:00Z").await?;
    rolled_out(&api).await?;
    ready_pods(&api, "user-service", 1).await?;

    let figures = load.finish()?;
    assert!(figures.requests > 100, "{figures:?}");
    assert_eq!((figures.unanswered, figures.not_sent), (0, 0), "{figures:?}");
    assert_eq!(figures.statuses.keys().collect::<Vec<_>>(), [&200], "{figures:?}");
    theatre.end()
}

/// Every one of these pods of ctx1 answers, and no other does.
async fn both_answer(theatre: &Theatre, names: &BTreeSet<String>) -> anyhow::Result<()> {
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
async fn rolled_out(api: &Api) -> anyhow::Result<()> {
    eventually("the rollout is complete", async || {
        let deployment = api.deployment(DEPLOYMENT).await?;
        let (status, wanted) = (&deployment["status"], &deployment["spec"]["replicas"]);
        let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
        let all: [&Value; 3] = [&status["updatedReplicas"], &status["replicas"], &status["availableReplicas"]];
        Ok((seen && all.iter().all(|count| *count == wanted)).then_some(()))
    })
    .await
}
