//! Why does a request go where it goes? The same functions that serve traffic, told step by step.

use serde::{Deserialize, Serialize};
use smov_model::names::{ClusterName, Port};
use smov_model::record::{RuleTaken, SkippedRule};
use smov_model::route::{
    DirectResponse, Redirect, RequestHead, RouteAction, RoutePolicy, RouteRule, RouteTable, VirtualHost, explain_match,
};
use smov_model::snapshot::{Snapshot, SnapshotVersion, UnknownHosts};

use crate::compile::Prepared;
use crate::world::{ProxyIdentity, Role, World};

/// The way of one request through one proxy, without dice: odds in place of draws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The virtual host; `None` = nobody knows the host on this port.
    pub virtual_host: Option<String>,
    /// Rules looked at before, each with the first condition that failed of each match entry.
    pub skipped: Vec<SkippedRule>,
    /// The rule that takes the request.
    pub rule: Option<RuleTaken>,
    /// What happens.
    pub outcome: Outcome,
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
        return Explanation { virtual_host: None, skipped: Vec::new(), rule: None, outcome, policy: None };
    };
    let found = host.find(head);
    let skipped = skipped(host, found.map_or(host.rules.len(), |(index, _)| index), head);
    let taken = found.map(|(index, rule)| RuleTaken { index, entry: rule.takes(head).unwrap_or_default(), origin: rule.origin.clone() });
    Explanation {
        virtual_host: Some(host.name.clone()),
        skipped,
        rule: taken,
        outcome: found.map_or(Outcome::NoRoute, |(_, rule)| outcome(snapshot, rule)),
        policy: found.map(|(_, rule)| rule.policy.clone()),
    }
}

fn skipped(host: &VirtualHost, until: usize, head: &RequestHead<'_>) -> Vec<SkippedRule> {
    let told = |(index, rule): (usize, &RouteRule)| SkippedRule {
        index,
        origin: rule.origin.clone(),
        mismatches: rule.matches.iter().filter_map(|entry| explain_match(entry, head)).collect(),
    };
    host.rules[..until].iter().enumerate().map(told).collect()
}

fn outcome(snapshot: &Snapshot, rule: &RouteRule) -> Outcome {
    match &rule.action {
        RouteAction::Redirect(redirect) => Outcome::Redirect { redirect: redirect.clone() },
        RouteAction::DirectResponse(response) => Outcome::DirectResponse { response: response.clone() },
        RouteAction::Forward(split) => {
            let odds = split.arms().map(|(weight, destination)| Odds {
                cluster: destination.cluster.clone(),
                weight: weight.0,
                total: split.total(),
                endpoints: snapshot.clusters.get(&destination.cluster).map(|cluster| {
                    let candidate = |endpoint: &smov_model::cluster::Endpoint| Candidate {
                        address: endpoint.address,
                        pod: endpoint.workload.pod.clone(),
                        kube_cluster: endpoint.workload.cluster.to_string(),
                    };
                    cluster.endpoints.iter().map(candidate).collect()
                }),
            });
            Outcome::Forward { odds: odds.collect() }
        }
    }
}
