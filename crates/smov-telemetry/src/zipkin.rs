//! Zipkin's v2 JSON (<https://zipkin.io/zipkin-api/>).

use serde_json::{Value, json};

use crate::span::{Span, SpanKind};

/// Where a receiver takes spans.
pub const PATH: &str = "/api/v2/spans";

/// A list of spans.
pub fn encode(spans: &[Span]) -> Vec<u8> {
    serde_json::to_vec(&spans.iter().map(one).collect::<Vec<_>>()).unwrap_or_default()
}

fn one(span: &Span) -> Value {
    let emitter = &span.emitter;
    let mut tags: serde_json::Map<String, Value> =
        span.tags.iter().map(|(name, value)| (name.to_string(), value.to_string().into())).collect();
    for (name, value) in [("k8s.pod.name", &emitter.pod), ("k8s.cluster.name", &emitter.cluster)] {
        if !value.is_empty() {
            tags.insert(name.to_owned(), value.as_str().into());
        }
    }
    let mut value = json!({
        "traceId": span.trace_id.to_string(),
        "id": span.id.to_string(),
        "name": span.name,
        "timestamp": span.start,
        // Zipkin takes a missing duration for a span that is not over.
        "duration": span.duration.max(1),
        "localEndpoint": {"serviceName": emitter.service},
        "tags": tags,
    });
    match span.kind {
        SpanKind::Client => value["kind"] = "CLIENT".into(),
        SpanKind::Server => value["kind"] = "SERVER".into(),
        SpanKind::Internal => {}
    }
    if let Some(parent) = span.parent_id {
        value["parentId"] = parent.to_string().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::example;

    #[test]
    fn a_span_has_zipkins_fields() {
        let mut root = example();
        root.parent_id = None;
        root.kind = SpanKind::Internal;
        root.duration = 0;
        let json: Value = serde_json::from_slice(&encode(&[example(), root])).unwrap();
        let [span, root] = [&json[0], &json[1]];
        assert_eq!((&span["traceId"], &span["id"]), (&"00000000000000000000000000000abc".into(), &"0000000000000012".into()));
        assert_eq!(
            (&span["kind"], &span["timestamp"], &span["duration"]),
            (&"SERVER".into(), &1_700_000_000_000_001_u64.into(), &2500.into())
        );
        assert_eq!((&span["localEndpoint"]["serviceName"], &span["tags"]["k8s.pod.name"]), (&"a.t".into(), &"a-ctx1-1".into()));
        assert!(root.get("parentId").is_none() && root.get("kind").is_none());
        assert_eq!(root["duration"], 1);
    }
}
