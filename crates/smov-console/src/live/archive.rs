//! The last rows, each with its why: for `GET /api/v1/requests/{id}` and for joining what proxies report a moment later.

use std::collections::{HashMap, VecDeque};

use crate::view::request::{RequestRow, WhyRow};

/// Rows kept.
const ROWS: usize = 2_048;
/// Whys kept that came before their row.
const EARLY: usize = 1_024;

struct Kept {
    row: RequestRow,
    /// The page has this row, so it wants the why.
    shown: bool,
}

/// The rows. Numbers count up by one per row.
#[derive(Default)]
pub(crate) struct Archive {
    kept: VecDeque<Kept>,
    first: u64,
    by_id: HashMap<String, u64>,
    early: HashMap<String, WhyRow>,
    early_order: VecDeque<String>,
}

impl Archive {
    /// Keeps a row and returns its number.
    pub(crate) fn push(&mut self, mut row: RequestRow) -> u64 {
        if !self.early.is_empty()
            && let Some(why) = self.early.remove(&row.id)
        {
            row.explain(&why);
        }
        if self.kept.len() == ROWS
            && let Some(oldest) = self.kept.pop_front()
        {
            if self.by_id.get(&oldest.row.id) == Some(&self.first) {
                self.by_id.remove(&oldest.row.id);
            }
            self.first += 1;
        }
        let number = self.first + self.kept.len() as u64;
        self.by_id.insert(row.id.clone(), number);
        self.kept.push_back(Kept { row, shown: false });
        number
    }

    /// Joins a why to its row. Returns the row when there is one, and whether the page has it.
    pub(crate) fn explain(&mut self, why: &WhyRow) -> Option<(&RequestRow, bool)> {
        let Some(number) = self.by_id.get(&why.id).copied() else {
            if self.early_order.len() == EARLY
                && let Some(oldest) = self.early_order.pop_front()
            {
                self.early.remove(&oldest);
            }
            self.early_order.push_back(why.id.clone());
            self.early.insert(why.id.clone(), why.clone());
            return None;
        };
        let kept = self.at(number)?;
        kept.row.explain(why);
        Some((&kept.row, kept.shown))
    }

    /// The row of this number, from now on known to the page; `None` when it is no longer kept.
    pub(crate) fn show(&mut self, number: u64) -> Option<RequestRow> {
        let kept = self.at(number)?;
        kept.shown = true;
        Some(kept.row.clone())
    }

    /// The newest row with this request id.
    pub(crate) fn find(&self, id: &str) -> Option<&RequestRow> {
        let index = self.by_id.get(id)?.checked_sub(self.first)?;
        self.kept.get(usize::try_from(index).ok()?).map(|kept| &kept.row)
    }

    fn at(&mut self, number: u64) -> Option<&mut Kept> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.kept.get_mut(index)
    }
}
