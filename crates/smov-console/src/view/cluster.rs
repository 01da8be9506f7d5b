//! Pods, mesh and store: what the two clusters are doing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Can a cluster be seen?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sight {
    /// Its API server answered within the last 10 seconds.
    Ok,
    /// It did not: what is shown is old, and never green.
    Unknown,
}

/// One cluster's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodsView {
    /// Can it be seen?
    pub state: Sight,
    /// When its API server last answered, Unix microseconds.
    pub as_of: u64,
    /// Why it cannot be seen.
    pub error: Option<String>,
    /// Nodes.
    pub nodes: Vec<NodeView>,
    /// Deployments.
    pub deployments: Vec<DeploymentView>,
    /// Pods.
    pub pods: Vec<PodView>,
}

impl PodsView {
    /// A cluster that was never seen.
    pub fn never_seen() -> Self {
        Self { state: Sight::Unknown, as_of: 0, error: None, nodes: Vec::new(), deployments: Vec::new(), pods: Vec::new() }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// Its `Ready` condition.
    pub ready: bool,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Label `app`.
    pub app: String,
    /// `status.readyReplicas`.
    pub ready: u32,
    /// `spec.replicas`.
    pub wanted: u32,
    /// When it goes back to another number by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreView>,
}

/// A Deployment that was scaled for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreView {
    /// How many pods it goes back to.
    pub replicas: u32,
    /// When, Unix microseconds.
    pub at: u64,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: Option<String>,
    /// Node.
    pub node: Option<String>,
    /// `status.phase`.
    pub phase: String,
    /// As kubectl prints it: `2/2`.
    pub ready: String,
    /// As kubectl prints it: `Running`, `Terminating`, `CrashLoopBackOff`.
    pub status: String,
    /// Restarts of its containers together.
    pub restarts: u32,
    /// Start, Unix microseconds.
    pub started: Option<u64>,
    /// Address.
    pub ip: Option<String>,
    /// Its containers, in their order.
    #[serde(default)]
    pub containers: Vec<String>,
}

impl PodView {
    /// Are all its containers ready?
    pub fn all_ready(&self) -> bool {
        self.ready.split_once('/').is_some_and(|(ready, wanted)| ready == wanted && wanted != "0")
    }
}

/// The mesh: control planes, edges, and the gateway's own stream (operator door only).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MeshView {
    /// istiod by cluster; `None` = not known.
    pub istiod: BTreeMap<String, Option<IstiodView>>,
    /// Traffic between services; `None` = not known.
    pub edges: Option<Vec<EdgeView>>,
    /// The gateway app's stream, seen from the operator door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayView>,
    /// When this was measured, Unix microseconds.
    pub as_of: Option<u64>,
}

/// One istiod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IstiodView {
    /// Does it answer?
    pub connected: bool,
    /// Proxies connected to it.
    pub proxies: u32,
    /// Of these, with the newest snapshot.
    pub in_sync: u32,
    /// When this was measured, Unix microseconds.
    pub as_of: u64,
}

/// One edge of the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeView {
    /// The caller's workload.
    pub source: String,
    /// Its cluster.
    pub source_cluster: String,
    /// The service that was called.
    pub service: String,
    /// The cluster that answered.
    pub cluster: String,
    /// `http` or `tcp`.
    pub protocol: String,
    /// Requests (connections) a second.
    pub rps: f64,
    /// Of these, the share that failed, 0 to 1.
    pub failures: f64,
}

/// The gateway app's event stream, seen from the operator door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayView {
    /// Is it there?
    pub connected: bool,
    /// Since when, Unix microseconds.
    pub since: u64,
}

/// What the link between the clusters carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Everything.
    Up,
    /// Nothing, and connections stay open.
    Stalled,
    /// Nothing, and connections are refused.
    Cut,
    /// Not known: what should hold was refused.
    Unknown,
}

/// The link between the clusters as it is now, not as somebody wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkView {
    /// What it carries.
    pub state: LinkState,
    /// What a round trip takes longer, in milliseconds.
    pub latency_ms: f64,
    /// How far a round trip may be off, in milliseconds.
    pub jitter_ms: f64,
    /// Why the state is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it goes back to what it was, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_at: Option<u64>,
}

/// What kind of store the theatre has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// The `redis` pod of ctx2.
    Redis,
    /// Embedded; on no cluster's side.
    Sqlite,
    /// Not known (yet).
    Unknown,
}

/// The theatre's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// What kind.
    pub kind: StoreKind,
    /// Where it runs.
    pub cluster: Option<String>,
    /// Its pod.
    pub pod: Option<String>,
    /// Does it answer?
    pub ready: Option<bool>,
}

impl StoreView {
    /// Nothing known yet.
    pub fn unknown() -> Self {
        Self { kind: StoreKind::Unknown, cluster: None, pod: None, ready: None }
    }
}

/// A Kubernetes cluster and its cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudView {
    /// `ctx1`.
    pub id: String,
    /// `NaverCloud`.
    pub cloud: String,
}
