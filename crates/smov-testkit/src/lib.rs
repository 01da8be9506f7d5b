//! Helpers for tests: tools of the machine, a started smov, HTTP clients, statistics.

pub mod http;
pub mod mesh;
pub mod statistics;
pub mod tools;
