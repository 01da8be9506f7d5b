//! What goes up to the control plane: edges of the picture, and a sample of rows.

use std::collections::BTreeMap;

use smov_model::record::{EdgeCount, Row};

use super::metrics::{Key, Metrics, Reporter};
use super::trace::{Trace, short};
use crate::names::{Names, PeerId, PeerLabels};

/// Cumulative edges. A call is reported once, by the caller's proxy; the callee's reports only callers that the mesh does not know.
pub(crate) fn edges(metrics: &Metrics, names: &Names, own: &PeerLabels) -> Vec<EdgeCount> {
    let mut edges: BTreeMap<[String; 5], [u64; 3]> = BTreeMap::new();
    let mut add = |key: &Key, protocol: &str, requests: u64, failed: bool, bytes: u64| {
        let peer = names.peer_labels(key.peer);
        let (source, answerer) = match key.reporter {
            Reporter::Source if key.peer == PeerId::UNKNOWN => (own, String::new()),
            Reporter::Source => (own, peer.cluster.clone()),
            Reporter::Destination if key.peer == PeerId::UNKNOWN => (&**peer, own.cluster.clone()),
            Reporter::Destination => return,
        };
        let service = short(names.service_name(key.service)).to_owned();
        let edge = edges.entry([source.workload.clone(), source.cluster.clone(), service, answerer, protocol.to_owned()]).or_default();
        edge[0] += requests;
        edge[1] += if failed { requests } else { 0 };
        edge[2] += bytes;
    };
    for (key, series) in &metrics.http {
        add(key, "http", series.requests, key.status == 0 || key.status >= 500, 0);
    }
    for (key, series) in &metrics.tcp {
        add(key, "tcp", series.opened, !key.flags.is_empty(), series.sent + series.received);
    }
    let edge = |([source, source_cluster, service, kube_cluster, protocol], [requests, failures, bytes]): ([String; 5], [u64; 3])| {
        EdgeCount { source, source_cluster, service, kube_cluster, protocol, requests, failures, bytes }
    };
    edges.into_iter().map(edge).collect()
}

/// A trace as a row of this proxy.
pub(crate) fn row(trace: &Trace, names: &Names, pod: &str, own: &PeerLabels) -> Row {
    trace.row(pod, &own.workload, names.service_name(trace.service))
}
