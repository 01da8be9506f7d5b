//! The answer for the downstream: an upstream's, the rule's own, or ours.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use smov_model::flag::ResponseFlag;
use smov_model::record::Direction;
use smov_model::route::Body;

use super::attempt::Answer;
use super::grpc;
use crate::body::{Download, ResponseBody};
use crate::error::ProxyError;
use crate::exchange::Exchange;
use crate::headers::{self, Operation, Scope};
use crate::snapshot::RulePlan;
use crate::telemetry::trace::Trace;

/// Passes an upstream's answer on; the exchange ends with its body.
pub(crate) fn relay(mut exchange: Exchange, answer: Answer) -> Response<ResponseBody> {
    let Answer { response, lease, expiry } = answer;
    let (mut parts, source) = response.into_parts();
    headers::strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(headers::PEER_METADATA);
    parts.headers.remove(headers::PEER_METADATA_ID);
    let waited = exchange.trace.attempts.last().map_or_else(|| exchange.elapsed(), |attempt| attempt.duration);
    parts.headers.insert(headers::SERVICE_TIME, HeaderValue::from(waited / 1000));
    if exchange.trace.is_grpc {
        exchange.trace.grpc_status = grpc::told(&parts.headers);
    }
    if let Some(extra) = exchange.extra_if_any() {
        for cookie in &extra.cookies {
            parts.headers.append(header::SET_COOKIE, cookie.clone());
        }
    }
    finish_head(&mut exchange, parts.status, &mut parts.headers);
    // Whatever the upstream spoke, this connection speaks HTTP/1.1.
    parts.version = http::Version::HTTP_11;
    Response::from_parts(parts, Download::start(source, lease, exchange, expiry))
}

/// A redirect or a direct response.
pub(crate) fn own(exchange: Exchange, status: StatusCode, location: Option<String>, body: Body) -> Response<ResponseBody> {
    let mut headers = HeaderMap::new();
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    local(exchange, status, None, headers, Bytes::from_owner(body))
}

/// The answer to a CORS preflight: the route's own changes do not touch it.
pub(crate) fn preflight(mut exchange: Exchange, mut headers: HeaderMap) -> Response<ResponseBody> {
    exchange.trace.details = "cors_response".into();
    sign(&mut exchange, StatusCode::OK, &mut headers);
    exchange.finish();
    let mut response = Response::new(ResponseBody::text(Bytes::new()));
    *response.headers_mut() = headers;
    response
}

/// Says in Envoy's words why there is no answer.
pub(crate) fn refuse(mut exchange: Exchange, error: &ProxyError) -> Response<ResponseBody> {
    if let Some(flag) = error.flag() {
        exchange.add_flag(flag);
    }
    exchange.trace.details = error.details();
    let retried = exchange.trace.attempts.len() > 1;
    let mut headers = HeaderMap::new();
    if *error == ProxyError::Overflow {
        headers.insert(headers::OVERLOADED, HeaderValue::from_static("true"));
    }
    if matches!(error, ProxyError::BadRequest { .. } | ProxyError::ClientGone | ProxyError::UnsupportedUpgrade { .. }) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    tracing::debug!(%error, side = ?error.side(), "request refused");
    let body = match error.body(retried) {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    let grpc = if let ProxyError::FaultAbort { grpc, .. } = error { *grpc } else { None };
    local(exchange, error.status(), grpc, headers, body)
}

/// An answer of our own; gRPC requests get it in gRPC's words.
fn local(
    mut exchange: Exchange,
    mut status: StatusCode,
    grpc: Option<u8>,
    mut headers: HeaderMap,
    mut body: Bytes,
) -> Response<ResponseBody> {
    if exchange.trace.is_grpc {
        exchange.trace.grpc_status = Some(grpc::say(&mut headers, status, grpc, &body));
        (status, body) = (StatusCode::OK, Bytes::new());
    } else if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    finish_head(&mut exchange, status, &mut headers);
    exchange.trace.response_body = body.len() as u64;
    if exchange.trace.flags.has(ResponseFlag::Dc) {
        exchange.trace.status = 0;
    }
    exchange.finish();
    let mut response = Response::new(ResponseBody::text(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The route's own changes, then who answers: `envoy` at a sidecar, `istio-envoy` at a gateway.
fn finish_head(exchange: &mut Exchange, status: StatusCode, headers: &mut HeaderMap) {
    headers::apply(response_operations(&exchange.trace), headers, Scope::Response(exchange, status));
    if let Some(origin) = exchange.extra_if_any().and_then(|extra| extra.origin.as_ref())
        && let Some(cors) = plan(&exchange.trace).and_then(|plan| plan.cors.as_ref())
    {
        cors.welcome(origin, headers);
    }
    sign(exchange, status, headers);
}

/// Says who answers and notes that.
fn sign(exchange: &mut Exchange, status: StatusCode, headers: &mut HeaderMap) {
    let server = match exchange.trace.direction {
        Direction::Outbound => "envoy",
        Direction::Ingress | Direction::Inbound => "istio-envoy",
    };
    headers.insert(header::SERVER, HeaderValue::from_static(server));
    exchange.answer(status, headers);
}

/// What was made of the rule taken.
fn plan(trace: &Trace) -> Option<&RulePlan> {
    trace.rule.zip(trace.host.as_ref()).and_then(|((index, _), host)| host.plans.get(index))
}

/// Those of the arm drawn, else of the rule taken; local answers get them as well.
fn response_operations(trace: &Trace) -> &[Operation] {
    let Some(plan) = plan(trace) else { return &[] };
    let arm = trace.arm.zip(plan.arms.as_ref()).and_then(|(arm, arms)| arms.arms().nth(arm));
    arm.map_or(&plan.operations.response, |(_, arm)| &arm.operations.response)
}
