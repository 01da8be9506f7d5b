//! What a case expects of a request, of the proxy's record of it, and of the pods that saw it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::matcher::{Many, Matcher, Span};

/// What must come of a request. What is not named is not looked at. With `times`, every single one must fit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Expect {
    /// The status; a list = one of these. 0 = the connection ended without an answer.
    pub status: Option<Many<u16>>,
    /// Envoy's response flags of the sending proxy: `UH`, `URX,UF`, `-`.
    pub flags: Option<String>,
    /// The answer's body.
    pub body: Option<Matcher>,
    /// The answer's headers; `null` = not there.
    pub headers: BTreeMap<String, Matcher>,
    /// The pod that answered; a list = one of these; `null` is written `none`.
    pub pod: Option<Many<String>>,
    /// The rule that took it: `reviews spec.http[1]`.
    pub rule: Option<String>,
    /// The cluster that was drawn: `outbound|8080|v2|reviews.default.svc.cluster.local`.
    pub cluster: Option<String>,
    /// Tries of the sending proxy.
    pub attempts: Option<u32>,
    /// How long one took, as the client saw it.
    pub took: Option<Span>,
    /// How the sending proxy's last connection was secured: `mutual_tls`, `none`, `unknown`.
    pub security: Option<String>,
    /// The identity that the other side has proved to the sending proxy; `none` = none.
    pub principal: Option<String>,
    /// Why the last try failed, in Envoy's words.
    pub failure: Option<Matcher>,
    /// Connections that a pod's proxy did not serve: one of them is like this.
    pub refused: BTreeMap<String, RefusedSeen>,
    /// What the AuthorizationPolicies at a pod's proxy said, in its record: `passed`, `denied POLICY spec.rules[0]`, `not allowed by POLICY,POLICY`.
    pub decided: BTreeMap<String, Matcher>,
    /// Requests that pods got, all pods: one that is not named got none.
    pub received: Option<BTreeMap<String, Count>>,
    /// What every pod that got it saw.
    pub seen: Option<Seen>,
    /// What single pods saw.
    pub seen_by: BTreeMap<String, Seen>,
    /// Shares of the pods over all `times`, as weights: within what chance allows (one false alarm in a million).
    pub shares: Option<BTreeMap<String, u32>>,
    /// Exact counts per pod on the built-in plane with its seed, where chance decides.
    pub seeded: Option<BTreeMap<String, u32>>,
    /// How many answers of each status, over all `times`.
    pub statuses: Option<BTreeMap<u16, Count>>,
    /// Connections on which pods got all this.
    pub connections: Option<Count>,
    /// How many different pods answered, over all `times`.
    pub pods: Option<Count>,
}

/// A connection that was not served.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RefusedSeen {
    /// Why, in the words of the pod's proxy.
    pub reason: Option<Matcher>,
    /// The name that its TLS asked for.
    pub server_name: Option<Matcher>,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Count {
    /// Exactly.
    Exactly(u64),
    /// Within, both ends included.
    Between {
        /// At least.
        #[serde(default)]
        min: u64,
        /// At most.
        #[serde(default = "many")]
        max: u64,
    },
}

fn many() -> u64 {
    u64::MAX
}

impl Count {
    /// Is it this often?
    pub fn holds(self, count: u64) -> bool {
        match self {
            Self::Exactly(exactly) => count == exactly,
            Self::Between { min, max } => (min..=max).contains(&count),
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(exactly) => write!(f, "{exactly}"),
            Self::Between { min, max: u64::MAX } => write!(f, "{min}.."),
            Self::Between { min, max } => write!(f, "{min}..{max}"),
        }
    }
}

/// A request as a pod saw it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Seen {
    /// The method.
    pub method: Option<Matcher>,
    /// Path and query.
    pub path: Option<Matcher>,
    /// The Host header.
    pub host: Option<Matcher>,
    /// Headers; `null` = not there.
    pub headers: BTreeMap<String, Matcher>,
    /// The body.
    pub body: Option<Matcher>,
}

/// A finding about a resource.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Finding {
    /// Its code, such as `IST0130`.
    pub code: Option<String>,
    /// The resource's name, where there are several.
    pub resource: Option<String>,
    /// The field.
    pub path: Option<String>,
    /// Part of the English message.
    pub message: Option<String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [&self.code, &self.resource, &self.path, &self.message];
        let words: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        f.write_str(&words.join(" · "))
    }
}
