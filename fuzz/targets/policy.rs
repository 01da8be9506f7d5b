//! Any policy and any history of outcomes: ejections stay within the policy, loads and picks within the endpoints.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use smov_model::balance::{Candidate, Rolls, choose};
use smov_model::cluster::{LoadBalancer, OutlierDetection};
use smov_model::hash::{HashRing, MaglevTable};
use smov_model::outlier::{Outcome, OutlierDetector};
use smov_model::priority::{Health, loads, pick_priority};

#[derive(Debug, Arbitrary)]
struct Input {
    consecutive_5xx: u8,
    consecutive_gateway_errors: u8,
    interval: u16,
    base: u16,
    max_percent: u8,
    min_percent: u8,
    endpoints: u8,
    history: Vec<(u8, u8, u16)>,
    weights: Vec<(u16, u8)>,
    priorities: Vec<(u8, u8)>,
    rolls: [u64; 3],
}

fuzz_target!(|input: Input| {
    detector(&input);
    balancers(&input);
    priorities(&input);
});

fn detector(input: &Input) {
    let policy = OutlierDetection {
        consecutive_5xx: input.consecutive_5xx.into(),
        consecutive_gateway_errors: input.consecutive_gateway_errors.into(),
        interval: Duration::from_millis(u64::from(input.interval).max(1)),
        base_ejection_time: Duration::from_millis(input.base.into()),
        max_ejection_percent: input.max_percent.min(100),
        min_health_percent: input.min_percent.min(100),
    };
    let count = usize::from(input.endpoints % 16) + 1;
    let mut detector = OutlierDetector::default();
    detector.keep(0..count);
    let mut now = Duration::ZERO;
    for (endpoint, outcome, wait) in &input.history {
        now += Duration::from_millis((*wait).into());
        let endpoint = usize::from(*endpoint) % count;
        let outcome = [Outcome::Success, Outcome::ServerError, Outcome::GatewayError][usize::from(outcome % 3)];
        for returned in detector.advance(&policy, now) {
            assert!(!detector.is_ejected(&returned));
        }
        let before = detector.ejected();
        if detector.record(&endpoint, outcome, &policy, now).is_some() {
            assert!(outcome != Outcome::Success && detector.is_ejected(&endpoint));
            assert!((before + 1) * 100 <= usize::from(policy.max_ejection_percent) * count, "more ejected than the policy allows");
        }
        assert!(detector.ejected() <= count);
    }
}

fn balancers(input: &Input) {
    let candidates: Vec<Candidate> =
        input.weights.iter().take(64).map(|(weight, active)| Candidate { weight: (*weight).into(), active: (*active).into() }).collect();
    let rolls = Rolls { first: input.rolls[0], second: input.rolls[1], turn: input.rolls[2] };
    for balancer in [LoadBalancer::LeastRequest, LoadBalancer::RoundRobin, LoadBalancer::Random] {
        let chosen = choose(balancer, candidates.as_slice(), rolls);
        assert_eq!(chosen.is_some(), !candidates.is_empty());
        assert!(chosen.is_none_or(|index| index < candidates.len()));
    }
    // Shares sum to 1, and the lightest is not so light that the ring grows to Envoy's eight million points.
    let weight = |candidate: &Candidate| f64::from(candidate.weight % 100 + 1);
    let total: f64 = candidates.iter().map(weight).sum();
    let named: Vec<(String, f64)> =
        candidates.iter().enumerate().map(|(index, candidate)| (format!("127.0.0.{index}:80"), weight(candidate) / total)).collect();
    for pick in [HashRing::new(&named, 64).pick(rolls.first), MaglevTable::new(&named, 67).pick(rolls.first)] {
        assert_eq!(pick.is_some(), !named.is_empty());
        assert!(pick.is_none_or(|index| index < named.len()));
    }
}

fn priorities(input: &Input) {
    let health: Vec<Health> = input
        .priorities
        .iter()
        .take(16)
        .map(|(healthy, more)| Health { healthy: (*healthy).into(), endpoints: u32::from(*healthy) + u32::from(*more) })
        .collect();
    let loads = loads(&health, input.min_percent.min(100));
    if !loads.is_empty() {
        assert_eq!(loads.iter().map(|load| load.percent).sum::<u32>(), 100);
        assert!(pick_priority(&loads, input.rolls[0]) < health.len());
    }
}
