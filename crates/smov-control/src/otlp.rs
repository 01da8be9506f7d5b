//! Where apps of this machine give their spans: OTLP/HTTP on a unix socket of its own, so that who may send spans may not ask for more.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use crate::traces::Traces;

/// More is not taken at a time.
const MAX_BODY: usize = 4 << 20;

pub(crate) fn routes(traces: Arc<Traces>) -> Router {
    Router::new().route(smov_telemetry::otlp::PATH, post(receive)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(traces)
}

async fn receive(State(traces): State<Arc<Traces>>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"application/json")) {
        let message = "only OTLP's JSON encoding is taken here: OTEL_EXPORTER_OTLP_PROTOCOL=http/json\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into_response();
    }
    match smov_telemetry::otlp::decode(&body) {
        Ok(spans) => {
            traces.take(spans);
            Json(serde_json::json!({})).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
