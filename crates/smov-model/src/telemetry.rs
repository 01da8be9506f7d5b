//! What a proxy tells about its traffic: how many traces it begins, and what goes into its access log
//! (<https://istio.io/latest/docs/reference/config/telemetry/>).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::route::Percent;

pub mod expression;

use expression::Expression;

/// Both sides of a proxy; a gateway's traffic counts as a client's, as in Istio.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Telemetry {
    /// What the pod asks for, and what comes through a gateway.
    pub client: Side,
    /// What the pod is asked.
    pub server: Side,
}

/// One side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Share of the requests without a trace for which one begins. Default 1 %, Istio's.
    pub sampling: Percent,
    /// `disableSpanReporting`, the other way round. Default true; without, decisions are still passed on.
    pub report_spans: bool,
    /// What goes into the access log; `None` = nothing. Default: every request, as text.
    pub access_log: Option<AccessLog>,
}

impl Default for Side {
    fn default() -> Self {
        Self { sampling: Percent::from_millionths(10_000), report_spans: true, access_log: Some(AccessLog::default()) }
    }
}

/// The access log of one side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccessLog {
    /// How a line looks.
    pub encoding: Encoding,
    /// Only requests of which this is true; `None` = all.
    pub filter: Option<Arc<Expression>>,
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Encoding {
    /// Istio's default format, one line of text.
    #[default]
    Text,
    /// Istio's default fields as one JSON object per line.
    Json,
}
