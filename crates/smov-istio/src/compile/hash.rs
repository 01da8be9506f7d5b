//! What a request sticks to: the `consistentHash` of the destinations' DestinationRules.

use smov_model::names::{Hostname, Port};
use smov_model::route::HashKey;
use smov_model::workload::Workload;

use super::route_policy::duration;
use super::rules::RuleScope;
use super::virtual_services::ResolvedRoute;
use super::{Policy, Prepared};
use crate::hosts::hostname;
use crate::resource::{ConsistentHash, DestinationSpec, PolicyBlocks, TrafficPolicy};

impl Prepared<'_> {
    /// The keys of a rule, one per destination that has one and gets traffic, in their order.
    pub(super) fn hash_keys(&self, one: &ResolvedRoute<'_>, scope: &RuleScope<'_>) -> Vec<HashKey> {
        let single = one.route.route.len() == 1;
        let arms = one.route.route.iter().filter(|arm| single || arm.weight > 0);
        let key = |destination: &DestinationSpec| {
            let host = hostname(&destination.host, one.namespace).ok()?;
            let policy = self.policy_of(scope.client, &host)?;
            hash_of_destination(policy, destination).and_then(hash_key)
        };
        arms.filter_map(|arm| key(arm.destination.as_ref()?)).collect()
    }

    /// The key of a host without VirtualService.
    pub(super) fn default_hash_key(&self, client: &Workload, host: &Hostname, port: Port) -> Option<HashKey> {
        let top = self.policy_of(client, host)?.top?;
        of_port(top, u32::from(port.number())).or_else(|| consistent_hash(&top.blocks)).and_then(hash_key)
    }
}

/// Istio's order: the subset's port, the subset, the port, the whole host. A port's entry counts only where the destination names the port.
fn hash_of_destination<'w>(policy: &Policy<'w>, destination: &DestinationSpec) -> Option<&'w ConsistentHash> {
    let port = destination.port.as_ref().map(|port| port.number);
    let at = |policy: Option<&'w TrafficPolicy>| {
        let policy = policy?;
        Some((port.and_then(|port| of_port(policy, port)), consistent_hash(&policy.blocks)))
    };
    let subset = destination.subset.as_deref().and_then(|name| policy.subset(name)).and_then(|subset| subset.traffic_policy.as_ref());
    let (subset_port, subset) = at(subset).unwrap_or_default();
    let (top_port, top) = at(policy.top).unwrap_or_default();
    subset_port.or(subset).or(top_port).or(top)
}

fn of_port(policy: &TrafficPolicy, number: u32) -> Option<&ConsistentHash> {
    let own = |entry: &&crate::resource::PortTrafficPolicy| entry.port.as_ref().is_some_and(|port| port.number == number);
    consistent_hash(&policy.port_level_settings.iter().find(own)?.blocks)
}

fn consistent_hash(blocks: &PolicyBlocks) -> Option<&ConsistentHash> {
    blocks.load_balancer.as_ref()?.consistent_hash.as_ref()
}

fn hash_key(spec: &ConsistentHash) -> Option<HashKey> {
    if let Some(header) = &spec.http_header_name {
        return Some(HashKey::Header(header.to_ascii_lowercase()));
    }
    if let Some(cookie) = &spec.http_cookie {
        return Some(HashKey::Cookie {
            name: cookie.name.clone().unwrap_or_default(),
            path: cookie.path.clone().unwrap_or_default(),
            ttl: duration(cookie.ttl.as_deref()),
        });
    }
    if spec.use_source_ip == Some(true) {
        return Some(HashKey::SourceIp);
    }
    spec.http_query_parameter_name.clone().map(HashKey::Query)
}
