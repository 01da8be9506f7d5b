//! Small numbers for names that outlive a snapshot: cluster slots, services and peers in metrics. Only the compiler of snapshots writes
//! here; the request path carries the numbers.

use std::collections::HashMap;
use std::sync::Arc;

use smov_model::names::ClusterName;
use smov_model::tls::{DEFAULT_TRUST_DOMAIN, SpiffeId};
use smov_model::workload::Workload;

/// A service in metrics; 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServiceId(pub(crate) u16);

impl ServiceId {
    pub(crate) const UNKNOWN: Self = Self(0);
    /// Requests to hosts that nobody knows, forwarded by name.
    pub(crate) const PASSTHROUGH: Self = Self(1);
    /// The same, refused.
    pub(crate) const BLACK_HOLE: Self = Self(2);
    /// Whatever came after the cap on series.
    pub(crate) const OVERFLOW: Self = Self(u16::MAX);
}

/// A peer's workload in metrics (not its pod, which would have no bound); 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerId(pub(crate) u16);

impl PeerId {
    pub(crate) const UNKNOWN: Self = Self(0);
}

/// What metrics say about a workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PeerLabels {
    pub(crate) workload: String,
    pub(crate) namespace: String,
    pub(crate) principal: String,
    pub(crate) app: String,
    pub(crate) version: String,
    pub(crate) canonical_service: String,
    pub(crate) canonical_revision: String,
    pub(crate) cluster: String,
}

impl PeerLabels {
    /// Of somebody whom the mesh does not know.
    pub(crate) fn unknown() -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            workload: unknown(),
            namespace: unknown(),
            principal: unknown(),
            app: unknown(),
            version: unknown(),
            canonical_service: unknown(),
            canonical_revision: "latest".to_owned(),
            cluster: unknown(),
        }
    }

    /// Of a workload, with the principal that mutual TLS would prove.
    pub(crate) fn of(workload: &Workload, trust_domain: &str) -> Self {
        Self {
            workload: workload.name.clone(),
            namespace: workload.namespace.to_string(),
            principal: SpiffeId::of(trust_domain, workload).to_string(),
            app: workload.app().to_owned(),
            version: workload.version().to_owned(),
            canonical_service: workload.canonical_service().to_owned(),
            canonical_revision: workload.canonical_revision().to_owned(),
            cluster: workload.cluster.to_string(),
        }
    }
}

/// The names given so far. Numbers are never used again for another name; when they run out, the rest is unknown.
#[derive(Debug)]
pub(crate) struct Names {
    slots: HashMap<ClusterName, usize>,
    services: HashMap<String, u16>,
    service_names: Vec<String>,
    peers: HashMap<PeerLabels, u16>,
    peer_labels: Vec<Arc<PeerLabels>>,
    /// The latest snapshot's.
    pub(crate) trust_domain: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        let unknown = PeerLabels::unknown();
        let fixed = ["unknown", "PassthroughCluster", "BlackHoleCluster"];
        Self {
            slots: HashMap::new(),
            services: fixed.iter().zip(0..).map(|(name, id)| ((*name).to_owned(), id)).collect(),
            service_names: fixed.map(str::to_owned).to_vec(),
            peers: HashMap::from([(unknown.clone(), 0)]),
            peer_labels: vec![Arc::new(unknown)],
            trust_domain: DEFAULT_TRUST_DOMAIN.into(),
        }
    }
}

impl Names {
    /// The cluster's place in every compiled snapshot.
    pub(crate) fn slot(&mut self, name: &ClusterName) -> usize {
        let next = self.slots.len();
        *self.slots.entry(name.clone()).or_insert(next)
    }

    pub(crate) fn service(&mut self, name: &str) -> ServiceId {
        if let Some(id) = self.services.get(name) {
            return ServiceId(*id);
        }
        let Some(id) = u16::try_from(self.service_names.len()).ok().filter(|id| *id < ServiceId::OVERFLOW.0) else {
            return ServiceId::UNKNOWN;
        };
        self.services.insert(name.to_owned(), id);
        self.service_names.push(name.to_owned());
        ServiceId(id)
    }

    pub(crate) fn peer(&mut self, workload: &Workload) -> PeerId {
        self.labelled(PeerLabels::of(workload, &self.trust_domain))
    }

    /// A workload that has proved to be this principal.
    pub(crate) fn peer_shown(&mut self, workload: &Workload, principal: &str) -> PeerId {
        self.labelled(PeerLabels { principal: principal.to_owned(), ..PeerLabels::of(workload, &self.trust_domain) })
    }

    /// Somebody of whom the principal is all that is known.
    pub(crate) fn stranger(&mut self, principal: &str) -> PeerId {
        self.labelled(PeerLabels { principal: principal.to_owned(), ..PeerLabels::unknown() })
    }

    fn labelled(&mut self, labels: PeerLabels) -> PeerId {
        if let Some(id) = self.peers.get(&labels) {
            return PeerId(*id);
        }
        let Ok(id) = u16::try_from(self.peer_labels.len()) else { return PeerId::UNKNOWN };
        self.peers.insert(labels.clone(), id);
        self.peer_labels.push(Arc::new(labels));
        PeerId(id)
    }

    pub(crate) fn service_name(&self, id: ServiceId) -> &str {
        self.service_names.get(usize::from(id.0)).map_or("overflow", String::as_str)
    }

    pub(crate) fn peer_labels(&self, id: PeerId) -> &Arc<PeerLabels> {
        &self.peer_labels[usize::from(id.0)]
    }
}
