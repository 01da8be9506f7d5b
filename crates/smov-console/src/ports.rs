//! Ports: what the console needs done and cannot do itself. The `smov` binary implements them; tests have fakes.

pub mod configuration;
mod inspect;
pub mod scenarios;
pub mod workloads;

use std::borrow::Cow;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::configuration::Configuration;
use crate::problem::Problem;
use crate::service::ServiceId;
use crate::view::cluster::{LinkState, LinkView};
use crate::view::state::{LoadView, Target};

pub use inspect::{Again, Explain, ExplainRequest, From, Override};

/// One request of ▶ or of a burst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficRequest {
    /// To be sent as `x-request-id`.
    pub id: String,
    /// The service it is for.
    pub service: ServiceId,
    /// `/users/` ….
    pub path: Cow<'static, str>,
    /// To be sent with `x-canary: true`.
    pub canary: bool,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// The browser that asked for the burst, to be sent as `x-smov-client`.
    pub client: Option<String>,
}

/// The way through cp-gateway.
pub trait Ingress: Send + Sync {
    /// Sends a GET and gives the answer's status, or why there was none. It must end by itself: an answer that never comes keeps one of
    /// the places in flight.
    fn send(&self, request: TrafficRequest) -> BoxFuture<'static, Result<u16, String>>;
}

/// The mesh configuration as `k8s/` has it.
pub trait Baseline: Send + Sync {
    /// Puts it back in both clusters; gives what was changed.
    fn reset(&self) -> BoxFuture<'static, Result<Vec<Changed>, Problem>>;
}

/// One object that a reset changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// `ctx1`.
    pub cluster: String,
    /// `VirtualService`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What proxies have written down of requests: decision records, and spans.
pub trait Records: Send + Sync {
    /// All proxies' records of this request.
    fn records(&self, request_id: String) -> BoxFuture<'static, Result<Vec<serde_json::Value>, Problem>>;
    /// What each control plane keeps of the last traces, one summary per trace, the newest first.
    fn traces(&self) -> BoxFuture<'static, Vec<Told>>;
    /// What each control plane keeps of this trace: its spans.
    fn trace(&self, trace_id: String) -> BoxFuture<'static, Vec<Told>>;
}

/// What the control plane of one cluster said.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its cluster.
    pub cluster: String,
    /// Its answer, or why there is none.
    pub answer: Result<Vec<serde_json::Value>, String>,
}

/// A change of ▶; what is absent stays. An empty change only says that someone is watching.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadChange {
    /// On or off.
    pub running: Option<bool>,
    /// Requests a second.
    pub rate: Option<u32>,
    /// Which services.
    pub target: Option<Target>,
    /// With the canary header.
    pub canary: Option<bool>,
}

/// A burst.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// How many requests, 1 to 1,000.
    pub count: u32,
    /// Which services.
    #[serde(default)]
    pub target: Target,
    /// With the canary header.
    #[serde(default)]
    pub canary: bool,
    /// The browser that asked.
    #[serde(default)]
    pub client: Option<String>,
}

/// ▶: the load runner here, or the one behind another door.
pub trait Traffic: Send + Sync {
    /// Changes ▶.
    fn change(&self, change: LoadChange) -> BoxFuture<'static, Result<LoadView, Problem>>;
    /// Queues a burst.
    fn burst(&self, burst: Burst) -> BoxFuture<'static, Result<LoadView, Problem>>;
    /// Queues the same request several times; gives the ids that they will have.
    fn again(&self, again: Again) -> BoxFuture<'static, Result<Vec<String>, Problem>>;
}

/// A change of the link between the clusters; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkChange {
    /// What it is to carry.
    pub state: Option<LinkState>,
    /// What a round trip is to take longer, in milliseconds.
    pub latency_ms: Option<f64>,
    /// How far a round trip may be off, in milliseconds.
    pub jitter_ms: Option<f64>,
    /// Go back to what it is now after so many seconds.
    pub restore_after_s: Option<u32>,
}

/// The link between the clusters.
pub trait LinkSwitch: Send + Sync {
    /// Changes it; gives what holds then.
    fn change(&self, change: LinkChange) -> BoxFuture<'static, Result<LinkView, Problem>>;
}
