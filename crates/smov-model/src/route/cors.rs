//! The decision about cross-origin requests, as Envoy's CORS filter takes it.

use serde::{Deserialize, Serialize};

use super::CorsPolicy;

/// What a [`CorsPolicy`] says about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CorsDecision {
    /// No `Origin`: not a cross-origin request.
    SameOrigin,
    /// A preflight of a welcome origin: the proxy answers it.
    Preflight,
    /// A preflight of another origin that the policy does not forward: the proxy answers it without naming the origin.
    UnmatchedPreflight,
    /// A request of a welcome origin: forwarded, and the answer says so.
    Welcome,
    /// A request, or a forwarded preflight, of another origin: left alone.
    Unmatched,
}

impl CorsDecision {
    /// Does the proxy answer the request itself?
    pub fn is_answered(self) -> bool {
        matches!(self, Self::Preflight | Self::UnmatchedPreflight)
    }
}

impl CorsPolicy {
    /// Decides by method, `Origin` and `Access-Control-Request-Method`. An empty header counts as none.
    pub fn decide(&self, method: &str, origin: Option<&str>, requested_method: Option<&str>) -> CorsDecision {
        let Some(origin) = origin.filter(|origin| !origin.is_empty()) else { return CorsDecision::SameOrigin };
        let welcome = self.allow_origins.iter().any(|allowed| allowed.matches(origin));
        let preflight = method == "OPTIONS" && requested_method.is_some_and(|method| !method.is_empty());
        match (preflight, welcome) {
            (true, true) => CorsDecision::Preflight,
            (true, false) if !self.forward_unmatched_preflights => CorsDecision::UnmatchedPreflight,
            (false, true) => CorsDecision::Welcome,
            (_, false) => CorsDecision::Unmatched,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Pattern, StringMatch};

    fn policy(forward_unmatched_preflights: bool) -> CorsPolicy {
        let allow_origins = vec![StringMatch::Exact("http://a".into()), StringMatch::Regex(Pattern::new("https://.*\\.b").unwrap())];
        CorsPolicy { allow_origins, forward_unmatched_preflights, ..CorsPolicy::default() }
    }

    #[test]
    fn only_options_with_both_headers_is_a_preflight() {
        let policy = policy(true);
        for (method, origin, asked, decision) in [
            ("GET", None, None, CorsDecision::SameOrigin),
            ("GET", Some(""), None, CorsDecision::SameOrigin),
            ("GET", Some("http://a"), Some("PUT"), CorsDecision::Welcome),
            ("OPTIONS", Some("http://a"), None, CorsDecision::Welcome),
            ("OPTIONS", Some("http://a"), Some("PUT"), CorsDecision::Preflight),
            ("OPTIONS", Some("https://x.b"), Some("PUT"), CorsDecision::Preflight),
            ("OPTIONS", Some("http://c"), Some("PUT"), CorsDecision::Unmatched),
            ("GET", Some("http://c"), None, CorsDecision::Unmatched),
        ] {
            assert_eq!(policy.decide(method, origin, asked), decision, "{method} {origin:?} {asked:?}");
        }
    }

    #[test]
    fn unmatched_preflights_are_answered_where_they_are_ignored() {
        assert_eq!(policy(false).decide("OPTIONS", Some("http://c"), Some("PUT")), CorsDecision::UnmatchedPreflight);
        assert_eq!(policy(false).decide("GET", Some("http://c"), None), CorsDecision::Unmatched);
    }
}
