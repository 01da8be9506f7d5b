//! The sidecar and ingress data plane.
//!
//! A [`Proxy`] stands beside an app (sidecar) or at the edge (gateway). It gets one [`Snapshot`](smov_model::snapshot::Snapshot) after
//! another from its control plane and serves every request on exactly one of them. The decisions (which rule, which arm, which endpoint,
//! eject or not) are pure functions of `smov-model`; here is the deed: sockets, pools, timers, bytes, books.
//!
//! ```text
//!            ┌─ outbound door (15001), TCP doors (16000+) ─► split ─► endpoint's sidecar
//!  app ──────┤
//!            └─ unix socket ◄─ inbound ports ◄──────────────────────── peers' sidecars
//! ```
//!
//! One request outbound, phase by phase; the words are also function names, tracing events and [`Phase`](smov_model::record::Phase):
//!
//! | # | outbound | file | decides / does |
//! |---|---|---|---|
//! | 1 | accept | `listener.rs`, `outbound.rs` | connection in, request in one form |
//! | 2 | pin | `snapshot.rs` | one snapshot for this request |
//! | 3 | route | `outbound.rs`, model `route` | Host → virtual host → **first** rule, or `NR` 404 |
//! | 4 | split | `outbound.rs`, model `split` | dice → arm → cluster |
//! | 5 | fault | `outbound/fault.rs`, `outbound/cors.rs` | delay and abort (`DI`, `FI`), then CORS |
//! | 6 | attempt | `outbound/attempt.rs`, `outbound/mirror.rs` | copies for mirrors, timeouts and retries (`UT`, `URX`) |
//! | 7 | limit | `limits.rs` | a permit, or `UO` 503 |
//! | 8 | balance | `balance.rs`, `cluster/`, model `balance`, `hash`, `priority`, `outlier` | a healthy endpoint, or `UH` 503 |
//! | 9 | connect | `upstream.rs`, `pool.rs`, `tls/connect.rs` | a connection, secured as the cluster demands (`UF`) |
//! | 10 | observe | `exchange.rs`, `telemetry.rs` | ejection, metrics, record, log |
//!
//! Inbound: accept (`tls/accept.rs`: is it TLS, and whose?) → peer → authorize → forward → observe, in `inbound.rs`. Ingress is the outbound walk over a gateway's routes.
//!
//! Time is tokio's, chance is [`Dice`](smov_model::dice::Dice): with a seed, a run can be repeated draw by draw. Each worker is one thread
//! with its own runtime, connections and pool; what workers share is in `worker.rs`.
//!
//! Read first: `outbound.rs`.

#![warn(missing_docs)]

mod admin;
mod authorize;
mod balance;
mod body;
mod calendar;
mod cluster;
pub mod config;
mod control_client;
mod discovery;
mod error;
mod exchange;
mod headers;
mod inbound;
mod limits;
mod listener;
mod names;
mod outbound;
mod path;
mod pool;
mod proxy;
mod snapshot;
mod tcp;
mod telemetry;
mod tls;
mod upstream;
mod worker;

pub use config::{ConfigError, ProxyConfig};
pub use control_client::{Steered, steer};
pub use path::normalize as normalize_path;
pub use proxy::{BindError, Bound, Handle, Proxy, RandomDice, dice_for};
pub use telemetry::counters::{Counters, ServedConnection, ServedRequest};
pub use tls::{Certificates, IssuedPem, UnusableCertificate};
