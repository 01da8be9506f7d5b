//! A sidecar's outbound HTTP routes: Services and the VirtualServices that steer them.

use std::collections::{BTreeMap, BTreeSet};

use smov_model::names::{ClusterName, HostPattern, Port};
use smov_model::route::{Destination, HeaderOperations, Origin, RetryPolicy, RouteAction, RoutePolicy, RouteRule, RouteTable, VirtualHost};
use smov_model::split::{Split, Weight};
use smov_model::workload::Workload;

use super::services::MeshService;
use super::{Prepared, RuleScope};
use crate::hosts::{exported_to, host_pattern, resolve_gateway, specificity};
use crate::resource::{Resource, VirtualServiceSpec};
use crate::world::World;

/// All VirtualServices of the own cluster, oldest first, with their names resolved.
#[derive(Debug)]
pub(crate) struct VirtualServices<'w>(Vec<ResolvedVirtualService<'w>>);

/// One of them.
#[derive(Debug)]
pub(crate) struct ResolvedVirtualService<'w> {
    pub(crate) resource: &'w Resource<VirtualServiceSpec>,
    pub(crate) hosts: Vec<HostPattern>,
    /// `mesh` and `namespace/name`s; never empty.
    pub(crate) gateways: BTreeSet<String>,
}

impl<'w> VirtualServices<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let mut all: Vec<_> = world.virtual_services.values().map(|resource| ResolvedVirtualService::new(resource)).collect();
        all.sort_by_key(|one| one.resource.seniority());
        Self(all)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ResolvedVirtualService<'w>> {
        self.0.iter()
    }

    /// Those that sidecars of a namespace meet.
    pub(crate) fn in_mesh(&self, client: &str) -> impl Iterator<Item = &ResolvedVirtualService<'w>> {
        self.0.iter().filter(move |one| one.gateways.contains("mesh") && one.visible_to(client))
    }

    /// Those that could steer a host of the mesh, in the order of precedence: exact names first, then longer wildcards, each oldest first.
    pub(crate) fn for_host(&self, client: &str, host: &str) -> Vec<&ResolvedVirtualService<'w>> {
        let ranked = self.in_mesh(client).filter_map(|one| Some((one.rank(host)?, one)));
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        ranked.into_iter().map(|(_, one)| one).collect()
    }
}

impl<'w> ResolvedVirtualService<'w> {
    fn new(resource: &'w Resource<VirtualServiceSpec>) -> Self {
        let namespace = resource.metadata.namespace.as_str();
        let gateways = match resource.spec.gateways.as_slice() {
            [] => BTreeSet::from(["mesh".to_owned()]),
            named => named.iter().map(|name| resolve_gateway(name, namespace)).collect(),
        };
        let hosts = resource.spec.hosts.iter().filter_map(|host| host_pattern(host, namespace).ok()).collect();
        Self { resource, hosts, gateways }
    }

    pub(crate) fn visible_to(&self, client: &str) -> bool {
        exported_to(&self.resource.spec.export_to, &self.resource.metadata.namespace, client)
    }

    /// How specifically its hosts name this one; `None` = not at all.
    fn rank(&self, host: &str) -> Option<(u8, usize)> {
        self.hosts.iter().filter(|pattern| pattern.covers(host)).map(specificity).max()
    }
}

/// The name under which sidecars are addressed.
pub(crate) fn mesh_gateway() -> BTreeSet<String> {
    BTreeSet::from(["mesh".to_owned()])
}

impl Prepared<'_> {
    /// The routes of a sidecar, by the port that its client dials.
    pub(super) fn outbound(&self, client: &Workload) -> BTreeMap<Port, RouteTable> {
        let mut tables: BTreeMap<Port, TableBuilder> = BTreeMap::new();
        for service in self.services.iter().filter(|service| service.visible_to(&client.namespace)) {
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
        let candidates = self.virtual_services.for_host(client.namespace.as_str(), service.host.as_str());
        let mut rules = candidates.into_iter().map(|one| self.rules(one.resource, &scope));
        rules.find(|rules| !rules.is_empty()).unwrap_or_else(|| vec![default_rule(service, port)])
    }

    /// Hosts of VirtualServices that are no Service: on the ports of the Services that the same resource names, else on port 80.
    fn hosts_without_service(&self, client: &Workload) -> Vec<(Port, VirtualHost)> {
        let gateways = mesh_gateway();
        let mut found = Vec::new();
        for one in self.virtual_services.in_mesh(client.namespace.as_str()) {
            let is_service = |host: &HostPattern| self.services.iter().any(|service| host.covers(service.host.as_str()));
            let (named, foreign): (Vec<_>, Vec<_>) = one.hosts.iter().partition(|host| is_service(host));
            let covered = self.services.iter().filter(|service| named.iter().any(|host| host.covers(service.host.as_str())));
            let http = covered.flat_map(|service| &service.ports).filter(|port| port.protocol.carries_http());
            let mut ports: BTreeSet<Port> = http.map(|port| port.port).collect();
            if named.is_empty() {
                ports.extend(Port::try_from(80));
            }
            for port in ports {
                let rules = self.rules(one.resource, &RuleScope { gateways: &gateways, client, port });
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
    let (name, namespace) = (&service.name, &service.namespace);
    let mut names = vec![service.host.to_string(), format!("{name}.{namespace}.svc"), format!("{name}.{namespace}")];
    if client.namespace == *namespace {
        names.push(name.clone());
    }
    // The Service's address is that of the client's own cluster, as its DNS would say.
    let addresses = service.cluster_ips.get(&client.cluster).or_else(|| service.cluster_ips.values().next());
    names.extend(addresses.into_iter().flatten().map(ToString::to_string));
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// What happens with a host without VirtualService: everything to the whole host, no timeout, default retries.
fn default_rule(service: &MeshService, port: Port) -> RouteRule {
    let cluster = ClusterName { port, subset: None, host: service.host.clone() };
    let arm = Destination { cluster, headers: HeaderOperations::default() };
    RouteRule {
        origin: Origin { resource: service.reference.clone(), path: String::new(), name: "default".to_owned() },
        matches: Vec::new(),
        action: RouteAction::Forward(Split::new(vec![(Weight(1), arm)]).expect("one arm is a split")),
        policy: RoutePolicy { retry: Some(RetryPolicy::default()), ..RoutePolicy::default() },
    }
}
