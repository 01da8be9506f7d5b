//! The last traces: a list, and one of them with all its spans.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::routes::Console;
use crate::traces::{TraceLine, TraceList, merge, spans};

/// Traces of an answer, unless the question says how many.
const TRACES: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    /// At most so many.
    limit: Option<usize>,
    /// In which this service took part: `user-service`, or `user-service.theater-msa`.
    service: Option<String>,
    /// In which this request was seen.
    request: Option<String>,
}

impl Filter {
    fn takes(&self, trace: &TraceLine) -> bool {
        let is_of = |wanted: &String| trace.services.iter().any(|known| known == wanted || known.split('.').next() == Some(wanted));
        self.service.as_ref().is_none_or(is_of) && self.request.as_ref().is_none_or(|wanted| trace.request_ids.contains(wanted))
    }
}

/// `GET /api/v1/traces?request=ID&service=NAME&limit=100`.
pub(super) async fn traces(
    State(console): State<Console>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<TraceList>, Problem> {
    let Query(filter) = filter.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let told = asked(console.records.traces().await)?;
    let mut list = merge(told);
    list.traces.retain(|trace| filter.takes(trace));
    list.traces.truncate(filter.limit.unwrap_or(TRACES));
    Ok(Json(list))
}

/// `GET /api/v1/traces/{id}`.
pub(super) async fn trace(State(console): State<Console>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::bad_request(format!("`{id}` is no trace id: 32 hexadecimal digits")));
    }
    let id = id.to_ascii_lowercase();
    let (spans, unasked) = spans(asked(console.records.trace(id.clone()).await)?);
    if spans.is_empty() {
        let (korean, english) = ("이 트레이스의 스팬을 보관하고 있지 않습니다", "No span of this trace is kept");
        let problem = Problem::new(StatusCode::NOT_FOUND, "TraceNotKept", korean, english);
        return Err(problem.with("unasked", json!(unasked)));
    }
    Ok(Json(json!({ "trace_id": id, "spans": spans, "unasked": unasked })))
}

/// Without a control plane of ours nobody keeps traces here.
fn asked<T>(told: Vec<T>) -> Result<Vec<T>, Problem> {
    if told.is_empty() {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "NoControlPlane",
            "트레이스를 물어볼 컨트롤 플레인이 없습니다",
            "There is no control plane to ask for traces",
        ));
    }
    Ok(told)
}
