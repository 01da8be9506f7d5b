//! istiod's own metrics, under istiod's names (<https://istio.io/latest/docs/reference/commands/pilot-discovery/#metrics>).

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use smov_model::snapshot::Snapshot;
use smov_telemetry::process;
use smov_telemetry::text::Page;

use crate::traces::Traces;

/// Upper bounds in seconds; istiod's, and finer ones below, because we promise milliseconds.
const BOUNDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0];

/// The parts of a snapshot, in the words of Envoy's discovery services: clusters, endpoints, listeners, routes.
const TYPES: [&str; 4] = ["cds", "eds", "lds", "rds"];

/// Counters of one control plane.
#[derive(Default)]
pub(crate) struct Metrics {
    /// By type.
    pushes: [AtomicU64; TYPES.len()],
    pub(crate) rejects: AtomicU64,
    /// Objects that were not taken, each time that one came.
    pub(crate) rejected_configs: AtomicU64,
    pub(crate) refused_streams: AtomicU64,
    /// Events of the API servers, by what happened.
    pub(crate) events: [AtomicU64; 3],
    pub(crate) services: AtomicU64,
    pub(crate) virtual_services: AtomicU64,
    /// Guards the histogram: change seen to snapshot in use, per proxy.
    convergence: Mutex<Histogram>,
}

/// Places in [`Metrics::events`].
pub(crate) const LISTED: usize = 0;
pub(crate) const APPLIED: usize = 1;
pub(crate) const DELETED: usize = 2;

#[derive(Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// A snapshot was sent; `last` is the one before it at the same proxy. Counts the parts that differ.
    pub(crate) fn pushed(&self, last: Option<&Snapshot>, new: &Snapshot) {
        for (count, changed) in self.pushes.iter().zip(changed_parts(last, new)) {
            count.fetch_add(changed.into(), Relaxed);
        }
    }

    /// A proxy has taken a change into use, so long after the control plane saw it.
    pub(crate) fn converged(&self, after: Duration) {
        let seconds = after.as_secs_f64();
        let mut histogram = self.convergence.lock().expect("no panic while it is held");
        histogram.count += 1;
        histogram.sum += seconds;
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            histogram.buckets[bucket] += 1;
        }
    }

    /// Prometheus' text format.
    pub(crate) fn render(&self, connected: usize, traces: &Traces) -> String {
        let mut page = Page::new();
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        page.family("pilot_xds_pushes", "counter", "Parts of configuration sent to proxies.");
        for (name, count) in TYPES.iter().zip(&self.pushes) {
            page.sample("pilot_xds_pushes", &format!("type=\"{name}\""), of(count));
        }
        page.single("pilot_xds", "gauge", "Connected proxies.", connected);
        page.single("pilot_total_xds_rejects", "counter", "Snapshots that proxies refused.", of(&self.rejects));
        page.single(
            "pilot_total_rejected_configs",
            "counter",
            "Objects that were not taken because something in them is wrong.",
            of(&self.rejected_configs),
        );
        page.family("pilot_k8s_cfg_events", "counter", "Events from API servers.");
        for (name, count) in ["list", "update", "delete"].iter().zip(&self.events) {
            page.sample("pilot_k8s_cfg_events", &format!("event=\"{name}\""), of(count));
        }
        page.single("pilot_services", "gauge", "Services known.", of(&self.services));
        page.single("pilot_virt_services", "gauge", "VirtualServices known.", of(&self.virtual_services));
        page.family("pilot_info", "gauge", "Which program this control plane is.");
        page.sample("pilot_info", &format!("version=\"smov-{}\"", env!("CARGO_PKG_VERSION")), 1);
        page.single("smov_control_refused_streams_total", "counter", "Streams of proxies refused.", of(&self.refused_streams));
        page.single("smov_control_spans_received_total", "counter", "Spans received from proxies and apps.", of(&traces.received));
        page.single(
            "smov_control_spans_left_out_total",
            "counter",
            "Spans left out of memory because their trace has too many.",
            of(&traces.left_out),
        );
        page.single("smov_control_spans_dropped_total", "counter", "Spans that no collector took.", traces.dropped());
        page.family("pilot_proxy_convergence_time", "histogram", "Seconds from a change to its use by a proxy.");
        page.append(&self.convergence());
        process::write(&mut page, "process");
        page.into_text()
    }

    fn convergence(&self) -> String {
        let histogram = self.convergence.lock().expect("no panic while it is held");
        let mut series = String::new();
        let mut cumulative = 0;
        for (bound, count) in BOUNDS.iter().zip(histogram.buckets) {
            cumulative += count;
            let _ = writeln!(series, "pilot_proxy_convergence_time_bucket{{le=\"{bound}\"}} {cumulative}");
        }
        let (count, sum) = (histogram.count, histogram.sum);
        let _ = writeln!(series, "pilot_proxy_convergence_time_bucket{{le=\"+Inf\"}} {count}");
        let _ = writeln!(series, "pilot_proxy_convergence_time_sum {sum}\npilot_proxy_convergence_time_count {count}");
        series
    }
}

/// Which parts a proxy gets anew, in the order of [`TYPES`].
fn changed_parts(last: Option<&Snapshot>, new: &Snapshot) -> [bool; TYPES.len()] {
    let Some(last) = last else { return [true; TYPES.len()] };
    let same_keys = last.clusters.len() == new.clusters.len() && last.clusters.keys().eq(new.clusters.keys());
    let pairs = || last.clusters.values().zip(new.clusters.values());
    let policy = |cluster: &smov_model::cluster::Cluster| {
        let mut policy = cluster.clone();
        policy.endpoints.clear();
        policy
    };
    let cds = !same_keys || pairs().any(|(last, new)| policy(last) != policy(new));
    let eds = !same_keys || pairs().any(|(last, new)| last.endpoints != new.endpoints);
    let lds = (&last.tcp, &last.inbound, last.mutual_tls, &last.telemetry, last.path_normalization, last.unknown_hosts)
        != (&new.tcp, &new.inbound, new.mutual_tls, &new.telemetry, new.path_normalization, new.unknown_hosts);
    let rds = last.outbound != new.outbound || last.ingress != new.ingress;
    [cds, eds, lds, rds]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_is_cumulative_and_no_family_is_there_twice() {
        let metrics = Metrics::default();
        for milliseconds in [1, 4, 4, 60_000] {
            metrics.converged(Duration::from_millis(milliseconds));
        }
        let text = metrics.render(3, &Traces::new(Vec::new()));
        for line in ["{le=\"0.001\"} 1", "{le=\"0.005\"} 3", "{le=\"30\"} 3", "{le=\"+Inf\"} 4", "pilot_xds 3", "type=\"rds\"} 0"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let mut families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = families.len();
        families.dedup();
        assert_eq!(families.len(), count);
    }
}
