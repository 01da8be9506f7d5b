//! When does a pod get no new requests any more? When both control planes say that every proxy has forgotten its address.

use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use smov_cluster::kubelet::Drain;
use smov_control::debug_client::DebugClient;

/// Asks the control planes of all clusters.
pub(crate) struct MeshDrain {
    sockets: Vec<PathBuf>,
}

impl MeshDrain {
    pub(crate) fn new(sockets: Vec<PathBuf>) -> Self {
        Self { sockets }
    }
}

impl Drain for MeshDrain {
    fn endpoint_gone(&self, pod: &Value) -> BoxFuture<'static, ()> {
        let Some(address) = pod["status"]["podIP"].as_str().and_then(|address| address.parse().ok()) else {
            return async {}.boxed();
        };
        // A control plane in istio-system drains nobody, and one that is gone has proxies that hear nothing: not waited for.
        let asked: Vec<_> = self.sockets.iter().map(|socket| DebugClient::new(socket.clone())).collect();
        async move {
            let answers = asked.iter().map(|client| async move {
                loop {
                    match client.endpoint_gone(address).await {
                        Ok(true) => return,
                        // It waits only so long for one answer; how long is waited altogether is the kubelet's to say.
                        Ok(false) => {}
                        Err(error) => {
                            tracing::debug!(%error, "a control plane did not say whether an endpoint is gone");
                            return;
                        }
                    }
                }
            });
            futures_util::future::join_all(answers).await;
        }
        .boxed()
    }
}
