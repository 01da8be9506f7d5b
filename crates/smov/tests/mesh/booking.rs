//! A seat is sold once: many buyers, repeats, and answers that were cut off.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use smov_testkit::http as client;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::theatre::{Theatre, all_at_once, can_run};

const BUYERS: usize = 500;

/// A showing of a movie that is still to come.
pub(crate) async fn screening(theatre: &Theatre, movie: &str) -> anyhow::Result<String> {
    let list = client::get(&theatre.page(&format!("/movies/{movie}/screenings"))).await?.json();
    let last = list.as_array().and_then(|list| list.last()).ok_or_else(|| anyhow::anyhow!("movie {movie} is not shown: {list}"))?;
    Ok(last["id"].as_str().unwrap_or_default().to_owned())
}

/// How many bookings a user has.
async fn bookings_of(theatre: &Theatre, user: &str) -> anyhow::Result<u64> {
    Ok(client::get(&theatre.page(&format!("/bookings/user/{user}"))).await?.header("x-total-count").parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_500_buyers_gets_the_seat_sqlite() -> anyhow::Result<()> {
    one_buyer_wins("sqlite").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_500_buyers_gets_the_seat_redis() -> anyhow::Result<()> {
    if can_run("redis") { one_buyer_wins("redis").await } else { Ok(()) }
}

async fn one_buyer_wins(store: &str) -> anyhow::Result<()> {
    let theatre = Theatre::start(store, &[])?;
    let screening = screening(&theatre, "1").await?;
    let (url, body) = (theatre.page("/bookings/"), json!({"user_id": "1", "screening_id": screening, "seats": ["E5"]}));
    let answers = all_at_once((0..BUYERS).map(|_| {
        let (url, body) = (url.clone(), body.clone());
        async move { client::post(&url, &[], &body).await }
    }))
    .await?;
    let mut statuses = BTreeMap::new();
    for answer in &answers {
        *statuses.entry(answer.status).or_insert(0) += 1;
    }
    let unexpected = answers.iter().find(|answer| !matches!(answer.status, 201 | 409)).map(client::Answer::text);
    assert_eq!(statuses, [(201, 1), (409, BUYERS - 1)].into(), "{unexpected:?}");
    let clusters: BTreeSet<&str> = answers.iter().map(|answer| answer.header("x-service-cluster")).collect();
    assert_eq!(clusters, ["ctx1", "ctx2"].into(), "pods of both clusters sold");
    let winner = answers.iter().find(|answer| answer.status == 201).map(client::Answer::json).unwrap_or_default();
    let map = client::get(&theatre.page(&format!("/screenings/{screening}/seats"))).await?.json();
    assert_eq!(map["taken"], json!(["E5"]));
    assert_eq!(client::get(&theatre.page(&format!("/bookings/{}", winner["id"].as_str().unwrap_or_default()))).await?.json(), winner);

    the_same_key_books_once(&theatre, &screening).await?;
    theatre.end()
}

/// Five requests with one key, after a first one whose client did not wait for the answer; and five at the same time with another.
async fn the_same_key_books_once(theatre: &Theatre, screening: &str) -> anyhow::Result<()> {
    let (user, url) = ("2", theatre.page("/bookings/"));
    let before = bookings_of(theatre, user).await?;
    let body = json!({"user_id": user, "screening_id": screening, "seats": ["A1", "A2"]});
    send_and_hang_up(&url, "cut-off", &body).await?;
    let mut bookings = Vec::new();
    for _ in 0..5 {
        bookings.push(client::post(&url, &[("idempotency-key", "cut-off")], &body).await?);
    }
    same_booking(&bookings)?;
    assert_eq!(bookings_of(theatre, user).await?, before + 1);

    let body = json!({"user_id": user, "screening_id": screening, "seats": ["B1"]});
    let together = all_at_once((0..5).map(|_| {
        let (url, body) = (url.clone(), body.clone());
        async move { client::post(&url, &[("idempotency-key", "together")], &body).await }
    }));
    same_booking(&together.await?)?;
    assert_eq!(bookings_of(theatre, user).await?, before + 2);

    let other = json!({"user_id": user, "screening_id": screening, "seats": ["C1"]});
    let reused = client::post(&url, &[("idempotency-key", "together")], &other).await?;
    assert_eq!(reused.status, 422, "a key stands for one body: {}", reused.text());
    Ok(())
}

fn same_booking(answers: &[client::Answer]) -> anyhow::Result<()> {
    let booking: Value = answers[0].json();
    for answer in answers {
        anyhow::ensure!(answer.status == 201 && answer.json() == booking, "{}: {}", answer.status, answer.text());
    }
    Ok(())
}

/// Sends a whole request and closes the connection without reading a byte.
async fn send_and_hang_up(url: &str, key: &str, body: &Value) -> anyhow::Result<()> {
    let uri: http::Uri = url.parse()?;
    let (authority, body) = (uri.authority().map(ToString::to_string).unwrap_or_default(), body.to_string());
    let mut stream = TcpStream::connect(&authority).await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
        uri.path(),
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    Ok(stream.shutdown().await?)
}
