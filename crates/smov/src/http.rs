//! Small HTTP clients of the command line: over TCP with a pool, over a unix socket without.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// A pooling client for plain HTTP; ignores proxy variables, since all it talks to is on this machine.
pub(crate) type TcpClient = Client<HttpConnector, Full<Bytes>>;

/// Makes a client; connections that stay idle are closed after a while.
pub(crate) fn tcp_client() -> TcpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(std::time::Duration::from_secs(5)));
    Client::builder(TokioExecutor::new()).pool_idle_timeout(std::time::Duration::from_secs(15)).build(connector)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
}

/// One request over a unix socket, the response's body still streaming.
pub(crate) async fn over_socket<B>(socket: &Path, request: Request<B>) -> Result<Response<hyper::body::Incoming>, SocketError>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection's task ends with the connection: when the response's body is read or dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection over a unix socket ended");
        }
    });
    Ok(sender.send_request(request).await?)
}

/// Reads a body to its end, up to a limit.
pub(crate) async fn read_all(body: hyper::body::Incoming, limit: usize) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    Ok(http_body_util::Limited::new(body, limit).collect().await?.to_bytes())
}
