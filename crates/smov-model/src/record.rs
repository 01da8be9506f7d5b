//! Records: what a proxy did with one request, and why. The page's inspector, the labs and `smov explain --request` read them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::authorization::AuthorizationTaken;
use crate::dice::Purpose;
use crate::flag::Flags;
use crate::names::ClusterName;
use crate::route::{CorsDecision, Origin};
use crate::snapshot::SnapshotVersion;
use crate::tls::ConnectionSecurityPolicy;

/// Which side of the sidecar took the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// From the pod's own app, outward.
    Outbound,
    /// From a peer to the pod's app.
    Inbound,
    /// From outside the mesh, at a gateway.
    Ingress,
}

/// The full record of one request at one proxy. Kept in a ring of the last 1,000 in the proxy, fetched by request id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `x-request-id`.
    pub request_id: String,
    /// The proxy's pod.
    pub proxy: String,
    /// Which side.
    pub direction: Direction,
    /// Start, microseconds since 1970.
    pub started: u64,
    /// Method, Host as sent, path without query.
    pub method: String,
    /// Host as sent.
    pub authority: String,
    /// Path as matched, without query.
    pub path: String,
    /// The headers that the host's rules look at, each with the value that the request had; `None` = the request had no such header.
    #[serde(default)]
    pub headers: Vec<(String, Option<String>)>,
    /// The snapshot that the request kept.
    pub snapshot: SnapshotVersion,
    /// The virtual host; `None` = nobody knows the host.
    pub virtual_host: Option<String>,
    /// The rule that took it.
    pub rule: Option<RuleTaken>,
    /// Rules looked at before it, each with the first condition that failed.
    pub skipped: Vec<SkippedRule>,
    /// The draws, in order.
    pub draws: Vec<DrawTaken>,
    /// The cluster drawn.
    pub cluster: Option<ClusterName>,
    /// The attempts, in order.
    pub attempts: Vec<Attempt>,
    /// Clusters that got a copy.
    #[serde(default)]
    pub mirrors: Vec<ClusterName>,
    /// What the rule's CORS policy said; `None` = it has none, or the request never came to it.
    #[serde(default)]
    pub cors: Option<CorsDecision>,
    /// Delay that a fault injected, microseconds.
    pub injected_delay: u64,
    /// The peer of an inbound request, or the final answerer of an outbound one.
    pub peer: Option<Peer>,
    /// How the connection between the two proxies was secured: the downstream's of an inbound request, that of the last attempt of an outbound
    /// one.
    #[serde(default)]
    pub security: ConnectionSecurityPolicy,
    /// The identity that the other proxy has proved on that connection (`spiffe://…`); `None` = none was shown.
    #[serde(default)]
    pub peer_principal: Option<String>,
    /// What the AuthorizationPolicies said; `None` = there are none here. It is told to operators only, never to the client.
    #[serde(default)]
    pub authorization: Option<AuthorizationTaken>,
    /// Status given to the downstream; 0 = it went away first.
    pub status: u16,
    /// Why it ended so.
    pub flags: Flags,
    /// Until response headers, microseconds.
    pub duration: u64,
    /// Timings, microseconds from the start, in the order of the walk.
    pub phases: Vec<(Phase, u64)>,
    /// Was everything here seen, or are parts worked out?
    #[serde(default)]
    pub source: RecordSource,
}

/// How a record came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecordSource {
    /// The proxy wrote down what it did. The default.
    #[default]
    Recorded,
    /// From the access log of a data plane that keeps no records. Host, status, flags, endpoints and timings are what it logged; the rules
    /// skipped, the ranges of draws and an injected delay are worked out with the same functions from the configuration of that time. Where in
    /// its range a draw fell is not known.
    Computed,
}

/// The phases of the request walk; the same words as functions, spans and the page's waterfall (ARCHITECTURE.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Connection in.
    Accept,
    /// One snapshot for this request.
    Pin,
    /// Host and rule.
    Route,
    /// Dice to destination.
    Split,
    /// Injected delay and abort.
    Fault,
    /// Retries and timeouts.
    Attempt,
    /// A permit from the pool.
    Limit,
    /// An endpoint.
    Balance,
    /// A connection.
    Connect,
    /// Outcome to ejection, metrics, record.
    Observe,
    /// Inbound: who calls.
    Peer,
    /// Inbound: may it.
    Authorize,
    /// Inbound: to the app.
    Forward,
}

impl Phase {
    /// The outbound walk, in order.
    pub const OUTBOUND: [Self; 10] = [
        Self::Accept,
        Self::Pin,
        Self::Route,
        Self::Split,
        Self::Fault,
        Self::Attempt,
        Self::Limit,
        Self::Balance,
        Self::Connect,
        Self::Observe,
    ];
    /// The inbound walk, in order.
    pub const INBOUND: [Self; 5] = [Self::Accept, Self::Peer, Self::Authorize, Self::Forward, Self::Observe];

    /// The word of the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Pin => "pin",
            Self::Route => "route",
            Self::Split => "split",
            Self::Fault => "fault",
            Self::Attempt => "attempt",
            Self::Limit => "limit",
            Self::Balance => "balance",
            Self::Connect => "connect",
            Self::Observe => "observe",
            Self::Peer => "peer",
            Self::Authorize => "authorize",
            Self::Forward => "forward",
        }
    }
}

/// The rule that took a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTaken {
    /// Its place among the host's rules, from 0.
    pub index: usize,
    /// The match entry, from 0.
    pub entry: usize,
    /// Where it was written.
    pub origin: Origin,
}

/// A rule that did not take a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedRule {
    /// Its place among the host's rules, from 0.
    pub index: usize,
    /// Where it was written.
    pub origin: Origin,
    /// The first failed condition of each match entry.
    pub mismatches: Vec<crate::route::Mismatch>,
}

/// One roll of the dice and what it meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawTaken {
    /// What for.
    pub purpose: Purpose,
    /// Where the roll fell: 0 to `total - 1`; `None` where the data plane does not say.
    pub position: Option<u32>,
    /// Sum of the weights, or 1,000,000 for a percentage.
    pub total: u32,
    /// The range that it fell into.
    pub range: (u32, u32),
    /// What that range stands for: a subset's name, `delay`, `pass`.
    pub outcome: String,
}

/// One try at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The endpoint; `None` = none was healthy.
    pub endpoint: Option<SocketAddr>,
    /// Its pod.
    pub pod: Option<String>,
    /// Its Kubernetes cluster.
    pub kube_cluster: Option<String>,
    /// The answer's status; 0 = no answer.
    pub status: u16,
    /// Why the try failed.
    pub flags: Flags,
    /// Reason in Envoy's words, for people.
    pub reason: Option<String>,
    /// Start, microseconds from the request's start.
    pub started: u64,
    /// How long it took, microseconds.
    pub duration: u64,
    /// Endpoints passed over because they were ejected.
    pub ejected: Vec<SocketAddr>,
    /// The priority that the endpoint belongs to.
    #[serde(default)]
    pub priority: u32,
    /// The hash of the request's keys that led to the endpoint, 16 hexadecimal digits; `None` = it was chosen without.
    #[serde(default)]
    pub hash: Option<String>,
}

/// Who was on the other side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The pod; `unknown` when nothing tells.
    pub pod: String,
    /// The workload.
    pub workload: String,
    /// Its Kubernetes cluster.
    pub kube_cluster: String,
}

/// One line of a record: what goes up to the control plane for the page, sampled when there is too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// `x-request-id`.
    pub request_id: String,
    /// The proxy's pod.
    pub proxy: String,
    /// The proxy's workload.
    pub workload: String,
    /// Which side.
    pub direction: Direction,
    /// Start, microseconds since 1970.
    pub started: u64,
    /// The service asked for, short name (`user-service`).
    pub service: String,
    /// The rule (`user-service-vs spec.http[1]`); empty for none.
    pub rule: String,
    /// The subset drawn; empty for none.
    pub subset: String,
    /// The pod that answered; empty when none did.
    pub pod: String,
    /// The Kubernetes cluster that answered; empty when none did.
    pub kube_cluster: String,
    /// Status.
    pub status: u16,
    /// Flags as printed.
    pub flags: String,
    /// Tries.
    pub attempts: u32,
    /// Injected delay, microseconds.
    pub injected_delay: u64,
    /// Until response headers, microseconds.
    pub duration: u64,
}

/// A counter of one edge of the picture, cumulative since the proxy's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeCount {
    /// The caller's workload; the proxy's own for outbound.
    pub source: String,
    /// The caller's Kubernetes cluster.
    pub source_cluster: String,
    /// Service asked for, short name.
    pub service: String,
    /// The answering Kubernetes cluster; empty when no pod answered.
    pub kube_cluster: String,
    /// `http` or `tcp`.
    pub protocol: String,
    /// Requests (HTTP) or connections (TCP).
    pub requests: u64,
    /// Of these, failed: 5xx or no answer.
    pub failures: u64,
    /// Bytes sent and received together (TCP).
    pub bytes: u64,
    /// Of the requests, those over mutual TLS.
    #[serde(default)]
    pub mutual_tls: u64,
}

/// Upper bounds of the buckets in which durations are counted, milliseconds: Envoy's default ones.
pub const DURATION_BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// A connection that a proxy did not serve: its client saw it closed, and no word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedConnection {
    /// When, microseconds since 1970.
    pub at: u64,
    /// The proxy's pod.
    pub proxy: String,
    /// Where it came from.
    pub remote: SocketAddr,
    /// The pod's port that it came to.
    pub port: u16,
    /// The name that its TLS asked for.
    pub server_name: Option<String>,
    /// Why, in Envoy's words where it has some.
    pub reason: String,
}
