//! Services and DestinationRules to Envoy's clusters: one per port, and one more per subset.

use std::collections::BTreeMap;
use std::time::Duration;

use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, Endpoint, LoadBalancer, OutlierDetection};
use smov_model::names::{ClusterName, Namespace, SubsetName};
use smov_model::workload::Workload;

use super::services::{MeshPort, MeshService};
use super::{Policy, Prepared};
use crate::duration::parse_duration;
use crate::hosts::exported_to;
use crate::resource::{ConnectionPoolSettings, LoadBalancerSettings, OutlierDetectionSpec, PolicyBlocks};

impl Prepared<'_> {
    pub(super) fn build_clusters(&self, client: &Namespace) -> BTreeMap<ClusterName, Cluster> {
        let mut clusters = BTreeMap::new();
        for service in self.services.iter().filter(|service| service.visible_to(client)) {
            let policy = self.policies.find(client, &service.namespace, &service.host);
            for port in &service.ports {
                for cluster in clusters_of(service, port, policy) {
                    clusters.insert(cluster.name.clone(), cluster);
                }
            }
        }
        clusters
    }
}

impl MeshService {
    /// Is the Service exported to this namespace?
    pub(crate) fn visible_to(&self, client: &Namespace) -> bool {
        exported_to(&self.export_to, self.namespace.as_str(), client.as_str())
    }
}

fn clusters_of(service: &MeshService, port: &MeshPort, policy: Option<&Policy<'_>>) -> Vec<Cluster> {
    let effective = |subset| policy.map(|policy| policy.effective(subset, port.port)).unwrap_or_default();
    let mut clusters = vec![cluster(service, port, None, &effective(None), |_| true)];
    for subset in policy.iter().flat_map(|policy| &policy.subsets) {
        let Ok(name) = subset.name.parse::<SubsetName>() else { continue };
        let selects = |workload: &Workload| subset.labels.iter().all(|(key, value)| label(workload, key) == Some(value.as_str()));
        clusters.push(cluster(service, port, Some(name), &effective(Some(subset)), selects));
    }
    clusters
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

fn cluster(
    service: &MeshService,
    port: &MeshPort,
    subset: Option<SubsetName>,
    blocks: &PolicyBlocks,
    selects: impl Fn(&Workload) -> bool,
) -> Cluster {
    let endpoints = port.endpoints.iter().filter(|(_, workload)| selects(workload));
    Cluster {
        name: ClusterName { port: port.port, subset, host: service.host.clone() },
        protocol: port.protocol.in_snapshot(),
        endpoints: endpoints
            .map(|(address, workload)| Endpoint { address: *address, workload: workload.clone(), weight: 1, priority: 0 })
            .collect(),
        load_balancer: blocks.load_balancer.as_ref().map(load_balancer).unwrap_or_default(),
        limits: blocks.connection_pool.as_ref().map(limits).unwrap_or_default(),
        outlier: blocks.outlier_detection.as_ref().map(outlier),
        discovery: Discovery::Listed,
        locality_weights: Vec::new(),
    }
}

fn load_balancer(settings: &LoadBalancerSettings) -> LoadBalancer {
    match settings.simple.as_deref() {
        Some("ROUND_ROBIN") => LoadBalancer::RoundRobin,
        Some("RANDOM") => LoadBalancer::Random,
        // LEAST_REQUEST, its old name LEAST_CONN, and kinds that validate says are not executed.
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
        idle_timeout: duration(http.idle_timeout.as_deref()).unwrap_or(default.idle_timeout),
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

fn duration(text: Option<&str>) -> Option<Duration> {
    parse_duration(text?).ok()
}
