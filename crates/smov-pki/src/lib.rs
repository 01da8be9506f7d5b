//! The mesh's certificates: a root, an intermediate per cluster, and the identities of workloads. No cryptography of its own: rcgen writes,
//! rustls checks.
//!
//! ```text
//! root (state folder, 10 years)
//!  ├─ intermediate of ctx1 ── Secret `cacerts` ─► istiod-ctx1 ─► spiffe://cluster.local/ns/…/sa/… (1 h)
//!  └─ intermediate of ctx2 ── Secret `cacerts` ─► istiod-ctx2 ─► …
//! ```
//!
//! Pure: texts in, texts out, time as an argument. Read first: [`Authority`], then [`Signer`].

#![warn(missing_docs)]

mod authority;
mod facts;
mod plugged_in;
mod signer;

pub use authority::{Authority, AuthorityError};
pub use plugged_in::PluggedIn;
pub use signer::{InvalidKey, PublicKey, Signed, Signer, SignerError};
