//! What the debug API answers, as types: written by the control plane, read by [`crate::debug_client`].

use serde::{Deserialize, Serialize};
use smov_istio::diagnostic::{Diagnostic, Severity};
use smov_istio::explain::ClusterSecurity;
use smov_model::names::{KubeCluster, Namespace, ResourceRef};
use smov_model::record::{EdgeCount, Row};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_model::wire::ProxyRole;

/// `/debug/syncz`: who runs on what, and where it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Syncz {
    /// The control plane's own cluster.
    pub cluster: KubeCluster,
    /// Its start, as in [`SnapshotVersion::epoch`].
    pub epoch: u64,
    /// Has everything been read once, so that snapshots are published?
    pub synced: bool,
    /// The connected proxies, by pod.
    pub proxies: Vec<ProxyStatus>,
    /// The sources, by cluster and kind.
    pub sources: Vec<SourceStatus>,
}

/// One connected proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatus {
    /// Its pod.
    pub pod: String,
    /// The pod's namespace.
    pub namespace: Namespace,
    /// Sidecar or gateway.
    pub role: ProxyRole,
    /// Microseconds since 1970.
    pub connected_since: u64,
    /// What it ran on when it connected.
    pub had: Option<SnapshotVersion>,
    /// The last snapshot sent.
    pub sent: Option<SnapshotVersion>,
    /// The last one that it took into use.
    pub acked: Option<SnapshotVersion>,
    /// The last one that it refused, until it takes a later one.
    pub nack: Option<NackStatus>,
}

impl ProxyStatus {
    /// What the proxy refuses, as a finding about its pod.
    pub(crate) fn refusal(&self) -> Option<Diagnostic> {
        let nack = self.nack.as_ref()?;
        let resource = ResourceRef {
            kind: "Pod".to_owned(),
            namespace: self.namespace.to_string(),
            name: self.pod.clone(),
            resource_version: String::new(),
        };
        let (version, reason) = (nack.version.number, &nack.reason);
        Some(Diagnostic::new(
            "proxy-refused",
            Severity::Error,
            &resource,
            "",
            format!("the proxy refuses configuration {version} and stays on the last good one: {reason}"),
            format!("프록시가 {version}번 설정을 거부하고 마지막으로 정상이던 설정을 계속 씁니다: {reason}"),
        ))
    }
}

/// A snapshot that a proxy refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NackStatus {
    /// Which.
    pub version: SnapshotVersion,
    /// Why, in the proxy's words.
    pub reason: String,
}

/// One list-and-watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Which cluster.
    pub cluster: KubeCluster,
    /// Which kind.
    pub kind: String,
    /// Was it read at least once?
    pub synced: bool,
    /// Milliseconds since the API server last said anything about it (bookmarks count).
    pub last_event_age: Option<u64>,
    /// Why it cannot be read just now. What was read before is kept.
    pub error: Option<String>,
}

/// An edge with the pod whose proxy counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodEdge {
    /// The proxy's pod.
    pub pod: String,
    /// The counter; it starts again at 0 when the proxy does.
    #[serde(flatten)]
    pub edge: EdgeCount,
}

/// What the stream `/debug/rows` carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowEvent {
    /// The stream is open: rows from now on.
    Open,
    /// Rows of one report.
    Rows(Vec<Row>),
    /// So many requests have no row here: sampled by their proxy, or this reader was too slow.
    Dropped(u64),
    /// The stream broke; it is opened again.
    Lost(String),
}

/// `/debug/endpoint-gone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointGone {
    /// Do all connected proxies run on snapshots without that endpoint?
    pub gone: bool,
}

/// `/debug/distributed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distributed {
    /// Does every connected proxy run on this version of the resource, or on a later one?
    pub distributed: bool,
    /// The pods whose proxies do not yet; empty also while the control plane itself has not seen the version.
    pub behind: Vec<String>,
}

/// `/debug/what-if/{pod}`: what a proxy would get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIf {
    /// Its snapshot.
    pub snapshot: Snapshot,
    /// How its connections would be secured.
    pub security: Vec<ClusterSecurity>,
    /// What is wrong with the objects; one with an error is not taken, the live one stays.
    pub findings: Vec<Diagnostic>,
}

/// `/debug/endpoint-known`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointKnown {
    /// Do all connected proxies run on snapshots with that endpoint?
    pub known: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_finding_about_the_pod_in_both_languages() {
        let mut status = ProxyStatus {
            pod: "user-1".into(),
            namespace: "t".parse().unwrap(),
            role: ProxyRole::Sidecar,
            connected_since: 0,
            had: None,
            sent: None,
            acked: None,
            nack: None,
        };
        assert!(status.refusal().is_none());
        status.nack = Some(NackStatus { version: SnapshotVersion { epoch: 1, number: 7 }, reason: "missing ): (".into() });
        let found = status.refusal().unwrap();
        assert_eq!((found.code.as_ref(), found.severity, found.resource.name.as_str()), ("proxy-refused", Severity::Error, "user-1"));
        assert!(found.message.contains("7") && found.message.ends_with("missing ): (") && found.message_ko.contains("7번"));
    }
}
