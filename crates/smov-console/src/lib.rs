//! The web page and its JSON and SSE API.
//!
//! The same router is served by the api-gateway pod (behind cp-gateway) and by `smov up` itself (the operator door, through no proxy).
//! What it shows comes in through [`Live`]; what it does goes out through ports: [`ports::Ingress`], [`ports::Baseline`],
//! [`ports::Records`].
//!
//! ```text
//! gateway app ─relayed─► Live ─events─► browsers        browsers ─POST─► guard ─► load runner ─Ingress─► cp-gateway
//! watches ──set_configured, set_pods, set_mesh─┘                               └► Baseline (reset)
//! ```
//!
//! Read first: [`live`], then [`routes`].

pub mod assets;
pub mod clock;
pub mod follow;
pub mod glossary;
pub mod guard;
pub mod interval;
mod latency;
pub mod live;
pub mod load;
pub mod ports;
pub mod problem;
pub mod routes;
pub mod series;
pub mod service;
pub mod traces;
pub mod verdict;
pub mod view;

pub use clock::{Clock, system_clock};
pub use live::{Live, LiveConfig};
pub use routes::{Console, router};
pub use service::ServiceId;
pub use view::request::{Relayed, Why};
