//! Istio and core resources: YAML to typed values, to diagnostics, to snapshots. Pure: no sockets, no clock, no dice.
//!
//! ```text
//! text ─yaml─► Document ─schema, validate─► diagnostics
//!                 │
//!                 ▼ (or a watch event)
//!               World ─Prepared─► Snapshot          what each proxy runs on
//!                 ├─────analyze─► diagnostics       what does not fit together
//!                 ├─────weights─► ConfiguredSplit   what the page shows as configured
//!                 └─────explain─► Explanation       why a request goes where it goes
//! ```
//!
//! Read first: [`world`], then [`compile`]. What the fields mean is Istio's own; differences are said at the type.

#![warn(missing_docs)]

pub mod analyze;
pub mod compile;
pub mod core;
pub mod diagnostic;
pub mod duration;
pub mod explain;
mod grpc;
pub mod hosts;
pub mod resource;
pub mod schema;
pub mod validate;
pub mod weights;
pub mod world;
pub mod yaml;
