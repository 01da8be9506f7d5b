//! One request: what the gateway app relayed, what the proxies add, and the row that the page shows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smov_model::record::Row;

use crate::service::ServiceId;

/// One answer that the gateway app relayed, read from the three headers of the answer and nothing else.
#[derive(Debug, Clone)]
pub struct Relayed {
    /// `x-request-id`.
    pub request_id: String,
    /// The service that was asked.
    pub service: ServiceId,
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status given to the browser; 0 = it went away first.
    pub status: u16,
    /// `X-Service-Cluster`; `None` = no pod answered.
    pub cluster: Option<String>,
    /// `X-Pod-Name`.
    pub pod: Option<String>,
    /// `X-Service-Version`.
    pub version: Option<String>,
    /// The request carried `x-canary: true`.
    pub canary: bool,
    /// Start, Unix microseconds.
    pub started: u64,
    /// Until the answer's headers.
    pub duration: Duration,
    /// The browser that sent it, as it calls itself (`x-smov-client`), for "only my requests".
    pub client: Option<String>,
}

/// What a proxy record adds to a row: the why. Only the gateway app's own proxy knows it: pass on rows with direction `outbound`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// `x-request-id`, which joins it to the row.
    pub request_id: String,
    /// Envoy's response flags as printed; `-` for none.
    pub flags: String,
    /// The delay that a fault injected; zero for none.
    pub delay: Duration,
    /// The rule that took it: `user-service-vs spec.http[1]`; empty for none.
    pub rule: String,
    /// The subset that was drawn; empty for none.
    pub subset: String,
    /// Tries.
    pub attempts: u32,
}

impl From<Row> for Why {
    fn from(row: Row) -> Self {
        Self {
            request_id: row.request_id,
            flags: row.flags,
            delay: Duration::from_micros(row.injected_delay),
            rule: row.rule,
            subset: row.subset,
            attempts: row.attempts,
        }
    }
}

/// A row of the page's request log and one column of its lamps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestRow {
    /// `x-request-id`.
    pub id: String,
    /// The service.
    pub svc: ServiceId,
    /// Method.
    pub m: String,
    /// Path without query.
    pub path: String,
    /// `ctx1`, `ctx2`, `unknown`; `None` = no pod answered.
    pub cluster: Option<String>,
    /// The pod that answered.
    pub pod: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Status.
    pub status: u16,
    /// Until the answer's headers, milliseconds.
    pub ms: f64,
    /// Carried the canary header.
    pub canary: bool,
    /// The browser that sent it.
    pub mine: Option<String>,
    /// Start, Unix microseconds.
    pub ts: u64,
    /// Response flags; `None` = no proxy record (yet).
    #[serde(default)]
    pub flags: Option<String>,
    /// Injected delay, milliseconds; `None` = none or not known.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// The rule.
    #[serde(default)]
    pub rule: Option<String>,
    /// Tries.
    #[serde(default)]
    pub attempts: Option<u32>,
    /// The subset that was drawn.
    #[serde(default)]
    pub subset: Option<String>,
}

impl From<Relayed> for RequestRow {
    fn from(relayed: Relayed) -> Self {
        Self {
            id: relayed.request_id,
            svc: relayed.service,
            m: relayed.method,
            path: relayed.path,
            cluster: relayed.cluster,
            pod: relayed.pod,
            version: relayed.version,
            status: relayed.status,
            ms: (relayed.duration.as_secs_f64() * 10_000.0).round() / 10.0,
            canary: relayed.canary,
            mine: relayed.client,
            ts: relayed.started,
            flags: None,
            delay_ms: None,
            rule: None,
            attempts: None,
            subset: None,
        }
    }
}

impl RequestRow {
    /// Takes over what the proxies know.
    pub fn explain(&mut self, why: &WhyRow) {
        self.flags = Some(why.flags.clone());
        self.delay_ms = why.delay_ms;
        self.rule.clone_from(&why.rule);
        self.attempts = Some(why.attempts);
        self.subset.clone_from(&why.subset);
    }

    /// No pod answered, or one answered 5xx.
    pub fn failed(&self) -> bool {
        self.cluster.is_none() || self.status >= 500
    }
}

/// A row of the `why` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyRow {
    /// `x-request-id`.
    pub id: String,
    /// Response flags; `-` for none.
    pub flags: String,
    /// Injected delay, milliseconds.
    pub delay_ms: Option<u64>,
    /// The rule.
    pub rule: Option<String>,
    /// Tries.
    pub attempts: u32,
    /// The subset that was drawn.
    pub subset: Option<String>,
}

impl From<Why> for WhyRow {
    fn from(why: Why) -> Self {
        let filled = |text: String| (!text.is_empty()).then_some(text);
        Self {
            id: why.request_id,
            flags: if why.flags.is_empty() { "-".into() } else { why.flags },
            delay_ms: (!why.delay.is_zero()).then(|| u64::try_from(why.delay.as_millis()).unwrap_or(u64::MAX)),
            rule: filled(why.rule),
            attempts: why.attempts,
            subset: filled(why.subset),
        }
    }
}

/// The `req` event: rows, and how many requests they stand for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestBatch {
    /// All requests, or above 200/s a uniform sample of them, oldest first.
    pub rows: Vec<RequestRow>,
    /// Requests that happened.
    pub n: u64,
    /// Of these, without a row.
    pub dropped: u64,
}

/// The `why` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyBatch {
    /// One per request.
    pub rows: Vec<WhyRow>,
}
