//! Which endpoint? Pure choices over candidates, with the rolls as arguments.
//!
//! The caller has taken ejected and already tried endpoints out; what is left is chosen among here. Envoy picks evenly when all weights
//! are equal, and by weight when they are not (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers>).

use crate::cluster::LoadBalancer;

/// What a balancer looks at in one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its share among the endpoints.
    pub weight: u32,
    /// Requests that this proxy has in flight at it.
    pub active: u32,
}

/// Endpoints to choose among, seen by index, so that a caller need not copy them.
pub trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;
    /// The one at this index, below [`Self::count`].
    fn candidate(&self, index: usize) -> Candidate;
    /// Do all have the same weight?
    fn evenly_weighted(&self) -> bool;
}

impl Candidates for [Candidate] {
    fn count(&self) -> usize {
        self.len()
    }
    fn candidate(&self, index: usize) -> Candidate {
        self[index]
    }
    fn evenly_weighted(&self) -> bool {
        self.windows(2).all(|pair| pair[0].weight == pair[1].weight)
    }
}

/// The rolls of one choice. Which are used depends on the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolls {
    /// First candidate of least-request; the choice of random.
    pub first: u64,
    /// Second candidate of least-request.
    pub second: u64,
    /// Counts up with every choice, for round robin.
    pub turn: u64,
}

/// The index chosen; `None` when there are no candidates.
pub fn choose<C: Candidates + ?Sized>(balancer: LoadBalancer, candidates: &C, rolls: Rolls) -> Option<usize> {
    match candidates.count() {
        0 => None,
        1 => Some(0),
        count => Some(match balancer {
            LoadBalancer::LeastRequest if candidates.evenly_weighted() => least_request(candidates, count, rolls),
            LoadBalancer::LeastRequest => by_weight(candidates, count, rolls.first, |one| {
                // Envoy's bias: the weight counts for less the busier an endpoint is.
                (u64::from(one.weight) << 16) / (u64::from(one.active) + 1)
            }),
            LoadBalancer::RoundRobin if candidates.evenly_weighted() => modulo(rolls.turn, count),
            LoadBalancer::RoundRobin => by_weight(candidates, count, rolls.turn, |one| u64::from(one.weight)),
            // Without a key to hash, any.
            LoadBalancer::Random | LoadBalancer::RingHash { .. } | LoadBalancer::Maglev { .. } => modulo(rolls.first, count),
        }),
    }
}

/// Two candidates with replacement; the one with fewer active requests wins, the first on a tie.
fn least_request<C: Candidates + ?Sized>(candidates: &C, count: usize, rolls: Rolls) -> usize {
    let (first, second) = (modulo(rolls.first, count), modulo(rolls.second, count));
    if candidates.candidate(second).active < candidates.candidate(first).active { second } else { first }
}

/// The candidate on whose stretch `position` (modulo the total) falls; even when all stretches are empty.
fn by_weight<C: Candidates + ?Sized>(candidates: &C, count: usize, position: u64, stretch: impl Fn(Candidate) -> u64) -> usize {
    let total: u64 = (0..count).map(|index| stretch(candidates.candidate(index))).sum();
    if total == 0 {
        return modulo(position, count);
    }
    let mut position = position % total;
    for index in 0..count {
        let length = stretch(candidates.candidate(index));
        if position < length {
            return index;
        }
        position -= length;
    }
    count - 1
}

fn modulo(roll: u64, count: usize) -> usize {
    (roll % count as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn idle(weights: &[u32]) -> Vec<Candidate> {
        weights.iter().map(|weight| Candidate { weight: *weight, active: 0 }).collect()
    }

    fn rolls(first: u64, second: u64) -> Rolls {
        Rolls { first, second, turn: first }
    }

    #[test]
    fn nobody_is_chosen_among_none() {
        assert_eq!(choose(LoadBalancer::LeastRequest, [].as_slice(), rolls(1, 2)), None);
    }

    #[test]
    fn the_less_busy_of_two_candidates_wins() {
        let candidates = [Candidate { weight: 1, active: 3 }, Candidate { weight: 1, active: 1 }];
        assert_eq!(choose(LoadBalancer::LeastRequest, candidates.as_slice(), rolls(0, 1)), Some(1));
        assert_eq!(choose(LoadBalancer::LeastRequest, candidates.as_slice(), rolls(1, 0)), Some(1));
        // Both rolls on the busy one: a quarter of the requests still goes there.
        assert_eq!(choose(LoadBalancer::LeastRequest, candidates.as_slice(), rolls(0, 2)), Some(0));
    }

    #[test]
    fn round_robin_goes_round() {
        let candidates = idle(&[1, 1, 1]);
        let order: Vec<_> = (0..6).map(|turn| choose(LoadBalancer::RoundRobin, candidates.as_slice(), rolls(turn, 0)).unwrap()).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_busy_endpoint_loses_its_weight() {
        let candidates = [Candidate { weight: 3, active: 5 }, Candidate { weight: 1, active: 0 }];
        let share =
            (0..98_304).filter(|roll| choose(LoadBalancer::LeastRequest, candidates.as_slice(), rolls(*roll, 0)) == Some(0)).count();
        assert_eq!(share, 32_768);
    }

    proptest! {
        #[test]
        fn round_robin_gives_each_its_weight(weights in prop::collection::vec(0_u32..9, 2..6)) {
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            prop_assume!(total > 0 && weights.windows(2).any(|pair| pair[0] != pair[1]));
            let candidates = idle(&weights);
            let mut counts = vec![0_u32; weights.len()];
            for turn in 0..total {
                counts[choose(LoadBalancer::RoundRobin, candidates.as_slice(), rolls(turn, 0)).unwrap()] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn the_index_is_always_in_range(weights in prop::collection::vec(0_u32..4, 1..6), first: u64, second: u64, turn: u64) {
            let candidates = idle(&weights);
            for balancer in [LoadBalancer::LeastRequest, LoadBalancer::RoundRobin, LoadBalancer::Random] {
                let chosen = choose(balancer, candidates.as_slice(), Rolls { first, second, turn });
                prop_assert!(chosen.is_some_and(|index| index < weights.len()));
            }
        }
    }
}
