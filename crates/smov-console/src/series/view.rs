//! What the Metrics view asks for: lines per service and cluster, and the same figures as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Counts, Key, STEP_MS, Store};
use crate::service::ServiceId;

/// `GET /api/v1/series`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesView {
    /// When the first step begins, Unix milliseconds.
    pub from: u64,
    /// Length of a step, milliseconds.
    pub step_ms: u64,
    /// Steps of the window; a line has one value for each.
    pub steps: usize,
    /// One line per service and cluster that had traffic.
    pub lines: Vec<Line>,
    /// The same, over the whole window.
    pub table: Vec<TableRow>,
    /// Seconds of the window of which anything is known.
    pub known_s: u64,
    /// More label sets were scraped than are kept: figures are too small.
    pub overflow: bool,
}

/// One line. A step of which nothing is known is `null`, a percentile of no request as well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The service.
    pub service: ServiceId,
    /// The cluster whose pod answered; `None` = no pod did.
    pub cluster: Option<String>,
    /// Requests in the step.
    pub requests: Vec<Option<f64>>,
    /// Of these, answered 5xx or not at all.
    pub errors: Vec<Option<f64>>,
    /// Half of the answers came within so many milliseconds.
    pub p50: Vec<Option<f64>>,
    /// 95 %.
    pub p95: Vec<Option<f64>>,
    /// 99 %.
    pub p99: Vec<Option<f64>>,
}

/// One row of the table, over the window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableRow {
    /// The service.
    pub service: ServiceId,
    /// The cluster whose pod answered; `None` = no pod did.
    pub cluster: Option<String>,
    /// Requests.
    pub requests: f64,
    /// Of these, answered 5xx or not at all.
    pub errors: f64,
    /// Milliseconds.
    pub p50: Option<f64>,
    /// Milliseconds.
    pub p95: Option<f64>,
    /// Milliseconds.
    pub p99: Option<f64>,
    /// Attempts after the first, towards this subset.
    pub retries: f64,
    /// Ejections of endpoints of this subset.
    pub ejections: f64,
    /// Requests by response flag, `-` left out.
    pub flags: BTreeMap<String, f64>,
}

pub(super) fn of(store: &Store, now_ms: u64, minutes: u64) -> SeriesView {
    let steps = usize::try_from(minutes * 60_000 / STEP_MS).unwrap_or(super::STEPS);
    // The step that is still going on is counted by the next scrape.
    let end = now_ms / STEP_MS;
    let first = end.saturating_sub(steps as u64);
    let inside = || store.steps.iter().filter(|step| (first..end).contains(&step.number));
    let mut sums: BTreeMap<Key, Counts> = BTreeMap::new();
    for step in inside() {
        for (key, counts) in &step.lines {
            sums.entry(key.clone()).or_default().join(counts);
        }
    }
    let empty = vec![None; steps];
    // A subset that is no cluster (a canary) has retries of its own, but no requests by that name.
    let mut lines: BTreeMap<&Key, Line> = sums
        .iter()
        .filter(|(_, counts)| counts.requests > 0.0)
        .map(|(key, _)| {
            let line = Line {
                service: key.0,
                cluster: key.1.clone(),
                requests: empty.clone(),
                errors: empty.clone(),
                p50: empty.clone(),
                p95: empty.clone(),
                p99: empty.clone(),
            };
            (key, line)
        })
        .collect();
    let none = Counts::default();
    for step in inside().filter(|step| step.known) {
        let place = usize::try_from(step.number - first).unwrap_or(0);
        for (key, line) in &mut lines {
            let counts = step.lines.get(*key).unwrap_or(&none);
            line.requests[place] = Some(counts.requests);
            line.errors[place] = Some(counts.errors);
            line.p50[place] = quantile(&store.bounds, &counts.buckets, 0.50);
            line.p95[place] = quantile(&store.bounds, &counts.buckets, 0.95);
            line.p99[place] = quantile(&store.bounds, &counts.buckets, 0.99);
        }
    }
    let known = inside().filter(|step| step.known).count() as u64;
    let lines = lines.into_values().collect();
    let table = sums
        .into_iter()
        .map(|((service, cluster), counts)| TableRow {
            service,
            cluster,
            requests: counts.requests,
            errors: counts.errors,
            p50: quantile(&store.bounds, &counts.buckets, 0.50),
            p95: quantile(&store.bounds, &counts.buckets, 0.95),
            p99: quantile(&store.bounds, &counts.buckets, 0.99),
            retries: counts.retries,
            ejections: counts.ejections,
            flags: counts.flags,
        })
        .collect();
    SeriesView { from: first * STEP_MS, step_ms: STEP_MS, steps, lines, table, known_s: known * STEP_MS / 1000, overflow: store.overflow }
}

impl Counts {
    fn join(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.retries += other.retries;
        self.ejections += other.ejections;
        for (flag, count) in &other.flags {
            *self.flags.entry(flag.clone()).or_default() += count;
        }
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0.0);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
    }
}

/// Prometheus' `histogram_quantile`: linear within the bucket; in the last one its lower bound.
fn quantile(bounds: &[f64], cumulative: &[f64], q: f64) -> Option<f64> {
    let total = cumulative.last().copied().filter(|total| *total > 0.0 && cumulative.len() == bounds.len())?;
    let rank = q * total;
    let place = cumulative.iter().position(|count| *count >= rank)?;
    let below = if place == 0 { (0.0, 0.0) } else { (bounds[place - 1], cumulative[place - 1]) };
    if bounds[place].is_infinite() {
        return Some(below.0);
    }
    Some(below.0 + (bounds[place] - below.0) * (rank - below.1) / (cumulative[place] - below.1))
}
