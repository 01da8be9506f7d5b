//! A sidecar's outbound HTTP routes: Services and the VirtualServices that steer them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use smov_model::names::{ClusterName, HostPattern, KubeCluster, Namespace, Port};
use smov_model::route::{Destination, HeaderOperations, Origin, RouteAction, RoutePolicy, RouteRule, RouteTable, VirtualHost};
use smov_model::snapshot::TcpRoute;
use smov_model::split::{Split, Weight};
use smov_model::workload::Workload;

use super::services::MeshService;
use super::{Prepared, RuleScope};
use crate::hosts::SERVICE_SUFFIX;
/// The name under which sidecars are addressed.
pub(crate) fn mesh_gateway() -> BTreeSet<String> {
    BTreeSet::from(["mesh".to_owned()])
}

/// What of a client decides on its routes, so that clients of one kind share them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientKind {
    namespace: Namespace,
    /// The addresses of Services are those of its cluster.
    cluster: KubeCluster,
    /// Only where some rule asks for them.
    labels: BTreeMap<String, String>,
}

/// The routes of a sidecar.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) http: BTreeMap<Port, RouteTable>,
    pub(super) tcp: Vec<TcpRoute>,
}

impl Prepared<'_> {
    /// The routes of a sidecar; made once for all clients of a kind.
    pub(super) fn routes_for(&self, client: &Workload) -> Arc<Routes> {
        let by_labels = self.virtual_services.by_labels || self.policies.by_labels;
        let kind = ClientKind {
            namespace: client.namespace.clone(),
            cluster: client.cluster.clone(),
            labels: if by_labels { client.labels.clone() } else { BTreeMap::new() },
        };
        let mut known = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(kind).or_insert_with(|| Arc::new(Routes { http: self.outbound(client), tcp: self.tcp_routes(client) })).clone()
    }

    /// The routes of a sidecar, by the port that its client dials.
    fn outbound(&self, client: &Workload) -> BTreeMap<Port, RouteTable> {
        let mut tables: BTreeMap<Port, TableBuilder> = BTreeMap::new();
        for service in self.services.visible_to(&client.namespace) {
            let domains = service_domains(service, client);
            for port in service.ports.iter().filter(|port| port.protocol.carries_http()) {
                let rules = self.mesh_rules(service, port.port, client);
                let name = format!("{}:{}", service.host, port.port);
                let host = VirtualHost { name, domains: domains.clone(), service: Some(service.host.clone()), rules };
                tables.entry(port.port).or_default().add(host);
            }
        }
        for (port, host) in self.hosts_without_service(client) {
            tables.entry(port).or_default().add(host);
        }
        tables.into_iter().map(|(port, table)| (port, RouteTable { hosts: table.hosts })).collect()
    }

    /// The rules of the first VirtualService that has any for this client and port, else the default route.
    pub(crate) fn mesh_rules(&self, service: &MeshService, port: Port, client: &Workload) -> Vec<RouteRule> {
        let gateways = mesh_gateway();
        let scope = RuleScope { gateways: &gateways, client, port };
        let candidates = self.virtual_services.for_host(client.namespace.as_str(), &service.host);
        let mut rules = candidates.into_iter().map(|one| self.rules(one, &scope));
        rules.find(|rules| !rules.is_empty()).unwrap_or_else(|| vec![self.default_rule(service, port, client)])
    }

    /// What happens with a host without VirtualService: everything to the whole host, no timeout, the mesh's retries.
    fn default_rule(&self, service: &MeshService, port: Port, client: &Workload) -> RouteRule {
        let cluster = ClusterName { port, subset: None, host: service.host.clone() };
        let arm = Destination { cluster, headers: HeaderOperations::default() };
        let hash = self.default_hash_key(client, &service.host, port);
        RouteRule {
            origin: Origin { resource: service.reference.clone(), path: String::new(), name: "default".to_owned() },
            matches: Vec::new(),
            action: RouteAction::Forward(Split::new(vec![(Weight(1), arm)]).expect("one arm is a split")),
            policy: RoutePolicy { retry: self.retry(None, false), hash: hash.into_iter().collect(), ..RoutePolicy::default() },
        }
    }

    /// Hosts of VirtualServices that are no Service: on the ports of the Services that the same resource names, else on port 80.
    fn hosts_without_service(&self, client: &Workload) -> Vec<(Port, VirtualHost)> {
        let gateways = mesh_gateway();
        let mut found = Vec::new();
        for one in self.virtual_services.in_mesh(client.namespace.as_str()) {
            let mut foreign = Vec::new();
            let mut ports: BTreeSet<Port> = BTreeSet::new();
            for host in &one.hosts {
                let services: Vec<&MeshService> = match host {
                    HostPattern::Exact(name) => self.services.seen_by(&client.namespace, name).into_iter().collect(),
                    HostPattern::Suffix(_) | HostPattern::Any => {
                        self.services.visible_to(&client.namespace).filter(|service| host.covers(service.host.as_str())).collect()
                    }
                };
                if services.is_empty() {
                    foreign.push(host);
                }
                let http = services.into_iter().flat_map(|service| &service.ports).filter(|port| port.protocol.carries_http());
                ports.extend(http.map(|port| port.port));
            }
            if foreign.is_empty() {
                continue;
            }
            if ports.is_empty() {
                ports.extend(Port::try_from(80));
            }
            for port in ports {
                let rules = self.rules(one, &RuleScope { gateways: &gateways, client, port });
                if rules.is_empty() {
                    continue;
                }
                for host in &foreign {
                    let name = format!("{host}:{port}");
                    found.push((port, VirtualHost { name, domains: vec![(*host).clone()], service: None, rules: rules.clone() }));
                }
            }
        }
        found
    }
}

/// Virtual hosts of one port; a domain leads to the first that claims it.
#[derive(Default)]
struct TableBuilder {
    hosts: Vec<VirtualHost>,
    claimed: BTreeSet<HostPattern>,
}

impl TableBuilder {
    fn add(&mut self, mut host: VirtualHost) {
        host.domains.retain(|domain| self.claimed.insert(domain.clone()));
        if !host.domains.is_empty() {
            self.hosts.push(host);
        }
    }
}

/// The names under which a client reaches a Service; the bare name only in the Service's own namespace.
pub(crate) fn service_domains(service: &MeshService, client: &Workload) -> Vec<HostPattern> {
    let mut names = vec![service.host.to_string()];
    if let Some(short) = service.host.as_str().strip_suffix(SERVICE_SUFFIX).and_then(|short| short.strip_suffix('.')) {
        names.extend([format!("{short}.svc"), short.to_owned()]);
        let bare = short.split_once('.').filter(|(_, namespace)| *namespace == client.namespace.as_str());
        names.extend(bare.map(|(name, _)| name.to_owned()));
    }
    // The Service's address is that of the client's own cluster, as its DNS would say.
    let addresses = service.cluster_ips.get(&client.cluster).or_else(|| service.cluster_ips.values().next());
    names.extend(addresses.into_iter().flatten().map(ToString::to_string));
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
