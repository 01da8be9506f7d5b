//! Headers: what a hop keeps to itself, what a route changes, what the mesh adds.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smov_model::route::{HeaderChange, HeaderOperations};
use smov_model::template::{Field, Segment, Template};
use tracing::warn;

mod fill;
pub(crate) use fill::Scope;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
pub(crate) const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
pub(crate) const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
pub(crate) const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
pub(crate) const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
pub(crate) const PEER_METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");
pub(crate) const PEER_METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
pub(crate) const CLIENT_CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What an upgrade request asks for, when we cannot give it. `h2c` is an offer that a server may ignore, and Envoy does.
pub(crate) fn refused_upgrade(headers: &HeaderMap) -> Option<&str> {
    let wanted = headers.get(header::UPGRADE)?;
    let asked = connection_tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let wanted = wanted.to_str().unwrap_or("?");
    (asked && !wanted.split(',').all(|protocol| protocol.trim().eq_ignore_ascii_case("h2c"))).then_some(wanted)
}

fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim)
}

/// Takes away what belongs to one hop (RFC 9110, 7.6.1): `Connection` and what it lists, framing, `Upgrade`, `TE` other than trailers.
/// `Trailer` stays: hyper passes on only the trailers that it announces.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most heads have none: one look over the names instead of a lookup for each.
    if !headers.keys().any(|name| is_hop_by_hop(name.as_str())) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        let listed: Vec<HeaderName> = connection_tokens(headers)
            .filter(|token| !token.eq_ignore_ascii_case("close") && !token.eq_ignore_ascii_case("keep-alive"))
            .filter_map(|token| token.parse().ok())
            // A peer must not be able to cut these off by listing them.
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH && *name != header::TE)
            .collect();
        for name in listed {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    // The same length twice (hyper refuses differing ones) is passed on once.
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let (Some(length), Some(_)) = (lengths.next(), lengths.next()) {
        let length = length.clone();
        headers.insert(header::CONTENT_LENGTH, length);
    }
    if let Some(value) = headers.remove(header::TE)
        && value.to_str().is_ok_and(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
    {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    for name in [header::TRANSFER_ENCODING, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS] {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "te" | "transfer-encoding" | "upgrade" | "keep-alive" | "proxy-connection" | "http2-settings")
}

/// Takes away the `x-envoy-*` headers by which a client would steer Envoy: nobody is "internal" since Envoy 1.33. All others pass, as they
/// do through Envoy; those that the proxy writes itself are overwritten. Nor may an app say who it is: certificates do.
pub(crate) fn strip_envoy(headers: &mut HeaderMap, at_the_edge: bool) {
    if headers.keys().any(|name| name.as_str().starts_with("x-envoy-")) {
        let stripped = |name: &&HeaderName| is_control(name.as_str()) || (at_the_edge && is_of_the_mesh(name.as_str()));
        let names: Vec<HeaderName> = headers.keys().filter(stripped).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
    headers.remove(CLIENT_CERTIFICATE);
}

/// Says who has connected, after those before it (`APPEND_FORWARD`, as Istio's sidecars do inbound); without mutual TLS nobody says anything.
pub(crate) fn forward_client(headers: &mut HeaderMap, forwarded: Option<&HeaderValue>) {
    let Some(own) = forwarded else {
        headers.remove(CLIENT_CERTIFICATE);
        return;
    };
    let mut before = headers.get_all(CLIENT_CERTIFICATE).iter().peekable();
    if before.peek().is_none() {
        headers.insert(CLIENT_CERTIFICATE, own.clone());
        return;
    }
    let all: Vec<&[u8]> = before.chain([own]).map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&all.join(&b","[..]));
    // What were values of headers is one when joined.
    headers.insert(CLIENT_CERTIFICATE, joined.unwrap_or_else(|_| own.clone()));
}

/// Envoy's controls of retries, timeouts and tracing, and what only proxies tell each other.
fn is_control(name: &str) -> bool {
    matches!(
        name,
        "x-envoy-retriable-status-codes"
            | "x-envoy-retriable-header-names"
            | "x-envoy-retry-on"
            | "x-envoy-retry-grpc-on"
            | "x-envoy-max-retries"
            | "x-envoy-upstream-alt-stat-name"
            | "x-envoy-upstream-rq-timeout-ms"
            | "x-envoy-upstream-rq-per-try-timeout-ms"
            | "x-envoy-upstream-rq-timeout-alt-response"
            | "x-envoy-expected-rq-timeout-ms"
            | "x-envoy-force-trace"
            | "x-envoy-ip-tags"
            | "x-envoy-original-url"
            | "x-envoy-hedge-on-per-try-timeout"
            | "x-envoy-internal"
            | "x-envoy-attempt-count"
            | "x-envoy-peer-metadata"
            | "x-envoy-peer-metadata-id"
    )
}

/// What a stranger may not bring into the mesh.
fn is_of_the_mesh(name: &str) -> bool {
    matches!(
        name,
        "x-envoy-downstream-service-cluster"
            | "x-envoy-downstream-service-node"
            | "x-envoy-decorator-operation"
            | "x-envoy-original-path"
            | "x-envoy-external-address"
    )
}

/// What a gateway adds to a stranger's headers: the peer, at the end of `X-Forwarded-For` and by itself, and the scheme.
pub(crate) fn enter_mesh(headers: &mut HeaderMap, peer: std::net::IpAddr) {
    append_forwarded_for(headers, peer);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Ok(peer) = HeaderValue::from_str(&peer.to_string()) {
        headers.insert(EXTERNAL_ADDRESS, peer);
    }
}

/// Adds an address at the end of `X-Forwarded-For`.
pub(crate) fn append_forwarded_for(headers: &mut HeaderMap, address: std::net::IpAddr) {
    let mut chain: Vec<u8> = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        chain.extend_from_slice(value.as_bytes());
        chain.push(b',');
    }
    chain.extend_from_slice(address.to_string().as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&chain) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// Is the body gRPC? `application/grpc-web` is not.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| rest.first().is_none_or(|next| *next == b'+'))
}

/// Size on the wire of a head's headers.
pub(crate) fn wire_size(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() as u64
}

/// Header operations of one route or arm, with names and values ready.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operations {
    pub(crate) request: Vec<Operation>,
    pub(crate) response: Vec<Operation>,
    /// Do answers repeat headers of the request?
    pub(crate) answers_repeat: bool,
}

/// One change of one header.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Remove(HeaderName),
    Set(HeaderName, Value),
    Add(HeaderName, Value),
}

/// A header's new value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Fixed(HeaderValue),
    Filled(Template),
}

impl Value {
    /// Reads a configured value; `None` for one that Envoy would not take, and for an empty one, which changes nothing.
    fn compile(name: &str, value: &str) -> Option<Self> {
        let template = Template::parse(value).inspect_err(|error| warn!(header = name, %error, "header operation left out")).ok()?;
        match template.literal() {
            Some("") => None,
            Some(text) => text.parse().ok().map(Self::Fixed),
            None => Some(Self::Filled(template)),
        }
    }

    fn repeats_request(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Filled(template) => template.segments().iter().any(|segment| matches!(segment, Segment::Field(Field::Request(_)))),
        }
    }

    fn value(&self, scope: Scope<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Filled(template) => fill::fill(template, scope, headers),
        }
    }
}

impl Operations {
    /// Levels in the order in which they are applied; inside one level removes come first.
    pub(crate) fn compile(levels: &[&HeaderOperations]) -> Self {
        let response: Vec<Operation> = levels.iter().flat_map(|level| compile(&level.response)).collect();
        let answers_repeat = response.iter().any(|operation| match operation {
            Operation::Remove(_) => false,
            Operation::Set(_, value) | Operation::Add(_, value) => value.repeats_request(),
        });
        Self { request: levels.iter().flat_map(|level| compile(&level.request)).collect(), response, answers_repeat }
    }
}

fn compile(change: &HeaderChange) -> impl Iterator<Item = Operation> + '_ {
    let removes = change.remove.iter().filter_map(|name| Some(Operation::Remove(header_name(name)?)));
    let sets = change.set.iter().filter_map(|(name, value)| Some(Operation::Set(header_name(name)?, Value::compile(name, value)?)));
    let adds = change.add.iter().filter_map(|(name, value)| Some(Operation::Add(header_name(name)?, Value::compile(name, value)?)));
    removes.chain(sets).chain(adds)
}

fn header_name(name: &str) -> Option<HeaderName> {
    // `:authority` is Envoy's name of Host.
    if name.eq_ignore_ascii_case(":authority") { Some(header::HOST) } else { name.parse().ok() }
}

/// Applies operations in order. Host is not a list: adding to it sets it.
pub(crate) fn apply(operations: &[Operation], headers: &mut HeaderMap, scope: Scope<'_>) {
    for operation in operations {
        match operation {
            Operation::Remove(name) => {
                headers.remove(name);
            }
            Operation::Set(name, value) => {
                if let Some(value) = value.value(scope, headers) {
                    headers.insert(name, value);
                }
            }
            Operation::Add(name, value) => match value.value(scope, headers) {
                Some(value) if *name == header::HOST => drop(headers.insert(name, value)),
                Some(value) => drop(headers.append(name, value)),
                None => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn connection_and_what_it_lists_stay_on_their_hop() {
        let mut headers = headers(&[
            ("connection", "close, x-secret, host"),
            ("x-secret", "1"),
            ("host", "a"),
            ("te", "gzip, trailers"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("proxy-connection", "keep-alive"),
            ("x-kept", "1"),
        ]);
        strip_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        assert_eq!(left.len(), 3);
        for wanted in ["host=a", "te=trailers", "x-kept=1"] {
            assert!(left.iter().any(|header| header == wanted), "{left:?}");
        }
    }

    #[test]
    fn websocket_is_refused_and_h2c_ignored() {
        assert_eq!(refused_upgrade(&headers(&[("connection", "Upgrade"), ("upgrade", "websocket")])), Some("websocket"));
        assert_eq!(refused_upgrade(&headers(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")])), None);
        assert_eq!(refused_upgrade(&headers(&[("upgrade", "websocket")])), None);
    }

    #[test]
    fn a_gateway_appends_the_peer() {
        let mut headers = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-envoy-retry-on", "5xx")]);
        strip_envoy(&mut headers, true);
        enter_mesh(&mut headers, "127.0.0.1".parse().unwrap());
        assert_eq!(headers[FORWARDED_FOR], "1.2.3.4,127.0.0.1");
        assert_eq!(headers[FORWARDED_PROTO], "http");
        assert_eq!(headers[EXTERNAL_ADDRESS], "127.0.0.1");
        assert!(!headers.contains_key("x-envoy-retry-on"));
    }

    #[test]
    fn what_steers_envoy_is_stripped_and_the_rest_of_its_headers_pass() {
        let sent =
            [("x-envoy-retry-on", "5xx"), ("x-envoy-original-path", "/a"), ("x-envoy-foo", "1"), ("x-forwarded-client-cert", "By=me")];
        let (mut of_an_app, mut of_a_stranger) = (headers(&sent), headers(&sent));
        strip_envoy(&mut of_an_app, false);
        strip_envoy(&mut of_a_stranger, true);
        let names = |headers: &HeaderMap| headers.keys().map(|name| name.as_str().to_owned()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names(&of_an_app), ["x-envoy-foo", "x-envoy-original-path"].map(str::to_owned).into());
        assert_eq!(names(&of_a_stranger), ["x-envoy-foo"].map(str::to_owned).into());
    }
}
