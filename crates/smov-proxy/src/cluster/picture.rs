//! The balancer's picture of a cluster: who may be picked, by priority and locality, with hash tables ready. Drawn anew when endpoints or
//! their health change, never for a request.

use std::net::SocketAddr;
use std::sync::Arc;

use smov_model::cluster::{Cluster, LoadBalancer};
use smov_model::hash::{HashRing, MaglevTable};
use smov_model::priority::{Health, Load, loads, locality_weight};

use super::EndpointState;

/// Envoy's panic threshold where no outlier detection sets another.
const PANIC_WITHOUT_OUTLIER_DETECTION: u8 = 50;

/// Who may be picked.
#[derive(Debug)]
pub(crate) struct Picture {
    /// The cluster's count of health changes when this was drawn.
    pub(crate) generation: u64,
    pub(crate) priorities: Vec<Priority>,
    pub(crate) loads: Vec<Load>,
    /// Passed over, unless all are panicking.
    pub(crate) ejected: Vec<SocketAddr>,
}

/// One priority.
#[derive(Debug, Default)]
pub(crate) struct Priority {
    /// All who may be picked.
    pub(crate) members: Group,
    /// The same by locality, with the localities' weights; empty where localities have none.
    pub(crate) localities: Vec<Group>,
    pub(crate) locality_weights: Vec<u64>,
    table: Option<Table>,
}

/// Some endpoints of the cluster, by index.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) indices: Vec<u32>,
    /// Do all have the same weight?
    pub(crate) even: bool,
}

#[derive(Debug)]
enum Table {
    Ring(HashRing),
    Maglev(MaglevTable),
}

impl Picture {
    pub(crate) fn draw(cluster: &Cluster, endpoints: &[Arc<EndpointState>], generation: u64) -> Self {
        let levels = cluster.endpoints.iter().map(|endpoint| endpoint.priority + 1).max().unwrap_or(0);
        let of =
            |level: u32| (0_u32..).zip(&cluster.endpoints).filter(move |(_, endpoint)| endpoint.priority == level).map(|(index, _)| index);
        let healthy = |index: &u32| !endpoints[*index as usize].is_passed_over();
        let health = |indices: &[u32]| Health {
            endpoints: indices.len() as u32,
            healthy: indices.iter().filter(|index| healthy(index)).count() as u32,
        };
        // Only asked for where localities have weights.
        let placed = if cluster.locality_weights.is_empty() { &[][..] } else { &cluster.endpoints };
        let places: Vec<String> = placed.iter().map(|endpoint| endpoint.workload.locality()).collect();
        let everybody: Vec<Vec<u32>> = (0..levels).map(|level| of(level).collect()).collect();
        let healths: Vec<Health> = everybody.iter().map(|indices| health(indices)).collect();
        let threshold = cluster.outlier.as_ref().map_or(PANIC_WITHOUT_OUTLIER_DETECTION, |outlier| outlier.min_health_percent);
        let loads = loads(&healths, threshold);
        let priorities = everybody.into_iter().zip(&loads).map(|(all, load)| {
            let may = |indices: &[u32]| Group::new(cluster, indices.iter().copied().filter(|index| load.panic || healthy(index)).collect());
            let by_locality: Vec<(u32, Vec<u32>)> = cluster
                .locality_weights
                .iter()
                .filter(|(_, weight)| *weight > 0)
                .map(|(name, weight)| (*weight, all.iter().copied().filter(|index| places[*index as usize] == *name).collect()))
                .collect();
            let members = may(&all);
            let localities: Vec<Group> = by_locality.iter().map(|(_, indices)| may(indices)).collect();
            let shares = shares(cluster, &members, &by_locality, &localities);
            let table = match cluster.load_balancer {
                LoadBalancer::RingHash { minimum_size } => Some(Table::Ring(HashRing::new(&shares, minimum_size))),
                LoadBalancer::Maglev { table_size } => Some(Table::Maglev(MaglevTable::new(&shares, table_size))),
                LoadBalancer::LeastRequest | LoadBalancer::RoundRobin | LoadBalancer::Random => None,
            };
            // In panic everybody is asked, wherever they are.
            let locality_weights = match load.panic {
                true => Vec::new(),
                false => by_locality.iter().map(|(weight, indices)| locality_weight(*weight, health(indices))).collect(),
            };
            Priority { members, localities, locality_weights, table }
        });
        let priorities: Vec<Priority> = priorities.collect();
        let panic = !loads.is_empty() && loads.iter().all(|load| load.panic);
        let passed_over = endpoints.iter().filter(|endpoint| !panic && endpoint.is_passed_over());
        Self { generation, ejected: passed_over.map(|endpoint| endpoint.address).collect(), priorities, loads }
    }

    /// Is there nobody to pick?
    pub(crate) fn is_empty(&self) -> bool {
        self.priorities.iter().all(|priority| priority.members.indices.is_empty())
    }
}

impl Priority {
    /// The endpoint that a hash leads to; `None` for balancers that do not hash, and where nobody may be picked.
    pub(crate) fn by_hash(&self, hash: u64) -> Option<u32> {
        match self.table.as_ref()? {
            Table::Ring(ring) => ring.pick(hash),
            Table::Maglev(table) => table.pick(hash),
        }
        .map(|place| self.hashed(place))
    }

    /// The tables count members in the order of their localities, where there are any.
    fn hashed(&self, mut place: usize) -> u32 {
        if self.localities.is_empty() {
            return self.members.indices[place];
        }
        for group in &self.localities {
            match group.indices.get(place) {
                Some(index) => return *index,
                None => place -= group.indices.len(),
            }
        }
        unreachable!("a table holds places of members only")
    }
}

impl Group {
    fn new(cluster: &Cluster, indices: Vec<u32>) -> Self {
        let weight = |index: u32| cluster.endpoints[index as usize].weight;
        Self { even: indices.windows(2).all(|pair| weight(pair[0]) == weight(pair[1])), indices }
    }
}

/// Names and shares for hash tables: weights inside a locality, localities by their weight, whatever their health.
fn shares(cluster: &Cluster, members: &Group, by_locality: &[(u32, Vec<u32>)], localities: &[Group]) -> Vec<(String, f64)> {
    let share_of = |group: &Group, whole: f64| -> Vec<(String, f64)> {
        let weight = |index: &u32| f64::from(cluster.endpoints[*index as usize].weight);
        let total: f64 = group.indices.iter().map(weight).sum();
        let name = |index: &u32| cluster.endpoints[*index as usize].address.to_string();
        group.indices.iter().map(|index| (name(index), weight(index) * whole / total)).collect()
    };
    if !cluster.load_balancer.hashes() {
        return Vec::new();
    }
    let total: u32 = by_locality.iter().map(|(weight, _)| *weight).sum();
    if total == 0 {
        return share_of(members, 1.0);
    }
    let whole = |weight: u32| f64::from(weight) / f64::from(total);
    by_locality.iter().zip(localities).flat_map(|((weight, _), group)| share_of(group, whole(*weight))).collect()
}
