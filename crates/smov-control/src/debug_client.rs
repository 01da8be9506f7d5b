//! A client of a control plane's debug socket, for the console and the CLI.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use smov_istio::diagnostic::Diagnostic;
use smov_istio::explain::ClusterSecurity;
use smov_model::record::Record;
use smov_model::snapshot::Snapshot;
use tokio::net::UnixStream;

use crate::status::{Distributed, EndpointGone, EndpointKnown, PodEdge, RowEvent, Syncz, WhatIf};
use crate::traces::{TraceParts, TraceSummary};

/// How long a whole answer may take; over the 5 s of `/debug/endpoint-gone` and `/debug/endpoint-known`.
const PATIENCE: Duration = Duration::from_secs(7);
/// A stream of rows is taken for broken after this silence; the server says something every 15 s.
const SILENCE: Duration = Duration::from_secs(40);
/// Pauses between attempts to open the stream of rows again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// The largest event that is read.
const MAX_EVENT: usize = 32 << 20;

/// A control plane's debug API. Cheap to clone; opens a connection per question.
#[derive(Debug, Clone)]
pub struct DebugClient {
    socket: Arc<Path>,
}

/// A question that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// Nobody listens: the istiod pod is not running.
    #[error("the control plane's socket `{socket}` does not answer", socket = socket.display())]
    Away {
        /// Where.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The conversation broke.
    #[error("the control plane's answer broke off")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("the control plane did not answer within {PATIENCE:?}")]
    Timeout,
    /// It answered something else.
    #[error("the control plane answered {status}: {text}")]
    Status {
        /// With this.
        status: StatusCode,
        /// And this text.
        text: String,
    },
    /// Its answer cannot be read.
    #[error("the control plane's answer cannot be read")]
    Json(#[from] serde_json::Error),
}

impl DebugClient {
    /// A client of the socket; opens nothing yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into().into() }
    }

    /// Counters of all edges.
    pub async fn edges(&self) -> Result<Vec<PodEdge>, DebugError> {
        self.ask("/debug/edges").await
    }

    /// The newest traces first, as far as this cluster has told them.
    pub async fn traces(&self) -> Result<Vec<TraceSummary>, DebugError> {
        self.ask("/debug/traces?limit=512").await
    }

    /// What this cluster has told of a trace.
    pub async fn trace(&self, id: &str) -> Result<Option<TraceParts>, DebugError> {
        match self.ask(&format!("/debug/traces/{}", escape(id))).await {
            Ok(parts) => Ok(Some(parts)),
            Err(DebugError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All proxies' records of a request id, oldest first.
    pub async fn requests(&self, request_id: &str) -> Result<Vec<Record>, DebugError> {
        self.ask(&format!("/debug/requests/{}", escape(request_id))).await
    }

    /// Who runs on what, and how the sources are.
    pub async fn syncz(&self) -> Result<Syncz, DebugError> {
        self.ask("/debug/syncz").await
    }

    /// What is wrong with the configuration.
    pub async fn diagnostics(&self) -> Result<Vec<Diagnostic>, DebugError> {
        self.ask("/debug/diagnostics").await
    }

    /// What the proxy of a pod was sent last; `None` when it is not connected.
    pub async fn snapshot(&self, pod: &str) -> Result<Option<Snapshot>, DebugError> {
        match self.ask(&format!("/debug/snapshot/{}", escape(pod))).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(DebugError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the connections of a pod's proxy are secured, and which lines decide it; `None` when it is not connected.
    pub async fn security(&self, pod: &str) -> Result<Option<Vec<ClusterSecurity>>, DebugError> {
        match self.ask(&format!("/debug/security/{}", escape(pod))).await {
            Ok(security) => Ok(Some(security)),
            Err(DebugError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the proxy of a pod would get if these objects of its cluster were applied; `None` when it is not connected.
    pub async fn what_if(&self, pod: &str, objects: &[serde_json::Value]) -> Result<Option<WhatIf>, DebugError> {
        let body = Bytes::from(serde_json::to_vec(objects)?);
        let request = Request::post(format!("/debug/what-if/{}", escape(pod)))
            .header(http::header::HOST, "istiod")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the path is escaped");
        match self.whole(request).await? {
            (StatusCode::OK, body) => Ok(Some(serde_json::from_slice(&body)?)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(unexpected(status, &body)),
        }
    }

    /// Waits until no connected proxy leads to the pod's address any more; `false` when that takes over 5 s.
    pub async fn endpoint_gone(&self, address: std::net::IpAddr) -> Result<bool, DebugError> {
        self.gone(&address.to_string()).await
    }

    /// As [`Self::endpoint_gone`], for systems where pods share an address.
    pub async fn endpoint_gone_at(&self, address: SocketAddr) -> Result<bool, DebugError> {
        self.gone(&address.to_string()).await
    }

    async fn gone(&self, address: &str) -> Result<bool, DebugError> {
        Ok(self.endpoint::<EndpointGone>("gone", address).await?.gone)
    }

    /// Waits until every connected proxy leads to the pod's address; `false` when that takes over 5 s.
    pub async fn endpoint_known(&self, address: std::net::IpAddr) -> Result<bool, DebugError> {
        Ok(self.endpoint::<EndpointKnown>("known", &address.to_string()).await?.known)
    }

    async fn endpoint<T: DeserializeOwned>(&self, what: &str, address: &str) -> Result<T, DebugError> {
        let (status, body) = self.get(&format!("/debug/endpoint-{what}?address={}", escape(address))).await?;
        match status {
            StatusCode::OK | StatusCode::GATEWAY_TIMEOUT => Ok(serde_json::from_slice(&body)?),
            status => Err(unexpected(status, &body)),
        }
    }

    /// Waits until every connected proxy runs on this version of a resource of the own cluster; `distributed` is false when that takes
    /// longer than `patience` (at most 5 s).
    pub async fn distributed(&self, kind: &str, resource_version: u64, patience: Duration) -> Result<Distributed, DebugError> {
        let (status, body) = self
            .get(&format!("/debug/distributed?kind={kind}&resourceVersion={resource_version}&patience={}", patience.as_millis()))
            .await?;
        match status {
            StatusCode::OK | StatusCode::GATEWAY_TIMEOUT => Ok(serde_json::from_slice(&body)?),
            status => Err(unexpected(status, &body)),
        }
    }

    /// Has the control plane read everything once?
    pub async fn ready(&self) -> Result<bool, DebugError> {
        Ok(self.get("/readyz").await?.0 == StatusCode::OK)
    }

    /// All rows from now on. The stream opens itself again for ever; ask it with [`Rows::next`].
    pub fn rows(&self) -> Rows {
        Rows { client: self.clone(), body: None, text: Vec::new(), pause: FIRST_PAUSE, waits: false }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, DebugError> {
        let (status, body) = self.get(path).await?;
        if status == StatusCode::OK { Ok(serde_json::from_slice(&body)?) } else { Err(unexpected(status, &body)) }
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), DebugError> {
        self.whole(question(path)).await
    }

    async fn whole(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), DebugError> {
        let whole = async {
            let response = self.send(request).await?;
            Ok((response.status(), response.into_body().collect().await?.to_bytes()))
        };
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or(Err(DebugError::Timeout))
    }

    async fn open(&self, path: &str) -> Result<Response<Incoming>, DebugError> {
        self.send(question(path)).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, DebugError> {
        let away = |source| DebugError::Away { socket: self.socket.to_path_buf(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(away)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the answer's body, or when that is dropped.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

fn question(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header(http::header::HOST, "istiod").body(Full::default()).expect("the path is escaped")
}

fn unexpected(status: StatusCode, body: &[u8]) -> DebugError {
    DebugError::Status { status, text: String::from_utf8_lossy(body).trim().chars().take(300).collect() }
}

/// Percent-encodes all but letters, digits and `-._~`.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// The stream of rows.
pub struct Rows {
    client: DebugClient,
    body: Option<Incoming>,
    /// Read and not yet taken apart.
    text: Vec<u8>,
    pause: Duration,
    /// The next attempt to open waits for the pause first.
    waits: bool,
}

impl Rows {
    /// The next event. Cancel-safe: what was read is kept for the next call.
    pub async fn next(&mut self) -> RowEvent {
        loop {
            if let Some(event) = self.take_event() {
                return event;
            }
            let Some(body) = &mut self.body else {
                if std::mem::take(&mut self.waits) {
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LAST_PAUSE);
                }
                match tokio::time::timeout(PATIENCE, self.client.open("/debug/rows")).await {
                    Ok(Ok(response)) if response.status() == StatusCode::OK => self.body = Some(response.into_body()),
                    Ok(Ok(response)) => return self.lost(format!("the control plane answered {}", response.status())),
                    Ok(Err(error)) => return self.lost(error.to_string()),
                    Err(_) => return self.lost(DebugError::Timeout.to_string()),
                }
                continue;
            };
            match tokio::time::timeout(SILENCE, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.text.extend_from_slice(&data);
                    }
                    if self.text.len() > MAX_EVENT {
                        return self.lost("an event is too large".to_owned());
                    }
                }
                Ok(Some(Err(error))) => return self.lost(error.to_string()),
                Ok(None) => return self.lost("the control plane ended the stream".to_owned()),
                Err(_) => return self.lost("the control plane has gone silent".to_owned()),
            }
        }
    }

    fn lost(&mut self, reason: String) -> RowEvent {
        self.body = None;
        self.text.clear();
        self.waits = true;
        RowEvent::Lost(reason)
    }

    /// Takes the first whole event out of what was read. Comments that only keep the stream alive are passed over.
    fn take_event(&mut self) -> Option<RowEvent> {
        loop {
            let end = self.text.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.text.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            match (field("event"), field("data")) {
                (Some("rows"), Some(data)) => match serde_json::from_str(data) {
                    Ok(rows) => return Some(RowEvent::Rows(rows)),
                    Err(error) => return Some(self.lost(error.to_string())),
                },
                (Some("dropped"), Some(count)) => return Some(RowEvent::Dropped(count.parse().unwrap_or(0))),
                _ if field("").is_some_and(|comment| comment == "open") => {
                    self.pause = FIRST_PAUSE;
                    return Some(RowEvent::Open);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_apart_wherever_the_reads_end() {
        let mut rows = DebugClient::new("nowhere").rows();
        rows.text = b": open\n\n: alive\n\nevent: dropped\ndata: 7\n\nevent: rows\nda".to_vec();
        assert_eq!(rows.take_event(), Some(RowEvent::Open));
        assert_eq!(rows.take_event(), Some(RowEvent::Dropped(7)));
        assert_eq!(rows.take_event(), None);
        rows.text.extend_from_slice(b"ta: []\n\n");
        assert_eq!(rows.take_event(), Some(RowEvent::Rows(Vec::new())));
    }

    #[tokio::test]
    async fn a_control_plane_that_is_away_is_named() {
        let error = DebugClient::new("/nowhere/debug.sock").syncz().await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/debug.sock"));
    }

    #[test]
    fn request_ids_are_escaped_in_paths() {
        assert_eq!(escape("a/b?c 1"), "a%2Fb%3Fc%201");
    }
}
