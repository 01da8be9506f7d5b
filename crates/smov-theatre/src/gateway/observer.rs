//! What the gateway saw of each relayed request: the one source of the page's lamps.

use std::time::{Duration, SystemTime};

use http::Method;

use crate::service::ServiceName;

/// Told of every relayed request, exactly once.
pub trait RelayObserver: Send + Sync {
    /// Called when the answer's headers are there, or when it is certain that none will come. Must not block.
    fn relayed(&self, event: RelayEvent);
}

/// One relayed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayEvent {
    /// `x-request-id`, given by the client, the mesh or the gateway.
    pub request_id: String,
    /// The service asked.
    pub service: ServiceName,
    /// Method.
    pub method: Method,
    /// Path as the client asked, without the query.
    pub path: String,
    /// Status of the answer; 499 when the client went away before it.
    pub status: u16,
    /// `X-Service-Cluster` of the answer; none when no pod answered.
    pub cluster: Option<String>,
    /// `X-Pod-Name` of the answer.
    pub pod: Option<String>,
    /// `X-Service-Version` of the answer.
    pub version: Option<String>,
    /// Whether the request said `x-canary: true`.
    pub canary: bool,
    /// When it came.
    pub started: SystemTime,
    /// Until the answer's headers.
    pub duration: Duration,
    /// `x-smov-client`: an opaque id the page sends to find its own requests.
    pub client: Option<String>,
    /// No answer at all: nothing at the other end, or it broke or took too long. The status is the gateway's own.
    pub upstream_failed: bool,
    /// `x-envoy-upstream-service-time`, in milliseconds, where a proxy says it.
    pub upstream_service_time: Option<Duration>,
    /// `x-envoy-attempt-count` of the answer, where a proxy says it.
    pub attempts: Option<u32>,
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl RelayObserver for Unobserved {
    fn relayed(&self, _: RelayEvent) {}
}
