//! Header values with Envoy's command operators: `%REQ(x-user)%`, `%DOWNSTREAM_REMOTE_ADDRESS%` …, read once and filled in per request
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators>).

/// A value as text and fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
}

/// One piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// As it stands.
    Literal(String),
    /// Filled in per request.
    Field(Field),
}

/// What a command operator stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `REQ(name?other):length`: a request header.
    Request(HeaderField),
    /// `RESP(…)`: a header of the answer.
    Response(HeaderField),
    /// `START_TIME`, in this strftime-like format; empty = ISO 8601 in milliseconds.
    StartTime(String),
    /// Any of the operators without argument.
    Simple(Simple),
    /// `ENVIRONMENT(NAME)` and the like: known to Envoy, empty here.
    Nothing,
}

/// A header with its alternative, cut to a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// Lower-case name; `:path`, `:method`, `:authority`, `:scheme` and `:status` are what they are in HTTP/2.
    pub name: String,
    /// Taken when there is no such header.
    pub otherwise: Option<String>,
    /// At most so many bytes.
    pub length: Option<usize>,
}

/// Operators without argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simple {
    /// The client's address and port.
    DownstreamRemoteAddress,
    /// The client's address.
    DownstreamRemoteAddressWithoutPort,
    /// The client's port.
    DownstreamRemotePort,
    /// The address and port that the client dialled.
    DownstreamLocalAddress,
    /// The address that the client dialled.
    DownstreamLocalAddressWithoutPort,
    /// The port that the client dialled.
    DownstreamLocalPort,
    /// `HTTP/1.1`.
    Protocol,
    /// The endpoint's address and port.
    UpstreamHost,
    /// The endpoint's address.
    UpstreamHostWithoutPort,
    /// The cluster's name.
    UpstreamCluster,
    /// The status, 0 before there is one.
    ResponseCode,
    /// Envoy's words about how the answer came about.
    ResponseCodeDetails,
    /// `UH`, `-` …
    ResponseFlags,
    /// This machine's name: the pod's.
    Hostname,
    /// The route's name.
    RouteName,
    /// Milliseconds since the request came.
    Duration,
    /// Bytes of the request's body read so far.
    BytesReceived,
}

/// A value that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A `%` without its partner.
    #[error("`{0}` has a `%` without its partner: write `%%` for a percent sign")]
    Unbalanced(String),
    /// No operator of that name.
    #[error("`%{0}%` is not a command operator of Envoy")]
    Unknown(String),
}

impl Template {
    /// Reads a value.
    pub fn parse(value: &str) -> Result<Self, InvalidTemplate> {
        let unbalanced = || InvalidTemplate::Unbalanced(value.to_owned());
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = value;
        while let Some(start) = rest.find('%') {
            literal.push_str(&rest[..start]);
            rest = &rest[start + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            // An argument may hold percent signs of its own: `%START_TIME(%Y)%`.
            let end = match rest.find(['(', '%']) {
                Some(open) if rest.as_bytes()[open] == b'(' => {
                    let close = open + rest[open..].find(')').ok_or_else(unbalanced)?;
                    close + rest[close..].find('%').ok_or_else(unbalanced)?
                }
                Some(end) => end,
                None => return Err(unbalanced()),
            };
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal)));
            }
            segments.push(Segment::Field(field(&rest[..end]).ok_or_else(|| InvalidTemplate::Unknown(rest[..end].to_owned()))?));
            rest = &rest[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Ok(Self { segments })
    }

    /// The text of a template without fields.
    pub fn literal(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [] => Some(""),
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The pieces in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// Operators that this mesh has nothing to say to: without mTLS, dynamic metadata and filter state there is nothing.
const EMPTY: [&str; 12] = [
    "DYNAMIC_METADATA",
    "UPSTREAM_METADATA",
    "CLUSTER_METADATA",
    "FILTER_STATE",
    "UPSTREAM_FILTER_STATE",
    "PER_REQUEST_STATE",
    "REQUESTED_SERVER_NAME",
    "CONNECTION_TERMINATION_DETAILS",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "VIRTUAL_CLUSTER_NAME",
    "ENVIRONMENT",
    "TRAILER",
];

fn field(operator: &str) -> Option<Field> {
    let (name, argument, length) = match operator.split_once('(') {
        Some((name, rest)) => {
            let (argument, after) = rest.rsplit_once(')')?;
            let length = if after.is_empty() { None } else { Some(after.strip_prefix(':')?.parse().ok()?) };
            (name, Some(argument), length)
        }
        None => (operator, None, None),
    };
    let header = || {
        let (name, otherwise) =
            argument.map(|argument| argument.split_once('?').map_or((argument, None), |(name, other)| (name, Some(other))))?;
        let lower = |name: &str| name.to_ascii_lowercase();
        (!name.is_empty()).then(|| HeaderField { name: lower(name), otherwise: otherwise.map(lower), length })
    };
    match name {
        "REQ" | "REQUEST_HEADER" => return header().map(Field::Request),
        "RESP" | "RESPONSE_HEADER" => return header().map(Field::Response),
        "START_TIME" => return Some(Field::StartTime(argument.unwrap_or_default().to_owned())),
        name if EMPTY.contains(&name) || name.starts_with("DOWNSTREAM_PEER_") || name.starts_with("DOWNSTREAM_TLS_") => {
            return Some(Field::Nothing);
        }
        _ => {}
    }
    let simple = match name {
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Simple::DownstreamRemoteAddress,
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
            Simple::DownstreamRemoteAddressWithoutPort
        }
        "DOWNSTREAM_REMOTE_PORT" | "DOWNSTREAM_DIRECT_REMOTE_PORT" => Simple::DownstreamRemotePort,
        "DOWNSTREAM_LOCAL_ADDRESS" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" => Simple::DownstreamLocalAddress,
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" | "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT" => {
            Simple::DownstreamLocalAddressWithoutPort
        }
        "DOWNSTREAM_LOCAL_PORT" | "DOWNSTREAM_DIRECT_LOCAL_PORT" => Simple::DownstreamLocalPort,
        "PROTOCOL" => Simple::Protocol,
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Simple::UpstreamHost,
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Simple::UpstreamHostWithoutPort,
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Simple::UpstreamCluster,
        "RESPONSE_CODE" => Simple::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Simple::ResponseCodeDetails,
        "RESPONSE_FLAGS" => Simple::ResponseFlags,
        "HOSTNAME" => Simple::Hostname,
        "ROUTE_NAME" => Simple::RouteName,
        "DURATION" => Simple::Duration,
        "BYTES_RECEIVED" => Simple::BytesReceived,
        _ => return None,
    };
    argument.is_none().then_some(Field::Simple(simple))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(value: &str) -> Vec<Segment> {
        Template::parse(value).unwrap().segments
    }

    #[test]
    fn plain_text_has_no_fields_and_doubled_percent_signs_are_one() {
        assert_eq!(Template::parse("100%% of it").unwrap().literal(), Some("100% of it"));
        assert_eq!(Template::parse("").unwrap().literal(), Some(""));
        assert_eq!(Template::parse("%PROTOCOL%").unwrap().literal(), None);
    }

    #[test]
    fn fields_keep_their_arguments() {
        let header = HeaderField { name: "x-user".into(), otherwise: Some("x-other".into()), length: Some(3) };
        assert_eq!(
            segments("a%REQ(X-User?X-Other):3%b%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            [
                Segment::Literal("a".into()),
                Segment::Field(Field::Request(header)),
                Segment::Literal("b".into()),
                Segment::Field(Field::Simple(Simple::DownstreamRemoteAddressWithoutPort)),
            ]
        );
        assert_eq!(segments("%START_TIME(%s.%3f)%%%"), [Segment::Field(Field::StartTime("%s.%3f".into())), Segment::Literal("%".into())]);
        assert_eq!(segments("%DYNAMIC_METADATA(a:b)%"), [Segment::Field(Field::Nothing)]);
    }

    #[test]
    fn what_envoy_would_refuse_is_refused() {
        for value in ["50%", "%REQ(x", "%REQ(x)", "a%b"] {
            assert_eq!(Template::parse(value), Err(InvalidTemplate::Unbalanced(value.into())), "{value}");
        }
        assert_eq!(Template::parse("%NO_SUCH%"), Err(InvalidTemplate::Unknown("NO_SUCH".into())));
        assert_eq!(Template::parse("%REQ%"), Err(InvalidTemplate::Unknown("REQ".into())));
        assert_eq!(Template::parse("%PROTOCOL(x)%"), Err(InvalidTemplate::Unknown("PROTOCOL(x)".into())));
        assert_eq!(Template::parse("%REQ(x):y%"), Err(InvalidTemplate::Unknown("REQ(x):y".into())));
    }
}
