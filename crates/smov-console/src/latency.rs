//! Percentiles of latencies in a few kilobytes: buckets that double, each cut into 32 (an error of at most 3 %), over the last minute or two.

const CUTS: u64 = 32;
const CUT_BITS: u32 = 5;
/// Values up to 2^36 µs (19 hours) have a bucket; longer ones share the last.
const BUCKETS: usize = 32 * 32;
/// A half is replaced after this many microseconds.
const HALF: u64 = 60_000_000;

/// Counts of one minute.
#[derive(Clone)]
struct Counts {
    buckets: Box<[u32; BUCKETS]>,
    total: u64,
}

impl Counts {
    fn new() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), total: 0 }
    }
}

/// A rolling histogram: the minute being filled and the one before it.
#[derive(Clone)]
pub(crate) struct Latencies {
    current: Counts,
    previous: Counts,
    turned: u64,
}

impl Latencies {
    pub(crate) fn new(now: u64) -> Self {
        Self { current: Counts::new(), previous: Counts::new(), turned: now }
    }

    /// Adds one latency in microseconds.
    pub(crate) fn record(&mut self, micros: u64, now: u64) {
        self.turn(now);
        let bucket = &mut self.current.buckets[bucket_of(micros)];
        *bucket = bucket.saturating_add(1);
        self.current.total += 1;
    }

    /// The latency that `share` of the last one to two minutes' requests did not exceed, in milliseconds; `None` without requests.
    pub(crate) fn quantile_ms(&mut self, share: f64, now: u64) -> Option<f64> {
        self.turn(now);
        let total = self.current.total + self.previous.total;
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for (index, (a, b)) in self.current.buckets.iter().zip(self.previous.buckets.iter()).enumerate() {
            seen += u64::from(*a) + u64::from(*b);
            if seen >= rank {
                return Some((middle_of(index) / 100.0).round() / 10.0);
            }
        }
        None
    }

    fn turn(&mut self, now: u64) {
        let age = now.saturating_sub(self.turned);
        if age < HALF {
            return;
        }
        let filled = std::mem::replace(&mut self.current, Counts::new());
        self.previous = if age < 2 * HALF { filled } else { Counts::new() };
        self.turned = now;
    }
}

/// Below 32 each microsecond has its bucket; above, the five bits after the leading one choose it.
fn bucket_of(micros: u64) -> usize {
    if micros < CUTS {
        return micros as usize;
    }
    let shift = micros.ilog2() - CUT_BITS;
    let index = u64::from(shift) * CUTS + (micros >> shift);
    (index as usize).min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds.
fn middle_of(index: usize) -> f64 {
    let index = index as u64;
    if index < 2 * CUTS {
        return index as f64;
    }
    let shift = index / CUTS - 1;
    let low = (index - shift * CUTS) << shift;
    low as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lands_within_three_percent_of_its_buckets_middle() {
        for value in (0..100_000).chain((17..36).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 12_345])) {
            let middle = middle_of(bucket_of(value));
            assert!((middle - value as f64).abs() <= value as f64 * 0.03, "{value} {middle}");
        }
    }

    #[test]
    fn p95_of_a_hundred_even_values_is_the_95th() {
        let mut latencies = Latencies::new(0);
        (1..=100).for_each(|n| latencies.record(n * 1_000, 0));
        let p95 = latencies.quantile_ms(0.95, 0).unwrap();
        assert!((p95 - 95.0).abs() < 3.0, "{p95}");
    }

    #[test]
    fn old_latencies_are_forgotten_after_two_minutes() {
        let mut latencies = Latencies::new(0);
        latencies.record(3_000_000, 0);
        assert!(latencies.quantile_ms(0.95, HALF).is_some());
        assert_eq!(latencies.quantile_ms(0.95, 3 * HALF), None);
    }
}
