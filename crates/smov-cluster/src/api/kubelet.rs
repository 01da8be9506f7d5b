//! What the API server asks the kubelet for: output of containers, commands in them, their ports, what they use.

use std::pin::Pin;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::logs::LogSource;
use crate::error::ApiError;

/// Something that is read.
pub type Source = Pin<Box<dyn AsyncRead + Send>>;
/// Something that is written.
pub type Sink = Pin<Box<dyn AsyncWrite + Send>>;

/// A command for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Pass the client's input on.
    pub stdin: bool,
    /// Give it a terminal; then there is one output only.
    pub tty: bool,
}

/// Changes the size of a terminal: columns and rows.
pub type Resize = Box<dyn Fn(u16, u16) + Send + Sync>;

/// A conversation with a process. Dropping it ends a command that was started for it.
pub struct Session {
    /// What the process reads; closed when dropped.
    pub stdin: Option<Sink>,
    /// What it writes.
    pub stdout: Option<Source>,
    /// What it writes as errors, where that is apart.
    pub stderr: Option<Source>,
    /// Its terminal's size, where it has one.
    pub resize: Option<Resize>,
    /// How it ended: the exit code, or why that is not known.
    pub exit: BoxFuture<'static, Result<i32, String>>,
}

/// A byte stream to a port of a pod.
pub struct Dialled {
    /// From the pod.
    pub source: Source,
    /// To the pod.
    pub sink: Sink,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// Processors, as a share of one: 0.25 is 250m.
    pub processors: f64,
    /// Bytes of memory.
    pub memory: u64,
}

/// Usage of all containers, measured over a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// When the measuring ended.
    pub at: jiff::Timestamp,
    /// How long it took, in seconds.
    pub window: f64,
    /// One per running container.
    pub usage: Vec<Usage>,
}

/// The kubelet, as the API server sees it.
pub trait PodAccess: LogSource {
    /// Would this command be run? The reason where it would not.
    fn may_exec<'a>(&'a self, pod: &'a Value, container: &'a str, command: &'a [String]) -> BoxFuture<'a, Result<(), ApiError>>;

    /// Runs a command with a container's environment, in its folder.
    fn exec<'a>(&'a self, pod: &'a Value, container: &'a str, request: ExecRequest) -> BoxFuture<'a, Result<Session, ApiError>>;

    /// Joins the container's own process: its output from now on, and its input where `stdin` is wanted and it takes one.
    fn attach<'a>(&'a self, pod: &'a Value, container: &'a str, stdin: bool) -> BoxFuture<'a, Result<Session, ApiError>>;

    /// Connects to a port of the pod as a program inside it would.
    fn dial<'a>(&'a self, pod: &'a Value, port: u16) -> BoxFuture<'a, Result<Dialled, ApiError>>;

    /// Ends the container's process at once, as a crash would: nothing is asked, nothing is drained.
    fn kill<'a>(&'a self, pod: &'a Value, container: &'a str) -> BoxFuture<'a, Result<(), ApiError>>;

    /// Measures what the containers of this cluster use now.
    fn measure(&self) -> BoxFuture<'_, Measured>;
}
