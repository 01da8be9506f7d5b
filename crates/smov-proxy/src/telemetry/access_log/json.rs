//! The line as JSON: Istio's default fields under Istio's names, `null` for what there is not.

use std::fmt::Display;

use http::HeaderValue;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use smov_model::record::Direction;

use super::super::trace::{LogFields, Trace};
use super::{cluster_name, protocol, timestamp};

pub(super) fn write(log: &mut Vec<u8>, trace: &Trace, fields: &LogFields) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *log, &Line { trace, fields });
    log.push(b'\n');
}

struct Line<'a> {
    trace: &'a Trace,
    fields: &'a LogFields,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { trace, fields } = self;
        let attempt = trace.attempts.last();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let shown = |value: &dyn Display| value.to_string();
        let mut start = Vec::with_capacity(24);
        timestamp(&mut start, trace.started);
        let upstream_host = match (&fields.upstream_host, attempt.and_then(|attempt| attempt.endpoint.as_ref())) {
            (Some(host), _) => Some(host.to_string()),
            (None, endpoint) => endpoint.map(|endpoint| shown(&endpoint.address)),
        };
        let server_name =
            trace.secured.as_ref().filter(|_| trace.direction == Direction::Inbound).and_then(|peer| peer.server_name.clone());
        let cluster = Some(cluster_name(trace, fields)).filter(|name| name != "-");
        let flags = if trace.flags.is_empty() { "-".to_owned() } else { shown(&trace.flags) };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("start_time", &String::from_utf8_lossy(&start))?;
        map.serialize_entry("route_name", &Some(trace.route_name()).filter(|name| *name != "-"))?;
        map.serialize_entry("method", trace.method.as_str())?;
        map.serialize_entry("path", fields.path.as_str())?;
        map.serialize_entry("protocol", protocol(fields.protocol))?;
        map.serialize_entry("response_code", &trace.status)?;
        map.serialize_entry("response_flags", &flags)?;
        map.serialize_entry("response_code_details", &trace.details)?;
        map.serialize_entry("connection_termination_details", &None::<&str>)?;
        map.serialize_entry("upstream_transport_failure_reason", &attempt.and_then(|attempt| attempt.reason.as_deref()))?;
        map.serialize_entry("bytes_received", &trace.request_body)?;
        map.serialize_entry("bytes_sent", &trace.response_body)?;
        map.serialize_entry("duration", &(trace.total / 1000))?;
        map.serialize_entry(
            "upstream_service_time",
            &attempt.filter(|attempt| attempt.status != 0).map(|attempt| shown(&(attempt.duration / 1000))),
        )?;
        map.serialize_entry("x_forwarded_for", &fields.forwarded_for.as_ref().map(text))?;
        map.serialize_entry("user_agent", &fields.user_agent.as_ref().map(text))?;
        map.serialize_entry("request_id", &text(&trace.request_id))?;
        map.serialize_entry("authority", &text(&trace.authority))?;
        map.serialize_entry("upstream_host", &upstream_host)?;
        map.serialize_entry("upstream_cluster", &cluster)?;
        map.serialize_entry("upstream_local_address", &None::<&str>)?;
        map.serialize_entry("downstream_local_address", &shown(&fields.downstream_local))?;
        map.serialize_entry("downstream_remote_address", &shown(&fields.downstream_remote))?;
        map.serialize_entry("requested_server_name", &server_name)?;
        if let Some(span) = &trace.span {
            map.serialize_entry("trace_id", &shown(&span.context.trace))?;
        }
        map.end()
    }
}
