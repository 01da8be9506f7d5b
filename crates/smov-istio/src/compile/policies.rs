//! DestinationRules: which one a client meets, and how its policies are laid on each other.

use std::collections::BTreeMap;

use smov_model::names::{HostPattern, Hostname, Namespace, Port};

use crate::hosts::{exported_to, host_pattern, specificity};
use crate::resource::{DestinationRuleSpec, PolicyBlocks, Resource, Subset, TrafficPolicy};
use crate::world::World;

/// All DestinationRules of the own cluster, merged per namespace and host.
#[derive(Debug)]
pub(crate) struct Policies<'w> {
    by_namespace: BTreeMap<&'w str, Vec<Policy<'w>>>,
    root: &'w Namespace,
}

/// What the DestinationRules of one namespace say about one host.
#[derive(Debug)]
pub(crate) struct Policy<'w> {
    pub(crate) pattern: HostPattern,
    /// The rules, oldest first.
    pub(crate) rules: Vec<&'w Resource<DestinationRuleSpec>>,
    /// The first policy of the whole host.
    pub(crate) top: Option<&'w TrafficPolicy>,
    /// Subsets of all of them; the first definition of a name wins.
    pub(crate) subsets: Vec<&'w Subset>,
}

impl<'w> Policies<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let mut rules: Vec<&Resource<DestinationRuleSpec>> = world.destination_rules.values().map(|rule| &**rule).collect();
        rules.sort_by_key(|rule| rule.seniority());
        let mut by_namespace: BTreeMap<&str, Vec<Policy<'_>>> = BTreeMap::new();
        for rule in rules {
            let namespace = rule.metadata.namespace.as_str();
            let Ok(pattern) = host_pattern(&rule.spec.host, namespace) else { continue };
            let policies = by_namespace.entry(namespace).or_default();
            match policies.iter_mut().find(|policy| policy.pattern == pattern) {
                Some(policy) => policy.add(rule),
                None => {
                    let mut policy = Policy { pattern, rules: Vec::new(), top: None, subsets: Vec::new() };
                    policy.add(rule);
                    policies.push(policy);
                }
            }
        }
        Self { by_namespace, root: &world.mesh.root_namespace }
    }

    /// What a client of `client` meets at a host: its own namespace first (unless that is the root), then the Service's, then the root's.
    pub(crate) fn find(&self, client: &Namespace, service: &Namespace, host: &Hostname) -> Option<&Policy<'w>> {
        let own = (client != self.root).then_some(client);
        let mut seen = own.into_iter().chain([service, self.root]);
        seen.find_map(|namespace| self.best(namespace.as_str(), client.as_str(), host))
    }

    fn best(&self, namespace: &str, viewer: &str, host: &Hostname) -> Option<&Policy<'w>> {
        let policies = self.by_namespace.get(namespace)?.iter();
        let visible = policies.filter(|policy| policy.pattern.covers(host.as_str()) && policy.visible_to(viewer));
        visible.max_by_key(|policy| specificity(&policy.pattern))
    }

    /// All of them, for the analyzers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Policy<'w>> {
        self.by_namespace.values().flatten()
    }
}

impl<'w> Policy<'w> {
    fn add(&mut self, rule: &'w Resource<DestinationRuleSpec>) {
        self.rules.push(rule);
        self.top = self.top.or(rule.spec.traffic_policy.as_ref());
        for subset in &rule.spec.subsets {
            if !self.subsets.iter().any(|known| known.name == subset.name) {
                self.subsets.push(subset);
            }
        }
    }

    /// The oldest rule says who sees the merged one.
    fn visible_to(&self, viewer: &str) -> bool {
        self.rules.first().is_some_and(|rule| {
            let owner = rule.metadata.namespace.as_str();
            owner == viewer || exported_to(&rule.spec.export_to, owner, viewer)
        })
    }

    pub(crate) fn subset(&self, name: &str) -> Option<&'w Subset> {
        self.subsets.iter().copied().find(|subset| subset.name == name)
    }

    /// The blocks in force for a port and subset: top level, its port, the subset, its port. Each block is replaced as a whole.
    pub(crate) fn effective(&self, subset: Option<&Subset>, port: Port) -> PolicyBlocks {
        let mut blocks = PolicyBlocks::default();
        lay(&mut blocks, self.top, port);
        lay(&mut blocks, subset.and_then(|subset| subset.traffic_policy.as_ref()), port);
        blocks
    }
}

/// Lays a policy on what is there. A port's entry replaces all four blocks: one that it leaves out becomes the default.
fn lay(blocks: &mut PolicyBlocks, policy: Option<&TrafficPolicy>, port: Port) {
    let Some(policy) = policy else { return };
    let number = u32::from(port.number());
    let own_port = |entry: &&crate::resource::PortTrafficPolicy| entry.port.as_ref().is_some_and(|selector| selector.number == number);
    if let Some(entry) = policy.port_level_settings.iter().find(own_port) {
        *blocks = entry.blocks.clone();
        return;
    }
    let PolicyBlocks { load_balancer, connection_pool, outlier_detection, tls } = policy.blocks.clone();
    blocks.load_balancer = load_balancer.or(blocks.load_balancer.take());
    blocks.connection_pool = connection_pool.or(blocks.connection_pool.take());
    blocks.outlier_detection = outlier_detection.or(blocks.outlier_detection.take());
    blocks.tls = tls.or(blocks.tls.take());
}
