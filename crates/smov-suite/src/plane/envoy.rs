//! The other plane: a real Envoy per proxy, on the same snapshots.

use std::path::PathBuf;

use smov_envoy::{Envoy, EnvoyConfig, Running, find_binary};
use smov_model::record::{Record, RefusedConnection};
use smov_model::snapshot::Snapshot;
use smov_proxy::{Certificates, ProxyConfig};

use super::built_in::chain;

/// The Envoy of this machine, if there is one.
pub fn binary() -> Option<PathBuf> {
    find_binary()
}

#[derive(Debug)]
pub(crate) struct RealEnvoy {
    running: Running,
    /// Its bootstrap and sockets; short, since a unix socket's path has at most 107 bytes.
    _folder: tempfile::TempDir,
}

impl RealEnvoy {
    pub(crate) async fn start(
        mut config: ProxyConfig,
        snapshot: Snapshot,
        certify: impl FnOnce(&Certificates) -> Result<(), String>,
    ) -> Result<Self, String> {
        let binary = binary().ok_or("there is no Envoy: SMOV_ENVOY names none and none is on PATH")?;
        // Envoy rolls its own dice.
        config.seed = None;
        let folder = tempfile::Builder::new().prefix("smov").tempdir().map_err(|error| error.to_string())?;
        let config = EnvoyConfig { proxy: config, binary, folder: folder.path().to_owned(), shim: Vec::new() };
        let certificates = Certificates::default();
        certify(&certificates)?;
        let running = Envoy::spawn(config).map_err(|error| chain(&error))?;
        certificates.issued().into_iter().for_each(|issued| running.certify(&issued));
        running.publish(snapshot).await.map_err(|error| chain(&error))?;
        Ok(Self { running, _folder: folder })
    }

    pub(crate) async fn publish(&self, snapshot: Snapshot) -> Result<(), String> {
        self.running.publish(snapshot).await.map_err(|rejected| rejected.reason)
    }

    pub(crate) fn records(&self, request_id: &str) -> Vec<Record> {
        // Who asks comes back for a record that is not there yet.
        self.running.records_now(request_id)
    }

    pub(crate) fn refused(&self) -> Vec<RefusedConnection> {
        self.running.refused()
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}
