//! The debug API: what the control plane knows, over HTTP on a unix socket, for the console, the CLI and curious learners.
//!
//! `curl --unix-socket PATH http://istiod/debug/syncz` works. The kubelet and Prometheus get `/ready` and `/metrics` over TCP.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use smov_istio::world::ProxyIdentity;
use smov_model::cluster::Cluster;
use smov_model::names::KubeCluster;
use smov_model::snapshot::Snapshot;
use smov_model::tls::{ClientCertificate, ClusterTls};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ca::Authority;
use crate::proxies::{Proxies, Target};
use crate::publisher::{Command, View};
use crate::rows::{RowNews, RowReader};
use crate::source::{SourceId, SourceKind};
use crate::status::{Distributed, EndpointGone, EndpointKnown, ProxyStatus, Syncz};

/// How long `/debug/endpoint-gone` and `/debug/endpoint-known` wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a quiet stream of rows says that it is alive.
const ALIVE: Duration = Duration::from_secs(15);

/// What the handlers read.
pub(crate) struct Debug {
    pub(crate) cluster: KubeCluster,
    pub(crate) epoch: u64,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) view: View,
    pub(crate) authority: Authority,
    /// For what only the publisher can work out.
    pub(crate) publisher: mpsc::Sender<Command>,
    /// Ends the endless answers.
    pub(crate) shutdown: CancellationToken,
}

/// Everything, for the unix socket.
pub(crate) fn debug_routes(debug: Arc<Debug>) -> Router {
    Router::new()
        .route("/debug/rows", get(rows))
        .route("/debug/edges", get(edges))
        .route("/debug/requests/{id}", get(requests))
        .route("/debug/syncz", get(syncz))
        .route("/debug/endpoint-gone", get(endpoint_gone))
        .route("/debug/endpoint-known", get(endpoint_known))
        .route("/debug/distributed", get(distributed))
        .route("/debug/diagnostics", get(diagnostics))
        .route("/debug/snapshot/{pod}", get(snapshot))
        .route("/debug/security/{pod}", get(security))
        .route("/debug/what-if/{pod}", post(what_if))
        .route("/debug/traces", get(traces))
        .route("/debug/traces/{id}", get(trace))
        .route("/metrics", get(metrics))
        .route("/readyz", get(ready))
        .with_state(debug)
}

/// What the kubelet and Prometheus may see over TCP, at istiod's own paths.
pub(crate) fn public_routes(debug: Arc<Debug>) -> Router {
    Router::new().route("/ready", get(ready)).route("/metrics", get(metrics)).with_state(debug)
}

type Shared = State<Arc<Debug>>;

async fn ready(State(debug): Shared) -> Response {
    if *debug.view.synced.borrow() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything was read yet; /debug/syncz says what is missing\n").into_response()
    }
}

async fn metrics(State(debug): Shared) -> impl IntoResponse {
    let text = debug.proxies.metrics.render(debug.proxies.connected(), &debug.proxies.traces);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn edges(State(debug): Shared) -> impl IntoResponse {
    Json(debug.proxies.edges())
}

async fn requests(State(debug): Shared, Path(id): Path<String>) -> impl IntoResponse {
    Json(debug.proxies.records(&id).await)
}

/// Answers of `/debug/traces`, unless the question says how many.
const TRACES: usize = 100;

#[derive(Deserialize)]
struct TracesQuery {
    limit: Option<usize>,
    /// `user-service`, or `user-service.theater-msa`.
    service: Option<String>,
}

/// The newest traces first, as [`crate::traces::TraceSummary`].
async fn traces(State(debug): Shared, Query(query): Query<TracesQuery>) -> impl IntoResponse {
    Json(debug.proxies.traces.list(query.limit.unwrap_or(TRACES), query.service.as_deref()))
}

/// The spans of a trace that this cluster has told, as [`crate::traces::TraceParts`].
async fn trace(State(debug): Shared, Path(id): Path<String>) -> Response {
    let found = id.parse().ok().and_then(|id| debug.proxies.traces.find(id));
    match found {
        Some(parts) => Json(parts).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no span of trace `{id}` is known here (any more)\n")).into_response(),
    }
}

async fn syncz(State(debug): Shared) -> impl IntoResponse {
    Json(Syncz {
        cluster: debug.cluster.clone(),
        epoch: debug.epoch,
        synced: *debug.view.synced.borrow(),
        proxies: debug.proxies.statuses(),
        sources: debug.view.source_statuses(),
    })
}

async fn diagnostics(State(debug): Shared) -> impl IntoResponse {
    let mut diagnostics = Vec::clone(&debug.view.diagnostics.borrow());
    diagnostics.extend(debug.authority.finding());
    diagnostics.extend(debug.proxies.statuses().iter().filter_map(ProxyStatus::refusal));
    Json(diagnostics)
}

async fn snapshot(State(debug): Shared, Path(pod): Path<String>) -> Response {
    match debug.proxies.snapshot(&pod) {
        Some(published) => Json(without_keys(&published.snapshot)).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no connected proxy of pod `{pod}` has a snapshot\n")).into_response(),
    }
}

/// How a pod's connections are secured, cluster by cluster, with the lines that decide.
async fn security(State(debug): Shared, Path(pod): Path<String>) -> Response {
    let unknown = || (StatusCode::NOT_FOUND, format!("no connected proxy of pod `{pod}`\n")).into_response();
    let Some((namespace, role)) = debug.proxies.named(&pod) else { return unknown() };
    let proxy = ProxyIdentity { cluster: debug.cluster.clone(), namespace, pod: pod.clone(), role: role.into() };
    let (reply, answer) = oneshot::channel();
    let asked = debug.publisher.send(Command::Security { proxy, reply }).await;
    match (asked, answer.await) {
        (Ok(()), Ok(told)) => Json(told).into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the control plane is stopping\n").into_response(),
    }
}

/// What a pod's proxy would get if these objects were applied; nothing is.
async fn what_if(State(debug): Shared, Path(pod): Path<String>, Json(objects): Json<Vec<serde_json::Value>>) -> Response {
    let unknown = || (StatusCode::NOT_FOUND, format!("no connected proxy of pod `{pod}`\n")).into_response();
    let Some((namespace, role)) = debug.proxies.named(&pod) else { return unknown() };
    let proxy = ProxyIdentity { cluster: debug.cluster.clone(), namespace, pod: pod.clone(), role: role.into() };
    let (reply, answer) = oneshot::channel();
    let asked = debug.publisher.send(Command::WhatIf { proxy, objects, reply }).await;
    match (asked, answer.await) {
        (Ok(()), Ok(mut told)) => {
            if let Cow::Owned(bare) = without_keys(&told.snapshot) {
                told.snapshot = bare;
            }
            Json(told).into_response()
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the control plane is stopping\n").into_response(),
    }
}

/// A snapshot as people may see it.
fn without_keys(snapshot: &Snapshot) -> Cow<'_, Snapshot> {
    let has_key = |cluster: &Cluster| matches!(&cluster.tls, ClusterTls::Origin(origin) if matches!(origin.client, Some(ClientCertificate::Pem { .. })));
    let mut snapshot = Cow::Borrowed(snapshot);
    if snapshot.clusters.values().any(has_key) {
        for cluster in snapshot.to_mut().clusters.values_mut() {
            if let ClusterTls::Origin(origin) = &mut cluster.tls
                && let Some(ClientCertificate::Pem { private_key, .. }) = &mut origin.client
            {
                "(not shown)".clone_into(private_key);
            }
        }
    }
    snapshot
}

#[derive(Deserialize)]
struct EndpointQuery {
    /// `127.9.1.4`, or `127.0.0.1:21005` where pods share an address.
    address: String,
}

async fn endpoint_gone(State(debug): Shared, Query(query): Query<EndpointQuery>) -> Response {
    match until(&debug, &query, Proxies::nobody_leads_to).await {
        Ok((status, gone)) => (status, Json(EndpointGone { gone })).into_response(),
        Err(refusal) => refusal,
    }
}

async fn endpoint_known(State(debug): Shared, Query(query): Query<EndpointQuery>) -> Response {
    match until(&debug, &query, Proxies::everybody_leads_to).await {
        Ok((status, known)) => (status, Json(EndpointKnown { known })).into_response(),
        Err(refusal) => refusal,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceQuery {
    /// `VirtualService`.
    kind: String,
    /// As the own cluster's API server answered.
    resource_version: u64,
    /// How long to wait, in milliseconds; 5 s unless said otherwise.
    patience: Option<u64>,
}

/// Waits until a change is in use everywhere, as `istioctl experimental wait` does; 504 when that takes too long.
async fn distributed(State(debug): Shared, Query(query): Query<ResourceQuery>) -> Response {
    let known = SourceKind::own().find(|kind| kind.as_str() == query.kind);
    let Some(kind) = known else {
        return (StatusCode::BAD_REQUEST, format!("`{}` is no kind that the control plane reads\n", query.kind)).into_response();
    };
    let source = SourceId { cluster: debug.cluster.clone(), kind };
    let mut progress = debug.proxies.progress();
    let mut sources = debug.view.sources.clone();
    let reached = async {
        loop {
            progress.mark_unchanged();
            let published = sources.borrow_and_update().get(&source).is_some_and(|state| state.version >= query.resource_version);
            if published && debug.proxies.behind().is_empty() {
                return;
            }
            // Both senders live as long as the control plane.
            let ended = tokio::select! {
                changed = progress.changed() => changed,
                changed = sources.changed() => changed,
            };
            if ended.is_err() {
                return;
            }
        }
    };
    let patience = query.patience.map_or(PATIENCE, Duration::from_millis).min(PATIENCE);
    let distributed = tokio::select! {
        biased;
        () = reached => true,
        () = tokio::time::sleep(patience) => false,
        () = debug.shutdown.cancelled() => false,
    };
    let behind = if distributed { Vec::new() } else { debug.proxies.behind() };
    (if distributed { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT }, Json(Distributed { distributed, behind })).into_response()
}

/// Waits until the proxies are as asked; 504 when that takes too long.
async fn until(debug: &Debug, query: &EndpointQuery, holds: fn(&Proxies, Target) -> bool) -> Result<(StatusCode, bool), Response> {
    let Some(target) = parse_target(&query.address) else {
        return Err((StatusCode::BAD_REQUEST, format!("`{}` is no IP address\n", query.address)).into_response());
    };
    let mut progress = debug.proxies.progress();
    let reached = async {
        while !holds(&debug.proxies, target) {
            // The sender lives as long as the proxies' table.
            if progress.changed().await.is_err() {
                return;
            }
        }
    };
    let reached = tokio::select! {
        () = reached => true,
        () = tokio::time::sleep(PATIENCE) => false,
        () = debug.shutdown.cancelled() => false,
    };
    Ok((if reached { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT }, reached))
}

fn parse_target(address: &str) -> Option<Target> {
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Some(Target { ip, port: None });
    }
    let address: std::net::SocketAddr = address.parse().ok()?;
    Some(Target { ip: address.ip(), port: Some(address.port()) })
}

/// Server-sent events: `rows` with a JSON array, `dropped` with a number. The first line comes at once, so that a reader knows from
/// when on it misses nothing.
async fn rows(State(debug): Shared) -> impl IntoResponse {
    let state = (debug.proxies.rows.subscribe(), debug.shutdown.clone(), false);
    let events = stream::unfold(state, |(mut reader, shutdown, opened)| async move {
        let text = if opened { next_event(&mut reader, &shutdown).await? } else { Bytes::from_static(b": open\n\n") };
        Some((Ok::<_, Infallible>(text), (reader, shutdown, true)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events))
}

async fn next_event(reader: &mut RowReader, shutdown: &CancellationToken) -> Option<Bytes> {
    let news = tokio::select! {
        () = shutdown.cancelled() => return None,
        news = tokio::time::timeout(ALIVE, reader.next()) => news,
    };
    Some(match news {
        Err(_) => Bytes::from_static(b": alive\n\n"),
        Ok(None) => return None,
        Ok(Some(RowNews::Rows(json))) => Bytes::from([b"event: rows\ndata: ", &json[..], b"\n\n"].concat()),
        Ok(Some(RowNews::Dropped(count))) => Bytes::from(format!("event: dropped\ndata: {count}\n\n")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_by_address_or_address_and_port() {
        let ip: IpAddr = "127.9.1.4".parse().unwrap();
        assert_eq!(parse_target("127.9.1.4"), Some(Target { ip, port: None }));
        assert_eq!(parse_target("127.9.1.4:8081"), Some(Target { ip, port: Some(8081) }));
        assert_eq!(parse_target("pod"), None);
    }
}
