//! Phase **pin**: the compiled snapshot. All work that depends on configuration alone is done here, once per snapshot, so that a request
//! only looks things up: hosts in a hash map, clusters by slot, header operations with their values ready.
//!
//! What lasts longer than a snapshot (pools, ejections, counters) hangs on [`ClusterState`] and [`EndpointState`], which are carried over
//! as long as the cluster and the endpoint stay.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smov_model::authorization::Authorization;
use smov_model::cluster::Protocol;
use smov_model::names::{ClusterName, HostPattern, Hostname, Namespace, Port, ServiceAccount};
use smov_model::record::Direction;
use smov_model::route::{RouteAction, RouteTable, VirtualHost, canonical_host};
use smov_model::snapshot::Snapshot;
use smov_model::split::{Split, Weight};
use smov_model::telemetry::{AccessLog, Side};
use smov_model::tls::{MutualTlsMode, SpiffeId};
use smov_model::workload::Workload;

use crate::cluster::ClusterView;
use crate::headers::Operations;
use crate::names::{Names, PeerId, ServiceId};
use crate::outbound::cors::CorsPlan;
use crate::outbound::mirror::MirrorPlan;
use crate::outbound::rewrite::RewritePlan;

/// A snapshot as requests use it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    outbound: HashMap<u16, PortTable>,
    ingress: HashMap<u16, PortTable>,
    clusters: Vec<Option<Arc<ClusterView>>>,
    tcp: HashMap<(Hostname, Port), Split<(ClusterName, usize)>>,
    inbound: HashMap<u16, InboundView>,
    peers_by_address: HashMap<IpAddr, PeerView>,
    peers_by_id: HashMap<String, PeerView>,
    /// Workloads that are the only ones of their identity; `None` = there are several.
    peers_by_identity: HashMap<(Namespace, ServiceAccount), Option<PeerView>>,
    protected: HashSet<SocketAddr>,
    /// Shared with records, and carried over as long as it stays the same.
    pub(crate) authorization: Arc<Authorization>,
    /// Of the client's and of the server's side.
    access_logs: [Option<Arc<AccessLog>>; 2],
}

/// A port of the pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InboundView {
    pub(crate) protocol: Protocol,
    pub(crate) service: ServiceId,
    pub(crate) mutual_tls: MutualTlsMode,
}

/// A port that no snapshot speaks of.
impl Default for InboundView {
    fn default() -> Self {
        Self { protocol: Protocol::Http, service: ServiceId::UNKNOWN, mutual_tls: MutualTlsMode::default() }
    }
}

/// A known peer.
#[derive(Debug, Clone)]
pub(crate) struct PeerView {
    pub(crate) id: PeerId,
    pub(crate) workload: Arc<Workload>,
}

/// The virtual hosts of one port, by name.
#[derive(Debug, Default)]
struct PortTable {
    exact: HashMap<Box<str>, Arc<HostView>>,
    /// Longest suffix first.
    suffixes: Vec<(HostPattern, Arc<HostView>)>,
    any: Option<Arc<HostView>>,
}

/// One virtual host, compiled.
#[derive(Debug)]
pub(crate) struct HostView {
    pub(crate) host: VirtualHost,
    pub(crate) service: ServiceId,
    pub(crate) plans: Vec<RulePlan>,
    /// Headers that some rule looks at: what a record must keep to explain itself later.
    pub(crate) headers_read: Vec<String>,
}

/// What one rule needs beyond the model's own words.
#[derive(Debug)]
pub(crate) struct RulePlan {
    /// The arms of a forward; `None` for redirects and direct responses.
    pub(crate) arms: Option<Split<Arm>>,
    /// The route's own operations, for answers that no arm gives.
    pub(crate) operations: Operations,
    pub(crate) rewrite: Option<RewritePlan>,
    /// Of forwarding rules only.
    pub(crate) cors: Option<CorsPlan>,
    pub(crate) mirrors: Vec<MirrorPlan>,
}

/// One arm of a split.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    pub(crate) cluster: ClusterName,
    /// The cluster's name as logs have it.
    pub(crate) text: Arc<str>,
    pub(crate) slot: usize,
    pub(crate) service: ServiceId,
    /// Route's and destination's operations in the order in which they count.
    pub(crate) operations: Operations,
}

impl View {
    /// Compiles a snapshot; what did not change is taken over from `before`. `now` is the proxy's age.
    pub(crate) fn compile(snapshot: Snapshot, before: Option<&Self>, names: &mut Names, now: Duration) -> Self {
        names.trust_domain = snapshot.trust_domain.clone();
        let mut clusters: Vec<Option<Arc<ClusterView>>> = Vec::new();
        for (name, cluster) in &snapshot.clusters {
            let slot = names.slot(name);
            if clusters.len() <= slot {
                clusters.resize(slot + 1, None);
            }
            let known = before.and_then(|view| view.cluster(slot));
            clusters[slot] = Some(ClusterView::compile(cluster, slot, known, names, now));
        }
        let tables = |tables: &std::collections::BTreeMap<Port, RouteTable>, old: Option<&HashMap<u16, PortTable>>, names: &mut Names| {
            tables
                .iter()
                .map(|(port, table)| {
                    let known = old.and_then(|old| old.get(&port.number()));
                    (port.number(), PortTable::compile(table, known, names))
                })
                .collect::<HashMap<_, _>>()
        };
        let outbound = tables(&snapshot.outbound, before.map(|view| &view.outbound), names);
        let ingress = tables(&snapshot.ingress, before.map(|view| &view.ingress), names);
        let tcp = snapshot.tcp.iter().filter_map(|route| {
            let arms = route.split.arms().map(|(weight, cluster)| (weight, (cluster.clone(), names.slot(cluster)))).collect();
            // The arms come from a valid split, so that the new one is valid as well.
            Some(((route.host.clone(), route.port), Split::new(arms).ok()?))
        });
        let tcp = tcp.collect();
        let inbound = snapshot.inbound.iter().map(|port| {
            let service = port.service.as_ref().map_or(ServiceId::UNKNOWN, |service| names.service(service.as_str()));
            (port.port.number(), InboundView { protocol: port.protocol, service, mutual_tls: port.mutual_tls })
        });
        let inbound = inbound.collect();
        let peers_by_address: HashMap<_, _> = snapshot
            .peers
            .iter()
            .map(|(address, workload)| (*address, PeerView { id: names.peer(workload), workload: workload.clone() }))
            .collect();
        let peers_by_id = peers_by_address.values().map(|peer| (peer_key(&peer.workload), peer.clone())).collect();
        let mut peers_by_identity = HashMap::new();
        for peer in peers_by_address.values() {
            let identity = (peer.workload.namespace.clone(), peer.workload.service_account.clone());
            let sole = peers_by_identity.entry(identity).or_insert_with(|| Some(peer.clone()));
            *sole = sole.take().filter(|sole| sole.workload.pod == peer.workload.pod);
        }
        let protected = snapshot.protected.iter().copied().collect();
        let known = before.map(|view| &view.authorization).filter(|known| ***known == snapshot.authorization);
        let authorization = known.cloned().unwrap_or_else(|| Arc::new(snapshot.authorization.clone()));
        let access_logs = [&snapshot.telemetry.client, &snapshot.telemetry.server].map(|side| side.access_log.clone().map(Arc::new));
        let snapshot = Arc::new(snapshot);
        Self {
            snapshot,
            access_logs,
            outbound,
            ingress,
            clusters,
            tcp,
            inbound,
            peers_by_address,
            peers_by_id,
            peers_by_identity,
            protected,
            authorization,
        }
    }

    /// What Telemetry says of a direction; a gateway's traffic counts as a client's.
    pub(crate) fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Outbound | Direction::Ingress => &self.snapshot.telemetry.client,
            Direction::Inbound => &self.snapshot.telemetry.server,
        }
    }

    /// The access log of a direction, if there is one.
    pub(crate) fn access_log(&self, direction: Direction) -> Option<&Arc<AccessLog>> {
        self.access_logs[usize::from(direction == Direction::Inbound)].as_ref()
    }

    /// The virtual host for an authority's host part at this port.
    pub(crate) fn outbound_host(&self, port: u16, host: &str) -> Option<&Arc<HostView>> {
        self.outbound.get(&port)?.find(host)
    }

    /// The same at a gateway's server port.
    pub(crate) fn ingress_host(&self, port: u16, host: &str) -> Option<&Arc<HostView>> {
        self.ingress.get(&port)?.find(host)
    }

    pub(crate) fn cluster(&self, slot: usize) -> Option<&Arc<ClusterView>> {
        self.clusters.get(slot)?.as_ref()
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Arc<ClusterView>> {
        self.clusters.iter().flatten()
    }

    pub(crate) fn tcp(&self, host: &Hostname, port: Port) -> Option<&Split<(ClusterName, usize)>> {
        self.tcp.get(&(host.clone(), port))
    }

    pub(crate) fn inbound(&self, port: u16) -> Option<InboundView> {
        self.inbound.get(&port).copied()
    }

    /// Do the pod's ports take the same connections there?
    pub(crate) fn has_doors_of(&self, other: &Self) -> bool {
        let modes = |view: &Self| view.inbound.iter().map(|(port, inbound)| (*port, inbound.mutual_tls)).collect::<HashMap<_, _>>();
        self.snapshot.mutual_tls == other.snapshot.mutual_tls
            && modes(self) == modes(other)
            && self.authorization.tcp == other.authorization.tcp
    }

    /// The peer that a sidecar named in `x-envoy-peer-metadata-id`, else the one at that address. Who has proved an identity is one of that
    /// identity's workloads, whatever it says.
    pub(crate) fn peer(&self, identity: Option<&SpiffeId>, metadata_id: Option<&str>, address: IpAddr) -> Option<&PeerView> {
        // Workloads are all of the mesh's own trust domain.
        if identity.is_some_and(|id| *id.trust_domain != *self.snapshot.trust_domain) {
            return None;
        }
        let may_be = |peer: &&PeerView| {
            identity.is_none_or(|id| (&id.namespace, &id.service_account) == (&peer.workload.namespace, &peer.workload.service_account))
        };
        // sidecar~<ip>~<pod>.<namespace>~<domain>
        let named = metadata_id.and_then(|id| id.split('~').nth(2)).and_then(|key| self.peers_by_id.get(key));
        named.filter(may_be).or_else(|| self.peers_by_address.get(&address).filter(may_be)).or_else(|| {
            let identity = identity?;
            self.peers_by_identity.get(&(identity.namespace.clone(), identity.service_account.clone()))?.as_ref()
        })
    }

    pub(crate) fn is_peer_address(&self, address: IpAddr) -> bool {
        self.peers_by_address.contains_key(&address)
    }

    pub(crate) fn is_protected(&self, address: SocketAddr) -> bool {
        self.protected.contains(&address)
    }
}

fn peer_key(workload: &Workload) -> String {
    format!("{}.{}", workload.pod, workload.namespace)
}

impl PortTable {
    fn compile(table: &RouteTable, before: Option<&Self>, names: &mut Names) -> Self {
        let mut compiled = Self::default();
        for host in &table.hosts {
            // An equal host keeps its compiled form, so that records of many snapshots share one.
            let known = host.domains.first().and_then(|domain| before?.known(domain)).filter(|known| known.host == *host);
            let view = known.cloned().unwrap_or_else(|| Arc::new(HostView::compile(host, names)));
            for domain in &host.domains {
                match domain {
                    HostPattern::Exact(name) => {
                        compiled.exact.entry(name.as_str().into()).or_insert_with(|| view.clone());
                    }
                    HostPattern::Suffix(_) => compiled.suffixes.push((domain.clone(), view.clone())),
                    HostPattern::Any => {
                        compiled.any.get_or_insert_with(|| view.clone());
                    }
                }
            }
        }
        compiled.suffixes.sort_by_key(|(pattern, _)| std::cmp::Reverse(suffix_length(pattern)));
        compiled
    }

    fn known(&self, domain: &HostPattern) -> Option<&Arc<HostView>> {
        match domain {
            HostPattern::Exact(name) => self.exact.get(name.as_str()),
            HostPattern::Suffix(_) => self.suffixes.iter().find(|(pattern, _)| pattern == domain).map(|(_, view)| view),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// As `RouteTable::host`: exact, then the longest wildcard, then `*`.
    fn find(&self, host: &str) -> Option<&Arc<HostView>> {
        let host = canonical_host(host);
        self.exact
            .get(host.as_ref())
            .or_else(|| self.suffixes.iter().find(|(pattern, _)| pattern.covers(&host)).map(|(_, view)| view))
            .or(self.any.as_ref())
    }
}

fn suffix_length(pattern: &HostPattern) -> usize {
    match pattern {
        HostPattern::Suffix(suffix) => suffix.as_str().len(),
        HostPattern::Exact(_) | HostPattern::Any => 0,
    }
}

impl HostView {
    fn compile(host: &VirtualHost, names: &mut Names) -> Self {
        let service = host.service.as_ref().map_or(ServiceId::UNKNOWN, |service| names.service(service.as_str()));
        let plans = host
            .rules
            .iter()
            .map(|rule| {
                let route = &rule.policy.headers;
                let arms = match &rule.action {
                    RouteAction::Forward(split) => {
                        let single = split.is_single();
                        let arms: Vec<(Weight, Arm)> = split
                            .arms()
                            .map(|(weight, destination)| {
                                // One destination: the route's operations first; several: the route's last, so that its `set` wins.
                                let (first, last) = if single { (route, &destination.headers) } else { (&destination.headers, route) };
                                let arm = Arm {
                                    cluster: destination.cluster.clone(),
                                    text: destination.cluster.to_string().into(),
                                    slot: names.slot(&destination.cluster),
                                    service: names.service(destination.cluster.host.as_str()),
                                    operations: Operations::compile(&[first, last]),
                                };
                                (weight, arm)
                            })
                            .collect();
                        Split::new(arms).ok()
                    }
                    RouteAction::Redirect(_) | RouteAction::DirectResponse(_) => None,
                };
                let rewrite = rule.policy.rewrite.as_ref().map(RewritePlan::compile);
                let cors = rule.policy.cors.as_ref().filter(|_| arms.is_some()).map(CorsPlan::compile);
                let mirrors = rule.policy.mirrors.iter().map(|mirror| MirrorPlan {
                    slot: names.slot(&mirror.cluster),
                    share: mirror.share,
                    text: mirror.cluster.to_string(),
                });
                RulePlan { arms, operations: Operations::compile(&[route]), rewrite, cors, mirrors: mirrors.collect() }
            })
            .collect();
        let entries = || host.rules.iter().flat_map(|rule| &rule.matches);
        let mut headers_read: Vec<String> =
            entries().flat_map(|entry| entry.headers.iter().chain(&entry.without_headers)).map(|(name, _)| name.clone()).collect();
        headers_read.sort_unstable();
        headers_read.dedup();
        Self { host: host.clone(), service, plans, headers_read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_of_another_trust_domain_is_none_of_the_workloads_here() {
        let workload = Arc::new(Workload {
            pod: "a-1".to_owned(),
            name: "a".to_owned(),
            namespace: "t".parse().unwrap(),
            cluster: "ctx1".parse().unwrap(),
            service_account: "a".parse().unwrap(),
            labels: std::collections::BTreeMap::new(),
            region: String::new(),
            zone: String::new(),
            has_sidecar: true,
        });
        let address: IpAddr = "127.0.0.9".parse().unwrap();
        let snapshot = Snapshot {
            version: smov_model::snapshot::SnapshotVersion { epoch: 1, number: 1 },
            proxy: workload.clone(),
            outbound: Default::default(),
            tcp: Vec::new(),
            unknown_hosts: smov_model::snapshot::UnknownHosts::AllowAny,
            ingress: Default::default(),
            inbound: Vec::new(),
            clusters: Default::default(),
            peers: [(address, workload)].into(),
            path_normalization: Default::default(),
            authorization: Default::default(),
            mutual_tls: MutualTlsMode::default(),
            protected: Vec::new(),
            trust_domain: "cluster.local".into(),
            telemetry: smov_model::telemetry::Telemetry::default(),
        };
        let view = View::compile(snapshot, None, &mut Names::default(), Duration::ZERO);
        let found = |identity: &str, metadata_id: Option<&str>, address: IpAddr| {
            view.peer(Some(&identity.parse().unwrap()), metadata_id, address).map(|peer| peer.workload.pod.clone())
        };
        let elsewhere = "127.0.0.8".parse().unwrap();
        for (metadata_id, address) in [(Some("sidecar~127.0.0.9~a-1.t~t.svc.cluster.local"), elsewhere), (None, address), (None, elsewhere)]
        {
            assert_eq!(found("spiffe://cluster.local/ns/t/sa/a", metadata_id, address).as_deref(), Some("a-1"));
            assert_eq!(found("spiffe://other.mesh/ns/t/sa/a", metadata_id, address), None);
            assert_eq!(found("spiffe://cluster.local/ns/t/sa/b", metadata_id, address), None);
        }
    }

    /// The compiled table is an index over the model's decision, never another decision.
    #[test]
    fn the_compiled_table_finds_the_host_that_the_model_finds() {
        let domains = ["*", "*.com", "*.example.com", "*.a.example.com", "a.example.com", "example.com", "b.org"];
        let asked = ["a.example.com", "B.A.example.com:8080", "x.example.com", "example.com:80", "com", "b.org", "c.org", "deep.x.com", ""];
        for chosen in 0_u32..1 << domains.len() {
            let host = |domain: &str| VirtualHost {
                name: domain.to_owned(),
                domains: vec![domain.parse().unwrap()],
                service: None,
                rules: Vec::new(),
            };
            let hosts =
                domains.iter().enumerate().filter(|(place, _)| chosen & (1 << place) != 0).map(|(_, domain)| host(domain)).collect();
            let table = RouteTable { hosts };
            let compiled = PortTable::compile(&table, None, &mut Names::default());
            for authority in asked {
                let (theirs, ours) = (table.host(authority), compiled.find(authority));
                assert_eq!(ours.map(|view| &view.host.name), theirs.map(|host| &host.name), "{authority} among {:?}", table.hosts);
            }
        }
    }
}
