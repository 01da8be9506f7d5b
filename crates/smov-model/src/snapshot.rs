//! The snapshot: everything one proxy needs to know, in one value. A request takes one and keeps it to its end.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::authorization::Authorization;
use crate::cluster::{Cluster, Protocol};
use crate::names::{ClusterName, Hostname, Port};
use crate::route::RouteTable;
use crate::split::Split;
use crate::telemetry::Telemetry;
use crate::tls::{ClusterTls, MutualTlsMode};
use crate::workload::Workload;

/// Counts up within one control plane; a proxy acknowledges it. `epoch` tells restarts of the control plane apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SnapshotVersion {
    /// Start of the control plane, in microseconds since 1970.
    pub epoch: u64,
    /// 1, 2, 3 …
    pub number: u64,
}

/// What one proxy runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which one this is.
    pub version: SnapshotVersion,
    /// The proxy's own pod.
    pub proxy: Arc<Workload>,
    /// The sidecar's outbound HTTP routes, by destination port.
    pub outbound: BTreeMap<Port, RouteTable>,
    /// Opaque TCP services that the sidecar's doors lead to.
    pub tcp: Vec<TcpRoute>,
    /// What happens with hosts that nobody knows.
    pub unknown_hosts: UnknownHosts,
    /// Ports of a gateway, by server port. Empty for a sidecar.
    pub ingress: BTreeMap<Port, RouteTable>,
    /// The pod's own ports that the sidecar serves.
    pub inbound: Vec<InboundPort>,
    /// What the pod's ports take of which `inbound` does not speak.
    #[serde(default)]
    pub mutual_tls: MutualTlsMode,
    /// The clusters that the routes lead to.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// Who is behind which address: for the peer's labels in metrics and records.
    pub peers: BTreeMap<IpAddr, Arc<Workload>>,
    /// How paths are brought into their normal form before anything looks at them.
    #[serde(default)]
    pub path_normalization: PathNormalization,
    /// Addresses that an unknown host must never lead to: API servers, admin and control doors.
    pub protected: Vec<SocketAddr>,
    /// The mesh's trust domain: the first part of every identity.
    #[serde(default = "default_trust_domain")]
    pub trust_domain: Arc<str>,
    /// Who may do what here: the AuthorizationPolicies that are for this workload.
    #[serde(default)]
    pub authorization: Authorization,
    /// What the proxy tells about its traffic.
    #[serde(default)]
    pub telemetry: Telemetry,
}

impl Snapshot {
    /// Is its proxy of no use without a certificate? It is where it has to show one: at a port that takes nothing else, and towards clusters
    /// that want one. A permissive port serves plaintext meanwhile.
    pub fn needs_certificate(&self) -> bool {
        let mut modes = self.inbound.iter().map(|port| port.mutual_tls).chain([self.mutual_tls]);
        let strict = modes.any(|mode| mode == MutualTlsMode::Strict);
        strict || self.clusters.values().any(|cluster| matches!(cluster.tls, ClusterTls::Auto(_) | ClusterTls::IstioMutual(_)))
    }
}

fn default_trust_domain() -> Arc<str> {
    crate::tls::DEFAULT_TRUST_DOMAIN.into()
}

/// One opaque TCP service as a sidecar sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRoute {
    /// The service.
    pub host: Hostname,
    /// Its port.
    pub port: Port,
    /// Where connections go.
    pub split: Split<ClusterName>,
}

/// Mesh-wide `outboundTrafficPolicy` (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-OutboundTrafficPolicy>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnknownHosts {
    /// Forwarded by name (`PassthroughCluster`). The default.
    #[default]
    AllowAny,
    /// Answered with 502 (`BlackHoleCluster`).
    RegistryOnly,
}

/// Mesh-wide `pathNormalization` (<https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ProxyPathNormalization>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PathNormalization {
    /// As received.
    None,
    /// RFC 3986: dot segments, backslashes, percent-encoded unreserved letters. The default.
    #[default]
    Base,
    /// The same, and neighbouring slashes become one.
    MergeSlashes,
    /// The same, after `%2F` and `%5C` are decoded.
    DecodeAndMergeSlashes,
}

/// A port of the pod that the sidecar serves for the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundPort {
    /// The pod's port.
    pub port: Port,
    /// What it speaks.
    pub protocol: Protocol,
    /// The Service that leads to it, for metrics; `None` when there is none.
    pub service: Option<Hostname>,
    /// Does it take plaintext, mutual TLS, or both?
    #[serde(default)]
    pub mutual_tls: MutualTlsMode,
}
