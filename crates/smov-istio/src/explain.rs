//! Why does a request go where it goes? The same functions that serve traffic, told step by step.

use serde::{Deserialize, Serialize};
use smov_model::cluster::{Cluster, ConnectionLimits, Discovery, LoadBalancer, OutlierDetection};
use smov_model::names::{ClusterName, Port};
use smov_model::record::{RuleTaken, SkippedRule};
use smov_model::route::{
    CorsDecision, DirectResponse, Origin, Redirect, RequestHead, RouteAction, RoutePolicy, RouteRule, RouteTable, VirtualHost,
};
use smov_model::snapshot::{Snapshot, SnapshotVersion, UnknownHosts};

use crate::compile::Prepared;
use crate::world::{ProxyIdentity, Role, World};

mod authorization;
mod callers;
mod chances;
mod difference;
mod examples;
mod question;
mod security;

pub use authorization::authorized_at_gateway;
pub use callers::{Caller, caller, gateway};
pub use chances::{Chance, End};
pub use difference::{Change, differences};
pub use examples::{Example, examples};
pub use question::{InvalidQuestion, Question};
pub use security::{ClientSide, ClusterSecurity, ServerSide, Verdict};

/// The way of one request through one proxy, without dice: odds in place of draws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The virtual host; `None` = nobody knows the host on this port.
    pub virtual_host: Option<String>,
    /// Rules looked at before, each with the first condition that failed of each match entry.
    pub skipped: Vec<SkippedRule>,
    /// Rules written before it that this proxy does not have at all: their `match` asks for other callers, gateways or ports.
    #[serde(default)]
    pub absent: Vec<Origin>,
    /// The rule that takes the request.
    pub rule: Option<RuleTaken>,
    /// Did it take it by a condition, not because it takes everything?
    #[serde(default)]
    pub conditional: bool,
    /// What happens.
    pub outcome: Outcome,
    /// What the rule's CORS policy says to the request; a preflight that it answers goes nowhere.
    #[serde(default)]
    pub cors: Option<CorsDecision>,
    /// Timeout, retries, fault, rewrite and headers of the rule.
    pub policy: Option<RoutePolicy>,
}

/// What happens to the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Outcome {
    /// Sent to one of these, by odds.
    Forward {
        /// The arms of the split.
        odds: Vec<Odds>,
    },
    /// Answered with a redirect.
    Redirect {
        /// Where to.
        redirect: Redirect,
    },
    /// Answered at once.
    DirectResponse {
        /// With what.
        response: DirectResponse,
    },
    /// 404 `NR`: the host is known, no rule takes the request.
    NoRoute,
    /// The host is not known: forwarded by name, or refused with 502.
    UnknownHost {
        /// By this setting of the mesh.
        policy: UnknownHosts,
    },
}

/// One arm of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Odds {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its weight.
    pub weight: u32,
    /// Of this sum.
    pub total: u32,
    /// Its endpoints; `None` = there is no such cluster, which is 503 `NC`. Empty is 503 `UH`.
    pub endpoints: Option<Vec<Candidate>>,
    /// How one of them is chosen, when it is ejected, how many requests fit; `None` with `endpoints`.
    #[serde(default)]
    pub policy: Option<ClusterPolicy>,
}

/// What a DestinationRule gives a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: LoadBalancer,
    /// When one is ejected; `None` = never.
    pub outlier: Option<OutlierDetection>,
    /// Limits of the pool.
    pub limits: ConnectionLimits,
    /// Where its addresses come from: what DNS answers is not known here.
    pub discovery: Discovery,
}

/// An endpoint that could answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Where.
    pub address: std::net::SocketAddr,
    /// Who.
    pub pod: String,
    /// In which Kubernetes cluster.
    pub kube_cluster: String,
    /// Does it have a sidecar, so that policies of its own side could act?
    pub has_sidecar: bool,
    /// 0 is used first; higher ones take what lower ones cannot.
    #[serde(default)]
    pub priority: u32,
    /// Is it ejected at the caller's proxy now? `None` = not known, as without a running mesh.
    #[serde(default)]
    pub ejected: Option<bool>,
}

/// Explains a request that a proxy gets on a port, from a world.
pub fn explain(world: &World, proxy: &ProxyIdentity, port: Port, head: &RequestHead<'_>) -> Explanation {
    let version = SnapshotVersion { epoch: 0, number: 0 };
    let compiled = Prepared::new(world).snapshot_for(proxy, version);
    explain_snapshot(&compiled.snapshot, proxy.role, port, head)
}

/// Explains a request from the snapshot that a proxy runs on.
pub fn explain_snapshot(snapshot: &Snapshot, role: Role, port: Port, head: &RequestHead<'_>) -> Explanation {
    let tables = match role {
        Role::Sidecar => &snapshot.outbound,
        Role::Gateway => &snapshot.ingress,
    };
    let host = tables.get(&port).and_then(|table: &RouteTable| table.host(head.authority));
    let Some(host) = host else {
        let outcome = match role {
            Role::Sidecar => Outcome::UnknownHost { policy: snapshot.unknown_hosts },
            Role::Gateway => Outcome::NoRoute,
        };
        return Explanation {
            virtual_host: None,
            skipped: Vec::new(),
            absent: Vec::new(),
            rule: None,
            conditional: false,
            outcome,
            cors: None,
            policy: None,
        };
    };
    let found = host.find(head);
    let skipped = host.skipped(found.map_or(host.rules.len(), |(index, _)| index), head);
    let taken = found.map(|(index, rule)| RuleTaken { index, entry: rule.takes(head).unwrap_or_default(), origin: rule.origin.clone() });
    Explanation {
        virtual_host: Some(host.name.clone()),
        absent: absent(host, found.map_or(host.rules.len(), |(index, _)| index + 1)),
        skipped,
        rule: taken,
        conditional: found.is_some_and(|(_, rule)| !rule.matches.is_empty()),
        outcome: found.map_or(Outcome::NoRoute, |(_, rule)| outcome(snapshot, rule)),
        cors: found.and_then(|(_, rule)| cors(rule, head)),
        policy: found.map(|(_, rule)| rule.policy.clone()),
    }
}

fn cors(rule: &RouteRule, head: &RequestHead<'_>) -> Option<CorsDecision> {
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let policy = rule.policy.cors.as_ref()?;
    Some(policy.decide(head.method, header("origin"), header("access-control-request-method")))
}

/// The rules of the same resources that are missing before the one that was found. A rule says its place by its path.
fn absent(host: &VirtualHost, until: usize) -> Vec<Origin> {
    let place = |origin: &Origin| origin.path.strip_prefix("spec.http[")?.strip_suffix(']')?.parse::<usize>().ok();
    let mut found: Vec<Origin> = Vec::new();
    let seen: Vec<&Origin> = host.rules[..until].iter().map(|rule| &rule.origin).collect();
    for (index, origin) in seen.iter().enumerate() {
        let later = |other: &&Origin| other.resource == origin.resource;
        let (Some(last), false) = (place(origin), seen[index + 1..].iter().copied().any(|other| later(&other))) else { continue };
        let have: Vec<usize> = seen.iter().copied().filter(later).filter_map(place).collect();
        let missing = (0..last).filter(|number| !have.contains(number));
        found.extend(missing.map(|number| Origin { path: format!("spec.http[{number}]"), name: String::new(), ..(*origin).clone() }));
    }
    found
}

fn outcome(snapshot: &Snapshot, rule: &RouteRule) -> Outcome {
    match &rule.action {
        RouteAction::Redirect(redirect) => Outcome::Redirect { redirect: redirect.clone() },
        RouteAction::DirectResponse(response) => Outcome::DirectResponse { response: response.clone() },
        RouteAction::Forward(split) => {
            let odds = split.arms().map(|(weight, destination)| {
                let cluster = snapshot.clusters.get(&destination.cluster);
                Odds {
                    cluster: destination.cluster.clone(),
                    weight: weight.0,
                    total: split.total(),
                    endpoints: cluster.map(candidates),
                    policy: cluster.map(policy_of),
                }
            });
            Outcome::Forward { odds: odds.collect() }
        }
    }
}

fn candidates(cluster: &Cluster) -> Vec<Candidate> {
    let candidate = |endpoint: &smov_model::cluster::Endpoint| Candidate {
        address: endpoint.address,
        pod: endpoint.workload.pod.clone(),
        kube_cluster: endpoint.workload.cluster.to_string(),
        has_sidecar: endpoint.workload.has_sidecar,
        priority: endpoint.priority,
        ejected: None,
    };
    cluster.endpoints.iter().map(candidate).collect()
}

fn policy_of(cluster: &Cluster) -> ClusterPolicy {
    ClusterPolicy {
        load_balancer: cluster.load_balancer,
        outlier: cluster.outlier.clone(),
        limits: cluster.limits.clone(),
        discovery: cluster.discovery.clone(),
    }
}
