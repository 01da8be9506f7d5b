//! A control plane of `ctx1` with its API servers, and the objects of a small mesh.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use smov_control::debug_client::DebugClient;
use smov_control::{ControlConfig, RunError};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::FakeApi;

pub(crate) struct Mesh {
    pub(crate) own: FakeApi,
    pub(crate) remote: FakeApi,
    pub(crate) client: DebugClient,
    pub(crate) socket: PathBuf,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
    _folder: TempDir,
}

impl Mesh {
    /// Both clusters with one pod of `user-service` each: 127.9.1.1 in ctx1, 127.9.2.1 in ctx2.
    pub(crate) async fn start() -> Self {
        let (own, remote) = (FakeApi::start().await, FakeApi::start().await);
        own.apply([service(), pod("user-1", "127.9.1.1", "ctx1"), slice(&[("user-1", "127.9.1.1")]), secret(&remote)]);
        remote.apply([service(), pod("user-2", "127.9.2.1", "ctx2"), slice(&[("user-2", "127.9.2.1")])]);
        Self::start_with(own, remote).await
    }

    pub(crate) async fn start_with(own: FakeApi, remote: FakeApi) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, own.kubeconfig()).unwrap();
        let config = ControlConfig {
            cluster: "ctx1".parse().unwrap(),
            kubeconfig: Some(kubeconfig),
            xds_socket: folder.path().join("run/xds.sock"),
            debug_socket: folder.path().join("run/debug.sock"),
            root_namespace: "istio-system".parse().unwrap(),
            pod_address: None,
            certificate_lifetime: Duration::from_secs(3600),
            remote_patience: Duration::from_secs(30),
            link: None,
            otlp_socket: None,
            collectors: Vec::new(),
        };
        let (socket, client) = (config.xds_socket.clone(), DebugClient::new(&config.debug_socket));
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(smov_control::run(config, shutdown.clone()));
        eventually("the sockets are there", async || client.syncz().await.is_ok()).await;
        Self { own, remote, client, socket, shutdown, running, _folder: folder }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.running).await.expect("it ends").unwrap().unwrap();
        assert!(!self.socket.exists(), "the socket is gone");
    }
}

/// Asks again until it is so; there is nothing to wait on for some states.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let asked = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap_or_else(|_| panic!("within 20 s: {what}"));
}

pub(crate) fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "user-service", "namespace": "theater-msa" },
        "spec": { "clusterIP": "127.9.200.1", "selector": { "app": "user-service" }, "ports": [{ "name": "http", "port": 8081, "targetPort": 8081 }] },
    })
}

pub(crate) fn pod(name: &str, address: &str, cluster: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "theater-msa", "labels": { "app": "user-service", "cluster": cluster } },
        "spec": { "serviceAccountName": "user-service", "containers": [{ "name": "user-service", "ports": [{ "containerPort": 8081 }] }, { "name": "istio-proxy" }] },
        "status": { "phase": "Running", "podIP": address },
    })
}

pub(crate) fn slice(pods: &[(&str, &str)]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(pod, address)| json!({ "addresses": [address], "conditions": { "ready": true }, "targetRef": { "kind": "Pod", "name": pod } }))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "user-service-1", "namespace": "theater-msa", "labels": { "kubernetes.io/service-name": "user-service" } },
        "ports": [{ "name": "http", "port": 8081, "protocol": "TCP" }],
        "endpoints": endpoints,
    })
}

pub(crate) fn secret(remote: &FakeApi) -> Value {
    let kubeconfig = base64::engine::general_purpose::STANDARD.encode(remote.kubeconfig());
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "istio-remote-secret-ctx2", "namespace": "istio-system", "labels": { "istio/multiCluster": "true" } },
        "data": { "ctx2": kubeconfig },
    })
}

/// Sends everything to the whole service, with a marker in the rule's name.
pub(crate) fn virtual_service(marker: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "user-service-vs", "namespace": "theater-msa" },
        "spec": { "hosts": ["user-service"], "http": [{ "name": marker, "route": [{ "destination": { "host": "user-service" } }] }] },
    })
}
