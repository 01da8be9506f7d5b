//! Istio's default access log, one line per request, as text or as JSON
//! (<https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format>).

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{HeaderValue, Version};
use smov_model::flag::Flags;
use smov_model::record::Direction;
use smov_model::telemetry::Encoding;

use super::trace::{LogFields, Trace};
use crate::calendar::Civil;

mod filter;
mod json;

/// Appends the line of one request, if its filter lets it through.
pub(crate) fn write(log: &mut Vec<u8>, trace: &Trace) {
    let Some(fields) = &trace.log else { return };
    if let Some(filter) = &fields.settings.filter
        && !filter::passes(filter, trace, fields)
    {
        return;
    }
    match fields.settings.encoding {
        Encoding::Text => text(log, trace, fields),
        Encoding::Json => json::write(log, trace, fields),
    }
}

/// Put together byte by byte: the formatting machinery would cost more than the rest of the books.
fn text(log: &mut Vec<u8>, trace: &Trace, fields: &LogFields) {
    log.push(b'[');
    timestamp(log, trace.started);
    words(log, &["] \"", trace.method.as_str(), " ", fields.path.as_str(), " ", protocol(fields.protocol), "\" "]);
    number(log, trace.status.into());
    log.push(b' ');
    flags(log, trace.flags);
    let reason = trace.attempts.last().and_then(|attempt| attempt.reason.as_deref());
    words(log, &[" ", &trace.details, " - \"", reason.unwrap_or("-"), "\""]);
    for count in [trace.request_body, trace.response_body, u64::from(trace.total / 1000)] {
        log.push(b' ');
        number(log, count);
    }
    log.push(b' ');
    match trace.attempts.last().filter(|attempt| attempt.status != 0) {
        Some(attempt) => number(log, (attempt.duration / 1000).into()),
        None => log.push(b'-'),
    }
    log.push(b' ');
    for value in [fields.forwarded_for.as_ref(), fields.user_agent.as_ref(), Some(&trace.request_id), Some(&trace.authority)] {
        quoted(log, value);
    }
    log.push(b'"');
    let endpoint = trace.attempts.last().and_then(|attempt| attempt.endpoint.as_ref());
    match (&fields.upstream_host, endpoint) {
        (Some(host), _) => words(log, &[host]),
        (None, Some(endpoint)) => address(log, endpoint.address),
        (None, None) => log.push(b'-'),
    }
    log.extend_from_slice(b"\" ");
    words(log, &[&cluster_name(trace, fields)]);
    log.extend_from_slice(b" - ");
    address(log, fields.downstream_local);
    log.push(b' ');
    address(log, fields.downstream_remote);
    // Of TLS that came in: what goes out asks for a name that is written nowhere.
    let server_name = trace.secured.as_ref().filter(|_| trace.direction == Direction::Inbound).and_then(|peer| peer.server_name.as_deref());
    words(log, &[" ", server_name.unwrap_or("-"), " ", trace.route_name(), "\n"]);
}

/// The cluster that the request went to; `-` for none.
fn cluster_name<'a>(trace: &Trace, fields: &'a LogFields) -> Cow<'a, str> {
    match trace.direction {
        Direction::Inbound => format!("inbound|{}||", fields.downstream_local.port()).into(),
        Direction::Outbound | Direction::Ingress => fields.upstream_cluster.as_deref().unwrap_or("-").into(),
    }
}

fn words(log: &mut Vec<u8>, words: &[&str]) {
    words.iter().for_each(|word| log.extend_from_slice(word.as_bytes()));
}

/// A number in decimal.
fn number(log: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    log.extend_from_slice(&digits[start..]);
}

/// The last `WIDTH` digits of a number, with leading zeros.
fn padded<const WIDTH: usize>(log: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; WIDTH];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    log.extend_from_slice(&digits);
}

/// An address and port; IPv6 in brackets.
fn address(log: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            for (place, byte) in v4.ip().octets().into_iter().enumerate() {
                if place > 0 {
                    log.push(b'.');
                }
                number(log, byte.into());
            }
            log.push(b':');
            number(log, v4.port().into());
        }
        SocketAddr::V6(v6) => words(log, &[&v6.to_string()]),
    }
}

fn flags(log: &mut Vec<u8>, flags: Flags) {
    if flags.is_empty() {
        return log.push(b'-');
    }
    for (place, flag) in flags.iter().enumerate() {
        words(log, &[if place > 0 { "," } else { "" }, flag.as_str()]);
    }
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
fn timestamp(log: &mut Vec<u8>, micros: u64) {
    let Civil { year, month, day, hour, minute, second } = Civil::of(micros);
    padded::<4>(log, year);
    log.push(b'-');
    padded::<2>(log, month);
    log.push(b'-');
    padded::<2>(log, day);
    log.push(b'T');
    padded::<2>(log, hour);
    log.push(b':');
    padded::<2>(log, minute);
    log.push(b':');
    padded::<2>(log, second);
    log.push(b'.');
    padded::<3>(log, micros / 1000 % 1000);
    log.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::uri::PathAndQuery;
    use smov_model::telemetry::AccessLog;
    use std::sync::Arc;

    use crate::names::ServiceId;
    use smov_model::flag::ResponseFlag;

    #[test]
    fn times_are_written_as_envoy_writes_them() {
        let timestamp = |micros| {
            let mut log = Vec::new();
            timestamp(&mut log, micros);
            String::from_utf8(log).unwrap()
        };
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(951_827_696_789_000), "2000-02-29T12:34:56.789Z");
        assert_eq!(timestamp(1_795_350_896_001_000), "2026-11-22T12:34:56.001Z");
    }

    #[test]
    fn routes_have_istios_names() {
        let named = |service, direction| Trace { service, direction, ..Trace::default() }.route_name().to_owned();
        assert_eq!(named(ServiceId::PASSTHROUGH, Direction::Outbound), "allow_any");
        assert_eq!(named(ServiceId::BLACK_HOLE, Direction::Outbound), "block_all");
        assert_eq!(named(ServiceId::UNKNOWN, Direction::Inbound), "default");
    }

    fn unknown_host(settings: AccessLog) -> Trace {
        let fields = LogFields {
            settings: Arc::new(settings),
            headers: Vec::new(),
            protocol: Version::HTTP_11,
            path: PathAndQuery::from_static("/users/?a=1"),
            user_agent: Some(HeaderValue::from_static("curl \"8\"")),
            forwarded_for: None,
            downstream_local: "127.9.1.5:15001".parse().unwrap(),
            downstream_remote: "127.9.1.5:4000".parse().unwrap(),
            upstream_host: None,
            upstream_cluster: None,
        };
        Trace {
            request_id: HeaderValue::from_static("id-1"),
            authority: HeaderValue::from_static("nobody:80"),
            status: 404,
            flags: smov_model::flag::ResponseFlag::Nr.into(),
            details: "route_not_found".into(),
            log: Some(Box::new(fields)),
            ..Trace::default()
        }
    }

    fn line(settings: AccessLog) -> String {
        let mut log = Vec::new();
        write(&mut log, &unknown_host(settings));
        String::from_utf8(log).unwrap()
    }

    #[test]
    fn a_line_has_istios_fields_in_order() {
        assert_eq!(
            line(AccessLog::default()),
            "[1970-01-01T00:00:00.000Z] \"GET /users/?a=1 HTTP/1.1\" 404 NR route_not_found - \"-\" 0 0 0 - \"-\" \"curl _8_\" \"id-1\" \
             \"nobody:80\" \"-\" - - 127.9.1.5:15001 127.9.1.5:4000 - -\n"
        );
    }

    #[test]
    fn a_line_may_be_json_with_istios_names() {
        let line = line(AccessLog { encoding: Encoding::Json, filter: None });
        let json: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!((&json["response_code"], &json["response_flags"], &json["path"]), (&404.into(), &"NR".into(), &"/users/?a=1".into()));
        assert_eq!((&json["user_agent"], &json["upstream_host"]), (&"curl \"8\"".into(), &serde_json::Value::Null));
        assert_eq!(json["start_time"], "1970-01-01T00:00:00.000Z");
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
    }

    #[test]
    fn a_filter_decides_which_requests_get_a_line() {
        let filtered = |text: &str| !line(AccessLog { encoding: Encoding::Text, filter: Some(Arc::new(text.parse().unwrap())) }).is_empty();
        assert!(filtered("response.code >= 400") && filtered("request.host == 'nobody:80' && request.path.endsWith('?a=1')"));
        assert!(!filtered("response.code >= 500") && !filtered("connection.mtls") && !filtered("xds.cluster_name == 'x'"));
    }

    #[test]
    fn numbers_addresses_and_flags_are_written_as_they_print() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut log = Vec::new();
            write(&mut log);
            String::from_utf8(log).unwrap()
        };
        for value in [0, 7, 10, 65_535, u64::MAX] {
            assert_eq!(written(&|log| number(log, value)), value.to_string());
        }
        for text in ["127.0.0.1:80", "10.200.3.255:65535", "[::1]:8081"] {
            assert_eq!(written(&|log| address(log, text.parse().unwrap())), text);
        }
        for set in [Flags::NONE, ResponseFlag::Uo.into(), Flags::from(ResponseFlag::Uf).with(ResponseFlag::Urx)] {
            assert_eq!(written(&|log| flags(log, set)), set.to_string());
        }
    }
}
