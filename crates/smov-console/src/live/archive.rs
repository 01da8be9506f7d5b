//! The last rows, each with its why: for `GET /api/v1/requests/{id}` and for joining what proxies report a moment later.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;

use crate::service::ServiceId;
use crate::view::request::{RequestRow, WhyRow};

/// Which rows are asked for; what is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RowFilter {
    /// The service.
    pub service: Option<ServiceId>,
    /// The cluster that answered; `none` = no pod did.
    pub cluster: Option<String>,
    /// A status (`503`) or a class (`5xx`).
    pub status: Option<String>,
    /// A response flag that it has; `any` = any.
    pub flag: Option<String>,
    /// The browser that sent it.
    pub client: Option<String>,
    /// A part of the request id.
    pub id: Option<String>,
    /// The order.
    pub sort: Sort,
    /// The most rows; 50 unless said otherwise.
    pub limit: Option<usize>,
}

/// The order of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// Newest first.
    #[default]
    Newest,
    /// Slowest first.
    Slow,
}

impl RowFilter {
    fn takes(&self, row: &RequestRow) -> bool {
        // A field of a form that was left empty asks for nothing.
        let wants =
            |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(|text| text.is_empty() || fits(text));
        let flags = row.flags.as_deref().unwrap_or("-");
        self.service.is_none_or(|service| service == row.svc)
            && wants(&self.cluster, &|cluster| row.cluster.as_deref().unwrap_or("none") == cluster)
            && wants(&self.status, &|status| match status.strip_suffix("xx") {
                Some(class) => (row.status / 100).to_string() == class,
                None => row.status.to_string() == status,
            })
            && wants(&self.flag, &|flag| if flag == "any" { flags != "-" } else { flags.split(',').any(|one| one == flag) })
            && wants(&self.client, &|client| {
                row.mine
                    .as_deref()
                    .is_some_and(|mine| mine == client || mine.strip_prefix(client).is_some_and(|rest| rest.starts_with('.')))
            })
            && wants(&self.id, &|id| row.id.contains(id))
    }
}

/// Rows given where nobody says how many.
const FEW: usize = 50;
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

    /// The newest rows that pass.
    pub(crate) fn rows(&self, filter: &RowFilter) -> Vec<RequestRow> {
        let mut rows: Vec<&RequestRow> = self.kept.iter().rev().map(|kept| &kept.row).filter(|row| filter.takes(row)).collect();
        if filter.sort == Sort::Slow {
            rows.sort_by(|left, right| right.ms.total_cmp(&left.ms));
        }
        rows.into_iter().take(filter.limit.unwrap_or(FEW).min(ROWS)).cloned().collect()
    }

    fn at(&mut self, number: u64) -> Option<&mut Kept> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.kept.get_mut(index)
    }
}
