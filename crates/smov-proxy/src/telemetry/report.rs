//! What goes up to the control plane: edges of the picture, and a sample of rows.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use smov_model::flag::Flags;
use smov_model::record::{EdgeCount, Row};

use super::metrics::{Key, Metrics, Mix, NOT_GRPC, Reporter};
use super::trace::{Trace, short};
use crate::names::{Names, PeerId, PeerLabels};

/// Requests, failures, bytes and requests over mutual TLS by what tells edges apart: numbers only, no histogram and no text, because this is asked ten times a second.
#[derive(Debug, Default)]
pub(crate) struct Tally(HashMap<(Key, &'static str), [u64; 4], BuildHasherDefault<Mix>>);

impl Tally {
    /// Adds what one worker counted.
    pub(crate) fn add(&mut self, metrics: &Metrics) {
        let secured = |key: &Key, count| if key.mutual_tls { count } else { 0 };
        let mut add = |key: &Key, protocol, numbers: [u64; 4]| {
            let edge =
                self.0.entry((Key { status: 0, flags: Flags::NONE, grpc: NOT_GRPC, mutual_tls: false, ..*key }, protocol)).or_default();
            edge.iter_mut().zip(numbers).for_each(|(sum, more)| *sum += more);
        };
        for (key, series) in &metrics.http {
            let failed = key.status == 0 || key.status >= 500;
            add(key, "http", [series.requests, if failed { series.requests } else { 0 }, 0, secured(key, series.requests)]);
        }
        for (key, series) in &metrics.tcp {
            let failed = !key.flags.is_empty();
            add(
                key,
                "tcp",
                [series.opened, if failed { series.opened } else { 0 }, series.sent + series.received, secured(key, series.opened)],
            );
        }
    }
}

/// Cumulative edges. A call is reported once, by the caller's proxy; the callee's reports only callers that the mesh does not know.
pub(crate) fn edges(tally: &Tally, names: &Names, own: &PeerLabels) -> Vec<EdgeCount> {
    let mut edges: BTreeMap<[&str; 5], [u64; 4]> = BTreeMap::new();
    for ((key, protocol), numbers) in &tally.0 {
        let peer = names.peer_labels(key.peer);
        let (source, answerer) = match key.reporter {
            Reporter::Source if key.peer == PeerId::UNKNOWN => (own, ""),
            Reporter::Source => (own, peer.cluster.as_str()),
            Reporter::Destination if key.peer == PeerId::UNKNOWN => (&**peer, own.cluster.as_str()),
            Reporter::Destination => continue,
        };
        let service = short(names.service_name(key.service));
        let edge = edges.entry([&source.workload, &source.cluster, service, answerer, protocol]).or_default();
        edge.iter_mut().zip(numbers).for_each(|(sum, more)| *sum += more);
    }
    let edge = |(words, [requests, failures, bytes, mutual_tls]): ([&str; 5], [u64; 4])| {
        let [source, source_cluster, service, kube_cluster, protocol] = words.map(str::to_owned);
        EdgeCount { source, source_cluster, service, kube_cluster, protocol, requests, failures, bytes, mutual_tls }
    };
    edges.into_iter().map(edge).collect()
}

/// A trace as a row of this proxy.
pub(crate) fn row(trace: &Trace, names: &Names, pod: &str, own: &PeerLabels) -> Row {
    trace.row(pod, &own.workload, names.service_name(trace.service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ServiceId;

    #[test]
    fn series_of_one_edge_are_one_number() {
        let mut metrics = Metrics::default();
        for (status, peer) in [(200, 0), (503, 0), (404, 0)] {
            metrics.count(&Trace { status, peer: PeerId(peer), service: ServiceId::PASSTHROUGH, ..Trace::default() });
        }
        metrics
            .tcp(Key {
                reporter: Reporter::Source,
                peer: PeerId(0),
                service: ServiceId::PASSTHROUGH,
                status: 0,
                flags: Flags::NONE,
                grpc: NOT_GRPC,
                mutual_tls: false,
            })
            .sent = 7;
        let mut tally = Tally::default();
        // Two workers that counted alike.
        tally.add(&metrics);
        tally.add(&metrics);
        let edges = edges(&tally, &Names::default(), &PeerLabels::unknown());
        let numbers: Vec<_> = edges.iter().map(|edge| (edge.protocol.as_str(), edge.requests, edge.failures, edge.bytes)).collect();
        assert_eq!(numbers, [("http", 6, 2, 0), ("tcp", 0, 0, 14)]);
    }
}
