//! The kubelet's answers to the API server: commands, terminals, ports and figures of running containers.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio_util::io::StreamReader;

use super::log_source::PodLogs;
use super::measure::{LONGEST, Look, SHORTEST, between, look};
use super::pod::{Joined, News, Question};
use super::probe::Target;
use super::{Shared, exec};
use crate::api::{Dialled, ExecRequest, LogOptions, LogSource, LogStream, Measured, PodAccess, Session, Sink, Source};
use crate::controllers::fields::{name, namespace, text, uid};
use crate::error::ApiError;

/// Bytes of a client's input that wait for a container.
const INPUT: usize = 64 * 1024;

/// A kubelet, as its API server sees it.
pub struct Access {
    /// Ends with the kubelet, not with the API server.
    shared: Weak<Shared>,
    logs: PodLogs,
    /// The last look at everybody's counters. Guards one replacement.
    last: Mutex<Option<Look>>,
}

impl Access {
    pub(super) fn new(shared: &Arc<Shared>, logs: PodLogs) -> Self {
        Self { shared: Arc::downgrade(shared), logs, last: Mutex::default() }
    }

    fn shared(&self) -> Result<Arc<Shared>, ApiError> {
        self.shared.upgrade().ok_or_else(|| ApiError::unavailable("the kubelet of this cluster has ended"))
    }

    /// Asks the worker of a pod.
    async fn ask<T>(&self, pod: &Value, question: impl FnOnce(oneshot::Sender<Result<T, ApiError>>) -> Question) -> Result<T, ApiError> {
        if text(pod, "/spec/nodeName").is_empty() {
            return Err(ApiError::bad_request(format!("pod {} does not have a host assigned", name(pod))));
        }
        let gone = || ApiError::internal(format!("pod {} is not running", name(pod)));
        let worker = self.shared()?.workers().get(uid(pod)).cloned().ok_or_else(gone)?;
        let (reply, answer) = oneshot::channel();
        worker.send(News::Asked(question(reply))).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn runnable(&self, pod: &Value, container: &str, command: &[String]) -> Result<super::pod::Runnable, ApiError> {
        let command = command.to_vec();
        self.ask(pod, |reply| Question::Command { container: container.to_owned(), command, reply }).await
    }

    async fn exec_in(&self, pod: &Value, container: &str, request: ExecRequest) -> Result<Session, ApiError> {
        let runnable = self.runnable(pod, container, &request.command).await?;
        let started = exec::start(self.shared()?, runnable, &request).await;
        started.map_err(|error| ApiError::internal(format!("error executing command in container: {error}")))
    }

    async fn join(&self, pod: &Value, container: &str, stdin: bool) -> Result<Session, ApiError> {
        let Joined { stdin: input, stdin_once, ended } =
            self.ask(pod, |reply| Question::Join { container: container.to_owned(), reply }).await?;
        let options = LogOptions { follow: true, tail_lines: Some(0), ..LogOptions::default() };
        let output = self.logs.open(namespace(pod), name(pod), container, options)?;
        let stdin = input.filter(|_| stdin).map(|input| {
            let (sink, mut source) = tokio::io::duplex(INPUT);
            tokio::spawn(async move {
                let mut held = input.lock().await;
                if let Some(stdin) = held.as_mut() {
                    let _process_is_gone = tokio::io::copy(&mut source, stdin).await;
                    let _process_is_gone = stdin.flush().await;
                }
                if stdin_once {
                    held.take();
                }
            });
            Box::pin(sink) as Sink
        });
        let stdout = Box::pin(StreamReader::new(output.map_err(std::io::Error::other))) as Source;
        let exit = Box::pin(async move {
            ended.cancelled().await;
            Ok(0)
        });
        Ok(Session { stdin, stdout: Some(stdout), stderr: None, resize: None, exit })
    }

    async fn connect(&self, pod: &Value, port: u16) -> Result<Dialled, ApiError> {
        let target = self.ask(pod, |reply| Question::Place { port, reply }).await?;
        let failed = |error: std::io::Error| {
            let message = format!("failed to connect to localhost:{port} inside the pod: {error}");
            ApiError { code: 500, reason: "InternalError", message, details: None }
        };
        let (source, sink): (Source, Sink) = match target {
            Target::Tcp(address) => {
                let (source, sink) = TcpStream::connect(address).await.map_err(failed)?.into_split();
                (Box::pin(source), Box::pin(sink))
            }
            Target::Unix(path) => {
                let (source, sink) = UnixStream::connect(path).await.map_err(failed)?.into_split();
                (Box::pin(source), Box::pin(sink))
            }
        };
        Ok(Dialled { source, sink })
    }

    async fn end(&self, pod: &Value, container: &str) -> Result<(), ApiError> {
        self.ask(pod, |reply| Question::Kill { container: container.to_owned(), reply }).await
    }

    async fn look(&self) -> Look {
        let running = self.shared.upgrade().map(|shared| shared.running().clone()).unwrap_or_default();
        let now = tokio::task::spawn_blocking(move || look(&running)).await.expect("looking does not panic");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.replace(now.clone());
        now
    }

    /// Since the last look where that is of now, else over the shortest while that says something.
    async fn measured(&self) -> Measured {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = match last {
            Some(last) if (SHORTEST..LONGEST).contains(&last.at.elapsed()) => last,
            _ => {
                let before = self.look().await;
                tokio::time::sleep(SHORTEST).await;
                before
            }
        };
        let after = self.look().await;
        between(self.logs.registry(), &before, &after)
    }
}

impl LogSource for Access {
    fn open(&self, namespace: &str, pod: &str, container: &str, options: LogOptions) -> Result<LogStream, ApiError> {
        self.logs.open(namespace, pod, container, options)
    }
}

impl PodAccess for Access {
    fn may_exec<'a>(&'a self, pod: &'a Value, container: &'a str, command: &'a [String]) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move { self.runnable(pod, container, command).await.map(drop) })
    }

    fn exec<'a>(&'a self, pod: &'a Value, container: &'a str, request: ExecRequest) -> BoxFuture<'a, Result<Session, ApiError>> {
        Box::pin(self.exec_in(pod, container, request))
    }

    fn attach<'a>(&'a self, pod: &'a Value, container: &'a str, stdin: bool) -> BoxFuture<'a, Result<Session, ApiError>> {
        Box::pin(self.join(pod, container, stdin))
    }

    fn dial<'a>(&'a self, pod: &'a Value, port: u16) -> BoxFuture<'a, Result<Dialled, ApiError>> {
        Box::pin(self.connect(pod, port))
    }

    fn kill<'a>(&'a self, pod: &'a Value, container: &'a str) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(self.end(pod, container))
    }

    fn measure(&self) -> BoxFuture<'_, Measured> {
        Box::pin(self.measured())
    }
}
