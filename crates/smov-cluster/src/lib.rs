//! A local Kubernetes-compatible cluster: API server, controllers, scheduler, kubelet.
//!
//! ```text
//!  kubectl, kube-rs ──TLS──► api ──┐
//!  controllers, scheduler, kubelet ┴──► registry ──► admission (given from outside)
//!                                          │  └────► SQLite
//!                                          └──► watches
//! ```
//!
//! Read `registry.rs` first: it is the one door to a cluster's objects. `cluster.rs` puts a
//! cluster together, `kinds.rs` says what it knows.

pub mod admission;
pub mod api;
pub mod cluster;
pub mod controllers;
pub(crate) mod definitions;
pub mod error;
pub mod identity;
pub mod kinds;
pub mod kubelet;
pub mod network;
pub mod quantity;
pub(crate) mod rbac;
pub mod registry;
pub mod scheduler;
mod schema;
