//! The istiod role: watch API servers, compile, publish snapshots to proxies, and answer what happened.
//!
//! ```text
//! API server (own)  ──► sources ─┐                       ┌─► stream of proxy 1
//! API server (other) ─► sources ─┼─► publisher ─watch──► ├─► stream of proxy 2   (unix socket, one per pod)
//! remote Secrets ─────► remotes ─┘   owns the World      └─► …
//! Secret cacerts ─────► ca ──────── certificates ──────────►
//!                                                             │ acks, rows, counters, records
//! console, CLI, kubelet ◄── debug API (HTTP, unix socket) ◄── proxies
//! ```
//!
//! Only the publisher changes the world, and it compiles once per burst of events; whatever is slow or broken on either side keeps
//! what it has: a source its objects, a proxy its last snapshot. Read first: [`run`], then `publisher.rs`.

#![warn(missing_docs)]

pub mod api_server;
mod ca;
mod clock;
mod config;
mod debug;
pub mod debug_client;
mod frame;
mod listen;
mod metrics;
mod otlp;
mod proxies;
mod publisher;
mod remotes;
mod rows;
mod run;
pub mod source;
pub mod status;
mod token;
pub mod traces;
mod wire_server;

pub use api_server::ApiServerError;
pub use config::{ConfigError, ControlConfig};
pub use listen::ListenError;
pub use run::{RunError, run};
