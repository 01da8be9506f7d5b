//! Listening and draining.

use std::{io, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};
use tokio_util::sync::CancellationToken;

/// A client that opens a connection and sends no request for so long is let go.
const HEADERS: Duration = Duration::from_secs(300);
/// Requests in flight at shutdown may take so long.
const DRAIN: Duration = Duration::from_secs(25);
/// Pause after `accept` failed, as when file descriptors run out.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenOn {
    /// A unix socket: only the pod's sidecar gets in.
    Socket(PathBuf),
    /// This TCP port on all addresses; 0 takes a free one.
    Port(u16),
}

/// No listener at `place`.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{place}`")]
pub struct BindError {
    /// Path or address.
    pub place: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// A listener that is bound and not yet served.
#[derive(Debug)]
pub enum Bound {
    /// On a unix socket of mode 0600.
    Socket(UnixListener),
    /// On TCP.
    Tcp(TcpListener),
}

/// Binds. A socket file that a dead process left behind is removed.
pub async fn bind(listen_on: &ListenOn) -> Result<Bound, BindError> {
    match listen_on {
        ListenOn::Socket(path) => {
            let failed = |source| BindError { place: path.display().to_string(), source };
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                Ok(()) | Err(_) => {}
            }
            let listener = UnixListener::bind(path).map_err(failed)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
            Ok(Bound::Socket(listener))
        }
        ListenOn::Port(port) => {
            let failed = |source| BindError { place: format!("0.0.0.0:{port}"), source };
            Ok(Bound::Tcp(TcpListener::bind(("0.0.0.0", *port)).await.map_err(failed)?))
        }
    }
}

/// Binds and serves until `shutdown`, then drains.
pub async fn serve(router: Router, listen_on: &ListenOn, shutdown: CancellationToken) -> Result<(), BindError> {
    run(router, bind(listen_on).await?, shutdown).await;
    Ok(())
}

/// Serves until `shutdown`; then takes no connection, closes idle ones and lets requests in flight end.
pub async fn run(router: Router, listener: Bound, shutdown: CancellationToken) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        match accepted {
            Ok(stream) => serve_connection(router.clone(), stream, &connections),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight when the time to drain was over");
    }
}

/// A byte stream, of either kind of listener.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn accept(listener: &Bound) -> io::Result<Box<dyn Stream>> {
    match listener {
        Bound::Socket(listener) => Ok(Box::new(listener.accept().await?.0)),
        Bound::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            // Fails only on a connection that is gone already.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream))
        }
    }
}

/// The task ends with its connection, and `connections` waits for it.
fn serve_connection(router: Router, stream: Box<dyn Stream>, connections: &GracefulShutdown) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
}
