//! Envoy's clusters: sets of equal endpoints with the policy that a DestinationRule gives them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{ClusterName, Hostname, Port};
use crate::tls::ClusterTls;
use crate::workload::Workload;

/// A set of equal endpoints: one host, one port, one subset or the whole host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cluster {
    /// `outbound|8081|ctx1|user-service.theater-msa.svc.cluster.local`.
    pub name: ClusterName,
    /// What the bytes are.
    pub protocol: Protocol,
    /// The endpoints, sorted by address. May be empty: then requests get 503 `UH`.
    pub endpoints: Vec<Endpoint>,
    /// How one of them is chosen.
    pub load_balancer: LoadBalancer,
    /// Limits of the connection pool.
    pub limits: ConnectionLimits,
    /// When endpoints are ejected; `None` = never.
    pub outlier: Option<OutlierDetection>,
    /// How the endpoints come to be known.
    #[serde(default)]
    pub discovery: Discovery,
    /// `localityLbSetting.distribute` as it concerns this client: localities, as [`Workload::locality`] gives them, and their weights; every
    /// endpoint is of one of them. Empty = localities have no weights, and [`Endpoint::priority`] alone counts.
    #[serde(default)]
    pub locality_weights: Vec<(String, u32)>,
    /// How its connections are secured.
    #[serde(default)]
    pub tls: ClusterTls,
}

/// Where a cluster's addresses come from
/// (<https://istio.io/latest/docs/reference/config/networking/service-entry/#ServiceEntry-Resolution>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Discovery {
    /// The snapshot lists them.
    #[default]
    Listed,
    /// The proxy asks DNS; all answers are endpoints.
    Dns(Vec<NamedEndpoint>),
    /// The address that the client dialled (`resolution: NONE`, `PASSTHROUGH`): by name at an HTTP door.
    OriginalDestination,
}

/// Endpoints that DNS knows by one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedEndpoint {
    /// The name to ask for.
    pub host: Hostname,
    /// Where they listen.
    pub port: Port,
    /// The share of each among the endpoints; 1 unless said otherwise.
    pub weight: u32,
    /// They take the mesh's mutual TLS, as [`Endpoint::mutual_tls`].
    #[serde(default)]
    pub mutual_tls: bool,
}

/// What a port speaks, by Istio's rule: the port's `appProtocol`, else the prefix of its name
/// (<https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// Opaque bytes.
    Tcp,
}

/// One address that serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where its sidecar (or, without one, the program) listens.
    pub address: SocketAddr,
    /// Who it is.
    pub workload: Arc<Workload>,
    /// Its share among the endpoints; 1 unless said otherwise.
    pub weight: u32,
    /// 0 is used first; higher ones take what lower ones cannot (locality failover, decided by the control plane for this client).
    #[serde(default)]
    pub priority: u32,
    /// It takes the mesh's mutual TLS: Istio's `tlsMode: istio`. False without a sidecar, and where a PeerAuthentication says DISABLE.
    #[serde(default)]
    pub mutual_tls: bool,
    /// Where connections to it are opened instead, for this client: the relay that stands for the link between two clusters. Everything
    /// else, names and hashes included, goes by `address`.
    #[serde(default)]
    pub via: Option<SocketAddr>,
}

impl Endpoint {
    /// Where a connection to it is opened.
    pub fn dial(&self) -> SocketAddr {
        self.via.unwrap_or(self.address)
    }
}

/// How an endpoint is chosen (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#LoadBalancerSettings-SimpleLB>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LoadBalancer {
    /// Two random candidates, the one with fewer active requests wins. Istio's default.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any, evenly.
    Random,
    /// Consistent hashing on a ring of at least this many points; the keys are the route's.
    RingHash {
        /// Default 1024.
        minimum_size: u64,
    },
    /// Consistent hashing by a table of this prime size; the keys are the route's.
    Maglev {
        /// Default 65537.
        table_size: u64,
    },
}

impl LoadBalancer {
    /// Does it look at the route's hash keys?
    pub fn hashes(self) -> bool {
        match self {
            Self::RingHash { .. } | Self::Maglev { .. } => true,
            Self::LeastRequest | Self::RoundRobin | Self::Random => false,
        }
    }
}

/// Limits of a cluster's connection pool, per client proxy. `u32::MAX` = no limit, which is Istio's default
/// (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#ConnectionPoolSettings>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConnectionLimits {
    /// Connections to all endpoints together.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    /// Requests in flight (Istio's `http2MaxRequests` limits HTTP/1.1 as well).
    pub max_requests: u32,
    /// Requests over one connection; 1 = no keep-alive.
    pub max_requests_per_connection: u32,
    /// Retries in flight.
    pub max_retries: u32,
    /// How long a connect may take, TCP and TLS together. Default 10 s.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept. Default 1 h.
    pub idle_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: u32::MAX,
            max_pending_requests: u32::MAX,
            max_requests: u32::MAX,
            max_requests_per_connection: u32::MAX,
            max_retries: u32::MAX,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
        }
    }
}

/// When an endpoint is ejected from the load balancer
/// (<https://istio.io/latest/docs/reference/config/networking/destination-rule/#OutlierDetection>).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutlierDetection {
    /// 5xx answers, failed connects, resets and timeouts in a row; 0 = not counted.
    pub consecutive_5xx: u32,
    /// 502, 503, 504, failed connects and timeouts in a row; 0 = not counted.
    pub consecutive_gateway_errors: u32,
    /// How often un-ejection is looked at.
    pub interval: Duration,
    /// First ejection time; later ones are multiples of it.
    pub base_ejection_time: Duration,
    /// An endpoint is ejected only while (ejected + 1) / endpoints stays at or below this, in percent.
    pub max_ejection_percent: u8,
    /// Below this share of healthy endpoints, in percent, all get traffic (Envoy's panic mode); 0 = off.
    pub min_health_percent: u8,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_errors: 0,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_percent: 10,
            min_health_percent: 0,
        }
    }
}
