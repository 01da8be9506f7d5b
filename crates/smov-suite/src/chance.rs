//! What chance allows: exact binomial bounds for shares that dice decide.

/// One false alarm in a million.
pub const CONFIDENCE: f64 = 1.0 - 1e-6;

/// The central interval of Binomial(`times`, `share`) that holds at least [`CONFIDENCE`] of the mass, both ends inside.
pub fn interval(times: u64, share: f64) -> (u64, u64) {
    if share <= 0.0 {
        return (0, 0);
    }
    if share >= 1.0 {
        return (times, times);
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let mut log_choose = 0.0_f64;
    let mass: Vec<f64> = (0..=times)
        .map(|hits| {
            if hits > 0 {
                log_choose += ((times - hits + 1) as f64).ln() - (hits as f64).ln();
            }
            (log_choose + hits as f64 * share.ln() + (times - hits) as f64 * (1.0 - share).ln()).exp()
        })
        .collect();
    let numbered = mass.iter().copied().enumerate().map(|(hits, mass)| (mass, hits as u64));
    let low = beyond(numbered.clone(), tail).unwrap_or(0);
    let high = beyond(numbered.rev(), tail).unwrap_or(times);
    (low, high)
}

/// Where the sum of the masses first exceeds the tail.
fn beyond(mut masses: impl Iterator<Item = (f64, u64)>, tail: f64) -> Option<u64> {
    let mut sum = 0.0;
    masses.find_map(|(mass, hits)| {
        sum += mass;
        (sum > tail).then_some(hits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_wide_enough_and_not_wider() {
        assert_eq!(interval(10, 0.0), (0, 0));
        assert_eq!(interval(10, 1.0), (10, 10));
        let (low, high) = interval(100, 0.7);
        assert!((45..=49).contains(&low) && (88..=92).contains(&high), "{low} {high}");
    }
}
