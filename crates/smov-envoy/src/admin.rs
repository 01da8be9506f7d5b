//! Envoy's admin pages, asked by the agent.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A page that is not answered within this is not answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// A page that could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error("Envoy's admin pages cannot be reached")]
    Io(#[from] std::io::Error),
    #[error("Envoy's admin pages broke off")]
    Http(#[from] hyper::Error),
    #[error("Envoy's admin pages do not answer")]
    Slow,
}

/// Status and text of a page.
pub(crate) async fn page(address: SocketAddr, method: Method, path: &str) -> Result<(u16, Bytes), AdminError> {
    tokio::time::timeout(PATIENCE, ask(address, method, path)).await.map_err(|_| AdminError::Slow)?
}

async fn ask(address: SocketAddr, method: Method, path: &str) -> Result<(u16, Bytes), AdminError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("admin"));
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok((status, body))
}

/// Is Envoy serving, with nothing on its way in?
pub(crate) async fn settled(address: SocketAddr) -> Result<bool, AdminError> {
    let path = "/stats?filter=(listener_manager.(total_listeners_warming|workers_started|listener_create_success|listener_added|listener_modified)|cluster_manager.warming_clusters)$";
    let (_, text) = page(address, Method::GET, path).await?;
    let text = String::from_utf8_lossy(&text);
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    Ok(value("listener_manager.workers_started") == 1
        && value("listener_manager.total_listeners_warming") == 0
        && value("cluster_manager.warming_clusters") == 0
        && value("listener_manager.listener_create_success") >= value("listener_manager.listener_added"))
}
