//! A pod that is ready is not yet a pod that gets requests: its address first reaches both control planes, and from them every proxy. "Ready" is said
//! after that, so that the first request of a user is not the one that meets no healthy upstream.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use smov_cluster::kinds::{POD, SERVICE};
use smov_cluster::registry::{Object, Registry, Selector};
use smov_control::debug_client::DebugClient;

use super::baseline::LocalCluster;
use super::summary::pod_is_ready;

/// Rules of the user may hide a pod from a proxy for good, so this is not waited for without end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits until all proxies of both clusters lead to every ready pod of a Service.
pub(crate) async fn wait_until_known(registries: &[(LocalCluster, Registry)], istiods: &[(String, PathBuf)]) {
    let addresses: Vec<IpAddr> = registries.iter().flat_map(|(_, registry)| served_addresses(registry)).collect();
    let clients: Vec<DebugClient> = istiods.iter().map(|(_, socket)| DebugClient::new(socket.clone())).collect();
    let questions = clients.iter().flat_map(|client| addresses.iter().map(|address| client.endpoint_known(*address)));
    match tokio::time::timeout(PATIENCE, join_all(questions)).await {
        Ok(answers) => {
            for error in answers.into_iter().filter_map(Result::err) {
                tracing::debug!(%error, "a control plane did not say whether an endpoint is known");
            }
        }
        Err(_) => tracing::debug!("not every proxy leads to every pod"),
    }
}

/// Addresses of the ready pods in the mesh that a Service selects.
fn served_addresses(registry: &Registry) -> Vec<IpAddr> {
    let list = |kind| registry.list(kind, None, &Selector::default()).0;
    let services = list(&SERVICE);
    let served = |pod: &Object| services.iter().any(|service| selects(service, pod));
    list(&POD)
        .iter()
        .filter(|pod| pod_is_ready(pod) && has_sidecar(pod) && served(pod))
        .filter_map(|pod| pod["status"]["podIP"].as_str()?.parse().ok())
        .collect()
}

fn has_sidecar(pod: &Value) -> bool {
    pod["spec"]["containers"].as_array().is_some_and(|containers| containers.iter().any(|container| container["name"] == "istio-proxy"))
}

fn selects(service: &Value, pod: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty());
    service["metadata"]["namespace"] == pod["metadata"]["namespace"]
        && selector.is_some_and(|labels| labels.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
}
