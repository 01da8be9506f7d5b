//! The last traces, in memory, as far as this cluster's proxies and apps have told them, and the way of spans to other collectors.
//!
//! A trace that crosses clusters is told to two control planes, each of which has its part; whoever shows it asks both and puts the parts
//! together by trace id.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use smov_telemetry::export::Exporter;
use smov_telemetry::{Span, TraceId};

/// Traces kept; the one that was heard of first goes first.
const TRACES: usize = 512;
/// Spans kept of one trace; more are counted and thrown away.
const SPANS: usize = 256;
/// Envoy's tag with the id of the request.
const REQUEST_ID: &str = "guid:x-request-id";

/// Where spans end up.
pub(crate) struct Traces {
    /// Guards the ring; sections are short and never wait.
    ring: Mutex<Ring>,
    exporters: Vec<Exporter>,
    pub(crate) received: AtomicU64,
    pub(crate) left_out: AtomicU64,
}

#[derive(Default)]
struct Ring {
    spans: HashMap<TraceId, Vec<Span>>,
    order: VecDeque<TraceId>,
}

/// `/debug/traces`: one line per trace, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceSummary {
    /// Which.
    pub trace_id: TraceId,
    /// Start of its first span known here, microseconds since 1970.
    pub start: u64,
    /// From there to the end of its last span known here, microseconds.
    pub duration: u64,
    /// Name of its first span, if that is known here: of the one without a parent, else of the earliest.
    pub name: String,
    /// Service of that span.
    pub service: String,
    /// Is the span without a parent known here?
    pub has_root: bool,
    /// How many spans are known here.
    pub spans: usize,
    /// How many of them went wrong.
    pub errors: usize,
    /// Services that took part, in alphabetical order.
    pub services: Vec<String>,
    /// Kubernetes clusters that took part, in alphabetical order.
    pub clusters: Vec<String>,
    /// `x-request-id` of its first span, if told.
    pub request_id: Option<String>,
    /// All that its spans are told to belong to, in alphabetical order: a caller may have put several requests into one trace.
    pub request_ids: Vec<String>,
}

/// `/debug/traces/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceParts {
    /// Which.
    pub trace_id: TraceId,
    /// What is known here, by start.
    pub spans: Vec<Span>,
}

impl Traces {
    pub(crate) fn new(exporters: Vec<Exporter>) -> Self {
        Self { ring: Mutex::default(), exporters, received: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Takes spans: into the ring, and into the exporters' queues. Never waits.
    pub(crate) fn take(&self, spans: Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        self.received.fetch_add(spans.len() as u64, Relaxed);
        for exporter in &self.exporters {
            spans.iter().cloned().for_each(|span| exporter.give(span));
        }
        let mut ring = self.ring.lock().expect("no panic while it is held");
        let Ring { spans: kept, order } = &mut *ring;
        for span in spans {
            let id = span.trace_id;
            let known = kept.entry(id).or_insert_with(|| {
                order.push_back(id);
                Vec::new()
            });
            if known.len() < SPANS {
                known.push(span);
            } else {
                self.left_out.fetch_add(1, Relaxed);
            }
        }
        while order.len() > TRACES {
            if let Some(oldest) = order.pop_front() {
                kept.remove(&oldest);
            }
        }
    }

    /// Spans that exporters have thrown away.
    pub(crate) fn dropped(&self) -> u64 {
        self.exporters.iter().map(|exporter| exporter.sent().dropped.load(Relaxed)).sum()
    }

    /// The newest traces first; only those in which `service` took part, if one is named.
    pub(crate) fn list(&self, limit: usize, service: Option<&str>) -> Vec<TraceSummary> {
        let ring = self.ring.lock().expect("no panic while it is held");
        let all = ring.order.iter().rev().filter_map(|id| Some(summary(*id, ring.spans.get(id)?)));
        let wanted = |trace: &TraceSummary| {
            service.is_none_or(|wanted| trace.services.iter().any(|known| known == wanted || known.split('.').next() == Some(wanted)))
        };
        all.filter(wanted).take(limit).collect()
    }

    /// What is known of a trace.
    pub(crate) fn find(&self, id: TraceId) -> Option<TraceParts> {
        let ring = self.ring.lock().expect("no panic while it is held");
        let mut spans = ring.spans.get(&id)?.clone();
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.duration)));
        Some(TraceParts { trace_id: id, spans })
    }
}

fn summary(trace_id: TraceId, spans: &[Span]) -> TraceSummary {
    let start = spans.iter().map(|span| span.start).min().unwrap_or_default();
    let end = spans.iter().map(|span| span.start + span.duration).max().unwrap_or_default();
    let root = spans.iter().find(|span| span.parent_id.is_none());
    let first = root.or_else(|| spans.iter().min_by_key(|span| span.start));
    let of = |field: fn(&Span) -> &String| {
        let all: BTreeSet<&String> = spans.iter().map(field).filter(|text| !text.is_empty()).collect();
        all.into_iter().cloned().collect::<Vec<_>>()
    };
    TraceSummary {
        trace_id,
        start,
        duration: end - start,
        name: first.map(|span| span.name.clone()).unwrap_or_default(),
        service: first.map(|span| span.emitter.service.clone()).unwrap_or_default(),
        has_root: root.is_some(),
        spans: spans.len(),
        errors: spans.iter().filter(|span| span.is_error()).count(),
        services: of(|span| &span.emitter.service),
        clusters: of(|span| &span.emitter.cluster),
        request_id: first.and_then(|span| span.tagged(REQUEST_ID)).map(str::to_owned),
        request_ids: spans
            .iter()
            .filter_map(|span| span.tagged(REQUEST_ID))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smov_telemetry::{Emitter, SpanContext, SpanId, SpanKind};
    use std::sync::Arc;

    fn span(trace: u128, id: u64, parent: Option<u64>, times: (u64, u64), service: &str) -> Span {
        let context = SpanContext { trace: TraceId::new(trace), span: SpanId::new(id), parent: parent.map(SpanId::new) };
        let emitter = Emitter { service: format!("{service}.t"), cluster: "ctx1".into(), ..Emitter::default() };
        Span::new(&context, SpanKind::Server, format!("{service}:80/*"), times, Arc::new(emitter))
    }

    #[test]
    fn a_trace_is_summed_up_and_found() {
        let traces = Traces::new(Vec::new());
        let mut failed = span(1, 3, Some(2), (130, 40), "b");
        failed.tag("error", "true");
        failed.tag(REQUEST_ID, "r-2");
        let mut first = span(1, 2, None, (100, 100), "a");
        first.tag(REQUEST_ID, "r-1");
        traces.take(vec![failed, first]);
        traces.take(vec![span(2, 9, Some(8), (500, 1), "c")]);
        let list = traces.list(10, None);
        assert_eq!(list.iter().map(|trace| trace.trace_id).collect::<Vec<_>>(), [TraceId::new(2), TraceId::new(1)]);
        let one = &list[1];
        assert_eq!((one.start, one.duration, one.name.as_str(), one.spans, one.errors), (100, 100, "a:80/*", 2, 1));
        assert_eq!((one.has_root, list[0].has_root, &one.services[..]), (true, false, &["a.t".to_owned(), "b.t".to_owned()][..]));
        assert_eq!((one.request_id.as_deref(), &one.request_ids[..]), (Some("r-1"), &["r-1".to_owned(), "r-2".to_owned()][..]));
        assert_eq!(traces.list(10, Some("b")).len(), 1);
        let found = traces.find(TraceId::new(1)).unwrap();
        assert_eq!(found.spans.iter().map(|span| span.start).collect::<Vec<_>>(), [100, 130]);
        assert!(traces.find(TraceId::new(7)).is_none());
    }

    #[test]
    fn memory_is_bounded_in_traces_and_in_spans_of_each() {
        let traces = Traces::new(Vec::new());
        for trace in 1..=u128::try_from(TRACES).unwrap() + 10 {
            traces.take(vec![span(trace, 1, None, (1, 1), "a")]);
        }
        assert_eq!((traces.list(usize::MAX, None).len(), traces.find(TraceId::new(10)).is_none()), (TRACES, true));
        let many = (0..SPANS as u64 + 5).map(|id| span(1000, id + 1, None, (1, 1), "a")).collect();
        traces.take(many);
        assert_eq!((traces.find(TraceId::new(1000)).unwrap().spans.len(), traces.left_out.load(Relaxed)), (SPANS, 5));
    }
}
