//! Puts the parts together: sockets first, then the API server, then everything else, until the shutdown.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use smov_telemetry::export::Exporter;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api_server::{ApiServer, ApiServerError};
use crate::ca::Authority;
use crate::ca::root_config_maps::RootConfigMaps;
use crate::ca::secrets::AuthoritySecrets;
use crate::clock::microseconds_since_1970;
use crate::config::ControlConfig;
use crate::debug::{Debug, debug_routes, public_routes};
use crate::listen::{ListenError, listen};
use crate::proxies::Proxies;
use crate::publisher::{Publisher, PublisherConfig};
use crate::remotes::{Remotes, Sources};
use crate::source::SourceKind;
use crate::token::TokenReviewer;
use crate::traces::Traces;
use crate::wire_server::WireServer;

/// Where istiod serves `/ready` and `/metrics` on its pod's address.
const PUBLIC_PORT: u16 = 8080;
/// Commands that wait for the publisher; sources wait when it is full, and the API servers keep their events.
const COMMANDS: usize = 256;

/// A control plane that cannot start, or lost a part.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A unix socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The own API server's credentials.
    #[error(transparent)]
    ApiServer(#[from] ApiServerError),
    /// A part of it ended by a bug. The kubelet restarts the pod; proxies go on with what they have.
    #[error("a part of the control plane ended unexpectedly")]
    Part(#[source] tokio::task::JoinError),
}

/// Runs a control plane until `shutdown`.
pub async fn run(config: ControlConfig, shutdown: CancellationToken) -> Result<(), RunError> {
    let (wire, wire_place) = listen(&config.xds_socket)?;
    let (debug, debug_place) = listen(&config.debug_socket)?;
    let (otlp, otlp_place) = config.otlp_socket.as_deref().map(listen).transpose()?.unzip();
    let server = ApiServer::own(config.cluster.as_str(), config.kubeconfig.as_deref()).await?;
    let public_address = config.pod_address.map(|address| SocketAddr::new(address, PUBLIC_PORT));
    let public = bind_public(public_address).await;

    // Ends all parts: at the shutdown, and when one of them has ended by a bug.
    let stop = CancellationToken::new();
    let mut parts = start(&config, &server, Sockets { wire, debug, otlp, public }, &stop);
    info!(cluster = %config.cluster, socket = %config.xds_socket.display(), "control plane started");
    let mut failed = tokio::select! {
        () = shutdown.cancelled() => None,
        Some(ended) = parts.join_next() => ended.err(),
    };
    // Nobody new shall come; those inside are sent away.
    drop((wire_place, debug_place, otlp_place));
    stop.cancel();
    while let Some(ended) = parts.join_next().await {
        failed = failed.or(ended.err());
    }
    failed.map_or(Ok(()), |error| Err(RunError::Part(error)))
}

/// Listening sockets, by purpose.
struct Sockets {
    wire: UnixListener,
    debug: UnixListener,
    /// Where apps give their spans.
    otlp: Option<UnixListener>,
    public: Option<TcpListener>,
}

fn start(
    config: &ControlConfig,
    server: &ApiServer,
    Sockets { wire, debug, otlp, public }: Sockets,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let epoch = microseconds_since_1970();
    let (commands, received) = mpsc::channel(COMMANDS);
    let exporters = config.collectors.iter().map(|(collector, format)| Exporter::start(collector.clone(), *format));
    let traces = Arc::new(Traces::new(exporters.collect()));
    let proxies = Arc::new(Proxies::new(Arc::clone(&traces)));
    let public_address = public.as_ref().and_then(|listener| listener.local_addr().ok());
    let settings = PublisherConfig {
        cluster: config.cluster.clone(),
        root_namespace: config.root_namespace.clone(),
        epoch,
        remote_patience: config.remote_patience,
        link: config.link,
        protected: server.address().into_iter().chain(public_address).collect(),
    };
    let (publisher, view) = Publisher::new(settings, Arc::clone(&proxies));
    let mut parts = JoinSet::new();
    parts.spawn(publisher.run(received, stop.clone()));

    let sources = Sources::start(&config.cluster, &config.root_namespace, server, SourceKind::own(), &commands);
    parts.spawn(run_sources(sources, stop.clone()));
    let remotes = Remotes::new(config.cluster.clone(), config.root_namespace.clone(), commands.clone());
    parts.spawn(remotes.run(server.clone(), stop.clone()));

    let (secrets, authority) = AuthoritySecrets::new(config.root_namespace.clone(), server.clone());
    parts.spawn(secrets.run(config.cluster.clone(), stop.clone()));
    let root_config_maps = RootConfigMaps::new(server.clone(), authority.clone());
    parts.spawn(root_config_maps.run(config.cluster.clone(), config.root_namespace.clone(), stop.clone()));
    let authority = Authority::new(authority, config.certificate_lifetime, config.root_namespace.clone());

    let reviewer = TokenReviewer::new(server.clone());
    let publisher = commands.clone();
    let wire_server = WireServer {
        cluster: config.cluster.clone(),
        reviewer,
        publisher: commands,
        proxies: Arc::clone(&proxies),
        authority: authority.clone(),
    };
    parts.spawn(Arc::new(wire_server).run(wire, stop.clone()));

    let state = Arc::new(Debug { cluster: config.cluster.clone(), epoch, proxies, view, authority, publisher, shutdown: stop.clone() });
    if let Some(listener) = public {
        parts.spawn(serve(listener, public_routes(Arc::clone(&state)), stop.clone()));
    }
    parts.spawn(serve(debug, debug_routes(state), stop.clone()));
    if let Some(listener) = otlp {
        parts.spawn(serve(listener, crate::otlp::routes(traces), stop.clone()));
    }
    parts
}

async fn run_sources(sources: Sources, stop: CancellationToken) {
    stop.cancelled().await;
    sources.stop().await;
}

/// Without the address the control plane works, only the kubelet cannot see it: better than none at all.
async fn bind_public(address: Option<SocketAddr>) -> Option<TcpListener> {
    let address = address?;
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            warn!(%address, %error, "/ready and /metrics are not served over TCP");
            None
        }
    }
}

async fn serve<L>(listener: L, routes: Router, stop: CancellationToken)
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    // Endless answers end at the same token, so this does not wait for slow readers for ever.
    let stopped = stop.clone().cancelled_owned();
    let served = axum::serve(listener, routes).with_graceful_shutdown(stopped);
    tokio::select! {
        _ = served => {}
        () = async { stop.cancelled().await; tokio::time::sleep(std::time::Duration::from_secs(1)).await } => {}
    }
}
