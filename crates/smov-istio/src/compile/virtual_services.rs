//! VirtualServices with their names resolved and their delegates in place, found by the host that they steer.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use smov_model::names::{HostPattern, Hostname};
use smov_model::route::Origin;

use super::delegates;
use crate::diagnostic::Diagnostic;
use crate::hosts::{exported_to, host_pattern, resolve_gateway, specificity};
use crate::resource::{HttpRoute, Resource, VirtualServiceSpec};
use crate::world::World;

/// All VirtualServices of the own cluster, oldest first.
#[derive(Debug)]
pub(crate) struct VirtualServices<'w> {
    all: Vec<ResolvedVirtualService<'w>>,
    /// Which of them name a host exactly; positions in `all`.
    exact: HashMap<Hostname, Vec<usize>>,
    /// Which of them have a wildcard among their hosts.
    wild: Vec<usize>,
    /// Do some rules ask for the client's labels?
    pub(crate) by_labels: bool,
    /// Delegated rules that could not be put in place.
    pub(crate) findings: Vec<Diagnostic>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct ResolvedVirtualService<'w> {
    pub(crate) resource: &'w Resource<VirtualServiceSpec>,
    pub(crate) hosts: Vec<HostPattern>,
    /// `mesh` and `namespace/name`s; never empty.
    pub(crate) gateways: BTreeSet<String>,
    /// The rules of `http:`, delegated ones merged in.
    pub(crate) http: Vec<ResolvedRoute<'w>>,
}

/// One rule of `http:` and who wrote it.
#[derive(Debug)]
pub(crate) struct ResolvedRoute<'w> {
    pub(crate) route: Cow<'w, HttpRoute>,
    /// The place of the rule; of a delegated one, in the delegate.
    pub(crate) origin: Origin,
    /// The namespace in which its short names are meant.
    pub(crate) namespace: &'w str,
}

impl<'w> VirtualServices<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let mut resources: Vec<&Resource<VirtualServiceSpec>> = world.virtual_services.values().map(|resource| &**resource).collect();
        resources.sort_by_key(|resource| resource.seniority());
        let delegates: BTreeMap<_, _> = resources
            .iter()
            .filter(|resource| resource.spec.hosts.is_empty())
            .map(|resource| ((resource.metadata.namespace.as_str(), resource.metadata.name.as_str()), *resource))
            .collect();
        let mut findings = Vec::new();
        let all: Vec<_> = resources.iter().map(|resource| ResolvedVirtualService::new(resource, &delegates, &mut findings)).collect();
        let mut exact: HashMap<Hostname, Vec<usize>> = HashMap::new();
        let mut wild = Vec::new();
        for (index, one) in all.iter().enumerate() {
            for host in &one.hosts {
                match host {
                    HostPattern::Exact(name) => exact.entry(name.clone()).or_default().push(index),
                    HostPattern::Suffix(_) | HostPattern::Any if wild.last() != Some(&index) => wild.push(index),
                    HostPattern::Suffix(_) | HostPattern::Any => {}
                }
            }
        }
        let by_labels = all.iter().any(ResolvedVirtualService::asks_for_labels);
        Self { all, exact, wild, by_labels, findings }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ResolvedVirtualService<'w>> {
        self.all.iter()
    }

    /// Those that sidecars of a namespace meet.
    pub(crate) fn in_mesh(&self, client: &str) -> impl Iterator<Item = &ResolvedVirtualService<'w>> {
        self.all.iter().filter(move |one| one.is_met_by(client))
    }

    /// Those that may steer a host of the mesh, in the order of precedence: all that name it, oldest first; only where there is none, the
    /// oldest with the longest wildcard.
    pub(crate) fn for_host(&self, client: &str, host: &Hostname) -> Vec<&ResolvedVirtualService<'w>> {
        let met = |index: &usize| Some(&self.all[*index]).filter(|one| one.is_met_by(client));
        let exact: Vec<_> = self.exact.get(host).into_iter().flatten().filter_map(met).collect();
        if !exact.is_empty() {
            return exact;
        }
        let mut best: Option<((u8, usize), &ResolvedVirtualService<'w>)> = None;
        for one in self.wild.iter().filter_map(met) {
            if let Some(rank) = one.rank(host.as_str())
                && best.is_none_or(|(known, _)| rank > known)
            {
                best = Some((rank, one));
            }
        }
        best.into_iter().map(|(_, one)| one).collect()
    }
}

impl<'w> ResolvedVirtualService<'w> {
    fn new(
        resource: &'w Resource<VirtualServiceSpec>,
        delegates: &BTreeMap<(&'w str, &'w str), &'w Resource<VirtualServiceSpec>>,
        findings: &mut Vec<Diagnostic>,
    ) -> Self {
        let namespace = resource.metadata.namespace.as_str();
        let gateways = match resource.spec.gateways.as_slice() {
            [] => BTreeSet::from(["mesh".to_owned()]),
            named => named.iter().map(|name| resolve_gateway(name, namespace)).collect(),
        };
        let hosts: Vec<HostPattern> = resource.spec.hosts.iter().filter_map(|host| host_pattern(host, namespace).ok()).collect();
        let mut http = Vec::new();
        for (index, route) in resource.spec.http.iter().enumerate() {
            match &route.delegate {
                Some(_) if hosts.is_empty() => {}
                Some(delegate) => http.extend(delegates::merged(resource, index, route, delegate, delegates, findings)),
                None => http.push(ResolvedRoute {
                    route: Cow::Borrowed(route),
                    origin: origin(resource, index, route.name.as_deref()),
                    namespace,
                }),
            }
        }
        Self { resource, hosts, gateways, http }
    }

    fn asks_for_labels(&self) -> bool {
        let spec = &self.resource.spec;
        let l4 = spec.tcp.iter().flat_map(|route| &route.matches).map(|entry| &entry.source_labels);
        let http = self.http.iter().flat_map(|one| &one.route.matches).map(|entry| &entry.source_labels);
        http.chain(l4).any(|labels| !labels.is_empty())
    }

    pub(crate) fn visible_to(&self, client: &str) -> bool {
        exported_to(&self.resource.spec.export_to, &self.resource.metadata.namespace, client)
    }

    fn is_met_by(&self, client: &str) -> bool {
        self.gateways.contains("mesh") && self.visible_to(client)
    }

    /// How specifically its wildcards name a host; `None` = not at all.
    fn rank(&self, host: &str) -> Option<(u8, usize)> {
        self.hosts.iter().filter(|pattern| pattern.covers(host)).map(specificity).max()
    }
}

/// The place of a rule.
pub(super) fn origin(resource: &Resource<VirtualServiceSpec>, index: usize, name: Option<&str>) -> Origin {
    Origin { resource: resource.reference(), path: format!("spec.http[{index}]"), name: name.unwrap_or_default().to_owned() }
}
