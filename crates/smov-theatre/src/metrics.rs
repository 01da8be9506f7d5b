//! Counters of one service and their Prometheus text.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use http::StatusCode;
use smov_telemetry::{process, text::Page};

use crate::switches::Switches;

/// Upper bounds of the store's latency buckets, in microseconds and as `le` text in seconds.
const BOUNDS: [(u64, &str); 9] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
];

/// What one service counted since it started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) created: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) seat_conflicts: AtomicU64,
    pub(crate) replays: AtomicU64,
    pub(crate) store_errors: AtomicU64,
    /// 1xx to 5xx.
    answers: [AtomicU64; 5],
    /// One more than bounds: the last is everything slower.
    store_calls: [AtomicU64; BOUNDS.len() + 1],
    store_microseconds: AtomicU64,
}

impl Metrics {
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.answers[class].fetch_add(1, Relaxed);
    }

    pub(crate) fn store_call(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|(bound, _)| microseconds <= *bound).unwrap_or(BOUNDS.len());
        self.store_calls[bucket].fetch_add(1, Relaxed);
        self.store_microseconds.fetch_add(microseconds, Relaxed);
    }

    /// Prometheus text format; `record` is the plural of what this service creates.
    pub(crate) fn render(&self, record: &str, switches: &Switches) -> String {
        let mut text = String::with_capacity(2048);
        let counters = [
            (format!("theatre_{record}_created_total"), "Records created.", &self.created),
            ("theatre_bookings_cancelled_total".to_owned(), "Bookings cancelled.", &self.cancelled),
            ("theatre_seat_conflicts_total".to_owned(), "Bookings refused because seats were taken.", &self.seat_conflicts),
            ("theatre_idempotent_replays_total".to_owned(), "Writes answered from their Idempotency-Key.", &self.replays),
            ("theatre_store_errors_total".to_owned(), "Store calls that failed.", &self.store_errors),
        ];
        for (name, help, value) in counters {
            line(&mut text, format_args!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {}", value.load(Relaxed)));
        }
        line(&mut text, format_args!("# HELP theatre_http_responses_total Answers by class.\n# TYPE theatre_http_responses_total counter"));
        for (class, count) in self.answers.iter().enumerate() {
            line(&mut text, format_args!("theatre_http_responses_total{{class=\"{}xx\"}} {}", class + 1, count.load(Relaxed)));
        }
        let (touched, on) = (switches.touched.load(Relaxed), u8::from(switches.armed()));
        line(
            &mut text,
            format_args!(
                "# HELP theatre_app_switch Whether an app switch is on.\n# TYPE theatre_app_switch gauge\ntheatre_app_switch {on}"
            ),
        );
        line(
            &mut text,
            format_args!(
                "# HELP theatre_app_switch_requests_total Requests that an app switch touched.\n# TYPE theatre_app_switch_requests_total counter\ntheatre_app_switch_requests_total {touched}"
            ),
        );
        line(&mut text, format_args!("# HELP theatre_store_seconds Time of store calls.\n# TYPE theatre_store_seconds histogram"));
        let mut below = 0;
        let bounds = BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (bound, count) in bounds.zip(&self.store_calls) {
            below += count.load(Relaxed);
            line(&mut text, format_args!("theatre_store_seconds_bucket{{le=\"{bound}\"}} {below}"));
        }
        let microseconds = Duration::from_micros(self.store_microseconds.load(Relaxed));
        line(&mut text, format_args!("theatre_store_seconds_sum {}\ntheatre_store_seconds_count {below}", microseconds.as_secs_f64()));
        let mut page = Page::new();
        page.append(&text);
        process::write(&mut page, "process");
        page.into_text()
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up() {
        let metrics = Metrics::default();
        metrics.store_call(Duration::from_micros(90));
        metrics.store_call(Duration::from_millis(20));
        metrics.store_call(Duration::from_secs(60));
        metrics.answered(StatusCode::CONFLICT);
        let identity =
            crate::identity::Identity { cluster: "ctx1".into(), pod: "a".into(), service: "booking-service".into(), version: "v1".into() };
        let text = metrics.render("bookings", &Switches::new(crate::ServiceName::Booking, &identity));
        assert!(text.contains("theatre_app_switch 0\n"));
        assert!(text.contains("theatre_store_seconds_bucket{le=\"0.0001\"} 1\n"));
        assert!(text.contains("theatre_store_seconds_bucket{le=\"0.05\"} 2\n"));
        assert!(text.contains("theatre_store_seconds_bucket{le=\"+Inf\"} 3\n"));
        assert!(text.contains("theatre_store_seconds_count 3\n"));
        assert!(text.contains("theatre_http_responses_total{class=\"4xx\"} 1\n"));
    }
}
