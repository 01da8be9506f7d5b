//! What services did in the last hour, in steps of 5 s: requests, failures by flag, how long they took. For the page's charts; Prometheus is not
//! needed for them. Bounded: so many series, and of each only the steps in which something happened.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use smov_model::record::{DURATION_BOUNDS, SeriesCount};

/// Seconds of one step.
const STEP: u64 = 5;
/// Steps kept: an hour.
const STEPS: u64 = 720;
/// Series kept; what comes later is left out, and the answer says how much.
const SERIES: usize = 128;

/// Which series: the caller's workload, the service, the cluster that answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    source: String,
    service: String,
    cluster: String,
}

/// What happened in one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Begin of the step, seconds since 1970.
    pub at: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Of these, those with a 5xx or without an answer, by response flag; `-` = the service itself said so.
    pub errors: BTreeMap<String, u64>,
    /// Requests by how long they took: as many as [`SeriesAnswer::bounds`] and one more, for what took longer.
    pub buckets: Vec<u64>,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// The caller's workload.
    pub source: String,
    /// The service, short name.
    pub service: String,
    /// The Kubernetes cluster that answered; empty when no pod did.
    pub cluster: String,
    /// Steps in which something happened, oldest first.
    pub points: Vec<Point>,
}

/// `/debug/series`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesAnswer {
    /// Seconds of one step.
    pub step: u64,
    /// Upper bounds of the buckets, milliseconds.
    pub bounds: Vec<f64>,
    /// By caller, service, cluster. A caller's own cluster's control plane has it.
    pub series: Vec<Series>,
    /// Series left out because there were too many.
    pub left_out: u64,
}

/// The last hour.
#[derive(Default)]
pub(crate) struct LastHour {
    /// Guards the steps; sections are short and never wait.
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    steps: BTreeMap<Name, BTreeMap<u64, Point>>,
    /// What each proxy had counted when it last said so.
    last: HashMap<String, Vec<SeriesCount>>,
    left_out: u64,
}

impl LastHour {
    /// Takes a proxy's cumulative counters; `now` in seconds since 1970.
    pub(crate) fn take(&self, pod: &str, counts: Vec<SeriesCount>, now: u64) {
        if counts.is_empty() {
            return;
        }
        let mut inner = self.inner.lock().expect("no panic while it is held");
        let Inner { steps, last, left_out } = &mut *inner;
        let before = last.remove(pod).unwrap_or_default();
        let step = now / STEP;
        for count in &counts {
            let known = before.iter().find(|known| known.same_series(count));
            // A proxy that was restarted begins at 0 again.
            let base = known.filter(|known| known.requests <= count.requests);
            let requests = count.requests - base.map_or(0, |known| known.requests);
            if requests == 0 {
                continue;
            }
            let name = Name { source: count.source.clone(), service: count.service.clone(), cluster: count.kube_cluster.clone() };
            if !steps.contains_key(&name) && steps.len() >= SERIES {
                *left_out += 1;
                continue;
            }
            let point = steps.entry(name).or_default().entry(step).or_insert_with(|| Point {
                at: step * STEP,
                buckets: vec![0; DURATION_BOUNDS.len() + 1],
                ..Point::default()
            });
            point.requests += requests;
            let failures = count.failures - base.map_or(0, |known| known.failures.min(count.failures));
            if failures > 0 {
                *point.errors.entry(count.flags.clone()).or_default() += failures;
            }
            for (place, (sum, more)) in point.buckets.iter_mut().zip(&count.buckets).enumerate() {
                *sum += more.saturating_sub(base.and_then(|known| known.buckets.get(place)).copied().unwrap_or(0));
            }
        }
        last.insert(pod.to_owned(), counts);
        let oldest = step.saturating_sub(STEPS);
        steps.retain(|_, points| {
            while points.first_key_value().is_some_and(|(step, _)| *step <= oldest) {
                points.pop_first();
            }
            !points.is_empty()
        });
    }

    /// Forgets what a pod had counted when the pod is gone; what it did stays.
    pub(crate) fn keep_pods(&self, exists: impl Fn(&str) -> bool) {
        self.inner.lock().expect("no panic while it is held").last.retain(|pod, _| exists(pod));
    }

    pub(crate) fn answer(&self) -> SeriesAnswer {
        let inner = self.inner.lock().expect("no panic while it is held");
        let series = inner.steps.iter().map(|(name, points)| Series {
            source: name.source.clone(),
            service: name.service.clone(),
            cluster: name.cluster.clone(),
            points: points.values().cloned().collect(),
        });
        SeriesAnswer { step: STEP, bounds: DURATION_BOUNDS.to_vec(), series: series.collect(), left_out: inner.left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(service: &str, requests: u64, failures: u64) -> SeriesCount {
        let mut buckets = vec![0; DURATION_BOUNDS.len() + 1];
        buckets[2] = requests;
        SeriesCount {
            source: "api-gateway".into(),
            service: service.into(),
            kube_cluster: "ctx1".into(),
            flags: "UF".into(),
            requests,
            failures,
            buckets,
        }
    }

    #[test]
    fn what_was_counted_between_two_reports_falls_into_its_step() {
        let hour = LastHour::default();
        hour.take("a", vec![count("user", 10, 1)], 1000);
        hour.take("a", vec![count("user", 15, 3)], 1002);
        hour.take("a", vec![count("user", 16, 3)], 1006);
        // Restarted: begins at 0.
        hour.take("a", vec![count("user", 2, 0)], 1007);
        let points = &hour.answer().series[0].points;
        let told: Vec<_> =
            points.iter().map(|point| (point.at, point.requests, point.errors.get("UF").copied(), point.buckets[2])).collect();
        assert_eq!(told, [(1000, 15, Some(3), 15), (1005, 3, None, 3)]);
    }

    #[test]
    fn an_hour_and_so_many_series_are_kept() {
        let hour = LastHour::default();
        for step in 0..STEPS + 10 {
            hour.take("a", vec![count("user", step + 1, 0)], step * STEP);
        }
        assert_eq!(hour.answer().series[0].points.len() as u64, STEPS);
        hour.take("b", (0..200).map(|number| count(&format!("s{number}"), 1, 0)).collect(), STEPS * STEP);
        let answer = hour.answer();
        assert_eq!((answer.series.len(), answer.left_out), (SERIES, 200 - (SERIES as u64 - 1)));
        hour.keep_pods(|pod| pod == "b");
        assert_eq!(hour.inner.lock().unwrap().last.len(), 1);
    }
}
