//! What control plane and proxies say to each other: one authenticated stream per proxy, frames of JSON with a length in front.
//!
//! Snapshots and questions go down, acknowledgements, counters and rows go up (ADR 2).

use serde::{Deserialize, Serialize};
use smov_telemetry::Span;

use crate::names::{KubeCluster, Namespace};
use crate::record::{EdgeCount, Record, Row};
use crate::snapshot::{Snapshot, SnapshotVersion};

/// The largest frame that either side accepts, in bytes.
pub const MAX_FRAME: usize = 32 << 20;

/// What kind of proxy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyRole {
    /// Beside an app.
    Sidecar,
    /// A gateway: traffic from outside the mesh.
    Gateway,
}

/// From a proxy to its control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum FromProxy {
    /// First frame of a stream: who is calling.
    Hello {
        /// The pod's service-account token; checked by TokenReview.
        token: String,
        /// The pod.
        pod: String,
        /// Its namespace.
        namespace: Namespace,
        /// Its cluster.
        cluster: KubeCluster,
        /// Sidecar or gateway.
        role: ProxyRole,
        /// The snapshot that it already runs on.
        have: Option<SnapshotVersion>,
    },
    /// This snapshot is in use.
    Ack {
        /// Which.
        version: SnapshotVersion,
    },
    /// This snapshot could not be used; the one before it stays.
    Nack {
        /// Which.
        version: SnapshotVersion,
        /// Why.
        reason: String,
    },
    /// A certificate for this key, please. The identity is that of the token in [`FromProxy::Hello`]; the key stays with the proxy.
    CertificateRequest {
        /// The public key: an uncompressed point of P-256, 65 bytes, in base64.
        public_key: String,
    },
    /// What happened since the last report.
    Report {
        /// Cumulative edge counters.
        edges: Vec<EdgeCount>,
        /// Rows, a uniform sample when there were too many.
        rows: Vec<Row>,
        /// How many requests the rows stand for.
        seen: u64,
        /// Spans of sampled requests; bounded by the proxy.
        #[serde(default)]
        spans: Vec<Span>,
    },
    /// The answer to [`ToProxy::RecordRequest`].
    RecordReply {
        /// The question's number.
        question: u64,
        /// All records of that request id at this proxy.
        records: Vec<Record>,
    },
}

/// From the control plane to a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ToProxy {
    /// Use this from the next request on.
    Snapshot {
        /// The whole snapshot.
        snapshot: Box<Snapshot>,
    },
    /// Which records do you have of this request?
    RecordRequest {
        /// Comes back with the answer.
        question: u64,
        /// `x-request-id`.
        request_id: String,
    },
    /// The answer to [`FromProxy::CertificateRequest`].
    Certificate {
        /// The proxy's certificate and those between it and a root, PEM.
        chain: String,
        /// Whom to trust, PEM; several while a root is being changed.
        roots: String,
        /// End of the certificate's validity, seconds since 1970.
        expires: u64,
    },
    /// There is no certificate; the proxy asks again later.
    CertificateRefused {
        /// Why.
        reason: String,
    },
    /// The stream is refused; the reason is for the proxy's log.
    Refused {
        /// Why.
        reason: String,
    },
}
