//! Exact binomial bounds, so that tests of random splits say how sure they are.

/// The central interval of Binomial(n, p) that holds at least `confidence` of the mass: `(low, high)`, both inside.
pub fn binomial_interval(n: u64, p: f64, confidence: f64) -> (u64, u64) {
    let tail = (1.0 - confidence) / 2.0;
    let mass = masses(n, p);
    let mut below = 0.0;
    let low = mass
        .iter()
        .position(|mass| {
            below += mass;
            below > tail
        })
        .unwrap_or(0);
    let mut above = 0.0;
    let high = mass
        .iter()
        .rposition(|mass| {
            above += mass;
            above > tail
        })
        .unwrap_or(n as usize);
    (low as u64, high as u64)
}

/// P(X = k) for each k, by logarithms so that a large n does not underflow.
fn masses(n: u64, p: f64) -> Vec<f64> {
    if p <= 0.0 || p >= 1.0 {
        let sure = if p <= 0.0 { 0 } else { n };
        return (0..=n).map(|k| if k == sure { 1.0 } else { 0.0 }).collect();
    }
    let mut log_choose = 0.0;
    (0..=n)
        .map(|k| {
            if k > 0 {
                log_choose += ((n - k + 1) as f64).ln() - (k as f64).ln();
            }
            (log_choose + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln()).exp()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_intervals() {
        assert_eq!(binomial_interval(100, 0.7, 0.95), (61, 79));
        assert_eq!(binomial_interval(100, 0.7, 0.999), (54, 84));
        assert_eq!(binomial_interval(100, 0.5, 0.999), (34, 66));
        assert_eq!(binomial_interval(20, 0.7, 0.95), (10, 18));
        assert_eq!(binomial_interval(50, 1.0, 0.999), (50, 50));
    }
}
