//! A log line as a record: what Envoy saw, and what follows from the configuration by the model's own functions.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use smov_model::authorization::{AuthorizationTaken, Chain, Told, Verdict};
use smov_model::dice::Purpose;
use smov_model::flag::{Flags, ResponseFlag};
use smov_model::hash::request_hash;
use smov_model::names::{ClusterName, Port, SubsetName};
use smov_model::record::{Attempt, Direction, DrawTaken, Peer, Phase, Record, RecordSource, Row, RuleTaken, SkippedRule};
use smov_model::route::{CorsDecision, Percent, RequestHead, RouteAction, RouteRule, VirtualHost};
use smov_model::snapshot::Snapshot;
use smov_model::tls::SpiffeId;
use smov_model::workload::Workload;

use crate::config::PASSTHROUGH;
use crate::config::access_log::Side;
use crate::log::Entry;

/// A line with what it refers to.
pub(crate) struct Reading<'a> {
    entry: &'a Entry,
    snapshot: &'a Snapshot,
    host: Option<&'a VirtualHost>,
    rule: Option<(usize, usize, &'a RouteRule)>,
    cluster: Option<ClusterName>,
}

/// The side of a line in a record's words.
pub(crate) fn direction(side: Side) -> Direction {
    match side {
        Side::Outbound | Side::OutboundTcp => Direction::Outbound,
        Side::Inbound | Side::InboundTcp | Side::Connection => Direction::Inbound,
        Side::Ingress => Direction::Ingress,
    }
}

impl<'a> Reading<'a> {
    pub(crate) fn of(entry: &'a Entry, snapshot: &'a Snapshot) -> Self {
        let host = entry.taken.as_ref().map_or_else(
            || unmatched_host(entry, snapshot),
            |taken| {
                let tables = if entry.side == Side::Ingress { &snapshot.ingress } else { &snapshot.outbound };
                let table = Port::try_from(taken.port as u32).ok().and_then(|port| tables.get(&port))?;
                table.hosts.iter().find(|host| host.name == taken.host)
            },
        );
        let rule = host.zip(entry.taken.as_ref()).and_then(|(host, taken)| {
            let (index, place) = (taken.rule as usize, taken.entry as usize);
            Some((index, place, host.rules.get(index)?))
        });
        let cluster = entry.upstream_cluster.as_deref().and_then(|name| name.parse().ok());
        Self { entry, snapshot, host, rule, cluster }
    }

    /// Could this snapshot have served the line? It knows the rule, and the rule leads to the cluster.
    pub(crate) fn fits(&self) -> bool {
        // A rule that refused it is a rule of the snapshot's, too.
        let refused = |details: &str| {
            let outcome = self.chain()?.outcome_of_details(details)?;
            Some(self.chain()?.details(outcome.decision)? == details)
        };
        if self.entry.details.as_deref().and_then(refused) == Some(false) {
            return false;
        }
        match (&self.entry.taken, self.rule) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some((.., rule))) => match (&rule.action, &self.cluster) {
                (RouteAction::Forward(split), Some(cluster)) => split.arms().any(|(_, arm)| arm.cluster == *cluster),
                _ => true,
            },
        }
    }

    /// The service asked for, in full, as metrics name it.
    pub(crate) fn service(&self) -> String {
        let unknown = || "unknown".to_owned();
        match self.entry.side {
            Side::Inbound | Side::InboundTcp | Side::Connection => {
                let port =
                    self.entry.downstream_local.as_deref().and_then(|local| local.parse::<SocketAddr>().ok()).map(|local| local.port());
                let inbound = self.snapshot.inbound.iter().find(|inbound| Some(inbound.port.number()) == port);
                inbound.and_then(|inbound| inbound.service.as_ref()).map_or_else(unknown, ToString::to_string)
            }
            Side::Outbound | Side::Ingress | Side::OutboundTcp => match (&self.cluster, self.host) {
                (Some(cluster), _) => cluster.host.to_string(),
                (None, Some(host)) => host.service.as_ref().map_or_else(unknown, ToString::to_string),
                (None, None) if self.entry.upstream_cluster.as_deref() == Some(PASSTHROUGH) => PASSTHROUGH.to_owned(),
                (None, None) if self.entry.route.as_deref() == Some("block_all") => "BlackHoleCluster".to_owned(),
                (None, None) => unknown(),
            },
        }
    }

    /// Who was on the other side: the caller of what came in, the endpoint of what went out.
    pub(crate) fn peer(&self) -> Option<&Arc<Workload>> {
        match self.entry.side {
            Side::Inbound | Side::InboundTcp | Side::Connection => self.caller(),
            Side::Outbound | Side::Ingress => self.entry.is_from_upstream().then(|| self.endpoint(self.entry.answerer()?)).flatten(),
            Side::OutboundTcp => self.endpoint(self.entry.answerer()?),
        }
    }

    /// The peer that is named in `x-envoy-peer-metadata-id`, else the one at that address. Who has proved an identity is one of that identity's workloads,
    /// whatever it says, as in our own data plane.
    fn caller(&self) -> Option<&Arc<Workload>> {
        let proved = match self.entry.peer_principal() {
            Some(principal) => Some(principal.parse::<SpiffeId>().ok().filter(|id| id.trust_domain == self.snapshot.trust_domain)?),
            None => None,
        };
        let may_be = |peer: &&Arc<Workload>| {
            proved.as_ref().is_none_or(|id| (&id.namespace, &id.service_account) == (&peer.namespace, &peer.service_account))
        };
        let peers = || self.snapshot.peers.values().filter(may_be);
        // sidecar~<ip>~<pod>.<namespace>~<domain>
        let named = self.entry.note("x-envoy-peer-metadata-id").and_then(|id| id.split('~').nth(2));
        let is_named = |peer: &&Arc<Workload>| named.is_some_and(|name| name == format!("{}.{}", peer.pod, peer.namespace));
        let address = || self.entry.downstream_remote.as_deref()?.parse::<SocketAddr>().ok();
        let at_address = || self.snapshot.peers.get(&address()?.ip()).filter(may_be);
        // The only one of its identity, where it has one.
        let sole = || peers().next().filter(|first| proved.is_some() && peers().all(|peer| peer.pod == first.pod));
        peers().find(is_named).or_else(at_address).or_else(sole)
    }

    fn endpoint(&self, address: SocketAddr) -> Option<&Arc<Workload>> {
        let cluster = self.snapshot.clusters.get(self.cluster.as_ref()?)?;
        let endpoint = cluster.endpoints.iter().find(|endpoint| endpoint.dial() == address);
        endpoint.map(|endpoint| &endpoint.workload).or_else(|| self.snapshot.peers.get(&address.ip()))
    }

    /// The record.
    pub(crate) fn record(&self, proxy: &str) -> Record {
        let entry = self.entry;
        Record {
            request_id: entry.request_id.clone().unwrap_or_default(),
            proxy: proxy.to_owned(),
            direction: direction(entry.side),
            started: entry.started,
            method: entry.method.clone().unwrap_or_default(),
            authority: entry.authority.clone().unwrap_or_default(),
            path: path_of(entry).0.to_owned(),
            headers: self.headers_read(),
            snapshot: self.snapshot.version,
            virtual_host: self.host.map(|host| host.name.clone()),
            rule: self.rule.map(|(index, entry, rule)| RuleTaken { index, entry, origin: rule.origin.clone() }),
            skipped: self.skipped(),
            draws: self.draws(),
            cluster: self.cluster.clone(),
            attempts: self.attempts(),
            mirrors: self.mirrors(),
            // Envoy's log does not say.
            cors: self.cors(),
            injected_delay: self.injected_delay(),
            peer: self.peer().map(|workload| Peer {
                pod: workload.pod.clone(),
                workload: workload.name.clone(),
                kube_cluster: workload.cluster.to_string(),
            }),
            security: entry.security(),
            peer_principal: entry.peer_principal().map(str::to_owned),
            authorization: self.authorization(),
            status: entry.status as u16,
            flags: entry.known_flags(),
            duration: if entry.answered > 0 { entry.answered } else { entry.milliseconds * 1000 },
            phases: [(Phase::Accept, 0), (Phase::Observe, entry.done)]
                .into_iter()
                .filter(|(phase, at)| *phase == Phase::Accept || *at > 0)
                .collect(),
            source: RecordSource::Computed,
        }
    }

    /// One line for the page.
    pub(crate) fn row(&self, proxy: &str, workload: &str) -> Row {
        let answerer = self.peer().filter(|_| self.entry.side != Side::Inbound);
        let service = self.service();
        Row {
            request_id: self.entry.request_id.clone().unwrap_or_default(),
            proxy: proxy.to_owned(),
            workload: workload.to_owned(),
            direction: direction(self.entry.side),
            started: self.entry.started,
            service: service.split('.').next().unwrap_or_default().to_owned(),
            rule: self
                .rule
                .map_or_else(String::new, |(.., rule)| format!("{} {}", rule.origin.resource.name, rule.origin.path).trim_end().to_owned()),
            subset: self.cluster.as_ref().and_then(|cluster| cluster.subset.as_ref()).map_or_else(String::new, ToString::to_string),
            pod: answerer.map_or_else(String::new, |workload| workload.pod.clone()),
            kube_cluster: answerer.map_or_else(String::new, |workload| workload.cluster.to_string()),
            status: self.entry.status as u16,
            flags: self.entry.known_flags().to_string(),
            attempts: self.entry.attempts as u32,
            injected_delay: self.injected_delay(),
            duration: if self.entry.answered > 0 { self.entry.answered } else { self.entry.milliseconds * 1000 },
        }
    }

    /// Why the rules before the one taken did not take the request, by the function that would have decided here.
    fn skipped(&self) -> Vec<SkippedRule> {
        let Some(host) = self.host else { return Vec::new() };
        let headers = self.noted_headers();
        let (path, query) = path_of(self.entry);
        let head = RequestHead {
            method: self.entry.method.as_deref().unwrap_or_default(),
            scheme: "http",
            authority: self.entry.authority.as_deref().unwrap_or_default(),
            path,
            query,
            headers: &headers,
        };
        let looked_at = self.rule.map_or(host.rules.len(), |(index, ..)| index);
        host.skipped(looked_at, &head)
    }

    /// The headers that the host's rules look at, with what the log noted of them.
    fn headers_read(&self) -> Vec<(String, Option<String>)> {
        let rules = self.host.map_or(&[][..], |host| &host.rules);
        let entries = rules.iter().flat_map(|rule| &rule.matches);
        let names: std::collections::BTreeSet<String> = entries
            .flat_map(|entry| entry.headers.iter().chain(&entry.without_headers))
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        names.into_iter().map(|name| (self.entry.note(&name).map(str::to_owned), name)).map(|(value, name)| (name, value)).collect()
    }

    /// The request's headers as they came, as far as they were noted.
    fn noted_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.entry.notes.iter().flatten() {
            if let (Ok(name), Some(Ok(value))) = (name.parse::<http::HeaderName>(), value.as_str().map(str::parse)) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// What the CORS filter must have said; an aborted request does not come to it.
    fn cors(&self) -> Option<CorsDecision> {
        let (.., rule) = self.rule?;
        let policy = rule.policy.cors.as_ref().filter(|_| !self.entry.known_flags().has(ResponseFlag::Fi))?;
        let method = self.entry.method.as_deref().unwrap_or_default();
        Some(policy.decide(method, self.entry.note("origin"), self.entry.note("access-control-request-method")))
    }

    /// What the policies said: a refusal names its rule, what passed does not.
    fn authorization(&self) -> Option<AuthorizationTaken> {
        let chain = self.chain().filter(|chain| !chain.is_empty())?;
        if let Some(outcome) = self.entry.details.as_deref().and_then(|details| chain.outcome_of_details(details)) {
            return Some(chain.told(outcome));
        }
        let verdict = if chain.allow.is_empty() { Verdict::Open } else { Verdict::Allowed };
        Some(AuthorizationTaken { decision: Told { verdict, rule: None, policies: Vec::new() }, audit: None, dry_run: None })
    }

    /// The policies that such a request meets.
    fn chain(&self) -> Option<&'a Chain> {
        matches!(self.entry.side, Side::Inbound | Side::Ingress).then_some(&self.snapshot.authorization.http)
    }

    /// The hash of the request's keys, where the balancer looks at it.
    fn hash(&self) -> Option<u64> {
        let (.., rule) = self.rule?;
        let cluster = self.snapshot.clusters.get(self.cluster.as_ref()?)?;
        let address = |text: &Option<String>| text.as_deref()?.parse::<SocketAddr>().ok();
        let downstream = (address(&self.entry.downstream_remote)?, address(&self.entry.downstream_local)?);
        let keys = Some(&rule.policy.hash).filter(|keys| cluster.load_balancer.hashes() && !keys.is_empty())?;
        request_hash(keys, &self.noted_headers(), path_of(self.entry).1, downstream).hash
    }

    /// What the draws must have given: the range is known from the outcome, the place inside it is not.
    fn draws(&self) -> Vec<DrawTaken> {
        let mut draws = Vec::new();
        let Some((.., rule)) = self.rule else { return draws };
        if let (RouteAction::Forward(split), Some(cluster)) = (&rule.action, &self.cluster)
            && !split.is_single()
        {
            let mut start = 0;
            for (weight, arm) in split.arms() {
                let range = (start, start + weight.0);
                if arm.cluster == *cluster {
                    let outcome = cluster.subset.as_ref().map_or("all", SubsetName::as_str).to_owned();
                    draws.push(DrawTaken { purpose: Purpose::Split, position: None, total: split.total(), range, outcome });
                    break;
                }
                start = range.1;
            }
        }
        let flags = self.entry.known_flags();
        let percentage = |purpose, share: Percent, hit: bool, outcome: &str| {
            let share = share.millionths();
            let (range, outcome) = if hit { ((0, share), outcome) } else { ((share, 1_000_000), "pass") };
            DrawTaken { purpose, position: None, total: 1_000_000, range, outcome: outcome.to_owned() }
        };
        if let Some(fault) = &rule.policy.fault {
            if let Some((share, _)) = fault.delay {
                draws.push(percentage(Purpose::FaultDelay, share, flags.has(ResponseFlag::Di), "delay"));
            }
            if let Some((share, _)) = fault.abort {
                draws.push(percentage(Purpose::FaultAbort, share, flags.has(ResponseFlag::Fi), "abort"));
            }
        }
        draws
    }

    /// The tries: Envoy logs their endpoints, and how the last one ended.
    fn attempts(&self) -> Vec<Attempt> {
        let tried = self.entry.tried();
        let count = (self.entry.attempts as usize).max(tried.len());
        let last = self.entry.answerer();
        let hash = self.hash().map(|hash| format!("{hash:016x}"));
        let attempt = |place: usize| {
            let is_last = place + 1 == count;
            // Envoy names each endpoint once, however often it was tried.
            let endpoint = match tried.as_slice() {
                [only] => Some(*only),
                _ if is_last => last.or_else(|| tried.last().copied()),
                several => several.get(place).copied().filter(|_| several.len() == count),
            };
            let workload = endpoint.and_then(|address| self.endpoint(address));
            let flags = self.entry.known_flags();
            let failure = self.entry.failure.clone().or_else(|| self.entry.details.clone().filter(|_| !self.entry.is_from_upstream()));
            Attempt {
                endpoint: endpoint.map(|address| self.meant(address)),
                pod: workload.map(|workload| workload.pod.clone()),
                kube_cluster: workload.map(|workload| workload.cluster.to_string()),
                status: if is_last && self.entry.is_from_upstream() { self.entry.status as u16 } else { 0 },
                flags: if is_last { flags } else { Flags::NONE },
                reason: if is_last { failure } else { Some("retried; Envoy's log does not say why".to_owned()) },
                started: if is_last { self.entry.upstream_sent } else { 0 },
                duration: if is_last { self.entry.upstream_answered.saturating_sub(self.entry.upstream_sent) } else { 0 },
                ejected: Vec::new(),
                priority: endpoint.and_then(|address| self.priority(address)).unwrap_or_default(),
                hash: hash.clone().filter(|_| endpoint.is_some()),
            }
        };
        (0..count).map(attempt).collect()
    }

    /// Who is meant by an address that was dialled: it may be that of a relay on the way.
    fn meant(&self, address: SocketAddr) -> SocketAddr {
        let cluster = self.cluster.as_ref().and_then(|name| self.snapshot.clusters.get(name));
        let endpoint = cluster.and_then(|cluster| cluster.endpoints.iter().find(|endpoint| endpoint.dial() == address));
        endpoint.map_or(address, |endpoint| endpoint.address)
    }

    fn priority(&self, address: SocketAddr) -> Option<u32> {
        let cluster = self.snapshot.clusters.get(self.cluster.as_ref()?)?;
        cluster.endpoints.iter().find(|endpoint| endpoint.dial() == address).map(|endpoint| endpoint.priority)
    }

    /// Copies that were sent for certain.
    fn mirrors(&self) -> Vec<ClusterName> {
        let Some((.., rule)) = self.rule.filter(|_| self.entry.attempts > 0) else { return Vec::new() };
        rule.policy.mirrors.iter().filter(|mirror| mirror.share.millionths() == 1_000_000).map(|mirror| mirror.cluster.clone()).collect()
    }

    fn injected_delay(&self) -> u64 {
        let delay = self.rule.and_then(|(.., rule)| rule.policy.fault.as_ref()?.delay);
        match delay.filter(|_| self.entry.known_flags().has(ResponseFlag::Di)) {
            Some((_, delay)) => delay.as_micros() as u64,
            None => 0,
        }
    }
}

/// Path and query of a line.
fn path_of(entry: &Entry) -> (&str, Option<&str>) {
    let path = entry.path.as_deref().unwrap_or_default();
    path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)))
}

/// The virtual host of a request that no rule took.
fn unmatched_host<'a>(entry: &Entry, snapshot: &'a Snapshot) -> Option<&'a VirtualHost> {
    let authority = entry.authority.as_deref()?;
    match entry.side {
        Side::Outbound if entry.known_flags().has(ResponseFlag::Nr) => {
            let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80_u32);
            snapshot.outbound.get(&Port::try_from(port).ok()?)?.host(authority)
        }
        Side::Ingress => snapshot.ingress.values().find_map(|table| table.host(authority)),
        Side::Outbound | Side::Inbound | Side::OutboundTcp | Side::InboundTcp | Side::Connection => None,
    }
}

#[cfg(test)]
mod tests;
