//! Hosts that nobody knows: forwarded by name (`ALLOW_ANY`) or refused (`REGISTRY_ONLY`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use hyper::body::Incoming;
use smov_model::record::Phase;
use smov_model::snapshot::UnknownHosts;

use super::attempt::{Answer, Outgoing};
use super::{is_forbidden, split_port};
use crate::body::Upload;
use crate::cluster::{ClusterView, EndpointState};
use crate::discovery;
use crate::error::ProxyError;
use crate::exchange::Exchange;
use crate::names::ServiceId;
use crate::snapshot::View;
use crate::upstream::{self, Unanswered};

/// Envoy's and Istio's default for connects.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends the request to the host by its name, over a connection for itself.
pub(super) async fn forward(exchange: &mut Exchange, view: &View, port: u16, parts: Parts, body: Incoming) -> Result<Answer, ProxyError> {
    match view.snapshot.unknown_hosts {
        UnknownHosts::AllowAny => exchange.trace.service = ServiceId::PASSTHROUGH,
        UnknownHosts::RegistryOnly => {
            exchange.trace.service = ServiceId::BLACK_HOLE;
            return Err(ProxyError::BlackHole);
        }
    }
    let address = resolve(exchange, view, port).await?;
    exchange.mark(Phase::Connect);
    let mut lease = upstream::connect_once(&exchange.worker, address, CONNECT_TIMEOUT).await?;
    exchange.trace.secured_by(&lease);
    let upload = Upload::new(body, false);
    exchange.upload.clone_from(&upload);
    if let Some(log) = &mut exchange.trace.log {
        log.upstream_cluster = Some("PassthroughCluster".into());
        log.upstream_host = Some(address.to_string().into());
    }
    let request = Outgoing::plain(parts, upload).request();
    match upstream::send(&mut lease, request).await.map_err(Unanswered::of) {
        Ok(response) => Ok(Answer { response, lease, expiry: None }),
        Err(Unanswered::NotSent(_)) => Err(ProxyError::Closed { sent: false }),
        Err(Unanswered::Broken(error)) => Err(error),
    }
}

/// The endpoint that the client dialled, for a cluster without endpoints of its own; `None` where the snapshot lists some and the client
/// named no address: any of them is what it dialled.
pub(super) async fn original(
    exchange: &Exchange,
    view: &View,
    cluster: &ClusterView,
    port: u16,
) -> Result<Option<Arc<EndpointState>>, ProxyError> {
    let (name, _) = split_port(exchange.trace.authority.to_str().unwrap_or_default());
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if !is_address && !cluster.endpoints.is_empty() {
        return Ok(None);
    }
    let address = resolve(exchange, view, port).await?;
    let own = &view.snapshot.proxy;
    Ok(Some(cluster.dialled.endpoint(address, || discovery::stranger(&cluster.state.name.host, own))))
}

/// The host's first address that may be called.
async fn resolve(exchange: &Exchange, view: &View, port: u16) -> Result<SocketAddr, ProxyError> {
    let (name, _) = split_port(exchange.trace.authority.to_str().unwrap_or_default());
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let addresses: Vec<SocketAddr> = match name.parse() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => tokio::net::lookup_host((name, port)).await.map_err(|_| ProxyError::UnknownName)?.collect(),
    };
    let first = *addresses.first().ok_or(ProxyError::UnknownName)?;
    if addresses.iter().any(|address| is_forbidden(exchange, view, *address)) {
        return Err(ProxyError::Forbidden(
            "this address belongs to the mesh itself (a proxy's door, an API server or a control socket): refused",
        ));
    }
    Ok(first)
}
