//! Dice: every random choice of the data plane, as an argument.
//!
//! With a seed, a draw is a function of the seed, the workload, the request's id, the destination, the purpose and the attempt, so that
//! a run can be repeated draw by draw (`smov up --seed N`), whatever the order in which requests arrive.

use serde::{Deserialize, Serialize};

/// What a draw is for. Each purpose has a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// The weighted split of a route.
    Split,
    /// Is a delay injected?
    FaultDelay,
    /// Is an abort injected?
    FaultAbort,
    /// First candidate of the load balancer.
    BalanceFirst,
    /// Second candidate of the load balancer.
    BalanceSecond,
    /// Back-off before a retry.
    Backoff,
    /// Latency jitter of the link between the clouds.
    Jitter,
    /// Is a copy sent to a mirror?
    Mirror,
    /// Which priority of a cluster?
    Priority,
    /// Which locality of a priority?
    Locality,
}

/// Names one draw.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// What for.
    pub purpose: Purpose,
    /// The request's `x-request-id`.
    pub request_id: &'a str,
    /// The host or cluster that the choice is about.
    pub destination: &'a str,
    /// 0 for the first attempt.
    pub attempt: u32,
}

/// A source of rolls, uniform over 64 bits.
pub trait Dice: Send + Sync {
    /// Rolls once for this draw.
    fn roll(&self, draw: Draw<'_>) -> u64;
}

/// Dice whose rolls are a function of the seed and the draw's name.
#[derive(Debug, Clone)]
pub struct SeededDice {
    start: u64,
}

impl SeededDice {
    /// Dice for one workload (`user-service-ctx1`): its pods roll alike, which is what makes a run repeatable across restarts.
    pub fn new(seed: u64, workload: &str) -> Self {
        Self { start: fold(mix(seed), workload.as_bytes()) }
    }
}

impl Dice for SeededDice {
    fn roll(&self, draw: Draw<'_>) -> u64 {
        let mut state = fold(self.start, draw.request_id.as_bytes());
        state = fold(state, draw.destination.as_bytes());
        mix(state ^ mix(draw.purpose as u64 + 1) ^ (u64::from(draw.attempt) << 32))
    }
}

/// Folds bytes into a state: FNV-1a over the bytes, then a full mix, so that near names give far rolls.
fn fold(state: u64, bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(state ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    mix(hash ^ bytes.len() as u64)
}

/// The finaliser of splitmix64: every input bit moves every output bit.
fn mix(input: u64) -> u64 {
    let mut value = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(purpose: Purpose, request_id: &str, attempt: u32) -> Draw<'_> {
        Draw { purpose, request_id, destination: "user-service", attempt }
    }

    #[test]
    fn equal_seeds_roll_alike_and_others_do_not() {
        let first = SeededDice::new(7, "api-gateway");
        let again = SeededDice::new(7, "api-gateway");
        let other = SeededDice::new(8, "api-gateway");
        for id in ["a", "b", "c"] {
            let draw = draw(Purpose::Split, id, 0);
            assert_eq!(first.roll(draw), again.roll(draw));
            assert_ne!(first.roll(draw), other.roll(draw));
        }
    }

    #[test]
    fn purposes_and_attempts_have_streams_of_their_own() {
        let dice = SeededDice::new(7, "api-gateway");
        let split = dice.roll(draw(Purpose::Split, "a", 0));
        assert_ne!(split, dice.roll(draw(Purpose::FaultAbort, "a", 0)));
        assert_ne!(split, dice.roll(draw(Purpose::Split, "a", 1)));
    }

    #[test]
    fn rolls_are_even_over_consecutive_ids() {
        let dice = SeededDice::new(42, "api-gateway");
        let low = (0..20_000).filter(|n| dice.roll(draw(Purpose::Split, &format!("req-{n}"), 0)) % 100 < 70).count();
        // 99.99 % of a fair 70 % over 20,000 lies within ±1.3 points.
        assert!((13_740..=14_260).contains(&low), "{low}");
    }
}
