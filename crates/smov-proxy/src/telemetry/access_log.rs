//! Istio's default access log, one line per request
//! (<https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format>).

use std::io::Write;

use http::{HeaderValue, Version};
use smov_model::record::Direction;

use super::trace::{LogFields, Trace};

/// Appends the line of one request. Writing to memory cannot fail.
pub(crate) fn write(log: &mut Vec<u8>, trace: &Trace) {
    let Some(fields) = &trace.log else { return };
    let _ = line(log, trace, fields);
}

fn line(log: &mut Vec<u8>, trace: &Trace, fields: &LogFields) -> std::io::Result<()> {
    log.push(b'[');
    timestamp(log, trace.started)?;
    write!(log, "] \"{} {} {}\" ", trace.method, fields.path, protocol(fields.protocol))?;
    write!(log, "{} {} {} - \"", trace.status, trace.flags, trace.details)?;
    let reason = trace.attempts.last().and_then(|attempt| attempt.reason.as_deref());
    write!(log, "{}\" {} {} {} ", reason.unwrap_or("-"), trace.request_body, trace.response_body, trace.total / 1000)?;
    match trace.attempts.last().filter(|attempt| attempt.status != 0) {
        Some(attempt) => write!(log, "{} ", attempt.duration / 1000)?,
        None => log.extend_from_slice(b"- "),
    }
    for value in [fields.forwarded_for.as_ref(), fields.user_agent.as_ref(), Some(&trace.request_id), Some(&trace.authority)] {
        quoted(log, value);
    }
    let rule = trace.rule.zip(trace.host.as_ref()).and_then(|((index, _), host)| host.host.rules.get(index));
    let route = rule.map(|rule| rule.origin.name.as_str()).filter(|name| !name.is_empty()).unwrap_or("default");
    let endpoint = trace.attempts.last().and_then(|attempt| attempt.endpoint.as_ref());
    match (&fields.upstream_host, endpoint) {
        (Some(host), _) => write!(log, "\"{host}\" ")?,
        (None, Some(endpoint)) => write!(log, "\"{}\" ", endpoint.address)?,
        (None, None) => log.extend_from_slice(b"\"-\" "),
    }
    match trace.direction {
        Direction::Inbound => write!(log, "inbound|{}|| ", fields.downstream_local.port())?,
        Direction::Outbound | Direction::Ingress => write!(log, "{} ", fields.upstream_cluster.as_deref().unwrap_or("-"))?,
    }
    writeln!(log, "- {} {} - {route}", fields.downstream_local, fields.downstream_remote)
}

/// A value in quotes; what could break the line is replaced.
fn quoted(log: &mut Vec<u8>, value: Option<&HeaderValue>) {
    log.push(b'"');
    match value.filter(|value| !value.is_empty()) {
        Some(value) => log.extend(value.as_bytes().iter().map(|byte| if *byte == b'"' || byte.is_ascii_control() { b'_' } else { *byte })),
        None => log.push(b'-'),
    }
    log.extend_from_slice(b"\" ");
}

fn protocol(version: Version) -> &'static str {
    if version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

/// `2026-11-22T12:34:56.789Z` of microseconds since 1970.
fn timestamp(log: &mut Vec<u8>, micros: u64) -> std::io::Result<()> {
    let (days, seconds) = (micros / 86_400_000_000, micros / 1_000_000 % 86_400);
    // Days to civil date, with years that start in March so that the leap day comes last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second, milli) = (seconds / 3600, seconds / 60 % 60, seconds % 60, micros / 1000 % 1000);
    write!(log, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::PathAndQuery;

    #[test]
    fn times_are_written_as_envoy_writes_them() {
        let timestamp = |micros| {
            let mut log = Vec::new();
            timestamp(&mut log, micros).unwrap();
            String::from_utf8(log).unwrap()
        };
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_827_696_789_000), "2000-02-29T12:34:56.789Z");
        assert_eq!(timestamp(1_795_350_896_001_000), "2026-11-22T12:34:56.001Z");
    }

    #[test]
    fn a_line_has_istios_fields_in_order() {
        let fields = LogFields {
            protocol: Version::HTTP_11,
            path: PathAndQuery::from_static("/users/?a=1"),
            user_agent: Some(HeaderValue::from_static("curl \"8\"")),
            forwarded_for: None,
            downstream_local: "127.9.1.5:15001".parse().unwrap(),
            downstream_remote: "127.9.1.5:4000".parse().unwrap(),
            upstream_host: None,
            upstream_cluster: None,
        };
        let trace = Trace {
            request_id: HeaderValue::from_static("id-1"),
            authority: HeaderValue::from_static("nobody:80"),
            status: 404,
            flags: smov_model::flag::ResponseFlag::Nr.into(),
            details: "route_not_found",
            log: Some(Box::new(fields)),
            ..Trace::default()
        };
        let mut log = Vec::new();
        write(&mut log, &trace);
        assert_eq!(
            String::from_utf8(log).unwrap(),
            "[1970-01-01T00:00:00.000Z] \"GET /users/?a=1 HTTP/1.1\" 404 NR route_not_found - \"-\" 0 0 0 - \"-\" \"curl _8_\" \"id-1\" \
             \"nobody:80\" \"-\" - - 127.9.1.5:15001 127.9.1.5:4000 - default\n"
        );
    }
}
