//! Which endpoints a client prefers by where they are: `localityLbSetting` of the DestinationRule, else of the mesh
//! (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#LocalityLoadBalancerSetting>).

use std::collections::{BTreeMap, BTreeSet};

use smov_model::cluster::Endpoint;
use smov_model::workload::Workload;

use super::clusters::label;
use crate::resource::{LocalityDistribute, LocalityFailover, LocalityLbSetting};

/// Orders the endpoints by priority, or leaves only those that `distribute` names and gives the weights of their localities.
///
/// Failover needs outlier detection: without it nothing is ever unhealthy, and all endpoints stay equal.
pub(super) fn arrange(
    endpoints: &mut Vec<Endpoint>,
    setting: &LocalityLbSetting,
    client: &Workload,
    has_outlier: bool,
) -> Vec<(String, u32)> {
    if !setting.distribute.is_empty() {
        return distribute(endpoints, &setting.distribute, client);
    }
    if has_outlier {
        if !setting.failover_priority.is_empty() {
            let ranks = endpoints.iter().map(|endpoint| by_labels(&setting.failover_priority, client, &endpoint.workload)).collect();
            apply(endpoints, ranks);
        }
        if setting.failover_priority.is_empty() || !setting.failover.is_empty() {
            // Five places per priority that labels gave before.
            let rank = |endpoint: &Endpoint| endpoint.priority * 5 + by_place(&setting.failover, client, &endpoint.workload);
            let ranks = endpoints.iter().map(rank).collect();
            apply(endpoints, ranks);
        }
    }
    Vec::new()
}

/// Ranks become priorities from 0 on without gaps.
fn apply(endpoints: &mut [Endpoint], ranks: Vec<u32>) {
    let order: BTreeSet<u32> = ranks.iter().copied().collect();
    let priority: BTreeMap<u32, u32> = order.into_iter().zip(0..).collect();
    for (endpoint, rank) in endpoints.iter_mut().zip(ranks) {
        endpoint.priority = priority[&rank];
    }
}

/// 0: the same subzone, 1: the same zone, 2: the same region, 3: the region that takes over or, without a setting, any; 4: others.
fn by_place(failover: &[LocalityFailover], client: &Workload, endpoint: &Workload) -> u32 {
    if endpoint.region == client.region {
        return match (endpoint.zone == client.zone, endpoint.subzone() == client.subzone()) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
    }
    match failover.iter().find(|entry| entry.from == client.region) {
        Some(entry) if entry.to != endpoint.region => 4,
        _ => 3,
    }
}

const NETWORK: &str = "topology.istio.io/network";

/// How many of the labels, from the first on, agree with the client's (or the given `label=value`): all is 0, none is their number. Another
/// network comes after all that.
fn by_labels(labels: &[String], client: &Workload, endpoint: &Workload) -> u32 {
    let count = u32::try_from(labels.len()).unwrap_or(u32::MAX);
    let mut other_network = 0;
    for (index, entry) in (0..).zip(labels) {
        let (key, wanted) = match entry.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (entry.as_str(), label(client, entry)),
        };
        if wanted.unwrap_or_default() != label(endpoint, key).unwrap_or_default() {
            if index == 0 && labels[0] == NETWORK {
                other_network = count;
                continue;
            }
            return count - index + other_network;
        }
    }
    other_network
}

/// Weights of the endpoints' localities as the first entry for the client's own place gives them; others get nothing.
fn distribute(endpoints: &mut Vec<Endpoint>, entries: &[LocalityDistribute], client: &Workload) -> Vec<(String, u32)> {
    let Some(entry) = entries.iter().find(|entry| covers(&entry.from, client)) else { return Vec::new() };
    let mut sizes: BTreeMap<String, (u64, &Workload)> = BTreeMap::new();
    for endpoint in endpoints.iter() {
        sizes.entry(endpoint.workload.locality()).or_insert((0, &endpoint.workload)).0 += u64::from(endpoint.weight);
    }
    let mut weights: BTreeMap<String, u32> = BTreeMap::new();
    for (place, weight) in &entry.to {
        let named: Vec<(&String, u64)> = sizes
            .iter()
            .filter(|(locality, (_, workload))| !weights.contains_key(*locality) && covers(place, workload))
            .map(|(locality, (size, _))| (locality, *size))
            .collect();
        let total: u64 = named.iter().map(|(_, size)| size).sum();
        for (locality, size) in named {
            // A place that means several localities is shared out by their size, rounded up.
            let share = (size * u64::from(*weight)).div_ceil(total.max(1));
            weights.insert(locality.clone(), u32::try_from(share).unwrap_or(u32::MAX));
        }
    }
    endpoints.retain(|endpoint| weights.contains_key(&endpoint.workload.locality()));
    weights.into_iter().collect()
}

/// Is the workload in this place: `region`, `region/zone`, `region/zone/subzone`, each part maybe `*`?
fn covers(place: &str, workload: &Workload) -> bool {
    let mut parts = place.splitn(3, '/');
    let region = parts.next().unwrap_or_default();
    let open = |part: Option<&str>, own: &str| part.is_none_or(|part| matches!(part, "" | "*") || part == own);
    (region == "*" || region == workload.region) && open(parts.next(), &workload.zone) && open(parts.next(), workload.subzone())
}

#[cfg(test)]
mod tests;
