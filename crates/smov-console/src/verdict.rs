//! Is the observed split what was configured? Decided on fresh, non-overlapping blocks of 100 requests.
//!
//! A rolling window at 99.9 % turns a healthy wall red several times an hour, because each new request is a new look at nearly the same
//! numbers. Figures may roll; the word is decided block by block: *bad* needs two blocks in a row outside 99 %, or one outside
//! 99.9999 %. Shares of 0 and 1 need no statistics: one request on the other side is already wrong.

use serde::{Deserialize, Serialize};

use crate::interval::{Confidence, central_interval};

/// Requests in a block.
pub const BLOCK: u32 = 100;
/// Requests before anything is said.
pub const ENOUGH: u32 = 20;

/// The state word of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Too few requests.
    #[default]
    Idle,
    /// Within expectation.
    Ok,
    /// Slightly off: keep sampling.
    Watch,
    /// Differs from the configuration.
    Bad,
    /// The configured split is not known, so nothing is judged.
    Held,
}

/// Where the last full block fell, as the page names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockResult {
    /// Inside 99 %.
    In,
    /// Outside 99 %.
    Out99,
    /// Outside 99.9999 %.
    Out999999,
}

/// How far outside a count lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Inside95,
    Outside95,
    Outside99,
    Outside999999,
}

fn distance(draws: u32, count: u32, share: f64) -> Distance {
    let outside = |confidence| {
        let (low, high) = central_interval(draws, share, confidence);
        count < low || count > high
    };
    if outside(Confidence::P999999) {
        Distance::Outside999999
    } else if outside(Confidence::P99) {
        Distance::Outside99
    } else if outside(Confidence::P95) {
        Distance::Outside95
    } else {
        Distance::Inside95
    }
}

/// The blocks since the last change of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    first_side: u32,
    fill: u32,
    done: u64,
    last: Option<Distance>,
    before_last: Option<Distance>,
}

impl Blocks {
    /// Counts one reached request; `first_side` = it was answered by ctx1. `share` is ctx1's configured share, if known.
    pub fn record(&mut self, first_side: bool, share: Option<f64>) {
        self.first_side += u32::from(first_side);
        self.fill += 1;
        if self.fill == BLOCK {
            self.before_last = self.last;
            self.last = share.map(|share| distance(BLOCK, self.first_side, share));
            (self.first_side, self.fill) = (0, 0);
            self.done += 1;
        }
    }

    /// Full blocks since the last change.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Requests in the block being filled.
    pub fn fill(&self) -> u32 {
        self.fill
    }

    /// Where the last full block fell.
    pub fn last(&self) -> Option<BlockResult> {
        self.last.map(|distance| match distance {
            Distance::Inside95 | Distance::Outside95 => BlockResult::In,
            Distance::Outside99 => BlockResult::Out99,
            Distance::Outside999999 => BlockResult::Out999999,
        })
    }

    /// The state word. `rolling` is (requests, of these ctx1) of the rolling window; only certain shares look at it.
    pub fn verdict(&self, share: Option<f64>, rolling: (u32, u32)) -> Verdict {
        let Some(share) = share else { return Verdict::Held };
        if share <= 0.0 || share >= 1.0 {
            let astray = if share >= 1.0 { rolling.0 - rolling.1 } else { rolling.1 };
            return match (astray, rolling.0) {
                (0, requests) if requests < ENOUGH => Verdict::Idle,
                (0, _) => Verdict::Ok,
                _ => Verdict::Bad,
            };
        }
        let partial = (self.fill >= ENOUGH).then(|| distance(self.fill, self.first_side, share));
        let Some(last) = self.last else {
            return match partial {
                None => Verdict::Idle,
                Some(Distance::Inside95) => Verdict::Ok,
                Some(Distance::Outside95 | Distance::Outside99 | Distance::Outside999999) => Verdict::Watch,
            };
        };
        let twice = last >= Distance::Outside99 && self.before_last >= Some(Distance::Outside99);
        if twice || last == Distance::Outside999999 {
            Verdict::Bad
        } else if last >= Distance::Outside95 || partial == Some(Distance::Outside999999) {
            Verdict::Watch
        } else {
            Verdict::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Option<f64> = Some(0.7);

    /// `blocks` after one block with this many requests at ctx1.
    fn with_block(mut blocks: Blocks, first_side: u32) -> Blocks {
        (0..BLOCK).for_each(|n| blocks.record(n < first_side, SHARE));
        blocks
    }

    fn word(blocks: &Blocks) -> Verdict {
        blocks.verdict(SHARE, (BLOCK, 70))
    }

    #[test]
    fn nothing_is_said_before_twenty_requests() {
        let mut blocks = Blocks::default();
        for n in 0..19 {
            blocks.record(n % 10 < 7, SHARE);
            assert_eq!(word(&blocks), Verdict::Idle);
        }
        blocks.record(true, SHARE);
        assert_eq!(word(&blocks), Verdict::Ok);
    }

    #[test]
    fn a_first_block_that_is_not_full_is_never_bad() {
        let mut blocks = Blocks::default();
        (0..99).for_each(|_| blocks.record(false, SHARE));
        assert_eq!(word(&blocks), Verdict::Watch);
        blocks.record(false, SHARE);
        assert_eq!(word(&blocks), Verdict::Bad);
        assert_eq!(blocks.last(), Some(BlockResult::Out999999));
    }

    #[test]
    fn one_block_outside_99_is_watched_and_two_in_a_row_are_bad() {
        // 99 % of 100 draws at 0.7 is 58–81; 99.9999 % is 46–90.
        let once = with_block(Blocks::default(), 57);
        assert_eq!((word(&once), once.last()), (Verdict::Watch, Some(BlockResult::Out99)));
        assert_eq!(word(&with_block(once.clone(), 82)), Verdict::Bad);
        let between = with_block(with_block(once, 70), 57);
        assert_eq!(word(&between), Verdict::Watch);
    }

    #[test]
    fn one_block_outside_six_nines_is_bad_at_once_and_the_next_good_one_clears_it() {
        let far = with_block(Blocks::default(), 40);
        assert_eq!(word(&far), Verdict::Bad);
        assert_eq!(word(&with_block(far, 70)), Verdict::Ok);
    }

    #[test]
    fn a_block_outside_95_only_is_watched_but_counts_as_in() {
        let slightly = with_block(Blocks::default(), 60);
        assert_eq!((word(&slightly), slightly.last()), (Verdict::Watch, Some(BlockResult::In)));
    }

    #[test]
    fn a_running_block_far_outside_warns_before_it_is_full() {
        let mut blocks = with_block(Blocks::default(), 70);
        (0..30).for_each(|_| blocks.record(false, SHARE));
        assert_eq!(word(&blocks), Verdict::Watch);
    }

    #[test]
    fn certain_shares_are_exact() {
        let blocks = Blocks::default();
        assert_eq!(blocks.verdict(Some(1.0), (5, 5)), Verdict::Idle);
        assert_eq!(blocks.verdict(Some(1.0), (20, 20)), Verdict::Ok);
        assert_eq!(blocks.verdict(Some(1.0), (2, 1)), Verdict::Bad);
        assert_eq!(blocks.verdict(Some(0.0), (100, 0)), Verdict::Ok);
        assert_eq!(blocks.verdict(Some(0.0), (100, 1)), Verdict::Bad);
    }

    #[test]
    fn an_unknown_configuration_holds_the_verdict() {
        assert_eq!(Blocks::default().verdict(None, (100, 70)), Verdict::Held);
    }

    #[test]
    fn a_healthy_split_is_called_bad_at_most_once_in_ten_thousand_blocks() {
        // The exact probability that a block of 100 at 0.7 lies outside 99 %, squared, plus outside 99.9999 %.
        let outside = |confidence| {
            let (low, high) = central_interval(BLOCK, 0.7, confidence);
            (0..=BLOCK).filter(|k| *k < low || *k > high).map(probability).sum::<f64>()
        };
        let (p99, p999999) = (outside(Confidence::P99), outside(Confidence::P999999));
        assert!(p99 * p99 + p999999 < 1e-4, "{p99} {p999999}");
    }

    fn probability(count: u32) -> f64 {
        let choose = (0..count).map(|i| (f64::from(BLOCK - i) / f64::from(i + 1)).ln()).sum::<f64>();
        (choose + f64::from(count) * 0.7_f64.ln() + f64::from(BLOCK - count) * 0.3_f64.ln()).exp()
    }
}
