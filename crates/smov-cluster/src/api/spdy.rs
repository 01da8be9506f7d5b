//! SPDY/3.1, the server's half: what `kubectl port-forward` speaks, inside a WebSocket or by itself.
//!
//! [`frame`] turns bytes into frames and back, [`headers`] has their blocks of names and values, [`zlib`] the zlib streams that those travel in, and
//! [`connection`] the streams of one connection. <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>

mod connection;
mod dictionary;
mod frame;
mod headers;
mod zlib;

pub(super) use connection::{Input, Output, Stream, converse};

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Broken {
    /// A frame that is not as the protocol has it.
    #[error("SPDY frame: {0}")]
    Frame(&'static str),
    /// The compressed headers cannot be read; those of all later frames would not make sense either.
    #[error("SPDY headers: {0}")]
    Headers(&'static str),
}
