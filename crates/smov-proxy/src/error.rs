//! Why a request could not be answered by an upstream. Each error says which status, which flag, whose side, and may it be retried.

use std::borrow::Cow;

use http::StatusCode;
use smov_model::flag::ResponseFlag;
use smov_model::route::RetryOn;

/// On whose side it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The caller's request.
    Downstream,
    /// The called endpoint, or the way there.
    Upstream,
    /// Configuration or a decision of this proxy.
    Local,
}

/// What ended a request, or one try of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("no configuration has arrived from the control plane yet")]
    NoSnapshot,
    #[error("{reason}")]
    BadRequest { status: StatusCode, reason: &'static str },
    #[error("upgrade to `{protocol}` is not supported by this proxy yet")]
    UnsupportedUpgrade { protocol: String },
    #[error("the client went away")]
    ClientGone,
    #[error("no route")]
    NoRoute,
    #[error("the host is not known to the mesh and the outbound policy is REGISTRY_ONLY")]
    BlackHole,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("dns resolution failure")]
    UnknownName,
    #[error("the route's cluster does not exist")]
    NoCluster,
    #[error("no healthy upstream")]
    NoHealthyUpstream,
    #[error("fault filter abort")]
    FaultAbort { status: StatusCode, grpc: Option<u8> },
    #[error("RBAC: access denied")]
    Denied { details: String },
    #[error("overflow")]
    Overflow,
    #[error("{reason}")]
    Connect { reason: String, timed_out: bool },
    #[error("{reason}")]
    Tls { reason: String },
    /// The other side ended TLS before an answer, with an alert; `sent` as below.
    #[error("{reason}")]
    Alert { reason: String, sent: bool },
    /// The connection broke before an answer; `sent` = some of the request was on its way.
    #[error("connection termination")]
    Closed { sent: bool },
    #[error("protocol error")]
    Protocol,
    #[error("upstream request timeout")]
    PerTryTimeout,
    #[error("upstream request timeout")]
    Timeout,
}

impl ProxyError {
    /// The status that the downstream gets.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { status, .. } | Self::FaultAbort { status, .. } => *status,
            Self::UnsupportedUpgrade { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::BlackHole | Self::Forbidden(_) | Self::Protocol => StatusCode::BAD_GATEWAY,
            Self::NoSnapshot
            | Self::UnknownName
            | Self::NoCluster
            | Self::NoHealthyUpstream
            | Self::Overflow
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Alert { .. }
            | Self::Closed { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::PerTryTimeout | Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Envoy's flag.
    pub(crate) fn flag(&self) -> Option<ResponseFlag> {
        match self {
            Self::NoSnapshot | Self::BlackHole | Self::Forbidden(_) | Self::Denied { .. } => None,
            Self::BadRequest { .. } | Self::UnsupportedUpgrade { .. } => Some(ResponseFlag::Dpe),
            Self::ClientGone => Some(ResponseFlag::Dc),
            Self::NoRoute => Some(ResponseFlag::Nr),
            Self::NoCluster => Some(ResponseFlag::Nc),
            Self::NoHealthyUpstream => Some(ResponseFlag::Uh),
            Self::FaultAbort { .. } => Some(ResponseFlag::Fi),
            Self::Overflow => Some(ResponseFlag::Uo),
            Self::UnknownName | Self::Connect { .. } | Self::Tls { .. } => Some(ResponseFlag::Uf),
            Self::Alert { .. } | Self::Closed { .. } => Some(ResponseFlag::Uc),
            Self::Protocol => Some(ResponseFlag::Upe),
            Self::PerTryTimeout | Self::Timeout => Some(ResponseFlag::Ut),
        }
    }

    /// Whose side it is.
    pub(crate) fn side(&self) -> Side {
        match self {
            Self::BadRequest { .. } | Self::UnsupportedUpgrade { .. } | Self::ClientGone => Side::Downstream,
            Self::NoSnapshot
            | Self::NoRoute
            | Self::BlackHole
            | Self::Forbidden(_)
            | Self::NoCluster
            | Self::NoHealthyUpstream
            | Self::FaultAbort { .. }
            | Self::Denied { .. }
            | Self::Overflow => Side::Local,
            Self::UnknownName
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Alert { .. }
            | Self::Closed { .. }
            | Self::Protocol
            | Self::PerTryTimeout
            | Self::Timeout => Side::Upstream,
        }
    }

    /// May this end of one try be retried? Envoy's `wouldRetryFromReset`: an overflow and the route's own timeout never.
    pub(crate) fn retryable(&self, on: &RetryOn) -> bool {
        match self {
            Self::Connect { .. } | Self::Tls { .. } => {
                on.reset || on.reset_before_request || on.any_5xx || on.gateway_error || on.connect_failure
            }
            Self::Closed { sent } | Self::Alert { sent, .. } => {
                on.reset || (on.reset_before_request && !sent) || on.any_5xx || on.gateway_error
            }
            Self::Protocol | Self::PerTryTimeout => on.reset || on.any_5xx || on.gateway_error,
            Self::NoSnapshot
            | Self::BadRequest { .. }
            | Self::UnsupportedUpgrade { .. }
            | Self::ClientGone
            | Self::NoRoute
            | Self::BlackHole
            | Self::Forbidden(_)
            | Self::UnknownName
            | Self::NoCluster
            | Self::NoHealthyUpstream
            | Self::FaultAbort { .. }
            | Self::Denied { .. }
            | Self::Overflow
            | Self::Timeout => false,
        }
    }

    /// Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub(crate) fn details(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Tls { reason } => {
                let reason = reason.replace(char::is_whitespace, "_");
                return format!("upstream_reset_before_response_started{{remote_connection_failure|{reason}}}").into();
            }
            Self::Denied { details } => return details.clone().into(),
            Self::NoSnapshot => "no_configuration",
            Self::BadRequest { .. } => "bad_request",
            Self::UnsupportedUpgrade { .. } => "upgrade_failed",
            Self::ClientGone => "downstream_remote_disconnect",
            Self::NoRoute => "route_not_found",
            Self::BlackHole | Self::Forbidden(_) => "direct_response",
            Self::UnknownName => "dns_resolution_failure",
            Self::NoCluster => "cluster_not_found",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::FaultAbort { .. } => "fault_filter_abort",
            Self::Overflow => "upstream_reset_before_response_started{overflow}",
            Self::Connect { timed_out: true, .. } => "upstream_reset_before_response_started{connection_timeout}",
            Self::Connect { reason, timed_out: false } if reason == "Connection refused" => {
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"
            }
            Self::Connect { timed_out: false, .. } => "upstream_reset_before_response_started{remote_connection_failure}",
            Self::Closed { .. } | Self::Alert { .. } => "upstream_reset_before_response_started{connection_termination}",
            Self::Protocol => "upstream_reset_before_response_started{protocol_error}",
            Self::PerTryTimeout => "upstream_per_try_timeout",
            Self::Timeout => "response_timeout",
        })
    }

    /// The body in Envoy's words; empty for what Envoy answers with an empty body.
    pub(crate) fn body(&self, retried: bool) -> Cow<'static, str> {
        let reset = |reason: &str| {
            let latest = if retried { "retried and the latest " } else { "" };
            Cow::Owned(format!("upstream connect error or disconnect/reset before headers. {latest}reset reason: {reason}"))
        };
        match self {
            Self::NoRoute | Self::NoCluster | Self::BlackHole | Self::ClientGone => Cow::Borrowed(""),
            Self::Overflow => reset("overflow"),
            Self::Connect { timed_out: true, .. } => reset("connection timeout"),
            // Why is for the operator, not for the client.
            Self::Connect { timed_out: false, .. } | Self::Tls { .. } => reset("remote connection failure"),
            Self::Closed { .. } | Self::Alert { .. } => reset("connection termination"),
            Self::Protocol => reset("protocol error"),
            Self::NoSnapshot
            | Self::BadRequest { .. }
            | Self::UnsupportedUpgrade { .. }
            | Self::Forbidden(_)
            | Self::UnknownName
            | Self::NoHealthyUpstream
            | Self::FaultAbort { .. }
            | Self::Denied { .. }
            | Self::PerTryTimeout
            | Self::Timeout => Cow::Owned(self.to_string()),
        }
    }
}
