//! Nodes: registered with what this machine has, and a heartbeat that keeps them `Ready`.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::NodeConfig;
use super::limits::{HEARTBEAT, PODS_PER_NODE};
use crate::controllers::fields::{items, now_text, set_condition};
use crate::error::ApiError;
use crate::kinds::NODE;
use crate::registry::Registry;

/// Creates or refreshes a node; labels that a user added stay.
pub(super) fn register(registry: &Registry, node: &NodeConfig, cluster: &str) -> Result<(), ApiError> {
    let mut labels = node.labels.clone();
    for (key, value) in [("kubernetes.io/hostname", node.name.as_str()), ("kubernetes.io/os", os()), ("kubernetes.io/arch", architecture())]
    {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let fresh = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"providerID": format!("smov://{cluster}/{}", node.name)},
        "status": {},
    });
    match registry.create(fresh, &super::writer()) {
        Ok(_) => {}
        Err(error) if error.is_already_exists() => {}
        Err(error) => return Err(error),
    }
    registry
        .modify(&NODE, "", &node.name, &super::writer(), |object| {
            for (key, value) in &labels {
                object["metadata"]["labels"][key.as_str()] = json!(value);
            }
            let mut status = facts(node);
            status["conditions"] = json!(ready(&object["status"]));
            object["status"] = status;
            Ok(())
        })
        .map(drop)
}

/// Renews the heartbeat until shutdown.
pub(super) async fn beat(registry: Registry, nodes: Vec<NodeConfig>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(HEARTBEAT) => {}
            () = shutdown.cancelled() => return,
        }
        for node in &nodes {
            let renewed = registry.find(&NODE, "", &node.name).map(|object| {
                let mut status = object["status"].clone();
                status["conditions"] = json!(ready(&status));
                let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name}, "status": status});
                registry.update_status(object, &super::writer())
            });
            if let Some(Err(error)) = renewed {
                warn!(node = node.name, error = error.message, "heartbeat not written");
            }
        }
    }
}

fn ready(status: &Value) -> Vec<Value> {
    let now = now_text();
    let mut conditions = items(status, "/conditions").to_vec();
    set_condition(
        &mut conditions,
        json!({
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        }),
    );
    conditions
}

fn facts(node: &NodeConfig) -> Value {
    let mut capacity = json!({"pods": PODS_PER_NODE.to_string()});
    if let Ok(cores) = std::thread::available_parallelism() {
        capacity["cpu"] = json!(cores.to_string());
    }
    if let Some(memory) = memory() {
        capacity["memory"] = json!(memory);
    }
    json!({
        "addresses": [{"type": "InternalIP", "address": node.address.to_string()}, {"type": "Hostname", "address": node.name}],
        "capacity": capacity,
        "allocatable": capacity,
        "nodeInfo": {
            "architecture": architecture(),
            "operatingSystem": os(),
            "osImage": format!("smov {} (pods are processes)", env!("CARGO_PKG_VERSION")),
            "kernelVersion": read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            "machineID": read("/etc/machine-id").unwrap_or_default(),
            "bootID": read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            "systemUUID": "",
            "containerRuntimeVersion": format!("smov://{}", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": format!("v1.34.0+smov{}", env!("CARGO_PKG_VERSION")),
            "kubeProxyVersion": "",
        },
    })
}

/// The machine's memory as a Kubernetes quantity, where the system tells it.
fn memory() -> Option<String> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    Some(format!("{}Ki", line.split_whitespace().nth(1)?))
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn os() -> &'static str {
    if std::env::consts::OS == "macos" { "darwin" } else { std::env::consts::OS }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
