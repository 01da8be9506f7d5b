//! The world: what one control plane knows. Fed with Kubernetes objects one by one, in any order.
//!
//! Rules (VirtualService, DestinationRule, Gateway) count only from the own cluster, as in a multi-primary Istio; Services, endpoints,
//! pods and nodes from every cluster. A malformed object gives diagnostics, and its last good version stays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use smov_model::link::LinkAddresses;
use smov_model::names::{KubeCluster, Namespace, ResourceRef};
use smov_model::wire::ProxyRole;

use crate::core::{Credential, EndpointSlice, Node, Pod, ReplicaSet, Service};
use crate::diagnostic::{Diagnostic, Severity, has_errors};
use crate::resource::{
    AuthorizationPolicySpec, DestinationRuleSpec, GatewaySpec, IstioKind, PeerAuthenticationSpec, Resource, ServiceEntrySpec,
    TelemetrySpec, VirtualServiceSpec, WorkloadEntrySpec, parse_resource, reference_of,
};
use crate::validate::validate_as;

mod kind;
mod mesh;
pub use kind::WatchedKind;
pub use mesh::MeshConfig;

/// Which proxy a snapshot is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyIdentity {
    /// Its Kubernetes cluster.
    pub cluster: KubeCluster,
    /// Its pod's namespace.
    pub namespace: Namespace,
    /// Its pod.
    pub pod: String,
    /// Sidecar or gateway.
    pub role: Role,
}

/// What kind of proxy it is; ordered, unlike the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Beside an app.
    Sidecar,
    /// Traffic from outside the mesh.
    Gateway,
}

impl From<ProxyRole> for Role {
    fn from(role: ProxyRole) -> Self {
        match role {
            ProxyRole::Sidecar => Self::Sidecar,
            ProxyRole::Gateway => Self::Gateway,
        }
    }
}

/// Names one object of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its namespace; empty for nodes.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The cluster that has it.
    pub cluster: KubeCluster,
}

impl ObjectKey {
    /// The key of an object; without a namespace it is in `default`, unless its kind has none.
    fn of(kind: WatchedKind, cluster: &KubeCluster, reference: ResourceRef) -> Self {
        let namespace = match (kind, reference.namespace.as_str()) {
            (WatchedKind::Node, _) => String::new(),
            (_, "") => "default".to_owned(),
            (_, _) => reference.namespace,
        };
        Self { namespace, name: reference.name, cluster: cluster.clone() }
    }
}

/// Objects of one kind, in an order that does not depend on when they came.
pub(crate) type Table<T> = BTreeMap<ObjectKey, Arc<T>>;

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Is the world another than before, so that snapshots may be?
    pub changed: bool,
    /// What is wrong with the object. With an error among them the object was not taken; its last good version stays.
    pub diagnostics: Vec<Diagnostic>,
}

/// What one control plane knows.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) own: KubeCluster,
    /// In force now: what the world began with, and over it what its ConfigMap says.
    pub(crate) mesh: MeshConfig,
    first_mesh: MeshConfig,
    pub(crate) protected: Vec<SocketAddr>,
    pub(crate) link: Option<LinkAddresses>,
    pub(crate) virtual_services: Table<Resource<VirtualServiceSpec>>,
    pub(crate) destination_rules: Table<Resource<DestinationRuleSpec>>,
    pub(crate) gateways: Table<Resource<GatewaySpec>>,
    pub(crate) service_entries: Table<Resource<ServiceEntrySpec>>,
    pub(crate) workload_entries: Table<Resource<WorkloadEntrySpec>>,
    pub(crate) peer_authentications: Table<Resource<PeerAuthenticationSpec>>,
    pub(crate) authorization_policies: Table<Resource<AuthorizationPolicySpec>>,
    pub(crate) telemetries: Table<Resource<TelemetrySpec>>,
    pub(crate) credentials: Table<Credential>,
    pub(crate) services: Table<Service>,
    pub(crate) slices: Table<EndpointSlice>,
    pub(crate) pods: Table<Pod>,
    pub(crate) nodes: Table<Node>,
    pub(crate) replica_sets: Table<ReplicaSet>,
    findings: BTreeMap<(WatchedKind, ObjectKey), Vec<Diagnostic>>,
}

/// Settings of a [`World`] before the first object comes.
#[derive(Debug, Clone)]
pub struct WorldBuilder {
    own: KubeCluster,
    mesh: MeshConfig,
    protected: Vec<SocketAddr>,
    link: Option<LinkAddresses>,
}

impl WorldBuilder {
    /// Mesh-wide settings other than the default.
    #[must_use]
    pub fn mesh(mut self, mesh: MeshConfig) -> Self {
        self.mesh = mesh;
        self
    }

    /// Addresses that an unknown host must never lead to.
    #[must_use]
    pub fn protect(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.protected.extend(addresses);
        self.protected.sort_unstable();
        self.protected.dedup();
        self
    }

    /// Pods of other clusters are reached through the link, by these addresses.
    #[must_use]
    pub fn link(mut self, link: Option<LinkAddresses>) -> Self {
        self.link = link;
        self
    }

    /// The empty world.
    pub fn build(self) -> World {
        World {
            own: self.own,
            first_mesh: self.mesh.clone(),
            mesh: self.mesh,
            service_entries: Table::new(),
            workload_entries: Table::new(),
            peer_authentications: Table::new(),
            authorization_policies: Table::new(),
            telemetries: Table::new(),
            credentials: Table::new(),
            protected: self.protected,
            link: self.link,
            virtual_services: Table::new(),
            destination_rules: Table::new(),
            gateways: Table::new(),
            services: Table::new(),
            slices: Table::new(),
            pods: Table::new(),
            nodes: Table::new(),
            replica_sets: Table::new(),
            findings: BTreeMap::new(),
        }
    }
}

impl World {
    /// Starts a world whose rules come from the cluster `own`.
    pub fn builder(own: KubeCluster) -> WorldBuilder {
        WorldBuilder { own, mesh: MeshConfig::default(), protected: Vec::new(), link: None }
    }

    /// The cluster whose rules count.
    pub fn own_cluster(&self) -> &KubeCluster {
        &self.own
    }

    /// Takes an object that was added or changed. Objects of other kinds, and rules of other clusters, are passed over.
    pub fn apply(&mut self, cluster: &KubeCluster, object: &Value) -> Applied {
        WatchedKind::of(object).map_or_else(Applied::default, |kind| self.apply_as(kind, cluster, object))
    }

    /// As [`Self::apply`], for the items of a list, which do not say their kind.
    pub fn apply_as(&mut self, kind: WatchedKind, cluster: &KubeCluster, object: &Value) -> Applied {
        if kind.is_rule() && *cluster != self.own {
            return Applied::default();
        }
        let mut reference = reference_of(object);
        kind.as_str().clone_into(&mut reference.kind);
        if reference.name.is_empty() {
            let message = "metadata.name is missing";
            let missing = Diagnostic::new("schema", Severity::Error, &reference, "metadata.name", message, "metadata.name이 없습니다");
            return Applied { changed: false, diagnostics: vec![missing] };
        }
        let key = ObjectKey::of(kind, cluster, reference);
        let (changed, diagnostics) = self.take(kind, &key, object);
        if diagnostics.is_empty() {
            self.findings.remove(&(kind, key));
        } else {
            self.findings.insert((kind, key), diagnostics.clone());
        }
        Applied { changed, diagnostics }
    }

    fn take(&mut self, kind: WatchedKind, key: &ObjectKey, object: &Value) -> (bool, Vec<Diagnostic>) {
        match kind {
            WatchedKind::VirtualService => take_rule(&mut self.virtual_services, IstioKind::VirtualService, key, object),
            WatchedKind::DestinationRule => take_rule(&mut self.destination_rules, IstioKind::DestinationRule, key, object),
            WatchedKind::Gateway => take_rule(&mut self.gateways, IstioKind::Gateway, key, object),
            WatchedKind::ServiceEntry => take_rule(&mut self.service_entries, IstioKind::ServiceEntry, key, object),
            WatchedKind::WorkloadEntry => take_rule(&mut self.workload_entries, IstioKind::WorkloadEntry, key, object),
            WatchedKind::PeerAuthentication => take_rule(&mut self.peer_authentications, IstioKind::PeerAuthentication, key, object),
            WatchedKind::AuthorizationPolicy => take_rule(&mut self.authorization_policies, IstioKind::AuthorizationPolicy, key, object),
            WatchedKind::Telemetry => take_rule(&mut self.telemetries, IstioKind::Telemetry, key, object),
            WatchedKind::ConfigMap => self.take_mesh(key, object),
            WatchedKind::Secret => self.take_credential(key, object),
            WatchedKind::Service => take_core(&mut self.services, key, object),
            WatchedKind::EndpointSlice => take_core(&mut self.slices, key, object),
            WatchedKind::Pod => take_core(&mut self.pods, key, object),
            WatchedKind::Node => take_core(&mut self.nodes, key, object),
            WatchedKind::ReplicaSet => take_core(&mut self.replica_sets, key, object),
        }
    }

    /// Where MeshConfig is written: as Istio's installer does it.
    fn mesh_key(&self) -> ObjectKey {
        ObjectKey { namespace: self.first_mesh.root_namespace.to_string(), name: "istio".to_owned(), cluster: self.own.clone() }
    }

    fn holds_mesh(&self, key: &ObjectKey) -> bool {
        *key == self.mesh_key()
    }

    fn take_mesh(&mut self, key: &ObjectKey, object: &Value) -> (bool, Vec<Diagnostic>) {
        if !self.holds_mesh(key) {
            return (false, Vec::new());
        }
        match self.first_mesh.overlaid(object) {
            Ok(mesh) => (self.set_mesh(mesh), Vec::new()),
            Err(diagnostic) => (false, vec![*diagnostic]),
        }
    }

    /// Of Secrets only those with certificates are kept.
    fn take_credential(&mut self, key: &ObjectKey, object: &Value) -> (bool, Vec<Diagnostic>) {
        let changed = match Credential::read(object) {
            Some(credential) => replace_if_other(&mut self.credentials, key, credential),
            None => self.credentials.remove(key).is_some(),
        };
        (changed, Vec::new())
    }

    /// Says whether it is another than before.
    fn set_mesh(&mut self, mesh: MeshConfig) -> bool {
        let other = self.mesh != mesh;
        self.mesh = mesh;
        other
    }

    /// Forgets an object. Says whether it was known.
    pub fn remove(&mut self, cluster: &KubeCluster, kind: &str, namespace: &str, name: &str) -> bool {
        let Some(kind) = WatchedKind::by_name(kind) else { return false };
        let key = ObjectKey { namespace: namespace.to_owned(), name: name.to_owned(), cluster: cluster.clone() };
        self.remove_key(kind, &key)
    }

    fn remove_key(&mut self, kind: WatchedKind, key: &ObjectKey) -> bool {
        self.findings.remove(&(kind, key.clone()));
        match kind {
            WatchedKind::VirtualService => self.virtual_services.remove(key).is_some(),
            WatchedKind::DestinationRule => self.destination_rules.remove(key).is_some(),
            WatchedKind::Gateway => self.gateways.remove(key).is_some(),
            WatchedKind::ServiceEntry => self.service_entries.remove(key).is_some(),
            WatchedKind::WorkloadEntry => self.workload_entries.remove(key).is_some(),
            WatchedKind::PeerAuthentication => self.peer_authentications.remove(key).is_some(),
            WatchedKind::AuthorizationPolicy => self.authorization_policies.remove(key).is_some(),
            WatchedKind::Telemetry => self.telemetries.remove(key).is_some(),
            WatchedKind::Secret => self.credentials.remove(key).is_some(),
            WatchedKind::ConfigMap => self.holds_mesh(key) && self.set_mesh(self.first_mesh.clone()),
            WatchedKind::Service => self.services.remove(key).is_some(),
            WatchedKind::EndpointSlice => self.slices.remove(key).is_some(),
            WatchedKind::Pod => self.pods.remove(key).is_some(),
            WatchedKind::Node => self.nodes.remove(key).is_some(),
            WatchedKind::ReplicaSet => self.replica_sets.remove(key).is_some(),
        }
    }

    /// Replaces all objects of a kind in a cluster by the result of a list, as after a broken watch. Says whether anything changed.
    pub fn replace<'a>(&mut self, cluster: &KubeCluster, kind: WatchedKind, objects: impl IntoIterator<Item = &'a Value>) -> Applied {
        let mut gone = self.keys(cluster, kind);
        let mut applied = Applied::default();
        for object in objects {
            let key = ObjectKey::of(kind, cluster, reference_of(object));
            gone.retain(|known| *known != key);
            let one = self.apply_as(kind, cluster, object);
            applied.changed |= one.changed;
            applied.diagnostics.extend(one.diagnostics);
        }
        for key in gone {
            applied.changed |= self.remove_key(kind, &key);
        }
        applied
    }

    /// Forgets everything of a cluster, as when its credential is taken away. Says whether anything was known.
    pub fn forget_cluster(&mut self, cluster: &KubeCluster) -> bool {
        let mut changed = false;
        for kind in WatchedKind::ALL {
            for key in self.keys(cluster, kind) {
                changed |= self.remove_key(kind, &key);
            }
        }
        changed
    }

    fn keys(&self, cluster: &KubeCluster, kind: WatchedKind) -> Vec<ObjectKey> {
        fn of<T>(table: &Table<T>, cluster: &KubeCluster) -> Vec<ObjectKey> {
            table.keys().filter(|key| key.cluster == *cluster).cloned().collect()
        }
        let mut keys = match kind {
            WatchedKind::VirtualService => of(&self.virtual_services, cluster),
            WatchedKind::DestinationRule => of(&self.destination_rules, cluster),
            WatchedKind::Gateway => of(&self.gateways, cluster),
            WatchedKind::ServiceEntry => of(&self.service_entries, cluster),
            WatchedKind::WorkloadEntry => of(&self.workload_entries, cluster),
            WatchedKind::PeerAuthentication => of(&self.peer_authentications, cluster),
            WatchedKind::AuthorizationPolicy => of(&self.authorization_policies, cluster),
            WatchedKind::Telemetry => of(&self.telemetries, cluster),
            WatchedKind::Secret => of(&self.credentials, cluster),
            WatchedKind::ConfigMap => vec![self.mesh_key()].into_iter().filter(|key| key.cluster == *cluster).collect(),
            WatchedKind::Service => of(&self.services, cluster),
            WatchedKind::EndpointSlice => of(&self.slices, cluster),
            WatchedKind::Pod => of(&self.pods, cluster),
            WatchedKind::Node => of(&self.nodes, cluster),
            WatchedKind::ReplicaSet => of(&self.replica_sets, cluster),
        };
        // An object whose every version was malformed is only known by its findings.
        let findings = self.findings.keys().filter(|(found, key)| *found == kind && key.cluster == *cluster);
        let only_found: Vec<ObjectKey> = findings.map(|(_, key)| key).filter(|key| !keys.contains(key)).cloned().collect();
        keys.extend(only_found);
        keys
    }

    /// How many Services (each counted once, however many clusters have it) and VirtualServices there are.
    pub fn counts(&self) -> (usize, usize) {
        let services: std::collections::BTreeSet<_> = self.services.keys().map(|key| (&key.namespace, &key.name)).collect();
        (services.len(), self.virtual_services.len())
    }

    /// What is wrong with the objects as they came, warnings included.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.findings.values().flatten()
    }

    /// The pods of a cluster and namespace with their labels, for choosing a caller by name.
    pub fn pods_of(&self, cluster: &KubeCluster, namespace: &str) -> impl Iterator<Item = (&str, &Pod)> {
        let matches = move |key: &&ObjectKey| key.cluster == *cluster && key.namespace == namespace;
        self.pods.iter().filter(move |(key, _)| matches(key)).map(|(key, pod)| (key.name.as_str(), &**pod))
    }
}

fn take_rule<S: DeserializeOwned + PartialEq>(
    table: &mut Table<Resource<S>>,
    kind: IstioKind,
    key: &ObjectKey,
    object: &Value,
) -> (bool, Vec<Diagnostic>) {
    let mut diagnostics = validate_as(kind, object);
    if has_errors(&diagnostics) {
        return (false, diagnostics);
    }
    match parse_resource::<S>(kind, object) {
        Ok(mut resource) => {
            resource.metadata.namespace.clone_from(&key.namespace);
            (replace_if_other(table, key, resource), diagnostics)
        }
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            (false, diagnostics)
        }
    }
}

fn take_core<T: DeserializeOwned + PartialEq>(table: &mut Table<T>, key: &ObjectKey, object: &Value) -> (bool, Vec<Diagnostic>) {
    match crate::resource::read::<T>(object) {
        Ok(typed) => (replace_if_other(table, key, typed), Vec::new()),
        Err(diagnostic) => (false, vec![*diagnostic]),
    }
}

fn replace_if_other<T: PartialEq>(table: &mut Table<T>, key: &ObjectKey, value: T) -> bool {
    if table.get(key).is_some_and(|old| **old == value) {
        return false;
    }
    table.insert(key.clone(), Arc::new(value));
    true
}
