//! OTLP/HTTP in its JSON encoding (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in hexadecimal, 64-bit numbers
//! as texts, names in lowerCamelCase.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::context::SpanContext;
use crate::span::{Emitter, Span, SpanKind};

/// Where a receiver takes spans.
pub const PATH: &str = "/v1/traces";

/// `ExportTraceServiceRequest`.
pub fn encode(spans: &[Span]) -> Vec<u8> {
    type Written<'a> = (&'a Arc<Emitter>, Vec<Value>);
    let mut by_emitter: BTreeMap<(&str, &str), Written<'_>> = BTreeMap::new();
    for span in spans {
        let emitter = &span.emitter;
        by_emitter.entry((&emitter.service, &emitter.pod)).or_insert_with(|| (emitter, Vec::new())).1.push(one(span));
    }
    let resources: Vec<Value> = by_emitter
        .into_values()
        .map(|(emitter, spans)| {
            let attributes = [
                ("service.name", &emitter.service),
                ("k8s.deployment.name", &emitter.workload),
                ("k8s.cluster.name", &emitter.cluster),
                ("k8s.namespace.name", &emitter.namespace),
                ("k8s.pod.name", &emitter.pod),
            ];
            let attributes: Vec<Value> =
                attributes.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| attribute(name, value)).collect();
            let scope = json!({"name": "smov", "version": env!("CARGO_PKG_VERSION")});
            json!({"resource": {"attributes": attributes}, "scopeSpans": [{"scope": scope, "spans": spans}]})
        })
        .collect();
    serde_json::to_vec(&json!({"resourceSpans": resources})).unwrap_or_default()
}

fn attribute(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

fn one(span: &Span) -> Value {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    let mut value = json!({
        "traceId": span.trace_id.to_string(),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": (u128::from(span.start) * 1000).to_string(),
        "endTimeUnixNano": (u128::from(span.start + span.duration) * 1000).to_string(),
        "attributes": span.tags.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
        "status": if span.is_error() { json!({"code": 2}) } else { json!({}) },
    });
    if let Some(parent) = span.parent_id {
        value["parentSpanId"] = parent.to_string().into();
    }
    value
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resource {
    attributes: Vec<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ScopeSpans {
    spans: Vec<WrittenSpan>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSpan {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: Value,
    start_time_unix_nano: Value,
    end_time_unix_nano: Value,
    #[serde(default)]
    attributes: Vec<Value>,
    #[serde(default)]
    status: Value,
}

/// Reads what a sender wrote; spans whose ids or times make no sense are left out.
pub fn decode(body: &[u8]) -> Result<Vec<Span>, serde_json::Error> {
    let request: Request = serde_json::from_slice(body)?;
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let of = |name: &str| {
            let found = resource.resource.attributes.iter().find(|attribute| attribute["key"] == name);
            found.and_then(|attribute| text_of(&attribute["value"])).unwrap_or_default()
        };
        let emitter = Arc::new(Emitter {
            service: of("service.name"),
            workload: of("k8s.deployment.name"),
            cluster: of("k8s.cluster.name"),
            pod: of("k8s.pod.name"),
            namespace: of("k8s.namespace.name"),
        });
        let written = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(written.filter_map(|span| read(&span, &emitter)));
    }
    Ok(spans)
}

fn read(written: &WrittenSpan, emitter: &Arc<Emitter>) -> Option<Span> {
    let parent = if written.parent_span_id.is_empty() { None } else { Some(written.parent_span_id.parse().ok()?) };
    let context = SpanContext { trace: written.trace_id.parse().ok()?, span: written.span_id.parse().ok()?, parent };
    let kind = match &written.kind {
        kind if *kind == 2 || *kind == "SPAN_KIND_SERVER" || *kind == 5 || *kind == "SPAN_KIND_CONSUMER" => SpanKind::Server,
        kind if *kind == 3 || *kind == "SPAN_KIND_CLIENT" || *kind == 4 || *kind == "SPAN_KIND_PRODUCER" => SpanKind::Client,
        _ => SpanKind::Internal,
    };
    let nanoseconds = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse::<u64>().ok());
    let (start, end) = (nanoseconds(&written.start_time_unix_nano)?, nanoseconds(&written.end_time_unix_nano)?);
    let times = (start / 1000, end.checked_sub(start)? / 1000);
    let mut span = Span::new(&context, kind, written.name.clone(), times, Arc::clone(emitter));
    for attribute in &written.attributes {
        if let (Some(name), Some(value)) = (attribute["key"].as_str(), text_of(&attribute["value"])) {
            span.tags.push((name.to_owned().into(), value.into()));
        }
    }
    let failed = written.status["code"] == 2 || written.status["code"] == "STATUS_CODE_ERROR";
    if failed && !span.is_error() {
        span.tag("error", "true");
    }
    Some(span)
}

/// An `AnyValue` as text; lists and maps are left out.
fn text_of(value: &Value) -> Option<String> {
    let (kind, value) = value.as_object()?.iter().next()?;
    match (kind.as_str(), value) {
        ("stringValue" | "intValue" | "doubleValue" | "boolValue", Value::String(text)) => Some(text.clone()),
        ("intValue" | "doubleValue" | "boolValue", Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::example;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let span = example();
        let mut other = example();
        other.parent_id = None;
        other.kind = SpanKind::Client;
        other.tags.clear();
        let body = encode(&[span.clone(), other.clone()]);
        let json: Value = serde_json::from_slice(&body).unwrap();
        let written = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(written["startTimeUnixNano"], "1700000000000001000");
        assert_eq!((&written["kind"], &written["status"]["code"]), (&json!(2), &json!(2)));
        assert_eq!(decode(&body).unwrap(), [span, other]);
    }

    #[test]
    fn spans_of_other_senders_are_understood_and_nonsense_is_left_out() {
        let body = json!({"resourceSpans": [{"resource": {"attributes": [attribute("service.name", "py")]}, "scopeSpans": [{"spans": [
            {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "kind": "SPAN_KIND_CLIENT", "name": "GET",
             "startTimeUnixNano": 5000, "endTimeUnixNano": "9000", "status": {"code": "STATUS_CODE_ERROR"},
             "attributes": [{"key": "n", "value": {"intValue": "7"}}, {"key": "l", "value": {"arrayValue": {}}}]},
            {"traceId": "0", "spanId": "b7ad6b7169203331", "startTimeUnixNano": 1, "endTimeUnixNano": 2},
            {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "startTimeUnixNano": 2, "endTimeUnixNano": 1},
        ]}]}]});
        let spans = decode(&serde_json::to_vec(&body).unwrap()).unwrap();
        assert_eq!((spans.len(), spans[0].kind, spans[0].start, spans[0].duration), (1, SpanKind::Client, 5, 4));
        assert_eq!((spans[0].tagged("n"), spans[0].is_error(), spans[0].emitter.service.as_str()), (Some("7"), true, "py"));
        assert!(decode(b"{").is_err());
    }
}
