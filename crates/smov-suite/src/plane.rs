//! The data planes that a case can be played on.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smov_model::record::{Record, RefusedConnection};
use smov_model::snapshot::Snapshot;
use smov_proxy::{Certificates, ProxyConfig};
use tokio::task::block_in_place;

mod built_in;
mod envoy;

pub use envoy::binary as envoy_binary;

/// A data plane by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PlaneName {
    /// The sidecar of this program.
    Smov,
    /// The real Envoy.
    Envoy,
}

impl fmt::Display for PlaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smov => "smov",
            Self::Envoy => "envoy",
        })
    }
}

impl FromStr for PlaneName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "smov" => Ok(Self::Smov),
            "envoy" => Ok(Self::Envoy),
            other => Err(format!("`{other}` is neither smov nor envoy")),
        }
    }
}

/// A proxy that runs on one of the planes.
#[derive(Debug)]
pub(crate) enum Running {
    BuiltIn(built_in::BuiltIn),
    Envoy(Box<envoy::RealEnvoy>),
}

impl Running {
    /// Starts a proxy on its first snapshot, with the certificate that `certify` gives it; it serves when this returns.
    pub(crate) async fn start(
        plane: PlaneName,
        config: ProxyConfig,
        snapshot: Snapshot,
        certify: impl FnOnce(&Certificates) -> Result<(), String>,
    ) -> Result<Self, String> {
        match plane {
            // Compiling a snapshot takes a while, in which nothing else of the run may stand still.
            PlaneName::Smov => block_in_place(|| built_in::BuiltIn::start(config, snapshot, certify)).map(Self::BuiltIn),
            PlaneName::Envoy => envoy::RealEnvoy::start(config, snapshot, certify).await.map(Box::new).map(Self::Envoy),
        }
    }

    /// Serves the next request on another snapshot.
    pub(crate) async fn publish(&mut self, snapshot: Snapshot) -> Result<(), String> {
        match self {
            Self::BuiltIn(proxy) => {
                block_in_place(|| proxy.publish(snapshot));
                Ok(())
            }
            Self::Envoy(proxy) => proxy.publish(snapshot).await,
        }
    }

    /// What it remembers of a request.
    pub(crate) fn records(&self, request_id: &str) -> Vec<Record> {
        match self {
            Self::BuiltIn(proxy) => proxy.records(request_id),
            Self::Envoy(proxy) => proxy.records(request_id),
        }
    }

    /// Connections that it did not serve.
    pub(crate) fn refused(&self) -> Vec<RefusedConnection> {
        match self {
            Self::BuiltIn(proxy) => proxy.refused(),
            Self::Envoy(proxy) => proxy.refused(),
        }
    }

    /// Ends it; nothing is left when this returns.
    pub(crate) async fn stop(self) {
        match self {
            Self::BuiltIn(proxy) => proxy.stop().await,
            Self::Envoy(proxy) => proxy.stop().await,
        }
    }
}

/// The first of a pod's doors for opaque TCP.
pub(crate) const FIRST_TCP_DOOR: u16 = 16000;

/// The door for outbound requests of a pod's proxy.
pub(crate) fn door(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(address.into(), 15001)
}
