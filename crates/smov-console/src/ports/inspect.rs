//! What the Request inspector needs done: a decision worked out without sending anything, and the same request sent again.

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use crate::problem::Problem;
use crate::service::ServiceId;

/// A request to be explained.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// `GET`.
    #[serde(default = "get")]
    pub method: String,
    /// Path, with or without query.
    pub path: String,
    /// Host, with its port where it is not 80; absent = the service that the path belongs to.
    #[serde(default)]
    pub host: Option<String>,
    /// Headers, name to value.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    /// Whose proxy decides; absent = api-gateway's.
    #[serde(default)]
    pub from: Option<From>,
    /// Resources as they would be.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct From {
    /// Pod, workload or `app` label.
    pub workload: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its cluster.
    pub cluster: Option<String>,
    /// The ingress gateway instead of a sidecar.
    pub gateway: bool,
}

/// A resource in place of the live one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The cluster whose rule it is.
    pub cluster: String,
    /// The resource.
    pub yaml: String,
}

/// Works decisions out by the functions that serve traffic; always computed, never recorded.
pub trait Explain: Send + Sync {
    /// What would come of the request now, and with the overrides.
    fn explain(&self, request: ExplainRequest) -> BoxFuture<'static, Result<Value, Problem>>;
}

/// The same request, several times, through cp-gateway.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// How many.
    pub count: u32,
    /// The service that its path belongs to.
    pub service: ServiceId,
    /// Its path.
    pub path: String,
    /// Its headers, as far as they may be sent again.
    pub headers: Vec<(String, String)>,
    /// The browser that asked.
    pub client: Option<String>,
}

impl Again {
    /// The most requests of one call.
    pub const MOST: u32 = 100;

    /// May this header be sent again? Those that rules look at and that say nothing of who sent the first one.
    pub fn may_repeat(name: &str) -> bool {
        const PLAIN: [&str; 4] = ["user-agent", "accept", "accept-language", "end-user"];
        const OWN: [&str; 6] = ["x-request-id", "x-forwarded", "x-envoy", "x-b3", "x-smov", "x-real"];
        let name = name.to_ascii_lowercase();
        PLAIN.contains(&name.as_str()) || (name.starts_with("x-") && !OWN.iter().any(|own| name.starts_with(own)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_what_names_the_first_sender_are_not_sent_again() {
        assert!(Again::may_repeat("x-canary") && Again::may_repeat("User-Agent") && Again::may_repeat("end-user"));
        for name in ["authorization", "cookie", "x-request-id", "x-forwarded-for", "X-Smov-Client", "host", "content-length"] {
            assert!(!Again::may_repeat(name), "{name}");
        }
    }
}
