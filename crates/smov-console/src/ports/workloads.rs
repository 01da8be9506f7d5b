//! Pods and Deployments: what they use, what they write, and what may be done to them.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// An object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// `ctx1`.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What is done to a pod or a Deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Deletes the pod; its owner makes another one.
    Delete {
        /// Seconds for an orderly end; `None` = as the pod says.
        grace: Option<u32>,
    },
    /// Ends the process of a container at once, as a crash does.
    Kill {
        /// The container.
        container: String,
    },
    /// Replaces all pods of a Deployment one after the other.
    Restart,
    /// Wants so many pods of a Deployment.
    Scale {
        /// How many.
        replicas: u32,
        /// Go back to the present number after so many seconds.
        restore_after_s: Option<u32>,
    },
}

/// What an action came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// When a scaled Deployment goes back, Unix microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_at: Option<u64>,
}

/// Which part of a container's output is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LogQuery {
    /// The container; `None` = the pod's default one.
    pub container: Option<String>,
    /// Only so many lines from the end.
    pub tail: Option<u32>,
    /// `1`: go on with what is written later.
    pub follow: Option<u8>,
    /// `1`: the output of the run before the present one.
    pub previous: Option<u8>,
}

/// A container's output, piece by piece.
pub type LogStream = BoxStream<'static, Result<Bytes, String>>;

/// What the pods of all clusters use now.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UsageView {
    /// One per cluster: was it measured, and if not, why.
    pub clusters: Vec<UsageOfCluster>,
    /// One per running pod.
    pub pods: Vec<UsageOfPod>,
    /// One per node.
    pub nodes: Vec<UsageOfNode>,
}

/// Was a cluster measured?
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageOfCluster {
    /// `ctx1`.
    pub name: String,
    /// Did its metrics API answer?
    pub measured: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a pod uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageOfPod {
    /// `ctx1`.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Processors in thousandths of one.
    pub cpu_millicores: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The same by container.
    pub containers: Vec<UsageOfContainer>,
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageOfContainer {
    /// Name.
    pub name: String,
    /// Processors in thousandths of one.
    pub cpu_millicores: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// What a node uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageOfNode {
    /// `ctx1`.
    pub cluster: String,
    /// Name.
    pub name: String,
    /// Processors in thousandths of one.
    pub cpu_millicores: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// What this console may do in a namespace of a cluster; `None` = the API server did not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// `ctx1`.
    pub cluster: String,
    /// Namespace.
    pub namespace: String,
    /// Delete pods.
    pub delete: Option<bool>,
    /// Kill containers; `false` also where the API server has no such call.
    pub kill: Option<bool>,
    /// Restart and scale Deployments.
    pub change: Option<bool>,
    /// Read what containers write.
    pub logs: Option<bool>,
}

/// The clusters' pods and Deployments.
pub trait Workloads: Send + Sync {
    /// What they use.
    fn usage(&self) -> BoxFuture<'static, UsageView>;
    /// What may be done, by cluster and namespace.
    fn abilities(&self, namespaces: Vec<String>) -> BoxFuture<'static, Vec<Ability>>;
    /// Does it.
    fn act(&self, target: ObjectRef, action: Action) -> BoxFuture<'static, Result<Done, Problem>>;
    /// Opens a container's output.
    fn logs(&self, pod: ObjectRef, query: LogQuery) -> BoxFuture<'static, Result<LogStream, Problem>>;
}
