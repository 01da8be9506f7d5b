//! A proxy's snapshot from the running mesh, and the health of endpoints as that proxy sees it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use smov_control::debug_client::{DebugClient, DebugError};
use smov_istio::explain::{ClusterSecurity, Explanation, Outcome};
use smov_istio::world::Role;
use smov_model::snapshot::Snapshot;
use smov_model::wire::ProxyRole;

use super::Asked;
use crate::cli::{Explain, Global};
use crate::failure::{Exit, Failure};
use crate::mesh::state::RunInfo;
use crate::text::{self, Language};

/// The caller whom people mean when they name none.
pub(crate) const DEFAULT_CALLER: &str = "api-gateway";
pub(crate) const DEFAULT_NAMESPACE: &str = "theater-msa";
/// A sidecar's admin port.
const ADMIN: u16 = 15000;
const PATIENCE: Duration = Duration::from_secs(2);

/// The debug APIs of the running control planes.
pub(super) fn control_planes(global: &Global, context: Option<&str>) -> Result<Vec<(String, DebugClient)>, Failure> {
    let info = RunInfo::of_running(&global.state_dir)?;
    let all = info.debug_sockets.into_iter().filter(|(cluster, _)| context.is_none_or(|wanted| wanted == cluster));
    let clients: Vec<_> = all.map(|(cluster, socket)| (cluster, DebugClient::new(socket))).collect();
    if clients.is_empty() {
        return Err(Failure::new(Exit::Usage, text::UNKNOWN_CONTEXT, &[&context.unwrap_or_default()]).hint(text::UNKNOWN_CONTEXT_HINT, &[]));
    }
    Ok(clients)
}

/// Whose proxy is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Pod, workload or `app` label of a sidecar's pod.
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    /// The ingress gateway instead.
    pub(crate) gateway: bool,
}

/// A connected proxy.
pub(crate) struct Found {
    /// The cluster of its control plane.
    pub(crate) cluster: String,
    pub(crate) client: DebugClient,
    pub(crate) snapshot: Snapshot,
    pub(crate) security: Vec<ClusterSecurity>,
}

impl Wanted<'_> {
    /// Asks the control planes one after the other; the names of others that would have done where nobody fits.
    pub(crate) async fn find(self, control_planes: Vec<(String, DebugClient)>) -> Result<Result<Found, Vec<String>>, DebugError> {
        let mut others = Vec::new();
        for (cluster, client) in control_planes {
            for proxy in client.syncz().await?.proxies {
                let fits = match (self.gateway, proxy.role) {
                    (true, ProxyRole::Gateway) => true,
                    (false, ProxyRole::Sidecar) => proxy.namespace.as_str() == self.namespace,
                    _ => false,
                };
                if !fits {
                    continue;
                }
                let Some(snapshot) = client.snapshot(&proxy.pod).await? else { continue };
                let workload = &snapshot.proxy;
                if self.gateway || workload.pod == self.name || workload.name == self.name || workload.app() == self.name {
                    let security = client.security(&proxy.pod).await?.unwrap_or_default();
                    return Ok(Ok(Found { cluster, client, snapshot, security }));
                }
                others.push(workload.name.clone());
            }
        }
        others.sort();
        others.dedup();
        Ok(Err(others))
    }
}

/// The snapshot of the caller's sidecar, or of the ingress gateway.
pub(super) async fn ask(global: &Global, explain: &Explain, language: Language) -> Result<Asked, Failure> {
    let name = explain.from.as_deref().unwrap_or(DEFAULT_CALLER);
    let wanted = Wanted { name, namespace: explain.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE), gateway: explain.gateway };
    match wanted.find(control_planes(global, explain.context.as_deref())?).await.map_err(|error| unreachable(&error))? {
        Ok(Found { cluster, snapshot, security, .. }) => {
            let workload = &snapshot.proxy;
            let from = language.line(text::FROM_POD, &[&workload.pod, &cluster, workload.namespace.as_str()]);
            let role = if explain.gateway { Role::Gateway } else { Role::Sidecar };
            let notes = vec![language.line(text::NOTE_COMPUTED, &[])];
            Ok(Asked { snapshot, role, from, source: "mesh", notes, pods_assumed: false, security, policies: Vec::new() })
        }
        Err(others) => {
            let (name, list) = (if explain.gateway { "cp-gateway" } else { name }, others.join(", "));
            let failure = Failure::new(Exit::Usage, text::EXPLAIN_NO_CALLER, &[&name]);
            Err(if list.is_empty() { failure } else { failure.hint(text::EXPLAIN_NO_CALLER_HINT, &[&list]) })
        }
    }
}

/// A question to a control plane that failed.
pub(super) fn unreachable(error: &DebugError) -> Failure {
    Failure::new(Exit::Unreachable, text::UNREACHABLE, &[error]).hint(text::NOT_RUNNING_HINT, &[])
}

#[derive(Deserialize)]
struct ClusterHealth {
    name: String,
    endpoints: Vec<EndpointHealth>,
}

#[derive(Deserialize)]
struct EndpointHealth {
    address: SocketAddr,
    ejected: bool,
}

/// Adds what the caller's proxy knows of its endpoints. Where it does not say, nothing is added: unknown stays unknown.
pub(crate) async fn add_health(snapshot: &Snapshot, explanation: &mut Explanation) {
    let own = snapshot.peers.iter().find(|(_, workload)| workload.pod == snapshot.proxy.pod && workload.cluster == snapshot.proxy.cluster);
    let Some((address, _)) = own else { return };
    let Some(clusters) = clusters(*address).await else { return };
    let Outcome::Forward { odds } = &mut explanation.outcome else { return };
    for one in odds {
        let Some(health) = clusters.iter().find(|known| known.name == one.cluster.to_string()) else { continue };
        for candidate in one.endpoints.iter_mut().flatten() {
            candidate.ejected = health.endpoints.iter().find(|known| known.address == candidate.address).map(|known| known.ejected);
        }
    }
}

async fn clusters(address: IpAddr) -> Option<Vec<ClusterHealth>> {
    let uri = format!("http://{}/clusters", SocketAddr::new(address, ADMIN));
    let request = http::Request::get(uri).body(Full::<Bytes>::default()).ok()?;
    let answer = async {
        let response = crate::http::tcp_client().request(request).await.ok()?;
        response.into_body().collect().await.ok().map(|body| body.to_bytes())
    };
    let body = tokio::time::timeout(PATIENCE, answer).await.ok()??;
    serde_json::from_slice(&body).ok()
}
