//! A uniform sample of at most 200 rows a second, in constant memory. Counts are never sampled.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Rows a second; also the most that may be saved up.
const RATE: u64 = 200;
const MICROS_PER_ROW: u64 = 1_000_000 / RATE;

/// A reservoir whose size is what the rate leaves.
pub(crate) struct Sampler {
    rng: SmallRng,
    chosen: Vec<u64>,
    seen: u64,
    budget: u64,
    refilled: u64,
}

impl Sampler {
    pub(crate) fn new(seed: u64, now: u64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), chosen: Vec::with_capacity(RATE as usize), seen: 0, budget: RATE, refilled: now }
    }

    /// Offers a row by its number; each of a flush's rows is as likely to stay as any other. Returns how many rows are waiting.
    pub(crate) fn offer(&mut self, number: u64) -> usize {
        self.seen += 1;
        if (self.chosen.len() as u64) < self.budget {
            self.chosen.push(number);
        } else {
            let place = self.rng.random_range(0..self.seen);
            if let Some(slot) = usize::try_from(place).ok().and_then(|place| self.chosen.get_mut(place)) {
                *slot = number;
            }
        }
        self.chosen.len()
    }

    /// The rows chosen since the last flush, oldest first, and how many there were.
    pub(crate) fn flush(&mut self, now: u64) -> (Vec<u64>, u64) {
        let mut chosen = std::mem::take(&mut self.chosen);
        chosen.sort_unstable();
        let rows = now.saturating_sub(self.refilled) / MICROS_PER_ROW;
        self.refilled += rows * MICROS_PER_ROW;
        self.budget = (self.budget - chosen.len() as u64).saturating_add(rows).min(RATE);
        (chosen, std::mem::take(&mut self.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flushes every 100 ms for `seconds` with `rate` rows a second; returns rows kept and rows seen.
    fn run(sampler: &mut Sampler, seconds: u64, rate: u64, mut kept: impl FnMut(&[u64])) -> (u64, u64) {
        let (mut rows, mut seen) = (0, 0);
        for tick in 1..=seconds * 10 {
            (0..rate / 10).for_each(|n| assert!(sampler.offer(n) <= RATE as usize));
            let (chosen, n) = sampler.flush(tick * 100_000);
            kept(&chosen);
            (rows, seen) = (rows + chosen.len() as u64, seen + n);
        }
        (rows, seen)
    }

    #[test]
    fn up_to_the_rate_every_row_is_kept() {
        assert_eq!(run(&mut Sampler::new(1, 0), 10, 200, |_| ()), (2_000, 2_000));
    }

    #[test]
    fn above_the_rate_rows_are_limited_and_counts_stay_exact() {
        let (rows, seen) = run(&mut Sampler::new(1, 0), 10, 5_000, |_| ());
        assert_eq!(seen, 50_000);
        assert!((2_000..=2_200).contains(&rows), "{rows}");
    }

    #[test]
    fn a_saved_up_burst_of_two_hundred_is_shown_whole() {
        let mut sampler = Sampler::new(1, 0);
        (0..200).for_each(|n| assert_eq!(sampler.offer(n), n as usize + 1));
        assert_eq!(sampler.flush(0).0.len(), 200);
        sampler.offer(1);
        assert_eq!(sampler.flush(0), (Vec::new(), 1));
    }

    #[test]
    fn every_row_of_a_tick_is_equally_likely() {
        let mut counts = [0_u32; 100];
        let mut sampler = Sampler::new(7, 0);
        run(&mut sampler, 100, 1_000, |chosen| chosen.iter().for_each(|n| counts[*n as usize] += 1));
        // 1,000 ticks, 20 of 100 kept: each is kept 200 ± 6 σ (σ = 12.6) times.
        assert!(counts.iter().all(|count| (124..=276).contains(count)), "{counts:?}");
    }
}
