//! Phase **fault**: injected delay and abort, each drawn for itself, delay first. It comes before the router: an abort is not retried,
//! a delay is not part of the timeout.

use http::StatusCode;
use smov_model::dice::{Draw, Purpose};
use smov_model::flag::ResponseFlag;
use smov_model::record::Phase;
use smov_model::route::{AbortStatus, Fault, Percent};

use crate::error::ProxyError;
use crate::exchange::{Exchange, micros};
use crate::telemetry::trace::{DrawNote, Meaning};

/// Delays and aborts as the rule says.
pub(crate) async fn fault(exchange: &mut Exchange, fault: &Fault, host: &str) -> Result<(), ProxyError> {
    exchange.mark(Phase::Fault);
    if let Some((percent, delay)) = fault.delay
        && hit(exchange, Purpose::FaultDelay, percent, host)
    {
        exchange.trace.injected_delay = micros(delay);
        exchange.add_flag(ResponseFlag::Di);
        tokio::time::sleep(delay).await;
    }
    match fault.abort {
        Some((percent, status)) if hit(exchange, Purpose::FaultAbort, percent, host) => {
            let (status, grpc) = match status {
                AbortStatus::Http(status) => (StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE), None),
                AbortStatus::Grpc(code) => (StatusCode::OK, Some(code)),
            };
            Err(ProxyError::FaultAbort { status, grpc })
        }
        Some(_) | None => Ok(()),
    }
}

fn hit(exchange: &mut Exchange, purpose: Purpose, percent: Percent, destination: &str) -> bool {
    let request_id = exchange.trace.request_id.to_str().unwrap_or_default();
    let roll = exchange.worker.shared.dice.roll(Draw { purpose, request_id, destination, attempt: 0 });
    let hit = percent.hit(roll);
    let edge = percent.millionths();
    exchange.trace.draws.push(DrawNote {
        purpose,
        position: (roll % 1_000_000) as u32,
        total: 1_000_000,
        range: if hit { (0, edge) } else { (edge, 1_000_000) },
        meaning: if hit { Meaning::Hit } else { Meaning::Pass },
    });
    hit
}
