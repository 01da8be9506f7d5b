//! The Kubernetes API of one cluster, with the credentials of the kubeconfig that `smov up` writes.

use std::path::Path;

use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

/// A client of one cluster.
#[derive(Clone)]
pub(crate) struct Api {
    client: kube::Client,
}

/// A pod as the tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) deleting: bool,
    /// Empty while it has none.
    pub(crate) address: String,
    /// Of each container: name, ready, restarts.
    pub(crate) containers: Vec<(String, bool, u64)>,
}

impl Pod {
    pub(crate) fn is_ready(&self) -> bool {
        !self.deleting && !self.containers.is_empty() && self.containers.iter().all(|(_, ready, _)| *ready)
    }

    /// Restarts of one container.
    pub(crate) fn restarts(&self, container: &str) -> u64 {
        self.containers.iter().find(|(name, ..)| name == container).map_or(0, |(_, _, restarts)| *restarts)
    }
}

const THEATRE: &str = "theater-msa";

impl Api {
    pub(crate) async fn new(kubeconfig: &Path, context: &str) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        let mut config = kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &options).await?;
        config.proxy_url = None;
        Ok(Self { client: kube::Client::try_from(config)? })
    }

    /// One call. A refusal is an error whose text is the API server's sentence.
    pub(crate) async fn call(&self, method: Method, path: &str, content: Option<(&str, &Value)>) -> anyhow::Result<Value> {
        let mut request = Request::builder().method(method).uri(path);
        let mut body = Vec::new();
        if let Some((kind, value)) = content {
            request = request.header("content-type", kind);
            body = value.to_string().into_bytes();
        }
        match self.client.request::<Value>(request.body(body)?).await {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) => anyhow::bail!("{}: {}", status.code, status.message),
            Err(error) => Err(error.into()),
        }
    }

    /// The pods of an app (label `app`), oldest first, those that end included.
    pub(crate) async fn pods(&self, app: &str) -> anyhow::Result<Vec<Pod>> {
        let list = self.call(Method::GET, &format!("/api/v1/pods?labelSelector=app%3D{app}"), None).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod = |object: &Value| Pod {
            namespace: text(&object["metadata"]["namespace"]),
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            address: text(&object["status"]["podIP"]),
            deleting: object["metadata"]["deletionTimestamp"].is_string(),
            containers: object["status"]["containerStatuses"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|status| (text(&status["name"]), status["ready"] == true, status["restartCount"].as_u64().unwrap_or(0)))
                .collect(),
        };
        Ok(list["items"].as_array().into_iter().flatten().map(pod).collect())
    }

    fn rule(name: &str) -> String {
        format!("/apis/networking.istio.io/v1/namespaces/{THEATRE}/virtualservices/{name}")
    }

    pub(crate) async fn virtual_service(&self, name: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, &Self::rule(name), None).await
    }

    pub(crate) async fn delete_virtual_service(&self, name: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, &Self::rule(name), None).await
    }

    /// As `kubectl patch virtualservice NAME --type=json` does.
    pub(crate) async fn patch_virtual_service(&self, name: &str, patch: &Value) -> anyhow::Result<Value> {
        let path = Self::rule(name) + "?fieldValidation=Strict";
        self.call(Method::PATCH, &path, Some(("application/json-patch+json", patch))).await
    }

    /// As `kubectl scale deployment NAME --replicas=N` does.
    pub(crate) async fn scale(&self, deployment: &str, replicas: u32) -> anyhow::Result<()> {
        let path = format!("/apis/apps/v1/namespaces/{THEATRE}/deployments/{deployment}/scale");
        let patch = json!({"spec": {"replicas": replicas}});
        self.call(Method::PATCH, &path, Some(("application/merge-patch+json", &patch))).await.map(drop)
    }

    /// What is no JSON, as a log.
    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.client.request_text(Request::get(path).body(Vec::new())?).await?)
    }

    /// Names of the theatre's Deployments.
    pub(crate) async fn deployments(&self) -> anyhow::Result<Vec<String>> {
        let list = self.call(Method::GET, &format!("/apis/apps/v1/namespaces/{THEATRE}/deployments"), None).await?;
        let names = list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    pub(crate) async fn deployment(&self, name: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, &format!("/apis/apps/v1/namespaces/{THEATRE}/deployments/{name}"), None).await
    }

    /// As `kubectl rollout restart deployment NAME` does.
    pub(crate) async fn restart(&self, deployment: &str, at: &str) -> anyhow::Result<()> {
        let path = format!("/apis/apps/v1/namespaces/{THEATRE}/deployments/{deployment}");
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}}});
        self.call(Method::PATCH, &path, Some(("application/strategic-merge-patch+json", &patch))).await.map(drop)
    }

    pub(crate) async fn delete_pod(&self, pod: &Pod) -> anyhow::Result<()> {
        self.call(Method::DELETE, &format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name), None).await.map(drop)
    }
}
