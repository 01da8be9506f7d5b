//! istiod's own metrics, under istiod's names (<https://istio.io/latest/docs/reference/commands/pilot-discovery/#metrics>).

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds; istiod's, and finer ones below, because we promise milliseconds.
const BOUNDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 30.0];

/// Counters of one control plane.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) pushes: AtomicU64,
    pub(crate) rejects: AtomicU64,
    pub(crate) refused_streams: AtomicU64,
    /// Guards the histogram: change seen to snapshot in use, per proxy.
    convergence: Mutex<Histogram>,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
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
    pub(crate) fn render(&self, connected: usize) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, series: &str| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{series}");
        };
        let pushes = self.pushes.load(Ordering::Relaxed);
        metric("pilot_xds_pushes", "counter", "Snapshots sent to proxies.", &format!("pilot_xds_pushes{{type=\"snapshot\"}} {pushes}\n"));
        let rejects = self.rejects.load(Ordering::Relaxed);
        metric("pilot_total_xds_rejects", "counter", "Snapshots that proxies refused.", &format!("pilot_total_xds_rejects {rejects}\n"));
        let refused = self.refused_streams.load(Ordering::Relaxed);
        metric(
            "smov_control_refused_streams_total",
            "counter",
            "Streams refused.",
            &format!("smov_control_refused_streams_total {refused}\n"),
        );
        metric("pilot_xds", "gauge", "Connected proxies.", &format!("pilot_xds {connected}\n"));
        let convergence = self.convergence();
        metric("pilot_proxy_convergence_time", "histogram", "Seconds from a change to its use by a proxy.", &convergence);
        text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_is_cumulative() {
        let metrics = Metrics::default();
        for milliseconds in [1, 4, 4, 60_000] {
            metrics.converged(Duration::from_millis(milliseconds));
        }
        let text = metrics.render(3);
        for line in ["{le=\"0.001\"} 1", "{le=\"0.005\"} 3", "{le=\"30\"} 3", "{le=\"+Inf\"} 4", "pilot_xds 3"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
