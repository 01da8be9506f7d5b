//! Counters of one worker: a small number per series, arrays behind it. Labels are put together when somebody asks.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smov_model::flag::Flags;
use smov_model::record::Direction;
use smov_model::tls::ConnectionSecurityPolicy;

use crate::names::{PeerId, ServiceId};
use crate::outbound::grpc;
use crate::telemetry::trace::Trace;

pub(crate) use smov_model::record::DURATION_BOUNDS as BUCKETS;

/// Series of one worker, at most; what comes later counts in one overflow series per reporter.
const MAX_SERIES: usize = 2000;

/// Who reports: the caller's proxy or the callee's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reporter {
    Source,
    Destination,
}

impl Reporter {
    pub(crate) fn of(direction: Direction) -> Self {
        match direction {
            Direction::Outbound | Direction::Ingress => Self::Source,
            Direction::Inbound => Self::Destination,
        }
    }
}

/// What tells one series from another; the proxy's own workload is the same in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) reporter: Reporter,
    pub(crate) peer: PeerId,
    pub(crate) service: ServiceId,
    /// 0 for TCP, and where the client went away.
    pub(crate) status: u16,
    pub(crate) flags: Flags,
    /// gRPC's status, or [`NOT_GRPC`].
    pub(crate) grpc: u8,
    /// Have both sides shown certificates of the mesh?
    pub(crate) mutual_tls: bool,
}

/// In place of gRPC's status where the request was plain HTTP, or TCP.
pub(crate) const NOT_GRPC: u8 = u8::MAX;

impl Key {
    fn overflow(self) -> Self {
        Self { peer: PeerId::UNKNOWN, service: ServiceId::OVERFLOW, status: 0, flags: Flags::NONE, grpc: NOT_GRPC, ..self }
    }
}

/// Requests of one series.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpSeries {
    pub(crate) requests: u64,
    /// Milliseconds until the end of the answer.
    pub(crate) duration: Histogram,
    pub(crate) request_bytes: Histogram,
    pub(crate) response_bytes: Histogram,
}

/// Connections of one series.
#[derive(Debug, Clone, Default)]
pub(crate) struct TcpSeries {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// From the destination to the source, in Istio's words.
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// Counts per bucket of [`BUCKETS`], the last one for what is above all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    counts: [u64; BUCKETS.len() + 1],
    pub(crate) sum: f64,
}

impl Histogram {
    fn add(&mut self, value: f64) {
        self.counts[BUCKETS.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// Cumulative counts, as Prometheus wants them; the last is the total.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }
}

/// A hash for keys that are small numbers already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }
    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type Table<T> = HashMap<Key, T, BuildHasherDefault<Mix>>;

/// All series of one worker.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metrics {
    pub(crate) http: Table<HttpSeries>,
    pub(crate) tcp: Table<TcpSeries>,
}

impl Metrics {
    pub(crate) fn count(&mut self, trace: &Trace) {
        let key = Key {
            reporter: Reporter::of(trace.direction),
            peer: trace.peer,
            service: trace.service,
            status: trace.status,
            flags: trace.flags,
            grpc: if trace.is_grpc { trace.grpc_status.unwrap_or_else(|| grpc::of_http(trace.status)) } else { NOT_GRPC },
            mutual_tls: trace.security == ConnectionSecurityPolicy::MutualTls,
        };
        self.http(key, (trace.total / 1000).into(), trace.request_head + trace.request_body, trace.response_head + trace.response_body);
    }

    /// One request more: milliseconds and bytes.
    pub(crate) fn http(&mut self, key: Key, milliseconds: f64, request_bytes: u64, response_bytes: u64) {
        let series = series(&mut self.http, key);
        series.requests += 1;
        series.duration.add(milliseconds);
        series.request_bytes.add(request_bytes as f64);
        series.response_bytes.add(response_bytes as f64);
    }

    pub(crate) fn tcp(&mut self, key: Key) -> &mut TcpSeries {
        series(&mut self.tcp, key)
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, more) in &other.http {
            let series = self.http.entry(*key).or_default();
            series.requests += more.requests;
            series.duration.merge(&more.duration);
            series.request_bytes.merge(&more.request_bytes);
            series.response_bytes.merge(&more.response_bytes);
        }
        for (key, more) in &other.tcp {
            let series = self.tcp.entry(*key).or_default();
            series.opened += more.opened;
            series.closed += more.closed;
            series.sent += more.sent;
            series.received += more.received;
        }
    }
}

fn series<T: Default>(table: &mut Table<T>, key: Key) -> &mut T {
    let key = if table.len() < MAX_SERIES || table.contains_key(&key) { key } else { key.overflow() };
    table.entry(key).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_first_bucket_that_holds_them() {
        let mut histogram = Histogram::default();
        for value in [0.0, 0.5, 0.6, 1.0, 4_000_000.0] {
            histogram.add(value);
        }
        let counts: Vec<u64> = histogram.cumulative().collect();
        assert_eq!((counts[0], counts[1], counts[18], counts[19]), (2, 4, 4, 5));
    }

    #[test]
    fn ten_thousand_combinations_of_labels_keep_within_bounds_and_lose_no_request() {
        let mut metrics = Metrics::default();
        let combinations = || {
            (0..10_000_u16).map(|number| Key {
                reporter: if number % 2 == 0 { Reporter::Source } else { Reporter::Destination },
                peer: PeerId(number / 100),
                service: ServiceId(3 + number % 100),
                status: 200 + number % 7,
                flags: Flags::NONE,
                grpc: NOT_GRPC,
                mutual_tls: number % 3 == 0,
            })
        };
        for key in combinations().chain(combinations()) {
            metrics.http(key, 1.0, 10, 10);
            metrics.tcp(key).sent += 1;
        }
        // One overflow series per reporter and security.
        assert_eq!((metrics.http.len(), metrics.tcp.len()), (MAX_SERIES + 4, MAX_SERIES + 4));
        assert_eq!(metrics.http.values().map(|series| series.requests).sum::<u64>(), 20_000);
        assert_eq!(metrics.tcp.values().map(|series| series.sent).sum::<u64>(), 20_000);
        let own = crate::names::PeerLabels::unknown();
        let mut names = crate::names::Names::default();
        for number in 0..100 {
            names.service(&format!("service-{number}.t.svc.cluster.local"));
            names.stranger(&format!("spiffe://cluster.local/ns/t/sa/{number}"));
        }
        let page =
            super::super::prometheus::Scrape { metrics: &metrics, names: &names, own: &own, view: None, tls: None, spans_dropped: None }
                .render();
        assert!(page.contains("destination_service_name=\"overflow\""));
        let requests = page.lines().filter(|line| line.starts_with("istio_requests_total{"));
        assert_eq!(requests.count(), MAX_SERIES + 4);
    }

    #[test]
    fn series_beyond_the_cap_count_together() {
        let mut metrics = Metrics::default();
        for service in 0..3000_u16 {
            metrics.count(&Trace { service: ServiceId(service), ..Trace::default() });
        }
        assert_eq!(metrics.http.len(), MAX_SERIES + 1);
        let overflow = metrics.http.iter().find(|(key, _)| key.service == ServiceId::OVERFLOW).map(|(_, series)| series.requests);
        assert_eq!(overflow, Some(1000));
    }
}
