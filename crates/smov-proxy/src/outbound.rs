//! The outbound walk: accept → pin → route → split → fault → attempt → limit → balance → connect → observe. The ingress of a gateway is
//! the same walk over other routes.
//!
//! Each phase is one function, one tracing event and one word of [`Phase`]; `observe` runs where the [`Exchange`] ends.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use smov_model::cluster::Discovery;
use smov_model::dice::{Draw, Purpose};
use smov_model::record::{Direction, Phase};
use smov_model::route::{Body, RequestHead, RouteAction, RouteRule};
use smov_model::snapshot::PathNormalization;

use crate::authorize::authorize;
use crate::body::{ResponseBody, Upload};
use crate::error::ProxyError;
use crate::exchange::Exchange;
use crate::headers;
use crate::names::ServiceId;
use crate::path;
use crate::snapshot::{Arm, HostView, View};
use crate::telemetry::trace::{DrawNote, Meaning};
use crate::worker::{Downstream, Worker};

pub(crate) mod attempt;
pub(crate) mod cors;
mod fault;
pub(crate) mod grpc;
pub(crate) mod mirror;
mod passthrough;
pub(crate) mod reply;
pub(crate) mod rewrite;

use attempt::Answer;

/// What ended the walk well.
enum Walked {
    /// An upstream answered.
    Answered(Box<Answer>),
    /// The rule itself is the answer: a redirect or a direct response.
    Own { status: StatusCode, location: Option<String>, body: Body },
    /// A CORS preflight.
    Preflight(HeaderMap),
}

/// Serves one request of the pod's app (outbound) or of the outside world (ingress).
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    direction: Direction,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (mut parts, body) = request.into_parts();
    let (mut exchange, accepted) = accept(worker, downstream, direction, &mut parts);
    let walked = match accepted {
        Ok(port) => walk(&mut exchange, port, parts, body).await,
        Err(error) => Err(error),
    };
    match walked {
        Ok(Walked::Answered(answer)) => reply::relay(exchange, *answer),
        Ok(Walked::Own { status, location, body }) => reply::own(exchange, status, location, body),
        Ok(Walked::Preflight(headers)) => reply::preflight(exchange, headers),
        Err(error) => reply::refuse(exchange, &error),
    }
}

/// The walk of one request, phase by phase.
async fn walk(exchange: &mut Exchange, port: u16, parts: Parts, body: Incoming) -> Result<Walked, ProxyError> {
    let view = pin(exchange)?;
    // Of a gateway's visitors, as Envoy asks before it says that there is no route.
    if exchange.trace.direction == Direction::Ingress {
        authorize(exchange, Some(&view), &parts)?;
    }
    let Some((host, index)) = route(exchange, &view, port, &parts)? else {
        // Rare, and boxed so that the walk of known hosts is not larger for it.
        let forwarded = Box::pin(passthrough::forward(exchange, &view, port, parts, body)).await;
        return forwarded.map(|answer| Walked::Answered(Box::new(answer)));
    };
    let (rule, plan) = (&host.host.rules[index], &host.plans[index]);
    let arm = split(exchange, &host, index);
    if arm.map_or(&plan.operations, |arm| &arm.operations).answers_repeat {
        exchange.extra().request_headers = parts.headers.clone();
    }
    if let Some(fault) = &rule.policy.fault {
        fault::fault(exchange, fault, &host.host.name).await?;
    } else {
        exchange.note(Phase::Fault);
    }
    if let (Some(policy), Some(cors)) = (&rule.policy.cors, &plan.cors)
        && let Some(headers) = cors::cors(exchange, policy, cors, &parts)
    {
        return Ok(Walked::Preflight(headers));
    }
    match &rule.action {
        RouteAction::Forward(_) => {
            let arm = arm.ok_or(ProxyError::NoCluster)?;
            let is_grpc = exchange.trace.is_grpc;
            let upload = Upload::new(body, rule.policy.retry.as_ref().is_some_and(|retry| attempt::keeps_request(&retry.on, is_grpc)));
            exchange.upload.clone_from(&upload);
            let mut request = attempt::Outgoing::prepare(exchange, &host, index, arm, parts, upload);
            if let Some(cluster) = view.cluster(arm.slot).filter(|cluster| cluster.source.discovery == Discovery::OriginalDestination) {
                // Rare, and boxed so that the walk of listed endpoints is not larger for it.
                request.original = Box::pin(passthrough::original(exchange, &view, cluster, port)).await?;
            }
            attempt::attempt(exchange, &view, rule, (arm, plan), request).await.map(|answer| Walked::Answered(Box::new(answer)))
        }
        RouteAction::Redirect(redirect) => {
            exchange.trace.details = "direct_response".into();
            let authority = exchange.trace.authority.to_str().unwrap_or_default();
            let taken = exchange.trace.rule.and_then(|(_, entry)| rule.matches.get(entry));
            let location = rewrite::location(redirect, authority, &exchange.trace.path, taken, port);
            let status = StatusCode::from_u16(redirect.code).unwrap_or(StatusCode::MOVED_PERMANENTLY);
            Ok(Walked::Own { status, location: Some(location), body: Body::default() })
        }
        RouteAction::DirectResponse(direct) => {
            exchange.trace.details = "direct_response".into();
            let status = StatusCode::from_u16(direct.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let points = status == StatusCode::CREATED || status.is_redirection();
            let location =
                points.then(|| format!("http://{}{}", exchange.trace.authority.to_str().unwrap_or_default(), exchange.trace.path));
            Ok(Walked::Own { status, location, body: direct.body.clone() })
        }
    }
}

/// Phase **accept**: what was asked for, in one form. Gives the destination's port.
fn accept(worker: &Rc<Worker>, downstream: &Downstream, direction: Direction, parts: &mut Parts) -> (Exchange, Result<u16, ProxyError>) {
    let destination = check(parts).and_then(|()| take_authority(parts));
    normalize(parts, worker.shared.path_normalization());
    headers::strip_hop_by_hop(&mut parts.headers);
    headers::strip_envoy(&mut parts.headers, direction == Direction::Ingress);
    // Our own server side answers it, as Envoy does.
    parts.headers.remove(header::EXPECT);
    match direction {
        Direction::Ingress => headers::enter_mesh(&mut parts.headers, downstream.remote.ip()),
        Direction::Outbound | Direction::Inbound => {
            parts.headers.entry(headers::FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
        }
    }
    let id = parts.headers.entry(headers::REQUEST_ID).or_insert_with(|| worker.request_id()).clone();
    let mut exchange = Exchange::start(worker, downstream, direction, parts, id);
    exchange.note(Phase::Accept);
    let port = match (direction, &worker.shared.config.ingress) {
        (Direction::Ingress, Some(ingress)) => destination.map(|_| ingress.server_port.number()),
        _ => destination,
    };
    (exchange, port)
}

/// Refuses what this proxy does not speak.
pub(crate) fn check(parts: &Parts) -> Result<(), ProxyError> {
    let refuse = |status, reason| Err(ProxyError::BadRequest { status, reason });
    if parts.method == Method::CONNECT {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not supported: send http:// requests to this proxy in absolute form");
    }
    if parts.version == Version::HTTP_10 {
        return refuse(StatusCode::UPGRADE_REQUIRED, "HTTP/1.0 is not supported: use HTTP/1.1");
    }
    if let Some(protocol) = headers::refused_upgrade(&parts.headers) {
        return Err(ProxyError::UnsupportedUpgrade { protocol: protocol.to_owned() });
    }
    if parts.uri.scheme_str().is_some_and(|scheme| scheme != "http") {
        return refuse(StatusCode::BAD_REQUEST, "only http:// can be sent in absolute form: the mesh itself encrypts");
    }
    if parts.headers.get_all(header::HOST).iter().count() > 1 {
        return refuse(StatusCode::BAD_REQUEST, "more than one Host header");
    }
    Ok(())
}

/// The URI's authority is the destination and becomes Host, whatever Host was sent; in origin form Host is. No port = 80.
fn take_authority(parts: &mut Parts) -> Result<u16, ProxyError> {
    let bad = |reason| ProxyError::BadRequest { status: StatusCode::BAD_REQUEST, reason };
    let host = if let Some(authority) = parts.uri.authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        if parts.headers.get(header::HOST).is_none_or(|sent| sent.as_bytes() != host.as_bytes()) {
            let value = HeaderValue::from_str(host).map_err(|_| bad("the host is not a host name"))?;
            parts.headers.insert(header::HOST, value);
        }
        host
    } else {
        let host = parts.headers.get(header::HOST).ok_or_else(|| bad("no Host header"))?;
        host.to_str().ok().filter(|host| !host.is_empty()).ok_or_else(|| bad("the Host header is not a host name"))?
    };
    match split_port(host) {
        (_, Some("")) | (_, None) => Ok(80),
        (_, Some(port)) => port.parse().map_err(|_| bad("the host's port is not a port")),
    }
}

/// Host and port of an authority; an IPv6 literal keeps its brackets.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) => {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

/// Leaves path and query, the path in its normal form.
pub(crate) fn normalize(parts: &mut Parts, mode: PathNormalization) {
    let normal = path::normalize(parts.uri.path(), mode);
    if normal.is_none() && parts.uri.authority().is_none() {
        return;
    }
    let old = parts.uri.path_and_query();
    let target = match (normal, old) {
        (None, Some(old)) => Some(old.clone()),
        (None, None) => None,
        (Some(path), old) => match old.and_then(PathAndQuery::query) {
            Some(query) => format!("{path}?{query}").parse().ok(),
            None => path.parse().ok(),
        },
    };
    parts.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
}

/// Phase **pin**: one snapshot for this request.
fn pin(exchange: &mut Exchange) -> Result<Arc<View>, ProxyError> {
    exchange.note(Phase::Pin);
    let view = exchange.worker.shared.pin().ok_or(ProxyError::NoSnapshot)?;
    exchange.trace.version = Some(view.snapshot.version);
    Ok(view)
}

/// Phase **route**: host → virtual host → the first rule that takes the request. `None` = nobody knows the host.
fn route(exchange: &mut Exchange, view: &View, port: u16, parts: &Parts) -> Result<Option<(Arc<HostView>, usize)>, ProxyError> {
    exchange.mark(Phase::Route);
    let authority = exchange.trace.authority.to_str().unwrap_or_default();
    let (name, _) = split_port(authority);
    let host = match exchange.trace.direction {
        Direction::Outbound | Direction::Inbound => match view.outbound_host(port, name) {
            Some(host) => host,
            None => return Ok(None),
        },
        Direction::Ingress => view.ingress_host(port, name).ok_or(ProxyError::NoRoute)?,
    };
    let head = RequestHead {
        method: parts.method.as_str(),
        scheme: "http",
        authority,
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
    };
    let taken = host.host.rules.iter().enumerate().find_map(|(index, rule)| rule.takes(&head).map(|entry| (index, entry)));
    exchange.trace.keep_headers(host, &parts.headers);
    exchange.trace.service = host.service;
    exchange.trace.rule = taken;
    let (index, _) = taken.ok_or(ProxyError::NoRoute)?;
    Ok(Some((host.clone(), index)))
}

/// Phase **split**: dice → arm → cluster. `None` for rules that forward nothing.
fn split<'a>(exchange: &mut Exchange, host: &'a HostView, index: usize) -> Option<&'a Arm> {
    exchange.note(Phase::Split);
    let arms = host.plans[index].arms.as_ref()?;
    let roll = if arms.is_single() {
        0
    } else {
        let request_id = exchange.trace.request_id.to_str().unwrap_or_default();
        exchange.worker.shared.dice.roll(Draw { purpose: Purpose::Split, request_id, destination: &host.host.name, attempt: 0 })
    };
    let picked = arms.pick(roll);
    if !arms.is_single() {
        exchange.trace.draws.push(DrawNote {
            purpose: Purpose::Split,
            position: picked.position,
            total: picked.total,
            range: picked.range,
            meaning: Meaning::Arm,
        });
    }
    exchange.trace.arm = Some(picked.arm);
    if picked.value.service != ServiceId::UNKNOWN {
        exchange.trace.service = picked.value.service;
    }
    if let Some(log) = &mut exchange.trace.log {
        log.upstream_cluster = Some(picked.value.text.clone());
    }
    Some(picked.value)
}

/// Rewrites of path and host by the rule; the first path stays visible in `x-envoy-original-path`.
fn rewrite_request(host: &HostView, index: usize, entry: usize, parts: &mut Parts) {
    let Some(plan) = &host.plans[index].rewrite else { return };
    let rule: &RouteRule = &host.host.rules[index];
    let old = parts.uri.path_and_query().cloned();
    if let Some(old) = old
        && let Some(new) = plan.path(&old, rule.matches.get(entry))
    {
        if let Ok(value) = HeaderValue::from_str(old.as_str()) {
            parts.headers.insert(headers::ORIGINAL_PATH, value);
        }
        parts.uri = Uri::from(new);
    }
    if let Some(authority) = &plan.authority {
        parts.headers.insert(header::HOST, authority.clone());
    }
}

/// Must an unknown host never lead here? API servers and control doors, and the doors of proxies, which would be a loop.
fn is_forbidden(exchange: &Exchange, view: &View, address: std::net::SocketAddr) -> bool {
    let config = &exchange.worker.shared.config;
    let of_the_mesh = |ip: IpAddr| ip == config.pod.address || view.is_peer_address(ip);
    view.is_protected(address) || (of_the_mesh(address.ip()) && config.ports.are_of_proxies(address.port()))
}
