//! Opaque TCP services: where a sidecar's TCP doors lead.

use smov_model::names::{ClusterName, Port};
use smov_model::snapshot::TcpRoute;
use smov_model::split::{Split, Weight};
use smov_model::workload::Workload;

use super::action::cluster_name;
use super::outbound::mesh_gateway;
use super::services::MeshService;
use super::{Prepared, RuleScope};
use crate::resource::{L4Match, Resource, TcpRouteSpec, VirtualServiceSpec};

impl Prepared<'_> {
    /// One route per Service port that may be opaque.
    pub(super) fn tcp_routes(&self, client: &Workload) -> Vec<TcpRoute> {
        let visible = self.services.visible_to(&client.namespace);
        let ports = visible.flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        let opaque = ports.filter(|(_, port)| port.protocol.carries_tcp());
        opaque.map(|(service, port)| self.tcp_route(service, port.port, client)).collect()
    }

    fn tcp_route(&self, service: &MeshService, port: Port, client: &Workload) -> TcpRoute {
        let candidates = self.virtual_services.for_host(client.namespace.as_str(), &service.host);
        let split = candidates.into_iter().find_map(|one| self.tcp_split(one.resource, port, client)).unwrap_or_else(|| {
            let whole = ClusterName { port, subset: None, host: service.host.clone() };
            Split::new(vec![(Weight(1), whole)]).expect("one arm is a split")
        });
        TcpRoute { host: service.host.clone(), port, split }
    }

    /// The first `tcp:` rule for this client and port.
    fn tcp_split(&self, resource: &Resource<VirtualServiceSpec>, port: Port, client: &Workload) -> Option<Split<ClusterName>> {
        let namespace = resource.metadata.namespace.as_str();
        let gateways = mesh_gateway();
        let scope = RuleScope { gateways: &gateways, client, port };
        let admits =
            |entry: &L4Match| scope.admits(namespace, &entry.gateways, &entry.source_labels, entry.source_namespace.as_deref(), entry.port);
        let takes = |route: &&TcpRouteSpec| route.matches.is_empty() || route.matches.iter().any(admits);
        let route = resource.spec.tcp.iter().find(takes)?;
        let arms = route.route.iter().map(|arm| {
            let cluster = cluster_name(&self.services, arm.destination.as_ref()?, namespace, client, port)?;
            Some((Weight(u32::try_from(arm.weight).ok()?), cluster))
        });
        Split::new(arms.collect::<Option<Vec<_>>>()?).ok()
    }
}
