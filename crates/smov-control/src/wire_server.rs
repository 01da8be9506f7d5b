//! The wire's side of the control plane: one authenticated stream per proxy. A slow or broken one never holds up another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use smov_istio::world::ProxyIdentity;
use smov_model::names::{KubeCluster, ServiceAccount};
use smov_model::record::Record;
use smov_model::snapshot::{Snapshot, SnapshotVersion};
use smov_model::wire::{FromProxy, MAX_FRAME, ToProxy};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::ca::{Authority, Subject};
use crate::frame::{self, FrameError};
use crate::proxies::{Proxies, Question, Stream};
use crate::publisher::{Admission, Command, Snapshots};
use crate::token::TokenReviewer;

/// How long a proxy may take for its first frame, to read a frame, and to take a snapshot into use. Then its stream is ended, and it
/// comes back when it can.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stream waits for its pod to be seen: the kubelet may be faster than the watch.
const POD_PATIENCE: Duration = Duration::from_secs(5);
/// The largest frame of a proxy that has not said who it is.
const HELLO_FRAME: usize = 64 << 10;
/// Streams at a time; more wait in the socket's backlog.
const STREAMS: usize = 1024;

/// What every stream needs.
pub(crate) struct WireServer {
    pub(crate) cluster: KubeCluster,
    pub(crate) reviewer: TokenReviewer,
    pub(crate) publisher: mpsc::Sender<Command>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) authority: Authority,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Told to the proxy.
    #[error("{0}")]
    Refused(String),
    #[error("the proxy took longer than {PATIENCE:?} to {0}")]
    Slow(&'static str),
}

fn refused(reason: impl Into<String>) -> StreamError {
    StreamError::Refused(reason.into())
}

/// As [`ToProxy`], without owning the snapshot.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Sent<'a> {
    Snapshot { snapshot: &'a Snapshot },
}

impl WireServer {
    /// Serves until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, listener: UnixListener, shutdown: CancellationToken) {
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = streams.join_next() => {}
                accepted = listener.accept(), if streams.len() < STREAMS => match accepted {
                    Ok((stream, _)) => {
                        let (server, shutdown) = (Arc::clone(&self), shutdown.clone());
                        streams.spawn(async move {
                            tokio::select! {
                                () = shutdown.cancelled() => {}
                                () = server.serve(stream) => {}
                            }
                        });
                    }
                    Err(error) => {
                        // Out of file descriptors, mostly: let some go first.
                        warn!(%error, "a proxy's connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        while streams.join_next().await.is_some() {}
    }

    async fn serve(&self, stream: UnixStream) {
        let (mut read, mut write) = stream.into_split();
        let mut pod = String::new();
        let Err(error) = self.talk(&mut read, &mut write, &mut pod).await else {
            debug!(pod, "proxy left");
            return;
        };
        match error {
            StreamError::Refused(_) | StreamError::Frame(FrameError::TooLarge { .. } | FrameError::Malformed(_)) => {
                self.proxies.metrics.refused_streams.fetch_add(1, Ordering::Relaxed);
                warn!(pod, %error, "proxy refused");
                // It may be gone, or not read; nothing more is owed to it.
                let message = ToProxy::Refused { reason: error.to_string() };
                let _ = tokio::time::timeout(Duration::from_secs(1), frame::write(&mut write, &message)).await;
            }
            StreamError::Slow(_) => warn!(pod, %error, "proxy's stream ended"),
            StreamError::Frame(FrameError::Io(_)) => debug!(pod, %error, "proxy's stream broke"),
        }
    }

    /// The whole conversation; `Ok` when the proxy ended it.
    async fn talk(&self, read: &mut OwnedReadHalf, write: &mut OwnedWriteHalf, pod: &mut String) -> Result<(), StreamError> {
        let mut buffer = Vec::new();
        let hello = tokio::time::timeout(PATIENCE, frame::read(read, HELLO_FRAME, &mut buffer)).await;
        if !hello.map_err(|_| StreamError::Slow("say who it is"))?? {
            return Ok(());
        }
        let Ok(FromProxy::Hello { token, pod: name, namespace, cluster, role, have }) = serde_json::from_slice(&buffer) else {
            return Err(refused("the first frame must be a hello"));
        };
        pod.clone_from(&name);
        let identity = ProxyIdentity { cluster, namespace, pod: name, role: role.into() };
        let (snapshots, service_account) = self.admit(&identity, &token).await?;
        let subject = Subject { namespace: identity.namespace.clone(), service_account };
        let (stream, questions) = self.proxies.connect(&identity, role, have);
        info!(pod, "proxy connected");
        let conversation = Conversation { proxies: &self.proxies, stream: &stream, settled: watch::channel(None).0 };
        let (answers, answered) = mpsc::channel(crate::proxies::QUESTIONS);
        let (keys, wanted) = mpsc::channel(1);
        let certifying = Certifying { authority: self.authority.clone(), subject, wanted, key: None, roots: None, trust_domain: None };
        tokio::select! {
            ended = conversation.listen(read, buffer, answers, keys) => ended,
            ended = conversation.speak(write, snapshots, questions, answered, certifying) => ended,
            () = stream.replaced() => Err(refused("a newer stream of the same pod has taken over")),
        }
    }

    /// Checks who is calling, and waits until its pod is known.
    async fn admit(&self, identity: &ProxyIdentity, token: &str) -> Result<(Snapshots, ServiceAccount), StreamError> {
        if identity.cluster != self.cluster {
            return Err(refused(format!("this is the control plane of `{}`, the proxy is of `{}`", self.cluster, identity.cluster)));
        }
        let caller = self.reviewer.review(token).await.map_err(|error| refused(error.to_string()))?;
        if caller.namespace != identity.namespace || caller.pod != identity.pod {
            let (said, proved) = (format!("{}/{}", identity.namespace, identity.pod), format!("{}/{}", caller.namespace, caller.pod));
            return Err(refused(format!("the proxy says that it is `{said}`, its token is of `{proved}`")));
        }
        let (reply, answer) = oneshot::channel();
        let account = caller.service_account.clone();
        let admission = Admission { identity: identity.clone(), service_account: caller.service_account, reply };
        let stopping = || refused("the control plane is stopping");
        self.publisher.send(Command::Admit(admission)).await.map_err(|_| stopping())?;
        match tokio::time::timeout(POD_PATIENCE, answer).await {
            Ok(Ok(answer)) => answer.map(|snapshots| (snapshots, account)).map_err(refused),
            Ok(Err(_)) => Err(stopping()),
            Err(_) => Err(refused(format!("there is no pod `{}` in namespace `{}`", identity.pod, identity.namespace))),
        }
    }
}

/// One proxy's certificates.
struct Certifying {
    authority: Authority,
    subject: Subject,
    wanted: mpsc::Receiver<String>,
    /// A key that waits for its certificate.
    key: Option<String>,
    /// The roots that the proxy was given last.
    roots: Option<String>,
    /// The trust domain of the identity that the proxy was given last.
    trust_domain: Option<String>,
}

impl Certifying {
    /// The next thing to say about certificates. May be dropped and asked again at any time.
    async fn next(&mut self, trust_domain: Option<&str>) -> ToProxy {
        loop {
            if let (None, Some(given), Some(wanted)) = (&self.key, &self.trust_domain, trust_domain)
                && given != wanted
            {
                self.trust_domain = None;
                let reason = format!("the mesh's trust domain is {wanted} now: ask again");
                return ToProxy::CertificateRefused { reason };
            }
            if let (Some(_), Some(trust_domain)) = (&self.key, trust_domain) {
                self.authority.settled().await;
                let answer = self.key.take().map(|key| self.authority.answer(&key, &self.subject, trust_domain));
                if let Some(answer) = answer {
                    if let ToProxy::Certificate { roots, .. } = &answer {
                        self.roots = Some(roots.clone());
                        self.trust_domain = Some(trust_domain.to_owned());
                    }
                    return answer;
                }
            }
            tokio::select! {
                Some(key) = self.wanted.recv(), if self.key.is_none() => self.key = Some(key),
                () = self.authority.other_roots(self.roots.as_deref().unwrap_or_default()), if self.roots.is_some() => {
                    self.roots = None;
                    let reason = "other roots are trusted now: ask again".to_owned();
                    return ToProxy::CertificateRefused { reason };
                }
                () = std::future::pending() => {}
            }
        }
    }
}

/// One proxy's stream after it was let in.
struct Conversation<'a> {
    proxies: &'a Proxies,
    stream: &'a Stream,
    /// The last snapshot that the proxy answered to.
    settled: watch::Sender<Option<SnapshotVersion>>,
}

impl Conversation<'_> {
    async fn listen(
        &self,
        read: &mut OwnedReadHalf,
        mut buffer: Vec<u8>,
        answers: mpsc::Sender<(u64, Vec<Record>)>,
        keys: mpsc::Sender<String>,
    ) -> Result<(), StreamError> {
        while frame::read(read, MAX_FRAME, &mut buffer).await? {
            match serde_json::from_slice(&buffer).map_err(FrameError::Malformed)? {
                FromProxy::Hello { .. } => return Err(refused("a second hello on one stream")),
                FromProxy::Ack { version } => {
                    self.settle(version, self.stream.acked(version));
                }
                FromProxy::Nack { version, reason } => {
                    warn!(version = version.number, reason, "a proxy refused a snapshot");
                    self.settle(version, self.stream.nacked(version, reason));
                }
                FromProxy::Report { edges, rows, seen, spans } => {
                    self.proxies.traces.take(spans);
                    self.stream.counted(edges);
                    self.proxies.rows.send(&rows, seen);
                }
                // One at a time: whoever asks faster than it is answered waits.
                FromProxy::CertificateRequest { public_key } => drop(keys.send(public_key).await),
                // Full only when a proxy answers what it was not asked.
                FromProxy::RecordReply { question, records } => drop(answers.try_send((question, records))),
            }
        }
        Ok(())
    }

    fn settle(&self, version: SnapshotVersion, was_on_its_way: bool) {
        if was_on_its_way {
            self.settled.send_replace(Some(version));
        }
    }

    /// Sends the newest snapshot when the one before was answered, and questions in between.
    async fn speak(
        &self,
        write: &mut OwnedWriteHalf,
        mut snapshots: Snapshots,
        mut questions: mpsc::Receiver<Question>,
        mut answered: mpsc::Receiver<(u64, Vec<Record>)>,
        mut certifying: Certifying,
    ) -> Result<(), StreamError> {
        let mut settled = self.settled.subscribe();
        let mut asked: HashMap<u64, oneshot::Sender<Vec<Record>>> = HashMap::new();
        let mut number = 0;
        let mut on_its_way: Option<(SnapshotVersion, tokio::time::Instant)> = None;
        snapshots.mark_changed();
        loop {
            // A certificate's identity begins with the trust domain, which comes with the configuration.
            let trust_domain = snapshots.borrow().as_ref().map(|published| published.snapshot.trust_domain.clone());
            let deadline = on_its_way.map(|(_, sent)| sent + PATIENCE);
            tokio::select! {
                changed = snapshots.changed(), if on_its_way.is_none() => {
                    if changed.is_err() {
                        return Err(refused("the control plane is stopping"));
                    }
                    let Some(published) = snapshots.borrow_and_update().clone() else { continue };
                    self.stream.sending(&published);
                    on_its_way = Some((published.snapshot.version, tokio::time::Instant::now()));
                    send(write, &Sent::Snapshot { snapshot: &published.snapshot }).await?;
                }
                _ = settled.changed() => {
                    let version = *settled.borrow_and_update();
                    on_its_way.take_if(|(sent, _)| Some(*sent) == version);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {
                    return Err(StreamError::Slow("take a snapshot into use"));
                }
                message = certifying.next(trust_domain.as_deref()) => send(write, &message).await?,
                Some(Question { request_id, answer }) = questions.recv() => {
                    asked.retain(|_, answer| !answer.is_closed());
                    number += 1;
                    asked.insert(number, answer);
                    send(write, &ToProxy::RecordRequest { question: number, request_id }).await?;
                }
                Some((question, records)) = answered.recv() => {
                    if let Some(answer) = asked.remove(&question) {
                        // Whoever asked may have given up.
                        let _ = answer.send(records);
                    }
                }
            }
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, message: &impl Serialize) -> Result<(), StreamError> {
    let written = tokio::time::timeout(PATIENCE, frame::write(write, message)).await;
    written.map_err(|_| StreamError::Slow("read a frame"))?.map_err(StreamError::Frame)
}
