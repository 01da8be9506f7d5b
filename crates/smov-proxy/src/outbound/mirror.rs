//! Mirrors: copies of a request, sent and forgotten. What becomes of a copy changes nothing for the request itself: its answer is read and
//! thrown away, it is not repeated, and only the mirror's own proxy counts it.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Request;
use http::header::{HeaderMap, HeaderValue};
use http_body::Body;
use smov_model::dice::{Draw, Purpose};
use smov_model::outlier::Outcome;
use smov_model::route::Percent;
use tokio::time::timeout;
use tracing::debug;

use crate::balance::{Ask, balance};
use crate::body::RequestBody;
use crate::cluster::ClusterView;
use crate::error::{ProxyError, Side};
use crate::exchange::Exchange;
use crate::headers;
use crate::limits::{Permit, limit};
use crate::snapshot::View;
use crate::telemetry::trace::{DrawNote, Meaning};
use crate::upstream::{self, Unanswered};
use crate::worker::Worker;

use super::attempt::Outgoing;

/// Copies of one worker on their way, at most: a mirror that hangs must not pile them up. More are not sent.
const MAX_COPIES: u32 = 1024;

/// How long a copy may take where the route has no timeout of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// One mirror of a rule.
#[derive(Debug)]
pub(crate) struct MirrorPlan {
    pub(crate) slot: usize,
    pub(crate) share: Percent,
    /// The cluster's name, for the dice.
    pub(crate) text: String,
}

/// Draws for each mirror and sends the copies on their way.
pub(super) fn mirror(exchange: &mut Exchange, view: &View, mirrors: &[MirrorPlan], request: &Outgoing, limit: Option<Duration>) {
    for (index, mirror) in mirrors.iter().enumerate() {
        if !hit(exchange, mirror, index as u32) {
            continue;
        }
        let Some(cluster) = view.cluster(mirror.slot) else { continue };
        let copies = &exchange.worker.copies;
        if copies.load(Relaxed) >= MAX_COPIES {
            debug!(cluster = %cluster.state.text, "too many copies are on their way: none is sent");
            continue;
        }
        let counted = Permit::take(copies);
        exchange.trace.mirrored.push(index);
        let mut copy = request.copy(&exchange.worker.waiting);
        mark(copy.headers_mut(), exchange.worker.shared.config.pod.address);
        if exchange.trace.span.is_some() {
            // What becomes of a copy is no part of the request's trace.
            smov_telemetry::context::take_out(copy.headers_mut());
        }
        let request_id = exchange.trace.request_id.clone();
        let (worker, cluster) = (exchange.worker.clone(), cluster.clone());
        tokio::task::spawn_local(async move {
            let _counted = counted;
            let broken = copy.body().broken();
            let sent = async { send(&worker, &cluster, &request_id, copy).await };
            let sent = async { timeout(limit.unwrap_or(PATIENCE), sent).await.unwrap_or(Err(ProxyError::Timeout)) };
            tokio::select! {
                // The request's own body broke off, or this copy fell too far behind: its connection is closed.
                () = broken => debug!(cluster = %cluster.state.text, "mirror given up"),
                sent = sent => if let Err(error) = sent {
                    debug!(cluster = %cluster.state.text, %error, "mirror failed");
                },
            }
        });
    }
}

/// Is a copy sent? Nothing is drawn for all or none.
fn hit(exchange: &mut Exchange, mirror: &MirrorPlan, index: u32) -> bool {
    let edge = mirror.share.millionths();
    if edge == 0 || edge == 1_000_000 {
        return edge > 0;
    }
    let request_id = exchange.trace.request_id.to_str().unwrap_or_default();
    let draw = Draw { purpose: Purpose::Mirror, request_id, destination: &mirror.text, attempt: index };
    let roll = exchange.worker.shared.dice.roll(draw);
    let hit = mirror.share.hit(roll);
    exchange.trace.draws.push(DrawNote {
        purpose: Purpose::Mirror,
        position: (roll % 1_000_000) as u32,
        total: 1_000_000,
        range: if hit { (0, edge) } else { (edge, 1_000_000) },
        meaning: if hit { Meaning::Hit } else { Meaning::Pass },
    });
    hit
}

/// What Envoy adds to copies: they come from inside, through this proxy.
fn mark(headers: &mut HeaderMap, own: std::net::IpAddr) {
    headers.insert(headers::INTERNAL, HeaderValue::from_static("true"));
    headers::append_forwarded_for(headers, own);
}

/// One try, and its answer read to the end.
async fn send(
    worker: &Rc<Worker>,
    cluster: &Arc<ClusterView>,
    request_id: &HeaderValue,
    mut copy: Request<RequestBody>,
) -> Result<(), ProxyError> {
    let permit = limit(cluster)?;
    let request_id = request_id.to_str().unwrap_or_default();
    let choice = balance(worker, cluster, Ask { request_id, attempt: 0, tried: &[], hash: None })?;
    let active = Permit::active(&choice.endpoint);
    cluster.state.counters.requests.fetch_add(1, Relaxed);
    let answered = async {
        let mut lease = upstream::connect(worker, cluster, &choice.endpoint).await?;
        let response = loop {
            match upstream::send(&mut lease, copy).await.map_err(Unanswered::of) {
                Ok(response) => break response,
                Err(Unanswered::NotSent(unsent)) if lease.is_reused() => {
                    copy = *unsent;
                    drop(lease);
                    lease = upstream::connect(worker, cluster, &choice.endpoint).await?;
                }
                Err(Unanswered::NotSent(_)) => return Err(upstream::closed_unsent(&lease)),
                Err(Unanswered::Broken(error)) => return Err(error),
            }
        };
        Ok((response, lease))
    };
    let answered = answered.await;
    if let Ok((response, _)) = &answered {
        cluster.state.counters.answered(response.status().as_u16());
    }
    let outcome = match &answered {
        Ok((response, _)) => Some(Outcome::of_status(response.status().as_u16())),
        Err(error) => (error.side() == Side::Upstream).then_some(Outcome::GatewayError),
    };
    if let Some(outcome) = outcome {
        cluster.record(&choice.endpoint, outcome, || worker.shared.age());
    }
    let (response, mut lease) = answered?;
    lease.hold([permit, active]);
    let mut body = response.into_body();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        frame.map_err(|_| ProxyError::Closed { sent: true })?;
    }
    lease.give_back();
    Ok(())
}
