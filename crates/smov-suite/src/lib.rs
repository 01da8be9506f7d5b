//! Conformance cases as data, and the runner that plays them on a data plane.
//!
//! A case is a small world (services, pods with scripted behaviour), Istio YAML, requests, and what must come of them. The runner makes
//! Kubernetes objects of the world, compiles snapshots with the same pure functions that serve a mesh, starts the pods and the proxies
//! in its own process (or the real Envoy beside it), sends the requests and compares. No cluster is needed.
//!
//! ```text
//! DIR/**.yaml ─load─► Case ─stage─► World ─► Snapshot ─► plane (built-in | Envoy)
//!                      │                                   │
//!                      └─────── requests ─► client ────────┘─► judge ─► Report ─► text, JSON, JUnit
//! ```
//!
//! `smov test DIR` runs it for people; `tests/suite.rs` runs the cases of this repository. Read first: [`case`], then [`play`].

#![warn(missing_docs)]

pub mod case;
mod certify;
pub mod chance;
mod client;
mod ground;
mod judge;
pub mod junit;
pub mod load;
pub mod plane;
pub mod play;
pub mod report;
mod stage;

pub use case::Case;
pub use load::{Cases, LoadError, load};
pub use plane::PlaneName;
pub use play::{Options, run};
pub use report::{CaseReport, Outcome, Report};

/// A sentence for people, in both languages.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Both {
    /// Korean.
    pub ko: String,
    /// English.
    pub en: String,
}

impl Both {
    /// A sentence in both languages.
    pub fn new(ko: impl Into<String>, en: impl Into<String>) -> Self {
        Self { ko: ko.into(), en: en.into() }
    }
}
