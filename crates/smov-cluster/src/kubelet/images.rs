//! What the kubelet asks of whoever knows images: the program behind each, and words for a person whose program does not do as it must.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Turns images into programs. The one place that decides what may run on this machine.
pub trait ImageCatalog: Send + Sync {
    /// The program of a container.
    ///
    /// # Errors
    /// The image is unknown, or what the manifest asks for is not allowed.
    fn resolve(&self, request: &ContainerRequest<'_>) -> Result<ProcessSpec, ImageError>;

    /// The program of an `exec` probe or hook. Commands of manifests are refused unless a catalogue allows them.
    ///
    /// # Errors
    /// Commands are not allowed, or not this one.
    fn resolve_exec(&self, _request: &ContainerRequest<'_>, command: &[String]) -> Result<ProcessSpec, ImageError> {
        Err(ImageError::Refused(format!("commands are not allowed here: {}", command.join(" "))))
    }

    /// Does the container run what its manifest says, instead of a program that knows its socket and its mounts? Then it listens on `$HOST:$PORT`.
    fn is_own_program(&self, _container: &Value) -> bool {
        false
    }

    /// Words for the person whose program does not do as it must.
    fn advice(&self, advice: &Advice<'_>) -> String {
        advice.to_string()
    }
}

/// What keeps a program that is not ours from being reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Advice<'a> {
    /// It listens, but not where its sidecar (or its peers) look for it.
    #[error("container {container} listens on {}, but what comes to its port {port} is passed to {own}: make it listen on $HOST:$PORT", addresses(.found))]
    ListensElsewhere {
        /// Its name.
        container: &'a str,
        /// The port in its manifest.
        port: u16,
        /// Where it should listen.
        own: SocketAddr,
        /// Where it does.
        found: &'a [SocketAddr],
    },
    /// It listens, but has no port in its manifest, so nothing is passed to it.
    #[error("container {container} listens on {}, but has no containerPort, so nothing is passed to it: give it one and make it listen on $HOST:$PORT", addresses(.found))]
    NoPort {
        /// Its name.
        container: &'a str,
        /// Where it listens.
        found: &'a [SocketAddr],
    },
    /// It runs a program of ours, and its manifest has variables that would make that run other code.
    #[error("container {container} runs without the variables {}: they would load other code into a program of smov", .names.join(", "))]
    VariablesLeftOut {
        /// Its name.
        container: &'a str,
        /// The variables.
        names: &'a [String],
    },
    /// It ended because the address that it wanted is taken, mostly by its own sidecar or by another pod.
    #[error("container {container} wanted an address that is taken: pods share this machine's ports, so give it a containerPort and make it listen on $HOST:$PORT{}", place(.own))]
    AddressTaken {
        /// Its name.
        container: &'a str,
        /// Where it should listen, where it has a port.
        own: Option<SocketAddr>,
    },
}

fn place(own: &Option<SocketAddr>) -> String {
    own.map_or_else(String::new, |own| format!(" ({own})"))
}

/// Addresses in a sentence.
pub fn addresses(found: &[SocketAddr]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A container about to start.
#[derive(Debug)]
pub struct ContainerRequest<'a> {
    /// The whole pod.
    pub pod: &'a Value,
    /// Its entry in `spec.containers` or `spec.initContainers`.
    pub container: &'a Value,
    /// The image's name.
    pub image: &'a str,
    /// `command` with `$(VAR)` expanded.
    pub command: &'a [String],
    /// `args` with `$(VAR)` expanded.
    pub args: &'a [String],
    /// The whole environment.
    pub env: &'a BTreeMap<String, String>,
    /// Mount paths and the folders (or files) behind them.
    pub mounts: &'a [(String, PathBuf)],
    /// The pod's folder for sockets: short, only for this user.
    pub runtime_dir: &'a Path,
    /// Where this container's app listens when the pod has a sidecar.
    pub app_socket: &'a Path,
}

/// What to run for a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables that win over those of the manifest.
    pub env: Vec<(String, String)>,
    /// Where it starts; without it, a folder of the container's own.
    pub working_dir: Option<PathBuf>,
    /// Become Warning events of the pod.
    pub warnings: Vec<String>,
    /// Become Normal events: what a person should know of this start.
    pub notes: Vec<String>,
}

/// Why an image cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is no such image here.
    #[error("{0}")]
    NotFound(String),
    /// It exists, but what the manifest asks for is not allowed.
    #[error("{0}")]
    Refused(String),
}
