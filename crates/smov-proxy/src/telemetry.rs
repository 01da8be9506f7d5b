//! What the proxy remembers: counters, the last requests, a sample for the page, the access log. One ledger per worker thread, locked
//! once per request; the lock is only ever contended by a scrape or a report.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Trace;

pub(crate) mod access_log;
pub(crate) mod counters;
pub(crate) mod metrics;
pub(crate) mod prometheus;
pub(crate) mod report;
pub(crate) mod spans;
pub(crate) mod trace;

/// Requests remembered in full.
pub(crate) const RING: usize = 1000;
/// Rows sent up per report.
pub(crate) const ROWS: usize = 64;
/// The access log is written when this much has come together, or on the next tick.
const LOG_CHUNK: usize = 16 << 10;

/// One worker's books.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Are requests counted?
    counts: bool,
    pub(crate) metrics: Metrics,
    ring: VecDeque<Arc<Trace>>,
    rows: Vec<Arc<Trace>>,
    seen: u64,
    log: Vec<u8>,
    random: SmallRng,
    /// Sampled requests since the last report.
    sampled: Vec<Arc<Trace>>,
    pub(crate) spans_dropped: u64,
}

impl Ledger {
    pub(crate) fn new(random: SmallRng, counts: bool) -> Self {
        Self {
            counts,
            metrics: Metrics::default(),
            ring: VecDeque::new(),
            rows: Vec::new(),
            seen: 0,
            log: Vec::new(),
            random,
            sampled: Vec::new(),
            spans_dropped: 0,
        }
    }

    /// Books one request. Gives a piece of the access log when it is time to write it.
    pub(crate) fn book(&mut self, mut trace: Trace) -> Option<Vec<u8>> {
        if self.counts {
            self.metrics.count(&trace);
        }
        if trace.log.is_some() {
            access_log::write(&mut self.log, &trace);
        }
        trace.detach();
        let trace = Arc::new(trace);
        if trace.span.as_ref().is_some_and(|span| span.reported) {
            if self.sampled.len() < spans::WAITING {
                self.sampled.push(trace.clone());
            } else {
                self.spans_dropped += 1;
            }
        }
        // Algorithm R: every request since the last report has the same chance to be among the rows.
        self.seen += 1;
        if self.rows.len() < ROWS {
            self.rows.push(trace.clone());
        } else if let Some(row) = usize::try_from(self.random.random_range(0..self.seen)).ok().and_then(|place| self.rows.get_mut(place)) {
            *row = trace.clone();
        }
        if self.ring.len() == RING {
            self.ring.pop_front();
        }
        self.ring.push_back(trace);
        (self.log.len() >= LOG_CHUNK).then(|| std::mem::take(&mut self.log))
    }

    /// What is in the access log and not written yet.
    pub(crate) fn take_log(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.log)
    }

    /// The rows since the last call, and how many requests they stand for.
    pub(crate) fn take_rows(&mut self) -> (Vec<Arc<Trace>>, u64) {
        (std::mem::take(&mut self.rows), std::mem::take(&mut self.seen))
    }

    /// The sampled requests since the last call.
    pub(crate) fn take_sampled(&mut self) -> Vec<Arc<Trace>> {
        std::mem::take(&mut self.sampled)
    }

    /// The remembered requests with this id.
    pub(crate) fn find(&self, request_id: &str) -> Vec<Arc<Trace>> {
        self.ring.iter().filter(|trace| trace.request_id.as_bytes() == request_id.as_bytes()).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_ring_keeps_the_last_and_rows_are_bounded() {
        let mut ledger = Ledger::new(SmallRng::seed_from_u64(1), true);
        for number in 0..1500 {
            let trace = Trace { request_id: http::HeaderValue::from(number), ..Trace::default() };
            assert!(ledger.book(trace).is_none());
        }
        assert_eq!((ledger.ring.len(), ledger.find("499").len(), ledger.find("500").len()), (RING, 0, 1));
        let (rows, seen) = ledger.take_rows();
        assert_eq!((rows.len(), seen), (ROWS, 1500));
        assert_eq!(ledger.take_rows().1, 0);
    }

    /// What is remembered must not hold on to the buffer that the request was read into.
    #[test]
    fn what_is_remembered_says_the_same_and_has_a_buffer_of_its_own() {
        let read = bytes::Bytes::from(vec![b'7'; 8192]);
        let mut trace = Trace {
            request_id: http::HeaderValue::from_maybe_shared(read.slice(..36)).unwrap(),
            authority: http::HeaderValue::from_static("user-service:8081"),
            path: "/users/?a=1".parse().unwrap(),
            headers: vec![(0, http::HeaderValue::from_maybe_shared(read.slice(40..44)).unwrap())],
            ..Trace::default()
        };
        trace.detach();
        assert!(read.is_unique(), "the trace still shares the read buffer");
        assert_eq!((trace.request_id.as_bytes(), trace.authority.as_bytes()), ("7".repeat(36).as_bytes(), b"user-service:8081".as_slice()));
        assert_eq!((trace.path.as_str(), trace.headers[0].1.as_bytes()), ("/users/?a=1", b"7777".as_slice()));
    }
}
