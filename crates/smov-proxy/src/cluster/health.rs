//! Ejections of a cluster's endpoints, and when the balancer hears of them.
//!
//! The detector decides at once; the balancer is told at once too, unless it was told something less than a second ago: then it hears of
//! all changes together, one second after the first ([`MergeWindow`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use smov_model::cluster::OutlierDetection;
use smov_model::merge::MergeWindow;
use smov_model::outlier::{Outcome, OutlierDetector};
use tracing::{info, warn};

use super::{ClusterState, ClusterView, EndpointState};

/// What a cluster remembers of its endpoints' health, whatever snapshots come and go.
#[derive(Debug, Default)]
pub(super) struct Memory {
    detector: OutlierDetector<u64>,
    /// The latest snapshot's: requests that began under another are judged by this one.
    policy: Option<OutlierDetection>,
    /// The endpoints of the latest snapshot, by id, with their priorities.
    members: HashMap<u64, (Arc<EndpointState>, u32)>,
    windows: BTreeMap<u32, MergeWindow>,
}

impl ClusterView {
    /// Counts the outcome of one try at an endpoint; ejects it if that was one failure too many.
    pub(crate) fn record(&self, endpoint: &EndpointState, outcome: Outcome, age: impl FnOnce() -> Duration) {
        if self.outlier.is_none() || (outcome == Outcome::Success && !endpoint.suspect.load(Relaxed)) {
            return;
        }
        let mut guard = self.state.memory();
        let memory = &mut *guard;
        let Some(policy) = memory.policy.clone() else { return };
        let now = age();
        // Under the lock, so that it says what the detector counts.
        endpoint.suspect.store(outcome != Outcome::Success, Relaxed);
        // What was due before comes first, so that forgiveness has its order.
        self.state.settle(memory, &policy, now);
        if let Some(reason) = memory.detector.record(&endpoint.id, outcome, &policy, now) {
            self.state.counters.ejections.fetch_add(1, Relaxed);
            warn!(cluster = %self.state.text, pod = %endpoint.workload.pod, ?reason, "endpoint ejected");
            self.state.changed(memory, endpoint.id, true, now);
        }
        self.state.rest(memory);
    }

    /// Brings what is due up to date.
    pub(crate) fn advance(&self, now: Duration) {
        self.state.settle_if_due(|| now);
    }
}

impl ClusterState {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panic while the memory is held")
    }

    pub(super) fn settle_if_due(&self, age: impl FnOnce() -> Duration) {
        let wake_at = self.wake_at.load(Relaxed);
        if wake_at == u64::MAX {
            return;
        }
        let now = age();
        if now.as_micros() as u64 >= wake_at {
            let mut guard = self.memory();
            let memory = &mut *guard;
            if let Some(policy) = memory.policy.clone() {
                self.settle(memory, &policy, now);
            }
            self.rest(memory);
        }
    }

    /// Does what is due, each thing as of its own time.
    fn settle(&self, memory: &mut Memory, policy: &OutlierDetection, now: Duration) {
        while let Some(at) = memory.next().filter(|at| *at <= now) {
            let due: Vec<u32> = memory
                .windows
                .iter()
                .filter(|(_, window)| window.due().is_some_and(|due| due <= at))
                .map(|(priority, _)| *priority)
                .collect();
            for priority in due {
                self.hand_on(memory, priority, at);
            }
            for id in memory.detector.advance(policy, at) {
                if let Some((endpoint, _)) = memory.members.get(&id) {
                    info!(cluster = %self.text, pod = %endpoint.workload.pod, "endpoint is back");
                }
                self.changed(memory, id, false, at);
            }
        }
    }

    /// Notes a change of one endpoint's health.
    fn changed(&self, memory: &mut Memory, id: u64, ejected: bool, now: Duration) {
        let Some((endpoint, priority)) = memory.members.get(&id) else { return };
        endpoint.ejected.store(ejected, Relaxed);
        let priority = *priority;
        if memory.windows.entry(priority).or_default().changed(now) {
            self.tell(memory, priority);
        }
    }

    fn hand_on(&self, memory: &mut Memory, priority: u32, now: Duration) {
        memory.windows.entry(priority).or_default().hand_on(now);
        self.tell(memory, priority);
    }

    /// Tells the balancer the health of one priority's endpoints.
    fn tell(&self, memory: &Memory, priority: u32) {
        for (endpoint, _) in memory.members.values().filter(|(_, of)| *of == priority) {
            endpoint.passed_over.store(endpoint.is_ejected(), Relaxed);
        }
        self.count_change();
    }

    /// Notes when to look again.
    fn rest(&self, memory: &Memory) {
        self.ejected.store(memory.detector.ejected() as u32, Relaxed);
        self.wake_at.store(memory.next().map_or(u64::MAX, |at| at.as_micros() as u64), Relaxed);
    }

    /// Takes over the endpoints of a new snapshot; under another policy all start healthy. Who came or went takes what waits along, at once.
    pub(super) fn keep(
        &self,
        endpoints: impl Iterator<Item = (Arc<EndpointState>, u32)>,
        policy: Option<&OutlierDetection>,
        same_policy: bool,
        now: Duration,
    ) {
        let mut guard = self.memory();
        let memory = &mut *guard;
        memory.policy = policy.cloned();
        let members: HashMap<u64, (Arc<EndpointState>, u32)> =
            endpoints.map(|(endpoint, priority)| (endpoint.id, (endpoint, priority))).collect();
        let before = std::mem::replace(&mut memory.members, members);
        memory.detector.keep(memory.members.keys().copied());
        if !same_policy {
            memory.detector.clear();
            memory.windows.clear();
            for (endpoint, _) in memory.members.values() {
                endpoint.ejected.store(false, Relaxed);
                endpoint.passed_over.store(false, Relaxed);
            }
            self.count_change();
        } else if !before.is_empty() {
            let missing = |here: &HashMap<u64, (Arc<EndpointState>, u32)>, there: &HashMap<u64, (Arc<EndpointState>, u32)>| {
                let gone = here.iter().filter(|(id, (_, priority))| there.get(id).is_none_or(|(_, now)| now != priority));
                gone.map(|(_, (_, priority))| *priority).collect::<Vec<_>>()
            };
            let mut touched = missing(&before, &memory.members);
            touched.extend(missing(&memory.members, &before));
            touched.sort_unstable();
            touched.dedup();
            for priority in touched {
                self.hand_on(memory, priority, now);
            }
        }
        self.rest(memory);
    }
}

impl Memory {
    /// When something is due.
    fn next(&self) -> Option<Duration> {
        self.windows.values().filter_map(MergeWindow::due).chain(self.detector.next_tick()).min()
    }
}
