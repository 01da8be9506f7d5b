//! The Metrics view's figures are those that Prometheus would read from the gateway's sidecar, to the unit.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use smov_testkit::http as client;

use crate::theatre::{Theatre, can_run, within};
use crate::traffic::{clusters, gets};

const REQUESTS: u64 = 60;

/// Requests per cluster to user-service, as the view's table has them for its last five minutes.
async fn told(theatre: &Theatre) -> anyhow::Result<(BTreeMap<String, u64>, Value)> {
    let view = client::get(&theatre.page("/api/v1/series?minutes=5")).await?.json();
    let rows = view["table"].as_array().into_iter().flatten().filter(|row| row["service"] == "user");
    let counts = rows.map(|row| (row["cluster"].as_str().unwrap_or("none").to_owned(), row["requests"].as_f64().unwrap_or(0.0) as u64));
    Ok((counts.collect(), view))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_series_count_every_request_once_and_say_what_they_do_not_know() -> anyhow::Result<()> {
    if !can_run("sqlite") {
        return Ok(());
    }
    let theatre = Theatre::start("sqlite", &["--seed", "11"])?;
    // The first round of scrapes only says where the counters stand.
    within(Duration::from_secs(60), "the first step is known", async || {
        Ok((told(&theatre).await?.1["known_s"].as_u64() > Some(0)).then_some(()))
    })
    .await?;
    let before = told(&theatre).await?.0;
    let answers = gets(&theatre, "/users/", &[], REQUESTS).await?;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let mut wanted = before;
    for (cluster, count) in clusters(&answers) {
        *wanted.entry(cluster.to_owned()).or_default() += count;
    }
    let view = within(Duration::from_secs(60), "the step with these requests is complete", async || {
        let (counts, view) = told(&theatre).await?;
        anyhow::ensure!(
            counts.iter().all(|(cluster, count)| *count <= wanted.get(cluster).copied().unwrap_or(0)),
            "{counts:?} of {wanted:?}"
        );
        Ok((counts == wanted).then_some(view))
    })
    .await?;
    let line =
        view["lines"].as_array().and_then(|lines| lines.iter().find(|line| line["service"] == "user")).expect("user-service had traffic");
    let steps = view["steps"].as_u64().unwrap_or(0) as usize;
    assert_eq!(line["requests"].as_array().map(Vec::len), Some(steps));
    assert!(line["requests"][0].is_null(), "five minutes ago nobody was looking");
    assert!(line["p95"].as_array().is_some_and(|values| values.iter().any(|value| value.as_f64() > Some(0.0))), "{line}");
    theatre.end()
}
