//! The link between the clusters under traffic: slow, cut, and whole again, without a restart.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use smov_testkit::http::{self as client, Answer};

use crate::booking::screening;
use crate::theatre::{Theatre, can_run, eventually};
use crate::traffic::{clusters, gets};

const REQUESTS: u64 = 60;

fn link(theatre: &Theatre, arguments: &[&str]) -> anyhow::Result<Value> {
    theatre.mesh().json(&[&["link"], arguments].concat())
}

async fn book(theatre: &Theatre, screening: &str, seat: &str) -> anyhow::Result<Answer> {
    client::post(&theatre.page("/bookings/"), &[], &json!({"user_id": "1", "screening_id": screening, "seats": [seat]})).await
}

/// Until both sides answer again: what was cut off is found again by itself.
async fn healed(theatre: &Theatre) -> anyhow::Result<()> {
    eventually("both sides answer again", async || {
        let answers = gets(theatre, "/users/", &[], 20).await?;
        Ok((answers.iter().all(|answer| answer.status == 200) && clusters(&answers).len() == 2).then_some(()))
    })
    .await
}

/// The fastest answer of each cluster, in milliseconds: what is slow about the others is the machine.
async fn fastest(theatre: &Theatre) -> anyhow::Result<BTreeMap<String, u128>> {
    let mut fastest = BTreeMap::new();
    for _ in 0..REQUESTS {
        let started = std::time::Instant::now();
        let answer = gets(theatre, "/users/", &[], 1).await?.remove(0);
        anyhow::ensure!(answer.status == 200, "{}", answer.text());
        let known = fastest.entry(answer.header("x-service-cluster").to_owned()).or_insert(u128::MAX);
        *known = (*known).min(started.elapsed().as_millis());
    }
    Ok(fastest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_link_makes_the_other_side_slow_and_a_cut_one_takes_it_away() -> anyhow::Result<()> {
    let theatre = Theatre::start("sqlite", &["--seed", "7"])?;
    assert_eq!(link(&theatre, &[])?["state"], "up");
    healed(&theatre).await?;

    link(&theatre, &["--latency", "200ms"])?;
    let slow = fastest(&theatre).await?;
    assert!(slow["ctx1"] < 200 && slow["ctx2"] >= 200, "{slow:?}");

    link(&theatre, &["--cut"])?;
    let cut = gets(&theatre, "/users/", &[], REQUESTS).await?;
    for answer in &cut {
        // A pod of this side answered, or nobody did and nobody is named.
        match answer.status {
            200 => assert_eq!(answer.header("x-service-cluster"), "ctx1"),
            503 => assert_eq!(answer.header("x-service-cluster"), ""),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    let refused = cut.iter().find(|answer| answer.status == 503).expect("some were drawn to the other side");
    assert!(cut.iter().any(|answer| answer.status == 200), "the rest arrived");
    let told = theatre.mesh().json(&["explain", "--request", refused.header("x-request-id")])?;
    let outbound = told["records"].as_array().and_then(|all| all.iter().find(|record| record["direction"] == "outbound"));
    let flags = outbound.map(|record| record["flags"].to_string()).unwrap_or_default();
    assert!(flags.contains("UF"), "{told:#}");

    // The page says that nobody sees the other side, through the gateway; the operator door looks past the link.
    let page = async |url: String| anyhow::Ok(client::get(&url).await?.json());
    eventually("the page says that ctx2 is not seen", async || {
        let state = page(theatre.page("/api/v1/state")).await?;
        Ok((state["link"]["state"] == "cut" && state["pods"]["ctx2"]["state"] == "unknown").then_some(()))
    })
    .await?;
    assert_eq!(theatre.console_state().await?["pods"]["ctx2"]["state"], "ok");

    link(&theatre, &["--restore"])?;
    healed(&theatre).await?;
    theatre.end()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_link_to_the_store_no_booking_is_confirmed() -> anyhow::Result<()> {
    if !can_run("redis") {
        return Ok(());
    }
    let theatre = Theatre::start("redis", &[])?;
    healed(&theatre).await?;
    let screening = screening(&theatre, "1").await?;
    assert_eq!(book(&theatre, &screening, "A1").await?.status, 201);

    link(&theatre, &["--cut"])?;
    let mut refused = Vec::new();
    for seat in ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8"] {
        let answer = book(&theatre, &screening, seat).await?;
        assert!(answer.status >= 500, "{}: {}", answer.status, answer.text());
        refused.push(seat);
    }
    link(&theatre, &["--restore"])?;
    healed(&theatre).await?;
    let taken = client::get(&theatre.page(&format!("/screenings/{screening}/seats"))).await?.json()["taken"].clone();
    assert_eq!(taken, json!(["A1"]), "what was not confirmed was not sold");
    for seat in refused {
        eventually("it can be bought now", async || Ok((book(&theatre, &screening, seat).await?.status == 201).then_some(()))).await?;
    }
    theatre.end()
}
