//! Connections that were not served, each with the reason: the caller sees a closed connection and no word.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use smov_model::record::RefusedConnection;
use tokio::time::Instant;
use tracing::warn;

use super::failure::{Failure, Kind};

/// Refusals remembered.
const REMEMBERED: usize = 100;
/// At most one line of the log in this time: whoever scans ports does not fill it.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// What TLS did on the inbound side: Envoy's `listener.ssl.*`.
#[derive(Debug, Default)]
pub(crate) struct ListenerTls {
    pub(crate) handshakes: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) failures: Failures,
    remembered: Mutex<Remembered>,
}

/// Failures by kind.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub(crate) no_certificate: AtomicU64,
    pub(crate) chain: AtomicU64,
    pub(crate) names: AtomicU64,
    pub(crate) connection: AtomicU64,
}

impl Failures {
    pub(crate) fn count(&self, kind: Kind) {
        let counter = match kind {
            Kind::NoCertificate => &self.no_certificate,
            Kind::Chain => &self.chain,
            Kind::Names => &self.names,
            Kind::Connection => &self.connection,
        };
        counter.fetch_add(1, Relaxed);
    }
}

#[derive(Debug, Default)]
struct Remembered {
    latest: VecDeque<RefusedConnection>,
    said: Option<Instant>,
    unsaid: u64,
}

/// A connection that was refused.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    /// Microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) proxy: &'a str,
    pub(crate) remote: SocketAddr,
    pub(crate) port: u16,
    pub(crate) server_name: Option<String>,
    pub(crate) failure: Failure,
}

impl ListenerTls {
    pub(crate) fn refuse(&self, refusal: Refusal<'_>) {
        self.failures.count(refusal.failure.kind);
        self.turn_away(refusal);
    }

    /// The same for one that a policy refuses: TLS did nothing wrong.
    pub(crate) fn turn_away(&self, refusal: Refusal<'_>) {
        let Refusal { at, proxy, remote, port, server_name, failure } = refusal;
        let mut remembered = self.remembered();
        if remembered.said.is_none_or(|said| said.elapsed() >= BETWEEN_LINES) {
            let unsaid = std::mem::take(&mut remembered.unsaid);
            warn!(%remote, port, reason = %failure.reason, unsaid, "connection refused");
            remembered.said = Some(Instant::now());
        } else {
            remembered.unsaid += 1;
        }
        if remembered.latest.len() == REMEMBERED {
            remembered.latest.pop_front();
        }
        let proxy = proxy.to_owned();
        remembered.latest.push_back(RefusedConnection { at, proxy, remote, port, server_name, reason: failure.reason });
    }

    /// The last ones, oldest first.
    pub(crate) fn refusals(&self) -> Vec<RefusedConnection> {
        self.remembered().latest.iter().cloned().collect()
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().expect("no panic while refusals are held")
    }
}
