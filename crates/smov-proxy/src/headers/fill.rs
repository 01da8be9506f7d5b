//! Header values that are filled in per request: Envoy's command operators.

use std::fmt::Write;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use smov_model::template::{Field, HeaderField, Segment, Simple, Template};

use crate::calendar;
use crate::exchange::Exchange;

/// Where a value is filled in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// On the way to the upstream.
    Request(&'a Exchange, &'a Method),
    /// On the way back, with this status.
    Response(&'a Exchange, StatusCode),
}

/// The value; `None` when nothing is left of it. `headers` are those that are being changed.
pub(super) fn fill(template: &Template, scope: Scope<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut text = String::new();
    for segment in template.segments() {
        match segment {
            Segment::Literal(literal) => text.push_str(literal),
            Segment::Field(field) => scope.write(&mut text, field, headers),
        }
    }
    HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
}

impl Scope<'_> {
    fn exchange(&self) -> &Exchange {
        match self {
            Self::Request(exchange, _) | Self::Response(exchange, _) => exchange,
        }
    }

    fn write(&self, text: &mut String, field: &Field, headers: &HeaderMap) {
        match field {
            Field::Request(field) => write_header(text, field, |name| self.request_header(name, headers)),
            Field::Response(field) => write_header(text, field, |name| self.response_header(name, headers)),
            Field::StartTime(format) => {
                let format = if format.is_empty() { "%Y-%m-%dT%H:%M:%S.%3fZ" } else { format };
                text.push_str(&calendar::format(self.exchange().trace.started, format));
            }
            Field::Simple(simple) => {
                // Writing to a string cannot fail.
                let _ = self.write_simple(text, *simple);
            }
            Field::Nothing => {}
        }
    }

    fn write_simple(&self, text: &mut String, simple: Simple) -> std::fmt::Result {
        let exchange = self.exchange();
        let (remote, local) = (exchange.downstream.remote, exchange.downstream.local);
        let upstream = exchange.trace.attempts.last().and_then(|attempt| attempt.endpoint.as_ref()).map(|endpoint| endpoint.address);
        match simple {
            Simple::DownstreamRemoteAddress => write!(text, "{remote}"),
            Simple::DownstreamRemoteAddressWithoutPort => write!(text, "{}", remote.ip()),
            Simple::DownstreamRemotePort => write!(text, "{}", remote.port()),
            Simple::DownstreamLocalAddress => write!(text, "{local}"),
            Simple::DownstreamLocalAddressWithoutPort => write!(text, "{}", local.ip()),
            Simple::DownstreamLocalPort => write!(text, "{}", local.port()),
            Simple::Protocol => text.write_str("HTTP/1.1"),
            Simple::UpstreamHost => upstream.map_or(Ok(()), |address| write!(text, "{address}")),
            Simple::UpstreamHostWithoutPort => upstream.map_or(Ok(()), |address| write!(text, "{}", address.ip())),
            Simple::UpstreamCluster => exchange.trace.arm().map_or(Ok(()), |arm| text.write_str(&arm.text)),
            Simple::ResponseCode => match self {
                Self::Request(..) => text.write_str("0"),
                Self::Response(_, status) => text.write_str(status.as_str()),
            },
            Simple::ResponseCodeDetails => match self {
                Self::Request(..) => Ok(()),
                Self::Response(..) => text.write_str(&exchange.trace.details),
            },
            Simple::ResponseFlags => write!(text, "{}", exchange.trace.flags),
            Simple::Hostname => text.write_str(&exchange.worker.shared.config.pod.name),
            Simple::RouteName => text.write_str(exchange.trace.route_name()),
            Simple::Duration => write!(text, "{}", exchange.elapsed() / 1000),
            Simple::BytesReceived => write!(text, "{}", exchange.upload.as_ref().map_or(0, |upload| upload.bytes())),
        }
    }

    fn request_header<'a>(&'a self, name: &str, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        let trace = &self.exchange().trace;
        let kept = match self {
            Self::Request(..) => Some(headers),
            Self::Response(exchange, _) => exchange.extra_if_any().map(|extra| &extra.request_headers),
        };
        match (name, self) {
            (":path", _) => Some(trace.path.as_str().as_bytes()),
            (":scheme", _) => Some(b"http"),
            (":method", Self::Request(_, method)) => Some(method.as_str().as_bytes()),
            (":method", Self::Response(..)) => Some(trace.method.as_str().as_bytes()),
            (":authority", _) => kept.and_then(|kept| kept.get(header::HOST)).or(Some(&trace.authority)).map(HeaderValue::as_bytes),
            (name, _) => kept?.get(name).map(HeaderValue::as_bytes),
        }
    }

    fn response_header<'a>(&'a self, name: &str, headers: &'a HeaderMap) -> Option<&'a [u8]> {
        match (self, name) {
            (Self::Request(..), _) => None,
            (Self::Response(_, status), ":status") => Some(status.as_str().as_bytes()),
            (Self::Response(..), name) => headers.get(name).map(HeaderValue::as_bytes),
        }
    }
}

fn write_header<'a>(text: &mut String, field: &HeaderField, value: impl Fn(&str) -> Option<&'a [u8]>) {
    let found = value(&field.name).or_else(|| field.otherwise.as_deref().and_then(&value)).unwrap_or_default();
    let cut = &found[..found.len().min(field.length.unwrap_or(usize::MAX))];
    text.push_str(&String::from_utf8_lossy(cut));
}
