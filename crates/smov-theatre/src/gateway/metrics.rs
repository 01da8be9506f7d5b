//! Counters of the gateway and their Prometheus text.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use smov_telemetry::{process, text::Page};

use crate::service::ServiceName;

/// Classes of answers, and calls that had none.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// What the gateway relayed since it started.
#[derive(Debug, Default)]
pub(super) struct RelayMetrics {
    relayed: [[AtomicU64; CLASSES.len()]; ServiceName::ALL.len()],
}

impl RelayMetrics {
    /// A request to this service was relayed; `None` = it had no answer.
    pub(super) fn relayed(&self, service: ServiceName, status: Option<u16>) {
        let class = status.map_or(CLASSES.len() - 1, |status| usize::from(status / 100).clamp(1, 5) - 1);
        let place = ServiceName::ALL.iter().position(|known| *known == service).unwrap_or_default();
        self.relayed[place][class].fetch_add(1, Relaxed);
    }

    pub(super) fn render(&self) -> String {
        let mut page = Page::new();
        page.family("theatre_relayed_total", "counter", "Requests relayed, by service and class of the answer.");
        for (service, classes) in ServiceName::ALL.iter().zip(&self.relayed) {
            for (class, count) in CLASSES.iter().zip(classes) {
                page.sample("theatre_relayed_total", &format!("service=\"{service}\",class=\"{class}\""), count.load(Relaxed));
            }
        }
        process::write(&mut page, "process");
        page.into_text()
    }
}
