//! The controllers: each watches, compares what is wanted with what is, and writes the difference through the registry.
//!
//! ```text
//!  Deployment ─► ReplicaSet ─► Pod ─► (scheduler, kubelet) ─► status ─┐
//!                    ▲                                               │
//!                    └────────────── EndpointSlice ◄─────────────────┘
//! ```
//! One task per controller, one writer per kind: no two controllers write the same field. Read [`driver`] first.

mod deployment;
mod disruption;
pub(crate) mod driver;
mod endpoints;
pub(crate) mod fields;
mod garbage;
mod namespaces;
mod old_endpoints;
mod replica_set;
mod rollout;
mod root_certificate;
mod service_accounts;
pub mod token_secrets;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::registry::{Registry, WriteOptions};

/// Runs all controllers of one cluster until shutdown; returns when the last has ended.
pub async fn run(registry: Registry, shutdown: CancellationToken) {
    let mut tasks = JoinSet::new();
    tasks.spawn(service_accounts::run(registry.clone(), shutdown.clone()));
    tasks.spawn(deployment::run(registry.clone(), shutdown.clone()));
    tasks.spawn(replica_set::run(registry.clone(), shutdown.clone()));
    tasks.spawn(endpoints::run(registry.clone(), shutdown.clone()));
    tasks.spawn(disruption::run(registry.clone(), shutdown.clone()));
    tasks.spawn(garbage::run(registry.clone(), shutdown.clone()));
    tasks.spawn(old_endpoints::run(registry.clone(), shutdown.clone()));
    tasks.spawn(root_certificate::run(registry.clone(), shutdown.clone()));
    tasks.spawn(crate::rbac::aggregate_roles(registry.clone(), shutdown.clone()));
    tasks.spawn(namespaces::run(registry, shutdown));
    while tasks.join_next().await.is_some() {}
}

/// How a controller of this name writes.
pub(crate) fn writer(controller: &str) -> WriteOptions {
    WriteOptions {
        user: format!("system:serviceaccount:kube-system:{controller}"),
        field_manager: "kube-controller-manager".to_owned(),
        ..WriteOptions::default()
    }
}
