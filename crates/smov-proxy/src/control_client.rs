//! The stream to the control plane: snapshots and questions come down, acknowledgements, reports and records go up. While the control
//! plane is away, the last snapshot stays in use.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use smov_model::record::{EdgeCount, Record, Row};
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_model::wire::{FromProxy, MAX_FRAME, ToProxy};
use smov_telemetry::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::config::{ControlAddress, ProxyConfig};
use crate::tls::{Certificates, UnusableCertificate};
use crate::worker::Shared;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Counters and rows go up this often, when there is something new.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Frames that wait to be written; a full queue holds the reader back.
const QUEUE: usize = 64;

/// A stream that ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes is over the limit")]
    TooLarge(usize),
    #[error("a frame could not be read or written")]
    Frame(#[from] serde_json::Error),
    #[error(transparent)]
    Certificate(#[from] UnusableCertificate),
    #[error("the control plane refuses this proxy: {0}")]
    Refused(String),
}

/// What a control plane steers, and what it asks: our own proxy, or the agent of another one.
pub trait Steered: Send + Sync + 'static {
    /// The pod and its role.
    fn config(&self) -> &ProxyConfig;

    /// The snapshot in use.
    fn version(&self) -> Option<SnapshotVersion>;

    /// Brings a snapshot into use; the reason when that cannot be, and then the one before it stays.
    fn take(&self, snapshot: Snapshot) -> impl Future<Output = Result<(), String>> + Send;

    /// Cumulative edges, and the rows since the last call with the number of requests that they stand for.
    fn report(&self) -> (Vec<EdgeCount>, Vec<Row>, u64);

    /// The spans of the sampled requests since the last call.
    fn spans(&self) -> Vec<Span> {
        Vec::new()
    }

    /// The remembered records of a request id.
    fn records(&self, request_id: &str) -> Vec<Record>;

    /// Where its certificate is kept; `None` = it needs none.
    fn certificates(&self) -> Option<&Certificates> {
        None
    }
}

impl Steered for Shared {
    fn config(&self) -> &ProxyConfig {
        &self.config
    }

    fn version(&self) -> Option<SnapshotVersion> {
        self.pin().map(|view| view.snapshot.version)
    }

    async fn take(&self, snapshot: Snapshot) -> Result<(), String> {
        match unusable(&snapshot) {
            None => {
                self.publish(snapshot);
                Ok(())
            }
            Some(reason) => Err(reason),
        }
    }

    fn report(&self) -> (Vec<EdgeCount>, Vec<Row>, u64) {
        self.report()
    }

    fn spans(&self) -> Vec<Span> {
        self.spans()
    }

    fn records(&self, request_id: &str) -> Vec<Record> {
        self.records(request_id)
    }

    fn certificates(&self) -> Option<&Certificates> {
        Some(&self.certificates)
    }
}

/// Keeps a stream to the control plane open until `shutdown`.
pub fn steer<S: Steered>(steered: Arc<S>, address: ControlAddress, shutdown: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::select! {
            () = keep_open(&*steered, &address) => {}
            () = shutdown.cancelled() => {}
        }
    })
}

async fn keep_open<S: Steered>(steered: &S, address: &ControlAddress) {
    let mut wait = FIRST_WAIT;
    let mut quiet = false;
    loop {
        let mut used = false;
        match stream(steered, address, &mut used).await {
            Ok(()) => debug!("control plane closed the stream"),
            // Said once; the first seconds of a mesh are full of it.
            Err(error) if quiet => debug!(%error, "no control plane"),
            Err(error) => info!(%error, "no control plane; the last configuration stays in use"),
        }
        quiet = !used;
        wait = if used { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
        tokio::time::sleep(wait).await;
    }
}

/// One stream, from hello to its end. `used` is set when a snapshot came.
async fn stream<S: Steered>(steered: &S, address: &ControlAddress, used: &mut bool) -> Result<(), StreamError> {
    let token = tokio::fs::read_to_string(&address.token_file).await?;
    let (reader, mut writer) = UnixStream::connect(&address.socket).await?.into_split();
    let config = steered.config();
    let pod = &config.pod;
    let hello = FromProxy::Hello {
        token: token.trim().to_owned(),
        pod: pod.name.clone(),
        namespace: pod.namespace.clone(),
        cluster: pod.cluster.clone(),
        role: config.role,
        have: steered.version(),
    };
    write_frame(&mut writer, &hello).await?;
    let certificates = steered.certificates();
    if let Some(certificates) = certificates {
        certificates.reconnected();
    }
    let (outgoing, mut queue) = mpsc::channel::<FromProxy>(QUEUE);
    let mut reports = tokio::time::interval(REPORT_EVERY);
    reports.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut reported = Vec::new();
    // Reading has a task's state of its own: a frame must never be cut in two by a report.
    let mut read = std::pin::pin!(read_frames(BufReader::new(reader), steered, outgoing, used));
    loop {
        tokio::select! {
            ended = read.as_mut() => return ended,
            Some(frame) = queue.recv() => write_frame(&mut writer, &frame).await?,
            certificates = due(certificates) => {
                let public_key = certificates.request()?;
                write_frame(&mut writer, &FromProxy::CertificateRequest { public_key }).await?;
            }
            _ = reports.tick() => {
                let (edges, rows, seen) = steered.report();
                let spans = steered.spans();
                if seen > 0 || edges != reported || !spans.is_empty() {
                    write_frame(&mut writer, &FromProxy::Report { edges: edges.clone(), rows, seen, spans }).await?;
                    reported = edges;
                }
            }
        }
    }
}

/// Waits until it is time to ask for a certificate.
async fn due(certificates: Option<&Certificates>) -> &Certificates {
    let Some(certificates) = certificates else { return std::future::pending().await };
    certificates.due().await;
    certificates
}

async fn read_frames<S: Steered>(
    mut reader: BufReader<tokio::net::unix::OwnedReadHalf>,
    steered: &S,
    outgoing: mpsc::Sender<FromProxy>,
    used: &mut bool,
) -> Result<(), StreamError> {
    loop {
        let Some(frame) = read_frame(&mut reader).await? else { return Ok(()) };
        let reply = match serde_json::from_slice::<ToProxy>(&frame) {
            Ok(ToProxy::Snapshot { snapshot }) => {
                *used = true;
                take(steered, *snapshot).await
            }
            Ok(ToProxy::RecordRequest { question, request_id }) => {
                FromProxy::RecordReply { question, records: steered.records(&request_id) }
            }
            Ok(ToProxy::Certificate { chain, roots, expires: _ }) => {
                // Its end is what the certificate itself says.
                if let Some(Err(error)) = steered.certificates().map(|certificates| certificates.take(&chain, &roots)) {
                    debug!(%error, "certificate not taken");
                }
                continue;
            }
            Ok(ToProxy::CertificateRefused { reason }) => {
                if let Some(certificates) = steered.certificates() {
                    certificates.refused(&reason);
                }
                continue;
            }
            Ok(ToProxy::Refused { reason }) => return Err(StreamError::Refused(reason)),
            Err(error) => match version_of(&frame) {
                // A snapshot that this proxy does not understand: the one before it stays.
                Some(version) => FromProxy::Nack { version, reason: error.to_string() },
                None => return Err(error.into()),
            },
        };
        if outgoing.send(reply).await.is_err() {
            return Ok(());
        }
    }
}

/// Brings a snapshot into use and says what became of it.
async fn take<S: Steered>(steered: &S, snapshot: Snapshot) -> FromProxy {
    let version = snapshot.version;
    match steered.take(snapshot).await {
        Ok(()) => {
            debug!(epoch = version.epoch, number = version.number, "snapshot in use");
            FromProxy::Ack { version }
        }
        Err(reason) => {
            warn!(%reason, number = version.number, "snapshot refused");
            FromProxy::Nack { version, reason }
        }
    }
}

/// Why a snapshot cannot be used, if it cannot. A route to a missing cluster is no reason: it answers 503 `NC`.
fn unusable(snapshot: &Snapshot) -> Option<String> {
    snapshot
        .clusters
        .iter()
        .find_map(|(name, cluster)| (*name != cluster.name).then(|| format!("cluster `{name}` is called `{}` inside", cluster.name)))
}

/// The version in a snapshot frame whose rest could not be read.
fn version_of(frame: &[u8]) -> Option<SnapshotVersion> {
    let value: serde_json::Value = serde_json::from_slice(frame).ok()?;
    serde_json::from_value(value.get("snapshot")?.get("version")?.clone()).ok()
}

async fn read_frame(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, StreamError> {
    let length = match reader.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if length > MAX_FRAME {
        return Err(StreamError::TooLarge(length));
    }
    let mut frame = vec![0; length];
    reader.read_exact(&mut frame).await?;
    Ok(Some(frame))
}

async fn write_frame(writer: &mut (impl tokio::io::AsyncWrite + Unpin), message: &FromProxy) -> Result<(), StreamError> {
    let body = serde_json::to_vec(message)?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    writer.write_all(&frame).await?;
    Ok(())
}
