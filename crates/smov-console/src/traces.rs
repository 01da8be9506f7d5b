//! Traces that cross clusters: each control plane keeps its part of them, and here the parts become one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::Told;

/// A trace in one line. Times in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct TraceLine {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Start of its first known span.
    pub start: u64,
    /// From there to the end of its last known span, microseconds.
    pub duration: u64,
    /// Name of its first span.
    pub name: String,
    /// Service of that span.
    pub service: String,
    /// Is the span without a parent known?
    pub has_root: bool,
    /// Spans that are known.
    pub spans: usize,
    /// How many of them went wrong.
    pub errors: usize,
    /// Services that took part.
    pub services: BTreeSet<String>,
    /// Clusters that took part.
    pub clusters: BTreeSet<String>,
    /// The request that began it, if told.
    pub request_id: Option<String>,
    /// All requests in it.
    pub request_ids: BTreeSet<String>,
    /// Clusters whose control planes told of it.
    #[serde(default)]
    pub told_by: BTreeSet<String>,
}

impl TraceLine {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.duration)
    }

    /// Takes in what another cluster tells of the same trace.
    fn add(&mut self, other: Self) {
        let end = self.end().max(other.end());
        let leads = (other.has_root, std::cmp::Reverse(other.start)) > (self.has_root, std::cmp::Reverse(self.start));
        if leads {
            (self.name, self.service, self.request_id) = (other.name, other.service, other.request_id.or_else(|| self.request_id.take()));
        }
        self.start = self.start.min(other.start);
        self.duration = end - self.start;
        self.has_root |= other.has_root;
        self.spans += other.spans;
        self.errors += other.errors;
        self.services.extend(other.services);
        self.clusters.extend(other.clusters);
        self.request_ids.extend(other.request_ids);
        self.told_by.extend(other.told_by);
    }
}

/// A control plane that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unasked {
    /// Its cluster.
    pub cluster: String,
    /// Why.
    pub reason: String,
}

/// The last traces of all clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TraceList {
    /// The newest first.
    pub traces: Vec<TraceLine>,
    /// Whom nothing is known of.
    pub unasked: Vec<Unasked>,
    /// Per cluster, the end of the oldest trace that is still kept: of a request well after it nothing was pushed out. Absent = keeps none.
    pub kept_since: BTreeMap<String, u64>,
}

/// Puts what the control planes tell together.
pub fn merge(told: Vec<Told>) -> TraceList {
    let mut list = TraceList::default();
    let mut lines = BTreeMap::<String, TraceLine>::new();
    for Told { cluster, answer } in told {
        let read = answer.and_then(|values| {
            values.into_iter().map(serde_json::from_value::<TraceLine>).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
        });
        let known = match read {
            Ok(known) => known,
            Err(reason) => {
                list.unasked.push(Unasked { cluster, reason });
                continue;
            }
        };
        if let Some(oldest) = known.last() {
            list.kept_since.insert(cluster.clone(), oldest.end());
        }
        for mut line in known {
            line.told_by.insert(cluster.clone());
            match lines.get_mut(&line.trace_id) {
                Some(first) => first.add(line),
                None => drop(lines.insert(line.trace_id.clone(), line)),
            }
        }
    }
    list.traces = lines.into_values().collect();
    list.traces.sort_by(|a, b| b.start.cmp(&a.start).then_with(|| a.trace_id.cmp(&b.trace_id)));
    list
}

/// The spans of one trace by start, each with the cluster that told it, and who could not be asked.
pub fn spans(told: Vec<Told>) -> (Vec<Value>, Vec<Unasked>) {
    let (mut all, mut unasked) = (Vec::new(), Vec::new());
    for Told { cluster, answer } in told {
        match answer {
            Ok(spans) => all.extend(spans.into_iter().map(|mut span| {
                span["told_by"] = cluster.as_str().into();
                span
            })),
            Err(reason) => unasked.push(Unasked { cluster, reason }),
        }
    }
    all.sort_by_key(|span| (span["start"].as_u64(), std::cmp::Reverse(span["duration"].as_u64())));
    (all, unasked)
}
