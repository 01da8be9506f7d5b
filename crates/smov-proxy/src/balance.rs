//! Phase **balance**: a healthy endpoint of the cluster, by priority, locality and policy; 503 `UH` when there is none.

use std::net::SocketAddr;
use std::sync::Arc;

use smov_model::balance::{Candidate, Candidates, Rolls, choose};
use smov_model::cluster::LoadBalancer;
use smov_model::dice::{Draw, Purpose};
use smov_model::priority::{pick_locality, pick_priority};

use crate::cluster::picture::Group;
use crate::cluster::{ClusterView, EndpointState};
use crate::error::ProxyError;
use crate::worker::Worker;

/// The endpoint chosen, and how.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) endpoint: Arc<EndpointState>,
    pub(crate) priority: u32,
    /// The draws, in order: of the priority, the locality, the candidates.
    pub(crate) draws: [Option<Drawn>; 4],
    /// Passed over because they are ejected.
    pub(crate) ejected: Vec<SocketAddr>,
}

impl Choice {
    /// The one that was asked for.
    pub(crate) fn only(endpoint: Arc<EndpointState>) -> Self {
        Self { endpoint, priority: 0, draws: [None; 4], ejected: Vec::new() }
    }
}

/// One roll of a choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    pub(crate) purpose: Purpose,
    /// Where it fell, out of how many.
    pub(crate) position: u32,
    pub(crate) total: u32,
    pub(crate) range: (u32, u32),
}

/// What a choice is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) request_id: &'a str,
    /// 0 for the first.
    pub(crate) attempt: u32,
    /// Avoided while there are others (Envoy re-picks up to five times, which is nearly the same; we never pick one twice while another is
    /// left). Not looked at by hashing balancers, as Istio configures them.
    pub(crate) tried: &'a [u64],
    /// Of the route's keys, for hashing balancers.
    pub(crate) hash: Option<u64>,
}

/// Chooses an endpoint.
pub(crate) fn balance(worker: &Worker, cluster: &ClusterView, ask: Ask<'_>) -> Result<Choice, ProxyError> {
    let picture = cluster.picture(|| worker.shared.age());
    let roll = |purpose| {
        let Ask { request_id, attempt, .. } = ask;
        worker.shared.dice.roll(Draw { purpose, request_id, destination: &cluster.state.text, attempt })
    };
    let mut draws = [None, None, None, None];
    let level = match picture.loads.as_slice() {
        [] | [_] => 0,
        loads => {
            let roll = ask.hash.unwrap_or_else(|| roll(Purpose::Priority));
            let level = pick_priority(loads, roll);
            let start: u32 = loads[..level].iter().map(|load| load.percent).sum();
            let range = (start, start + loads[level].percent);
            draws[0] = Some(Drawn { purpose: Purpose::Priority, position: (roll % 100) as u32, total: 100, range });
            level
        }
    };
    let priority = picture.priorities.get(level).ok_or(ProxyError::NoHealthyUpstream)?;
    let index = if let Some(index) = ask.hash.and_then(|hash| priority.by_hash(hash)) {
        Some(index)
    } else {
        let group = match priority.locality_weights.as_slice() {
            [] => &priority.members,
            weights => {
                let total: u64 = weights.iter().sum();
                let roll = if weights.len() > 1 { roll(Purpose::Locality) } else { 0 };
                match pick_locality(weights, roll) {
                    Some(place) => {
                        let start: u64 = weights[..place].iter().sum();
                        let range = (start as u32, (start + weights[place]) as u32);
                        let drawn = Drawn { purpose: Purpose::Locality, position: (roll % total) as u32, total: total as u32, range };
                        draws[1] = (weights.len() > 1).then_some(drawn);
                        &priority.localities[place]
                    }
                    None => &priority.members,
                }
            }
        };
        let fresh: Vec<u32>;
        let fresh_group: Group;
        let group = if ask.tried.is_empty() || cluster.balancer.hashes() {
            group
        } else {
            fresh = group.indices.iter().copied().filter(|index| !ask.tried.contains(&cluster.endpoints[*index as usize].id)).collect();
            if fresh.is_empty() {
                group
            } else {
                fresh_group = Group { indices: fresh, even: group.even };
                &fresh_group
            }
        };
        let count = group.indices.len();
        let mut drawn = |place: usize, purpose| {
            let roll = roll(purpose);
            let position = (roll % count as u64) as u32;
            draws[place] = Some(Drawn { purpose, position, total: count as u32, range: (position, position + 1) });
            roll
        };
        // Nothing is drawn where there is no choice.
        let rolls = match cluster.balancer {
            _ if count < 2 => Rolls { first: 0, second: 0, turn: 0 },
            LoadBalancer::LeastRequest => {
                Rolls { first: drawn(2, Purpose::BalanceFirst), second: drawn(3, Purpose::BalanceSecond), turn: 0 }
            }
            LoadBalancer::Random | LoadBalancer::RingHash { .. } | LoadBalancer::Maglev { .. } => {
                Rolls { first: drawn(2, Purpose::BalanceFirst), second: 0, turn: 0 }
            }
            LoadBalancer::RoundRobin => Rolls { first: 0, second: 0, turn: worker.next_turn(cluster.state.slot) },
        };
        choose(cluster.balancer, &Among { cluster, group }, rolls).map(|place| group.indices[place])
    };
    let index = index.ok_or(ProxyError::NoHealthyUpstream)?;
    let endpoint = cluster.endpoints[index as usize].clone();
    Ok(Choice { endpoint, priority: level as u32, draws, ejected: picture.ejected.clone() })
}

/// Some endpoints of a cluster.
struct Among<'a> {
    cluster: &'a ClusterView,
    group: &'a Group,
}

impl Candidates for Among<'_> {
    fn count(&self) -> usize {
        self.group.indices.len()
    }
    fn candidate(&self, index: usize) -> Candidate {
        self.cluster.candidate(self.group.indices[index])
    }
    fn evenly_weighted(&self) -> bool {
        self.group.even
    }
}
