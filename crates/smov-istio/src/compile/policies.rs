//! DestinationRules: which one a client meets, and how its policies are laid on each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smov_model::names::{HostPattern, Hostname, Namespace, Port};
use smov_model::workload::Workload;

use crate::hosts::{host_pattern, specificity};
use crate::resource::{DestinationRuleSpec, PolicyBlocks, Resource, Subset, TrafficPolicy};
use crate::world::World;

/// All DestinationRules of the own cluster, merged per namespace and host.
#[derive(Debug)]
pub(crate) struct Policies<'w> {
    by_namespace: BTreeMap<&'w str, OfNamespace<'w>>,
    root: &'w Namespace,
    /// Do some rules depend on the client's labels?
    pub(crate) by_labels: bool,
}

/// The rules of one namespace: several per host where their `exportTo` or `workloadSelector` differ.
#[derive(Debug, Default)]
struct OfNamespace<'w> {
    policies: Vec<Policy<'w>>,
    /// Positions of those that name a host exactly.
    exact: HashMap<Hostname, Vec<usize>>,
    /// Positions of the others, by their pattern.
    wild: BTreeMap<HostPattern, Vec<usize>>,
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
    /// Labels of the clients that it is for; `None` = all.
    selector: Option<&'w BTreeMap<String, String>>,
    /// Namespaces that see it, as `exportTo` has them; empty = all.
    viewers: BTreeSet<&'w str>,
}

impl<'w> Policies<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let mut rules: Vec<&Resource<DestinationRuleSpec>> = world.destination_rules.values().map(|rule| &**rule).collect();
        rules.sort_by_key(|rule| (rule.spec.workload_selector.is_none(), rule.seniority()));
        let by_labels = rules.iter().any(|rule| {
            let subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
            rule.spec.workload_selector.is_some() || subsets.chain(&rule.spec.traffic_policy).any(asks_for_labels)
        });
        let mut by_namespace: BTreeMap<&str, OfNamespace<'_>> = BTreeMap::new();
        for rule in rules {
            let namespace = rule.metadata.namespace.as_str();
            if let Ok(pattern) = host_pattern(&rule.spec.host, namespace) {
                by_namespace.entry(namespace).or_default().add(pattern, rule);
            }
        }
        Self { by_namespace, root: &world.mesh.root_namespace, by_labels }
    }

    /// What a client meets: the rules of its own namespace first (of the root namespace only those that stay there), then the Service's, then
    /// the root's; in each, rules for the client's labels before those for all.
    pub(crate) fn find_for(&self, client: &Workload, service: Option<&Namespace>, host: &Hostname) -> Option<&Policy<'w>> {
        let best = |namespace: &Namespace, private: bool| {
            let viewer = client.namespace.as_str();
            self.by_namespace.get(namespace.as_str())?.best(*namespace == client.namespace, private, viewer, host, &client.labels)
        };
        let own = best(&client.namespace, client.namespace == *self.root);
        own.or_else(|| service.into_iter().chain([self.root]).find_map(|namespace| best(namespace, false)))
    }

    /// All of them, for the analyzers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Policy<'w>> {
        self.by_namespace.values().flat_map(|one| &one.policies)
    }
}

/// Does `failoverPriority` compare labels?
fn asks_for_labels(policy: &TrafficPolicy) -> bool {
    let ports = policy.port_level_settings.iter().map(|entry| &entry.blocks);
    let balancers = ports.chain([&policy.blocks]).filter_map(|blocks| blocks.load_balancer.as_ref());
    balancers.filter_map(|balancer| balancer.locality_lb_setting.as_ref()).any(|locality| !locality.failover_priority.is_empty())
}

impl<'w> OfNamespace<'w> {
    /// Istio's merge: into every policy of the same host whose `exportTo` allows it, and beside them where it says something of its own.
    fn add(&mut self, pattern: HostPattern, rule: &'w Resource<DestinationRuleSpec>) {
        let selector = rule.spec.workload_selector.as_ref().map(|selector| &selector.match_labels);
        let viewers = viewers(rule);
        let known = match &pattern {
            HostPattern::Exact(host) => self.exact.entry(host.clone()).or_default(),
            HostPattern::Suffix(_) | HostPattern::Any => self.wild.entry(pattern.clone()).or_default(),
        };
        let mut alone = true;
        for index in known.iter() {
            let policy = &mut self.policies[*index];
            let others = policy.selector.is_some() && selector.is_some() && policy.selector != selector;
            let wider = viewers == policy.viewers || !policy.viewers.is_empty() && viewers.is_superset(&policy.viewers);
            if !wider || others {
                continue;
            }
            policy.add(rule);
            alone &= policy.viewers != viewers || policy.selector != selector;
        }
        if alone {
            known.push(self.policies.len());
            let mut policy = Policy { pattern, rules: Vec::new(), top: None, subsets: Vec::new(), selector, viewers };
            policy.add(rule);
            self.policies.push(policy);
        }
    }

    fn best(&self, own: bool, private: bool, viewer: &str, host: &Hostname, labels: &BTreeMap<String, String>) -> Option<&Policy<'w>> {
        let choose = |indexes: &Vec<usize>| {
            let visible = || {
                indexes
                    .iter()
                    .map(|index| &self.policies[*index])
                    .filter(|policy| policy.visible_to(viewer) && (!private || policy.is_private()))
            };
            let fits = |policy: &&Policy<'w>| {
                policy.selector.is_some_and(|wanted| own && wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
            };
            visible().find(fits).or_else(|| visible().rfind(|policy| policy.selector.is_none()))
        };
        let wild = || {
            let covering = self.wild.iter().filter(|(pattern, _)| pattern.covers(host.as_str()));
            let found = covering.filter_map(|(pattern, indexes)| Some((specificity(pattern), choose(indexes)?)));
            found.max_by_key(|(rank, _)| *rank).map(|(_, policy)| policy)
        };
        self.exact.get(host).and_then(choose).or_else(wild)
    }
}

/// The namespaces to which a rule is exported; one for certain clients stays at home.
fn viewers(rule: &Resource<DestinationRuleSpec>) -> BTreeSet<&str> {
    match rule.spec.workload_selector {
        Some(_) => BTreeSet::from(["."]),
        None => rule.spec.export_to.iter().map(String::as_str).collect(),
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

    fn owner(&self) -> Option<&'w str> {
        self.rules.first().map(|rule| rule.metadata.namespace.as_str())
    }

    /// Does nobody but its own namespace see it?
    fn is_private(&self) -> bool {
        !self.viewers.is_empty() && self.viewers.iter().all(|entry| *entry == "." || Some(*entry) == self.owner())
    }

    fn visible_to(&self, viewer: &str) -> bool {
        let owner = self.owner();
        let sees = |entry: &&str| matches!(*entry, "*") || *entry == viewer || *entry == "." && owner == Some(viewer);
        self.viewers.is_empty() || self.viewers.iter().any(sees)
    }

    /// Is it only for clients with certain labels?
    pub(crate) fn is_for_certain_clients(&self) -> bool {
        self.selector.is_some()
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
