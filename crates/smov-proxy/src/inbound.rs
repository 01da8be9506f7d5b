//! The inbound walk: accept → peer → authorize → forward → observe. What peers send to the pod's ports goes to the app's socket.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use smov_model::record::{Direction, Phase};
use smov_model::tls::{ConnectionSecurityPolicy, MutualTlsMode};

use crate::authorize::{authorize, is_welcome};
use crate::body::{RequestBody, ResponseBody, Upload};
use crate::error::ProxyError;
use crate::exchange::Exchange;
use crate::headers;
use crate::names::PeerId;
use crate::outbound::attempt::Answer;
use crate::outbound::{check, normalize, reply};
use crate::pool::Lease;
use crate::snapshot::{PeerView, View};
use crate::telemetry::trace::AttemptNote;
use crate::upstream::{self, Unanswered};
use crate::worker::{App, Downstream, Shared, Worker};

/// Serves one request of a peer.
pub(crate) async fn serve(worker: &Rc<Worker>, app: &App, downstream: &Downstream, request: Request<Incoming>) -> Response<ResponseBody> {
    let (mut parts, body) = request.into_parts();
    let (mut exchange, accepted) = accept(worker, app, downstream, &mut parts);
    let walked = match accepted {
        Ok(()) => walk(&mut exchange, app, downstream, parts, body).await,
        Err(error) => Err(error),
    };
    match walked {
        Ok((response, lease)) => reply::relay(exchange, Answer { response, lease, expiry: None }),
        Err(error) => reply::refuse(exchange, &error),
    }
}

/// Would this connection be served if it came now?
fn is_taken(shared: &Shared, downstream: &Downstream) -> bool {
    match shared.inbound_port(downstream.local.port()).mutual_tls {
        MutualTlsMode::Permissive => true,
        MutualTlsMode::Strict => downstream.peer.is_some(),
        MutualTlsMode::Disable => downstream.peer.is_none(),
    }
}

/// Waits until the port would not take this connection any more, because a PeerAuthentication has changed. Then it is drained, as Envoy drains
/// the connections of a filter chain that is gone, whatever changes after that.
pub(crate) async fn not_taken_any_more(shared: &Shared, downstream: &Downstream) {
    no_more(shared, || is_taken(shared, downstream)).await;
}

/// The same for an opaque connection, which an AuthorizationPolicy may refuse as well: of HTTP each request is asked about.
pub(crate) async fn not_welcome_any_more(shared: &Shared, downstream: &Downstream) {
    no_more(shared, || is_taken(shared, downstream) && is_welcome(shared, downstream)).await;
}

async fn no_more(shared: &Shared, holds: impl Fn() -> bool) {
    let mut changes = shared.door_changes();
    while holds() {
        if changes.changed().await.is_err() {
            // The process ends.
            return std::future::pending().await;
        }
    }
}

/// The walk of one request, phase by phase.
async fn walk(
    exchange: &mut Exchange,
    app: &App,
    downstream: &Downstream,
    mut parts: Parts,
    body: Incoming,
) -> Result<(Response<Incoming>, Lease), ProxyError> {
    let view = exchange.worker.shared.pin();
    peer(exchange, view.as_deref(), downstream, &mut parts);
    authorize(exchange, view.as_deref(), &parts)?;
    forward(exchange, app, parts, body).await
}

/// Phase **accept**: the request in one form.
fn accept(worker: &Rc<Worker>, app: &App, downstream: &Downstream, parts: &mut Parts) -> (Exchange, Result<(), ProxyError>) {
    let checked = check(parts);
    if let Some(host) = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()) {
        parts.headers.insert(header::HOST, host);
    }
    normalize(parts, worker.shared.path_normalization());
    headers::strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::EXPECT);
    headers::forward_client(&mut parts.headers, downstream.peer.as_ref().and_then(|peer| peer.forwarded.as_ref()));
    let scheme = if downstream.peer.is_some() { "https" } else { "http" };
    parts.headers.entry(headers::FORWARDED_PROTO).or_insert(HeaderValue::from_static(scheme));
    let id = parts.headers.entry(headers::REQUEST_ID).or_insert_with(|| worker.request_id()).clone();
    let mut exchange = Exchange::start(worker, downstream, Direction::Inbound, parts, id);
    exchange.note(Phase::Accept);
    if let Some(log) = &mut exchange.trace.log {
        log.upstream_host = Some(app.text.clone());
    }
    (exchange, checked)
}

/// Phase **peer**: who calls. The connection's certificate has proved an identity, and what the peer says of itself or its address tells
/// only which of that identity's workloads it is. Plaintext peers name themselves (for metrics only) or are known by their address.
fn peer(exchange: &mut Exchange, view: Option<&View>, downstream: &Downstream, parts: &mut Parts) {
    exchange.note(Phase::Peer);
    let id = parts.headers.remove(headers::PEER_METADATA_ID);
    parts.headers.remove(headers::PEER_METADATA);
    let secured = downstream.peer.as_ref();
    exchange.trace.security = if secured.is_some() { ConnectionSecurityPolicy::MutualTls } else { ConnectionSecurityPolicy::None };
    exchange.trace.secured = secured.cloned();
    exchange.trace.peer = secured.map_or(PeerId::UNKNOWN, |peer| peer.labels);
    let Some(view) = view else { return };
    exchange.trace.version = Some(view.snapshot.version);
    if let Some(inbound) = view.inbound(downstream.local.port()) {
        exchange.trace.service = inbound.service;
    }
    if let Some(peer) = peer_of(view, downstream, id.as_ref().and_then(|id| id.to_str().ok())) {
        exchange.trace.peer = peer.id;
        exchange.trace.peer_workload = Some(Arc::clone(&peer.workload));
    }
}

/// The workload that has connected, if the mesh knows it.
pub(crate) fn peer_of<'a>(view: &'a View, downstream: &Downstream, metadata_id: Option<&str>) -> Option<&'a PeerView> {
    match &downstream.peer {
        None => view.peer(None, metadata_id, downstream.remote.ip()),
        // A certificate of the trust domain that names no workload belongs to none.
        Some(peer) => view.peer(Some(peer.identity.as_ref()?), metadata_id, downstream.remote.ip()),
    }
}

/// Phase **forward**: to the app, over its own socket.
async fn forward(exchange: &mut Exchange, app: &App, parts: Parts, body: Incoming) -> Result<(Response<Incoming>, Lease), ProxyError> {
    exchange.mark(Phase::Forward);
    let started = exchange.elapsed();
    exchange.trace.attempts.reserve_exact(1);
    exchange.trace.attempts.push(AttemptNote { started, ..AttemptNote::default() });
    let result = send(exchange, app, parts, body).await;
    let now = exchange.elapsed();
    if let Some(note) = exchange.trace.attempts.last_mut() {
        note.duration = now.saturating_sub(note.started);
        match &result {
            Ok((response, _)) => note.status = response.status().as_u16(),
            Err(error) => {
                note.flags = error.flag().map_or(note.flags, Into::into);
                note.reason = Some(error.to_string());
            }
        }
    }
    result
}

async fn send(exchange: &mut Exchange, app: &App, parts: Parts, body: Incoming) -> Result<(Response<Incoming>, Lease), ProxyError> {
    let upload = Upload::new(body, false);
    exchange.upload.clone_from(&upload);
    let mut lease = upstream::connect_app(&exchange.worker, app).await?;
    let mut request = Request::from_parts(parts, RequestBody::of(upload.as_ref()));
    *request.version_mut() = http::Version::HTTP_11;
    loop {
        match upstream::send(&mut lease, request).await.map_err(Unanswered::of) {
            Ok(response) => return Ok((response, lease)),
            Err(Unanswered::NotSent(unsent)) if lease.is_reused() => {
                request = *unsent;
                drop(lease);
                lease = upstream::connect_app(&exchange.worker, app).await?;
            }
            Err(Unanswered::NotSent(_)) => return Err(ProxyError::Closed { sent: false }),
            Err(Unanswered::Broken(error)) => return Err(error),
        }
    }
}
