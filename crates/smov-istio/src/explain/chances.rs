//! What may come of a request, and how likely: faults and splits multiplied out.

use serde::{Deserialize, Serialize};
use smov_model::cluster::Discovery;
use smov_model::flag::ResponseFlag;
use smov_model::names::ClusterName;
use smov_model::route::{AbortStatus, CorsDecision};
use smov_model::snapshot::UnknownHosts;

use super::{Explanation, Odds, Outcome};

/// One way in which a request may end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chance {
    /// How likely, in percent.
    pub percent: f64,
    /// What happens.
    pub end: End,
}

/// How a request ends, as far as the caller's proxy decides it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum End {
    /// An endpoint of this cluster answers.
    Cluster {
        /// The cluster.
        cluster: ClusterName,
        /// The Kubernetes clusters in which its endpoints are.
        kube_clusters: Vec<String>,
    },
    /// The proxy answers by itself.
    Status {
        /// With this.
        status: u16,
        /// For this reason; `None` for redirects and direct responses.
        flag: Option<ResponseFlag>,
    },
    /// Forwarded by name to a host that the mesh does not know.
    Passthrough,
}

impl Explanation {
    /// All ways in which the request may end; together 100 %.
    pub fn chances(&self) -> Vec<Chance> {
        let status = |status, flag| vec![Chance { percent: 100.0, end: End::Status { status, flag } }];
        let (aborted, abort) = self.abort();
        let rest = match &self.outcome {
            // CORS stands after faults and before the router.
            _ if self.cors.is_some_and(CorsDecision::is_answered) => status(200, None),
            Outcome::Forward { odds } => odds.iter().map(|one| Chance { percent: one.percent(), end: one.end() }).collect(),
            Outcome::Redirect { redirect } => status(redirect.code, None),
            Outcome::DirectResponse { response } => status(response.status, None),
            Outcome::NoRoute => status(404, Some(ResponseFlag::Nr)),
            Outcome::UnknownHost { policy: UnknownHosts::AllowAny } => vec![Chance { percent: 100.0, end: End::Passthrough }],
            Outcome::UnknownHost { policy: UnknownHosts::RegistryOnly } => status(502, None),
        };
        let mut chances: Vec<Chance> = abort
            .map(|status| Chance { percent: aborted, end: End::Status { status, flag: Some(ResponseFlag::Fi) } })
            .into_iter()
            .chain(rest.into_iter().map(|chance| Chance { percent: chance.percent * (100.0 - aborted) / 100.0, ..chance }))
            .collect();
        chances.retain(|chance| chance.percent > 0.0);
        chances
    }

    /// The injected answer and how often it comes. A gRPC status comes in a 200, but only to gRPC; plain requests get a 200 as well.
    fn abort(&self) -> (f64, Option<u16>) {
        // The fault filter comes before the router: it also aborts requests that would have been redirected.
        match self.policy.as_ref().and_then(|policy| policy.fault.as_ref()?.abort) {
            Some((percent, AbortStatus::Http(status))) => (f64::from(percent.millionths()) / 10_000.0, Some(status)),
            Some((percent, AbortStatus::Grpc(_))) => (f64::from(percent.millionths()) / 10_000.0, Some(200)),
            None => (0.0, None),
        }
    }
}

impl Odds {
    /// The share of this arm, in percent.
    pub fn percent(&self) -> f64 {
        100.0 * f64::from(self.weight) / f64::from(self.total.max(1))
    }

    /// Are its endpoints in the configuration, so that an empty list means that there are none?
    pub fn is_listed(&self) -> bool {
        self.policy.as_ref().is_none_or(|policy| policy.discovery == Discovery::Listed)
    }

    fn end(&self) -> End {
        match &self.endpoints {
            None => End::Status { status: 503, flag: Some(ResponseFlag::Nc) },
            Some(endpoints) if endpoints.is_empty() && self.is_listed() => End::Status { status: 503, flag: Some(ResponseFlag::Uh) },
            Some(endpoints) => {
                let mut kube_clusters: Vec<String> = endpoints.iter().map(|endpoint| endpoint.kube_cluster.clone()).collect();
                kube_clusters.sort();
                kube_clusters.dedup();
                End::Cluster { cluster: self.cluster.clone(), kube_clusters }
            }
        }
    }
}
