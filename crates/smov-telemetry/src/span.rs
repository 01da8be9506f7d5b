//! Spans: one step of one request, done by one process. Written when it is over; nothing is kept of steps that are not sampled.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::{SpanContext, SpanId, TraceId};

/// Who made a span.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Emitter {
    /// As tracing tools list it; proxies and apps of a workload share it: `booking-service.theater-msa`.
    pub service: String,
    /// The workload: `booking-service-ctx1`.
    pub workload: String,
    /// Its Kubernetes cluster.
    pub cluster: String,
    /// Its pod.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
}

/// What a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// A call as the caller sees it.
    Client,
    /// A call as the callee sees it.
    Server,
    /// Work inside.
    Internal,
}

/// A tag: name and value.
pub type Tag = (Cow<'static, str>, Cow<'static, str>);

/// One step that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// Itself.
    pub id: SpanId,
    /// The step that it is part of; absent = the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<SpanId>,
    /// `client`, `server` or `internal`.
    pub kind: SpanKind,
    /// What was done: `user-service.theater-msa.svc.cluster.local:8081/*`.
    pub name: String,
    /// Start, microseconds since 1970.
    pub start: u64,
    /// How long it took, microseconds.
    pub duration: u64,
    /// Who did it.
    #[serde(flatten)]
    pub emitter: Arc<Emitter>,
    /// Whatever else is known, in the words of Envoy and OpenTelemetry.
    #[serde(default, with = "tags")]
    pub tags: Vec<Tag>,
}

impl Span {
    /// A span of this context.
    pub fn new(
        context: &SpanContext,
        kind: SpanKind,
        name: impl Into<String>,
        (start, duration): (u64, u64),
        emitter: Arc<Emitter>,
    ) -> Self {
        let SpanContext { trace, span, parent } = *context;
        Self { trace_id: trace, id: span, parent_id: parent, kind, name: name.into(), start, duration, emitter, tags: Vec::new() }
    }

    /// Adds a tag; empty values are left out.
    pub fn tag(&mut self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.tags.push((Cow::Borrowed(name), value));
        }
    }

    /// The value of a tag.
    pub fn tagged(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Did it go wrong? Envoy's tag says so.
    pub fn is_error(&self) -> bool {
        self.tagged("error") == Some("true")
    }
}

/// Tags as a JSON object.
mod tags {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};
    use serde::{Deserializer, Serializer};

    use super::Tag;

    pub(super) fn serialize<S: Serializer>(tags: &[Tag], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(tags.iter().map(|(name, value)| (name, value)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tag>, D::Error> {
        struct Tags;
        impl<'de> Visitor<'de> for Tags {
            type Value = Vec<Tag>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut tags = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    tags.push((name.into(), value.into()));
                }
                Ok(tags)
            }
        }
        deserializer.deserialize_map(Tags)
    }
}

#[cfg(test)]
pub(crate) fn example() -> Span {
    let emitter =
        Emitter { service: "a.t".into(), workload: "a-ctx1".into(), cluster: "ctx1".into(), pod: "a-ctx1-1".into(), namespace: "t".into() };
    let context = SpanContext { trace: TraceId::new(0xabc), span: SpanId::new(0x12), parent: Some(SpanId::new(0x34)) };
    let mut span = Span::new(&context, SpanKind::Server, "b:80/*", (1_700_000_000_000_001, 2500), Arc::new(emitter));
    span.tag("http.status_code", "503");
    span.tag("error", "true");
    span.tag("peer.address", "127.0.0.9");
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_plain_json_and_reads_back() {
        let span = example();
        let json = serde_json::to_value(&span).unwrap();
        assert_eq!(json["traceId"], "00000000000000000000000000000abc");
        assert_eq!(
            (&json["id"], &json["parentId"], &json["kind"]),
            (&"0000000000000012".into(), &"0000000000000034".into(), &"server".into())
        );
        assert_eq!((&json["pod"], &json["tags"]["http.status_code"]), (&"a-ctx1-1".into(), &"503".into()));
        assert_eq!(serde_json::from_value::<Span>(json).unwrap(), span);
        assert!(span.is_error());
    }
}
