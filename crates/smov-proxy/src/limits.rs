//! Phase **limit**: the connection pool's limits, `connectionPool` of a DestinationRule. Over a limit the answer is 503 `UO` at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use smov_model::cluster::ConnectionLimits;

use crate::cluster::{ClusterState, ClusterView};
use crate::error::ProxyError;

/// One unit of a counter, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Counted);

#[derive(Debug)]
enum Counted {
    Counter(Arc<AtomicU32>),
    Cluster(Arc<ClusterState>, fn(&ClusterState) -> &AtomicU32),
    Endpoint(Arc<crate::cluster::EndpointState>),
}

impl Permit {
    pub(crate) fn take(counter: &Arc<AtomicU32>) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(Counted::Counter(counter.clone()))
    }

    /// Marks one request as active at an endpoint.
    pub(crate) fn active(endpoint: &Arc<crate::cluster::EndpointState>) -> Self {
        endpoint.active.fetch_add(1, Relaxed);
        Self(Counted::Endpoint(endpoint.clone()))
    }

    /// One of a cluster's counters, unless that would pass the limit.
    pub(crate) fn below(cluster: &Arc<ClusterState>, counter: fn(&ClusterState) -> &AtomicU32, limit: u32) -> Option<Self> {
        let before = counter(cluster).fetch_add(1, Relaxed);
        let permit = Self(Counted::Cluster(cluster.clone(), counter));
        (before < limit).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        match &self.0 {
            Counted::Counter(counter) => counter.fetch_sub(1, Relaxed),
            Counted::Cluster(cluster, counter) => counter(cluster).fetch_sub(1, Relaxed),
            Counted::Endpoint(endpoint) => endpoint.active.fetch_sub(1, Relaxed),
        };
    }
}

/// A permit for one more request in flight.
pub(crate) fn limit(cluster: &ClusterView) -> Result<Permit, ProxyError> {
    let ConnectionLimits { max_requests, .. } = cluster.limits;
    Permit::below(&cluster.state, |state| &state.requests, max_requests).ok_or_else(|| overflow(cluster))
}

/// A permit for one more retry in flight; `None` when there are too many.
pub(crate) fn retry(cluster: &ClusterView) -> Option<Permit> {
    Permit::below(&cluster.state, |state| &state.retries, cluster.limits.max_retries)
}

/// A permit to wait for a connection.
pub(crate) fn pending(cluster: &ClusterView) -> Result<Permit, ProxyError> {
    Permit::below(&cluster.state, |state| &state.pending, cluster.limits.max_pending_requests).ok_or_else(|| overflow(cluster))
}

/// A permit for one more connection; the first to an endpoint is always allowed, as in Envoy, lest it never gets one.
pub(crate) fn connection(cluster: &ClusterView, open_at_endpoint: u32) -> Option<Permit> {
    let limit = if open_at_endpoint == 0 { u32::MAX } else { cluster.limits.max_connections };
    Permit::below(&cluster.state, |state| &state.connections, limit)
}

fn overflow(cluster: &ClusterView) -> ProxyError {
    cluster.state.counters.overflows.fetch_add(1, Relaxed);
    ProxyError::Overflow
}
