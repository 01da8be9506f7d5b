//! What booking-service asks of the other two, through the mesh. A failure is told as it was: who, and with which status.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;

use super::{Desk, ServiceName};
use crate::{
    client::{CallError, MeshClient},
    environment::Environment,
    problem::{ApiError, ProblemKind},
    spans, trace_headers,
};

/// Largest answer that is read.
const MAX_ANSWER: usize = 1024 * 1024;

/// The other services as booking-service sees them.
pub(super) struct Upstreams {
    users: MeshClient,
    movies: MeshClient,
    copy_headers: bool,
    desk: Arc<Desk>,
    trace_headers: bool,
}

impl Upstreams {
    pub(super) fn new(desk: Arc<Desk>, environment: &Environment) -> Arc<Self> {
        let client = |service| MeshClient::new(environment.origin(service), environment.proxy.as_ref(), environment.upstream_timeout);
        Arc::new(Self {
            users: client(ServiceName::User),
            movies: client(ServiceName::Movie),
            copy_headers: environment.copy_headers,
            desk,
            trace_headers: environment.trace_headers,
        })
    }

    /// A record of user-service; none when it says 404. `inbound` are the headers of the request that this call is for.
    pub(super) async fn user<T: DeserializeOwned>(&self, path: &str, inbound: &HeaderMap) -> Result<Option<T>, ApiError> {
        self.ask(ServiceName::User, &self.users, path, inbound).await
    }

    /// The same of movie-service.
    pub(super) async fn movie<T: DeserializeOwned>(&self, path: &str, inbound: &HeaderMap) -> Result<Option<T>, ApiError> {
        self.ask(ServiceName::Movie, &self.movies, path, inbound).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        service: ServiceName,
        client: &MeshClient,
        path: &str,
        inbound: &HeaderMap,
    ) -> Result<Option<T>, ApiError> {
        let mut request = Request::get(path).header(header::ACCEPT, "application/json").body(Body::empty()).map_err(|error| {
            tracing::error!(%error, path, "no valid path");
            ApiError::not_found("path", "경로", path)
        })?;
        if self.copy_headers && !self.desk.switches.drops_headers() {
            trace_headers::copy(inbound, request.headers_mut());
            if self.trace_headers {
                spans::inject(request.headers_mut());
            } else {
                trace_headers::drop_trace(request.headers_mut());
            }
        }
        let response = client.send(request, None).await.map_err(|error| call_failed(service, &error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if response.headers().contains_key(crate::identity::X_SERVICE_NAME) => return Ok(None),
            status => return Err(answered(service, status)),
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
            tracing::warn!(%service, error, "answer broke off");
            ApiError::upstream(ProblemKind::UpstreamFailed, service.as_str(), None, "the answer broke off")
        })?;
        serde_json::from_slice(&body.to_bytes()).map(Some).map_err(|error| {
            tracing::warn!(%service, %error, "answer cannot be read");
            ApiError::upstream(ProblemKind::UpstreamFailed, service.as_str(), Some(StatusCode::OK), "the answer cannot be read")
        })
    }
}

/// The problem that a failed call is.
pub(crate) fn call_failed(service: ServiceName, error: &CallError) -> ApiError {
    tracing::warn!(%service, error = error as &dyn std::error::Error, "call failed");
    let kind = match error {
        CallError::Timeout { .. } => ProblemKind::UpstreamTimeout,
        CallError::Connect { .. } | CallError::Broken { .. } | CallError::Target(_) => ProblemKind::UpstreamFailed,
    };
    ApiError::upstream(kind, service.as_str(), None, &error.to_string())
}

/// 503 and 504 stay what they are; whatever else was not expected is 502. A 404 of the mesh (no route) is no missing record.
fn answered(service: ServiceName, status: StatusCode) -> ApiError {
    tracing::warn!(%service, status = status.as_u16(), "unexpected answer");
    let kind = match status {
        StatusCode::SERVICE_UNAVAILABLE => ProblemKind::UpstreamUnavailable,
        StatusCode::GATEWAY_TIMEOUT => ProblemKind::UpstreamTimeout,
        _ => ProblemKind::UpstreamFailed,
    };
    ApiError::upstream(kind, service.as_str(), Some(status), &format!("answered {}", status.as_u16()))
}
