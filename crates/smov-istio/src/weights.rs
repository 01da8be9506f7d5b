//! The configured split of a host: the numbers that the page may show as configured, or the reason why there are none.
//!
//! "Configured" is what the rule says that a plain `GET /` without special headers meets in the caller's own proxy. It is never a
//! default shown as if it were live.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smov_model::names::{Hostname, KubeCluster};
use smov_model::route::{AbortStatus, Origin, Percent, RouteAction, RouteMatch, RouteRule};

use crate::compile::{MeshService, Policy, Prepared, is_catch_all, label};
use crate::hosts::{hostname, service_host};
use crate::resource::Subset;
use crate::world::{ProxyIdentity, World};

mod shares;
pub use shares::normalise;

/// What is configured for one host, as one caller's proxy has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfiguredSplit {
    /// The full host name.
    pub host: String,
    /// The rule that a plain request meets.
    pub rule: Option<Origin>,
    /// The shares of that rule in whole percent, together 100; one entry per subset of the host. Empty when `reason` is given.
    pub shares: Vec<Share>,
    /// Why there are no such numbers.
    pub reason: Option<NoSplit>,
    /// Rules that take some requests before the plain one does: canaries.
    pub special: Vec<SpecialRule>,
    /// What bends traffic now.
    pub interventions: Vec<Intervention>,
}

/// One arm of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The subset.
    pub subset: String,
    /// The Kubernetes cluster that the subset stands for, when it is one.
    pub kube_cluster: Option<KubeCluster>,
    /// The weight in force; 0 for a subset that the rule does not name.
    pub weight: u32,
    /// In whole percent.
    pub percent: u32,
}

/// Why a host has no configured split. The code is stable; both sentences are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoSplit {
    /// The mesh has no such Service.
    NoSuchService,
    /// The Service has no HTTP port.
    NotHttp,
    /// No VirtualService steers the host for this caller: the whole host is balanced.
    NoVirtualService,
    /// A plain request meets no rule (404), or one with conditions.
    NoDefaultRule,
    /// The default rule redirects or answers itself.
    NotForwarded,
    /// The default rule sends to the whole host, not to subsets.
    WholeHost,
    /// The default rule sends to another host.
    OtherHost,
}

impl NoSplit {
    /// In English.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoSuchService => "the mesh has no such Service",
            Self::NotHttp => "the Service has no HTTP port",
            Self::NoVirtualService => "no VirtualService steers this host: requests are balanced over all its pods",
            Self::NoDefaultRule => "a plain request meets no unconditional rule of the VirtualService",
            Self::NotForwarded => "the default rule redirects or answers by itself, it does not split",
            Self::WholeHost => "the default rule names no subset, so it does not say which cluster gets what",
            Self::OtherHost => "the default rule sends to another host",
        }
    }

    /// In Korean.
    pub fn sentence_ko(self) -> &'static str {
        match self {
            Self::NoSuchService => "메시에 그런 Service가 없습니다",
            Self::NotHttp => "Service에 HTTP 포트가 없습니다",
            Self::NoVirtualService => "이 호스트를 다루는 VirtualService가 없습니다. 요청은 모든 파드에 고르게 갑니다",
            Self::NoDefaultRule => "VirtualService에 조건 없는 기본 규칙이 없습니다",
            Self::NotForwarded => "기본 규칙이 리다이렉트하거나 직접 응답합니다. 나누지 않습니다",
            Self::WholeHost => "기본 규칙에 서브셋이 없어 클러스터별 비율을 말할 수 없습니다",
            Self::OtherHost => "기본 규칙이 다른 호스트로 보냅니다",
        }
    }
}

/// A rule with conditions that stands before the default rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecialRule {
    /// Where it was written.
    pub origin: Origin,
    /// Its conditions.
    pub matches: Vec<RouteMatch>,
    /// Its shares, as far as it sends to subsets of the host.
    pub shares: Vec<Share>,
}

/// Something that bends traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intervention {
    /// The rule; its path leads to the field: `spec.http[1].fault.delay`.
    pub origin: Origin,
    /// Is it in the default rule, so that plain requests meet it?
    pub on_default: bool,
    /// What it is.
    pub kind: InterventionKind,
}

/// Kinds of interventions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum InterventionKind {
    /// Requests are held up.
    Delay {
        /// Share of the requests.
        percent: Percent,
        /// For how long.
        duration: Duration,
    },
    /// Requests are answered with a status.
    Abort {
        /// Share of the requests.
        percent: Percent,
        /// The status.
        status: AbortStatus,
    },
    /// Requests are copied.
    Mirror {
        /// The host that gets copies.
        host: String,
        /// Share of the requests.
        percent: Percent,
    },
    /// The default rule gives a subset nothing.
    Blocked {
        /// The subset.
        subset: String,
        /// The Kubernetes cluster that it stands for.
        kube_cluster: Option<KubeCluster>,
    },
}

/// The configured split of a host (short, `service.namespace` or full) as the caller's proxy has it.
pub fn configured_split(world: &World, caller: &ProxyIdentity, host: &str) -> ConfiguredSplit {
    Prepared::new(world).configured_split(caller, host)
}

impl Prepared<'_> {
    /// As [`configured_split`], for several hosts of one world.
    pub fn configured_split(&self, caller: &ProxyIdentity, host: &str) -> ConfiguredSplit {
        let Some(service) = self.service_named(host, caller) else { return ConfiguredSplit::none(host, NoSplit::NoSuchService) };
        let full = service.host.to_string();
        let Some(port) = service.ports.iter().find(|port| port.protocol.carries_http()) else {
            return ConfiguredSplit::none(&full, NoSplit::NotHttp);
        };
        let client = self.workload_of(caller);
        let rules = self.mesh_rules(service, port.port, &client);
        let policy = self.policy_of(&client, &service.host);
        let view = HostView { service, policy };
        let default = rules.iter().find(|rule| is_catch_all(rule));
        let mut split = ConfiguredSplit {
            host: full,
            rule: default.map(|rule| rule.origin.clone()),
            shares: Vec::new(),
            reason: None,
            special: rules.iter().filter(|rule| !is_catch_all(rule)).map(|rule| view.special(rule)).collect(),
            interventions: rules.iter().flat_map(interventions).collect(),
        };
        match default.ok_or(NoSplit::NoDefaultRule).and_then(|rule| view.default_shares(rule)) {
            Ok(shares) => {
                let blocked = shares.iter().filter(|share| share.weight == 0);
                split.interventions.extend(blocked.map(|share| blocked_by(default, share)).collect::<Vec<_>>());
                split.shares = shares;
            }
            Err(reason) => split.reason = Some(reason),
        }
        split
    }

    fn service_named(&self, host: &str, caller: &ProxyIdentity) -> Option<&MeshService> {
        let exact = hostname(host, caller.namespace.as_str()).ok()?;
        let by_parts = || {
            let (name, namespace) = host.strip_suffix(".svc").unwrap_or(host).split_once('.')?;
            self.services.get(&service_host(name, namespace).parse::<Hostname>().ok()?)
        };
        self.services.get(&exact).or_else(by_parts)
    }
}

/// What a rule does to requests beside sending them on.
fn interventions(rule: &RouteRule) -> Vec<Intervention> {
    let at = |field: &str, kind| {
        let origin = Origin { path: format!("{}.{field}", rule.origin.path), ..rule.origin.clone() };
        Intervention { origin, on_default: is_catch_all(rule), kind }
    };
    let mut found = Vec::new();
    if let Some(fault) = &rule.policy.fault {
        let delay = fault.delay.map(|(percent, duration)| at("fault.delay", InterventionKind::Delay { percent, duration }));
        let abort = fault.abort.map(|(percent, status)| at("fault.abort", InterventionKind::Abort { percent, status }));
        found.extend(delay.into_iter().chain(abort));
    }
    for (index, mirror) in rule.policy.mirrors.iter().enumerate() {
        let field = if rule.policy.mirrors.len() == 1 { "mirror".to_owned() } else { format!("mirrors[{index}]") };
        found.push(at(&field, InterventionKind::Mirror { host: mirror.cluster.host.to_string(), percent: mirror.share }));
    }
    found
}

fn blocked_by(rule: Option<&RouteRule>, share: &Share) -> Intervention {
    let origin = rule.map(|rule| rule.origin.clone()).expect("shares come from a rule");
    let kind = InterventionKind::Blocked { subset: share.subset.clone(), kube_cluster: share.kube_cluster.clone() };
    Intervention { origin: Origin { path: format!("{}.route", origin.path), ..origin }, on_default: true, kind }
}

impl ConfiguredSplit {
    fn none(host: &str, reason: NoSplit) -> Self {
        Self { host: host.to_owned(), rule: None, shares: Vec::new(), reason: Some(reason), special: Vec::new(), interventions: Vec::new() }
    }
}

/// A Service with the DestinationRule that the caller meets.
struct HostView<'a> {
    service: &'a MeshService,
    policy: Option<&'a Policy<'a>>,
}

impl HostView<'_> {
    fn special(&self, rule: &RouteRule) -> SpecialRule {
        let shares = self.default_shares(rule).unwrap_or_default();
        SpecialRule { origin: rule.origin.clone(), matches: rule.matches.clone(), shares }
    }

    /// The shares of a rule over the host's subsets, those of the DestinationRule first and in its order.
    fn default_shares(&self, rule: &RouteRule) -> Result<Vec<Share>, NoSplit> {
        let RouteAction::Forward(split) = &rule.action else { return Err(NoSplit::NotForwarded) };
        if rule.origin.path.is_empty() {
            return Err(NoSplit::NoVirtualService);
        }
        let mut weights: Vec<(String, u32)> =
            self.policy.iter().flat_map(|policy| &policy.subsets).map(|subset| (subset.name.clone(), 0)).collect();
        for (weight, destination) in split.arms() {
            if destination.cluster.host != self.service.host {
                return Err(NoSplit::OtherHost);
            }
            let subset = destination.cluster.subset.as_ref().ok_or(NoSplit::WholeHost)?;
            match weights.iter_mut().find(|(name, _)| name == subset.as_str()) {
                Some((_, known)) => *known += weight.0,
                None => weights.push((subset.to_string(), weight.0)),
            }
        }
        let percents = normalise(&weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>());
        let share =
            |((subset, weight), percent): ((String, u32), u32)| Share { kube_cluster: self.kube_cluster(&subset), subset, weight, percent };
        Ok(weights.into_iter().zip(percents).map(share).collect())
    }

    /// The cluster that a subset stands for: by its selector, else by where all its endpoints are.
    fn kube_cluster(&self, subset: &str) -> Option<KubeCluster> {
        let subset: &Subset = self.policy?.subset(subset)?;
        let named = ["topology.istio.io/cluster", "cluster"].into_iter().find_map(|key| subset.labels.get(key));
        if let Some(name) = named {
            return name.parse().ok();
        }
        let endpoints = self.service.ports.iter().flat_map(|port| &port.endpoints);
        let selected =
            endpoints.filter(|(_, workload)| subset.labels.iter().all(|(key, value)| label(workload, key) == Some(value.as_str())));
        let clusters: BTreeSet<&KubeCluster> = selected.map(|(_, workload)| &workload.cluster).collect();
        match clusters.into_iter().collect::<Vec<_>>().as_slice() {
            [only] => Some((*only).clone()),
            _ => None,
        }
    }
}
