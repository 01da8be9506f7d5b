//! The Request inspector: recent requests, one request's story, a decision worked out, the same request again.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::control::{Body, body};
use crate::live::RowFilter;
use crate::ports::{Again, ExplainRequest};
use crate::problem::Problem;
use crate::routes::Console;
use crate::service::ServiceId;
use crate::view::request::RequestRow;

/// `GET /api/v1/requests`.
pub(super) async fn requests(
    State(console): State<Console>,
    filter: Result<Query<RowFilter>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(filter) = filter.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    Ok(Json(json!({ "requests": console.live.rows(&filter) })))
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

/// `POST /api/v1/explain`.
pub(super) async fn explain(State(console): State<Console>, request: Body<ExplainRequest>) -> Result<Json<Value>, Problem> {
    console.explain.explain(body(request)?).await.map(Json)
}

/// The body of `again`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Times {
    count: u32,
    #[serde(default)]
    client: Option<String>,
}

/// `POST /api/v1/requests/{id}/again`.
pub(super) async fn again(State(console): State<Console>, Path(id): Path<String>, times: Body<Times>) -> Result<Json<Value>, Problem> {
    let Times { count, client } = body(times)?;
    if count == 0 || count > Again::MOST {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "OutOfRange",
            "한 번에 1건에서 100건까지 다시 보낼 수 있습니다",
            "A request can be sent again 1 to 100 times",
        ));
    }
    // Without records the row of the gateway is enough: it has method, path and the canary header.
    let records = console.records.records(id.clone()).await.unwrap_or_default();
    let first = First::of(console.live.find(&id).as_ref(), &records).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "RequestGone",
            "이 요청은 더 이상 보관되어 있지 않아 다시 보낼 수 없습니다",
            "This request is no longer kept, so it cannot be sent again",
        )
    })?;
    if first.method != "GET" {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "NotAGet",
            "GET 요청만 다시 보낼 수 있습니다. 다른 메서드는 데이터를 바꿀 수 있습니다",
            "Only a GET can be sent again: other methods may change data",
        ));
    }
    let headers = first.headers.clone();
    let again = Again { count, service: first.service, path: first.path, headers: first.headers, client };
    let ids = console.traffic.again(again).await?;
    Ok(Json(json!({ "ids": ids, "headers": headers })))
}

/// `POST /api/v1/load/again`: as above, told by another door, which has read the records itself.
pub(super) async fn load_again(State(console): State<Console>, again: Body<Again>) -> Result<Json<Value>, Problem> {
    let mut again = body(again)?;
    if !again.path.starts_with('/') {
        return Err(Problem::bad_request("`path` does not begin with `/`"));
    }
    again.headers.retain(|(name, _)| Again::may_repeat(name));
    let ids = console.traffic.again(again).await?;
    Ok(Json(json!({ "ids": ids })))
}

/// What is known of the request that is to be sent again.
struct First {
    method: String,
    path: String,
    service: ServiceId,
    headers: Vec<(String, String)>,
}

impl First {
    fn of(row: Option<&RequestRow>, records: &[Value]) -> Option<Self> {
        // The gateway's own call: the rules that split look at its headers.
        let outbound = records.iter().find(|record| record["direction"] == "outbound" && record["proxy"].as_str().is_some_and(is_gateway));
        let field = |name: &str| outbound.and_then(|record| record[name].as_str()).map(str::to_owned);
        let method = row.map(|row| row.m.clone()).or_else(|| field("method"))?;
        let path = row.map(|row| row.path.clone()).or_else(|| field("path"))?;
        let service = row.map(|row| row.svc).or_else(|| ServiceId::of_path(&path))?;
        let pair = |header: &Value| Some((header[0].as_str()?.to_owned(), header[1].as_str()?.to_owned()));
        let read = outbound.and_then(|record| record["headers"].as_array());
        let mut headers: Vec<(String, String)> = read.into_iter().flatten().filter_map(pair).collect();
        headers.retain(|(name, _)| Again::may_repeat(name));
        if row.is_some_and(|row| row.canary) && !headers.iter().any(|(name, _)| name == "x-canary") {
            headers.push(("x-canary".to_owned(), "true".to_owned()));
        }
        Some(Self { method, path, service, headers })
    }
}

/// Is it a pod of the gateway app, by its name?
fn is_gateway(pod: &str) -> bool {
    pod.starts_with("api-gateway")
}
