//! Clusters at run time: what lasts while snapshots come and go (active requests, connections, ejections), and what one snapshot says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smov_model::balance::{Candidate, Candidates};
use smov_model::cluster::{Cluster, ConnectionLimits, LoadBalancer, OutlierDetection};
use smov_model::names::ClusterName;
use smov_model::outlier::{Outcome, OutlierDetector};
use smov_model::workload::Workload;
use tracing::warn;

use crate::names::{Names, PeerId};

/// One endpoint of one cluster, as long as the cluster has it.
#[derive(Debug)]
pub(crate) struct EndpointState {
    /// Unique in the process: the pool's key.
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) workload: Arc<Workload>,
    pub(crate) peer: PeerId,
    pub(crate) active: AtomicU32,
    ejected: AtomicBool,
    /// Has it failed since its last success? Lets a success pass without the detector's lock.
    suspect: AtomicBool,
}

impl EndpointState {
    pub(crate) fn new(address: SocketAddr, workload: Arc<Workload>, peer: PeerId) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            address,
            workload,
            peer,
            active: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }
}

/// What a cluster keeps across snapshots. Counts are shared by all workers, as Envoy's circuit breakers are.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) name: ClusterName,
    /// `outbound|8081|ctx1|user-service…`, for logs and metrics.
    pub(crate) text: String,
    pub(crate) requests: AtomicU32,
    pub(crate) pending: AtomicU32,
    pub(crate) connections: AtomicU32,
    pub(crate) retries: AtomicU32,
    turn: AtomicU64,
    ejected: AtomicU32,
    /// Guards the ejection memory; taken for a failure, for the first success after one, and while somebody is ejected.
    detector: Mutex<OutlierDetector<u64>>,
    pub(crate) counters: ClusterCounters,
}

/// Envoy's `envoy_cluster_upstream_*`, the basic ones.
#[derive(Debug, Default)]
pub(crate) struct ClusterCounters {
    pub(crate) requests: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) connect_failures: AtomicU64,
    pub(crate) ejections: AtomicU64,
}

/// One cluster as one snapshot has it.
#[derive(Debug)]
pub(crate) struct ClusterView {
    pub(crate) state: Arc<ClusterState>,
    pub(crate) endpoints: Vec<Arc<EndpointState>>,
    pub(crate) balancer: LoadBalancer,
    pub(crate) limits: ConnectionLimits,
    pub(crate) outlier: Option<OutlierDetection>,
    weights: Option<Vec<u32>>,
    /// What it was compiled from, to see whether the next snapshot changes it.
    source: Cluster,
}

impl ClusterView {
    /// Compiles a cluster; state is carried over from `before`.
    pub(crate) fn compile(cluster: &Cluster, before: Option<&Arc<Self>>, names: &mut Names) -> Arc<Self> {
        if let Some(same) = before.filter(|before| before.source == *cluster) {
            return same.clone();
        }
        let state = before.map_or_else(|| Arc::new(ClusterState::new(&cluster.name)), |before| before.state.clone());
        let known: HashMap<SocketAddr, &Arc<EndpointState>> =
            before.into_iter().flat_map(|before| &before.endpoints).map(|endpoint| (endpoint.address, endpoint)).collect();
        let endpoints: Vec<Arc<EndpointState>> = cluster
            .endpoints
            .iter()
            .map(|endpoint| match known.get(&endpoint.address) {
                Some(known) if known.workload == endpoint.workload => Arc::clone(known),
                _ => Arc::new(EndpointState::new(endpoint.address, endpoint.workload.clone(), names.peer(&endpoint.workload))),
            })
            .collect();
        state.keep(&endpoints, cluster.outlier.is_some());
        let even = cluster.endpoints.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        Arc::new(Self {
            state,
            endpoints,
            balancer: cluster.load_balancer,
            limits: cluster.limits.clone(),
            outlier: cluster.outlier.clone(),
            weights: (!even).then(|| cluster.endpoints.iter().map(|endpoint| endpoint.weight).collect()),
            source: cluster.clone(),
        })
    }

    /// The endpoint at this index as the balancer sees it.
    pub(crate) fn candidate(&self, index: usize) -> Candidate {
        let weight = self.weights.as_ref().map_or(1, |weights| weights[index]);
        Candidate { weight, active: self.endpoints[index].active.load(Relaxed) }
    }

    /// Brings endpoints back whose time is over. Only looks closer while somebody is ejected.
    pub(crate) fn advance(&self, now: Duration) {
        let (Some(policy), true) = (&self.outlier, self.state.ejected.load(Relaxed) > 0) else { return };
        let mut detector = self.state.lock();
        let returned = detector.advance(policy, now);
        self.state.ejected.store(detector.ejected() as u32, Relaxed);
        drop(detector);
        for endpoint in self.endpoints.iter().filter(|endpoint| returned.contains(&endpoint.id)) {
            endpoint.ejected.store(false, Relaxed);
            tracing::info!(cluster = %self.state.text, pod = %endpoint.workload.pod, "endpoint is back");
        }
    }

    /// Counts the outcome of one try at an endpoint; ejects it if that was one failure too many.
    pub(crate) fn record(&self, endpoint: &EndpointState, outcome: Outcome, now: Duration) {
        let Some(policy) = &self.outlier else { return };
        match outcome {
            Outcome::Success if !endpoint.suspect.load(Relaxed) => return,
            Outcome::Success => endpoint.suspect.store(false, Relaxed),
            Outcome::ServerError | Outcome::GatewayError => endpoint.suspect.store(true, Relaxed),
        }
        let mut detector = self.state.lock();
        // Due ticks first, so that forgiveness comes in order.
        detector
            .advance(policy, now)
            .iter()
            .filter_map(|id| self.endpoints.iter().find(|endpoint| endpoint.id == *id))
            .for_each(|returned| returned.ejected.store(false, Relaxed));
        if let Some(reason) = detector.record(&endpoint.id, outcome, policy, now) {
            endpoint.ejected.store(true, Relaxed);
            self.state.counters.ejections.fetch_add(1, Relaxed);
            warn!(cluster = %self.state.text, pod = %endpoint.workload.pod, ?reason, "endpoint ejected");
        }
        self.state.ejected.store(detector.ejected() as u32, Relaxed);
    }
}

/// All endpoints of the view.
impl Candidates for ClusterView {
    fn count(&self) -> usize {
        self.endpoints.len()
    }
    fn candidate(&self, index: usize) -> Candidate {
        Self::candidate(self, index)
    }
    fn evenly_weighted(&self) -> bool {
        self.weights.is_none()
    }
}

impl ClusterState {
    fn new(name: &ClusterName) -> Self {
        Self {
            name: name.clone(),
            text: name.to_string(),
            requests: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            turn: AtomicU64::new(0),
            ejected: AtomicU32::new(0),
            detector: Mutex::default(),
            counters: ClusterCounters::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OutlierDetector<u64>> {
        self.detector.lock().expect("no panic while the detector is held")
    }

    fn keep(&self, endpoints: &[Arc<EndpointState>], detects: bool) {
        let mut detector = self.lock();
        detector.keep(endpoints.iter().map(|endpoint| endpoint.id));
        if !detects {
            detector.clear();
            endpoints.iter().for_each(|endpoint| endpoint.ejected.store(false, Relaxed));
        }
        self.ejected.store(detector.ejected() as u32, Relaxed);
    }

    /// Endpoints ejected now.
    pub(crate) fn ejected(&self) -> u32 {
        self.ejected.load(Relaxed)
    }

    /// The next turn of round robin.
    pub(crate) fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Relaxed)
    }
}
