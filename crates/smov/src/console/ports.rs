//! The console's ports: traffic through the ingress, the way back to the baseline, records of the proxies.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use smov_console::ports::{Baseline as BaselinePort, Changed, Ingress, Records, Told, TrafficRequest};
use smov_console::problem::Problem;
use smov_control::debug_client::{DebugClient, DebugError};

use super::configuration::MeshConfiguration;
use crate::http::{TcpClient, tcp_client};
use crate::kube_api::Cluster;
use crate::mesh::baseline::{self, Baseline};

/// ▶ and bursts: real requests through cp-gateway.
pub(crate) struct IngressClient {
    client: TcpClient,
    /// `http://127.0.0.1:8080`.
    base: String,
    /// The name that the gateway's rules are for, where it is not the address.
    host: Option<HeaderValue>,
}

impl IngressClient {
    /// Sends to this address, and asks there for this host.
    pub(crate) fn new(base: String, host: Option<String>) -> Self {
        Self { client: tcp_client(), base, host: host.and_then(|host| HeaderValue::from_str(&host).ok()) }
    }
}

impl Ingress for IngressClient {
    fn send(&self, request: TrafficRequest) -> BoxFuture<'static, Result<u16, String>> {
        let client = self.client.clone();
        let built = traffic(&self.base, self.host.as_ref(), &request);
        async move {
            let answer = client.request(built?).await.map_err(|error| crate::mesh::up::chain(&error))?;
            let status = answer.status().as_u16();
            let mut body = answer.into_body();
            while let Some(frame) = body.frame().await {
                frame.map_err(|error| error.to_string())?;
            }
            Ok(status)
        }
        .boxed()
    }
}

fn traffic(base: &str, host: Option<&HeaderValue>, request: &TrafficRequest) -> Result<Request<Full<Bytes>>, String> {
    let mut built = Request::get(format!("{base}{}", request.path)).header("x-request-id", &request.id);
    if let Some(host) = host {
        built = built.header(http::header::HOST, host);
    }
    if request.canary {
        built = built.header("x-canary", HeaderValue::from_static("true"));
    }
    for (name, value) in &request.headers {
        built = built.header(name, value);
    }
    if let Some(client) = &request.client {
        built = built.header("x-smov-client", client);
    }
    built.body(Full::default()).map_err(|error| error.to_string())
}

/// Where there is no ingress address (real Kubernetes without one told): ▶ says so.
pub(crate) struct NoIngress;

impl Ingress for NoIngress {
    fn send(&self, _: TrafficRequest) -> BoxFuture<'static, Result<u16, String>> {
        async { Err("SMOV_INGRESS is not set: the console does not know the ingress gateway's address".to_owned()) }.boxed()
    }
}

/// Reset through the API servers.
pub(crate) struct BaselineReset {
    /// The state folder that remembers the baseline; `None` = this place has none.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) clusters: Vec<Cluster>,
    /// Writes into the history what it changed.
    pub(crate) configuration: MeshConfiguration,
}

impl BaselinePort for BaselineReset {
    fn reset(&self) -> BoxFuture<'static, Result<Vec<Changed>, Problem>> {
        let (folder, clusters, configuration) = (self.folder.clone(), self.clusters.clone(), self.configuration.clone());
        async move {
            let unknown = || {
                Problem::new(
                    StatusCode::NOT_IMPLEMENTED,
                    "NoBaseline",
                    "이 클러스터의 처음 설정을 알 수 없습니다. kubectl apply -k k8s/overlays/… 로 되돌리세요",
                    "The baseline of these clusters is not known here; use kubectl apply -k k8s/overlays/…",
                )
            };
            let folder = folder.ok_or_else(unknown)?;
            let baseline =
                tokio::task::spawn_blocking(move || Baseline::of_state(&folder)).await.map_err(|_| unknown())?.map_err(|_| unknown())?;
            let (changes, _) = configuration.recorded("reset", "", baseline::reset(&baseline, &clusters)).await;
            let changes = changes.map_err(|error| {
                Problem::new(
                    StatusCode::BAD_GATEWAY,
                    "ApiServer",
                    "API 서버가 되돌리기를 처리하지 못했습니다",
                    "An API server did not carry out the reset",
                )
                .with_detail(error.to_string())
            })?;
            let changed = |change: baseline::Change| Changed {
                cluster: change.cluster,
                kind: change.kind,
                namespace: change.namespace,
                name: change.name,
            };
            Ok(changes.into_iter().map(changed).collect())
        }
        .boxed()
    }
}

/// Records, by asking every control plane.
pub(crate) struct MeshRecords {
    pub(crate) istiods: Vec<(String, PathBuf)>,
}

impl MeshRecords {
    fn clients(&self) -> Vec<(String, DebugClient)> {
        self.istiods.iter().map(|(cluster, socket)| (cluster.clone(), DebugClient::new(socket.clone()))).collect()
    }
}

/// An answer as the page's data.
fn told<T: serde::Serialize>(cluster: String, answer: Result<Vec<T>, DebugError>) -> Told {
    let values = |items: Vec<T>| items.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string());
    Told { cluster, answer: answer.map_err(|error| error.to_string()).and_then(values) }
}

impl Records for MeshRecords {
    fn traces(&self) -> BoxFuture<'static, Vec<Told>> {
        let asked = self.clients().into_iter().map(|(cluster, client)| async move { told(cluster, client.traces().await) });
        futures_util::future::join_all(asked).boxed()
    }

    fn trace(&self, trace_id: String) -> BoxFuture<'static, Vec<Told>> {
        let asked = self.clients().into_iter().map(move |(cluster, client)| {
            let trace_id = trace_id.clone();
            async move { told(cluster, client.trace(&trace_id).await.map(|parts| parts.map_or_else(Vec::new, |parts| parts.spans))) }
        });
        futures_util::future::join_all(asked).boxed()
    }

    fn records(&self, request_id: String) -> BoxFuture<'static, Result<Vec<Value>, Problem>> {
        let clients = self.clients();
        async move {
            let unavailable = |detail: String| {
                Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "NoControlPlane",
                    "기록을 물어볼 컨트롤 플레인이 없습니다",
                    "There is no control plane to ask for records",
                )
                .with_detail(detail)
            };
            if clients.is_empty() {
                return Err(unavailable(String::new()));
            }
            let answers = futures_util::future::join_all(clients.iter().map(|(_, client)| client.requests(&request_id))).await;
            let (mut records, mut errors) = (Vec::new(), Vec::new());
            for ((cluster, _), answer) in clients.iter().zip(answers) {
                match answer {
                    Ok(found) => records.extend(found.into_iter().map(|record| (cluster, record))),
                    Err(error) => errors.push(error.to_string()),
                }
            }
            if records.is_empty() && !errors.is_empty() {
                return Err(unavailable(errors.join("; ")));
            }
            records.sort_by_key(|(_, record)| record.started);
            Ok(records.iter().map(|(cluster, record)| crate::commands::explain::told_record(cluster, record)).collect())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_asks_for_the_name_that_the_gateways_rules_are_for() {
        let request = TrafficRequest {
            id: "a".into(),
            service: smov_console::ServiceId::User,
            path: "/users/".into(),
            canary: false,
            headers: Vec::new(),
            client: None,
        };
        let built = |host: Option<&str>| {
            let client = IngressClient::new("http://cp-gateway.istio-system".to_owned(), host.map(str::to_owned));
            traffic(&client.base, client.host.as_ref(), &request).unwrap()
        };
        let named = built(Some("theater.example.com"));
        assert_eq!(named.uri().host(), Some("cp-gateway.istio-system"));
        assert_eq!(named.headers()["host"], "theater.example.com");
        // Without a name of its own, the client writes the address.
        assert!(!built(None).headers().contains_key("host"));
    }
}
