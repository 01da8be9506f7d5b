//! The link between two clouds: a relay that every connection from one cluster to the other passes.
//!
//! It carries bytes as they are and knows nothing of what they mean. What it adds is what a line between two clouds adds: time, and
//! trouble. Both can be changed while connections are open.
//!
//! ```text
//! client ─► listener (the address "through the link") ─► delay line ─► target (the pod's own address)
//!        ◄───────────────────────────────────────────── delay line ◄─
//! ```
//!
//! The target sees the client's address, not the relay's: the relay dials from it. On a cut line nothing listens, so that a client is
//! refused at once; on a stalled one connections stay open and nothing moves.
//!
//! Read first: [`Link`], then `line`.

#![warn(missing_docs)]

mod connection;
mod line;
mod listeners;
mod settings;

pub use listeners::{Figures, Link, Routes, Trouble};
pub use settings::{InvalidSettings, Settings, State};
