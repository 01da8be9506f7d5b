//! The rolling window of one service: its last 100 requests that are draws of the split, and what was left out between them.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::view::request::RequestRow;
use crate::view::split::Excluded;

/// Requests in a full window.
pub(crate) const WINDOW: usize = 100;

/// Which side a request counts for, or why it counts for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered by ctx1 by the split.
    First,
    /// Answered by ctx2 by the split.
    Second,
    /// Carried the canary header.
    Canary,
    /// No pod answered.
    Unreached,
    /// A pod answered that did not say where it is.
    Unknown,
    /// Began before the present configuration was everywhere.
    Settling,
}

impl Outcome {
    /// What a row is in a window whose configuration is in force everywhere from `in_force` on.
    pub(crate) fn of(row: &RequestRow, in_force: u64) -> Self {
        match row.cluster.as_deref() {
            _ if row.canary => Self::Canary,
            _ if row.ts < in_force => Self::Settling,
            None => Self::Unreached,
            Some("ctx1") => Self::First,
            Some("ctx2") => Self::Second,
            Some(_) => Self::Unknown,
        }
    }
}

/// One draw, with what was left out between it and the draw before it.
#[derive(Debug)]
struct Drawn {
    id: u64,
    first_side: bool,
    retried: bool,
    left_out: Excluded,
}

/// The window.
#[derive(Debug, Default)]
pub(crate) struct Window {
    drawn: VecDeque<Drawn>,
    first_side: u32,
    excluded: Excluded,
    since_last: Excluded,
}

impl Window {
    /// Adds a request; `true` when it is a draw.
    pub(crate) fn record(&mut self, id: &str, outcome: Outcome) -> bool {
        let first_side = match outcome {
            Outcome::First => true,
            Outcome::Second => false,
            Outcome::Canary | Outcome::Unreached | Outcome::Unknown | Outcome::Settling => {
                for counts in [&mut self.excluded, &mut self.since_last] {
                    let count = match outcome {
                        Outcome::Canary => &mut counts.canary,
                        Outcome::Unreached => &mut counts.unreached,
                        Outcome::Unknown => &mut counts.unknown,
                        Outcome::Settling | Outcome::First | Outcome::Second => &mut counts.settling,
                    };
                    *count = count.saturating_add(1);
                }
                return false;
            }
        };
        if self.drawn.len() == WINDOW
            && let Some(oldest) = self.drawn.pop_front()
        {
            self.first_side -= u32::from(oldest.first_side);
            self.excluded = minus(self.excluded, oldest.left_out);
        }
        let left_out = std::mem::take(&mut self.since_last);
        self.drawn.push_back(Drawn { id: hash(id), first_side, retried: false, left_out });
        self.first_side += u32::from(first_side);
        true
    }

    /// A proxy tried this request more than once.
    pub(crate) fn mark_retried(&mut self, id: &str) {
        let id = hash(id);
        if let Some(drawn) = self.drawn.iter_mut().rev().find(|drawn| drawn.id == id) {
            drawn.retried = true;
        }
    }

    /// Draws, and how many of them ctx1 answered.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.drawn.len() as u32, self.first_side)
    }

    /// Draws that a proxy tried more than once.
    pub(crate) fn retried(&self) -> u32 {
        self.drawn.iter().filter(|drawn| drawn.retried).count() as u32
    }

    /// What was left out among the window's requests.
    pub(crate) fn excluded(&self) -> Excluded {
        self.excluded
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn minus(all: Excluded, gone: Excluded) -> Excluded {
    Excluded {
        canary: all.canary.saturating_sub(gone.canary),
        unreached: all.unreached.saturating_sub(gone.unreached),
        unknown: all.unknown.saturating_sub(gone.unknown),
        settling: all.settling.saturating_sub(gone.settling),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_the_last_hundred_draws() {
        let mut window = Window::default();
        (0..150).for_each(|n| assert!(window.record(&n.to_string(), if n < 50 { Outcome::First } else { Outcome::Second })));
        assert_eq!(window.counts(), (100, 0));
    }

    #[test]
    fn what_is_left_out_leaves_the_window_with_the_draw_that_follows_it() {
        let mut window = Window::default();
        window.record("a", Outcome::Unreached);
        window.record("b", Outcome::Canary);
        (0..100).for_each(|n| assert!(window.record(&n.to_string(), Outcome::First)));
        assert_eq!(window.excluded(), Excluded { canary: 1, unreached: 1, ..Excluded::default() });
        window.record("c", Outcome::Unknown);
        window.record("next", Outcome::Second);
        assert_eq!(window.excluded(), Excluded { unknown: 1, ..Excluded::default() });
        assert_eq!(window.counts(), (100, 99));
    }

    #[test]
    fn retries_are_counted_once_and_only_inside_the_window() {
        let mut window = Window::default();
        window.record("a", Outcome::First);
        window.mark_retried("a");
        window.mark_retried("a");
        window.mark_retried("elsewhere");
        assert_eq!(window.retried(), 1);
    }
}
