//! The real Envoy as a data plane, run by the same snapshots as the built-in proxy.
//!
//! ```text
//!   control plane ──Snapshot──► agent ──xDS over HTTP──► Envoy ──access log──► agent ──records, rows, edges──► control plane
//!                                      (one unix socket)        (a pipe)
//! ```
//!
//! [`config`] is pure: a snapshot in Envoy's words, as Istio's control plane would write it. [`Envoy`] runs one process and brings it from
//! snapshot to snapshot without a restart; what Envoy refuses comes back as [`Rejected`] with Envoy's reason, and the last good
//! configuration stays. Envoy keeps no records, so they are put together from its log; what the log does not say is worked out with the
//! model's own functions and marked as computed.

#![warn(missing_docs)]

mod admin;
pub mod agent;
mod books;
pub mod config;
mod log;
mod process;
mod record;
mod running;
mod xds;

pub use process::{BINARY_VARIABLE, find_binary};
pub use running::{End, Envoy, EnvoyConfig, Rejected, Running, StartError};
