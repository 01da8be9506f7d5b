//! Ejection of bad endpoints, with Envoy's arithmetic. Time is an argument: how long since any fixed moment.
//!
//! Consecutive failures are counted inline and eject at once; `interval` is only the tick on which ejected endpoints come back and the
//! memory of past ejections fades
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::OutlierDetection;

/// No ejection lasts longer than this, unless `base_ejection_time` itself does.
const MAX_EJECTION_TIME: Duration = Duration::from_secs(300);

/// How one try at an endpoint ended, as outlier detection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Any answer below 500.
    Success,
    /// A 5xx other than the gateway errors, 500 as a rule.
    ServerError,
    /// 502, 503, 504, a failed connect, a reset, a timeout.
    GatewayError,
}

impl Outcome {
    /// The outcome of an answer with this status.
    pub fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::GatewayError,
            500.. => Self::ServerError,
            _ => Self::Success,
        }
    }
}

/// Why an endpoint was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EjectionReason {
    /// `consecutive5xxErrors` reached.
    Consecutive5xx,
    /// `consecutiveGatewayErrors` reached.
    ConsecutiveGatewayErrors,
}

#[derive(Debug, Clone, Default)]
struct Host {
    consecutive_5xx: u32,
    consecutive_gateway_errors: u32,
    /// Base ejection times of the next ejection, minus one; fades by one per healthy interval.
    multiplier: u32,
    ejected_at: Option<Duration>,
}

/// The memory of one cluster's outlier detection, over endpoints named by `K`.
#[derive(Debug, Clone)]
pub struct OutlierDetector<K> {
    hosts: BTreeMap<K, Host>,
    ejected: usize,
    next_tick: Option<Duration>,
}

impl<K: Ord + Clone> Default for OutlierDetector<K> {
    fn default() -> Self {
        Self { hosts: BTreeMap::new(), ejected: 0, next_tick: None }
    }
}

impl<K: Ord + Clone> OutlierDetector<K> {
    /// Sets the cluster's endpoints. Known ones keep their counters and ejections, others start fresh.
    pub fn keep(&mut self, endpoints: impl IntoIterator<Item = K>) {
        let mut known = std::mem::take(&mut self.hosts);
        self.hosts = endpoints
            .into_iter()
            .map(|endpoint| {
                let host = known.remove(&endpoint).unwrap_or_default();
                (endpoint, host)
            })
            .collect();
        self.ejected = self.hosts.values().filter(|host| host.ejected_at.is_some()).count();
    }

    /// Counts one outcome; `Some` when it ejects the endpoint.
    pub fn record(&mut self, endpoint: &K, outcome: Outcome, policy: &OutlierDetection, now: Duration) -> Option<EjectionReason> {
        let host = self.hosts.get_mut(endpoint)?;
        let reached = |count: &mut u32, threshold: u32| {
            *count = count.saturating_add(1);
            // Envoy starts over after a threshold, whether or not the ejection was allowed.
            let reached = threshold > 0 && *count >= threshold;
            if reached {
                *count = 0;
            }
            reached
        };
        let reason = match outcome {
            Outcome::Success => {
                host.consecutive_5xx = 0;
                host.consecutive_gateway_errors = 0;
                return None;
            }
            Outcome::ServerError => {
                host.consecutive_gateway_errors = 0;
                reached(&mut host.consecutive_5xx, policy.consecutive_5xx).then_some(EjectionReason::Consecutive5xx)
            }
            Outcome::GatewayError => {
                let gateway = reached(&mut host.consecutive_gateway_errors, policy.consecutive_gateway_errors);
                let any = reached(&mut host.consecutive_5xx, policy.consecutive_5xx);
                match (gateway, any) {
                    (true, _) => Some(EjectionReason::ConsecutiveGatewayErrors),
                    (false, true) => Some(EjectionReason::Consecutive5xx),
                    (false, false) => None,
                }
            }
        }?;
        self.eject(endpoint, policy, now).then_some(reason)
    }

    /// Ejects if `(ejected + 1) / endpoints * 100` stays at or below the limit.
    fn eject(&mut self, endpoint: &K, policy: &OutlierDetection, now: Duration) -> bool {
        let count = self.hosts.len();
        let Some(host) = self.hosts.get_mut(endpoint).filter(|host| host.ejected_at.is_none()) else { return false };
        if (self.ejected + 1) * 100 > count * usize::from(policy.max_ejection_percent.min(100)) {
            return false;
        }
        let longest = MAX_EJECTION_TIME.max(policy.base_ejection_time);
        if policy.base_ejection_time * host.multiplier < longest + policy.base_ejection_time {
            host.multiplier += 1;
        }
        host.ejected_at = Some(now);
        self.ejected += 1;
        self.next_tick.get_or_insert(now + policy.interval);
        true
    }

    /// When [`OutlierDetector::advance`] has something to do; `None` = nothing, as long as nobody is ejected.
    pub fn next_tick(&self) -> Option<Duration> {
        self.next_tick
    }

    /// Runs every interval tick that is due at `now`; gives the endpoints that came back.
    pub fn advance(&mut self, policy: &OutlierDetection, now: Duration) -> Vec<K> {
        let mut returned = Vec::new();
        while let Some(tick) = self.next_tick.filter(|tick| *tick <= now) {
            self.tick(policy, tick, &mut returned);
            let busy = self.hosts.values().any(|host| host.multiplier > 0 || host.ejected_at.is_some());
            // Nothing to forgive: the clock starts again with the next ejection.
            self.next_tick = busy.then(|| tick + policy.interval.max(Duration::from_millis(1)));
        }
        returned
    }

    fn tick(&mut self, policy: &OutlierDetection, now: Duration, returned: &mut Vec<K>) {
        let longest = MAX_EJECTION_TIME.max(policy.base_ejection_time);
        for (endpoint, host) in &mut self.hosts {
            match host.ejected_at {
                None => host.multiplier = host.multiplier.saturating_sub(1),
                Some(since) if (policy.base_ejection_time * host.multiplier).min(longest) <= now.saturating_sub(since) => {
                    host.ejected_at = None;
                    host.consecutive_5xx = 0;
                    host.consecutive_gateway_errors = 0;
                    self.ejected -= 1;
                    returned.push(endpoint.clone());
                }
                Some(_) => {}
            }
        }
    }

    /// Ends every ejection at once, for a cluster whose policy is gone; gives the endpoints that came back.
    pub fn clear(&mut self) -> Vec<K> {
        let returned = self.hosts.iter().filter(|(_, host)| host.ejected_at.is_some()).map(|(endpoint, _)| endpoint.clone()).collect();
        *self = Self { hosts: self.hosts.keys().map(|endpoint| (endpoint.clone(), Host::default())).collect(), ..Self::default() };
        returned
    }

    /// Is this endpoint ejected?
    pub fn is_ejected(&self, endpoint: &K) -> bool {
        self.hosts.get(endpoint).is_some_and(|host| host.ejected_at.is_some())
    }

    /// How many are.
    pub fn ejected(&self) -> usize {
        self.ejected
    }
}

/// Is the cluster in panic, so that ejected endpoints get traffic as well? Healthy share below `min_health_percent`; 0 = never.
pub fn in_panic(healthy: usize, endpoints: usize, min_health_percent: u8) -> bool {
    healthy * 100 < endpoints * usize::from(min_health_percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy(max_ejection_percent: u8) -> OutlierDetection {
        OutlierDetection { consecutive_5xx: 3, max_ejection_percent, ..OutlierDetection::default() }
    }

    fn detector(endpoints: u8) -> OutlierDetector<u8> {
        let mut detector = OutlierDetector::default();
        detector.keep(0..endpoints);
        detector
    }

    fn fail(detector: &mut OutlierDetector<u8>, endpoint: u8, times: u32, policy: &OutlierDetection, now: Duration) -> bool {
        (0..times).any(|_| detector.record(&endpoint, Outcome::ServerError, policy, now).is_some())
    }

    #[test]
    fn one_of_two_is_ejected_at_fifty_percent_but_not_below() {
        assert!(fail(&mut detector(2), 0, 3, &policy(50), seconds(0)));
        assert!(!fail(&mut detector(2), 0, 30, &policy(49), seconds(0)));
    }

    #[test]
    fn the_only_endpoint_is_ejected_at_a_hundred_percent_only() {
        assert!(!fail(&mut detector(1), 0, 30, &policy(99), seconds(0)));
        assert!(fail(&mut detector(1), 0, 3, &policy(100), seconds(0)));
    }

    #[test]
    fn a_success_starts_the_count_over() {
        let (mut detector, policy) = (detector(2), policy(100));
        assert!(!fail(&mut detector, 0, 2, &policy, seconds(0)));
        detector.record(&0, Outcome::Success, &policy, seconds(0));
        assert!(!fail(&mut detector, 0, 2, &policy, seconds(0)));
        assert!(fail(&mut detector, 0, 1, &policy, seconds(0)));
    }

    #[test]
    fn a_plain_500_interrupts_gateway_errors_but_both_count_as_5xx() {
        let policy = OutlierDetection { consecutive_5xx: 4, consecutive_gateway_errors: 2, max_ejection_percent: 100, ..policy(100) };
        let mut detector = detector(2);
        let mut record = |outcome| detector.record(&0, outcome, &policy, seconds(0));
        assert_eq!(record(Outcome::GatewayError), None);
        assert_eq!(record(Outcome::ServerError), None);
        assert_eq!(record(Outcome::GatewayError), None);
        assert_eq!(record(Outcome::ServerError), Some(EjectionReason::Consecutive5xx));
    }

    #[test]
    fn an_ejected_endpoint_returns_on_the_first_tick_after_its_time() {
        let (mut detector, policy) = (detector(2), policy(50));
        assert!(fail(&mut detector, 0, 3, &policy, seconds(5)));
        assert!(detector.advance(&policy, seconds(34)).is_empty());
        assert_eq!(detector.advance(&policy, seconds(35)), [0]);
        assert!(!detector.is_ejected(&0));
    }

    #[test]
    fn each_further_ejection_lasts_longer_and_healthy_intervals_forgive() {
        let (mut detector, policy) = (detector(2), policy(50));
        assert!(fail(&mut detector, 0, 3, &policy, seconds(0)));
        assert_eq!(detector.advance(&policy, seconds(30)), [0]);
        assert!(fail(&mut detector, 0, 3, &policy, seconds(31)));
        assert!(detector.advance(&policy, seconds(90)).is_empty());
        assert_eq!(detector.advance(&policy, seconds(100)), [0]);
        // Two healthy intervals later the slate is clean again.
        detector.advance(&policy, seconds(130));
        assert!(fail(&mut detector, 0, 3, &policy, seconds(200)));
        assert_eq!(detector.advance(&policy, seconds(230)), [0]);
    }

    #[test]
    fn a_threshold_that_may_not_eject_starts_over() {
        let (mut detector, policy) = (detector(2), policy(50));
        assert!(fail(&mut detector, 0, 3, &policy, seconds(0)));
        assert!(!fail(&mut detector, 1, 3, &policy, seconds(0)));
        detector.advance(&policy, seconds(30));
        assert!(!fail(&mut detector, 1, 2, &policy, seconds(31)));
        assert!(fail(&mut detector, 1, 1, &policy, seconds(31)));
    }

    #[test]
    fn endpoints_that_leave_give_their_ejection_back() {
        let (mut detector, policy) = (detector(2), policy(50));
        assert!(fail(&mut detector, 0, 3, &policy, seconds(0)));
        detector.keep([1, 2]);
        assert_eq!(detector.ejected(), 0);
        assert!(fail(&mut detector, 1, 3, &policy, seconds(0)));
    }

    #[test]
    fn panic_begins_below_the_share() {
        assert!(in_panic(0, 2, 50) && !in_panic(1, 2, 50) && !in_panic(0, 2, 0));
    }

    proptest! {
        #[test]
        fn no_more_are_ejected_than_the_percentage_allows(
            endpoints in 1_u8..12, percent in 0_u8..=100, events in prop::collection::vec((0_u8..12, 0_u8..3, 0_u64..40), 0..400)
        ) {
            let policy = policy(percent);
            let mut detector = detector(endpoints);
            let mut now = Duration::ZERO;
            for (endpoint, outcome, wait) in events {
                now += seconds(wait);
                let outcome = [Outcome::Success, Outcome::ServerError, Outcome::GatewayError][usize::from(outcome)];
                detector.advance(&policy, now);
                detector.record(&endpoint, outcome, &policy, now);
                prop_assert!(detector.ejected() * 100 <= usize::from(endpoints) * usize::from(percent));
            }
        }
    }
}
