//! CORS, between fault and router as in Envoy: preflights of welcome origins are answered here, answers to welcome origins say so. Rules
//! that redirect or answer by themselves have no CORS, whatever their policy says, because Envoy's filter looks at forwarding routes only.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use smov_model::route::{CorsDecision, CorsPolicy};

use crate::exchange::Exchange;

/// A rule's policy with its header values ready.
#[derive(Debug)]
pub(crate) struct CorsPlan {
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
    credentials: bool,
}

impl CorsPlan {
    pub(crate) fn compile(policy: &CorsPolicy) -> Self {
        let list = |text: &str| HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
        Self {
            methods: list(&policy.allow_methods),
            headers: list(&policy.allow_headers),
            expose: list(&policy.expose_headers),
            max_age: policy.max_age.map(HeaderValue::from),
            credentials: policy.allow_credentials,
        }
    }

    /// Headers of the answer to a preflight. One that is only ignored learns everything but the origin.
    pub(crate) fn preflight(&self, origin: Option<&HeaderValue>) -> HeaderMap {
        let mut answer = HeaderMap::new();
        if let Some(origin) = origin {
            self.welcome(origin, &mut answer);
        } else {
            self.credentials(&mut answer);
        }
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers),
            (header::ACCESS_CONTROL_MAX_AGE, &self.max_age),
        ] {
            if let Some(value) = value {
                answer.insert(name, value.clone());
            }
        }
        answer
    }

    /// Tells a welcome origin that it may read this answer.
    pub(crate) fn welcome(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        self.credentials(headers);
        if let Some(expose) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    fn credentials(&self, headers: &mut HeaderMap) {
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// Decides; gives the headers of the answer when the proxy answers.
pub(super) fn cors(exchange: &mut Exchange, policy: &CorsPolicy, plan: &CorsPlan, parts: &Parts) -> Option<HeaderMap> {
    let text = |value: Option<&HeaderValue>| value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let origin = parts.headers.get(header::ORIGIN);
    let requested = text(parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD));
    let decision = policy.decide(parts.method.as_str(), text(origin).as_deref(), requested.as_deref());
    exchange.trace.cors = Some(decision);
    match decision {
        CorsDecision::SameOrigin | CorsDecision::Unmatched => None,
        CorsDecision::Welcome => {
            exchange.extra().origin = origin.cloned();
            None
        }
        CorsDecision::Preflight => Some(plan.preflight(origin)),
        CorsDecision::UnmatchedPreflight => Some(plan.preflight(None)),
    }
}
