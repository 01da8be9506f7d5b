//! Phase **balance**: a healthy endpoint of the cluster, by its policy; 503 `UH` when there is none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smov_model::balance::{Candidate, Candidates, Rolls, choose};
use smov_model::cluster::LoadBalancer;
use smov_model::dice::{Dice, Draw, Purpose};
use smov_model::outlier::in_panic;

use crate::cluster::{ClusterView, EndpointState};
use crate::error::ProxyError;

/// The endpoint chosen, and how.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) endpoint: Arc<EndpointState>,
    /// The balancer's draws: purpose, roll, out of how many.
    pub(crate) draws: [Option<(Purpose, u32, u32)>; 2],
    /// Passed over because they are ejected.
    pub(crate) ejected: Vec<SocketAddr>,
}

/// Chooses an endpoint. Those tried before are avoided while there are others (Envoy re-picks up to five times, which is nearly the
/// same; we never pick one twice while another is left).
pub(crate) fn balance(
    cluster: &ClusterView,
    dice: &dyn Dice,
    request_id: &str,
    attempt: u32,
    tried: &[u64],
    now: Duration,
) -> Result<Choice, ProxyError> {
    cluster.advance(now);
    let mut chosen_among: Option<Vec<usize>> = None;
    let mut ejected = Vec::new();
    if cluster.state.ejected() > 0 {
        let healthy: Vec<usize> = (0..cluster.endpoints.len()).filter(|index| !cluster.endpoints[*index].is_ejected()).collect();
        let panic =
            cluster.outlier.as_ref().is_some_and(|outlier| in_panic(healthy.len(), cluster.endpoints.len(), outlier.min_health_percent));
        if !panic {
            ejected = cluster.endpoints.iter().filter(|endpoint| endpoint.is_ejected()).map(|endpoint| endpoint.address).collect();
            chosen_among = Some(healthy);
        }
    }
    if !tried.is_empty() {
        let pool = chosen_among.unwrap_or_else(|| (0..cluster.endpoints.len()).collect());
        let fresh: Vec<usize> = pool.iter().copied().filter(|index| !tried.contains(&cluster.endpoints[*index].id)).collect();
        chosen_among = Some(if fresh.is_empty() { pool } else { fresh });
    }
    let count = chosen_among.as_ref().map_or(cluster.endpoints.len(), Vec::len);
    let mut draws = [None, None];
    let mut roll = |place: usize, purpose| {
        let roll = dice.roll(Draw { purpose, request_id, destination: &cluster.state.text, attempt });
        draws[place] = Some((purpose, (roll % count as u64) as u32, count as u32));
        roll
    };
    // Nothing is drawn where there is no choice.
    let rolls = match cluster.balancer {
        _ if count < 2 => Rolls { first: 0, second: 0, turn: 0 },
        LoadBalancer::LeastRequest => Rolls { first: roll(0, Purpose::BalanceFirst), second: roll(1, Purpose::BalanceSecond), turn: 0 },
        LoadBalancer::Random | LoadBalancer::RingHash { .. } | LoadBalancer::Maglev { .. } => {
            Rolls { first: roll(0, Purpose::BalanceFirst), second: 0, turn: 0 }
        }
        LoadBalancer::RoundRobin => Rolls { first: 0, second: 0, turn: cluster.state.next_turn() },
    };
    let index = match &chosen_among {
        None => choose(cluster.balancer, cluster, rolls),
        Some(indices) => choose(cluster.balancer, &Among { cluster, indices }, rolls).map(|place| indices[place]),
    };
    let endpoint = index.map(|index| cluster.endpoints[index].clone()).ok_or(ProxyError::NoHealthyUpstream)?;
    Ok(Choice { endpoint, draws, ejected })
}

/// Some endpoints of a cluster.
struct Among<'a> {
    cluster: &'a ClusterView,
    indices: &'a [usize],
}

impl Candidates for Among<'_> {
    fn count(&self) -> usize {
        self.indices.len()
    }
    fn candidate(&self, index: usize) -> Candidate {
        self.cluster.candidate(self.indices[index])
    }
    fn evenly_weighted(&self) -> bool {
        self.cluster.evenly_weighted()
    }
}
