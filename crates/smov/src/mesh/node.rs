//! The node of a local cluster: what its kubelet is told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::Value;
use smov_cluster::kubelet::limits::Limits;
use smov_cluster::kubelet::network::PodAddresses;
use smov_cluster::kubelet::{KubeletConfig, NodeConfig};

use super::drain::MeshDrain;
use super::images::Images;
use super::link;
use super::state::State;
use super::up::{Plan, Running};

/// Settings of the kubelet of one cluster.
pub(crate) fn config(state: &State, plan: &Plan, running: &Running, images: Images) -> KubeletConfig {
    let local = running.local;
    let address = Ipv4Addr::new(127, state.block(), 0, if local.name == "ctx1" { 1 } else { 2 });
    let name = format!("{}-node-1", local.name);
    let labels = [
        ("cluster-name", local.name),
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", std::env::consts::OS),
        ("topology.kubernetes.io/region", local.region),
        ("topology.kubernetes.io/zone", local.zone),
    ];
    let labels: BTreeMap<String, String> = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let addresses = PodAddresses::Own(running.cluster.config().pod_network.clone());
    let xds = Plan::istiod_socket(state, local.name, "xds");
    let debug = Plan::istiod_socket(state, local.name, "debug");
    let mut every = vec![("SMOV_CLUSTER_ID".to_owned(), local.name.to_owned()), ("SMOV_XDS_SOCKET".to_owned(), xds.display().to_string())];
    every.extend(plan.seed.map(|seed| ("SMOV_SEED".to_owned(), seed.to_string())));
    let otlp = Plan::istiod_socket(state, local.name, "otlp");
    let mut control = vec![
        ("SMOV_DEBUG_SOCKET".to_owned(), debug.display().to_string()),
        ("SMOV_OTLP_SOCKET".to_owned(), otlp.display().to_string()),
        ("SMOV_LINK_OFFSET".to_owned(), link::addresses().offset.to_string()),
    ];
    control.extend(plan.collectors.iter().map(|(variable, collector)| ((*variable).to_owned(), collector.to_string())));
    let shim = |more: &[&str]| {
        let parent = std::process::id().to_string();
        let words = ["shim", "--parent", &parent].into_iter().chain(more.iter().copied()).chain(["--"]);
        std::iter::once(plan.program.clone().into_os_string()).chain(words.map(Into::into)).collect()
    };
    KubeletConfig {
        cluster: local.name.to_owned(),
        nodes: vec![NodeConfig { name, labels, address: IpAddr::V4(address) }],
        state_dir: state.folder().to_owned(),
        runtime_dir: state.runtime().to_owned(),
        addresses,
        shim: shim(&[]),
        tty_shim: shim(&["--tty"]),
        images: Arc::new(images),
        drain: Arc::new(MeshDrain::new(
            super::baseline::CLUSTERS.iter().map(|local| Plan::istiod_socket(state, local.name, "debug")).collect(),
        )),
        credentials: Arc::new(running.cluster.clone()),
        extra_env: Arc::new(move |pod: &Value, _container: &Value| {
            let mut variables = every.clone();
            if pod["metadata"]["labels"]["app"] == "istiod" {
                variables.extend(control.iter().cloned());
            }
            variables
        }),
        limits: Limits::default(),
    }
}
