//! The theatre: user, movie and booking services, the API gateway, their stores.
//!
//! ```text
//! browser ─► gateway ─┬─► user-service ◄────┐
//!   (relay, observe)  ├─► movie-service ◄───┤ booking asks who and what
//!                     └─► booking-service ──┘
//!                          each ─► Store: Redis (one Lua script per change) or SQLite (one transaction)
//! ```
//!
//! Ordinary programs that know nothing of a mesh: they call each other by name through `http_proxy`, copy trace headers,
//! and sign every answer with who they are. Read [`service`] first, then [`store`], then [`gateway`].

pub mod client;
pub mod domain;
pub mod echo;
pub mod environment;
pub mod gateway;
pub mod identity;
mod metrics;
pub mod openapi;
pub mod problem;
pub mod serve;
pub mod service;
mod spans;
pub mod store;
pub mod switches;
mod trace_headers;

pub use environment::Environment;
pub use service::{RunError, ServiceName, run};
