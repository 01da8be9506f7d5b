//! World to snapshot: what one proxy has to do, decided once, so that nothing is left to decide but the request.
//!
//! [`Prepared`] holds what is the same for all proxies; a snapshot adds what depends on the proxy's namespace, labels and role. The
//! result depends on the world alone, never on the order in which it came to be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use smov_model::cluster::Cluster;
use smov_model::names::{ClusterName, Hostname, ResourceRef};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_model::workload::Workload;

use crate::diagnostic::{Diagnostic, Severity};
use crate::world::{ObjectKey, ProxyIdentity, Role, World};

mod action;
mod authorization;
mod cluster_tls;
mod clusters;
mod delegates;
mod gateway;
mod hash;
mod inbound;
mod locality;
mod mutual_tls;
mod outbound;
mod policies;
mod route_policy;
mod rules;
mod service_entries;
mod services;
mod tcp;
mod telemetry;
mod tls_origin;
mod virtual_services;
mod workloads;

use authorization::AuthorizationPolicies;
use clusters::ClientKind;
pub(crate) use clusters::{label, outlier};
pub(crate) use mutual_tls::{Mode, PeerAuthentications, is_able};
pub(crate) use outbound::mesh_gateway;
pub(crate) use policies::{Policies, Policy};
pub(crate) use rules::{RuleScope, is_catch_all};
pub(crate) use services::{MeshPort, MeshService, Services};
pub(crate) use tls_origin::WrittenTls;
pub(crate) use virtual_services::VirtualServices;

/// A snapshot and what compile found on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// What the proxy runs on.
    pub snapshot: Snapshot,
    /// What could not be compiled as written, for this proxy.
    pub diagnostics: Vec<Diagnostic>,
}

/// One snapshot. For several proxies of the same world, make a [`Prepared`] and ask it.
pub fn compile(world: &World, proxy: &ProxyIdentity, version: SnapshotVersion) -> Compiled {
    Prepared::new(world).snapshot_for(proxy, version)
}

/// A world made ready: the work that is the same for every proxy, done once.
#[derive(Debug)]
pub struct Prepared<'w> {
    pub(crate) world: &'w World,
    pub(crate) services: Services,
    pub(crate) policies: Policies<'w>,
    pub(crate) virtual_services: VirtualServices<'w>,
    pub(crate) peer_authentications: PeerAuthentications<'w>,
    pub(crate) authorization_policies: AuthorizationPolicies<'w>,
    pods: BTreeMap<&'w ObjectKey, Arc<Workload>>,
    peers: BTreeMap<IpAddr, Arc<Workload>>,
    /// Routes of sidecars by the kind of client.
    routes: Mutex<BTreeMap<outbound::ClientKind, Arc<outbound::Routes>>>,
    /// Clusters by the kind of client. Guards only the map; the values are immutable.
    clusters: Mutex<BTreeMap<ClientKind, Arc<BTreeMap<ClusterName, Cluster>>>>,
}

impl<'w> Prepared<'w> {
    /// Makes a world ready.
    pub fn new(world: &'w World) -> Self {
        let pods = workloads::of_pods(world);
        let peers = workloads::by_address(world, &pods);
        Self {
            services: Services::new(world, &pods, &peers),
            policies: Policies::new(world),
            virtual_services: VirtualServices::new(world),
            peer_authentications: PeerAuthentications::new(world),
            authorization_policies: AuthorizationPolicies::new(world),
            world,
            pods,
            peers,
            routes: Mutex::new(BTreeMap::new()),
            clusters: Mutex::new(BTreeMap::new()),
        }
    }

    /// The pod of a proxy as the mesh sees it; one without labels when the pod is not known (yet).
    pub fn workload_of(&self, proxy: &ProxyIdentity) -> Arc<Workload> {
        let key = key_of(proxy);
        self.pods.get(&key).cloned().unwrap_or_else(|| Arc::new(workloads::unknown_pod(&key, &proxy.namespace)))
    }

    /// What one proxy runs on.
    pub fn snapshot_for(&self, proxy: &ProxyIdentity, version: SnapshotVersion) -> Compiled {
        let workload = self.workload_of(proxy);
        let mut diagnostics = self.findings().to_vec();
        if !self.knows_pod(proxy) {
            diagnostics.push(unknown_pod(proxy));
        }
        let (outbound, tcp, ingress) = match proxy.role {
            Role::Sidecar => {
                let routes = self.routes_for(&workload);
                (routes.http.clone(), routes.tcp.clone(), BTreeMap::new())
            }
            Role::Gateway => (BTreeMap::new(), Vec::new(), self.ingress(&workload)),
        };
        let snapshot = Snapshot {
            version,
            outbound,
            tcp,
            ingress,
            unknown_hosts: self.world.mesh.unknown_hosts,
            inbound: match proxy.role {
                Role::Sidecar => self.inbound(proxy),
                Role::Gateway => Vec::new(),
            },
            clusters: (*self.clusters_for(&workload, proxy.role)).clone(),
            mutual_tls: self.peer_authentications.of_workload(&workload).mode,
            peers: self.peers.clone(),
            path_normalization: self.world.mesh.path_normalization,
            protected: self.world.protected.clone(),
            authorization: self.authorization_policies.of(&workload),
            trust_domain: self.world.mesh.trust_domain.as_str().into(),
            telemetry: self.telemetry(&workload),
            proxy: workload,
        };
        Compiled { snapshot, diagnostics }
    }

    /// What could not be put together, whoever asks: delegated rules without their delegate, or in conflict with it.
    pub fn findings(&self) -> &[Diagnostic] {
        &self.virtual_services.findings
    }

    /// The DestinationRule that a client meets at a host.
    pub(crate) fn policy_of(&self, client: &Workload, host: &Hostname) -> Option<&Policy<'w>> {
        let namespace = self.services.seen_by(&client.namespace, host).map(|service| &service.namespace);
        self.policies.find_for(client, namespace, host)
    }

    fn knows_pod(&self, proxy: &ProxyIdentity) -> bool {
        self.pods.contains_key(&key_of(proxy))
    }

    /// The address of a proxy's pod.
    pub(crate) fn address_of(&self, proxy: &ProxyIdentity) -> Option<IpAddr> {
        self.world.pods.get(&key_of(proxy))?.address
    }

    /// Every pod of every cluster.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.pods.values().map(|workload| &**workload)
    }
}

fn key_of(proxy: &ProxyIdentity) -> ObjectKey {
    ObjectKey { namespace: proxy.namespace.to_string(), name: proxy.pod.clone(), cluster: proxy.cluster.clone() }
}

fn unknown_pod(proxy: &ProxyIdentity) -> Diagnostic {
    let pod = ResourceRef {
        kind: "Pod".to_owned(),
        namespace: proxy.namespace.to_string(),
        name: proxy.pod.clone(),
        resource_version: String::new(),
    };
    let message = "the proxy's pod is not known, so rules that ask for its labels do not apply";
    let korean = "프록시의 파드를 아직 모릅니다. 파드 레이블을 보는 규칙은 적용되지 않습니다";
    Diagnostic::new("unknown-pod", Severity::Warning, &pod, "", message, korean)
}
