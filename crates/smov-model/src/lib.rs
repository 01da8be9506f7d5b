//! Vocabulary, snapshot and pure decisions of the smov mesh.
//!
//! Three things live here and nothing else: the **words** (host names, clusters, rules, flags), the **snapshot** that tells one proxy
//! everything it needs, and the **decisions** that are pure functions over both (which rule, which split arm, which endpoint, eject or
//! not). There is no clock, no randomness, no socket and no YAML: time and dice are arguments, so that the proxy, `smov explain`, the
//! page and the labs get the same answer from the same function.
//!
//! ```text
//! Snapshot ─► RouteTable ─find─► RouteRule ─pick─► Destination ─► Cluster ─balance─► Endpoint
//! ```
//!
//! Read first: [`snapshot`], then [`route`].

#![warn(missing_docs)]

pub mod authorization;
pub mod balance;
pub mod cluster;
pub mod der;
pub mod dice;
pub mod flag;
pub mod hash;
pub mod link;
pub mod merge;
pub mod names;
pub mod outlier;
pub mod priority;
pub mod record;
pub mod route;
pub mod snapshot;
pub mod split;
pub mod telemetry;
pub mod template;
pub mod text;
pub mod tls;
pub mod wire;
pub mod workload;
