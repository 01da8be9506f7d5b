//! The exact central interval of the binomial distribution: what a count of `n` independent draws may be when all is well.
//!
//! Envoy draws weighted clusters independently per request, so of `n` requests that reached a pod the count of one side is
//! Binomial(n, p). The normal approximation fails where it matters most (99 : 1, small n); the exact sum is short enough.

/// How surprising a count must be to lie outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// 95 %: one window in 20 lies outside by luck.
    P95,
    /// 99 %: one in 100.
    P99,
    /// 99.9 %: one in 1,000; labs judge with this.
    P999,
    /// 99.9999 %: one in 1,000,000.
    P999999,
}

impl Confidence {
    /// Half of the probability that lies outside: the size of each tail.
    fn tail(self) -> f64 {
        match self {
            Self::P95 => 0.025,
            Self::P99 => 0.005,
            Self::P999 => 0.000_5,
            Self::P999999 => 0.000_000_5,
        }
    }
}

/// Lowest and highest count, both inside: each tail beyond them holds at most half of what the confidence leaves.
///
/// `share` is the probability of one draw, clamped to 0..=1; 0 and 1 leave one possible count.
pub fn central_interval(draws: u32, share: f64, confidence: Confidence) -> (u32, u32) {
    let tail = confidence.tail();
    (lower_bound(draws, share, tail), draws - lower_bound(draws, 1.0 - share, tail))
}

/// The smallest count whose cumulative probability exceeds `tail`.
fn lower_bound(draws: u32, share: f64, tail: f64) -> u32 {
    if share <= 0.0 {
        return 0;
    }
    if share >= 1.0 {
        return draws;
    }
    let (log_hit, log_miss) = (share.ln(), (-share).ln_1p());
    let (mut cumulative, mut log_choose) = (0.0, 0.0);
    for count in 0..draws {
        if count > 0 {
            log_choose += (f64::from(draws - count + 1) / f64::from(count)).ln();
        }
        cumulative += (log_choose + f64::from(count) * log_hit + f64::from(draws - count) * log_miss).exp();
        if cumulative > tail {
            return count;
        }
    }
    draws
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_values_of_the_design_hold() {
        use Confidence::{P95, P999};
        assert_eq!(central_interval(100, 0.7, P95), (61, 79));
        assert_eq!(central_interval(100, 0.7, P999), (54, 84));
        assert_eq!(central_interval(100, 0.3, P95), (21, 39));
        assert_eq!(central_interval(100, 0.3, P999), (16, 46));
        assert_eq!(central_interval(100, 0.5, P95), (40, 60));
        assert_eq!(central_interval(100, 0.5, P999), (34, 66));
        assert_eq!(central_interval(20, 0.7, P95), (10, 18));
        assert_eq!(central_interval(500, 0.7, P95), (330, 370));
    }

    #[test]
    fn certain_shares_leave_one_count() {
        for confidence in [Confidence::P95, Confidence::P99, Confidence::P999, Confidence::P999999] {
            assert_eq!(central_interval(100, 0.0, confidence), (0, 0));
            assert_eq!(central_interval(100, 1.0, confidence), (100, 100));
            assert_eq!(central_interval(0, 0.7, confidence), (0, 0));
        }
    }

    #[test]
    fn shares_of_tenths_equal_exact_integer_arithmetic() {
        // With p = tenths/10 every probability is an integer over 10^n, so the tails can be compared without any rounding.
        let tails =
            [(Confidence::P95, 1, 40), (Confidence::P99, 1, 200), (Confidence::P999, 1, 2_000), (Confidence::P999999, 1, 2_000_000)];
        for draws in 1_u32..=30 {
            for tenths in 1_u128..=9 {
                for (confidence, numerator, denominator) in tails {
                    let expected = exact(draws, tenths, numerator, denominator);
                    let found = central_interval(draws, tenths as f64 / 10.0, confidence);
                    assert_eq!(found, expected, "n={draws} p=0.{tenths} {confidence:?}");
                }
            }
        }
    }

    fn exact(draws: u32, tenths: u128, numerator: u128, denominator: u128) -> (u32, u32) {
        let choose = |k: u32| (0..u128::from(k)).fold(1_u128, |value, i| value * (u128::from(draws) - i) / (i + 1));
        let weight = |k: u32| choose(k) * tenths.pow(k) * (10 - tenths).pow(draws - k);
        let beyond = |sum: u128| sum * denominator > 10_u128.pow(draws) * numerator;
        let low = (0..=draws).find(|k| beyond((0..=*k).map(weight).sum())).unwrap();
        let high = (0..=draws).rev().find(|k| beyond((*k..=draws).map(weight).sum())).unwrap();
        (low, high)
    }

    #[test]
    fn wider_confidence_never_narrows_and_the_mirror_is_exact() {
        for percent in 1..100 {
            let share = f64::from(percent) / 100.0;
            let [a, b, c, d] =
                [Confidence::P95, Confidence::P99, Confidence::P999, Confidence::P999999].map(|level| central_interval(100, share, level));
            assert!(a.0 >= b.0 && b.0 >= c.0 && c.0 >= d.0 && a.1 <= b.1 && b.1 <= c.1 && c.1 <= d.1, "{percent}");
            let mirrored = central_interval(100, f64::from(100 - percent) / 100.0, Confidence::P95);
            assert_eq!((100 - mirrored.1, 100 - mirrored.0), a, "{percent}");
        }
    }
}
