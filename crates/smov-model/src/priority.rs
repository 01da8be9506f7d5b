//! Priorities and localities: how much of the load each takes, from how many of its endpoints are healthy. Envoy's arithmetic
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority>,
//! <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/locality_weight>).

use crate::outlier::in_panic;

/// A set of endpoints counts as fully healthy while 100 / 140 of it are.
const OVERPROVISIONING: u32 = 140;

/// How many endpoints one priority or one locality has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// All of them.
    pub endpoints: u32,
    /// Of these, not ejected.
    pub healthy: u32,
}

impl Health {
    /// Health in percent, overprovisioned, at most 100.
    fn percent(self) -> u32 {
        (OVERPROVISIONING * self.healthy).checked_div(self.endpoints).unwrap_or(0).min(100)
    }
}

/// What one priority takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Its share of all requests, in percent; all priorities together take 100.
    pub percent: u32,
    /// So few are healthy that all its endpoints get traffic.
    pub panic: bool,
}

/// The load of each priority, from 0 on. `min_health_percent` is the panic threshold, 0 = never.
pub fn loads(priorities: &[Health], min_health_percent: u8) -> Vec<Load> {
    let mut loads = vec![Load::default(); priorities.len()];
    let total: u32 = priorities.iter().map(|health| health.percent()).sum::<u32>().min(100);
    let mut left = 100;
    if total > 0 {
        for (load, health) in loads.iter_mut().zip(priorities) {
            load.percent = (health.percent() * 100).checked_div(total).unwrap_or(0).min(left);
            left -= load.percent;
        }
        // What rounding left over goes to the first that has anybody.
        if let Some(first) = priorities.iter().position(|health| health.percent() > 0) {
            loads[first].percent += left;
        }
    }
    let threshold = min_health_percent.min(100);
    if threshold == 0 && total == 0 {
        // Nobody is healthy and panic is off: whatever is asked, priority 0 has no endpoint to give.
        if let Some(first) = loads.first_mut() {
            first.percent = 100;
        }
        return loads;
    }
    for (load, health) in loads.iter_mut().zip(priorities) {
        // While all priorities together can carry the load, none panics, however ill it is alone.
        let ill = health.endpoints == 0 || in_panic(health.healthy as usize, health.endpoints as usize, threshold);
        load.panic = threshold > 0 && total < 100 && ill;
    }
    if loads.iter().all(|load| load.panic) {
        share_by_size(&mut loads, priorities);
    }
    loads
}

/// In total panic health says nothing: each priority takes as much as it has endpoints.
fn share_by_size(loads: &mut [Load], priorities: &[Health]) {
    let endpoints: u32 = priorities.iter().map(|health| health.endpoints).sum();
    let mut left = 100;
    for (load, health) in loads.iter_mut().zip(priorities) {
        load.percent = (100 * health.endpoints).checked_div(endpoints).unwrap_or(0);
        left -= load.percent;
    }
    let first = priorities.iter().position(|health| health.endpoints > 0).unwrap_or(0);
    if let Some(load) = loads.get_mut(first) {
        load.percent += left;
    }
}

/// The priority that a roll falls on; the roll is taken modulo 100.
pub fn pick_priority(loads: &[Load], roll: u64) -> usize {
    let position = (roll % 100) as u32;
    let mut end = 0;
    loads
        .iter()
        .position(|load| {
            end += load.percent;
            position < end
        })
        .unwrap_or(0)
}

/// What a locality's weight counts for while not all of it is healthy: in full down to 100 / 140, then in proportion. In 1/10,000ths.
pub fn locality_weight(weight: u32, health: Health) -> u64 {
    if health.endpoints == 0 {
        return 0;
    }
    let healthy = u64::from(OVERPROVISIONING) * u64::from(health.healthy) * 100 / u64::from(health.endpoints);
    u64::from(weight) * healthy.min(10_000)
}

/// The locality that a roll falls on, by these weights; `None` when all are 0.
pub fn pick_locality(weights: &[u64], roll: u64) -> Option<usize> {
    let total: u64 = weights.iter().sum();
    let mut position = roll.checked_rem(total)?;
    weights.iter().position(|weight| {
        let inside = position < *weight;
        position = position.saturating_sub(*weight);
        inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shares(priorities: &[(u32, u32)], min_health_percent: u8) -> Vec<(u32, bool)> {
        let priorities: Vec<Health> =
            priorities.iter().map(|(healthy, endpoints)| Health { healthy: *healthy, endpoints: *endpoints }).collect();
        loads(&priorities, min_health_percent).iter().map(|load| (load.percent, load.panic)).collect()
    }

    #[test]
    fn load_spills_over_as_the_first_priority_falls_ill() {
        // Envoy's own table.
        for (healthy, first, second) in [(100, 100, 0), (72, 100, 0), (71, 99, 1), (50, 70, 30), (25, 35, 65), (0, 0, 100)] {
            assert_eq!(shares(&[(healthy, 100), (100, 100)], 0), [(first, false), (second, false)], "{healthy} %");
        }
        assert_eq!(shares(&[(25, 100), (25, 100)], 0), [(50, false), (50, false)]);
        assert_eq!(shares(&[(0, 100), (0, 100), (25, 100)], 0), [(0, false), (0, false), (100, false)]);
    }

    #[test]
    fn nobody_healthy_means_nobody_unless_panic_is_on() {
        assert_eq!(shares(&[(0, 2)], 0), [(100, false)]);
        assert_eq!(shares(&[(0, 2), (0, 6)], 50), [(25, true), (75, true)]);
        assert_eq!((shares(&[(0, 0)], 50), shares(&[(0, 0)], 0)), (vec![(100, true)], vec![(100, false)]));
    }

    #[test]
    fn no_priority_panics_while_all_together_carry_the_load() {
        // Three of four are more than 100 / 140, whatever the threshold says.
        assert_eq!(shares(&[(3, 4)], 90), [(100, false)]);
        assert_eq!(shares(&[(2, 4)], 90), [(100, true)]);
        assert_eq!(shares(&[(1, 10), (10, 10)], 50), [(14, false), (86, false)]);
    }

    #[test]
    fn a_locality_keeps_its_weight_down_to_the_overprovisioned_share() {
        let weight = |healthy, endpoints| locality_weight(3, Health { healthy, endpoints });
        assert_eq!((weight(4, 4), weight(3, 4), weight(2, 4), weight(0, 4), weight(0, 0)), (30_000, 30_000, 21_000, 0, 0));
        assert_eq!(pick_locality(&[0, 2, 1], 4), Some(1));
        assert_eq!(pick_locality(&[0, 2, 1], 2), Some(2));
        assert_eq!(pick_locality(&[0, 0], 2), None);
    }

    proptest! {
        #[test]
        fn the_shares_sum_to_a_hundred(priorities in prop::collection::vec((0_u32..9, 0_u32..9), 1..5), threshold in 0_u8..=100) {
            let priorities: Vec<Health> =
                priorities.into_iter().map(|(one, other)| Health { healthy: one.min(other), endpoints: one.max(other) }).collect();
            let loads = loads(&priorities, threshold);
            prop_assert_eq!(loads.iter().map(|load| load.percent).sum::<u32>(), 100);
            let mut counts = vec![0; loads.len()];
            (0..100).for_each(|roll| counts[pick_priority(&loads, roll)] += 1);
            prop_assert_eq!(counts, loads.iter().map(|load| load.percent).collect::<Vec<_>>());
        }

        #[test]
        fn a_priority_takes_no_more_than_its_overprovisioned_health_while_a_later_one_can(healthy in 0_u32..20, endpoints in 1_u32..20) {
            let first = Health { healthy: healthy.min(endpoints), endpoints };
            let loads = loads(&[first, Health { healthy: 5, endpoints: 5 }], 0);
            prop_assert_eq!(loads[0].percent, (140 * first.healthy / endpoints).min(100));
        }

        #[test]
        fn localities_get_their_weight(weights in prop::collection::vec(0_u64..9, 1..5)) {
            let total: u64 = weights.iter().sum();
            prop_assume!(total > 0);
            let mut counts = vec![0; weights.len()];
            (0..total).for_each(|roll| counts[pick_locality(&weights, roll).unwrap()] += 1);
            prop_assert_eq!(counts, weights);
        }
    }
}
