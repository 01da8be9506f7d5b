//! Telemetry's filter, asked of a request that is over.

use http::HeaderValue;
use smov_model::telemetry::expression::{Attribute, Expression, Value};
use smov_model::tls::ConnectionSecurityPolicy;

use super::super::trace::{LogFields, Trace};
use super::cluster_name;

/// Does the request get a line?
pub(super) fn passes(filter: &Expression, trace: &Trace, fields: &LogFields) -> bool {
    let text = |value: &HeaderValue| Value::Text(String::from_utf8_lossy(value.as_bytes()).into_owned().into());
    filter.holds(|attribute| {
        Some(match attribute {
            // 0 where the client went away before there was one, which Envoy says as well.
            Attribute::ResponseCode => Value::Number(trace.status.into()),
            Attribute::ResponseCodeDetails => Value::Text(trace.details.to_string().into()),
            Attribute::ResponseSize => number(trace.response_body),
            Attribute::ResponseFlags => Value::Text(trace.flags.to_string().into()),
            Attribute::RequestUrlPath => Value::Text(fields.path.path().to_owned().into()),
            Attribute::RequestPath => Value::Text(fields.path.as_str().to_owned().into()),
            Attribute::RequestHost => text(&trace.authority),
            Attribute::RequestMethod => Value::Text(trace.method.to_string().into()),
            Attribute::RequestUserAgent => text(fields.user_agent.as_ref()?),
            Attribute::RequestId => text(&trace.request_id),
            Attribute::RequestProtocol => Value::Text(super::protocol(fields.protocol).into()),
            Attribute::RequestSize => number(trace.request_body),
            Attribute::RequestHeader(name) => {
                let place = filter.headers().iter().position(|asked| asked == name)?;
                text(fields.headers.get(place)?.as_ref()?)
            }
            Attribute::MutualTls => Value::Boolean(trace.security == ConnectionSecurityPolicy::MutualTls),
            Attribute::ClusterName => Value::Text(cluster_name(trace, fields).into_owned().into()),
            Attribute::RouteName => Value::Text(trace.route_name().to_owned().into()),
        })
    })
}

fn number(count: u64) -> Value<'static> {
    Value::Number(i64::try_from(count).unwrap_or(i64::MAX))
}
