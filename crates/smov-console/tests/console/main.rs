//! The console from outside: hub, router, load runner and follower, with fake ports and a paused clock.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which may unwrap as tests do")]

mod fakes;
mod follow;
mod hub;
mod inspect;
mod load;
mod replay;
mod router;
mod rules;
mod workloads;
