//! What every process of smov tells about itself, apps and proxies alike: what a tracing and a metrics library is to other programs.
//!
//! ```text
//! headers ─► context ─► span ─► otlp | zipkin (JSON) ─► export (a bounded queue, one sender)
//! /proc   ─► process ─► text (Prometheus)
//! ```
//!
//! Read [`context`] first: it says what is taken from a request's headers and what is written into them.

pub mod clock;
pub mod context;
#[cfg(feature = "export")]
pub mod export;
pub mod otlp;
pub mod process;
pub mod span;
pub mod text;
pub mod zipkin;

pub use clock::WallClock;
pub use context::{Incoming, SpanContext, SpanId, TraceId};
pub use span::{Emitter, Span, SpanKind};
