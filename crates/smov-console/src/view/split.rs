//! One service's split: what is configured (with its source), what bends it, and what was observed.

use serde::{Deserialize, Serialize};

use crate::verdict::{BlockResult, Verdict};

/// The split that the gateway's proxy uses (ctx1's rule), or why there is none to show. Never a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Configured {
    /// The live default rule's shares.
    Ok(Shares),
    /// There is no rule: requests go round all pods.
    None(Reason),
    /// There is a rule, but it is no split between ctx1 and ctx2.
    Complex(Reason),
    /// It could not be read.
    Unknown(Reason),
}

impl Configured {
    /// Not read yet: how every service starts.
    pub fn not_read_yet() -> Self {
        Self::Unknown(Reason::new("NotReadYet", "아직 읽지 못했습니다", "Not read yet"))
    }

    /// The shares, when they are known.
    pub fn shares(&self) -> Option<&Shares> {
        match self {
            Self::Ok(shares) => Some(shares),
            Self::None(_) | Self::Complex(_) | Self::Unknown(_) => None,
        }
    }

    /// Why there are no shares.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Ok(_) => None,
            Self::None(reason) | Self::Complex(reason) | Self::Unknown(reason) => Some(reason),
        }
    }
}

/// Shares of the live default rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// ctx1's share in percent; 0 only when its weight is 0.
    pub ctx1: u32,
    /// ctx2's share in percent; 0 only when its weight is 0.
    pub ctx2: u32,
    /// The weights as written.
    pub weights: [u32; 2],
    /// The VirtualService.
    pub rule: String,
    /// The place of the rule in it: `spec.http[1]`.
    pub path: String,
    /// Its `metadata.resourceVersion`.
    pub resource_version: String,
    /// When this console saw the change, Unix microseconds.
    pub changed_at: u64,
}

impl Shares {
    /// Shares from the weights as written (one route alone: 100 and 0); `None` when both are 0.
    pub fn from_weights(weights: [u32; 2], rule: &str, path: &str, resource_version: &str, changed_at: u64) -> Option<Self> {
        let total = u64::from(weights[0]) + u64::from(weights[1]);
        if total == 0 {
            return None;
        }
        let rounded = u32::try_from((u64::from(weights[0]) * 200 + total) / (2 * total)).unwrap_or(100);
        // Rounding never makes a side look empty that is not.
        let ctx1 = rounded.clamp(u32::from(weights[0] > 0), 100 - u32::from(weights[1] > 0));
        let (rule, path, resource_version) = (rule.to_owned(), path.to_owned(), resource_version.to_owned());
        Some(Self { ctx1, ctx2: 100 - ctx1, weights, rule, path, resource_version, changed_at })
    }

    /// The probability of ctx1.
    pub fn probability(&self) -> f64 {
        let [first, second] = self.weights.map(f64::from);
        first / (first + second)
    }
}

/// Why something is not known, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// `NoVirtualService`, `RuleNotSimple`, `Unreadable` ….
    pub code: String,
    /// One sentence in Korean.
    pub text_ko: String,
    /// One sentence in English.
    pub text_en: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: &str, text_ko: &str, text_en: &str) -> Self {
        Self { code: code.to_owned(), text_ko: text_ko.to_owned(), text_en: text_en.to_owned() }
    }
}

/// Percent shares of the copy in the other cluster's API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherCopy {
    /// ctx1's share.
    pub ctx1: u32,
    /// ctx2's share.
    pub ctx2: u32,
}

/// A header that sends a request past the split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Header name.
    pub header: String,
    /// Its value.
    pub value: String,
    /// The subset.
    pub to: String,
}

/// What kind of intervention is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterventionKind {
    /// `fault.delay`.
    Delay,
    /// `fault.abort`.
    Abort,
    /// `mirror`.
    Mirror,
    /// A cluster that gets no traffic.
    Block,
    /// `outlierDetection`.
    Outlier,
}

/// Something that bends traffic and must not stay on unseen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervention {
    /// What.
    pub kind: InterventionKind,
    /// Of how many requests, in percent.
    pub percent: Option<f64>,
    /// The delay, milliseconds.
    pub fixed_ms: Option<u64>,
    /// The status of an abort.
    pub status: Option<u16>,
    /// The cluster it is about.
    pub cluster: Option<String>,
    /// Where it is written: `spec.http[1].fault`.
    pub path: String,
}

/// Everything configured about one service: the SERVICE object without its `stat`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// The Kubernetes Service.
    pub host: String,
    /// The split.
    pub configured: Configured,
    /// The two clusters' copies of the rule differ.
    pub copies_differ: bool,
    /// What ctx2's API server has.
    pub other_cluster: Option<OtherCopy>,
    /// Canary headers.
    pub canary: Vec<Canary>,
    /// Interventions that are on.
    pub interventions: Vec<Intervention>,
}

impl ServiceConfig {
    /// The configuration of a service about which nothing was read yet.
    pub fn not_read_yet(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            configured: Configured::not_read_yet(),
            copies_differ: false,
            other_cluster: None,
            canary: Vec::new(),
            interventions: Vec::new(),
        }
    }
}

/// Requests of the window that are no draw of the split, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Excluded {
    /// Carried the canary header.
    pub canary: u32,
    /// No pod answered.
    pub unreached: u32,
    /// A pod answered that did not say where it is.
    pub unknown: u32,
    /// Began before the proxies can have had the present configuration.
    pub settling: u32,
}

/// Progress of the blocks behind the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlockProgress {
    /// Full blocks.
    pub done: u64,
    /// Requests in the one being filled.
    pub fill: u32,
    /// Where the last full one fell.
    pub last: Option<BlockResult>,
}

/// STAT: what was observed, and what may be said about it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stat {
    /// Requests of the window: the last ≤ 100 that reached a pod by the split since the last change.
    pub n: u32,
    /// Of these, answered by ctx1.
    pub ctx1: u32,
    /// Of these, answered by ctx2.
    pub ctx2: u32,
    /// Left out of the window, among its requests.
    pub excluded: Excluded,
    /// Requests of the window that a proxy tried more than once.
    pub retried: u32,
    /// When the window began, Unix microseconds: the last change, or the console's start.
    pub window_since: u64,
    /// ctx1's configured probability.
    pub p: Option<f64>,
    /// Lowest count of ctx1 within 95 % (exact).
    pub lo: Option<u32>,
    /// Highest count of ctx1 within 95 % (exact).
    pub hi: Option<u32>,
    /// The word.
    pub verdict: Verdict,
    /// The blocks behind it.
    pub block: BlockProgress,
    /// 95th percentile of the last one to two minutes since the last change, milliseconds.
    pub p95_ms: Option<f64>,
    /// Of the last 100 requests of any kind since the last change, failed, in percent.
    pub errors: Option<f64>,
    /// Requests since the console started.
    pub total: u64,
}

/// The figures of all services together, since the console started.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Requests relayed.
    pub sent: u64,
    /// Of these, failed: 5xx or no pod answered.
    pub errors: u64,
    /// 95th percentile of the last one to two minutes, milliseconds.
    pub p95_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(weights: [u32; 2]) -> Option<(u32, u32)> {
        Shares::from_weights(weights, "user-service-vs", "spec.http[1]", "1", 0).map(|shares| (shares.ctx1, shares.ctx2))
    }

    #[test]
    fn weights_become_percent_and_zero_stays_zero() {
        assert_eq!(percent([70, 30]), Some((70, 30)));
        assert_eq!(percent([0, 100]), Some((0, 100)));
        assert_eq!(percent([1, 0]), Some((100, 0)));
        assert_eq!(percent([1, 2]), Some((33, 67)));
        assert_eq!(percent([0, 0]), None);
    }

    #[test]
    fn a_small_weight_never_rounds_to_nothing() {
        assert_eq!(percent([1, 999]), Some((1, 99)));
        assert_eq!(percent([u32::MAX, 1]), Some((99, 1)));
    }
}
