//! The whole system as one binary: `smov up` with its pods as processes, seen from outside by HTTP, by the Kubernetes API and by /proc.
//!
//! Meshes are started one after the other, each with a state folder, ports and addresses of its own, and each ends with no process left.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "mesh/api.rs"]
mod api;
#[path = "mesh/processes.rs"]
mod processes;
#[path = "mesh/theatre.rs"]
mod theatre;
#[path = "mesh/traffic.rs"]
mod traffic;

#[path = "mesh/booking.rs"]
mod booking;
#[path = "mesh/change.rs"]
mod change;
#[path = "mesh/configuration.rs"]
mod configuration;
#[path = "mesh/console.rs"]
mod console;
#[path = "mesh/deployments.rs"]
mod deployments;
#[path = "mesh/doors.rs"]
mod doors;
#[path = "mesh/envoy.rs"]
mod envoy;
#[path = "mesh/explain.rs"]
mod explain;
#[path = "mesh/forwards.rs"]
mod forwards;
#[path = "mesh/inspector.rs"]
mod inspector;
#[path = "mesh/kills.rs"]
mod kills;
#[path = "mesh/link.rs"]
mod link;
#[path = "mesh/observability.rs"]
mod observability;
#[path = "mesh/policies.rs"]
mod policies;
#[path = "mesh/programs.rs"]
mod programs;
#[path = "mesh/requests.rs"]
mod requests;
#[path = "mesh/rollout.rs"]
mod rollout;
#[path = "mesh/sample.rs"]
mod sample;
#[path = "mesh/scenarios.rs"]
mod scenarios;
#[path = "mesh/series.rs"]
mod series;
#[path = "mesh/splits.rs"]
mod splits;
