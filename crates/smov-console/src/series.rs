//! The short-term store behind the Metrics view: the last hour in steps of five seconds, from the gateway sidecar's own counters.
//!
//! A scrape is what Prometheus would read (`/stats/prometheus`), so the figures are the same in every mode: the built-in proxy, Envoy, real Istio.
//! Bounded: 720 steps, three services, two clusters and what reached none; counters are remembered per pod and per label set that the page tells
//! apart, at most [`COUNTERS`] of them.

mod exposition;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::service::ServiceId;

pub use view::{Line, SeriesView, TableRow};

/// Length of a step, milliseconds.
pub const STEP_MS: u64 = 5_000;
/// Steps that are kept: one hour.
pub const STEPS: usize = 720;
/// Counters that are remembered at most; further ones of a scrape count into none, and the view says so.
const COUNTERS: usize = 20_000;
/// Clusters that a line may have at most, what reached none included.
const CLUSTERS: usize = 8;

/// The store; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Series(Arc<Mutex<Store>>);

/// A line of the charts: a service, and the cluster that answered; `None` = no pod did.
type Key = (ServiceId, Option<String>);

#[derive(Debug, Default)]
struct Store {
    /// The newest step last; each by its number (Unix milliseconds / [`STEP_MS`]).
    steps: VecDeque<Step>,
    /// The pods' counters at their last scrape.
    pods: BTreeMap<String, Pod>,
    /// Whether any round of scrapes has ended: a pod that comes later is counted from zero.
    begun: bool,
    /// Some counter found no room.
    overflow: bool,
    /// Upper bounds of the latency buckets, milliseconds, `+Inf` last.
    bounds: Vec<f64>,
}

/// Counters of one pod, by the whole label set, so that a restart of the process is seen as a restart.
#[derive(Debug, Default)]
struct Pod {
    counters: BTreeMap<u64, f64>,
}

/// What happened in one step.
#[derive(Debug, Default, Clone)]
struct Step {
    number: u64,
    /// A scrape of every pod that was asked came back.
    known: bool,
    lines: BTreeMap<Key, Counts>,
}

#[derive(Debug, Default, Clone)]
struct Counts {
    requests: f64,
    errors: f64,
    retries: f64,
    ejections: f64,
    flags: BTreeMap<String, f64>,
    /// Answers per latency bucket, cumulative as scraped.
    buckets: Vec<f64>,
}

/// One scrape of one pod.
#[derive(Debug, Clone)]
pub struct Scrape {
    /// Names the pod's life: its name is enough, because names are not used twice.
    pub pod: String,
    /// The answer in Prometheus' text format; `None` = it did not answer.
    pub text: Option<String>,
}

impl Series {
    /// Takes a round of scrapes that was made at `now_ms` (Unix milliseconds). What they count happened in the step before.
    pub fn take(&self, now_ms: u64, scrapes: Vec<Scrape>) {
        let parsed: Vec<_> = scrapes.into_iter().map(|scrape| (scrape.pod, scrape.text.as_deref().map(exposition::samples))).collect();
        self.store().take(now_ms, parsed);
    }

    /// The last `minutes` minutes (1 to 60) before `now_ms`.
    pub fn view(&self, now_ms: u64, minutes: u64) -> SeriesView {
        view::of(&self.store(), now_ms, minutes.clamp(1, 60))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    fn take(&mut self, now_ms: u64, scrapes: Vec<(String, Option<Vec<exposition::Sample>>)>) {
        let number = (now_ms / STEP_MS).saturating_sub(1);
        // Without a pod there is nobody who could have sent a request, but also nobody who says so.
        let known = !scrapes.is_empty() && scrapes.iter().all(|(_, samples)| samples.is_some());
        let asked: Vec<_> = scrapes.iter().map(|(pod, _)| pod.clone()).collect();
        let mut found: Vec<(Key, exposition::What, f64)> = Vec::new();
        for (pod, samples) in scrapes {
            let Some(samples) = samples else { continue };
            let first = !self.pods.contains_key(&pod) && !self.begun;
            let mut room = COUNTERS.saturating_sub(self.pods.values().map(|pod| pod.counters.len()).sum());
            let counters = &mut self.pods.entry(pod).or_default().counters;
            for sample in samples {
                let before = match counters.get_mut(&sample.id) {
                    Some(before) => Some(std::mem::replace(before, sample.value)),
                    None if room == 0 => {
                        self.overflow = true;
                        continue;
                    }
                    None => {
                        room -= 1;
                        counters.insert(sample.id, sample.value);
                        None
                    }
                };
                let more = match before {
                    // A smaller value is a process that has started anew.
                    Some(before) if sample.value >= before => sample.value - before,
                    None if first => 0.0,
                    _ => sample.value,
                };
                if more > 0.0 {
                    found.push((sample.key, sample.what, more));
                }
            }
        }
        self.begun = true;
        // A pod that is gone is remembered until its successor counts; its counters never go on.
        self.pods.retain(|pod, _| asked.contains(pod));
        for (_, what, _) in &found {
            if let exposition::What::Bucket(bound) = what
                && let Err(place) = self.bounds.binary_search_by(|known| known.total_cmp(bound))
            {
                self.bounds.insert(place, *bound);
                self.steps.iter_mut().flat_map(|step| step.lines.values_mut()).for_each(|counts| counts.widen(place));
            }
        }
        let bounds = std::mem::take(&mut self.bounds);
        let step = self.step(number);
        step.known = known;
        for (key, what, more) in found {
            if !step.lines.contains_key(&key) && step.lines.len() >= ServiceId::ALL.len() * CLUSTERS {
                continue;
            }
            step.lines.entry(key).or_default().add(what, more, &bounds);
        }
        self.bounds = bounds;
    }

    /// The step of this number, made where it is missing; older than an hour goes.
    fn step(&mut self, number: u64) -> &mut Step {
        let place = self.steps.partition_point(|step| step.number < number);
        if self.steps.get(place).is_none_or(|step| step.number != number) {
            self.steps.insert(place, Step { number, ..Step::default() });
        }
        let newest = self.steps.back().map_or(number, |step| step.number);
        while self.steps.front().is_some_and(|step| step.number + STEPS as u64 <= newest && step.number != number) {
            self.steps.pop_front();
        }
        let place = self.steps.partition_point(|step| step.number < number);
        &mut self.steps[place]
    }
}

impl Counts {
    fn add(&mut self, what: exposition::What, more: f64, bounds: &[f64]) {
        match what {
            exposition::What::Request { failed, flags } => {
                self.requests += more;
                if failed {
                    self.errors += more;
                }
                if flags != "-" && (self.flags.len() < 32 || self.flags.contains_key(&flags)) {
                    *self.flags.entry(flags).or_default() += more;
                }
            }
            exposition::What::Bucket(bound) => {
                if let Ok(place) = bounds.binary_search_by(|known| known.total_cmp(&bound)) {
                    self.buckets.resize(bounds.len().max(self.buckets.len()), 0.0);
                    self.buckets[place] += more;
                }
            }
            exposition::What::Retries => self.retries += more,
            exposition::What::Ejections => self.ejections += more,
        }
    }

    /// A bucket that was not known before stands at `place`; nothing of it was counted yet.
    fn widen(&mut self, place: usize) {
        if place <= self.buckets.len() && !self.buckets.is_empty() {
            self.buckets.insert(place, 0.0);
        }
    }
}

#[cfg(test)]
mod tests;
