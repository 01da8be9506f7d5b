//! ▶, bursts, the link, reset, and one request's story.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::ports::{Burst, LinkChange, LoadChange};
use crate::problem::Problem;
use crate::routes::Console;
use crate::view::cluster::LinkView;
use crate::view::state::LoadView;

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

/// `GET /api/v1/requests/{id}`.
pub(super) async fn request(State(console): State<Console>, Path(id): Path<String>) -> Response {
    let observed = console.live.find(&id);
    let (records, reason, texts) = match console.records.records(id.clone()).await {
        Ok(records) if records.is_empty() => (
            Value::Null,
            json!("NotKept"),
            json!({ "text_ko": "기록이 없습니다(보관 1,000건을 넘김)", "text_en": "No record (only the last 1,000 are kept)" }),
        ),
        Ok(records) => (Value::Array(records), Value::Null, Value::Null),
        Err(problem) => {
            let texts = json!({ "text_ko": problem.reason.text_ko, "text_en": problem.reason.text_en });
            (Value::Null, json!(problem.reason.code), texts)
        }
    };
    let mut answer = json!({ "id": id, "observed": observed, "records": records, "reason": reason });
    if let (Value::Object(answer), Value::Object(texts)) = (&mut answer, texts) {
        answer.extend(texts);
    }
    Json(answer).into_response()
}
