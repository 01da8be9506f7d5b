//! Where requests end: the configured shares, the canary, and repeatable dice.

use std::collections::BTreeMap;

use smov_testkit::statistics::binomial_interval;

use crate::theatre::Theatre;
use crate::traffic::{clusters, gets};

/// Service, path, share of ctx1 in percent.
const SERVICES: [(&str, &str, f64); 3] = [("user", "/users/", 70.0), ("movie", "/movies/", 30.0), ("booking", "/bookings/", 50.0)];
const REQUESTS: u64 = 500;
/// A healthy run fails once in a million.
const CONFIDENCE: f64 = 0.999_999;

#[tokio::test(flavor = "multi_thread")]
async fn requests_split_as_configured_between_pods_that_the_api_servers_list() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &[])?;
    for (service, path, percent) in SERVICES {
        let mut listed = BTreeMap::new();
        for context in ["ctx1", "ctx2"] {
            let pods = theatre.api(context).await?.pods(&format!("{service}-service")).await?;
            listed.insert(context, pods.into_iter().map(|pod| pod.name).collect::<Vec<_>>());
        }
        let answers = gets(&theatre, path, &[], REQUESTS).await?;
        for answer in &answers {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-service-name"), format!("{service}-service"));
            assert_eq!(answer.header("x-service-version"), "v1");
            let pods = &listed[answer.header("x-service-cluster")];
            assert!(pods.iter().any(|pod| pod == answer.header("x-pod-name")), "{:?} is not in {pods:?}", answer.headers);
        }
        let ctx1 = clusters(&answers).get("ctx1").copied().unwrap_or(0);
        let (low, high) = binomial_interval(REQUESTS, percent / 100.0, CONFIDENCE);
        assert!((low..=high).contains(&ctx1), "{service}: {ctx1} of {REQUESTS} to ctx1, expected {low} to {high}");

        let canary = gets(&theatre, path, &[("x-canary", "true")], 50).await?;
        assert!(canary.iter().all(|answer| answer.status == 200));
        assert_eq!(clusters(&canary), BTreeMap::from([("ctx2", 50)]), "{service}");
        let other = gets(&theatre, path, &[("x-canary", "false")], 50).await?;
        assert!(clusters(&other).contains_key("ctx1"), "another value of the header is no canary");
    }
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_seed_two_fresh_starts_draw_the_same() -> anyhow::Result<()> {
    let run = async || {
        let theatre = Theatre::start("sqlite", &["--seed", "42"])?;
        let mut drawn = BTreeMap::new();
        for (service, path, _) in SERVICES {
            let answers = gets(&theatre, path, &[], 100).await?;
            assert!(answers.iter().all(|answer| answer.status == 200));
            drawn.insert(service, answers.iter().map(|answer| answer.header("x-service-cluster").to_owned()).collect::<Vec<_>>());
        }
        theatre.end()?;
        anyhow::Ok(drawn)
    };
    let first = run().await?;
    let ctx1 = |service: &str| first[service].iter().filter(|cluster| *cluster == "ctx1").count();
    assert_eq!((ctx1("user"), ctx1("movie"), ctx1("booking")), (61, 25, 59));
    assert_eq!(run().await?, first);
    Ok(())
}
