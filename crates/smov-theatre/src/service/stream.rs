//! Slow answers on purpose: a request can be in flight while a rule changes or a pod drains.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts, Query, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{header, request::Parts};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Desk;
use crate::problem::{ApiError, ProblemKind};

const MAX_CHUNKS: u32 = 1_000;
const MAX_INTERVAL_MS: u64 = 5_000;

/// How much, how slowly. Values beyond the bounds mean the bounds.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct Pace {
    /// Lines, 1 to 1000.
    #[param(example = 10)]
    chunks: u32,
    /// Milliseconds between them, 0 to 5000.
    #[param(example = 500)]
    interval_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { chunks: 10, interval_ms: 500 }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Pace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri).map(|Query(pace)| pace).map_err(|_| {
            ApiError::new(
                ProblemKind::InvalidParameter,
                "`chunks` and `interval_ms` are whole numbers",
                "`chunks`와 `interval_ms`는 정수여야 합니다",
            )
        })
    }
}

/// `GET /stream` of every service.
pub(super) async fn stream(State(desk): State<Arc<Desk>>, pace: Pace) -> Response {
    lines(&desk, pace, desk.service.as_str())
}

/// Lines that say which pod sends them, one by one.
pub(super) fn lines(desk: &Desk, pace: Pace, what: &str) -> Response {
    let chunks = pace.chunks.clamp(1, MAX_CHUNKS);
    let interval = Duration::from_millis(pace.interval_ms.min(MAX_INTERVAL_MS));
    let sender = format!("{what} · {} · {}", desk.identity.cluster, desk.identity.pod);
    let lines = stream::unfold((0, sender), move |(sent, sender)| async move {
        if sent == chunks {
            return None;
        }
        if sent > 0 && !interval.is_zero() {
            tokio::time::sleep(interval).await;
        }
        let line = Bytes::from(format!("{}/{chunks} {sender}\n", sent + 1));
        Some((Ok::<_, Infallible>(line), (sent + 1, sender)))
    });
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines)).into_response()
}
