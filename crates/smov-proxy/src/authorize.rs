//! Phase **authorize**: may it? The model decides; here is what it looks at, and what becomes of a refusal.
//!
//! Where no policy is for the workload, nothing is asked and nothing is noted. Which policy and which rule decided is for operators: it is in
//! the record, the log and at `:15000/refused`, and never in the answer.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use smov_model::authorization::{Authorization, Decision, HttpView, Outcome, RequestView, forwarded_for};
use smov_model::record::{Direction, Phase};

use crate::error::ProxyError;
use crate::exchange::Exchange;
use crate::snapshot::View;
use crate::tls::failure::Failure;
use crate::tls::refused::Refusal;
use crate::worker::{Downstream, Shared};

/// What the policies said to a request: kept as indices, told when somebody asks.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) policies: Arc<Authorization>,
    pub(crate) outcome: Outcome,
}

/// Phase **authorize** of a request.
pub(crate) fn authorize(exchange: &mut Exchange, view: Option<&View>, parts: &Parts) -> Result<(), ProxyError> {
    exchange.note(Phase::Authorize);
    let Some(policies) = view.map(|view| &view.authorization).filter(|policies| !policies.http.is_empty()) else { return Ok(()) };
    let downstream = &exchange.downstream;
    let scheme = if downstream.peer.is_some() { "https" } else { "http" };
    let http = HttpView {
        method: parts.method.as_str(),
        scheme,
        authority: exchange.trace.authority.to_str().unwrap_or_default(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
        claims: None,
    };
    // A gateway believes what it sees; a sidecar believes the last entry of X-Forwarded-For, as Istio's do.
    let remote = match exchange.trace.direction {
        Direction::Ingress => None,
        Direction::Inbound | Direction::Outbound => forwarded_for(&parts.headers),
    };
    let outcome = policies.http.outcome(&seen(downstream, remote, Some(http)));
    exchange.trace.authorization = Some(Note { policies: Arc::clone(policies), outcome });
    policies.http.details(outcome.decision).map_or(Ok(()), |details| Err(ProxyError::Denied { details }))
}

/// May an opaque connection stay, by the latest snapshot?
pub(crate) fn is_welcome(shared: &Shared, downstream: &Downstream) -> bool {
    shared.pin().is_none_or(|view| view.authorization.tcp.is_open() || tcp_decision(&view, downstream).passes())
}

/// The same for a new connection; a refusal is noted.
pub(crate) fn welcome(shared: &Shared, view: &View, downstream: &Downstream) -> bool {
    if view.authorization.tcp.is_open() {
        return true;
    }
    let Some(details) = view.authorization.tcp.details(tcp_decision(view, downstream)) else { return true };
    let server_name = downstream.peer.as_ref().and_then(|peer| peer.server_name.as_deref()).map(str::to_owned);
    shared.listener_tls.turn_away(Refusal {
        at: shared.clock_micros(),
        proxy: &shared.config.pod.name,
        remote: downstream.remote,
        port: downstream.local.port(),
        server_name,
        failure: Failure::connection(details),
    });
    false
}

fn tcp_decision(view: &View, downstream: &Downstream) -> Decision {
    view.authorization.tcp.decide(&seen(downstream, None, None))
}

fn seen<'a>(downstream: &'a Downstream, remote: Option<IpAddr>, http: Option<HttpView<'a>>) -> RequestView<'a> {
    let peer = downstream.peer.as_ref();
    RequestView {
        source: downstream.remote.ip(),
        remote: remote.unwrap_or(downstream.remote.ip()),
        destination: downstream.local,
        server_name: peer.and_then(|peer| peer.server_name.as_deref()).unwrap_or_default(),
        principal: peer.and_then(|peer| peer.principal.as_deref()),
        http,
    }
}
