//! The real Envoy, run by snapshots. Skipped, saying so, where there is none (SMOV_REQUIRE=envoy makes that a failure).

#![allow(clippy::unwrap_used, unreachable_pub, reason = "helpers of tests are tests")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/everything.rs"]
mod everything;
#[path = "support/mesh.rs"]
mod mesh;
#[path = "support/policies.rs"]
mod policies;

#[path = "envoy/changes.rs"]
mod changes;
#[path = "envoy/doors.rs"]
mod doors;
#[path = "envoy/mutual_tls.rs"]
mod mutual_tls;
#[path = "envoy/records.rs"]
mod records;
#[path = "envoy/validate.rs"]
mod validate;
