//! Who proves what to whom: the callee's side by PeerAuthentications, the caller's by DestinationRules or auto mTLS, with the line that
//! decides. The same functions that make snapshots.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use smov_model::authorization::Authorization;
use smov_model::cluster::Cluster;
use smov_model::names::ClusterName;
use smov_model::route::Origin;
use smov_model::tls::{ClusterTls, MutualTlsMode, SpiffeId};

use crate::compile::{Prepared, is_able};
use crate::world::ProxyIdentity;

/// How the connections of one proxy to one cluster are secured, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecurity {
    /// The cluster.
    pub cluster: ClusterName,
    /// What the caller does.
    pub client: ClientSide,
    /// The line of a DestinationRule that says so; `None` = none does, it is auto mTLS or its absence.
    pub written: Option<Origin>,
    /// The caller's identity.
    pub identity: String,
    /// The caller's address; `None` = not known.
    #[serde(default)]
    pub caller: Option<IpAddr>,
    /// Identities of which the callee has to prove one; empty = any of the trust domain, or the rule checks in another way.
    pub expected: Vec<String>,
    /// The server name that is sent, where TLS is spoken.
    pub sni: Option<String>,
    /// The endpoints.
    pub servers: Vec<ServerSide>,
}

/// What a caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientSide {
    /// Plaintext.
    Plaintext,
    /// Auto mTLS: mutual TLS to endpoints that take it.
    Auto,
    /// `ISTIO_MUTUAL`.
    IstioMutual,
    /// `SIMPLE`: TLS, the caller shows nothing.
    Simple,
    /// `MUTUAL`: TLS with a certificate of the caller's own.
    Mutual,
}

/// One endpoint's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSide {
    /// Where.
    pub address: SocketAddr,
    /// Its pod.
    pub pod: String,
    /// Its identity; `None` = it has no sidecar and proves nothing.
    pub identity: Option<String>,
    /// What its port takes; `None` = it has no sidecar, its program takes what it takes.
    pub mode: Option<MutualTlsMode>,
    /// The line of a PeerAuthentication that says so; `None` = Istio's default, PERMISSIVE.
    pub origin: Option<Origin>,
    /// What comes of the two sides.
    pub verdict: Verdict,
    /// Its AuthorizationPolicies.
    #[serde(default, skip_serializing_if = "Authorization::is_empty")]
    pub authorization: Authorization,
}

/// What comes of a caller's and a callee's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Mutual TLS with the mesh's certificates.
    MutualTls,
    /// Plaintext, and the callee takes it.
    Plaintext,
    /// TLS by the rule's own certificates, ended by the program behind, or by whoever listens there.
    OtherTls,
    /// The callee wants mutual TLS and gets plaintext, or TLS that it does not know: it closes the connection.
    RefusedByCallee,
    /// The caller wants the callee's identity, and the callee speaks plaintext.
    RefusedByCaller,
}

impl Prepared<'_> {
    /// How a proxy's connections are secured, by cluster.
    pub fn security_of(&self, proxy: &ProxyIdentity) -> BTreeMap<ClusterName, ClusterSecurity> {
        let workload = self.workload_of(proxy);
        let identity = SpiffeId::of(&self.world.mesh.trust_domain, &workload).to_string();
        let clusters = self.clusters_for(&workload, proxy.role);
        let told = clusters.values().map(|cluster| {
            let policy = self.policy_of(&workload, &cluster.name.host);
            let subset = cluster.name.subset.as_ref().map(ToString::to_string);
            let written = policy.and_then(|policy| policy.written_tls(subset.as_deref(), cluster.name.port));
            let mut told = self.security(cluster, identity.clone(), written.map(|written| written.origin));
            told.caller = self.address_of(proxy);
            (cluster.name.clone(), told)
        });
        told.collect()
    }

    fn security(&self, cluster: &Cluster, identity: String, written: Option<Origin>) -> ClusterSecurity {
        let (client, expected, sni) = match &cluster.tls {
            ClusterTls::Disable => (ClientSide::Plaintext, Vec::new(), None),
            ClusterTls::Auto(mutual) => (ClientSide::Auto, mutual.subject_alt_names.clone(), Some(mutual.sni.clone())),
            ClusterTls::IstioMutual(mutual) => (ClientSide::IstioMutual, mutual.subject_alt_names.clone(), Some(mutual.sni.clone())),
            ClusterTls::Origin(origin) => {
                let side = if origin.client.is_some() { ClientSide::Mutual } else { ClientSide::Simple };
                (side, origin.subject_alt_names.clone(), origin.sni.clone())
            }
        };
        let server = |endpoint: &smov_model::cluster::Endpoint| {
            let able = is_able(&endpoint.workload);
            let decided = self.mode_of(endpoint).filter(|_| able);
            let mode = decided.as_ref().map(|decided| decided.mode);
            let id = SpiffeId::of(&self.world.mesh.trust_domain, &endpoint.workload).to_string();
            let accepted = expected.is_empty() || expected.contains(&id);
            ServerSide {
                address: endpoint.address,
                pod: endpoint.workload.pod.clone(),
                identity: able.then_some(id),
                mode,
                origin: decided.and_then(|decided| decided.origin),
                verdict: verdict(client, mode, accepted),
                authorization: self.authorization_policies.of(&endpoint.workload),
            }
        };
        let servers = cluster.endpoints.iter().map(server).collect();
        ClusterSecurity { cluster: cluster.name.clone(), client, written, identity, caller: None, expected: expected.clone(), sni, servers }
    }
}

/// `accepted`: has the callee an identity that the caller accepts?
fn verdict(client: ClientSide, mode: Option<MutualTlsMode>, accepted: bool) -> Verdict {
    use MutualTlsMode::{Disable, Permissive, Strict};
    match (client, mode) {
        (ClientSide::Plaintext, Some(Strict)) => Verdict::RefusedByCallee,
        (ClientSide::Plaintext, None | Some(Disable | Permissive)) | (ClientSide::Auto, None | Some(Disable)) => Verdict::Plaintext,
        (ClientSide::Auto | ClientSide::IstioMutual, Some(Permissive | Strict)) if accepted => Verdict::MutualTls,
        (ClientSide::Auto | ClientSide::IstioMutual, Some(Permissive | Strict)) | (ClientSide::IstioMutual, None | Some(Disable)) => {
            Verdict::RefusedByCaller
        }
        // Without the mesh's certificates no STRICT port is passed.
        (ClientSide::Simple | ClientSide::Mutual, Some(Strict)) => Verdict::RefusedByCallee,
        (ClientSide::Simple | ClientSide::Mutual, None | Some(Disable | Permissive)) => Verdict::OtherTls,
    }
}
