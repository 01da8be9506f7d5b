//! The theatre from outside: services and gateway over real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a failed step ends its test, and calls read better with values in place"
)]

mod echo;
mod gateway;
mod house;
mod services;
mod switches;
