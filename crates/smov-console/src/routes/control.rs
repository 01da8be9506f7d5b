//! ▶, bursts, the link, reset.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde_json::{Value, json};

use crate::ports::{Burst, LinkChange, LoadChange};
use crate::problem::Problem;
use crate::routes::Console;
use crate::view::cluster::LinkView;
use crate::view::state::LoadView;

/// A body that may not be what it should.
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;

pub(super) fn body<T>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(value)| value).map_err(|rejection| Problem::bad_request(rejection.body_text()))
}

/// `POST /api/v1/load`.
pub(super) async fn load(State(console): State<Console>, change: Body<LoadChange>) -> Result<Json<LoadView>, Problem> {
    console.traffic.change(body(change)?).await.map(Json)
}

/// `POST /api/v1/load/burst`.
pub(super) async fn burst(State(console): State<Console>, burst: Body<Burst>) -> Result<Json<LoadView>, Problem> {
    console.traffic.burst(body(burst)?).await.map(Json)
}

/// `POST /api/v1/link`.
pub(super) async fn link(State(console): State<Console>, change: Body<LinkChange>) -> Result<Json<LinkView>, Problem> {
    console.link.change(body(change)?).await.map(Json)
}

/// `POST /api/v1/reset`.
pub(super) async fn reset(State(console): State<Console>) -> Result<Json<Value>, Problem> {
    let changed = console.baseline.reset().await?;
    Ok(Json(json!({ "changed": changed })))
}
