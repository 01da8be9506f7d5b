//! What the API server passes on to a kubelet, with one that only tells what it was asked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture, stream};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{EvictParams, LogParams},
};
use serde_json::{Value, json};
use smov_cluster::{
    api::{Dialled, ExecRequest, LogOptions, LogSource, LogStream, Measured, PodAccess, Session, Usage},
    error::ApiError,
    kinds::{POD, POD_DISRUPTION_BUDGET},
    registry::WriteOptions,
};
use support::Server;

struct Told;

impl LogSource for Told {
    fn open(&self, _: &str, pod: &str, container: &str, options: LogOptions) -> Result<LogStream, ApiError> {
        let text = format!("{pod}/{container} tail={:?}\n", options.tail_lines);
        Ok(Box::pin(stream::iter([Ok(text.into())])))
    }
}

impl PodAccess for Told {
    fn may_exec<'a>(&'a self, _pod: &'a Value, _container: &'a str, _command: &'a [String]) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }

    fn exec<'a>(&'a self, _: &'a Value, container: &'a str, request: ExecRequest) -> BoxFuture<'a, Result<Session, ApiError>> {
        let message = format!("{container} runs {:?}", request.command);
        async { Err(ApiError::bad_request(message)) }.boxed()
    }
    fn attach<'a>(&'a self, _: &'a Value, container: &'a str, _: bool) -> BoxFuture<'a, Result<Session, ApiError>> {
        let message = format!("{container} is joined");
        async { Err(ApiError::bad_request(message)) }.boxed()
    }
    fn dial<'a>(&'a self, _: &'a Value, port: u16) -> BoxFuture<'a, Result<Dialled, ApiError>> {
        async move { Err(ApiError::bad_request(format!("port {port}"))) }.boxed()
    }
    fn kill<'a>(&'a self, pod: &'a Value, container: &'a str) -> BoxFuture<'a, Result<(), ApiError>> {
        let message = format!("{container} of {} is killed", pod["metadata"]["name"]);
        async { Err(ApiError::bad_request(message)) }.boxed()
    }
    fn measure(&self) -> BoxFuture<'_, Measured> {
        let usage =
            Usage { namespace: "default".to_owned(), pod: "a".to_owned(), container: "app".to_owned(), processors: 0.25, memory: 1 << 20 };
        async { Measured { at: jiff::Timestamp::UNIX_EPOCH, window: 0.5, usage: vec![usage] } }.boxed()
    }
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "a"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "x"}, {"name": "istio-proxy", "image": "y"}]},
    })
}

async fn started() -> (Server, kube::Client) {
    let server = Server::start().await;
    server.cluster.serve_pods(Arc::new(Told));
    server.cluster.registry().create(pod("a"), &WriteOptions::default()).unwrap();
    let client = server.client().await;
    (server, client)
}

/// The code and the sentence of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    }
}

async fn call(client: &kube::Client, path: &str) -> Result<Value, kube::Error> {
    client.request(Request::get(path).body(Vec::new()).unwrap()).await
}

/// The same with the offer to go on as a WebSocket.
async fn talk(client: &kube::Client, path: &str) -> Result<Value, kube::Error> {
    let request = Request::get(path)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io");
    client.request(request.body(Vec::new()).unwrap()).await
}

#[tokio::test]
async fn logs_come_from_the_kubelet() {
    let (server, client) = started().await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    assert_eq!(refusal(pods.logs("a", &LogParams::default()).await).0, 400, "which container?");
    let parameters = LogParams { container: Some("app".to_owned()), tail_lines: Some(3), ..Default::default() };
    assert_eq!(pods.logs("a", &parameters).await.unwrap(), "a/app tail=Some(3)\n");
    drop(server.stop().await);
}

#[tokio::test]
async fn a_command_reaches_the_kubelet_word_by_word_and_its_refusal_the_client() {
    let (server, client) = started().await;
    let path = "/api/v1/namespaces/default/pods/a/exec?container=app&stdout=true&command=ls&command=-l&command=a+b";
    let plain = refusal(call(&client, path).await);
    assert!(plain.0 == 400 && plain.1.starts_with("Upgrade request required"), "nothing runs for one that cannot talk: {plain:?}");
    assert_eq!(refusal(talk(&client, path).await), (400, "app runs [\"ls\", \"-l\", \"a b\"]".to_owned()));
    let path = "/api/v1/namespaces/default/pods/a/exec?container=app&stdout=true";
    assert_eq!(refusal(call(&client, path).await).1, "you must specify at least 1 command for the container");
    assert_eq!(refusal(talk(&client, "/api/v1/namespaces/default/pods/a/attach?container=app").await).1, "app is joined");
    drop(server.stop().await);
}

#[tokio::test]
async fn usage_is_served_as_metrics() {
    let (server, client) = started().await;
    let pods = call(&client, "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods").await.unwrap();
    assert_eq!(pods["items"][0]["containers"], json!([{"name": "app", "usage": {"cpu": "250000000n", "memory": "1024Ki"}}]));
    let missing = refusal(call(&client, "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/b").await);
    assert_eq!(missing, (404, "pods.metrics.k8s.io \"b\" not found".to_owned()));
    let group = call(&client, "/apis/metrics.k8s.io/v1beta1").await.unwrap();
    assert_eq!(group["resources"][1]["name"], "pods");
    drop(server.stop().await);
}

#[tokio::test]
async fn an_eviction_spends_the_budget_and_is_refused_without_one() {
    let (server, client) = started().await;
    let registry = server.cluster.registry();
    registry.create(pod("b"), &WriteOptions::default()).unwrap();
    for name in ["a", "b"] {
        let ready = |pod: &mut Value| {
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            Ok(())
        };
        registry.modify(&POD, "default", name, &WriteOptions::default(), ready).unwrap();
    }
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    });
    registry.create(budget, &WriteOptions::default()).unwrap();
    registry
        .modify(&POD_DISRUPTION_BUDGET, "default", "a", &WriteOptions::default(), |budget| {
            budget["status"] = json!({"observedGeneration": budget["metadata"]["generation"], "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2, "disruptionsAllowed": 1});
            Ok(())
        })
        .unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client);
    pods.evict("a", &EvictParams::default()).await.unwrap();
    assert!(!registry.get(&POD, "default", "a").unwrap()["metadata"]["deletionTimestamp"].is_null());
    let status = registry.get(&POD_DISRUPTION_BUDGET, "default", "a").unwrap()["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["a"].is_string());
    let refused = refusal(pods.evict("b", &EvictParams::default()).await);
    assert_eq!(refused, (429, "Cannot evict pod as it would violate the pod's disruption budget.".to_owned()));
    drop(server.stop().await);
}
