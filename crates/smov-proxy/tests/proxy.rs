//! Proxies in one process, with real sockets and real bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/mesh.rs"]
mod support;

#[path = "proxy/answers.rs"]
mod answers;
#[path = "proxy/authorization.rs"]
mod authorization;
#[path = "proxy/balancing.rs"]
mod balancing;
#[path = "proxy/books.rs"]
mod books;
#[path = "proxy/control.rs"]
mod control;
#[path = "proxy/cors.rs"]
mod cors;
#[path = "proxy/discovery.rs"]
mod discovery;
#[path = "proxy/ejection.rs"]
mod ejection;
#[path = "proxy/framing.rs"]
mod framing;
#[path = "proxy/mirrors.rs"]
mod mirrors;
#[path = "proxy/races.rs"]
mod races;
#[path = "proxy/refusals.rs"]
mod refusals;
#[path = "proxy/resilience.rs"]
mod resilience;
#[path = "proxy/retries.rs"]
mod retries;
#[path = "proxy/routing.rs"]
mod routing;
#[path = "proxy/tcp.rs"]
mod tcp;
#[path = "proxy/tls.rs"]
mod tls;
#[path = "proxy/tls_certificates.rs"]
mod tls_certificates;
#[path = "proxy/tls_drain.rs"]
mod tls_drain;
#[path = "proxy/tls_refusals.rs"]
mod tls_refusals;
#[path = "proxy/tls_tcp.rs"]
mod tls_tcp;
