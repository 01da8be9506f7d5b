//! Counters of what another data plane served: the same series, page and edges as our own, from what its log says.

use std::sync::Arc;

use smov_model::flag::Flags;
use smov_model::record::{Direction, EdgeCount};
use smov_model::workload::Workload;

use super::metrics::{Key, Metrics, NOT_GRPC, Reporter};
use super::prometheus::Scrape;
use super::report;
use crate::names::{Names, PeerId, PeerLabels};

/// Counters by service, peer, status and flags.
#[derive(Debug, Default)]
pub struct Counters {
    metrics: Metrics,
    names: Names,
}

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct ServedRequest<'a> {
    /// Which side took it.
    pub direction: Direction,
    /// The caller of an inbound request, the answerer of others; `None` = unknown.
    pub peer: Option<&'a Workload>,
    /// The service asked for, in full; `PassthroughCluster` and `BlackHoleCluster` for hosts that nobody knows.
    pub service: &'a str,
    /// The downstream's status; 0 = it went away.
    pub status: u16,
    /// Why it ended so.
    pub flags: Flags,
    /// Have both sides shown certificates of the mesh?
    pub mutual_tls: bool,
    /// Until the end of the answer.
    pub milliseconds: f64,
    /// Head and body on the wire.
    pub request_bytes: u64,
    /// Head and body on the wire.
    pub response_bytes: u64,
}

/// An opaque connection that is over.
#[derive(Debug, Clone, Copy)]
pub struct ServedConnection<'a> {
    /// Which side took it.
    pub direction: Direction,
    /// The caller of an inbound connection, the endpoint of others; `None` = unknown.
    pub peer: Option<&'a Workload>,
    /// The service asked for, in full.
    pub service: &'a str,
    /// Why it failed, if it did.
    pub flags: Flags,
    /// Have both sides shown certificates of the mesh?
    pub mutual_tls: bool,
    /// Bytes from the destination to the source, in Istio's words.
    pub sent: u64,
    /// Bytes from the source to the destination.
    pub received: u64,
}

impl Counters {
    /// The trust domain that principals are of.
    pub fn trust(&mut self, trust_domain: &Arc<str>) {
        self.names.trust_domain.clone_from(trust_domain);
    }

    fn key(
        &mut self,
        direction: Direction,
        peer: Option<&Workload>,
        service: &str,
        (status, flags, mutual_tls): (u16, Flags, bool),
    ) -> Key {
        let peer = peer.map_or(PeerId::UNKNOWN, |peer| self.names.peer(peer));
        Key { reporter: Reporter::of(direction), peer, service: self.names.service(service), status, flags, grpc: NOT_GRPC, mutual_tls }
    }

    /// Counts a request.
    pub fn request(&mut self, served: ServedRequest<'_>) {
        let key = self.key(served.direction, served.peer, served.service, (served.status, served.flags, served.mutual_tls));
        self.metrics.http(key, served.milliseconds, served.request_bytes, served.response_bytes);
    }

    /// Counts a connection, from its beginning to its end.
    pub fn connection(&mut self, served: ServedConnection<'_>) {
        let key = self.key(served.direction, served.peer, served.service, (0, served.flags, served.mutual_tls));
        let series = self.metrics.tcp(key);
        series.opened += 1;
        series.closed += 1;
        series.sent += served.sent;
        series.received += served.received;
    }

    /// Istio's standard metrics in Prometheus' text format; `own` is the proxy's workload.
    pub fn scrape(&self, own: Option<&Workload>) -> String {
        Scrape { metrics: &self.metrics, names: &self.names, own: &self.labels(own), view: None, tls: None, spans_dropped: None }.render()
    }

    /// Cumulative edges of the picture.
    pub fn edges(&self, own: Option<&Workload>) -> Vec<EdgeCount> {
        let mut tally = report::Tally::default();
        tally.add(&self.metrics);
        report::edges(&tally, &self.names, &self.labels(own))
    }

    fn labels(&self, own: Option<&Workload>) -> PeerLabels {
        own.map_or_else(PeerLabels::unknown, |own| PeerLabels::of(own, &self.names.trust_domain))
    }
}
