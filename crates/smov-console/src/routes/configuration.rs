//! The rules: what is stored, what a change would do, applying it, and the way back.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::control::{Body, body};
use crate::problem::Problem;
use crate::routes::Console;
use crate::view::configuration::{AppliedView, ChangeSet, CheckView, HistoryView, ResourcesView};

/// Changes in one answer, unless fewer are asked for.
const LIMIT: usize = 50;
/// Objects in one change: a whole baseline has about 20.
const MOST_CHANGES: usize = 100;
/// Letters of a note or a name.
const MOST_LETTERS: usize = 200;

/// `GET /api/v1/resources`.
pub(super) async fn resources(State(console): State<Console>) -> Result<Json<ResourcesView>, Problem> {
    console.configuration.resources().await.map(Json)
}

/// `POST /api/v1/resources/check`.
pub(super) async fn check(State(console): State<Console>, set: Body<ChangeSet>) -> Result<Json<CheckView>, Problem> {
    console.configuration.check(sensible(body(set)?)?).await.map(Json)
}

/// `POST /api/v1/resources/apply`.
pub(super) async fn apply(State(console): State<Console>, set: Body<ChangeSet>) -> Result<Json<AppliedView>, Problem> {
    console.configuration.apply(sensible(body(set)?)?).await.map(Json)
}

fn sensible(set: ChangeSet) -> Result<ChangeSet, Problem> {
    if set.changes.is_empty() || set.changes.len() > MOST_CHANGES {
        return Err(Problem::bad_request(format!("changes: 1 to {MOST_CHANGES} are needed, not {}", set.changes.len())));
    }
    for (field, text) in [("note", &set.note), ("by", &set.by)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > MOST_LETTERS) {
            return Err(Problem::bad_request(format!("{field}: at most {MOST_LETTERS} letters")));
        }
    }
    for (index, change) in set.changes.iter().enumerate() {
        change.target().map_err(|what| Problem::bad_request(format!("changes[{index}]: {what}")))?;
    }
    Ok(set)
}

#[derive(Deserialize)]
pub(super) struct Asked {
    r#ref: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/history`.
pub(super) async fn history(State(console): State<Console>, Query(asked): Query<Asked>) -> Result<Json<HistoryView>, Problem> {
    console.configuration.history(asked.r#ref.filter(|text| !text.is_empty()), asked.limit.unwrap_or(LIMIT)).await.map(Json)
}

/// The body of a rollback.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    #[serde(default)]
    force: bool,
}

/// `POST /api/v1/history/{id}/rollback`.
pub(super) async fn rollback(
    State(console): State<Console>,
    Path(id): Path<String>,
    how: Body<Rollback>,
) -> Result<Json<AppliedView>, Problem> {
    console.configuration.rollback(id, body(how)?.force).await.map(Json)
}

/// `POST /api/v1/undo`.
pub(super) async fn undo(State(console): State<Console>) -> Result<Json<AppliedView>, Problem> {
    console.configuration.undo().await.map(Json)
}
