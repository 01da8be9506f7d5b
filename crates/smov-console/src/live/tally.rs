//! The books of one service: configuration, window, blocks, latencies, errors.

use std::collections::VecDeque;

use crate::interval::{Confidence, central_interval};
use crate::latency::Latencies;
use crate::live::window::{Outcome, Window};
use crate::verdict::Blocks;
use crate::view::request::RequestRow;
use crate::view::split::{BlockProgress, Configured, ServiceConfig, Shares, Stat};

/// Requests behind the error rate.
const ERROR_WINDOW: usize = 100;

/// The books.
pub(crate) struct Tally {
    config: ServiceConfig,
    /// The last configuration that was known: a short blindness does not restart the window.
    known: Option<ServiceConfig>,
    window: Window,
    blocks: Blocks,
    latencies: Latencies,
    failed: VecDeque<bool>,
    total: u64,
    since: u64,
    in_force: u64,
}

impl Tally {
    pub(crate) fn new(host: &str, now: u64) -> Self {
        Self {
            config: ServiceConfig::not_read_yet(host),
            known: None,
            window: Window::default(),
            blocks: Blocks::default(),
            latencies: Latencies::new(now),
            failed: VecDeque::with_capacity(ERROR_WINDOW),
            total: 0,
            since: now,
            in_force: 0,
        }
    }

    pub(crate) fn config(&self) -> &ServiceConfig {
        &self.config
    }

    /// Takes a configuration; `true` when it differs from the one before. The window restarts when the rule itself changed (not when it
    /// merely could not be read for a while); requests that begin before `in_force` may still have met the old one.
    pub(crate) fn configure(&mut self, config: ServiceConfig, now: u64, in_force: u64) -> bool {
        if config == self.config {
            return false;
        }
        if !matches!(config.configured, Configured::Unknown(_)) {
            if self.known.as_ref().is_some_and(|known| !steers_alike(known, &config)) {
                self.restart(now, in_force);
            }
            self.known = Some(config.clone());
        }
        self.config = config;
        true
    }

    fn restart(&mut self, now: u64, in_force: u64) {
        self.window = Window::default();
        self.blocks = Blocks::default();
        self.latencies = Latencies::new(now);
        self.failed.clear();
        self.since = now;
        self.in_force = in_force;
    }

    pub(crate) fn record(&mut self, row: &RequestRow, micros: u64, now: u64) {
        self.total += 1;
        self.latencies.record(micros, now);
        if self.failed.len() == ERROR_WINDOW {
            self.failed.pop_front();
        }
        self.failed.push_back(row.failed());
        let outcome = Outcome::of(row, self.in_force);
        if self.window.record(&row.id, outcome) {
            self.blocks.record(outcome == Outcome::First, self.probability());
        }
    }

    pub(crate) fn mark_retried(&mut self, id: &str) {
        self.window.mark_retried(id);
    }

    fn probability(&self) -> Option<f64> {
        self.config.configured.shares().map(Shares::probability)
    }

    pub(crate) fn stat(&mut self, now: u64) -> Stat {
        let (n, ctx1) = self.window.counts();
        let p = self.probability();
        let interval = p.map(|p| central_interval(n, p, Confidence::P95));
        let failed = self.failed.iter().filter(|failed| **failed).count();
        Stat {
            n,
            ctx1,
            ctx2: n - ctx1,
            excluded: self.window.excluded(),
            retried: self.window.retried(),
            window_since: self.since,
            p,
            lo: interval.map(|(low, _)| low),
            hi: interval.map(|(_, high)| high),
            verdict: self.blocks.verdict(p, (n, ctx1)),
            block: BlockProgress { done: self.blocks.done(), fill: self.blocks.fill(), last: self.blocks.last() },
            p95_ms: self.latencies.quantile_ms(0.95, now),
            errors: (!self.failed.is_empty()).then(|| (failed as f64 * 1_000.0 / self.failed.len() as f64).round() / 10.0),
            total: self.total,
        }
    }
}

/// Do two configurations steer requests alike? Versions, times and the other cluster's copy do not matter.
fn steers_alike(a: &ServiceConfig, b: &ServiceConfig) -> bool {
    let shares = |config: &ServiceConfig| config.configured.shares().map(|shares| shares.weights);
    shares(a) == shares(b) && a.canary == b.canary && a.interventions == b.interventions
}
