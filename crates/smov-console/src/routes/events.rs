//! The event stream and the state.

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use http::{HeaderMap, header};
use serde::Deserialize;

use crate::live::Reader;
use crate::routes::Console;

#[derive(Deserialize)]
pub(super) struct From {
    /// The last event the reader has, where it cannot set `Last-Event-ID`.
    last: Option<String>,
    /// `follower` for another console.
    reader: Option<String>,
}

/// `GET /api/v1/events`.
pub(super) async fn events(State(console): State<Console>, Query(from): Query<From>, headers: HeaderMap) -> Response {
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let last = header.or(from.last.as_deref()).filter(|last| !last.is_empty());
    let reader = if from.reader.as_deref() == Some("follower") { Reader::Follower } else { Reader::Browser };
    let subscription = console.live.subscribe(last, reader);
    let frames = unfold(subscription, |mut subscription| async move {
        let frame = subscription.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), subscription))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store, no-transform")];
    (headers, [("x-accel-buffering", "no")], Body::from_stream(frames)).into_response()
}

/// `GET /api/v1/state`.
pub(super) async fn state(State(console): State<Console>) -> Response {
    Json(console.live.state()).into_response()
}
