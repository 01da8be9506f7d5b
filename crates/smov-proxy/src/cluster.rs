//! Clusters at run time: what lasts while snapshots come and go (active requests, connections, ejections), and what one snapshot says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use smov_model::balance::Candidate;
use smov_model::cluster::{Cluster, ConnectionLimits, Endpoint, LoadBalancer, OutlierDetection};
use smov_model::names::ClusterName;
use smov_model::workload::Workload;

use crate::names::{Names, PeerId};
use crate::tls::connect::{Calling, Security};
use crate::tls::refused::Failures;

mod dialled;
mod health;
pub(crate) mod picture;

use dialled::Dialled;
use health::Memory;
use picture::Picture;

/// One endpoint of one cluster, as long as the cluster has it.
#[derive(Debug)]
pub(crate) struct EndpointState {
    /// Unique in the process.
    pub(crate) id: u64,
    /// The pool's key: another one when the way to the endpoint changes, so that no connection of the old way is used again.
    pub(crate) way: u64,
    pub(crate) address: SocketAddr,
    /// Where connections are opened; the address itself, unless a relay stands before it.
    pub(crate) dial: SocketAddr,
    /// It takes the mesh's mutual TLS.
    pub(crate) mutual_tls: bool,
    /// How TLS towards it is set up, made at its first connection.
    pub(crate) calling: ArcSwapOption<Calling>,
    pub(crate) workload: Arc<Workload>,
    pub(crate) peer: PeerId,
    pub(crate) active: AtomicU32,
    /// What outlier detection says.
    ejected: AtomicBool,
    /// What the balancer was told of it: up to a second later, as in Envoy.
    passed_over: AtomicBool,
    /// Has it failed since its last success? Lets a success pass without the memory's lock.
    suspect: AtomicBool,
}

impl EndpointState {
    /// An endpoint at an address that nobody described.
    pub(crate) fn new(address: SocketAddr, workload: Arc<Workload>, peer: PeerId) -> Self {
        let id = next_number();
        Self {
            id,
            way: id,
            address,
            dial: address,
            mutual_tls: false,
            calling: ArcSwapOption::empty(),
            workload,
            peer,
            active: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            passed_over: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
        }
    }

    fn of(endpoint: &Endpoint, names: &mut Names) -> Self {
        let new = Self::new(endpoint.address, endpoint.workload.clone(), names.peer(&endpoint.workload));
        Self { dial: endpoint.dial(), mutual_tls: endpoint.mutual_tls, ..new }
    }

    /// The same endpoint, reached in another way: its health stays, its connections do not.
    fn by_another_way(&self, endpoint: &Endpoint) -> Self {
        let copy = |flag: &AtomicBool| AtomicBool::new(flag.load(Relaxed));
        Self {
            id: self.id,
            way: next_number(),
            address: self.address,
            dial: endpoint.dial(),
            mutual_tls: endpoint.mutual_tls,
            calling: ArcSwapOption::empty(),
            workload: self.workload.clone(),
            peer: self.peer,
            active: AtomicU32::new(0),
            ejected: copy(&self.ejected),
            passed_over: copy(&self.passed_over),
            suspect: copy(&self.suspect),
        }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// Does the balancer leave it out?
    pub(crate) fn is_passed_over(&self) -> bool {
        self.passed_over.load(Relaxed)
    }
}

/// Numbers for endpoints and ways.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// What a cluster keeps across snapshots. Counts are shared by all workers, as Envoy's circuit breakers are.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) name: ClusterName,
    /// `outbound|8081|ctx1|user-service…`, for logs and metrics.
    pub(crate) text: String,
    /// Its place in every compiled snapshot.
    pub(crate) slot: usize,
    pub(crate) requests: AtomicU32,
    pub(crate) pending: AtomicU32,
    pub(crate) connections: AtomicU32,
    pub(crate) retries: AtomicU32,
    ejected: AtomicU32,
    /// Counts what the balancer is told: a picture of another count is out of date.
    generation: AtomicU64,
    /// When there is something to look at next, in microseconds of the proxy's age; `u64::MAX` = nothing.
    wake_at: AtomicU64,
    /// Guards the ejection memory; taken for a failure, for the first success after one, and when something is due.
    memory: Mutex<Memory>,
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
    /// Answers, and the same by the class of their status, 1xx to 5xx.
    pub(crate) completed: AtomicU64,
    pub(crate) classes: [AtomicU64; 5],
    pub(crate) timeouts: AtomicU64,
    pub(crate) per_try_timeouts: AtomicU64,
    pub(crate) retry_overflows: AtomicU64,
    pub(crate) retries_used_up: AtomicU64,
    pub(crate) tls_handshakes: AtomicU64,
    pub(crate) tls_resumed: AtomicU64,
    pub(crate) tls_failures: Failures,
}

impl ClusterCounters {
    /// The cluster has answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        self.completed.fetch_add(1, Relaxed);
        if let Some(class) = usize::from(status / 100).checked_sub(1).and_then(|class| self.classes.get(class)) {
            class.fetch_add(1, Relaxed);
        }
    }
}

/// One cluster as one snapshot has it.
#[derive(Debug)]
pub(crate) struct ClusterView {
    pub(crate) state: Arc<ClusterState>,
    pub(crate) endpoints: Vec<Arc<EndpointState>>,
    /// Endpoints that clients dialled; shared with other views of the same TLS.
    pub(crate) dialled: Arc<Dialled>,
    pub(crate) balancer: LoadBalancer,
    pub(crate) limits: ConnectionLimits,
    pub(crate) outlier: Option<OutlierDetection>,
    /// How its connections are secured.
    pub(crate) security: Security,
    picture: ArcSwap<Picture>,
    /// What it was compiled from, to see whether the next snapshot changes it.
    pub(crate) source: Cluster,
}

impl ClusterView {
    /// Compiles a cluster; state is carried over from `before`. `now` is the proxy's age.
    pub(crate) fn compile(cluster: &Cluster, slot: usize, before: Option<&Arc<Self>>, names: &mut Names, now: Duration) -> Arc<Self> {
        if let Some(same) = before.filter(|before| before.source == *cluster) {
            return same.clone();
        }
        let state = before.map_or_else(|| Arc::new(ClusterState::new(&cluster.name, slot)), |before| before.state.clone());
        let same_tls = before.is_some_and(|before| before.source.tls == cluster.tls && before.source.protocol == cluster.protocol);
        let dialled = before.filter(|_| same_tls).map(|before| before.dialled.clone()).unwrap_or_default();
        let known: HashMap<SocketAddr, &Arc<EndpointState>> =
            before.into_iter().flat_map(|before| &before.endpoints).map(|endpoint| (endpoint.address, endpoint)).collect();
        let endpoints: Vec<Arc<EndpointState>> = cluster
            .endpoints
            .iter()
            .map(|endpoint| match known.get(&endpoint.address).filter(|known| known.workload == endpoint.workload) {
                Some(known) if same_tls && (known.dial, known.mutual_tls) == (endpoint.dial(), endpoint.mutual_tls) => Arc::clone(known),
                Some(known) => Arc::new(known.by_another_way(endpoint)),
                None => Arc::new(EndpointState::of(endpoint, names)),
            })
            .collect();
        let priorities = cluster.endpoints.iter().map(|endpoint| endpoint.priority);
        // As in Envoy, where another policy makes another cluster: ejections start over.
        let same_policy = before.is_some_and(|before| before.has_policy_of(cluster)) && cluster.outlier.is_some();
        state.keep(endpoints.iter().cloned().zip(priorities), cluster.outlier.as_ref(), same_policy, now);
        let picture = Picture::draw(cluster, &endpoints, state.generation());
        Arc::new(Self {
            state,
            endpoints,
            dialled,
            balancer: cluster.load_balancer,
            limits: cluster.limits.clone(),
            outlier: cluster.outlier.clone(),
            security: Security::compile(cluster),
            picture: ArcSwap::from_pointee(picture),
            source: cluster.clone(),
        })
    }

    /// Is everything but the endpoints as it is there?
    fn has_policy_of(&self, other: &Cluster) -> bool {
        let own = &self.source;
        (own.protocol, own.load_balancer) == (other.protocol, other.load_balancer)
            && (&own.limits, &own.outlier, &own.discovery, &own.tls) == (&other.limits, &other.outlier, &other.discovery, &other.tls)
    }

    /// Who may be picked now. `age` is only asked while somebody is ejected.
    pub(crate) fn picture(&self, age: impl FnOnce() -> Duration) -> Guard<Arc<Picture>> {
        if self.outlier.is_some() {
            self.state.settle_if_due(age);
        }
        let picture = self.picture.load();
        let generation = self.state.generation();
        if picture.generation == generation {
            return picture;
        }
        self.picture.store(Arc::new(Picture::draw(&self.source, &self.endpoints, generation)));
        self.picture.load()
    }

    /// The endpoint at this index as the balancer sees it.
    pub(crate) fn candidate(&self, index: u32) -> Candidate {
        let index = index as usize;
        Candidate { weight: self.source.endpoints[index].weight, active: self.endpoints[index].active.load(Relaxed) }
    }
}

impl ClusterState {
    fn new(name: &ClusterName, slot: usize) -> Self {
        Self {
            name: name.clone(),
            text: name.to_string(),
            slot,
            requests: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            ejected: AtomicU32::new(0),
            generation: AtomicU64::new(0),
            wake_at: AtomicU64::new(u64::MAX),
            memory: Mutex::default(),
            counters: ClusterCounters::default(),
        }
    }

    /// Endpoints ejected now.
    pub(crate) fn ejected(&self) -> u32 {
        self.ejected.load(Relaxed)
    }

    /// Who sees this count sees the health that it stands for, on whatever worker.
    fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    fn count_change(&self) {
        self.generation.fetch_add(1, Release);
    }
}
