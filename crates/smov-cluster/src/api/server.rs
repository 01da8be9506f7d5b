//! Sockets: TLS, HTTP/1.1 and HTTP/2, and an orderly end.

use std::{sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Api;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests may take to finish once the end has begun.
const FAREWELL: Duration = Duration::from_secs(2);

/// An API server that listens.
pub(crate) struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    api: Api,
}

impl Server {
    pub(crate) fn new(listener: TcpListener, tls: rustls::ServerConfig, api: Api) -> Self {
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(tls)), api }
    }

    /// Answers until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let ending = self.api.inner.shutdown.clone();
        let service = TowerToHyperService::new(self.api.router());
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (acceptor, service) = (self.acceptor.clone(), service.clone());
                    connections.spawn(serve(stream, acceptor, service, ending.clone()));
                }
                Err(error) => {
                    // Mostly too many open files: give others time to close theirs.
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        ending.cancel();
        connections.close();
        if tokio::time::timeout(FAREWELL, connections.wait()).await.is_err() {
            tracing::debug!(open = connections.len(), "connections left open at the end");
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, service: TowerToHyperService<axum::Router>, ending: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
