//! Phase **attempt**: tries until one answers, within the route's timeouts and retries. Each try goes limit → balance → connect.
//!
//! The overall timeout covers all tries and back-offs, not an injected delay and not the upload. Retries stay in the cluster that was drawn.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use smov_model::dice::{Draw, Purpose};
use smov_model::flag::{Flags, ResponseFlag};
use smov_model::hash::{RequestHash, request_hash};
use smov_model::outlier::Outcome;
use smov_model::record::Phase;
use smov_model::route::{HashKey, RetryOn, RetryPolicy, RoutePolicy, RouteRule};
use smov_model::tls::ConnectionSecurityPolicy;
use tokio::time::sleep;

use super::grpc;
use super::mirror::mirror;
use super::rewrite_request;
use crate::balance::{Ask, Choice, Drawn, balance};
use crate::body::{Expiry, RequestBody, Upload, Waiting};
use crate::cluster::{ClusterView, EndpointState};
use crate::error::ProxyError;
use crate::exchange::Exchange;
use crate::headers::{self, Scope};
use crate::limits::{self, Permit, limit};
use crate::pool::Lease;
use crate::snapshot::{Arm, HostView, RulePlan, View};
use crate::telemetry::trace::{AttemptNote, DrawNote, Meaning};
use crate::upstream::{self, Unanswered};
use crate::worker::Downstream;

/// An upstream's answer, its body still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    /// When the route's timeout strikes, body included.
    pub(crate) expiry: Option<Expiry>,
}

/// The request as upstreams get it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    parts: Parts,
    upload: Option<Rc<Upload>>,
    /// Is it wanted again after it was sent? Else headers are moved, not copied.
    keep: bool,
    /// Were the headers moved away? Then there is nothing left to send again.
    spent: bool,
    /// Of the route's keys, where the cluster's balancer hashes.
    hash: Option<u64>,
    /// Where the client dialled, where the cluster lists no endpoints.
    pub(super) original: Option<Arc<EndpointState>>,
}

/// Could a retry happen after the request was sent? The default policy retries failed connects only, and needs no copy of anything.
pub(crate) fn keeps_request(on: &RetryOn, is_grpc: bool) -> bool {
    on.any_5xx
        || on.gateway_error
        || on.reset
        || on.reset_before_request
        || on.retriable_4xx
        || !on.status_codes.is_empty()
        || ((on.cancelled || on.unavailable) && is_grpc)
}

impl Outgoing {
    /// Rewrites, header operations and what the mesh adds.
    pub(crate) fn prepare(
        exchange: &mut Exchange,
        host: &Arc<HostView>,
        index: usize,
        arm: &Arm,
        mut parts: Parts,
        upload: Option<Rc<Upload>>,
    ) -> Self {
        let policy = &host.host.rules[index].policy;
        // Envoy's order: what the operations see is the path as it came.
        headers::apply(&arm.operations.request, &mut parts.headers, Scope::Request(exchange, &parts.method));
        rewrite_request(host, index, exchange.trace.rule.map_or(0, |(_, entry)| entry), &mut parts);
        if arm.operations.answers_repeat {
            exchange.extra().request_headers = parts.headers.clone();
        }
        let per_try = policy.retry.as_ref().and_then(|retry| retry.per_try_timeout);
        if let Some(expected) = policy.timeout.into_iter().chain(per_try).min() {
            parts.headers.insert(headers::EXPECTED_TIMEOUT, HeaderValue::from(expected.as_millis() as u64));
        }
        parts.headers.insert(headers::PEER_METADATA_ID, exchange.worker.shared.metadata_id.clone());
        let keep = policy.retry.as_ref().is_some_and(|retry| keeps_request(&retry.on, exchange.trace.is_grpc));
        Self { parts, upload, keep, spent: false, hash: None, original: None }
    }

    /// As it came, for hosts outside the mesh.
    pub(crate) fn plain(parts: Parts, upload: Option<Rc<Upload>>) -> Self {
        Self { parts, upload, keep: false, spent: false, hash: None, original: None }
    }

    /// The request of one try.
    pub(crate) fn request(&mut self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::of(self.upload.as_ref()));
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.headers_mut() = if self.keep {
            self.parts.headers.clone()
        } else {
            self.spent = true;
            std::mem::take(&mut self.parts.headers)
        };
        request
    }

    /// A copy of the first try, for a mirror.
    pub(super) fn copy(&self, waiting: &Waiting) -> Request<RequestBody> {
        let mut copy = Request::new(self.upload.as_ref().map_or(RequestBody::Empty, |upload| upload.copy(waiting)));
        *copy.method_mut() = self.parts.method.clone();
        *copy.uri_mut() = self.parts.uri.clone();
        *copy.headers_mut() = self.parts.headers.clone();
        copy.headers_mut().insert(headers::ATTEMPT_COUNT, HeaderValue::from(1));
        copy
    }

    /// Hashes the keys, as the upstream will see them; the answer brings the cookies that were missing.
    fn take_hash(&mut self, exchange: &mut Exchange, keys: &[HashKey]) {
        let Downstream { remote, local, .. } = exchange.downstream;
        let RequestHash { hash, cookies } = request_hash(keys, &self.parts.headers, self.parts.uri.query(), (remote, local));
        self.hash = hash;
        if !cookies.is_empty() {
            exchange.extra().cookies = cookies.into_iter().filter_map(|cookie| HeaderValue::try_from(cookie).ok()).collect();
        }
    }

    fn replayable(&self) -> bool {
        !self.spent && self.upload.as_ref().is_none_or(|upload| upload.replayable())
    }
}

/// Tries until one answers or the route's policy says that it is enough.
pub(crate) async fn attempt(
    exchange: &mut Exchange,
    view: &View,
    rule: &RouteRule,
    (arm, plan): (&Arm, &RulePlan),
    mut request: Outgoing,
) -> Result<Answer, ProxyError> {
    exchange.note(Phase::Attempt);
    let cluster = view.cluster(arm.slot).ok_or(ProxyError::NoCluster)?;
    if cluster.balancer.hashes() && !rule.policy.hash.is_empty() {
        request.take_hash(exchange, &rule.policy.hash);
    }
    let RoutePolicy { timeout, retry, .. } = &rule.policy;
    if !plan.mirrors.is_empty() && !cluster.picture(|| exchange.worker.shared.age()).is_empty() {
        mirror(exchange, view, &plan.mirrors, &request, *timeout);
    }
    let mut expiry = timeout.map(|limit| Expiry::new(request.upload.as_ref(), limit));
    let answer = {
        let mut tries = pin!(tries(exchange, cluster, retry.as_ref(), &mut request));
        match &mut expiry {
            None => Some(tries.await),
            Some(expiry) => tokio::select! {
                biased;
                answer = tries.as_mut() => Some(answer),
                () = expiry => None,
            },
        }
    };
    let answer = answer.unwrap_or_else(|| {
        end_try(exchange, cluster, (0, 0), Some(&ProxyError::Timeout));
        Err(ProxyError::Timeout)
    });
    answer.map(|(response, lease)| Answer { response, lease, expiry })
}

/// The loop.
async fn tries(
    exchange: &mut Exchange,
    cluster: &Arc<ClusterView>,
    policy: Option<&RetryPolicy>,
    request: &mut Outgoing,
) -> Result<(Response<Incoming>, Lease), ProxyError> {
    let mut tried: Vec<u64> = Vec::new();
    let mut retry_permit: Option<Permit> = None;
    for number in 1_u32.. {
        request.parts.headers.insert(headers::ATTEMPT_COUNT, HeaderValue::from(number));
        let result = {
            let expiry = policy.and_then(|policy| policy.per_try_timeout).map(|limit| Expiry::new(request.upload.as_ref(), limit));
            let mut one = pin!(one_try(exchange, cluster, request, number, &tried));
            match expiry {
                None => one.await,
                Some(expiry) => tokio::select! {
                    biased;
                    result = one.as_mut() => result,
                    () = expiry => Err(ProxyError::PerTryTimeout),
                },
            }
        };
        let (status, error) = match &result {
            Ok((response, _)) => (response.status().as_u16(), None),
            Err(error) => (0, Some(error)),
        };
        let judged = match &result {
            Ok((response, _)) if exchange.trace.is_grpc => grpc::told(response.headers()).map_or(status, grpc::to_http),
            _ => status,
        };
        end_try(exchange, cluster, (status, judged), error);
        let Some(policy) = policy.filter(|policy| wants_retry(&policy.on, &result) && request.replayable()) else { return result };
        let counters = &cluster.state.counters;
        if number > policy.attempts {
            counters.retries_used_up.fetch_add(1, Relaxed);
            exchange.add_flag(ResponseFlag::Urx);
            return result;
        }
        // The permit of the retry before is given back first: one request never holds two.
        drop(retry_permit.take());
        retry_permit = limits::retry(cluster);
        if retry_permit.is_none() {
            counters.retry_overflows.fetch_add(1, Relaxed);
            exchange.add_flag(ResponseFlag::Uo);
            return result;
        }
        drop(result);
        if policy.ignore_previous_hosts {
            tried.extend(exchange.trace.attempts.last().and_then(|attempt| attempt.endpoint.as_ref()).map(|endpoint| endpoint.id));
        }
        counters.retries.fetch_add(1, Relaxed);
        sleep(backoff(exchange, cluster, policy.backoff, number)).await;
    }
    unreachable!("the loop returns when the policy's attempts are used up")
}

/// One try at one endpoint.
async fn one_try(
    exchange: &mut Exchange,
    cluster: &Arc<ClusterView>,
    request: &mut Outgoing,
    number: u32,
    tried: &[u64],
) -> Result<(Response<Incoming>, Lease), ProxyError> {
    exchange.note(Phase::Limit);
    let started = exchange.elapsed();
    (exchange.trace.security, exchange.trace.secured) = (ConnectionSecurityPolicy::Unknown, None);
    exchange.trace.attempts.reserve_exact(1);
    exchange.trace.attempts.push(AttemptNote { started, ..AttemptNote::default() });
    let permit = limit(cluster)?;
    let endpoint = pick(exchange, cluster, request, number, tried)?;

    exchange.mark(Phase::Connect);
    let active = Permit::active(&endpoint);
    cluster.state.counters.requests.fetch_add(1, Relaxed);
    let worker = exchange.worker.clone();
    let mut lease = upstream::connect(&worker, cluster, &endpoint).await?;
    exchange.trace.secured_by(&lease);
    let mut outgoing = request.request();
    let response = loop {
        match upstream::send(&mut lease, outgoing).await.map_err(Unanswered::of) {
            Ok(response) => break response,
            // The upstream closed a connection that waited in the pool: nobody saw the request, another connection takes it.
            Err(Unanswered::NotSent(unsent)) if lease.is_reused() => {
                outgoing = *unsent;
                // First: it counts towards the limits that the new one must keep.
                drop(lease);
                let fresh = upstream::connect(&worker, cluster, &endpoint).await;
                lease = fresh.inspect_err(|_| {
                    request.parts.headers = std::mem::take(outgoing.headers_mut());
                    request.spent = false;
                })?;
                exchange.trace.secured_by(&lease);
            }
            Err(Unanswered::NotSent(_)) => return Err(upstream::closed_unsent(&lease)),
            Err(Unanswered::Broken(error)) => return Err(error),
        }
    };
    lease.hold([permit, active]);
    exchange.trace.peer = exchange.trace.secured.as_ref().map_or(endpoint.peer, |peer| peer.labels);
    exchange.trace.peer_workload = Some(endpoint.workload.clone());
    Ok((response, lease))
}

/// Phase **balance** of a try, with its draws and its endpoint written down.
fn pick(
    exchange: &mut Exchange,
    cluster: &ClusterView,
    request: &Outgoing,
    number: u32,
    tried: &[u64],
) -> Result<Arc<EndpointState>, ProxyError> {
    exchange.note(Phase::Balance);
    let request_id = exchange.trace.request_id.to_str().unwrap_or_default();
    let ask = Ask { request_id, attempt: number - 1, tried, hash: request.hash };
    let choice = match &request.original {
        None => balance(&exchange.worker, cluster, ask)?,
        Some(endpoint) => Choice::only(endpoint.clone()),
    };
    let meaning = Meaning::Attempt(exchange.trace.attempts.len() as u32 - 1);
    for Drawn { purpose, position, total, range } in choice.draws.into_iter().flatten() {
        exchange.trace.draws.push(DrawNote { purpose, position, total, range, meaning });
    }
    if let Some(note) = exchange.trace.attempts.last_mut() {
        note.endpoint = Some(choice.endpoint.clone());
        note.ejected = choice.ejected;
        note.priority = choice.priority;
        note.hash = request.hash;
    }
    Ok(choice.endpoint)
}

/// Writes down how a try ended, and lets outlier detection know. `judged` is the status that an endpoint is judged by.
fn end_try(exchange: &mut Exchange, cluster: &ClusterView, (status, judged): (u16, u16), error: Option<&ProxyError>) {
    let now = exchange.elapsed();
    // Between two tries there is none to end.
    let Some(note) = exchange.trace.attempts.last_mut().filter(|note| !note.ended) else { return };
    note.ended = true;
    note.duration = now.saturating_sub(note.started);
    note.status = status;
    note.flags = error.and_then(ProxyError::flag).map_or(Flags::NONE, Flags::from);
    note.reason = error.map(ToString::to_string);
    let counters = &cluster.state.counters;
    match error {
        None => counters.answered(status),
        Some(ProxyError::Timeout) => {
            counters.timeouts.fetch_add(1, Relaxed);
        }
        Some(ProxyError::PerTryTimeout) => {
            counters.per_try_timeouts.fetch_add(1, Relaxed);
        }
        Some(_) => {}
    }
    let outcome = match error {
        None => Outcome::of_status(judged),
        // An overflow or a client that left says nothing about the endpoint.
        Some(error) if error.side() != crate::error::Side::Upstream => return,
        Some(_) => Outcome::GatewayError,
    };
    if let Some(endpoint) = &note.endpoint {
        cluster.record(endpoint, outcome, || exchange.worker.shared.age());
    }
}

/// Does the policy retry what a try ended with?
fn wants_retry(on: &RetryOn, result: &Result<(Response<Incoming>, Lease), ProxyError>) -> bool {
    match result {
        Err(error) => error.retryable(on),
        Ok((response, _)) => wants_retry_of(on, response.status().as_u16(), response.headers()),
    }
}

fn wants_retry_of(on: &RetryOn, status: u16, headers: &HeaderMap) -> bool {
    let grpc = |code: &str| headers.get("grpc-status").is_some_and(|value| value == code);
    (on.any_5xx && status >= 500)
        || (on.gateway_error && matches!(status, 502..=504))
        || (on.retriable_4xx && status == 409)
        || on.status_codes.contains(&status)
        || (on.cancelled && grpc("1"))
        || (on.unavailable && grpc("14"))
}

/// Uniform in [0, (2^n - 1) × base), at most ten times the base.
fn backoff(exchange: &Exchange, cluster: &ClusterView, base: Duration, retry: u32) -> Duration {
    let factor = (1_u32 << retry.min(5)) - 1;
    let limit = (base * factor).min(base * 10).as_micros() as u64;
    let request_id = exchange.trace.request_id.to_str().unwrap_or_default();
    let draw = Draw { purpose: Purpose::Backoff, request_id, destination: &cluster.state.text, attempt: retry };
    Duration::from_micros(exchange.worker.shared.dice.roll(draw) % limit.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_retries_failed_connects_and_keeps_nothing() {
        let on = RetryPolicy::default().on;
        let connect = ProxyError::Connect { reason: "Connection refused".into(), timed_out: false };
        assert!(connect.retryable(&on) && !keeps_request(&on, false));
        assert!(!wants_retry_of(&on, 503, &HeaderMap::new()));
        for error in [ProxyError::Closed { sent: true }, ProxyError::PerTryTimeout, ProxyError::Overflow, ProxyError::NoHealthyUpstream] {
            assert!(!error.retryable(&on), "{error}");
        }
    }

    #[test]
    fn each_condition_retries_its_own() {
        let gateway = RetryOn { gateway_error: true, ..RetryOn::default() };
        assert!(wants_retry_of(&gateway, 503, &HeaderMap::new()) && !wants_retry_of(&gateway, 500, &HeaderMap::new()));
        assert!(ProxyError::PerTryTimeout.retryable(&gateway) && !ProxyError::Overflow.retryable(&gateway));
        let codes = RetryOn { status_codes: vec![418], ..RetryOn::default() };
        assert!(wants_retry_of(&codes, 418, &HeaderMap::new()) && !wants_retry_of(&codes, 503, &HeaderMap::new()));
        let before = RetryOn { reset_before_request: true, ..RetryOn::default() };
        assert!(ProxyError::Closed { sent: false }.retryable(&before) && !ProxyError::Closed { sent: true }.retryable(&before));
    }
}
