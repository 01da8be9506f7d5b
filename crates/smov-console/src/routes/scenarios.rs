//! The gallery of scenarios, and the glossary.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::glossary;
use crate::ports::scenarios::ScenarioDone;
use crate::problem::Problem;
use crate::routes::Console;

/// `GET /api/v1/scenarios`.
pub(super) async fn list(State(console): State<Console>) -> Result<Json<Value>, Problem> {
    let scenarios = console.scenarios.list().await?;
    Ok(Json(json!({ "scenarios": scenarios })))
}

/// `POST /api/v1/scenarios/{name}/apply`.
pub(super) async fn apply(State(console): State<Console>, Path(name): Path<String>) -> Result<Json<ScenarioDone>, Problem> {
    console.scenarios.apply(name).await.map(Json)
}

/// `POST /api/v1/scenarios/reset`.
pub(super) async fn reset(State(console): State<Console>) -> Result<Json<ScenarioDone>, Problem> {
    console.scenarios.reset().await.map(Json)
}

/// `GET /api/v1/glossary`: the same for everybody until the program is another one.
pub(super) async fn glossary() -> Response {
    let mut response = Json(json!({ "terms": glossary::terms() })).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
