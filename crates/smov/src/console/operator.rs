//! The operator door: the same page on a port of `smov up` itself, through no proxy, so that it works when the gateway is cut off.
//!
//! Pods, configuration and mesh are read first-hand. Lamps are the gateway app's, followed over its own socket; when it is gone, the page
//! says so. The theatre's routes are relayed to that socket as well.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use smov_cluster::kinds::POD;
use smov_cluster::kubelet::app_socket;
use smov_cluster::registry::{Registry, Selector};
use smov_console::Console;
use smov_console::follow::{ByteStream, EventSource, Follower};
use smov_console::guard::{AllowedHosts, guard};
use smov_console::ports::{Again, Burst, LoadChange, Traffic};
use smov_console::problem::Problem;
use smov_console::view::state::{Door as DoorName, LoadView};
use smov_telemetry::process;
use smov_telemetry::text::Page;
use tokio_util::sync::CancellationToken;

use super::Place;
use super::configuration::{self, MeshConfiguration};
use super::explain::MeshExplain;
use super::feed::{self, Readers, Watched};
use super::ports::{BaselineReset, MeshRecords};
use super::workloads::MeshWorkloads;
use crate::http::{over_socket, read_all};

/// What the door is given.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) place: Place,
    pub(crate) kubeconfig: PathBuf,
    /// The cluster in which api-gateway runs.
    pub(crate) registry: Registry,
    /// Its name.
    pub(crate) cluster: &'static str,
    /// The runtime folder of its kubelet.
    pub(crate) runtime: PathBuf,
}

/// Serves until shutdown.
pub(crate) async fn run(door: Door, shutdown: CancellationToken) {
    let Door { listener, place, kubeconfig, registry, cluster, runtime } = door;
    let listener = match listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the operator door cannot listen");
            return;
        }
    };
    let live = place.live(DoorName::Operator);
    let watched = Watched::of_kubeconfig(&kubeconfig).await.unwrap_or_else(|error| {
        tracing::error!(error, "the operator door cannot read its own kubeconfig");
        Vec::new()
    });
    let clusters: Vec<_> = watched.iter().map(Watched::cluster).collect();
    let app = GatewayApp { registry, cluster, runtime: runtime.into() };
    let hosts = AllowedHosts::loopback_and([]);
    let series = smov_console::series::Series::default();
    let (readers, rules) = Readers::new();
    let configuration = MeshConfiguration::new(clusters.clone(), readers.worlds.clone(), place.baseline.clone(), live.clone());
    let console = Console {
        live: live.clone(),
        traffic: Arc::new(app.clone()),
        link: Arc::new(super::link::MeshLink { clusters: clusters.clone() }),
        baseline: Arc::new(BaselineReset {
            folder: place.baseline.clone(),
            clusters: clusters.clone(),
            configuration: configuration.clone(),
        }),
        scenarios: Arc::new(super::scenarios::MeshScenarios::new(place.baseline.clone(), clusters.clone())),
        configuration: Arc::new(configuration.clone()),
        workloads: Arc::new(MeshWorkloads { clusters: clusters.clone(), local: place.baseline.is_some() }),
        records: Arc::new(MeshRecords { istiods: place.istiods.clone() }),
        series: series.clone(),
        explain: Arc::new(MeshExplain { istiods: place.istiods.clone() }),
        allowed_hosts: hosts.clone(),
        assets: place.assets(),
    };
    let theatre = Router::new().fallback(relay).with_state(app.clone());
    let router = smov_console::router(console).route("/metrics", get(metrics)).fallback_service(guard(theatre, hosts));
    let mut tasks = tokio::task::JoinSet::new();
    // No gateway leads to this door, so no rule names it.
    tasks.spawn(feed::run(live.clone(), watched, AllowedHosts::loopback_and([]), readers, shutdown.clone()));
    tasks.spawn(configuration::watch::run(configuration, rules, shutdown.clone()));
    tasks.spawn(super::restore::run(live.clone(), clusters, shutdown.clone()));
    tasks.spawn(super::ejections::run(live.clone(), shutdown.clone()));
    tasks.spawn(super::why::run(live.clone(), place.istiods, shutdown.clone()));
    tasks.spawn(super::scrape::run(live.clone(), series, shutdown.clone()));
    let (hub, token) = (live.clone(), shutdown.clone());
    tasks.spawn(async move { hub.run(token).await });
    tasks.spawn(Follower::new(live).run(app, shutdown.clone()));
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the operator door ended");
    }
    while tasks.join_next().await.is_some() {}
}

/// Figures of `smov up` itself: API servers, controllers and kubelets are in this process.
async fn metrics() -> impl IntoResponse {
    let mut page = Page::new();
    process::write(&mut page, "process");
    ([(http::header::CONTENT_TYPE, Page::CONTENT_TYPE)], page.into_text())
}

/// The api-gateway app, reached over its socket; whichever pod it is now.
#[derive(Clone)]
struct GatewayApp {
    registry: Registry,
    cluster: &'static str,
    runtime: Arc<Path>,
}

impl GatewayApp {
    /// The socket of the pod that answers now.
    fn socket(&self) -> Result<PathBuf, String> {
        let selector = Selector::labelled("app=api-gateway").map_err(|error| error.message)?;
        let pods = self.registry.list(&POD, Some("theater-msa"), &selector).0;
        let live = pods.iter().filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
        let mut sockets = live
            .rev()
            .filter_map(|pod| pod["metadata"]["uid"].as_str())
            .map(|uid| app_socket(&self.runtime, self.cluster, uid))
            .filter(|socket| socket.exists());
        sockets.next().ok_or_else(|| "no api-gateway pod is running".to_owned())
    }

    async fn send<B>(&self, request: http::Request<B>) -> Result<Response<hyper::body::Incoming>, String>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        over_socket(&self.socket()?, request).await.map_err(|error| error.to_string())
    }

    async fn post<T: DeserializeOwned>(self, path: &'static str, body: Vec<u8>) -> Result<T, Problem> {
        let away = |detail: String| {
            Problem::new(
                StatusCode::BAD_GATEWAY,
                "GatewayAway",
                "api-gateway 파드가 응답하지 않아 트래픽을 만들 수 없습니다",
                "api-gateway does not answer, so no traffic can be made",
            )
            .with_detail(detail)
        };
        let request = http::Request::post(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| away(error.to_string()))?;
        let answer = self.send(request).await.map_err(away)?;
        let status = answer.status();
        let body = read_all(answer.into_body(), 1 << 20).await.map_err(|error| away(error.to_string()))?;
        if !status.is_success() {
            return Err(away(format!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        serde_json::from_slice(&body).map_err(|error| away(error.to_string()))
    }
}

/// What the gateway app answers to `again`.
#[derive(Deserialize)]
struct Ids {
    ids: Vec<String>,
}

impl EventSource for GatewayApp {
    fn connect(&self, last: Option<String>) -> BoxFuture<'static, Result<ByteStream, String>> {
        let app = self.clone();
        async move {
            let mut request = http::Request::get("/api/v1/events?reader=follower").header("host", "localhost");
            if let Some(last) = last {
                request = request.header("last-event-id", last);
            }
            let request = request.body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
            let answer = app.send(request).await?;
            if !answer.status().is_success() {
                return Err(format!("the gateway answered {}", answer.status()));
            }
            let stream = answer.into_body().into_data_stream().map(|bytes| bytes.map_err(|error| error.to_string()));
            Ok(stream.boxed())
        }
        .boxed()
    }
}

impl Traffic for GatewayApp {
    fn change(&self, change: LoadChange) -> BoxFuture<'static, Result<LoadView, Problem>> {
        self.clone().post("/api/v1/load", serde_json::to_vec(&change).unwrap_or_default()).boxed()
    }

    fn burst(&self, burst: Burst) -> BoxFuture<'static, Result<LoadView, Problem>> {
        self.clone().post("/api/v1/load/burst", serde_json::to_vec(&burst).unwrap_or_default()).boxed()
    }

    fn again(&self, again: Again) -> BoxFuture<'static, Result<Vec<String>, Problem>> {
        let app = self.clone();
        async move {
            let sent: Ids = app.post("/api/v1/load/again", serde_json::to_vec(&again).unwrap_or_default()).await?;
            Ok(sent.ids)
        }
        .boxed()
    }
}

/// Theatre routes: to the gateway app, which calls the services through its sidecar as always.
async fn relay(State(app): State<GatewayApp>, request: Request) -> Response {
    match app.send(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(detail) => {
            let problem =
                Problem::new(StatusCode::BAD_GATEWAY, "GatewayAway", "api-gateway 파드가 응답하지 않습니다", "api-gateway does not answer")
                    .with_detail(detail);
            problem.into_response()
        }
    }
}
