//! A cluster with an API server for tests.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use smov_cluster::{
    admission::{Admission, AdmissionRequest},
    cluster::{Cluster, ClusterConfig, PodNetwork, ServiceNetwork},
    error::{ApiError, Cause},
    kinds::Kind,
};
use tokio_util::sync::CancellationToken;

/// Stands for Istio: weights must not be negative; of VirtualServices the hosts and the first steps into `http` are known.
pub(crate) struct MeshAdmission;

impl Admission for MeshAdmission {
    fn mutate(&self, _: &AdmissionRequest<'_>, _: &mut Value) -> Result<(), ApiError> {
        Ok(())
    }

    fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<Vec<String>, ApiError> {
        let weight = &object["spec"]["http"][0]["route"][0]["weight"];
        if weight.as_i64().is_some_and(|weight| weight < 0) {
            let path = "spec.http[0].route[0].weight";
            let cause = Cause::invalid(path, weight, "must not be negative");
            return Err(ApiError::invalid(request.kind, request.name, &[cause]));
        }
        Ok(Vec::new())
    }

    fn schema(&self, kind: &Kind) -> Option<Value> {
        let texts = json!({ "type": "array", "items": { "type": "string" }, "description": "The hosts that the rules are for." });
        let any = json!({ "type": "array", "items": { "x-kubernetes-preserve-unknown-fields": true } });
        let route = json!({ "type": "array", "items": { "type": "object", "properties": {
            "destination": { "type": "object", "properties": { "host": { "type": "string" }, "subset": { "type": "string" } } },
            "weight": { "type": "integer" },
        } } });
        let http = json!({ "type": "array", "items": { "type": "object", "properties": { "name": { "type": "string" }, "match": any, "route": route, "timeout": { "type": "string" } } } });
        (kind.kind == "VirtualService").then(|| {
            json!({
                "type": "object",
                "x-kind-description": "Rules by which callers find the destination of a request.",
                "properties": { "hosts": texts.clone(), "gateways": texts, "http": http },
            })
        })
    }
}

pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) folder: tempfile::TempDir,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// The same on a folder that may hold a state already.
    pub(crate) async fn start_in(folder: tempfile::TempDir) -> Self {
        let (cluster, shutdown, running) = serve(folder.path()).await;
        Self { cluster, folder, shutdown, running }
    }

    /// Serves from somebody else's folder, for the life of the process.
    pub(crate) async fn start_at(folder: &Path) -> Cluster {
        serve(folder).await.0
    }

    pub(crate) fn kubeconfig_file(&self) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        std::fs::write(&path, self.cluster.admin_kubeconfig().to_string()).unwrap();
        path
    }

    pub(crate) async fn client(&self) -> kube::Client {
        let kubeconfig: kube::config::Kubeconfig = serde_json::from_value(self.cluster.admin_kubeconfig()).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        // Tests see each answer: by default the library asks again for minutes where it hears 429.
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    /// Ends the server; the folder keeps its state.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        self.running.await.unwrap();
        self.folder
    }
}

async fn serve(folder: &Path) -> (Cluster, CancellationToken, tokio::task::JoinHandle<()>) {
    let config = ClusterConfig {
        reached_at: Vec::new(),
        name: "ctx1".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        state_dir: folder.join("ctx1"),
        pod_network: PodNetwork { block: 250, thirds: vec![1] },
        service_network: ServiceNetwork { block: 250, thirds: vec![200] },
    };
    let cluster = Cluster::open(config, Arc::new(MeshAdmission)).unwrap();
    let bound = cluster.bind().await.unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(bound.run(shutdown.clone()));
    (cluster, shutdown, running)
}
