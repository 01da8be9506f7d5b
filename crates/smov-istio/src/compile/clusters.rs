//! Services and DestinationRules to Envoy's clusters: one per port, and one more per subset.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, Endpoint, LoadBalancer, OutlierDetection};
use smov_model::names::{ClusterName, Namespace, SubsetName};
use smov_model::workload::Workload;

use super::cluster_tls::Asked;
use super::route_policy::duration;
use super::services::{MeshPort, MeshService};
use super::{Policy, Prepared, locality};
use crate::resource::{ConnectionPoolSettings, LoadBalancerSettings, OutlierDetectionSpec, PolicyBlocks};
use crate::world::Role;

/// What of a client decides on its clusters, so that clients of one kind share them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientKind {
    pub(super) namespace: Namespace,
    pub(super) role: Role,
    locality: String,
    /// Only where some rule asks for them.
    labels: BTreeMap<String, String>,
}

impl Prepared<'_> {
    /// The clusters as a client sees them: DestinationRules are looked up by its namespace, localities are compared with its own.
    pub(crate) fn clusters_for(&self, client: &Workload, role: Role) -> Arc<BTreeMap<ClusterName, Cluster>> {
        let by_labels = self.policies.by_labels || !self.world.mesh.locality.failover_priority.is_empty();
        let kind = ClientKind {
            namespace: client.namespace.clone(),
            role,
            locality: client.locality(),
            labels: if by_labels { client.labels.clone() } else { BTreeMap::new() },
        };
        let mut known = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = known.get(&kind) {
            return Arc::clone(built);
        }
        let built = Arc::new(self.build_clusters(client, &kind));
        known.insert(kind, Arc::clone(&built));
        built
    }

    fn build_clusters(&self, client: &Workload, kind: &ClientKind) -> BTreeMap<ClusterName, Cluster> {
        let mut clusters = BTreeMap::new();
        for service in self.services.visible_to(&client.namespace) {
            let policy = self.policies.find_for(client, Some(&service.namespace), &service.host);
            for port in &service.ports {
                for cluster in self.clusters_of(service, port, policy, (client, kind)) {
                    clusters.insert(cluster.name.clone(), cluster);
                }
            }
        }
        clusters
    }

    fn clusters_of(
        &self,
        service: &MeshService,
        port: &MeshPort,
        policy: Option<&Policy<'_>>,
        client: (&Workload, &ClientKind),
    ) -> Vec<Cluster> {
        let effective = |subset| {
            let blocks = policy.map(|policy| policy.effective(subset, port.port)).unwrap_or_default();
            (blocks, policy.is_some_and(Policy::is_for_certain_clients))
        };
        let mut clusters = vec![self.cluster(service, port, None, &effective(None), client, |_| true)];
        for subset in policy.iter().flat_map(|policy| &policy.subsets) {
            let Ok(name) = subset.name.parse::<SubsetName>() else { continue };
            let selects = |workload: &Workload| subset.labels.iter().all(|(key, value)| label(workload, key) == Some(value.as_str()));
            clusters.push(self.cluster(service, port, Some(name), &effective(Some(subset)), client, selects));
        }
        clusters
    }

    fn cluster(
        &self,
        service: &MeshService,
        port: &MeshPort,
        subset: Option<SubsetName>,
        (blocks, for_certain_clients): &(PolicyBlocks, bool),
        (client, kind): (&Workload, &ClientKind),
        selects: impl Fn(&Workload) -> bool,
    ) -> Cluster {
        let balancer = blocks.load_balancer.as_ref();
        let passthrough = balancer.is_some_and(|balancer| balancer.simple.as_deref() == Some("PASSTHROUGH"));
        let takes = |workload: &Workload, port| self.takes_mutual_tls(workload, port);
        let discovery = if passthrough { Discovery::OriginalDestination } else { port.discovery(&selects, takes) };
        let endpoint = |(address, workload): &(SocketAddr, Arc<Workload>)| Endpoint {
            address: *address,
            workload: workload.clone(),
            weight: port.weights.get(address).copied().unwrap_or(1),
            priority: 0,
            mutual_tls: u32::from(address.port()).try_into().is_ok_and(|port| self.takes_mutual_tls(workload, port)),
            via: if workload.cluster == self.world.own { None } else { self.world.link.and_then(|link| link.through_socket(*address)) },
        };
        let mut endpoints: Vec<Endpoint> = match discovery {
            Discovery::Listed => port.endpoints.iter().filter(|(_, workload)| selects(workload)).map(endpoint).collect(),
            Discovery::Dns(_) | Discovery::OriginalDestination => Vec::new(),
        };
        // The DestinationRule's setting replaces the mesh's as a whole.
        let setting = balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref()).unwrap_or(&self.world.mesh.locality);
        let locality_weights = match setting.enabled {
            Some(false) => Vec::new(),
            Some(true) | None => locality::arrange(&mut endpoints, setting, client, blocks.outlier_detection.is_some()),
        };
        let asked = Asked { service, port, subset: subset.as_ref(), discovery: &discovery, for_certain_clients: *for_certain_clients };
        let tls = self.cluster_tls(&asked, blocks.tls.as_ref(), kind);
        Cluster {
            name: ClusterName { port: port.port, subset, host: service.host.clone() },
            protocol: port.protocol.in_snapshot(),
            endpoints,
            load_balancer: balancer.map(load_balancer).unwrap_or_default(),
            limits: blocks.connection_pool.as_ref().map(limits).unwrap_or_default(),
            outlier: blocks.outlier_detection.as_ref().map(outlier),
            discovery,
            locality_weights,
            tls,
        }
    }
}

/// A label of an endpoint: the pod's own, or one that Istio adds to every endpoint.
pub(crate) fn label<'w>(workload: &'w Workload, key: &str) -> Option<&'w str> {
    match key {
        "topology.istio.io/cluster" => Some(workload.cluster.as_str()),
        "topology.kubernetes.io/region" if !workload.region.is_empty() => Some(&workload.region),
        "topology.kubernetes.io/zone" if !workload.zone.is_empty() => Some(&workload.zone),
        _ => workload.labels.get(key).map(String::as_str),
    }
}

fn load_balancer(settings: &LoadBalancerSettings) -> LoadBalancer {
    if let Some(hash) = &settings.consistent_hash {
        let set = |size: Option<u64>, default| size.filter(|size| *size > 0).unwrap_or(default);
        return match (&hash.maglev, &hash.ring_hash) {
            (Some(maglev), _) => LoadBalancer::Maglev { table_size: set(maglev.table_size, 65_537) },
            (None, Some(ring)) => LoadBalancer::RingHash { minimum_size: set(ring.minimum_ring_size, 1024) },
            (None, None) => LoadBalancer::RingHash { minimum_size: set(hash.minimum_ring_size, 1024) },
        };
    }
    match settings.simple.as_deref() {
        Some("ROUND_ROBIN") => LoadBalancer::RoundRobin,
        Some("RANDOM") => LoadBalancer::Random,
        // LEAST_REQUEST and its old name LEAST_CONN; PASSTHROUGH has nothing to choose from.
        _ => LoadBalancer::LeastRequest,
    }
}

fn limits(pool: &ConnectionPoolSettings) -> ConnectionLimits {
    let default = ConnectionLimits::default();
    // 0 means unset, as in Istio.
    let limit = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(u32::MAX);
    let tcp = pool.tcp.clone().unwrap_or_default();
    let http = pool.http.clone().unwrap_or_default();
    ConnectionLimits {
        max_connections: limit(tcp.max_connections),
        max_pending_requests: limit(http.http1_max_pending_requests),
        max_requests: limit(http.http2_max_requests),
        max_requests_per_connection: limit(http.max_requests_per_connection),
        max_retries: limit(http.max_retries),
        connect_timeout: duration(tcp.connect_timeout.as_deref()).unwrap_or(default.connect_timeout),
        // Where HTTP says nothing, the setting for TCP holds, as in Istio.
        idle_timeout: duration(http.idle_timeout.as_deref().or(tcp.idle_timeout.as_deref())).unwrap_or(default.idle_timeout),
    }
}

/// Outlier detection with Istio's defaults filled in.
pub(crate) fn outlier(spec: &OutlierDetectionSpec) -> OutlierDetection {
    let default = OutlierDetection::default();
    let percent = |value: Option<i64>| value.and_then(|value| u8::try_from(value).ok()).map(|value| value.min(100));
    OutlierDetection {
        consecutive_5xx: spec.consecutive_5xx_errors.unwrap_or(default.consecutive_5xx),
        consecutive_gateway_errors: spec.consecutive_gateway_errors.unwrap_or(default.consecutive_gateway_errors),
        interval: duration(spec.interval.as_deref()).unwrap_or(default.interval),
        base_ejection_time: duration(spec.base_ejection_time.as_deref()).unwrap_or(default.base_ejection_time),
        // Istio takes 0 for unset here too.
        max_ejection_percent: percent(spec.max_ejection_percent).filter(|value| *value > 0).unwrap_or(default.max_ejection_percent),
        min_health_percent: percent(spec.min_health_percent).unwrap_or(default.min_health_percent),
    }
}
